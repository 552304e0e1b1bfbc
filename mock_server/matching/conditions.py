"""The conditions that a matcher's options stand for: functions from a question to what it misses, or None."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeAlias

from mock_server.matching.calling import name_of, useless
from mock_server.matching.mismatch import Mismatch
from mock_server.matching.question import Question
from mock_server.matching.rules import masked, pattern_of, plain
from qfkit.protocol.models import by_name

if TYPE_CHECKING:
    from mock_server.matching.matcher import Matcher

Condition: TypeAlias = Callable[[Question], "Mismatch | None"]

_ABSENT = object()


def build(matcher: Matcher) -> tuple[Condition, ...]:
    """The conditions of a matcher, cheap ones first, the predicate last."""
    return tuple(condition for name, make in _MAKERS.items() for condition in _made(make, matcher, name))


def _made(make: Callable[[Matcher], Iterator[Condition]], matcher: Matcher, name: str) -> Iterator[Condition]:
    if getattr(matcher, name) is not None:
        yield from make(matcher)


def _equal(name: str) -> Callable[[Matcher], Iterator[Condition]]:
    """A condition on an attribute of the question that has the matcher's name and value."""

    def make(matcher: Matcher) -> Iterator[Condition]:
        wanted = getattr(matcher, name)

        def check(question: Question) -> Mismatch | None:
            got = getattr(question, name)
            return None if got == wanted else Mismatch(name, wanted, got, "letters")

        yield check

    return make


def _model(matcher: Matcher) -> Iterator[Condition]:
    wanted = matcher.model or ""
    folded, known = wanted.strip().casefold(), by_name(wanted)

    def check(question: Question) -> Mismatch | None:
        got = question.model
        if (got is not None and got.casefold() == folded) or (known is not None and question.known_model is known):
            return None
        return Mismatch("model", wanted, got, "letters")

    yield check


def _endpoint(matcher: Matcher) -> Iterator[Condition]:
    wanted = (matcher.endpoint or "").strip("/").casefold()

    def check(question: Question) -> Mismatch | None:
        for path in (question.endpoint, question.path):
            if path is not None and path.strip("/").casefold() == wanted:
                return None
        return Mismatch("endpoint", matcher.endpoint, question.endpoint or question.path, "letters")

    yield check


def _texts(matcher: Matcher) -> Callable[[Question], tuple[str, ...]]:
    """Where ``contains`` and ``regex`` look."""
    role, position = matcher.role, matcher.position
    if role is None and position is None:
        return lambda question: (question.text,)
    return lambda question: question.texts_of(role, position)


def _contains(matcher: Matcher) -> Iterator[Condition]:
    texts_of = _texts(matcher)
    for wanted in matcher.contains or ():
        yield _containing(wanted, texts_of)


def _containing(wanted: str, texts_of: Callable[[Question], tuple[str, ...]]) -> Condition:
    def check(question: Question) -> Mismatch | None:
        texts = texts_of(question)
        for text in texts:
            if wanted in text:
                return None
        return Mismatch("contains", wanted, texts if len(texts) > 1 else texts[0] if texts else None, "part")

    return check


def _regex(matcher: Matcher) -> Iterator[Condition]:
    texts_of, wanted = _texts(matcher), matcher.regex or ""
    search = re.compile(wanted).search

    def check(question: Question) -> Mismatch | None:
        texts = texts_of(question)
        for text in texts:
            if search(text):
                return None
        return Mismatch("regex", wanted, texts[-1] if texts else None)

    yield check


def _message(matcher: Matcher) -> Iterator[Condition]:
    """That there is a message of the role, or at the position: where no text of it is looked for."""
    if matcher.contains is not None or matcher.regex is not None:
        return
    role, position = matcher.role, matcher.position
    field, wanted = ("role", role) if role is not None else ("position", position)

    def check(question: Question) -> Mismatch | None:
        if question.texts_of(role, position):
            return None
        messages = question.messages
        if field == "position":
            return Mismatch(field, wanted, f"{len(messages)} messages")
        if position is None:
            return Mismatch(field, wanted, [each.get("role") for each in messages])
        there = messages[position].get("role") if -len(messages) <= position < len(messages) else None
        return Mismatch(f"role at {position}", wanted, there)

    yield check


