"""Safety at work on one call: on the way out, and on the way back."""

from __future__ import annotations

import copy
import dataclasses
import logging
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from qfkit.client.exceptions import QianfanError, StreamError, UnsafeContent
from qfkit.client.replies import Reply
from qfkit.client.safety.cleaning import MaxLength
from qfkit.client.safety.findings import Finding, Ledger, Place
from qfkit.client.safety.masking import Mask, Restorer, Vault
from qfkit.client.safety.screens import MASK, Chain, Screen, function_screen, refusal
from qfkit.client.safety.topics import ServiceFlags
from qfkit.client.streaming import Stream
from qfkit.protocol.messages import Chunk, Json

logger = logging.getLogger("qfkit.client")


class Guard:
    """One call under a `Safety`. Used by one thread at a time.

    Args:
        input_rules: in order.
        output_rules: in order.
        own: the client's own credentials.
    """

    def __init__(self, input_rules: Sequence[Any], output_rules: Sequence[Any], own: Sequence[str]) -> None:
        self._input = input_rules
        self._output = output_rules
        self._own = own
        self._ledger = Ledger()
        self._vault = Vault((), ())

    @property
    def findings(self) -> tuple[Finding, ...]:
        """What was done so far."""
        return self._ledger.findings()

    # The way out

    def inbound(self, messages: Sequence[Json], system: str | None) -> tuple[list[Json], str | None]:
        """The question, as it may be sent.

        Raises:
            InputRefused: a rule does not let it pass.
        """
        slots = _Slots(messages, system)
        self._vault = Vault(slots.texts, self._own)
        for rule in self._input:
            slots.texts = [
                self._apply(rule, text, Place(where, role, self._ledger))
                for text, (where, role) in zip(slots.texts, slots.places, strict=True)
            ]
            if isinstance(rule, MaxLength):
                slots.texts = rule.total(slots.texts, slots.last_of_user, Place("request", "", self._ledger))
        if found := self.findings:
            _log("the question was changed", found)
        return slots.put_back()

    def _apply(self, rule: Any, text: str, place: Place) -> str:
        if isinstance(rule, Mask):
            return rule.apply(text, place, self._vault)
        if hasattr(rule, "apply"):
            return str(rule.apply(text, place))
        changed = rule(text)
        name = getattr(rule, "__name__", type(rule).__name__)
        if not isinstance(changed, str):
            raise TypeError(f"the input rule {name} returns {type(changed).__name__}, where a string is due")
        if changed != text:
            place.note(name, "custom", "change", 0)
        return changed

    # The way back

    def reply(self, reply: Reply) -> Reply:
        """A whole answer, as it may be shown.

        Raises:
            UnsafeContent: a rule does not let it pass.
        """
        try:
            stop = self.flagged(reply.raw, str)
            if stop is not None:
                text, reasoning = stop, ""
            else:
                text, reasoning = (
                    chain.feed(said) + chain.finish()
                    for chain, said in ((self.chain("text"), reply.text), (self.chain("reasoning"), reply.reasoning))
                )
        except UnsafeContent as error:
            log_refusal(error)
            raise
        return dataclasses.replace(
            reply,
            text=text,
            reasoning=reasoning,
            tool_calls=self.tool_calls(reply.tool_calls),
            safety=self.findings,
        )

    def stream(self, stream: Stream) -> Stream:
        """An answer as it is written, as it may be shown."""
        return ScreenedStream(stream, self)

    def chain(self, where: str) -> Chain:
        """The output rules, ready to look at a text, and what puts values back after them."""
        place = Place(where, "", self._ledger)
        screens: list[Screen] = [
            rule.screen(place) if hasattr(rule, "screen") else function_screen(rule, place)
            for rule in self._output
            if not isinstance(rule, ServiceFlags)
        ]
        if self._vault.values:
            screens.append(Restorer(self._vault))
        return Chain(screens, where)

    def tool_calls(self, calls: tuple[Json, ...]) -> tuple[Json, ...]:
        """Tool calls with the values put back: a tool needs the number, not the placeholder."""
        return tuple(self._vault.restore_json(call) for call in calls) if self._vault.values else calls

    def flagged(self, raw: Json, said: Callable[[], str]) -> str | None:
        """What is said instead of an answer, or of the rest of a stream, that the service marks; None if it does not.

        Args:
            raw: the JSON of the answer or event.
            said: gives what was said before.

        Raises:
            UnsafeContent: it does, and a rule says to raise.
        """
        for rule in self._output:
            if not isinstance(rule, ServiceFlags) or (mark := rule.mark(raw)) is None:
                continue
            before = said()
            if rule.action == "raise":
                raise refusal(rule.name, mark, "", Place("text", "", self._ledger), position=len(before), text=before)
            self._ledger.note(rule.name, mark, rule.action, "text", len(before))
            return MASK if rule.action == "mask" else ""
        return None


