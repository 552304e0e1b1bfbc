"""What a conversation remembers: its turns, how much of them a request can hold, and what the service has struck out.

A turn begins with a message of the user and lasts until the next one: question, calls of tools with their results,
answer. Turns are dropped whole, the oldest first, so that what is left begins with the user, alternates as it did, and
never holds the result of a call without the call. The system prompt and the turn under way always stay.

Pure: no I/O here.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from qfkit.client.exceptions import ConfigurationError
from qfkit.client.replies import Reply
from qfkit.protocol.dialects import MAX_PROMPT_CHARS, MAX_REQUEST_BYTES, InferenceDialect
from qfkit.protocol.messages import Json, Message, content_text
from qfkit.protocol.models import by_endpoint, by_name
from qfkit.protocol.tokens import estimate
from qfkit.protocol.validation import validate

#: v2 flags of an answer that may not be shown, or is taken back (4.2).
WITHDRAWN_FLAGS = (3, 4)

_SYSTEM_SEAM = "\n\n"  # what `calls` puts between a system prompt and the first message of text_generation


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryLimits:
    """What one request may hold. None is no limit.

    Attributes:
        chars: characters of all messages and the system prompt together.
        tokens: their tokens, estimated as the official SDK does (3.8).
        message_chars: characters of each single message.
        body_bytes: bytes of the request's JSON, parameters included.
    """

    chars: int | None = None
    tokens: int | None = None
    message_chars: int | None = None
    body_bytes: int | None = None

    @classmethod
    def of(cls, dialect: InferenceDialect, model: str) -> HistoryLimits:
        """The documented ones: of the model's row (3.1); of text_generation as a whole (tutorial 7.2, 8).

        A service of one's own, and a model that no table knows, has none.
        """
        if dialect == "text_generation":
            # The service asks for *less* than 4096 characters.
            return cls(message_chars=MAX_PROMPT_CHARS - 1, body_bytes=MAX_REQUEST_BYTES)
        known = by_endpoint(model) if model.startswith("/") else by_name(model)
        return cls() if known is None else cls(chars=known.max_chars, tokens=known.max_tokens)

    def __post_init__(self) -> None:
        for name in ("chars", "tokens", "message_chars", "body_bytes"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise ConfigurationError(f"HistoryLimits({name}=...) is a whole number from 1, or None; got {value!r}")


@dataclass(frozen=True, slots=True)
class Size:
    """How large something to be sent is; sizes add up.

    ``tokens`` of two texts may be one more than those of their sum, since each is rounded up: never too few.
    """

    chars: int = 0
    tokens: int = 0
    longest: int = 0
    bytes: int = 0

    def __add__(self, other: Size) -> Size:
        return Size(
            self.chars + other.chars,
            self.tokens + other.tokens,
            max(self.longest, other.longest),
            self.bytes + other.bytes,
        )

    def over(self, limits: HistoryLimits) -> list[str]:
        """What does not fit, each in words with both numbers."""
        pairs = (
            (self.chars, limits.chars, "characters"),
            (self.tokens, limits.tokens, "tokens (estimated)"),
            (self.longest, limits.message_chars, "characters in one message"),
            (self.bytes, limits.body_bytes, "bytes of request body"),
        )
        return [f"{has} {unit}, {most} at most" for has, most, unit in pairs if most is not None and has > most]


def size_of(message: Message) -> Size:
    """The size of one message, and of the comma or line that separates it from the next."""
    text = content_text(message.get("content"))
    # Lone surrogates are refused by name when the request is written; here they only must not stop the counting.
    written = json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "surrogatepass")
    return Size(len(text) + 1, estimate(text), len(text), len(written) + 1)


def system_size(system: str | None) -> Size:
    """The size of a system prompt, wherever the dialect puts it."""
    if not system:
        return Size()
    written = json.dumps(system, ensure_ascii=False).encode("utf-8", "surrogatepass")
    return Size(len(system) + 1, estimate(system), 0, len(written))


def starts(messages: Sequence[Message]) -> list[int]:
    """Where turns begin: the places of the user's messages."""
    return [index for index, message in enumerate(messages) if message.get("role") == "user"]


@dataclass(frozen=True, slots=True)
class Fit:
    """What of a history can be sent.

    Attributes:
        keep_from: the first message that stays; the length of the history when none does.
        turns: how many turns are left out.
        excess: what does not fit even then, in words; empty when all is well.
    """

    keep_from: int
    turns: int
    excess: tuple[str, ...] = ()