def _position(matcher: Matcher) -> Iterator[Condition]:
    if matcher.role is None:  # else the condition on the role has seen to it
        yield from _message(matcher)


def _header(matcher: Matcher) -> Iterator[Condition]:
    for name, wanted in (matcher.header or {}).items():
        yield _one_header(name, wanted)


def _one_header(name: str, wanted: str | None) -> Condition:
    field = f"header {name}"
    pattern = pattern_of(wanted) if wanted is not None else None
    search = re.compile(pattern).search if pattern else None

    def check(question: Question) -> Mismatch | None:
        got = question.header(name)
        if search is not None and got is not None and search(got):
            return None
        if search is None and got == wanted:
            return None
        secret = any(value is not None and masked(name, value) != value for value in (got, wanted))
        shown = [value if value is None else masked(name, value) for value in (wanted, got)]
        return Mismatch(field, shown[0] or "no such header", shown[1], "nothing" if secret or search else "letters")

    return check


def _json(matcher: Matcher) -> Iterator[Condition]:
    for name, wanted in (matcher.json or {}).items():
        yield _member(name, wanted)


def _member(name: str, wanted: Any) -> Condition:
    def check(question: Question) -> Mismatch | None:
        return _differs(f"json.{name}", wanted, question.json.get(name, _ABSENT))

    return check


def _differs(path: str, wanted: Any, got: Any) -> Mismatch | None:
    """The first place where ``got`` lacks something of ``wanted``."""
    if got is _ABSENT:
        return Mismatch(path, wanted, None)
    if isinstance(wanted, Mapping) and isinstance(got, dict):
        places = ((f"{path}.{key}", value, got.get(key, _ABSENT)) for key, value in wanted.items())
        return next((found for place in places if (found := _differs(*place))), None)
    if isinstance(wanted, (list, tuple)) and isinstance(got, list):
        if len(wanted) != len(got):
            return Mismatch(f"{path} length", len(wanted), len(got))
        items = ((f"{path}[{index}]", *pair) for index, pair in enumerate(zip(wanted, got, strict=True)))
        return next((found for item in items if (found := _differs(*item))), None)
    # JSON tells true from 1, which Python does not; 1 and 1.0 are the same number to it.
    if isinstance(wanted, bool) is isinstance(got, bool) and wanted == got:
        return None
    return Mismatch(path, wanted, got, "letters")


def _tools(matcher: Matcher) -> Iterator[Condition]:
    wanted = matcher.tools

    def check(question: Question) -> Mismatch | None:
        got = question.tools
        fits = bool(got) is wanted if isinstance(wanted, bool) else wanted in got
        return None if fits else Mismatch("tools", wanted, list(got))

    yield check


def _attempt(matcher: Matcher) -> Iterator[Condition]:
    wanted = matcher.attempt or ()

    def check(question: Question) -> Mismatch | None:
        got = question.attempt
        return None if got in wanted else Mismatch("attempt", plain(wanted), got, "time")

    yield check


def _where(matcher: Matcher) -> Iterator[Condition]:
    function = matcher.where
    assert function is not None

    def check(question: Question) -> Mismatch | None:
        got = question.once(function)
        try:
            fits = bool(got)
        except Exception as error:
            raise useless(function, got, "True or False") from error
        return None if fits else Mismatch("where", name_of(function), got)

    yield check


#: Option of a matcher -> its conditions. ``state`` and ``call`` are not here: they depend on what came before.
_MAKERS: dict[str, Callable[[Matcher], Iterator[Condition]]] = {
    "dialect": _equal("dialect"),
    "operation": _equal("operation"),
    "stream": _equal("stream"),
    "model": _model,
    "endpoint": _endpoint,
    "tools": _tools,
    "attempt": _attempt,
    "role": _message,
    "position": _position,
    "contains": _contains,
    "regex": _regex,
    "json": _json,
    "header": _header,
    "where": _where,
}
