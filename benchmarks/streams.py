"""Thousands of streams on one selector, each piece stamped as it arrives."""

from __future__ import annotations

import contextlib
import gc
import selectors
import socket
import struct
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from benchmarks.sockets import ProtocolFailure
from benchmarks.work import INTERVAL, PIECES, Batch

_BLOCK = 1 << 16
_END_OF_EVENT = b"\n\n"
#: One address has some 28,000 ports to call from; the loopback network has more addresses.
_PORTS_AN_ADDRESS = 20_000


@dataclass(slots=True)
class Paced:
    """What a run of paced streams showed.

    Attributes:
        errors: seconds that each piece came after its scheduled time, counted from the moment the request was sent.
        finished: streams that came whole.
        broken: streams that did not.
        most_open: streams under way at once, at most.
        seconds: from the first request to the last answer.
    """

    errors: list[float] = field(default_factory=list)
    finished: int = 0
    broken: int = 0
    most_open: int = 0
    seconds: float = 0.0


class _Stream:
    __slots__ = ("left", "pieces", "sent", "sock", "status", "tail")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.left = self.pieces = self.status = 0
        self.sent = 0.0
        self.tail = b""


def paced(port: int, batch: Batch, *, streams: int, cycles: int, lead: int, at_peak: Callable[[], None]) -> Paced:
    """Hold ``streams`` paced streams open: each of as many connections carries ``cycles`` of them back to back.

    Args:
        port: of the server.
        batch: requests, enough for all, or one for all.
        streams: how many at once; their starts are spread over the length of one.
        cycles: how many each connection carries.
        lead: events before the first piece, as OpenAI's role.
        at_peak: called once in the last cycle, when all are open.
    """
    result, requests = Paced(), iter(batch)
    length = len(PIECES) * INTERVAL
    with contextlib.ExitStack() as stack, selectors.DefaultSelector() as selector, _no_gc():
        waiting = [_Stream(sock) for sock in connect_many(port, streams, stack)]
        for stream in waiting:
            stream.left = cycles
            selector.register(stream.sock, selectors.EVENT_READ, stream)
        waiting.reverse()
        start = time.perf_counter()
        step = length / streams
        deadline = start + (cycles + 2) * length * 2 + 10
        open_now, started, peak_told = 0, 0, False
        while open_now or waiting:
            now = time.perf_counter()
            if now > deadline:
                result.broken += open_now + len(waiting)
                break
            while waiting and start + started * step <= now:
                _send(waiting.pop(), requests)
                started += 1
                open_now += 1
            result.most_open = max(result.most_open, open_now)
            if not peak_told and now > start + length * (cycles - 0.5):
                peak_told = True
                at_peak()
            timeout = start + started * step - now if waiting else 0.2
            for key, _ in selector.select(max(0.0, timeout)):
                if _receive(key.data, result, lead, requests):
                    continue
                selector.unregister(key.data.sock)
                open_now -= 1
        result.seconds = time.perf_counter() - start
    return result


def _send(stream: _Stream, requests: Iterator[bytes]) -> None:
    stream.left -= 1
    stream.pieces = stream.status = 0
    stream.tail = b""
    request = next(requests)
    stream.sent = time.perf_counter()
    stream.sock.send(request)


def _receive(stream: _Stream, result: Paced, lead: int, requests: Iterator[bytes]) -> bool:
    """Take what arrived; False when the connection has carried all its streams."""
    try:
        data = stream.sock.recv(_BLOCK)
    except OSError:
        data = b""
    now = time.perf_counter()
    if not data:
        result.broken += 1
        return False
    if not stream.status:
        stream.status = int(data[9:12])
        if stream.status != 200:
            raise ProtocolFailure(f"a stream was answered {stream.status}: {data[-300:]!r}")
    # An event may be cut anywhere: one byte is enough to see an end across the cut.
    for _ in range((stream.tail[-1:] + data).count(_END_OF_EVENT)):
        index = stream.pieces - lead
        if 0 <= index < len(PIECES):
            result.errors.append(now - stream.sent - index * INTERVAL)
        stream.pieces += 1
    stream.tail = (stream.tail + data)[-7:]
    if not stream.tail.endswith(b"\r\n0\r\n\r\n"):
        return True
    if stream.pieces - lead >= len(PIECES):
        result.finished += 1
    else:
        result.broken += 1
    if not stream.left:
        return False
    _send(stream, requests)
    return True


def connect_many(port: int, count: int, stack: contextlib.ExitStack) -> list[socket.socket]:
    """That many connections, non-blocking, reset with ``stack``: to a server a mere close may be half of one.

    Raises:
        OSError: the system allows fewer.
    """
    sockets = []
    for number in range(count):
        source = (f"127.0.0.{2 + number // _PORTS_AN_ADDRESS}", 0) if count > _PORTS_AN_ADDRESS else None
        sock = socket.create_connection(("127.0.0.1", port), 10.0, source_address=source)
        stack.callback(sock.close)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        sock.setblocking(False)
        sockets.append(sock)
    return sockets


@contextlib.contextmanager
def _no_gc() -> Iterator[None]:
    # A collection in the client would be booked on the server as a late piece.
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
