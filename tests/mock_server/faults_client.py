"""A client in plain sockets, which adds nothing and takes nothing away, and what it should hear without any fault."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from mock_server import MockServer
from mock_server.core import handle
from mock_server.delivery import Reply
from mock_server.handle import AccountHandle
from mock_server.settings import build
from mock_server.state import State
from qfkit.protocol.http import HttpRequest

DIALECTS = ("text_generation", "lines", "v1", "v2")
#: What the streams of the tests say: characters of one to four bytes, and pieces of more than one character.
PIECES = ("春", "ab", "😀", "夏c", "d")

#: Seconds by which a write may seem to be early: uvloop counts in whole milliseconds.
EARLY = 0.002

_PATHS = {
    "text_generation": "/rpc/2.0/ai_custom/v1/text_generation/chat_completions",
    "lines": "/rpc/2.0/ai_custom/v1/text_generation/chat_completions",
    "v1": "/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/completions",
    "v2": "/v2/chat/completions",
}


class _Standstill:
    """A clock that stands still, so that two servers with the same seed say the same bytes."""

    def time(self) -> float:
        return 1_700_000_000.0

    def monotonic(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        raise AssertionError("nothing of the mock waits on this clock in these tests")


@contextmanager
def mock(**settings: Any) -> Iterator[MockServer]:
    """A server that lets everybody in, and whose answers are the same bytes every time."""
    with MockServer(auth="off", seed=5, clock=_Standstill(), **settings) as server:
        yield server


@dataclass
class Heard:
    """What a client heard.

    Attributes:
        data: all bytes, but the ``Date`` line.
        end: ``closed``, ``reset`` or ``silent`` (nothing more, and the connection is open).
        reads: seconds after the request was sent, and what one `recv` gave.
        ended_at: seconds after the request was sent at which the end came.
    """

    data: bytes
    end: str
    reads: list[tuple[float, bytes]] = field(default_factory=list)
    ended_at: float = 0.0

    @property
    def head(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[0] + b"\r\n\r\n"

    @property
    def body(self) -> bytes:
        return self.data.partition(b"\r\n\r\n")[2]

    @property
    def chunks(self) -> list[bytes]:
        """The body's chunks; the last one is empty if the body is whole."""
        return dechunked(self.body)

    def when(self, size: int) -> float:
        """When so many bytes had come."""
        total = 0
        for at, data in self.reads:
            total += len(data)
            if total >= size:
                return at
        raise AssertionError(f"only {total} of {size} bytes came")


def dechunked(body: bytes) -> list[bytes]:
    chunks = []
    while body:
        size, line_end, rest = body.partition(b"\r\n")
        assert line_end, body
        length = int(size, 16)
        chunks.append(rest[:length])
        assert rest[length : length + 2] == b"\r\n", rest
        body = rest[length + 2 :]
    return chunks


def request(dialect: str = "v2", *, stream: bool = True, version: str = "1.1", close: bool = True) -> bytes:
    """A chat request as bytes."""
    body: dict[str, Any] = {"messages": [{"role": "user", "content": "你好"}]}
    path = _PATHS[dialect]
    if dialect in {"text_generation", "lines"}:
        path += "_stream" if stream else ""
    else:
        body["stream"] = stream
    if dialect == "v2":
        body["model"] = "ernie-4.0-8k"
    content = json.dumps(body).encode()
    lines = [f"POST {path} HTTP/{version}", "Host: x", f"Content-Length: {len(content)}"]
    lines += ["Accept: text/event-stream"] if dialect != "lines" else []
    lines += ["Connection: close"] if close else []
    return "\r\n".join([*lines, "", ""]).encode() + content


def listen(server: MockServer, data: bytes, *, quiet: float = 5.0, size: int = 65536) -> Heard:
    """Send a request and read to the end; ``quiet`` seconds without a byte are an end, too."""
    with socket.create_connection(("127.0.0.1", server.port), timeout=quiet) as sock:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        start = time.monotonic()
        sock.sendall(data)
        reads: list[tuple[float, bytes]] = []
        end = "closed"
        try:
            while part := sock.recv(size):
                reads.append((time.monotonic() - start, part))
        except ConnectionResetError:
            end = "reset"
        except TimeoutError:
            end = "silent"
        ended_at = time.monotonic() - start
    return Heard(_without_date(b"".join(part for _, part in reads)), end, reads, ended_at)


def handled(script: Callable[[AccountHandle], object], *requests: bytes, **settings: Any) -> list[Reply]:
    """What the core replies, without a socket."""
    state = State(build({"auth": "off", "seed": 5, **settings}), _Standstill())
    script(AccountHandle(state.default_account, state, ""))
    replies = []
    for data in requests:
        head, _, body = data.partition(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        method, target, _ = first.split(" ")
        headers = tuple((name, value) for name, _, value in (line.partition(": ") for line in lines))
        replies.append(handle(HttpRequest(method, target, headers, body, "http"), state))
    return replies


def _without_date(data: bytes) -> bytes:
    head, gap, body = data.partition(b"\r\n\r\n")
    lines = [line for line in head.split(b"\r\n") if not line.startswith(b"Date: ")]
    return b"\r\n".join(lines) + gap + body


@dataclass(frozen=True)
class Plain:
    """The stream of `PIECES` as it comes without any fault."""

    dialect: str
    head: bytes
    events: tuple[bytes, ...]

    @property
    def bare(self) -> bool:
        """It is bare lines of JSON."""
        return self.dialect == "lines"

    @property
    def last(self) -> int:
        """The number of the end event."""
        return len(PIECES)

    def event(self, payload: bytes) -> bytes:
        return payload + b"\n" if self.bare else b"data: " + payload + b"\n\n"

    def line(self, payload: bytes) -> bytes:
        return payload + (b"\n" if self.bare else b"\n\n")

    def payload(self, number: int) -> bytes:
        return self.events[number].removeprefix(b"data: ").rstrip(b"\n")


@cache
def plain(dialect: str, pieces: tuple[str, ...] = PIECES) -> Plain:
    with mock() as server:
        server.default_account.stream(list(pieces))
        heard = listen(server, request(dialect))
    assert heard.end == "closed"
    *events, last = heard.chunks
    assert last == b""
    assert len(events) == len(pieces) + (2 if dialect == "v2" else 1)
    return Plain(dialect, heard.head, tuple(events))


def framed(chunks: Sequence[bytes]) -> bytes:
    """Chunks as HTTP writes them; an empty one ends the body."""
    return b"".join(b"%x\r\n%b\r\n" % (len(data), data) for data in chunks)
