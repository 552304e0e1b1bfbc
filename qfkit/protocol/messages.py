"""Requests, replies and stream chunks as values, read from each dialect's JSON.

Reading is forgiving, as the clients of the wire reference are (section 8): gateways strip fields, and the fixtures of
2024 differ from the recordings of 2026.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, TypeAlias

Message: TypeAlias = Mapping[str, Any]
Json: TypeAlias = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens that the service counted for one request; ``total_tokens`` also holds what tools used (3.3)."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    total_tokens: int = 0

    @classmethod
    def read(cls, value: object) -> Usage | None:
        """The usage in a reply's ``usage`` member, or None when there is none."""
        if not isinstance(value, Mapping):
            return None
        prompt, completion = _count(value.get("prompt_tokens")), _count(value.get("completion_tokens"))
        return cls(prompt, completion, _count(value.get("total_tokens")) or prompt + completion)


@dataclass(frozen=True, slots=True)
class Chunk:
    """One event of a stream.

    Attributes:
        text: what this event adds to the answer; may be empty.
        reasoning: what it adds to a reasoning model's thoughts (v2 ``reasoning_content``).
        finish_reason: set on the last chunk only (v1 says ``normal`` on every one: None until ``is_end``).
        is_last: this is the event that ends the answer.
        usage: cumulative in v1, on the last chunk in v2, when sent.
        tool_calls: pieces of tool calls (v2), or the one function call (v1), as sent.
        raw: the event's JSON.
    """

    text: str
    reasoning: str = ""
    finish_reason: str | None = None
    is_last: bool = False
    usage: Usage | None = None
    tool_calls: tuple[Json, ...] = ()
    raw: Json = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class ChatReply:
    """A whole answer, with the same meanings as in `Chunk`.

    Attributes:
        need_clear_history: the service asks to drop the conversation (3.3).
        flag: the service's safety mark, 0 when nothing was found (4.2).
        ban_round: the round of the conversation that it is about, -1 for the current question; None when it does not
            say (3.3).
    """

    text: str
    reasoning: str = ""
    finish_reason: str | None = None
    usage: Usage | None = None
    tool_calls: tuple[Json, ...] = ()
    id: str | None = None
    model: str | None = None
    is_truncated: bool = False
    need_clear_history: bool = False
    flag: int = 0
    ban_round: int | None = None
    raw: Json = field(default_factory=dict, repr=False)


@dataclass(frozen=True, slots=True)
class Marks:
    """What the service has against an answer, with the meanings of `ChatReply`."""

    need_clear_history: bool = False
    flag: int = 0
    ban_round: int | None = None

    @classmethod
    def read(cls, data: Mapping[str, Any]) -> Marks:
        """The marks of a whole answer or of one event: at its top in v1 (3.3), in the choice in v2 (4.2)."""
        choices = data.get("choices")
        holder = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], Mapping) else data
        ban_round = holder.get("ban_round")
        return cls(
            holder.get("need_clear_history") is True,
            _count(holder.get("flag")),
            ban_round if isinstance(ban_round, int) and not isinstance(ban_round, bool) else None,
        )

    def __bool__(self) -> bool:
        return self.need_clear_history or self.flag != 0


class MalformedReply(ValueError):
    """The JSON is not an answer of the dialect it was read as."""


def user_message(text: str) -> Json:
    """A message of the user, as every dialect writes it."""
    return {"role": "user", "content": text}


def content_text(content: object) -> str:
    """The text of a message's content: a string, or the ``text`` parts of a list of parts (4.1)."""
    if isinstance(content, str):
        return content
    if not isinstance(content, Sequence):
        return ""
    parts = (part.get("text") for part in content if isinstance(part, Mapping) and part.get("type") == "text")
    return "\n".join(part for part in parts if isinstance(part, str))


def last_user_text(messages: object) -> str:
    """The text of the last message that a user wrote, or an empty string."""
    if not isinstance(messages, Sequence):
        return ""
    for message in reversed(messages):
        if isinstance(message, Mapping) and message.get("role") == "user":
            return content_text(message.get("content"))
    return ""


