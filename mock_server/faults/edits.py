"""What is done to the events of a stream before they become bytes: errors, damage, disorder, things left out or added.

Positions (`…_at`, `duplicate`, `swap`) are those of the events that the service would send, counted from 0: the
content, then the end event, then v2's ``[DONE]``. The edits follow one another in this order: swap, damage, empty
events and duplicates, what is left out, the error, comments. `…_after` counts events as they arrive, whatever they are;
comments are not events.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, TypeAlias

from mock_server.faults.options import (
    MANY,
    OptionError,
    Options,
    code,
    events,
    flag,
    one_of,
    option,
    positions,
    seconds,
    text,
    whole,
)
from qfkit.protocol.errors import translate

Kind: TypeAlias = Literal["content", "end", "marker", "error", "empty", "comment"]


@dataclass(frozen=True, slots=True)
class Event:
    """One event of a stream.

    Attributes:
        kind: ``content``; ``end``, the one that says why the answer ended; ``marker``, v2's ``[DONE]``; ``error``;
            ``empty``; ``comment``, which no decoder hands on.
        payload: what it says, without ``data:`` and line ends.
        bare: its payload is a line of its own, without ``data:``.
    """

    kind: Kind
    payload: bytes
    bare: bool = False


_EMPTY = Event("empty", b"")


@dataclass(frozen=True, init=False, repr=False, eq=False)
class Edits(Options):
    """What happens to the events.

    Raises:
        OptionError: an option is out of its range, or two contradict each other.
    """

    error_after: int | None = option(None, events(), "after so many events comes an error event; needs `error`")
    error: int | str | None = option(
        None,
        code(),
        "its code, as in `fail`: of Qianfan, of v2 or an HTTP status; it arrives in the dialect's own form",
    )
    error_message: str | None = option(None, text(optional=True), "other words than the error table's")
    error_form: str = option(
        "data", one_of("data", "line"), "the error as an event, `data: {…}`, or as a bare line of JSON, `{…}`"
    )
    error_ends: bool = option(True, flag(), "nothing but the end of the body comes after the error")
    malformed_at: tuple[int, ...] = option((), positions(), "this event's JSON lacks its first quotation mark")
    truncated_at: tuple[int, ...] = option((), positions(), "this event's JSON stops in the middle")
    empty_at: tuple[int, ...] = option((), positions(), "before this event comes one whose data is empty")
    duplicate: tuple[int, ...] = option((), positions(), "this event comes twice")
    swap: tuple[int, ...] = option((), positions(), "this event and the next one change places; in the order given")
    comment_every: int | None = option(
        None, whole(1, MANY, "a number of events", optional=True), "a comment comes before every so many events"
    )
    keep_alive: float | None = option(
        None, seconds(0.005, optional=True), "a comment comes after every so many seconds of silence"
    )
    comment: str = option("keep-alive", text(one_line=True), "what the comments say")
    end_event: bool = option(
        True, flag(), "False: the last event of JSON, with `is_end` or `finish_reason` and the usage, is missing"
    )
    end_marker: bool = option(
        True,
        flag(),
        "False: what ends the stream is missing: `data: [DONE]` in v2, the end event in the others, which have no mark",
    )

    def check(self) -> None:
        """See `Options.check`."""
        super().check()
        if (self.error is None) != (self.error_after is None):
            lacks = "error" if self.error is None else "error_after"
            raise OptionError(
                lacks, f"error_after and error go together, as in error_after=1, error=336100: add {lacks}"
            )
        if self.error is not None:
            try:
                translate(self.error, "v1")
            except ValueError as unknown:
                raise OptionError("error", str(unknown)) from unknown
        elif self.error_message is not None:
            raise OptionError("error_message", "error_message is for an error event: add error_after and error")
        if both := set(self.malformed_at) & set(self.truncated_at):
            raise OptionError("truncated_at", f"event {min(both)} cannot be malformed and truncated: choose one")


def edit(original: Sequence[Event], edits: Edits, error: Event | None) -> list[tuple[int, Event]]:
    """The events as they are delivered, comments included, each with the place in ``original`` whose time it has.

    Args:
        original: what the service would send.
        edits: what is done to it.
        error: the error event, None when there is none.
    """
    missing = set() if edits.end_event else {"end"}
    if not edits.end_marker:
        missing.add("marker" if any(event.kind == "marker" for event in original) else "end")
    delivered = list(_expanded(original, edits, missing))
    if error is not None and edits.error_after is not None and edits.error_after <= len(delivered):
        at = edits.error_after
        place = delivered[at][0] if at < len(delivered) else len(original) - 1
        delivered[at:] = [(place, error), *([] if edits.error_ends else delivered[at:])]
    if edits.comment_every is None:
        return delivered
    said = Event("comment", edits.comment.encode())
    commented: list[tuple[int, Event]] = []
    for count, (place, event) in enumerate(delivered):
        if count % edits.comment_every == 0:
            commented.append((place, said))
        commented.append((place, event))
    return commented


def _expanded(original: Sequence[Event], edits: Edits, missing: set[str]) -> Iterator[tuple[int, Event]]:
    for place, index in enumerate(swapped(len(original), edits.swap)):
        event = original[index]
        if index in edits.malformed_at:
            event = Event(event.kind, malformed(event.payload))
        elif index in edits.truncated_at:
            event = Event(event.kind, truncated(event.payload))
        if index in edits.empty_at:
            yield place, _EMPTY
        if event.kind not in missing:
            yield place, event
            if index in edits.duplicate:
                yield place, event


def swapped(count: int, swaps: Sequence[int]) -> list[int]:
    """The numbers from 0 to ``count``, after neighbours have changed places; the same swaps backwards undo it."""
    order = list(range(count))
    for first in swaps:
        if first + 1 < count:
            order[first], order[first + 1] = order[first + 1], order[first]
    return order


def malformed(payload: bytes) -> bytes:
    """A payload that is no JSON any more: its first quotation mark is gone, or its last byte where it has none."""
    before, quote, after = payload.partition(b'"')
    return before + after if quote else payload[:-1]


def truncated(payload: bytes) -> bytes:
    """The first half of a payload, cut between characters."""
    half = len(payload) // 2
    while half and payload[half] & 0xC0 == 0x80:
        half -= 1
    return payload[:half]
