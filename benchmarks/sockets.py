"""Our own client: plain non-blocking sockets under one selector, for what wrk cannot do and where there is no wrk."""

from __future__ import annotations

import contextlib
import re
import selectors
import socket
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from benchmarks.work import Batch

_LENGTH = re.compile(rb"(?i)\r\ncontent-length: *(\d+)")
_CHUNKED = re.compile(rb"(?i)\r\ntransfer-encoding: *chunked")
_CLOSE = re.compile(rb"(?i)\r\nconnection: *close")
_END_OF_HEAD = b"\r\n\r\n"
_END_OF_CHUNKS = b"\r\n0\r\n\r\n"
_BLOCK = 1 << 16


class ProtocolFailure(RuntimeError):
    """A server answered what no client could use."""


class Response:
    """One response while it arrives."""

    __slots__ = ("body_start", "chunked", "closes", "data", "length", "segments", "status")

    def __init__(self) -> None:
        self.data = bytearray()
        self.body_start = self.status = self.segments = 0
        self.length: int | None = None
        self.chunked = self.closes = False

    def feed(self, data: bytes) -> bool:
        """Take what arrived; True once the response is whole."""
        held = self.data
        held += data
        if not self.body_start:
            end = held.find(_END_OF_HEAD)
            if end < 0:
                return False
            self._read_head(bytes(held[: end + 2]))
            self.body_start = end + 4
        if self.length is not None:
            return len(held) - self.body_start >= self.length
        return self.chunked and held.endswith(_END_OF_CHUNKS)

    def _read_head(self, head: bytes) -> None:
        if not head.startswith(b"HTTP/1."):
            raise ProtocolFailure(f"not HTTP: {head[:60]!r}")
        self.status = int(head[9:12])
        length = _LENGTH.search(head)
        self.length = int(length[1]) if length else None
        self.chunked = length is None and _CHUNKED.search(head) is not None
        self.closes = head.startswith(b"HTTP/1.0") or _CLOSE.search(head) is not None

    @property
    def body(self) -> bytes:
        """The content, chunk framing taken off."""
        raw = bytes(self.data[self.body_start :])
        if not self.chunked:
            return raw if self.length is None else raw[: self.length]
        content = b""
        while raw:
            size, _, rest = raw.partition(b"\r\n")
            count = int(size, 16)
            content, raw = content + rest[:count], rest[count + 2 :]
            if not count:
                break
        return content


def ask(port: int, request: bytes, timeout: float = 5.0) -> Response:
    """One request on a connection of its own.

    Raises:
        OSError: nobody listens, or no whole answer came in ``timeout`` seconds.
        ProtocolFailure: the answer is not HTTP, or ends too early.
    """
    response = Response()
    with socket.create_connection(("127.0.0.1", port), timeout) as sock:
        sock.sendall(request)
        while True:
            data = sock.recv(_BLOCK)
            if data and response.feed(data):
                response.segments = _segments(sock)
                return response
            if not data:
                if response.body_start and not response.chunked and response.length is None:
                    return response
                raise ProtocolFailure("the server hung up before its answer was whole")


def _segments(sock: socket.socket) -> int:
    """How many segments with data came; with TCP_NODELAY on loopback that is one for each write. 0: nobody counts."""
    if sys.platform != "linux":
        return 0
    # tcpi_data_segs_in of struct tcp_info, <linux/tcp.h>.
    offset = 152
    info = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, offset + 4)
    return int.from_bytes(info[offset : offset + 4], sys.byteorder)


@dataclass(slots=True)
class Tally:
    """What a closed loop of connections got.

    Attributes:
        answers: whole responses of status 200.
        errors: any other status, and connections that broke.
        seconds: from the first request to the last answer.
    """

    answers: int = 0
    errors: int = 0
    seconds: float = 0.0


@dataclass(slots=True, eq=False)
class _Line:
    sock: socket.socket
    response: Response = field(default_factory=Response)

    def close(self) -> None:
        self.sock.close()


def closed_loop(port: int, batch: Batch, *, connections: int, seconds: float) -> Tally:
    """Keep ``connections`` requests under way until the time is up or the batch is used up."""
    tally, requests = Tally(), iter(batch)
    lines: set[_Line] = set()
    with selectors.DefaultSelector() as selector, contextlib.ExitStack() as sockets:
        start = now = time.perf_counter()
        end = start + seconds
        for request in _take(requests, connections):
            line = _Line(_connect(port))
            sockets.callback(line.close)
            selector.register(line.sock, selectors.EVENT_READ, line)
            line.sock.send(request)
            lines.add(line)
        while lines and now < end:
            for key, _ in selector.select(max(0.0, end - now)):
                if not _serve(key.data, tally, requests, port, selector):
                    selector.unregister(key.data.sock)
                    lines.discard(key.data)
            now = time.perf_counter()
        tally.seconds = now - start
    return tally


def _serve(line: _Line, tally: Tally, requests: Iterator[bytes], port: int, selector: selectors.BaseSelector) -> bool:
    """Read what came; when the answer is whole, count it and ask again. False when there is no more to ask."""
    response = line.response
    try:
        data = line.sock.recv(_BLOCK)
    except BlockingIOError:
        return True
    except OSError:
        data = b""
    if data and not response.feed(data):
        return True
    # A server that states no length says the end by hanging up.
    whole = bool(data) or (response.body_start > 0 and response.length is None and not response.chunked)
    if whole and response.status == 200:
        tally.answers += 1
    elif whole or response.data:
        tally.errors += 1
    request = next(requests, None)
    if request is None:
        return False
    if not data or response.closes:
        selector.unregister(line.sock)
        line.sock.close()
        line.sock = _connect(port)
        selector.register(line.sock, selectors.EVENT_READ, line)
    line.response = Response()
    line.sock.send(request)
    return True


def _connect(port: int) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", port), 5.0)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sock.setblocking(False)
    return sock


def _take(requests: Iterator[bytes], count: int) -> Iterator[bytes]:
    for _, request in zip(range(count), requests, strict=False):
        yield request
