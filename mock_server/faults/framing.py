"""The bytes of a stream: how an event is written, and how the bytes are grouped and split.

A piece of a `Reply` is a write and an HTTP chunk of its own. So ``byte-chunks`` and ``inside-characters``, which split
pieces, are seen by clients that read chunk by chunk as well as by those that read what the socket gives. ``byte`` and
``inside-chunk-headers`` leave the chunks as they are and split the writes below them: that is `Wire`'s business.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

from mock_server.delivery import Wire, Write
from mock_server.faults.edits import Event
from mock_server.faults.options import MANY, OptionError, Options, flag, one_of, option, seconds, text, whole

NEWLINES = {"lf": "\n", "crlf": "\r\n", "cr": "\r"}
#: ``content_type`` that leaves the service's own.
AUTO = "auto"
#: Ways to write that split the pieces of a reply, and those that split what lies below them.
_SPLITS, _DEEPER_SPLITS = ("byte-chunks", "inside-characters"), ("byte", "inside-chunk-headers")
_BOM = b"\xef\xbb\xbf"
_FIRST_OF_MANY = rb"[\xc0-\xff](?=[\x80-\xbf])"


@dataclass(frozen=True, init=False, repr=False, eq=False)
class Framing(Options):
    """How the events are put into bytes and segments.

    Raises:
        OptionError: an option is out of its range, or two contradict each other.
    """

    newline: str = option("\n", one_of(*NEWLINES.values(), also=NEWLINES), "line ends; also written lf, crlf, cr")
    bom: bool = option(False, flag(), "a byte order mark comes first")
    final_newline: bool = option(True, flag(), "False: the last event that is sent has no line end after it")
    writes: str = option(
        "event",
        one_of("event", "byte", "byte-chunks", "inside-characters", "inside-chunk-headers", "one-segment"),
        "what is written at once, each in a segment of its own: an event; one byte of all there is, head included; one "
        "byte, which is an HTTP chunk too; events split after the first byte of every character that has more; chunk "
        "headers split after their first digit and between CR and LF; all events together, as the last one is due",
    )
    events_per_write: int = option(
        1,
        whole(1, MANY, "a number of events"),
        "so many events, comments too, in one chunk and write, which leaves when the last is due: a proxy that buffers",
    )
    write_interval: float = option(
        0.0,
        seconds(),
        "between the writes of what is split; 0 leaves it to the kernel whether a reader sees the splits",
    )
    content_type: str | None = option(
        AUTO,
        text(optional=True, one_line=True, latin=True),
        "the header's very text; `auto` is the service's own, None leaves the header out",
    )
    early_headers: bool = option(True, flag(), "the head leaves at once; False: together with the first event")

    def check(self) -> None:
        """See `Options.check`."""
        super().check()
        if self.events_per_write > 1 and self.writes != "event":
            raise OptionError(
                "events_per_write",
                f"events_per_write groups events, and writes={self.writes!r} does something else: give one of them",
            )
        if self.write_interval and self.writes not in _SPLITS + _DEEPER_SPLITS:
            names = ", ".join(_SPLITS + _DEEPER_SPLITS)
            raise OptionError("write_interval", f"write_interval is for writes that split something: {names}")


def encoded(events: Iterable[tuple[float, Event]], framing: Framing, *, lines: bool) -> list[tuple[float, bytes]]:
    """Each event as bytes, with its time.

    Args:
        events: in order of time.
        framing: line ends, byte order mark, final line end.
        lines: bare lines of JSON, as text_generation writes them, instead of ``data:`` and an empty line.
    """
    end = framing.newline.encode()
    block = end if lines else end + end
    prefix = b"" if lines else b"data: "
    pieces = [
        (at, (b": " if event.kind == "comment" else b"" if event.bare else prefix) + event.payload + block)
        for at, event in events
    ]
    if pieces and framing.bom:
        pieces[0] = (pieces[0][0], _BOM + pieces[0][1])
    if pieces and not framing.final_newline:
        pieces[-1] = (pieces[-1][0], pieces[-1][1].removesuffix(block))
    return pieces


def grouped(pieces: Sequence[tuple[float, bytes]], framing: Framing) -> Sequence[tuple[float, bytes]]:
    """Events that leave together as one piece each."""
    size = len(pieces) if framing.writes == "one-segment" else framing.events_per_write
    if size <= 1:
        return pieces
    groups = [pieces[start : start + size] for start in range(0, len(pieces), size)]
    return [(group[-1][0], b"".join(data for _, data in group)) for group in groups]


def split(pieces: Iterable[tuple[float, bytes]], framing: Framing) -> Iterator[Write]:
    """The pieces as writes, split where the framing says; a part never leaves before its turn."""
    splits = framing.writes in _SPLITS
    gap = framing.write_interval if splits else 0.0
    free = 0.0  # no part leaves before the one ahead of it
    for at, data in pieces:
        moment = free = max(at, free)
        for part in _parts(data, framing.writes) if splits else (data,):
            yield Write(moment, part)
            free = moment = moment + gap


def _parts(data: bytes, writes: str) -> list[bytes]:
    if writes == "byte-chunks":
        return [data[at : at + 1] for at in range(len(data))]
    cuts = [0, *(found.end() for found in re.finditer(_FIRST_OF_MANY, data)), len(data)]
    return [data[first:last] for first, last in pairwise(cuts)]


def wire_of(framing: Framing, head_at: float) -> Wire | None:
    """What the front door has to do besides, None for nothing.

    Args:
        framing: the options.
        head_at: when the head leaves, if it is late.
    """
    if framing.early_headers:
        head_at = 0.0
    byte = framing.writes == "byte"
    if not (byte or head_at or framing.writes == "inside-chunk-headers"):
        return None
    return Wire(
        head_at=head_at,
        head_slice=1 if byte else 0,
        body_slice=1 if byte else 0,
        split_chunk_headers=framing.writes == "inside-chunk-headers",
        interval=framing.write_interval,
    )


def content_type(framing: Framing, own: str) -> list[tuple[str, str]]:
    """The header as the options have it."""
    if framing.content_type is None:
        return []
    return [("Content-Type", own if framing.content_type == AUTO else framing.content_type)]
