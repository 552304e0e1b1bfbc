"""What a step of a script does: answer, refuse, or break the answer."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from datetime import datetime
from email.utils import format_datetime
from math import ceil
from typing import TYPE_CHECKING, Any, Literal, Protocol, TypeAlias

from mock_server.answers.beside import NOTHING, Beside
from mock_server.answers.source import Source
from mock_server.faults.chunking import chunk
from mock_server.faults.options import OptionError, UnknownOption, nearest
from mock_server.faults.stream import PLAIN, Delivery
from qfkit.protocol.errors import translate

if TYPE_CHECKING:
    from mock_server.delivery import Reply

RetryAfter: TypeAlias = float | str | datetime

#: How many requests meet a step: a whole number from 1, or all that come.
Times: TypeAlias = int | Literal["forever"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Answer:
    """Say something.

    Attributes:
        text: the whole answer; None lets the mock make one up.
        pieces: how a stream is cut up; None leaves it to the delivery.
        beside: what it has beside its text.
        source: says what to answer, once there is a question; None where ``text`` and ``pieces`` do.
        delivery: what happens to a stream on its way.
        turn: how many requests met this step before; jitter and sources differ from turn to turn.
    """

    text: str | None = None
    pieces: tuple[str, ...] | None = None
    beside: Beside = NOTHING
    source: Source | None = None
    delivery: Delivery = PLAIN
    turn: int = 0

    @property
    def blocking(self) -> bool:
        """Whether saying it may take its time."""
        return self.source is not None and self.source.blocking

    def describe(self) -> str:
        """A few words for the journal."""
        said = (
            self.source.describe()
            if self.source is not None
            else f"stream of {len(self.pieces)} pieces"
            if self.pieces is not None
            else f"reply {_short(self.text)!r}"
            if self.text is not None
            else "tool call"
            if self.beside.tool_calls
            else f"{len(self.beside.vectors)} vectors"
            if self.beside.vectors
            else f"{len(self.beside.scores)} scores"
            if self.beside.scores
            else "default"
        )
        options = self.delivery.written
        return f"{said} ({options})" if options else said

    def at_turn(self, turn: int) -> Answer:
        """The step as the request after ``turn`` others meets it."""
        return replace(self, turn=turn) if self.source is not None or self.delivery.jittered else self


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """Refuse, in the service's own form.

    Attributes:
        code: a Qianfan code, a v2 string code or an HTTP status (400 to 599).
        message: other words than the error table's.
        retry_after: the ``Retry-After`` header: seconds, a moment, or its very text.
    """

    code: int | str
    message: str | None = None
    retry_after: RetryAfter | None = None

    def __post_init__(self) -> None:
        translate(self.code, "v1")  # an unknown code is refused where the user wrote it, not when a request meets it
        if isinstance(self.retry_after, (int, float)) and not 0 <= self.retry_after <= 86400:
            raise ValueError(f"retry_after is in seconds, from 0 to 86400; got {self.retry_after!r}")

    def describe(self) -> str:
        """A few words for the journal."""
        return f"fail {self.code}"

    def headers(self) -> list[tuple[str, str]]:
        """``Retry-After`` as RFC 9110 10.2.3 has it.

        Its seconds are whole, so a fraction is rounded up there and given exactly in ``retry-after-ms``, which
        openai-python and the Qianfan JavaScript SDK read first.
        """
        if self.retry_after is None:
            return []
        if isinstance(self.retry_after, str):
            return [("Retry-After", self.retry_after)]
        if isinstance(self.retry_after, datetime):
            return [("Retry-After", format_datetime(self.retry_after, usegmt=True))]
        headers = [("Retry-After", str(ceil(self.retry_after)))]
        if self.retry_after != int(self.retry_after):
            headers.append(("retry-after-ms", str(round(self.retry_after * 1000))))
        return headers


class Custom(Protocol):
    """A step that makes the whole answer itself: a `Fault`, or one of the caller's own."""

    def apply(self, ordinary: Callable[[str | None], Reply]) -> Reply:
        """The answer to one request.

        Args:
            ordinary: makes the answer that would be given without the step; its text, or None for a made-up one.
        """
        ...

    def describe(self) -> str:
        """A few words for the journal."""
        ...


Action: TypeAlias = Answer | Failure | Custom

#: What a request gets when no step is waiting.
DEFAULT = Answer()


def answer(
    text: str | None = None, options: Mapping[str, Any] | None = None, *, source: Source | None = None
) -> Answer:
    """An answer as `Scripting.reply` and its kin take it.

    Args:
        text: what it says; None makes it up, or leaves it to the source.
        options: of `AnswerOptions`.
        source: says what to answer, once there is a question.

    Raises:
        UnknownOption: there is no such option; the message names the nearest.
        OptionError: an option is wrong.
    """
    if not options:
        return Answer(text=text, source=source)
    beside = {name: value for name, value in options.items() if name in _BESIDE}
    delivery = {name: value for name, value in options.items() if name not in _BESIDE}
    for name in delivery:
        if name not in _DELIVERY:
            raise UnknownOption(name, f"an answer has no option {name!r}; {nearest(name, [*_BESIDE, *_DELIVERY])}")
    return Answer(
        text=text,
        source=source,
        beside=Beside.of(beside, "an answer") if beside else NOTHING,
        delivery=Delivery.of(delivery, "an answer") if delivery else PLAIN,
    )


_BESIDE = tuple([each.name for each in fields(Beside)])
_DELIVERY = tuple([each.name for each in fields(Delivery)])


def stream(pieces: Sequence[str], given: Mapping[str, Any]) -> Answer:
    """An answer as `Scripting.stream` takes it.

    Raises:
        TypeError: ``pieces`` is not a list of strings, nor a text that an option says how to cut.
        ValueError: an option of the delivery is wrong, or waits for an event that the stream will not have.
    """
    made = answer(options=given)
    options = made.delivery
    if isinstance(pieces, str) and options.chunk is not None:
        cut = chunk(pieces, options.chunk)
    elif options.chunk is not None:
        raise OptionError("chunk", "chunk says how to cut a text, and these pieces are cut already: give one text")
    else:
        cut = pieces_of(pieces)
    options.check_reach(len(cut))
    return replace(made, pieces=cut)


def pieces_of(pieces: Sequence[str]) -> tuple[str, ...]:
    """A stream's pieces, checked: a bare string would be cut into its characters by accident.

    Raises:
        TypeError: ``pieces`` is a string or holds something else than strings.
    """
    if isinstance(pieces, str) or not all(isinstance(piece, str) for piece in pieces):
        raise TypeError(
            "stream() takes a list of strings, one a chunk, such as ['你', '好'], or a text and how to cut it, "
            f"chunk='character', 'token', 'word' or a number; got {pieces!r}"
        )
    return tuple(pieces)


def _short(text: str, limit: int = 20) -> str:
    return text if len(text) <= limit else f"{text[:limit]}…"