class _Slots:
    """The texts of a request, taken out of the messages, and put back changed."""

    def __init__(self, messages: Sequence[Json], system: str | None) -> None:
        self._messages = copy.deepcopy([dict(message) for message in messages])
        self._system = system
        self.texts: list[str] = []
        self.places: list[tuple[str, str]] = []
        self._setters: list[Callable[[str], None]] = []
        self.last_of_user: int | None = None
        if system is not None:
            self._add(system, "system", "system", self._set_system)
        for index, message in enumerate(self._messages):
            self._take(message, f"messages[{index}]")

    def _take(self, message: Json, where: str) -> None:
        role = str(message.get("role", ""))
        content = message.get("content")
        if isinstance(content, str):
            self._add(content, where, role, partial(message.__setitem__, "content"))
        elif isinstance(content, list):
            for part in content:
                if isinstance(part, dict) and isinstance(part.get("text"), str):
                    self._add(part["text"], where, role, partial(part.__setitem__, "text"))
        calls = [call.get("function") for call in message.get("tool_calls") or () if isinstance(call, dict)]
        for function in (*calls, message.get("function_call")):
            if isinstance(function, dict) and isinstance(function.get("arguments"), str):
                self._add(function["arguments"], where, role, partial(function.__setitem__, "arguments"))

    def _add(self, text: str, where: str, role: str, put: Callable[[str], None]) -> None:
        if role == "user":
            self.last_of_user = len(self.texts)
        self.texts.append(text)
        self.places.append((where, role))
        self._setters.append(put)

    def _set_system(self, text: str) -> None:
        self._system = text

    def put_back(self) -> tuple[list[Json], str | None]:
        """The messages and the system prompt with the texts as they are now."""
        for put, text in zip(self._setters, self.texts, strict=True):
            put(text)
        return self._messages, self._system


class ScreenedStream(Stream):
    """A `Stream` of which only that is said which may be. Whatever it does not know itself, it asks the one inside."""

    def __init__(self, inner: Stream, guard: Guard) -> None:
        # Not the parent's: the connection, the attempts and the record for a cache are the inner one's.
        self._inner = inner
        self._guard = guard
        self._chains = {"text": guard.chain("text"), "reasoning": guard.chain("reasoning")}
        self._silent = False  # the service marked the answer: nothing more is said
        self._over = False
        self._listeners: list[Callable[[Stream, QianfanError | None], None]] = []

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # also while it is being made, or was not made
            raise AttributeError(name)
        return getattr(self._inner, name)

    def __repr__(self) -> str:
        return repr(self._inner)

    @property
    def text(self) -> str:
        """What has been handed out of the answer; after the loop all of it."""
        return self._chains["text"].said

    @property
    def reasoning(self) -> str:
        """What has been handed out of a reasoning model's thoughts."""
        return self._chains["reasoning"].said

    @property
    def complete(self) -> bool:
        """The service has said that the answer is done."""
        return self._inner.complete

    @property
    def tool_calls(self) -> tuple[Json, ...]:
        """As `Stream.tool_calls`, masked values put back."""
        return self._guard.tool_calls(self._inner.tool_calls)

    @property
    def attempts(self) -> Any:
        """As `Stream.attempts`."""
        return self._inner.attempts

    @property
    def safety(self) -> tuple[Finding, ...]:  # type: ignore[override] # the parent's is a constant: nothing
        """What the rules did so far."""
        return self._guard.findings

    def open(self) -> None:
        """The inner one is open."""

    @property
    def ended(self) -> bool:
        """See `Stream.ended`."""
        return self._over or self._inner.ended

    def on_end(self, told: Callable[[Stream, QianfanError | None], None]) -> None:
        """See `Stream.on_end`: told of what was shown, when all of it was."""
        self._listeners.append(told)

    def _tell(self, error: QianfanError | None) -> None:
        listeners, self._listeners = self._listeners, []
        for told in listeners:
            told(self, error)

    def __next__(self) -> Chunk:
        while not self._over:
            try:
                chunk = next(self._inner, None)
            except StreamError as error:
                error.text = self.text
                self._over = True
                self._tell(error)
                raise
            self._over = chunk is None
            said = self._screen(chunk or Chunk(text=""), last=chunk is None or chunk.is_last)
            if said.text or said.reasoning or said.is_last or said.usage or said.tool_calls:
                return said
        if self.complete:
            self._tell(None)
        raise StopIteration

    def _screen(self, chunk: Chunk, *, last: bool) -> Chunk:
        text, reasoning = self._chains["text"], self._chains["reasoning"]
        if self._silent:
            return dataclasses.replace(chunk, text="", reasoning="")
        try:
            stop = self._guard.flagged(chunk.raw, lambda: self.text)
            if stop is not None:
                self._silent = True
                return dataclasses.replace(chunk, text=text.add(stop), reasoning="")
            said = text.feed(chunk.text) + (text.finish() if last else "")
            thought = reasoning.feed(chunk.reasoning) + (reasoning.finish() if last else "")
        except UnsafeContent as error:
            self.close()
            log_refusal(error)
            self._tell(error)
            raise
        return dataclasses.replace(chunk, text=said, reasoning=thought)

    def reply(self) -> Reply:
        """Read the rest, and return the whole as `Client.chat` would have."""
        for _ in self:
            pass
        return dataclasses.replace(
            self._inner.reply(),
            text=self.text,
            reasoning=self.reasoning,
            tool_calls=self.tool_calls,
            safety=self.safety,
        )

    def close(self) -> None:
        """See `Stream.close`."""
        self._over = True
        self._inner.close()

    def __del__(self) -> None:
        """The inner one closes itself."""


def log_refusal(error: UnsafeContent) -> None:
    """The log line of an answer that is held back; not what is in it."""
    logger.warning(
        "answer held back by %s: %s at character %d of its %s",
        error.rule,
        error.kind,
        error.position,
        error.where,
        extra={"event": "refused", "rule": error.rule, "kind": error.kind, "position": error.position},
    )


def _log(what: str, found: Sequence[Finding]) -> None:
    logger.info(
        "%s: %s",
        what,
        "; ".join(map(str, found)),
        extra={"event": "safety", "findings": [dataclasses.asdict(it) for it in found]},
    )
