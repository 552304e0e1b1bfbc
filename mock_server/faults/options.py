"""What an option may be, said once: the check that refuses a value, the words that teach it, the row of the docs.

An option is a field of a frozen dataclass that derives from `Options`, made by `option()`. Whatever the door, Python or
YAML, its value passes the same rule, and a wrong one is refused where the user wrote it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import Field, dataclass, field, fields
from functools import cached_property
from itertools import pairwise
from math import isfinite
from typing import Any, TypeVar

_Made = TypeVar("_Made", bound="Options")

#: More than any stream has events, or any answer bytes.
MANY = 10**12


class OptionError(ValueError):
    """A value that an option cannot have.

    Attributes:
        option: the option's name.
    """

    def __init__(self, option: str, message: str) -> None:
        super().__init__(message)
        self.option = option


class UnknownOption(OptionError, TypeError):
    """A name that is no option here; a `TypeError` too, as Python has it for keywords."""


@dataclass(frozen=True, slots=True)
class Rule:
    """What values an option has.

    Attributes:
        says: completes the sentence "NAME is ...".
        convert: the value as it is kept; raises `ValueError` or `TypeError` when it is none.
        schema: what JSON Schema can say of the values that ``convert`` takes; it never refuses one of them.
    """

    says: str
    convert: Callable[[Any], Any]
    schema: Mapping[str, Any] = field(default_factory=dict, compare=False)

    def check(self, name: str, value: Any) -> Any:
        """The value as it is kept.

        Raises:
            OptionError: it is none.
        """
        try:
            return self.convert(value)
        except (TypeError, ValueError):
            raise OptionError(name, f"{name} is {self.says}; got {value!r}") from None


def option(default: Any, rule: Rule, doc: str) -> Any:
    """A field of an `Options` dataclass.

    Args:
        default: its value when it is not given.
        rule: what values it may have.
        doc: what it does, a phrase for the table in ``docs/faults.md``.
    """
    return field(default=default, metadata={"rule": rule, "doc": doc})


@dataclass(frozen=True, eq=False)  # an equality made here would be of no fields, and subclasses without one inherit it
class Options:
    """Options that are checked as soon as they are written.

    A class that only lends its options to another is a ``dataclass(init=False, repr=False, eq=False, frozen=True)``:
    each method that is not made is one that an import need not compile.
    """

    def __post_init__(self) -> None:
        for each in fields(self):
            object.__setattr__(self, each.name, _rule(each).check(each.name, getattr(self, each.name)))
        self.check()

    @classmethod
    def of(cls: type[_Made], given: Mapping[str, Any], owner: str) -> _Made:
        """Options from names and values.

        Args:
            given: name -> value; those left out keep their defaults.
            owner: who has these options, for the message.

        Raises:
            UnknownOption: a name is none of them; the message names the nearest.
            OptionError: a value is out of its range, or two options contradict each other.
        """
        names = [each.name for each in fields(cls)]
        for name in given:
            if name not in names:
                raise UnknownOption(name, f"{owner} has no option {name!r}; {nearest(name, names)}")
        made = cls(**given)
        object.__setattr__(made, "given", tuple(given))
        return made

    @cached_property
    def given(self) -> tuple[str, ...]:
        """Names of the options that were written down; made without `of`, those that differ from their defaults."""
        return tuple(each.name for each in fields(self) if getattr(self, each.name) != each.default)

    def check(self) -> None:
        """Refuse options that contradict each other. Classes that override it call ``super().check()`` first.

        Raises:
            OptionError: says which two, and what to do.
        """

    @cached_property
    def written(self) -> str:
        """The given options, as they would be written in a call."""
        return ", ".join(f"{name}={_written(getattr(self, name))}" for name in self.given)


def nearest(name: str, names: Sequence[str]) -> str:
    """A hint for somebody who wrote a name that is none of ``names``."""
    from difflib import get_close_matches  # noqa: PLC0415 - for those who make mistakes

    near = get_close_matches(name, names, n=1)
    return f"did you mean {near[0]!r}?" if near else f"there are {', '.join(names)}"


def rows(options: type[Options]) -> list[tuple[str, str, str, str]]:
    """The options as rows of a table: name, values, default, what it does."""
    return [(each.name, _rule(each).says, _written(each.default), each.metadata["doc"]) for each in fields(options)]


def _rule(each: Field[Any]) -> Rule:
    rule: Rule = each.metadata["rule"]
    return rule


def _written(value: Any) -> str:
    return repr(list(value)) if isinstance(value, tuple) else repr(value)


# Rules


def number(low: float, high: float, unit: str = "a number", *, optional: bool = False) -> Rule:
    """A finite number from ``low`` to ``high``; whole ones are welcome, truth values are not."""

    def convert(value: Any) -> float | None:
        if optional and value is None:
            return None
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise TypeError
        if not (isfinite(value) and low <= value <= high):
            raise ValueError
        return float(value)

    schema = {"type": "number", "minimum": low, "maximum": high}
    return Rule(f"{unit}, from {low:g} to {high:.10g}" + _or_none(optional), convert, _or_null(optional, schema))


def seconds(low: float = 0.0, high: float = 3600.0, *, optional: bool = False) -> Rule:
    """Seconds, at most an hour."""
    return number(low, high, "in seconds", optional=optional)


def whole(low: int, high: int, what: str = "a whole number", *, optional: bool = False) -> Rule:
    """A whole number from ``low`` to ``high``; bounds beyond `MANY` go without saying."""

    def convert(value: Any) -> int | None:
        if optional and value is None:
            return None
        if type(value) is not int:
            raise TypeError
        if not low <= value <= high:
            raise ValueError
        return value

    says = what + (f", from {low}" if low > -MANY else "") + (f" to {high}" if high < MANY else "")
    bounds = {"minimum": low} if low > -MANY else {}
    schema = {"type": "integer", **bounds, **({"maximum": high} if high < MANY else {})}
    return Rule(says + _or_none(optional), convert, _or_null(optional, schema))


def events(*, optional: bool = True) -> Rule:
    """A number of events."""
    return whole(0, MANY, "a number of events", optional=optional)


def flag() -> Rule:
    """True or False."""

    def convert(value: Any) -> bool:
        if type(value) is not bool:
            raise TypeError
        return value

    return Rule("True or False", convert, {"type": "boolean"})


def one_of(*names: str, also: Mapping[str, str] | None = None, optional: bool = False) -> Rule:
    """One of a few names.

    Args:
        names: those that are kept.
        also: other spellings -> the one that is kept.
        optional: None is a value too.
    """
    spellings = {name: name for name in names} | dict(also or {})

    def convert(value: Any) -> str | None:
        if optional and value is None:
            return None
        if value not in spellings:
            raise ValueError
        return spellings[value]

    says = "one of " + ", ".join(map(repr, names)) + _or_none(optional)
    return Rule(says, convert, _or_null(optional, {"enum": list(spellings)}))


def text(*, optional: bool = False, one_line: bool = False, latin: bool = False) -> Rule:
    """A string; ``one_line`` refuses line ends, ``latin`` what a header cannot carry."""

    def convert(value: Any) -> str | None:
        if optional and value is None:
            return None
        if not isinstance(value, str):
            raise TypeError
        if one_line and ("\n" in value or "\r" in value):
            raise ValueError
        if latin:
            value.encode("latin-1")
        return value

    says = "one line of text" if one_line else "a text"
    schema = {"type": "string", **({"pattern": r"^[^\r\n]*$"} if one_line else {})}
    return Rule(says + (" in Latin-1" if latin else "") + _or_none(optional), convert, _or_null(optional, schema))


def code() -> Rule:
    """An error code, as `fail` takes it, or None; which codes there are is not this rule's business."""

    def convert(value: Any) -> int | str | None:
        if value is not None and type(value) is not int and not isinstance(value, str):
            raise TypeError
        return value

    return Rule(
        "a Qianfan code, a v2 code or an HTTP status, or None", convert, {"type": ["integer", "string", "null"]}
    )


