"""A talk of several turns: what was said goes along with each question, as far as the model can take it."""

from __future__ import annotations

import contextlib
import logging
import os
import tempfile
import threading
import weakref
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from qfkit.client.calls import Prompt
from qfkit.client.exceptions import ConfigurationError, QianfanError
from qfkit.client.history import (
    WITHDRAWN_FLAGS,
    HistoryLimits,
    answer_message,
    check_history,
    fit,
    rounds_to_keep,
    size_of,
    starts,
    sum_tokens,
    system_size,
)
from qfkit.client.images import ImageSource, with_images
from qfkit.client.redaction import redact
from qfkit.client.replies import Reply
from qfkit.client.schemas import Tool, ToolFunction
from qfkit.client.streaming import Stream
from qfkit.client.tools import ToolResult, run_tools
from qfkit.protocol.messages import Json, Message, content_text

if TYPE_CHECKING:
    from qfkit.client.client import Client

logger = logging.getLogger("qfkit.client")

#: Of the saved form; a file of a later version is refused.
FILE_VERSION: Final = 1

#: Parameters of `Client.chat` that a conversation sets itself -> what to do instead.
_OWN = {
    "model": "give model= to client.conversation(...), or set conversation.model",
    "system": "give system= to client.conversation(...), or set conversation.system",
}


