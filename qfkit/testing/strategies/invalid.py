"""What the service refuses, together with the refusal."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from qfkit.protocol.errors import ErrorSpec, lookup
from qfkit.protocol.validation import Problem

T = TypeVar("T")
U = TypeVar("U")


@dataclass(frozen=True, slots=True)
class Invalid(Generic[T]):
    """A value that the service refuses, and how.

    Attributes:
        value: the conversation, the options or the request.
        dialect: whose rules it breaks.
        problem: the refusal: code, the service's words, the field at fault.
        why: what is wrong with it, in words.
    """

    value: T
    dialect: str
    problem: Problem
    why: str

    @property
    def code(self) -> int | str:
        """The dialect's error code."""
        return self.problem.code

    @property
    def message(self) -> str:
        """The service's own words."""
        return self.problem.message

    @property
    def spec(self) -> ErrorSpec:
        """The row of the error table: status, meaning, remedy."""
        found = lookup(self.dialect, self.problem.code)
        assert found is not None
        return found

    def within(self, wrap: Callable[[T], U]) -> Invalid[U]:
        """The same refusal of something that holds the value."""
        return Invalid(wrap(self.value), self.dialect, self.problem, self.why)

    def __repr__(self) -> str:
        return f"<Invalid, {self.why}: {self.problem.code} {self.problem.message!r}: {self.value!r}>"
