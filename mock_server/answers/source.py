"""What all sources of answers are."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mock_server.matching.question import Question


class SourceError(RuntimeError):
    """A source could not say anything: a mistake of whoever wrote the script, told as the request's diagnosis."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Spoken:
    """What a source says to one question.

    Attributes:
        text: the whole answer; None lets the mock make one up.
        pieces: how a stream is cut up, instead of ``text``.
        options: options of `beside.Beside` that go before those of the step.
        notes: what was asked for and could not be met, in words, for the journal.
    """

    text: str | None = None
    pieces: tuple[str, ...] | None = None
    options: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


class Source(ABC):
    """Says what to answer to a question. Frozen, and safe for any number of threads."""

    __slots__ = ()

    @property
    def blocking(self) -> bool:
        """Whether it runs what may take its time, and so must not run on an event loop."""
        return False

    @abstractmethod
    def speak(self, question: Question, turn: int) -> Spoken:
        """What to answer.

        Args:
            question: what was asked.
            turn: how many requests met the step before.

        Raises:
            SourceError: it cannot say anything; the message says where and why.
        """

    @abstractmethod
    def describe(self) -> str:
        """A few words for the journal."""