class _Saved(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    version: int
    dialect: str
    model: str
    system: str | None
    trimmed: int
    messages: list[dict[str, Any]]


class Conversation:
    """A talk with a model. `Client.conversation` makes it.

    Each question is sent with the history before it. Where that is more than the model takes, the oldest turns are
    dropped for good, whole; the system prompt and the question always stay. A call that fails leaves the history as it
    was, and so does a stream that breaks or is abandoned: a turn enters when its answer is complete.

    When the service asks to clear the history (``need_clear_history``, 3.3), it is cleared: all of it, or from the
    round that ``ban_round`` names. The question that was asked then, and one whose answer is flagged as not showable or
    withdrawn (``flag`` 3 or 4, 4.2), does not enter. The `Reply` is handed out all the same: look at its marks before
    you show it.

    One question at a time: asking from a second thread, or while a stream is open, is refused.

    Attributes:
        system: instructions for the model; may be changed between turns.
        model: that is asked; may be changed between turns, limits then follow it.
        params: sent with each question.
        limits: what a request may hold, None for the documented limits of the model.
        trimmed: turns dropped because they did not fit.
        withdrawn: turns that the service had removed or kept from entering.
    """

    def __init__(
        self,
        client: Client,
        *,
        system: str | None = None,
        model: str | None = None,
        messages: Sequence[Message] | None = None,
        limits: HistoryLimits | None = None,
        params: dict[str, Any] | None = None,
    ) -> None:
        if system is not None and not isinstance(system, str):
            raise ConfigurationError(f"system is a text, the instructions for the model; got {type(system).__name__}")
        self._client = client
        self.system = system
        self.model = model if model is not None else client.model
        self.params = _checked(params or {})
        self.limits = limits
        self.trimmed = 0
        self.withdrawn = 0
        self._messages = check_history(client.dialect, messages or [])
        self._lock = threading.Lock()
        self._open: weakref.ref[Stream] | None = None

    @classmethod
    def begin(cls, client: Client, path: str | Path | None, **given: Any) -> Conversation:
        """A new one, or the one in a file; ``given`` are arguments of the constructor."""
        return cls(client, **given) if path is None else cls.load(client, path, **given)

    @classmethod
    def load(cls, client: Client, path: str | Path, **more: Any) -> Conversation:
        """The conversation that `save` wrote. ``more`` are arguments of the constructor; None leaves what was saved.

        Raises:
            ConfigurationError: no such file, not such a file, or a history that the client's dialect does not take.
        """
        saved = _read(Path(path))
        if more.get("messages") is not None:
            raise ConfigurationError("load= brings the messages along: leave out messages=")
        given = {name: value for name, value in more.items() if value is not None}
        # A model's name means nothing in another dialect, where the client's own is the better guess.
        kept = {"system": saved.system} | ({"model": saved.model} if saved.dialect == client.dialect else {})
        conversation = cls(client, **{**kept, **given, "messages": saved.messages})
        conversation.trimmed = saved.trimmed
        return conversation

    def __repr__(self) -> str:
        return f"<Conversation of {len(self)} turns, {self.tokens} tokens, model={self.model!r}>"

    def __len__(self) -> int:
        """Turns in the history."""
        return len(starts(self._messages))

    @property
    def messages(self) -> list[Json]:
        """The history, as copies: questions, answers, calls of tools and their results; without the system prompt."""
        return [dict(message) for message in self._messages]

    @property
    def tokens(self) -> int:
        """Tokens of history and system prompt, estimated (3.8); pictures weigh nothing."""
        return sum_tokens(self._messages, self.system)

    @property
    def chars(self) -> int:
        """Characters of history and system prompt."""
        return sum(len(content_text(message.get("content"))) for message in self._messages) + len(self.system or "")

    def say(self, prompt: Prompt, *, images: Sequence[ImageSource] = (), **params: Any) -> Reply:
        """Say something, and wait for the whole answer; then both are in the history.

        Args:
            prompt: what the user says. Or messages, to go on by yourself after an answer with ``tool_calls``: their
                results, as the dialect writes them.
            images: pictures to look at (v2), as for `Client.chat`.
            params: as for `Client.chat`; they win over those of the conversation.

        Raises:
            ConfigurationError: the question alone is more than the model takes, the conversation is busy, or the
                arguments make no request. Nothing was sent.
            QianfanError: as `Client.chat`. The history is as it was.
        """
        with self._busy():
            turn = with_images(self._client.dialect, prompt, images)
            keep = self._fit(turn, params)
            reply = self._client.chat([*self._messages[keep:], *turn], **self._arguments(params))
            self._enter(keep, turn, reply)
            return reply

    def stream(self, prompt: Prompt, *, images: Sequence[ImageSource] = (), **params: Any) -> Stream:
        """Say something, and get the answer as it is written. Arguments and errors as `say`.

        Question and answer enter the history when the stream has been read to its end. One that breaks off, is closed
        or is dropped before leaves the history as it was. Until then nothing else can be said.
        """
        with self._busy():
            turn = with_images(self._client.dialect, prompt, images)
            keep = self._fit(turn, params)
            stream = self._client.stream([*self._messages[keep:], *turn], **self._arguments(params))
            self._open = shown = weakref.ref(stream)

            def on_end(ended: Stream, error: QianfanError | None) -> None:
                if error is not None:
                    return
                # Never waits: a stream that was closed may be read on within a tool, and that holds the lock.
                if not self._lock.acquire(blocking=False):
                    return
                try:
                    if self._open is shown:  # else something was said since it was closed
                        self._open = None
                        self._enter(keep, turn, ended.reply())
                finally:
                    self._lock.release()

            stream.on_end(on_end)
            return stream

    def run_tools(
        self,
        prompt: Prompt,
        tools: Sequence[ToolFunction | Tool],
        *,
        max_rounds: int = 5,
        max_repeats: int = 2,
        parallel: bool = False,
        strict: bool = False,
        on_text: Callable[[str], None] | None = None,
        **params: Any,
    ) -> ToolResult:
        """Ask, and let the model call Python functions on the way. Arguments and errors as `tools.run_tools`.

        Question, calls, results and answer enter the history as one turn when the answer is there.
        """
        with self._busy():
            keep = len(self._messages)

            def ask(turn: Sequence[Message], call: Callable[[Sequence[Message], dict[str, Any]], Reply]) -> Reply:
                nonlocal keep
                keep = self._fit(turn, params)
                return call([*self._messages[keep:], *turn], self._arguments(params))

            result = run_tools(
                self._client,
                prompt,
                tools,
                max_rounds=max_rounds,
                max_repeats=max_repeats,
                parallel=parallel,
                strict=strict,
                on_text=on_text,
                ask=ask,
            )
            self._enter(keep, list(result.messages[:-1]), result.reply)
            return result

    def undo(self) -> list[Json]:
        """Take the last turn back: question, answer and what was between them. Returns its messages, maybe none."""
        with self._busy():
            places = starts(self._messages)
            start = places[-1] if places else len(self._messages)
            gone = self._messages[start:]
            del self._messages[start:]
            return gone

    def clear(self) -> None:
        """Forget all that was said. The system prompt stays."""
        with self._busy():
            self._messages.clear()

    def save(self, path: str | Path) -> None:
        """Write the conversation to a JSON file, which only its owner may read: a talk may be private.

        The file is replaced as a whole or not at all. It holds system prompt, model and messages, pictures included,
        but neither parameters nor keys: should a message quote the client's own keys, they are struck out.

        Raises:
            ConfigurationError: something in the messages cannot be written as JSON.
            OSError: as writing does.
        """
        with self._busy():
            saved = _Saved(
                version=FILE_VERSION,
                dialect=self._client.dialect,
                model=self.model,
                system=_struck(self.system, self._client._caller.secrets),
                trimmed=self.trimmed,
                messages=_struck(self._messages, self._client._caller.secrets),
            )
            try:
                text = msgspec.json.format(msgspec.json.encode(saved)).decode()
            except (TypeError, ValueError) as error:
                raise ConfigurationError(f"the conversation cannot be written as JSON: {error}") from error
        _write(Path(path), text)

    @contextlib.contextmanager
    def _busy(self) -> Iterator[None]:
        if not self._lock.acquire(blocking=False):
            raise ConfigurationError(
                "this conversation is waiting for an answer in another thread: a conversation has one question at a "
                "time. Make one for each thread, or ask when the answer is there"
            )
        try:
            stream = self._open() if self._open is not None else None
            if stream is not None and not stream.ended:
                raise ConfigurationError(
                    "a stream of this conversation is still open: read it to its end, or close() it to leave the "
                    "history as it was"
                )
            self._open = None
            yield
        finally:
            self._lock.release()

    def _arguments(self, params: dict[str, Any]) -> dict[str, Any]:
        # text_generation has no choice of model; naming one would only be warned of.
        model = {} if self._client.dialect == "text_generation" else {"model": self.model}
        return {**model, "system": self.system, **self.params, **_checked(params)}

    def _body(self, messages: Sequence[Message], params: dict[str, Any]) -> bytes:
        client, given = self._client, self._arguments(params)
        for name in ("cache", "resume", "safety", "model"):  # arguments of the verbs, none of the body
            given.pop(name, None)
        model = None if client.dialect == "text_generation" else self.model  # it has no choice, and says so each time
        return client._prepare(messages, model, given.pop("system"), given, stream=False).body

    def _fit(self, turn: Sequence[Message], params: dict[str, Any]) -> int:
        """Where the part of the history begins that is sent.

        Raises:
            ConfigurationError: not even the question fits.
        """
        if not turn:
            raise ConfigurationError("there is nothing to say: a prompt is a text, or a list with a message or more")
        if any(message.get("role") == "system" for message in turn):
            raise ConfigurationError("a conversation keeps its system prompt apart: set conversation.system")
        dialect = self._client.dialect
        limits = self.limits if self.limits is not None else HistoryLimits.of(dialect, self.model)
        history, own = self._messages, list(turn)
        if own[0].get("role") != "user":  # goes on with the last turn, which then has to stay
            places = starts(history)
            start = places[-1] if places else 0
            history, own = history[:start], [*history[start:], *own]
        overhead = 0
        if limits.body_bytes is not None:
            body = self._body(own, params)
            overhead = len(body) - sum(size_of(message).bytes for message in own) - system_size(self.system).bytes
        found = fit(dialect, history, own, self.system, limits, overhead=overhead)
        if found.excess:
            raise ConfigurationError(
                f"the question does not fit, even without the history: it and the system prompt have "
                f"{'; '.join(found.excess)}. Shorten or split it, or ask a model that takes more"
            )
        return found.keep_from

    def _enter(self, keep: int, turn: Sequence[Message], reply: Reply) -> None:
        """Take up a turn that is complete, drop what was left out, and do what the service asks."""
        dropped = len(starts(self._messages[:keep]))
        if dropped:
            self.trimmed += dropped
            logger.info("conversation: %d oldest turn(s) dropped, to fit the limits of the model", dropped)
            del self._messages[:keep]
        if reply.need_clear_history or reply.flag in WITHDRAWN_FLAGS:
            # A flag alone speaks of this answer; what it says of earlier rounds stands in ban_round (4.2).
            ban_round = reply.ban_round if reply.need_clear_history else reply.ban_round or -1
            stay = rounds_to_keep(self._messages, ban_round)
            gone = len(starts(self._messages[stay:]))
            del self._messages[stay:]
            self.withdrawn += gone + 1
            logger.warning("conversation: at the service's request %d turn(s) and this one are forgotten", gone)
        elif not reply.text and not reply.tool_calls:
            # The next request would be refused for it: an answer in the history may not be empty (3.2).
            logger.warning("conversation: the answer is empty; the turn is not remembered")
        else:
            self._messages += [*(dict(message) for message in turn), answer_message(self._client.dialect, reply)]


def _checked(params: dict[str, Any]) -> dict[str, Any]:
    for name, advice in _OWN.items():
        if name in params:
            raise ConfigurationError(f"{name}= belongs to the conversation, not to a question: {advice}")
    return dict(params)


def _struck(value: Any, secrets: Sequence[str]) -> Any:
    """``value`` with the secrets struck out of every text in it."""
    if isinstance(value, str):
        return redact(value, secrets)
    if isinstance(value, dict):
        return {name: _struck(item, secrets) for name, item in value.items()}
    return [_struck(item, secrets) for item in value] if isinstance(value, (list, tuple)) else value


def _read(path: Path) -> _Saved:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise ConfigurationError(f"cannot read the conversation {path}: {error.strerror or error}") from error
    try:
        version = msgspec.json.decode(data).get("version")
    except (msgspec.DecodeError, ValueError, AttributeError) as error:
        raise ConfigurationError(f"{path} is no saved conversation: it is not a JSON object ({error})") from error
    if version != FILE_VERSION:
        raise ConfigurationError(
            f"{path} is a conversation of version {version!r}; this qfkit reads version {FILE_VERSION}. Save it again "
            "with the qfkit that wrote it, or upgrade this one"
        )
    try:
        return msgspec.json.decode(data, type=_Saved)
    except msgspec.ValidationError as error:
        raise ConfigurationError(f"{path} is no saved conversation: {error}") from error


def _write(path: Path, text: str) -> None:
    # Beside the target, because only within one file system a rename replaces at once. mkstemp makes it 0600.
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
