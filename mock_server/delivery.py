"""An answer as data: what is said, when each piece leaves, and how it ends.

Two layers, both pure, so that either can be inspected, journaled and tested without a socket:

* a `Reply` says what the service says: status, headers, pieces of the body with their times, and the ending. What a
  fault does below that, to the bytes on the wire, is its `Wire`, which an ordinary reply has none of;
* a `WirePlan` says which bytes are written when, framing included. The front door carries it out as it stands; a WSGI
  server does its own framing and is given the `Reply` instead. `wsgi_losses` says what it cannot carry of one.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Literal, TypeAlias

Ending: TypeAlias = Literal["complete", "cut", "reset", "hang"]
"""How a body ends. ``complete``: as HTTP says. ``cut``: the connection closes before that, so that a chunked body lacks
its last chunk. ``reset``: the connection is torn down with a TCP RST. ``hang``: nothing more comes, and the connection
stays open until the client goes away."""

After: TypeAlias = Literal["keep", "close", "reset", "hang"]

#: Seconds between the last bytes and a reset. On some systems a reset makes the client's kernel drop what the client
#: has not read yet (RFC 9293 3.10.7.4 leaves it free to), and what was scripted would not be what arrives.
RESET_GRACE = 0.01

#: Pieces from this size on are framed without being copied.
_LARGE = 65536


@dataclass(frozen=True, slots=True)
class Write:
    """Some bytes, and when they leave: seconds after the request was whole. No bytes at all is a pause until then."""

    at: float
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Wire:
    """What a fault does to the bytes on the wire.

    Attributes:
        headless: the body is all there is: no status line, no headers, no framing.
        status_line: instead of the proper one, without its line end.
        reason: the phrase in the status line, instead of the standard one.
        head_at: seconds after the request at which the head leaves.
        length_by: the body has a ``Content-Length``, and it is wrong by this much.
        raw_chunks: a chunked body is announced, and the pieces follow without chunk headers.
        head_slice, body_slice: bytes of the head, or of what comes after it, that are written at once; 0 is no limit.
        split_chunk_headers: writes end inside each chunk header, after its first digit and between CR and LF.
        interval: seconds between the writes of what is sliced or split.
        limit: bytes, head included, after which the ending comes; None is no limit.
        linger: seconds between the last bytes and the ending.
    """

    headless: bool = False
    status_line: str | None = None
    reason: str | None = None
    head_at: float = 0.0
    length_by: int | None = None
    raw_chunks: bool = False
    head_slice: int = 0
    body_slice: int = 0
    split_chunk_headers: bool = False
    interval: float = 0.0
    limit: int | None = None
    linger: float = 0.0


@dataclass(frozen=True, slots=True)
class Timing:
    """When the writes of one delivery were to leave, and when they did: seconds after the request was whole.

    Writes that never left, because the client hung up, have no real time: ``real`` is shorter then.
    """

    scheduled: array[float]
    real: array[float]
    head: int = 0

    @classmethod
    def of(cls, plan: WirePlan) -> Timing:
        """The schedule of a plan, of which nothing has left yet; ``head`` is the size of its head in bytes."""
        return cls(array("d", [write.at for write in plan.writes]), array("d"), plan.head)

    def errors(self) -> list[float]:
        """By how many seconds each write was late."""
        return [real - at for at, real in zip(self.scheduled, self.real, strict=False)]


@dataclass(slots=True)
class Reply:
    """What the service answers.

    Attributes:
        status: HTTP status code; 0 when the reply has no head (`Wire.headless`).
        headers: name and value pairs; framing headers (``Content-Length``, ``Transfer-Encoding``) are added later.
        body: the pieces, in order of time. A reply that is not streamed has mostly one, or none for an empty body.
        streamed: True for a body of unknown length, sent chunk by chunk.
        ending: how the body ends.
        on_end: told how the delivery went: the ending, or ``hung up`` (by the client).
        wire: what a fault does to the bytes, None for an ordinary reply.
        notes: what the script asked for and this reply could not meet, in words.
        timing: when each write was to leave and when it did; set by whoever delivers, for replies of several writes.
        sent: bytes that have left, counted by whoever delivers; behind a WSGI server bytes of the body alone.
    """

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: tuple[Write, ...] = ()
    streamed: bool = False
    ending: Ending = "complete"
    on_end: Callable[[str], None] | None = None
    wire: Wire | None = None
    notes: tuple[str, ...] = ()
    timing: Timing | None = None
    sent: int = 0

    @property
    def content(self) -> bytes:
        """The whole body, all pieces joined."""
        return self.body[0].data if len(self.body) == 1 else b"".join([write.data for write in self.body])


@dataclass(frozen=True, slots=True)
class WirePlan:
    """Bytes with their times, and what becomes of the connection.

    Attributes:
        writes: in order of time, never empty. One without bytes is a pause.
        after: ``keep`` the connection for the next request, ``close`` it, ``reset`` it, or ``hang``: leave it open and
            silent until the client goes away.
        head: bytes of status line and headers, the blank line included.
    """

    writes: tuple[Write, ...]
    after: After
    head: int = 0


_REASONS = {status.value: status.phrase for status in HTTPStatus}
_LINES = {status: f"HTTP/1.1 {status} {reason}" for status, reason in _REASONS.items()}
_BODILESS = frozenset({204, 304})
_LAST_CHUNK = b"0\r\n\r\n"
_AFTER: dict[Ending, After] = {"cut": "close", "reset": "reset", "hang": "hang"}


def wire_plan(reply: Reply, *, version: str = "1.1", head_only: bool = False, keep_alive: bool = True) -> WirePlan:
    """Frame a reply for one connection (RFC 9112).

    A connection that the script breaks says nothing of it beforehand: ``Connection: close`` is there when the client
    asked for it, or when nothing else can end the body.

    Args:
        reply: what to say.
        version: HTTP version of the request; ``1.0`` knows no chunks, so a stream ends with the connection, and a cut
            cannot be told from the end.
        head_only: the request was HEAD: the same head, no body.
        keep_alive: the client wants the connection kept.
    """
    wire = reply.wire
    if wire is not None and wire.headless:
        return WirePlan(tuple(_bent(reply, wire, b"", chunked=False)), _AFTER.get(reply.ending, "close"))
    sized = not reply.streamed or (wire is not None and wire.length_by is not None)
    bodiless = reply.status < 200 or reply.status in _BODILESS
    chunked = not sized and not bodiless and version != "1.0"  # a 204 has no Transfer-Encoding (RFC 9112, 6.1)
    keep = keep_alive and (sized or chunked or bodiless)
    lines = [(_LINES.get(reply.status) if wire is None else None) or _line(reply)]
    lines += [f"{name}: {value}" for name, value in reply.headers]
    if chunked:
        lines.append("Transfer-Encoding: chunked")
    elif sized and not bodiless:
        lines.append(f"Content-Length: {_length(reply)}")
    if not keep:
        lines.append("Connection: close")
    elif version == "1.0":
        lines.append("Connection: keep-alive")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
    after = _AFTER.get(reply.ending, "keep" if keep else "close")
    if wire is not None:
        bent = _bent(reply, wire, head, chunked=chunked, bodiless=bodiless or head_only)
        return WirePlan(tuple(bent), after, len(head))
    if bodiless or head_only:
        return WirePlan((Write(0.0, head),), after, len(head))
    if not reply.streamed:
        at, content = (reply.body[0].at, reply.content) if reply.body else (0.0, b"")
        return WirePlan((Write(at, head + content),), after, len(head))
    writes = [Write(0.0, head)]
    writes += [
        Write(w.at, b"%x\r\n%b\r\n" % (len(w.data), w.data) if chunked else w.data) for w in reply.body if w.data
    ]
    ends_at = reply.body[-1].at if reply.body else 0.0
    if chunked and reply.ending == "complete":
        writes.append(Write(ends_at, _LAST_CHUNK))
    else:
        _pause(writes, ends_at + (RESET_GRACE if reply.ending == "reset" else 0.0))
    return WirePlan(tuple(writes), after, len(head))


def _line(reply: Reply) -> str:
    """The status line of an unusual reply."""
    wire = reply.wire or Wire()
    return wire.status_line or f"HTTP/1.1 {reply.status} {wire.reason or _REASONS.get(reply.status, 'Unknown')}"


def _length(reply: Reply) -> int:
    size = len(reply.body[0].data) if len(reply.body) == 1 else sum(len(write.data) for write in reply.body)
    return size if reply.wire is None else max(0, size + (reply.wire.length_by or 0))


def _pause(writes: list[Write], until: float) -> None:
    if until > writes[-1].at:
        writes.append(Write(until, b""))


def _bent(reply: Reply, wire: Wire, head: bytes, *, chunked: bool, bodiless: bool = False) -> list[Write]:
    """The writes of a reply to whose bytes something happens."""
    writes = list(_spaced(_parts(reply, wire, head, chunked=chunked, bodiless=bodiless), wire.interval))
    if wire.limit is not None:
        writes = list(_limited(writes, wire.limit))
    said = any(write.data for write in writes)
    writes = writes or [Write(0.0, b"")]
    ends_at = writes[-1].at
    if wire.limit is None and reply.body and not bodiless:
        ends_at = max(ends_at, reply.body[-1].at)
    grace = RESET_GRACE if said and reply.ending == "reset" else 0.0
    _pause(writes, ends_at + wire.linger + grace)
    return writes


def _parts(
    reply: Reply, wire: Wire, head: bytes, *, chunked: bool, bodiless: bool
) -> Iterator[tuple[float, Iterable[bytes], bool]]:
    """What is written together in time, in parts; and whether they are spaced."""
    if head:
        yield wire.head_at, _sliced(head, wire.head_slice), wire.head_slice > 0
    if bodiless:
        return
    framed = chunked and not wire.raw_chunks
    for write in reply.body:
        if not framed:
            parts: Iterable[bytes] = (write.data,)
        elif write.data:
            parts = _chunk(b"%x\r\n" % len(write.data), write.data, split=wire.split_chunk_headers)
        else:
            continue
        yield _part(write.at, parts, wire)
    if framed and reply.ending == "complete":
        last = _split_header(b"0\r\n", b"\r\n") if wire.split_chunk_headers else (_LAST_CHUNK,)
        yield _part(reply.body[-1].at if reply.body else 0.0, last, wire)


def _part(at: float, parts: Iterable[bytes], wire: Wire) -> tuple[float, Iterable[bytes], bool]:
    if not wire.body_slice:
        return at, parts, wire.split_chunk_headers
    return at, (piece for part in parts for piece in _sliced(part, wire.body_slice)), True


def _chunk(header: bytes, data: bytes, *, split: bool) -> Iterable[bytes]:
    if split:
        return _split_header(header, data + b"\r\n")
    if len(data) >= _LARGE:
        return header, data, b"\r\n"
    return (header + data + b"\r\n",)


def _split_header(header: bytes, rest: bytes) -> tuple[bytes, bytes, bytes]:
    return header[:1], header[1:-1], header[-1:] + rest


def _sliced(data: bytes, size: int) -> Iterable[bytes]:
    if not size:
        return (data,)
    return (data[start : start + size] for start in range(0, len(data), size))


def _spaced(parts: Iterable[tuple[float, Iterable[bytes], bool]], interval: float) -> Iterator[Write]:
    free = 0.0  # no part leaves before the one ahead of it
    for at, pieces, spaced in parts:
        moment = max(at, free)
        free = moment
        for piece in pieces:
            yield Write(moment, piece)
            if spaced:
                free = moment = moment + interval


def _limited(writes: Iterable[Write], limit: int) -> Iterator[Write]:
    left = limit
    for write in writes:
        if not left:
            return
        yield write if len(write.data) <= left else Write(write.at, write.data[:left])
        left -= min(left, len(write.data))


#: What WSGI cannot carry of a reply: field of `Wire` -> words; ``{}`` is the field's value.
_WIRE_LOSSES = {
    "headless": "an answer without status line and headers: an error status is sent instead",
    "status_line": "the status line {!r}: the proper one is sent",
    "reason": "the reason phrase {!r}: the server writes its own",
    "length_by": "a Content-Length that is wrong by {}: the server counts for itself",
    "raw_chunks": "chunks without chunk headers: the server frames them",
    "head_slice": "a head written {} bytes at a time: the server writes it at once",
    "body_slice": "a body written {} bytes at a time: the server writes what it is given",
    "split_chunk_headers": "chunk headers split between writes: the server writes them whole",
    "limit": "an end after exactly {} bytes: the whole answer is sent",
    "linger": "{:g} s between the last bytes and the end",
}
_ENDING_LOSSES: dict[Ending, str] = {
    "reset": "the TCP reset at the end: the connection is closed instead",
    "hang": "the silence at the end: the connection is closed instead",
}


def wsgi_losses(reply: Reply) -> list[str]:
    """What of a reply a WSGI server cannot carry, in words; empty when it carries all (PEP 3333).

    A WSGI application gives a status, headers and pieces of the body; framing, segments and the connection are the
    server's. What it does carry: pieces and their times, and an end before the body is complete.
    """
    losses = []
    wire = reply.wire
    if wire is not None:
        losses = [
            words.format(value)
            for name, words in _WIRE_LOSSES.items()
            if (value := getattr(wire, name)) not in (None, 0)
        ]
    headless = wire is not None and wire.headless
    first = next((write.at for write in reply.body if write.data), 0.0)
    if reply.streamed and not headless and first > (wire.head_at if wire else 0.0):
        losses.append(f"a head that leaves {first:g} s before the first piece: both leave together")
    if reply.ending in _ENDING_LOSSES:
        losses.append(_ENDING_LOSSES[reply.ending])
    return losses
