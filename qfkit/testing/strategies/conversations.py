"""Conversations, as lists of messages: those that the service takes, and those that it refuses, with the refusal.

The rules are those of the wire reference (3.2, 4.1). What is refused is made of what is taken, by one change each: the
table `FLAWS` says which, and what the service answers. It is not the mock that says so: tests hold the two together.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from qfkit.protocol.dialects import INFERENCE_DIALECTS, MAX_PROMPT_CHARS, V2_ROLES, InferenceDialect
from qfkit.protocol.messages import Json
from qfkit.protocol.validation import problem_of
from qfkit.testing.strategies.invalid import Invalid
from qfkit.testing.strategies.texts import texts

Conversation: TypeAlias = list[Json]


def check_dialect(dialect: str) -> None:
    """Refuse what is none.

    Raises:
        ValueError: names those that are.
    """
    if dialect not in INFERENCE_DIALECTS:
        raise ValueError(f"dialect is one of {', '.join(INFERENCE_DIALECTS)}; got {dialect!r}")


def conversations(
    dialect: InferenceDialect = "text_generation",
    *,
    max_turns: int = 3,
    contents: SearchStrategy[str] | None = None,
    calls: bool = True,
) -> SearchStrategy[Conversation]:
    """Conversations that the service takes: questions and answers in turn, a question last.

    Shrinks to one question, ``[{"role": "user", "content": "0"}]``.

    Args:
        dialect: v2 has a system message, contents in parts, and tool calls with their results; v1 has function calls;
            text_generation has nothing but questions and answers.
        max_turns: most questions, from 1.
        contents: what is said, not blank; None for `texts`.
        calls: the assistant may call functions (v1) and tools (v2).

    Raises:
        ValueError: there is no such dialect, or no turn.
    """
    check_dialect(dialect)
    if max_turns < 1:
        raise ValueError(f"max_turns is a number of questions, from 1; got {max_turns}")
    said = texts() if contents is None else contents
    turns = st.lists(_turn(dialect, said, calls=calls), max_size=max_turns - 1)
    nothing: SearchStrategy[Conversation] = st.just([])
    opening = nothing | said.map(lambda text: [_message("system", text)]) if dialect == "v2" else nothing
    return st.builds(_joined, opening, turns, _question(dialect, said))


def _message(role: str, content: Any, **more: Any) -> Json:
    return {"role": role, "content": content, **more}


def _question(dialect: str, said: SearchStrategy[str]) -> SearchStrategy[Json]:
    whole: SearchStrategy[Any] = said
    if dialect == "v2":
        part = said.map(lambda text: {"type": "text", "text": text})
        whole = whole | st.lists(part, min_size=1, max_size=2)
    return whole.map(lambda content: _message("user", content))


def _turn(dialect: str, said: SearchStrategy[str], *, calls: bool) -> SearchStrategy[Conversation]:
    question, answer = _question(dialect, said), said.map(lambda text: _message("assistant", text))
    plain = st.tuples(question, answer).map(list)
    if not calls or dialect == "text_generation":
        return plain
    called = _tool_call(said) if dialect == "v2" else _function_call(said)
    return plain | st.builds(lambda first, between, last: [first, *between, last], question, called, answer)


_NAMES = st.from_regex(r"\A[a-z][a-z0-9_]{0,11}\Z")
_ARGUMENTS = st.sampled_from(["{}", '{"city": "北京"}', '{"n": 1, "deep": {"list": [null, true]}}'])


def _function_call(said: SearchStrategy[str]) -> SearchStrategy[Conversation]:
    def made(name: str, arguments: str, result: str) -> Conversation:
        call = {"name": name, "arguments": arguments}
        return [_message("assistant", "", function_call=call), _message("function", result, name=name)]

    return st.builds(made, _NAMES, _ARGUMENTS, said)


def _tool_call(said: SearchStrategy[str]) -> SearchStrategy[Conversation]:
    def made(name: str, arguments: str, result: str) -> Conversation:
        call = {"id": f"call_{name}", "type": "function", "function": {"name": name, "arguments": arguments}}
        return [_message("assistant", "", tool_calls=[call]), _message("tool", result, tool_call_id=call["id"])]

    return st.builds(made, _NAMES, _ARGUMENTS, said)


def _joined(opening: Conversation, turns: list[Conversation], last: Json) -> Conversation:
    return [*opening, *(message for turn in turns for message in turn), last]


# What is refused

Change: TypeAlias = "Callable[[Conversation], SearchStrategy[Conversation]]"


@dataclass(frozen=True, slots=True)
class Flaw:
    """One way to spoil a conversation.

    Attributes:
        why: what is wrong then, in words.
        change: makes the spoiled conversations of a good one.
        kind: a key of `qfkit.protocol.validation.CODES`.
        text: a key of `qfkit.protocol.validation.TEXTS`, None for that of the kind.
        values: what the text has places for.
    """

    why: str
    change: Change
    kind: str
    text: str | None = None
    values: tuple[tuple[str, object], ...] = ()


def _at(
    change: Callable[[Json], SearchStrategy[Any]],
    where: Callable[[int, Json], bool] = lambda _index, _message: True,
    instead: Conversation | None = None,
) -> Change:
    """Changes one message, of those that ``where`` says; where there is none, of the conversation ``instead``."""

    def changed(messages: Conversation) -> SearchStrategy[Conversation]:
        places = [index for index, message in enumerate(messages) if where(index, message)]
        if not places and instead is not None:
            messages, places = instead, [index for index, message in enumerate(instead) if where(index, message)]
        return st.sampled_from(places).flatmap(
            lambda at: change(messages[at]).map(lambda new: [*messages[:at], new, *messages[at + 1 :]])
        )

    return changed


def _with(**members: Any) -> Callable[[Json], SearchStrategy[Json]]:
    """The message with other members: a strategy draws its values, ``...`` takes one away."""

    def changed(message: Json) -> SearchStrategy[Json]:
        drawn = {
            name: value if isinstance(value, SearchStrategy) else st.just(value) for name, value in members.items()
        }
        return st.fixed_dictionaries(drawn).map(
            lambda new: {name: value for name, value in {**message, **new}.items() if value is not ...}
        )

    return changed


_TALK = [_message("user", "0"), _message("assistant", "0"), _message("user", "0")]
_CALLED: Conversation = [
    _message("user", "0"),
    _message("assistant", "", function_call={"name": "f", "arguments": "{}"}),
    _message("function", "0", name="f"),
]
_TOOLED: Conversation = [
    _message("user", "0"),
    _message(
        "assistant",
        "",
        tool_calls=[{"id": "call_f", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
    ),
    _message("tool", "0", tool_call_id="call_f"),
]
_NO_OBJECT: SearchStrategy[Any] = st.sampled_from(["hello", 1, None, ["user", "hello"]])
_NO_TEXT = st.sampled_from([0, 1.5, True, {"text": "0"}])
_NOTHING = st.sampled_from(["", None, ...])


def _speaks(_index: int, message: Json) -> bool:
    """Its content may not be empty: it is no call of a function or a tool."""
    return "function_call" not in message and "tool_calls" not in message


def _even(index: int, _message: Json) -> bool:
    return index % 2 == 0


def _odd(index: int, _message: Json) -> bool:
    return index % 2 == 1


_SHARED = (
    Flaw("there is no message", lambda _messages: st.just([]), "messages", "messages"),
    Flaw("a message is no object", _at(lambda _message: _NO_OBJECT), "type"),
    Flaw("a content is empty", _at(_with(content=_NOTHING), _speaks), "content", "content"),
)

_ALTERNATING = (
    *_SHARED,
    Flaw(
        "the assistant has the last word",
        lambda messages: texts().map(lambda text: [*messages, _message("assistant", text)]),
        "messages",
        "odd",
    ),
    Flaw(
        "a question is not the user's",
        _at(_with(role=st.sampled_from(["assistant", "system", "tool", "User", ""])), _even),
        "messages",
        "even role",
    ),
    Flaw(
        "an answer is not the assistant's",
        _at(_with(role=st.sampled_from(["user", "system", "function", "Assistant", ""])), _odd, _TALK),
        "messages",
        "odd role",
    ),
    Flaw(
        "a function has the first word",
        _at(_with(role="function", name="f"), lambda index, _message: index == 0),
        "messages",
        "first role",
    ),
    Flaw("a content is no text", _at(_with(content=_NO_TEXT | st.just([{"type": "text", "text": "0"}]))), "type"),
    Flaw(
        "the last content is blank",
        lambda messages: st.sampled_from([" ", "\n", "\t \r\n"]).map(
            lambda blank: [*messages[:-1], {**messages[-1], "content": blank}]
        ),
        "content",
        "content",
    ),
)

#: Dialect -> how its conversations can be wrong, the simplest first.
FLAWS: dict[str, tuple[Flaw, ...]] = {
    "text_generation": (
        *_ALTERNATING,
        Flaw(
            f"a content has {MAX_PROMPT_CHARS} characters and more",
            _at(_with(content=st.integers(0, 50).map(lambda more: "长" * (MAX_PROMPT_CHARS + more)))),
            "chars",
            values=(("limit", MAX_PROMPT_CHARS),),
        ),
    ),
    "v1": (
        *_ALTERNATING,
        Flaw(
            "the message of a function has no name",
            _at(
                _with(name=st.sampled_from([..., "", None])),
                lambda _index, message: message["role"] == "function",
                _CALLED,
            ),
            "content",
            "name",
        ),
    ),
    "v2": (
        *_SHARED,
        Flaw(
            f"a role is none of {', '.join(V2_ROLES)}",
            _at(_with(role=st.sampled_from(["function", "User", "", None, 1, ...]))),
            "messages",
            "v2 role",
        ),
        Flaw("a content is neither a text nor a list", _at(_with(content=_NO_TEXT)), "type"),
        Flaw(
            "a part of a content has no type",
            _at(_with(content=st.sampled_from([[{"text": "0"}], ["0"], [{"type": "text", "text": "0"}, {}]]))),
            "type",
        ),
        Flaw(
            "the result of a tool does not say of which call",
            _at(
                _with(tool_call_id=st.sampled_from([..., "", None])),
                lambda _index, message: message["role"] == "tool",
                _TOOLED,
            ),
            "content",
            "tool_call_id",
        ),
    ),
}


def invalid_conversations(
    dialect: InferenceDialect = "text_generation", *, max_turns: int = 3
) -> SearchStrategy[Invalid[Conversation]]:
    """Conversations with one thing wrong, each with the refusal that the service gives. Shrinks to ``[]``.

    Args:
        dialect: whose rules are broken; the table is `FLAWS`.
        max_turns: most questions of the conversation that is spoiled, from 1.

    Raises:
        ValueError: there is no such dialect, or no turn.
    """
    good = conversations(dialect, max_turns=max_turns)

    def spoiled(flaw: Flaw) -> SearchStrategy[Invalid[Conversation]]:
        problem = problem_of(dialect, flaw.kind, flaw.text, field="messages", **dict(flaw.values))
        return good.flatmap(flaw.change).map(lambda messages: Invalid(messages, dialect, problem, flaw.why))

    return st.sampled_from(FLAWS[dialect]).flatmap(spoiled)
