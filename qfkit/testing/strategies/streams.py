"""Event streams as bytes, each with what is in it, and the pieces that a network may cut them into."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from typing import Any, Final

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from qfkit.protocol.dialects import InferenceDialect
from qfkit.protocol.sse import Event
from qfkit.testing.strategies.conversations import check_dialect
from qfkit.testing.strategies.offline import answered
from qfkit.testing.strategies.scripts import harmless_options, pieces
from qfkit.testing.strategies.texts import texts

_BOM: Final = b"\xef\xbb\xbf"
NEWLINES: Final = ("\n", "\r\n", "\r")
#: What an event may have beside its data.
EXTRAS: Final = ("event", "id", "retry", "comment")


@dataclass(frozen=True, slots=True)
class EventStream:
    """An event stream, and the events in it.

    Attributes:
        data: the bytes.
        events: what a decoder that follows the standard reads.
    """

    data: bytes
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class AnswerStream:
    """A stream of Qianfan's, and what it says.

    Attributes:
        dialect: whose.
        data: the bytes of the body.
        pieces: the text of each event that has one.
    """

    dialect: str
    data: bytes
    pieces: tuple[str, ...]

    @property
    def text(self) -> str:
        """The whole answer."""
        return "".join(self.pieces)


def sse_streams(
    *,
    max_events: int = 4,
    extras: Collection[str] = EXTRAS,
    newlines: Collection[str] = NEWLINES,
    bom: bool = True,
    payloads: SearchStrategy[str] | None = None,
) -> SearchStrategy[EventStream]:
    """Whole event streams in every writing that the standard allows. Shrinks to no event.

    Line ends that differ from line to line, data of several lines, one space after the colon or none, fields in any
    order, comments anywhere, a byte order mark. For one that this client does not read, leave it out.

    Args:
        max_events: most events.
        extras: what may stand beside the data: ``event``, ``id``, ``retry``, ``comment``.
        newlines: the line ends.
        bom: a byte order mark may come first.
        payloads: the data; None for `texts`. Line ends in it become data lines, and are read back as LF.

    Raises:
        ValueError: there is no such extra or line end.
    """
    if unknown := [*(set(extras) - set(EXTRAS)), *(set(newlines) - set(NEWLINES))]:
        raise ValueError(f"extras are some of {EXTRAS}, newlines of {NEWLINES}; got {unknown[0]!r}")
    said = texts(min_size=0, blank=True) if payloads is None else payloads
    order = tuple(sorted(extras, key=EXTRAS.index))
    return _sse_streams(max_events=max_events, extras=order, newlines=tuple(newlines), bom=bom, payloads=said)


_LINE = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n"), max_size=8)
_WORD = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\n\0"), min_size=1, max_size=8)


@st.composite
def _sse_streams(
    draw: st.DrawFn,
    *,
    max_events: int,
    extras: tuple[str, ...],
    newlines: tuple[str, ...],
    bom: bool,
    payloads: SearchStrategy[str],
) -> EventStream:
    ends = st.sampled_from(newlines)
    events: list[Event] = []
    written: list[str] = []
    last_id = ""
    for data in draw(st.lists(payloads, max_size=max_events)):
        lines = data.replace("\r\n", "\n").replace("\r", "\n").split("\n")
        fields = [_field(draw, "data", line) for line in lines]
        beside = draw(st.lists(st.sampled_from(extras), max_size=2, unique=True)) if extras else []
        kind, retry = "", None
        for name in beside:
            if name == "event":
                kind = draw(_WORD)
                value = kind
            elif name == "id":
                last_id = value = draw(_WORD)
            elif name == "retry":
                retry = draw(st.integers(0, 10**6))
                value = str(retry)
            else:
                value = draw(_LINE)
            line = f":{value}" if name == "comment" else _field(draw, name, value)
            fields.insert(draw(st.integers(0, len(fields))), line)
        written += [field + draw(ends) for field in fields]
        # After a CR, an LF would end the line before it, and not the event.
        closing = [end for end in newlines if not (written[-1].endswith("\r") and end == "\n")]
        written.append(draw(st.sampled_from(closing)))
        events.append(Event("\n".join(lines), kind or "message", last_id, retry))
    begin = _BOM if bom and draw(st.booleans()) else b""
    return EventStream(begin + "".join(written).encode(), tuple(events))


def _field(draw: st.DrawFn, name: str, value: str) -> str:
    """A line; the space after the colon may be missing where the value does not begin with one."""
    space = "" if not value.startswith(" ") and draw(st.booleans()) else " "
    return f"{name}:{space}{value}"


def answer_streams(
    dialect: InferenceDialect = "v2", *, lines: bool = False, framing: bool = True
) -> SearchStrategy[AnswerStream]:
    """Whole streams as the service sends them, each with its text. Shrinks to one piece, ``"0"``, plainly written.

    They are the mock's own, without a socket.

    Args:
        dialect: whose.
        lines: text_generation's bare lines of JSON, which clients get that do not ask for an event stream.
        framing: line ends, comments and a byte order mark may differ from the service's habit, within the standard.

    Raises:
        ValueError: there is no such dialect.
    """
    check_dialect(dialect)
    options: SearchStrategy[dict[str, Any]] = (
        harmless_options(("newline", "bom", "comment_every", "comment")) if framing and not lines else st.just({})
    )

    def made(said: list[str], how: dict[str, Any]) -> AnswerStream:
        reply = answered(dialect, lambda account: account.stream(said, **how), stream=True, lines=lines)
        return AnswerStream(dialect, reply.content, tuple(said))

    return st.builds(made, pieces(), options)


# Splits


def splits(data: bytes | SearchStrategy[bytes]) -> SearchStrategy[list[bytes]]:
    """The bytes in the pieces in which they may arrive. Shrinks to one piece.

    Cuts inside a character and between CR and LF are likely, and so is a cut after every byte. No piece is empty, as to
    most readers that is the end.

    Args:
        data: what is cut, or a strategy of it.
    """
    return _splits(st.just(data) if isinstance(data, bytes) else data)


@st.composite
def _splits(draw: st.DrawFn, data: SearchStrategy[bytes]) -> list[bytes]:
    whole = draw(data)
    inside = list(range(1, len(whole)))
    if not inside:
        return [whole] if whole else []
    tricky = list(_tricky(whole))
    way = draw(st.sampled_from(["anywhere", "tricky", "everywhere"]))
    # Cuts are drawn whatever the way: Hypothesis takes for simpler what takes fewer draws.
    places = st.sampled_from(tricky) if way == "tricky" and tricky else st.integers(1, len(whole) - 1)
    drawn = draw(st.sets(places, max_size=8))
    cuts = inside if way == "everywhere" and drawn else sorted(drawn)
    return [whole[start:end] for start, end in zip([0, *cuts], [*cuts, len(whole)], strict=True)]


def _tricky(data: bytes) -> Iterator[int]:
    """Places inside a character, or next to a line end."""
    for at in range(1, len(data)):
        if data[at] & 0xC0 == 0x80 or data[at - 1] in b"\r\n" or data[at] in b"\r\n":
            yield at
