"""A server that says exactly what a test scripted, byte for byte, and remembers what it was sent.

It knows nothing of Qianfan and shares no code with the mock: what it recorded is judged by other people's code.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

PATIENCE = 20.0  # seconds until a test that hangs fails instead


@dataclass(frozen=True)
class Received:
    """One request, as its bytes stood on the wire."""

    method: str
    target: str
    headers: tuple[tuple[str, str], ...]
    body: bytes

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]

    @property
    def query(self) -> str:
        return self.target.partition("?")[2]

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    def header(self, name: str) -> str | None:
        found = [value for key, value in self.headers if key.lower() == name.lower()]
        assert len(found) <= 1, f"{name} sent {len(found)} times"
        return found[0] if found else None


class Exchange:
    """One request and the connection that it came on."""

    def __init__(self, request: Received, connection: socket.socket) -> None:
        self.request = request
        self.connection = connection
        self.keep = True

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def head(self, status: int = 200, kind: str = "text/event-stream", **more: str) -> None:
        """Status line and headers of a chunked answer."""
        lines = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {kind}", "Transfer-Encoding: chunked"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in more.items()]
        self.send(("\r\n".join(lines) + "\r\n\r\n").encode())

    def chunk(self, data: bytes) -> None:
        self.send(b"%x\r\n%b\r\n" % (len(data), data))

    def end(self) -> None:
        self.send(b"0\r\n\r\n")

    def hang_up(self) -> None:
        self.keep = False

    def peer_closed(self) -> bool:
        """Wait until the client closes its end; False when it is still open after a while."""
        self.connection.settimeout(PATIENCE)
        try:
            return self.connection.recv(1) == b""
        except ConnectionResetError:
            return True
        except TimeoutError:
            return False


Step = Callable[[Exchange], None]


def answer(
    body: object, status: int = 200, headers: Iterable[tuple[str, str]] = (), kind: str = "application/json"
) -> Step:
    """A whole answer: JSON for anything but bytes."""
    data = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
    lines = [f"HTTP/1.1 {status} Whatever", f"Content-Type: {kind}", f"Content-Length: {len(data)}"]
    lines += [f"{name}: {value}" for name, value in headers]
    raw = ("\r\n".join(lines) + "\r\n\r\n").encode() + data
    return lambda exchange: exchange.send(raw)


def stream(*pieces: bytes, end: bool = True, kind: str = "text/event-stream") -> Step:
    """A chunked answer, one chunk a piece; without ``end`` the connection closes where the last chunk should be."""

    def step(exchange: Exchange) -> None:
        exchange.head(kind=kind)
        for piece in pieces:
            exchange.chunk(piece)
        if end:
            exchange.end()
        else:
            exchange.hang_up()

    return step


def drop(exchange: Exchange) -> None:
    """Close without a word."""
    exchange.hang_up()


class ScriptedServer:
    """Plays ``script`` one step a request, then ``otherwise`` for ever."""

    def __init__(self) -> None:
        self.script: deque[Step] = deque()
        self.otherwise: Step = answer({"error": "the script is over"}, 500)
        self.requests: list[Received] = []
        self.connections = 0
        self._open: list[socket.socket] = []
        self._lock = threading.Lock()
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._threads = [threading.Thread(target=self._accept, daemon=True)]
        self._threads[0].start()

    def play(self, *steps: Step) -> None:
        self.script.extend(steps)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        with self._lock:
            for connection in self._open:
                _shut(connection)
        for thread in list(self._threads):
            thread.join(PATIENCE)

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            with self._lock:
                self.connections += 1
                self._open.append(connection)
                thread = threading.Thread(target=self._serve, args=(connection,), daemon=True)
                self._threads.append(thread)
            thread.start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as reader:
            try:
                while (request := _read(reader)) is not None:
                    with self._lock:
                        self.requests.append(request)
                        step = self.script.popleft() if self.script else self.otherwise
                    exchange = Exchange(request, connection)
                    step(exchange)
                    if not exchange.keep:
                        break
            except OSError:
                pass  # the client went away, which some tests want
            _shut(connection)


def _shut(connection: socket.socket) -> None:
    with contextlib.suppress(OSError):
        connection.shutdown(socket.SHUT_RDWR)


def _read(reader: Any) -> Received | None:
    first = reader.readline()
    if not first:
        return None
    method, target, _version = first.decode("latin-1").split()
    headers = []
    while line := reader.readline().strip():
        name, _, value = line.decode("latin-1").partition(":")
        headers.append((name, value.strip()))
    length = next((int(value) for name, value in headers if name.lower() == "content-length"), 0)
    return Received(method, target, tuple(headers), reader.read(length))


class FakeClock:
    """Time that passes only when somebody sleeps; the sleeps are written down."""

    def __init__(self, now: float = 1_714_550_400.0) -> None:
        self.now = now
        self.ticks = 1000.0
        self.sleeps: list[float] = []

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.ticks

    def sleep(self, seconds: float) -> None:
        assert seconds >= 0
        self.sleeps.append(seconds)
        self.advance(seconds)

    def advance(self, seconds: float) -> None:
        self.now += seconds
        self.ticks += seconds


# What the service says, written out by hand from the wire reference (3.3, 3.4, 4.2, 4.3; design notes 4).

TEXT_GENERATION_OK = {"result": "你好", "finish_reason": "stop", "usage": {"prompt_tokens": 1, "completion_tokens": 2}}
V1_OK = {
    "id": "as-1j42wp3555",
    "object": "chat.completion",
    "created": 1712937294,
    "result": "你好",
    "is_truncated": False,
    "need_clear_history": False,
    "finish_reason": "normal",
    "usage": {"prompt_tokens": 1, "completion_tokens": 8, "total_tokens": 9},
}
V2_OK = {
    "id": "as-yqqxsmi5np",
    "object": "chat.completion",
    "created": 1766059499,
    "model": "ernie-5.0-thinking-preview",
    "choices": [
        {
            "index": 0,
            "message": {"role": "assistant", "content": "你好", "reasoning_content": "想一想"},
            "finish_reason": "stop",
            "flag": 0,
        }
    ],
    "usage": {"prompt_tokens": 1, "completion_tokens": 227, "total_tokens": 228},
}
OK = {"text_generation": TEXT_GENERATION_OK, "v1": V1_OK, "v2": V2_OK}


def event(data: object) -> bytes:
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"


def v1_event(text: str, *, last: bool = False, number: int = 0) -> bytes:
    return event(
        {
            "id": "as-vb0m37ti8y",
            "object": "chat.completion",
            "created": 1709089502,
            "sentence_id": number,
            "is_end": last,
            "is_truncated": False,
            "result": text,
            "need_clear_history": False,
            "finish_reason": "normal",
            "usage": {"prompt_tokens": 5, "completion_tokens": 2 * number, "total_tokens": 5 + 2 * number},
        }
    )


def v2_event(delta: dict[str, Any], finish: str | None = None, **more: Any) -> bytes:
    choice: dict[str, Any] = {"index": 0, "delta": delta, "flag": 0}
    if finish:
        choice["finish_reason"] = finish
    return event({"id": "as-1", "object": "chat.completion.chunk", "model": "qwen3-32b", "choices": [choice], **more})


USAGE = {"prompt_tokens": 17, "completion_tokens": 253, "total_tokens": 270}
DONE = b"data: [DONE]\n\n"

#: Dialect -> a whole good stream that says 你好, in four or more pieces.
STREAMS = {
    "text_generation": (
        event({"choices": [{"delta": {"content": "你"}}]}),
        event({"choices": [{"delta": {"content": "好"}}]}),
        event({"choices": [{"delta": {}, "finish_reason": "stop"}], "usage": USAGE}),
    ),
    "v1": (v1_event("你"), v1_event("好", number=1), v1_event("", last=True, number=2)),
    "v2": (
        v2_event({"content": "", "role": "assistant"}),
        v2_event({"content": "你"}),
        v2_event({"content": "好"}),
        v2_event({"content": ""}, "stop", usage=USAGE),
        DONE,
    ),
}