def fit(
    dialect: InferenceDialect,
    history: Sequence[Message],
    turn: Sequence[Message],
    system: str | None,
    limits: HistoryLimits,
    *,
    overhead: int = 0,
) -> Fit:
    """The most of ``history`` that can be sent together with ``turn``: its last turns, as many as fit.

    Args:
        dialect: text_generation sends the system prompt in front of the first message that is left, so it counts as
            part of that message.
        history: whole turns, the oldest first.
        turn: the turn under way, which always stays.
        system: the system prompt, which always stays.
        limits: what to keep to.
        overhead: bytes of the request's body besides messages and system prompt.
    """
    places = starts(history)
    # text_generation has no other place for a system prompt than the first message: see `calls`.
    joined = len(system) + len(_SYSTEM_SEAM) if system and dialect == "text_generation" else 0

    def excess(first: Message, size: Size) -> list[str]:
        head = len(content_text(first.get("content"))) + joined
        return (size + Size(longest=head, chars=-1)).over(limits)  # nothing separates the last message from a next

    size = sum((size_of(message) for message in turn), system_size(system) + Size(bytes=overhead))
    if found := excess(turn[0], size):
        return Fit(len(history), len(places), tuple(found))
    best = Fit(len(history), len(places))
    end = len(history)
    # From the newest turn back. Sizes only grow; but what the system prompt is joined to is another message each time,
    # so one that is too long in front does not mean that nothing older will do.
    for index in range(len(places) - 1, -1, -1):
        start = places[index]
        size = sum((size_of(message) for message in history[start:end]), size)
        if (size + Size(chars=-1)).over(limits):
            break
        if not excess(history[start], size):
            best = Fit(start, index)
        end = start
    return best


def check_history(dialect: InferenceDialect, messages: Sequence[Message]) -> list[Json]:
    """Copies of ``messages``, if they are the past of a conversation.

    Raises:
        ConfigurationError: the dialect would not take them with a question after them; says why, in the service's own
            words where it has some.
    """
    given: object = messages
    if not isinstance(given, Sequence) or not all(isinstance(message, Mapping) for message in given):
        raise ConfigurationError(
            "the messages of a conversation are a list such as [{'role': 'user', 'content': '你好'}, "
            f"{{'role': 'assistant', 'content': '你好!'}}]; got {type(messages).__name__}"
        )
    copies = [dict(message) for message in messages]
    roles = [message.get("role") for message in copies]
    if "system" in roles:
        raise ConfigurationError("a conversation keeps its system prompt apart: give it as system=, not as a message")
    if not copies:
        return copies
    if roles[0] != "user" or roles[-1] != "assistant":
        raise ConfigurationError(
            "the past of a conversation begins with the user and ends with the assistant; these begin with "
            f"{roles[0]!r} and end with {roles[-1]!r}. Ask the last question with say(), do not put it into messages="
        )
    # As the service would see it with the next question; limits of length are not for now.
    problem = validate(dialect, "chat", {"model": "any", "messages": [*copies, {"role": "user", "content": "?"}]})
    if problem is not None and problem.field == "messages" and "max input" not in problem.message:
        raise ConfigurationError(f"{dialect} does not take these messages as a history: {problem.message}")
    return copies


def answer_message(dialect: str, reply: Reply) -> Json:
    """An answer as a message of a history; a reasoning model's thoughts stay out, as the service wants it."""
    message: Json = {"role": "assistant", "content": reply.text}
    if reply.tool_calls and dialect == "v2":
        # `index` belongs to the pieces of a stream only.
        message["tool_calls"] = [{k: v for k, v in call.items() if k != "index"} for call in reply.tool_calls]
    elif reply.tool_calls:
        message["function_call"] = dict(reply.tool_calls[0])
    return message


def rounds_to_keep(messages: Sequence[Message], ban_round: int | None) -> int:
    """How many messages stay when the service asks to clear a history (``need_clear_history``, 3.3).

    Args:
        messages: the history that was sent, without the question under way.
        ban_round: -1 for the current question, which leaves the history as it is; 1 for the first round; None when the
            service does not say, and all of it goes. Whether rounds count from 0 or 1 is written nowhere [guess]:
            counted from 1, what goes is never too little. Rounds beyond the history are the current question.
    """
    if ban_round is None or ban_round == 0 or ban_round < -1:
        return 0
    places = starts(messages)
    if ban_round == -1 or ban_round > len(places):
        return len(messages)
    return places[ban_round - 1]


def sum_tokens(messages: Iterable[Message], system: str | None) -> int:
    """Estimated tokens of a conversation."""
    return sum(estimate(content_text(message.get("content"))) for message in messages) + estimate(system or "")