def parse_reply(dialect: str, body: object) -> ChatReply:
    """Read a whole (non-stream) answer.

    Args:
        dialect: ``text_generation`` and ``v1`` keep the text in ``result``, ``v2`` in ``choices[0].message.content``.
        body: the decoded JSON.

    Raises:
        MalformedReply: the JSON has no place where this dialect keeps its answer.
    """
    data = _object(dialect, body)
    marks = Marks.read(data)
    if dialect == "v2":
        choice = _first_choice(dialect, data)
        message = choice.get("message")
        if not isinstance(message, Mapping):
            raise MalformedReply(f"a v2 answer keeps its text in choices[0].message; got keys {sorted(choice)}")
        return ChatReply(
            text=_text(message.get("content")),
            reasoning=_text(message.get("reasoning_content")),
            finish_reason=_optional_text(choice.get("finish_reason")),
            usage=Usage.read(data.get("usage")),
            tool_calls=_tool_calls(message.get("tool_calls")),
            id=_optional_text(data.get("id")),
            model=_optional_text(data.get("model")),
            is_truncated=choice.get("finish_reason") == "length",
            need_clear_history=marks.need_clear_history,
            flag=marks.flag,
            ban_round=marks.ban_round,
            raw=data,
        )
    if not isinstance(data.get("result"), str):
        raise MalformedReply(f"a {dialect} answer keeps its text in 'result'; got keys {sorted(data)}")
    return ChatReply(
        text=data["result"],
        finish_reason=_optional_text(data.get("finish_reason")),
        usage=Usage.read(data.get("usage")),
        tool_calls=_tool_calls(data.get("function_call")),
        id=_optional_text(data.get("id")),
        is_truncated=data.get("is_truncated") is True,
        need_clear_history=marks.need_clear_history,
        flag=marks.flag,
        ban_round=marks.ban_round,
        raw=data,
    )


def parse_chunk(dialect: str, body: object) -> Chunk:
    """Read one event of a stream (3.4 and 4.3).

    An event with an empty ``choices`` list, which some servers send for usage alone, is a chunk without text.

    Raises:
        MalformedReply: the JSON has no place where this dialect keeps a delta.
    """
    data = _object(dialect, body)
    if dialect == "v1":
        if not isinstance(data.get("result"), str):
            raise MalformedReply(f"a v1 stream event keeps its text in 'result'; got keys {sorted(data)}")
        last = data.get("is_end") is True
        return Chunk(
            text=data["result"],
            finish_reason=_optional_text(data.get("finish_reason")) or "normal" if last else None,
            is_last=last,
            usage=Usage.read(data.get("usage")),
            tool_calls=_tool_calls(data.get("function_call")),
            raw=data,
        )
    usage = Usage.read(data.get("usage"))
    if data.get("choices") == []:
        return Chunk(text="", usage=usage, raw=data)
    choice = _first_choice(dialect, data)
    delta = choice.get("delta")
    delta = delta if isinstance(delta, Mapping) else {}
    finish = _optional_text(choice.get("finish_reason"))
    return Chunk(
        text=_text(delta.get("content")),
        reasoning=_text(delta.get("reasoning_content")),
        finish_reason=finish,
        is_last=finish is not None,
        usage=usage,
        tool_calls=_tool_calls(delta.get("tool_calls")),
        raw=data,
    )


def _object(dialect: str, body: object) -> Json:
    if not isinstance(body, dict):
        raise MalformedReply(f"a {dialect} answer is a JSON object, not {type(body).__name__}")
    return body


def _first_choice(dialect: str, data: Json) -> Mapping[str, Any]:
    choices = data.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], Mapping):
        return choices[0]
    raise MalformedReply(f"a {dialect} answer keeps its text in choices[0]; got keys {sorted(data)}")


def _tool_calls(value: object) -> tuple[Json, ...]:
    if isinstance(value, dict):  # v1's single function_call
        return (value,)
    return tuple(item for item in value if isinstance(item, dict)) if isinstance(value, list) else ()


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _optional_text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None


def _count(value: object) -> int:
    return value if isinstance(value, int) else 0