def positions() -> Rule:
    """Numbers of events, counted from 0: one, or a list."""

    def convert(value: Any) -> tuple[int, ...]:
        listed = (value,) if type(value) is int else tuple(value)
        if isinstance(value, (str, bytes)) or any(type(each) is not int for each in listed):
            raise TypeError
        if any(each < 0 for each in listed):
            raise ValueError
        return listed

    one = {"type": "integer", "minimum": 0}
    schema = {"anyOf": [one, {"type": "array", "items": one}]}
    return Rule("the number of an event, counted from 0, or a list of such numbers", convert, schema)


def moments() -> Rule:
    """Moments in seconds, in order of time."""

    def convert(value: Any) -> tuple[float, ...]:
        one = seconds()
        listed = tuple(float(one.check("", each)) for each in value)
        if any(later < earlier for earlier, later in pairwise(listed)):
            raise ValueError
        return listed

    return Rule(
        "a list of moments, in seconds after the request, each from 0 to 3600 and none before the one ahead of it "
        "(itertools.accumulate makes them of gaps)",
        convert,
        {"type": "array", "items": {"type": "number", "minimum": 0, "maximum": 3600}},
    )


def _or_none(optional: bool) -> str:
    return ", or None" if optional else ""


def _or_null(optional: bool, schema: Mapping[str, Any]) -> Mapping[str, Any]:
    return {"anyOf": [schema, {"type": "null"}]} if optional else schema
