"""What values a matcher may have."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mock_server.faults.options import MANY, Rule, flag, one_of, whole
from mock_server.journal import redact
from qfkit.protocol.dialects import INFERENCE_DIALECTS


def _optional(rule: Rule) -> Rule:
    return Rule(rule.says, lambda value: None if value is None else rule.convert(value))


def _name(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise TypeError
    return value


def _some(value: Any, convert: Callable[[Any], Any]) -> tuple[Any, ...]:
    listed = value if isinstance(value, Sequence) and not isinstance(value, (str, bytes)) else (value,)
    if not listed:
        raise ValueError
    return tuple(convert(each) for each in listed)


def _ordinal(value: Any) -> int:
    if type(value) is not int or value < 1:
        raise ValueError
    return value


def _regex(value: Any) -> str:
    try:
        re.compile(_name(value))
    except re.error as error:
        raise ValueError(str(error)) from error
    return str(value)


def _headers(value: Any) -> Mapping[str, str | None]:
    if not isinstance(value, Mapping) or not value:
        raise TypeError
    for name, wanted in value.items():
        _name(name)
        if wanted is not None:
            if not isinstance(wanted, str):
                raise TypeError
            if pattern := pattern_of(wanted):
                _regex(pattern)
    return dict(value)


def pattern_of(wanted: str) -> str | None:
    """The regular expression of a value that is written ``/…/``."""
    return wanted[1:-1] if len(wanted) > 2 and wanted[0] == wanted[-1] == "/" else None


def masked(name: str, value: str) -> str:
    """A header's value as the journal writes it."""
    return redact(((name, value),))[0][1]


def _json(value: Any) -> Mapping[str, Any]:
    if not isinstance(value, Mapping) or not value or not all(isinstance(key, str) for key in value):
        raise TypeError
    return dict(value)


def _tools(value: Any) -> bool | str:
    return value if isinstance(value, bool) else _name(value)


def _predicate(value: Any) -> Callable[[Any], object]:
    if not callable(value) or inspect.iscoroutinefunction(value):
        raise TypeError
    found: Callable[[Any], object] = value
    return found


def plain(values: tuple[Any, ...]) -> Any:
    """One value as itself, more as a list: as they are written."""
    return values[0] if len(values) == 1 else list(values)


DIALECT = one_of(*INFERENCE_DIALECTS, optional=True)
NAME = _optional(Rule("a text that is not empty", _name))
TEXTS = _optional(Rule("a text that is not empty, or a list of such texts", lambda value: _some(value, _name)))
REGEX = _optional(Rule("a regular expression of Python's `re`", _regex))
POSITION = whole(-MANY, MANY, "the position of a message, from 0, or from -1 for the last", optional=True)
HEADERS = _optional(Rule("headers by name: a value, a regular expression written `/…/`, or None for absent", _headers))
JSON = _optional(Rule("members of the body by name, at least one", _json))
FLAG = _optional(flag())
TOOLS = _optional(Rule("True, False or the name of a function", _tools))
NUMBERS = _optional(Rule("a whole number from 1, or a list of such numbers", lambda value: _some(value, _ordinal)))
PREDICATE = _optional(Rule("a function (not async) that takes the question and returns whether it fits", _predicate))
