"""An answer as data: what is said, when each piece leaves, and how it ends.

Two layers, both pure, so that either can be inspected, journaled and tested without a socket:

* a `Reply` says what the service says: status, headers, pieces of the body with their times, and the ending;
* a `WirePlan` says which bytes are written when, framing included. The front door carries it out as it stands; a WSGI
  server does its own framing and is given the `Reply` instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from http import HTTPStatus
from typing import Literal, TypeAlias

Ending: TypeAlias = Literal["complete", "cut", "reset"]
"""How a body ends. ``complete``: as HTTP says. ``cut``: the connection closes before that, so that a chunked body lacks
its last chunk. ``reset``: the connection is torn down with a TCP RST."""


@dataclass(frozen=True, slots=True)
class Write:
    """Some bytes, and when they leave: seconds after the request was whole."""

    at: float
    data: bytes


@dataclass(slots=True)
class Reply:
    """What the service answers.

    Attributes:
        status: HTTP status code.
        headers: name and value pairs; framing headers (``Content-Length``, ``Transfer-Encoding``) are added later.
        body: the pieces, in order of time. A reply that is not streamed has one, or none for an empty body.
        streamed: True for a body of unknown length, sent chunk by chunk.
        ending: how the body ends.
        on_end: told how the delivery went: ``complete``, ``cut``, ``reset`` or ``hung up`` (by the client).
    """

    status: int
    headers: list[tuple[str, str]] = field(default_factory=list)
    body: tuple[Write, ...] = ()
    streamed: bool = False
    ending: Ending = "complete"
    on_end: Callable[[str], None] | None = None

    @property
    def content(self) -> bytes:
        """The whole body, all pieces joined."""
        return b"".join(write.data for write in self.body)


@dataclass(frozen=True, slots=True)
class WirePlan:
    """Bytes with their times, and what becomes of the connection.

    Attributes:
        writes: in order of time, never empty.
        after: ``keep`` the connection for the next request, ``close`` it, or ``reset`` it.
    """

    writes: tuple[Write, ...]
    after: Literal["keep", "close", "reset"]


_REASONS = {status.value: status.phrase for status in HTTPStatus}
_LAST_CHUNK = b"0\r\n\r\n"


def wire_plan(reply: Reply, *, version: str = "1.1", head_only: bool = False, keep_alive: bool = True) -> WirePlan:
    """Frame a reply for one connection (RFC 9112).

    Args:
        reply: what to say.
        version: HTTP version of the request; ``1.0`` knows no chunks, so a stream ends with the connection.
        head_only: the request was HEAD: the same head, no body.
        keep_alive: the client wants the connection kept.
    """
    chunked = reply.streamed and version != "1.0"
    keep = keep_alive and (chunked or not reply.streamed) and reply.ending == "complete"
    lines = [f"HTTP/1.1 {reply.status} {_REASONS.get(reply.status, 'Unknown')}"]
    lines += [f"{name}: {value}" for name, value in reply.headers]
    if chunked:
        lines.append("Transfer-Encoding: chunked")
    elif not reply.streamed and not _bodiless(reply.status):
        lines.append(f"Content-Length: {sum(len(write.data) for write in reply.body)}")
    if not keep:
        lines.append("Connection: close")
    elif version == "1.0":
        lines.append("Connection: keep-alive")
    head = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1", "replace")
    after: Literal["keep", "close", "reset"] = "reset" if reply.ending == "reset" else "keep" if keep else "close"
    if head_only or _bodiless(reply.status):
        return WirePlan((Write(0.0, head),), after)
    if not reply.streamed:
        at = reply.body[0].at if reply.body else 0.0
        return WirePlan((Write(at, head + reply.content),), after)
    writes = [Write(0.0, head)]
    writes += [
        Write(w.at, b"%x\r\n%b\r\n" % (len(w.data), w.data) if chunked else w.data) for w in reply.body if w.data
    ]
    if chunked and reply.ending == "complete":
        writes.append(Write(writes[-1].at, _LAST_CHUNK))
    return WirePlan(tuple(writes), after)


def _bodiless(status: int) -> bool:
    return status < 200 or status in {204, 304}
