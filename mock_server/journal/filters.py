"""Which requests: filters that say, of a request that they leave out, what differed."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from difflib import get_close_matches
from fnmatch import fnmatchcase
from typing import Any

import msgspec

from mock_server.journal.entry import Entry
from mock_server.matching.mismatch import By, Mismatch
from qfkit.protocol.signing import Reason

#: Values of ``signature`` beside the reasons of a verdict: signed and right, signed and wrong, not signed.
_SIGNATURES = ("ok", "wrong", "none", *(reason.value for reason in Reason if reason is not Reason.OK))

_OUTCOMES = ("pending", "complete", "cut", "reset", "hung up")


def _same(wanted: Any, got: Any) -> bool:
    return bool(wanted == got)


def _inside(wanted: Any, got: Any) -> bool:
    return got is not None and str(wanted) in got


def _path(wanted: Any, got: Any) -> bool:
    return fnmatchcase(got, str(wanted))


def _model(wanted: Any, got: Any) -> bool:
    return got is not None and str(wanted).lower() == got.lower()


def _signature(wanted: Any, got: Any) -> bool:
    return wanted == got or (wanted == "wrong" and got not in {"ok", "none"})


def _reason(entry: Entry) -> str:
    return entry.signature.reason.value if entry.signature else "none"


def _text(entry: Entry) -> str:
    """The body as a person reads it: JSON without escapes."""
    found = entry.json
    return entry.body.decode("utf-8", "replace") if found is None else msgspec.json.encode(found).decode()


#: Filter -> (what an entry has, whether that is what is wanted, how its distance is told).
_FILTERS: dict[str, tuple[Callable[[Entry], Any], Callable[[Any, Any], bool], By]] = {
    "dialect": (lambda entry: entry.dialect, _same, "nothing"),
    "operation": (lambda entry: entry.operation, _same, "nothing"),
    "method": (lambda entry: entry.method, _same, "nothing"),
    "path": (lambda entry: entry.path, _path, "letters"),
    "model": (lambda entry: entry.model, _model, "letters"),
    "account": (lambda entry: entry.account or "nobody", _same, "letters"),
    "status": (lambda entry: entry.status, _same, "nothing"),
    "code": (lambda entry: entry.error_code, _same, "nothing"),
    "ok": (lambda entry: entry.ok, _same, "nothing"),
    "stream": (lambda entry: entry.stream, _same, "nothing"),
    "contains": (_text, _inside, "part"),
    "answered_by": (lambda entry: entry.answered_by, _inside, "letters"),
    "rule": (lambda entry: entry.rule, _inside, "letters"),
    "signature": (_reason, _signature, "nothing"),
    "scheme": (lambda entry: entry.scheme, _same, "nothing"),
    "outcome": (lambda entry: entry.outcome, _same, "nothing"),
    "request_id": (lambda entry: entry.request_id, _same, "letters"),
    "since": (lambda entry: entry.time, lambda wanted, got: got >= wanted, "nothing"),
    "until": (lambda entry: entry.time, lambda wanted, got: got <= wanted, "nothing"),
    "predicate": (lambda entry: entry, lambda wanted, got: bool(wanted(got)), "nothing"),
}

#: Filter -> its only values.
_CHOICES = {"signature": _SIGNATURES, "outcome": _OUTCOMES}


class Filters:
    """Conditions on a request, all of which have to hold.

    Args:
        given: name -> value. A list is any of its values; of ``contains``, all. None is no condition.

    Raises:
        TypeError: there is no such filter; the message names the nearest.
        ValueError: the filter has no such value.
    """

    def __init__(self, given: Mapping[str, Any]) -> None:
        self._given = {name: value for name, value in given.items() if value is not None}
        for name, value in self._given.items():
            if name not in _FILTERS:
                near = get_close_matches(name, _FILTERS, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(_FILTERS)}"
                raise TypeError(f"requests cannot be filtered by {name!r}; {hint}")
            for one in _values(value):
                _check(name, one)

    def __str__(self) -> str:
        return ", ".join(f"{name}={_written(value)}" for name, value in self._given.items())

    def __bool__(self) -> bool:
        return bool(self._given)

    def fit(self, entry: Entry) -> bool:
        """Whether all of them hold."""
        return all(_holds(name, value, entry) for name, value in self._given.items())

    def misses(self, entry: Entry) -> list[Mismatch]:
        """What differs, in the order in which the filters were written; nothing when all hold."""
        return [
            Mismatch(name, _wanted(name, value), _got(name, entry), _FILTERS[name][2])
            for name, value in self._given.items()
            if not _holds(name, value, entry)
        ]


def _values(value: Any) -> list[Any]:
    return list(value) if isinstance(value, (list, tuple, set, frozenset)) else [value]


def _holds(name: str, value: Any, entry: Entry) -> bool:
    read, fits, _by = _FILTERS[name]
    got = read(entry)
    hold = [fits(one, got) for one in _values(value)]
    return all(hold) if name == "contains" else any(hold)


def _wanted(name: str, value: Any) -> Any:
    if name == "predicate":
        return _written(value)
    values = _values(value)
    return values[0] if len(values) == 1 else " or ".join(map(str, values))


def _got(name: str, entry: Entry) -> Any:
    return "False" if name == "predicate" else _FILTERS[name][0](entry)


def _check(name: str, value: Any) -> None:
    if name == "predicate":
        if not callable(value):
            raise TypeError(f"predicate is a function that is given an entry; got {value!r}")
        return
    choices = _CHOICES.get(name)
    if choices and value not in choices:
        raise ValueError(f"{name} is one of {', '.join(choices)}; got {value!r}")
    if name in {"ok", "stream"} and not isinstance(value, bool):
        raise ValueError(f"{name} is True or False; got {value!r}")
    if name in {"since", "until"} and (isinstance(value, bool) or not isinstance(value, (int, float))):
        raise ValueError(f"{name} is a Unix time in seconds; got {value!r}")


def _written(value: Any) -> str:
    return getattr(value, "__name__", repr(value)) if callable(value) else repr(value)
