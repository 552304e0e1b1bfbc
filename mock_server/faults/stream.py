"""A stream with all that may happen to it: `Delivery` is every option, `stream_reply` plays them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TypeAlias

from mock_server.delivery import Ending, Reply, Write
from mock_server.faults.chunking import chunking
from mock_server.faults.edits import Edits, Event, edit
from mock_server.faults.framing import Framing, content_type, encoded, grouped, split, wire_of
from mock_server.faults.options import OptionError, Options, events, one_of, option, seconds
from mock_server.pacing import Pace


@dataclass(frozen=True, init=False, repr=False, eq=False)
class Cutting(Options):
    """How a text becomes pieces."""

    chunk: str | int | None = option(
        None,
        chunking(),
        "how the text is cut into events: by character, by token (about as `usage` counts), by word (a Chinese "
        "character is one), or so many characters each; None cuts it as the service does, a few words at a time",
    )


#: ``cut`` -> how the body ends.
CUTS: dict[str, Ending] = {"clean": "complete", "incomplete": "cut", "reset": "reset"}


@dataclass(frozen=True, init=False, repr=False, eq=False)
class Stops(Options):
    """Where a stream falls silent, and where it stops."""

    stall_after: int | None = option(None, events(), "after so many events nothing comes for a while")
    stall: float | None = option(
        None, seconds(optional=True), "for how long; None is for ever, on a connection that stays open"
    )
    cut_after: int | None = option(None, events(), "exactly so many events arrive, and the stream stops")
    cut: str = option(
        "incomplete",
        one_of(*CUTS),
        "how it stops: as HTTP ends a body, with no sign of the end in the events; without the last chunk, by closing "
        "the connection; by a TCP reset",
    )

    def check(self) -> None:
        """See `Options.check`."""
        super().check()
        if self.stall is not None and self.stall_after is None:
            raise OptionError("stall", "stall says for how long: add stall_after, the number of events before it")
        if self.cut != "incomplete" and self.cut_after is None:
            raise OptionError("cut", "cut says how a stream stops: add cut_after, the number of events before it")
        if self.stall_after is None or self.cut_after is None:
            return
        if self.stall_after > self.cut_after:
            raise OptionError("stall_after", "the stall comes after the cut, and would never be met")
        if self.stall is None:
            raise OptionError("stall", "a stall for ever comes before the cut: give stall in seconds")


@dataclass(frozen=True)
class Delivery(Cutting, Pace, Edits, Stops, Framing):
    """Everything that may happen to a stream on its way. Without any option it is played as the service would.

    Raises:
        OptionError: an option is out of its range, or two contradict each other.
    """

    def check(self) -> None:
        """See `Options.check`."""
        super().check()
        if self.error_after is not None and self.cut_after is not None and self.error_after >= self.cut_after:
            raise OptionError("error_after", "the error comes after the cut, and would never be met")
        if self.keep_alive is not None and self.stall_after is not None and self.stall is None:
            raise OptionError("keep_alive", "a stall for ever has no comments: give stall in seconds")

    @cached_property
    def timed(self) -> bool:
        """It was said when the events leave."""
        return any(name in Pace.__dataclass_fields__ for name in self.given)

    @cached_property
    def plain(self) -> bool:
        """Nothing is done to the events and their bytes; only cut up and timed they may be."""
        return all(name in Pace.__dataclass_fields__ or name == "chunk" for name in self.given)

    def check_reach(self, pieces: int) -> None:
        """Refuse what a stream of so many pieces can never meet.

        Raises:
            OptionError: an option waits for an event that does not come.
        """
        known = pieces + 2  # the end event, and v2's mark
        delivered = known + len(self.empty_at) + len(self.duplicate) + (self.error_after is not None)
        what = f"a stream of {pieces} pieces, its end event and v2's [DONE]"
        for name, at, last in self._places():
            if last >= known:
                raise OptionError(name, f"{name}={at}: {what} are the events 0 to {known - 1}")
        for name, count in self._counts():
            if count > delivered:
                raise OptionError(name, f"{name}={count}: {what} are at most {delivered} events")

    def unmet(self, original: int, delivered: int) -> tuple[str, ...]:
        """Which options waited for an event that did not come, in words.

        Args:
            original: how many events the service would have sent.
            delivered: how many there were after all edits but the cut.
        """
        late = [(name, at, original) for name, at, last in self._places() if last >= original]
        late += [(name, count, delivered) for name, count in self._counts() if count > delivered]
        return tuple(f"{name}={at} was not met: the stream had {count} events" for name, at, count in late)

    def _places(self) -> list[tuple[str, int, int]]:
        """Option, its value, and the last event that there has to be."""
        names = ("malformed_at", "truncated_at", "empty_at", "duplicate")
        places = [(name, at, at) for name in names for at in getattr(self, name)]
        return places + [("swap", at, at + 1) for at in self.swap]

    def _counts(self) -> list[tuple[str, int]]:
        counts = [(name, getattr(self, name)) for name in ("error_after", "stall_after", "cut_after")]
        return [(name, count) for name, count in counts if count is not None]


PLAIN = Delivery.of({}, "a stream")

#: Title of a group in the documentation -> its options.
GROUPS: dict[str, type[Options]] = {
    "Pieces": Cutting,
    "Time": Pace,
    "Events": Edits,
    "Silence and cuts": Stops,
    "Bytes": Framing,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Stream:
    """A stream in its dialect, before anything happens to it.

    Attributes:
        payloads: JSON of each event, on one line: the content, then the end event.
        times: when each event of content leaves, at least one moment; the end leaves with the last.
        marked: v2's ``[DONE]`` follows.
        lines: bare lines of JSON instead of server-sent events.
        kind: the service's own Content-Type.
        headers: the others.
        error: the error event's JSON, None when none is scripted.
    """

    payloads: Sequence[bytes]
    times: Sequence[float]
    marked: bool
    lines: bool
    kind: str
    headers: list[tuple[str, str]]
    error: bytes | None = None


def stream_reply(stream: Stream, delivery: Delivery = PLAIN) -> Reply:
    """The stream as it is delivered."""
    if not delivery.plain:
        return _altered(stream, delivery)
    payloads, times = stream.payloads, stream.times
    form = b"%b\n" if stream.lines else b"data: %b\n\n"
    last = times[-1]
    writes = [Write(at, form % data) for at, data in zip(times, payloads[:-1], strict=False)]
    writes.append(Write(last, form % payloads[-1]))
    if stream.marked:
        writes.append(Write(last, b"data: [DONE]\n\n"))
    return Reply(200, [("Content-Type", stream.kind), *stream.headers], tuple(writes), streamed=True)


def _altered(stream: Stream, delivery: Delivery) -> Reply:
    *content, end = stream.payloads
    original = [*(Event("content", payload) for payload in content), Event("end", end)]
    if stream.marked:
        original.append(Event("marker", b"[DONE]"))
    times = [*stream.times[: len(content)], *[stream.times[-1]] * (len(original) - len(content))]
    error = Event("error", stream.error, delivery.error_form == "line") if stream.error is not None else None
    delivered = [(times[place], event) for place, event in edit(original, delivery, error)]
    count = sum(event.kind != "comment" for _, event in delivered)
    played, ends_at, ending = _stopped(delivered, delivery)
    if delivery.keep_alive is not None:
        played = _kept_alive(played, ends_at, delivery.keep_alive, delivery.comment)
    pieces = grouped(encoded(played, delivery, lines=stream.lines), delivery)
    writes = list(split(pieces, delivery))
    if ends_at > (writes[-1].at if writes else 0.0):
        writes.append(Write(ends_at, b""))  # the silence before the end
    return Reply(
        200,
        content_type(delivery, stream.kind) + stream.headers,
        tuple(writes),
        streamed=True,
        ending=ending,
        wire=wire_of(delivery, writes[0].at if writes else 0.0),
        notes=delivery.unmet(len(original), count),
    )


Timed: TypeAlias = list[tuple[float, Event]]


def _stopped(events: Timed, stops: Stops) -> tuple[Timed, float, Ending]:
    """The events that are sent, with the stall in their times; when the stream ends; how."""
    ending: Ending = "complete"
    cut, stall = _place(events, stops.cut_after), _place(events, stops.stall_after)
    if cut is not None:
        events, ending = events[:cut], CUTS[stops.cut]
    pause = 0.0
    if stall is not None and stall <= len(events):
        if stops.stall is None:
            events, ending = events[:stall], "hang"
        elif stall == len(events):
            pause = stops.stall
        else:
            events = events[:stall] + [(at + stops.stall, event) for at, event in events[stall:]]
    return events, (events[-1][0] if events else 0.0) + pause, ending


def _place(events: Timed, count: int | None) -> int | None:
    """Where the events from number ``count`` on begin, the comments before them included; None if there are fewer."""
    if count is None:
        return None
    after = [0] + [place + 1 for place, (_, event) in enumerate(events) if event.kind != "comment"]
    return after[count] if count < len(after) else None


def _kept_alive(events: Timed, ends_at: float, every: float, comment: str) -> Timed:
    """The events with comments in every silence."""
    said = Event("comment", comment.encode())
    filled: Timed = []
    before = 0.0
    for at, event in [*events, (ends_at, None)]:
        number = 1
        while before + number * every < at:
            filled.append((before + number * every, said))
            number += 1
        if event is not None:
            filled.append((at, event))
        before = at
    return filled
