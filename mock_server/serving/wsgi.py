"""Running a WSGI app from the event loop: what is not on the hot path is Flask's, in a small pool of threads."""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import sys
import threading
from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import IO, TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from mock_server.delivery import Reply, Write
from qfkit.protocol.http import HttpRequest

if TYPE_CHECKING:
    from _typeshed import WriteableBuffer
    from _typeshed.wsgi import WSGIApplication

logger = logging.getLogger("qfkit.mock")

#: Pieces that an app may be ahead of its client before it has to wait.
_AHEAD = 16

#: Headers that are the door's own business.
_FRAMING = frozenset({"content-length", "transfer-encoding", "connection", "date"})


class Gone(ConnectionError):
    """The client hung up while the app was still writing."""


class BodyPipe(io.RawIOBase):
    """A request's body on its way from the door to a thread that reads it as a file.

    Args:
        resume: called, from the reading thread, when so much was read that the door should go on receiving.
    """

    #: Bytes that the door may be ahead of the reader before it pauses the client.
    AHEAD = 256 * 1024

    def __init__(self, resume: Callable[[], object]) -> None:
        self._resume = resume
        self._changed = threading.Condition()
        self._parts: deque[bytes] = deque()
        self._waiting = 0
        self._done = False
        self._broken = False

    def readable(self) -> bool:
        """It is."""
        return True

    def feed(self, data: bytes) -> bool:
        """Called by the door: more of the body. Whether the reader is so far behind that receiving should pause."""
        with self._changed:
            if self.closed:  # the app has answered and reads no more
                return False
            self._parts.append(data)
            self._waiting += len(data)
            self._changed.notify()
            return self._waiting > self.AHEAD

    def finish(self, *, broken: bool = False) -> None:
        """Called by the door: the body is whole, or its client is gone."""
        with self._changed:
            self._done, self._broken = True, broken
            self._changed.notify()

    def readinto(self, buffer: WriteableBuffer, /) -> int:
        """Wait for some of the body; 0 at its end.

        Raises:
            Gone: the client hung up before the end.
        """
        view = memoryview(buffer).cast("B")
        with self._changed:
            while not self._parts and not self._done:
                self._changed.wait()
            if not self._parts:
                if self._broken:
                    raise Gone("the client hung up in the middle of its request")
                return 0
            part = self._parts.popleft()
            taken = min(len(view), len(part))
            view[:taken] = part[:taken]
            if taken < len(part):
                self._parts.appendleft(part[taken:])
            before, self._waiting = self._waiting, self._waiting - taken
            eased = before > self.AHEAD >= self._waiting
        if eased:
            self._resume()
        return taken


class LiveReply:
    """An answer that a thread is still writing while the door sends it.

    Attributes:
        head: status and headers, as a streamed reply without pieces.
        gone: set by the door when the client hung up.
    """

    __slots__ = ("_early", "_loop", "_room", "_sink", "gone", "head")

    def __init__(self, head: Reply, loop: asyncio.AbstractEventLoop) -> None:
        self.head = head
        self.gone = False
        self._loop = loop
        self._room = threading.Semaphore(_AHEAD)
        self._sink: Callable[[bytes | None], None] | None = None
        self._early: list[bytes | None] = []

    def attach(self, sink: Callable[[bytes | None], None]) -> None:
        """Called by the door, in the loop: where the pieces go. None is the end."""
        self._sink = sink
        early, self._early = self._early, []
        for piece in early:
            self._hand_on(piece)

    def push(self, piece: bytes | None) -> None:
        """Called by the thread: hand on a piece, or the end; waits while the client is behind.

        Raises:
            Gone: the client hung up.
        """
        while not self._room.acquire(timeout=0.2) and not self.gone:
            pass
        if self.gone:
            raise Gone("the client hung up")
        self._loop.call_soon_threadsafe(self._hand_on, piece)

    def sent(self) -> None:
        """Called by the door when a piece has left: there is room for another."""
        self._room.release()

    def _hand_on(self, piece: bytes | None) -> None:
        if self._sink is None:  # the thread may be faster than the door
            self._early.append(piece)
        elif not self.gone:
            self._sink(piece)


class WsgiRunner:
    """Answers requests with a WSGI app in threads; they are started when the first request needs them."""

    def __init__(self, app: WSGIApplication, loop: asyncio.AbstractEventLoop, threads: int = 8) -> None:
        self._app = app
        self._loop = loop
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="qfkit-flask")

    def __call__(self, request: HttpRequest, body: BodyPipe | None = None) -> asyncio.Future[Reply | LiveReply]:
        """The app's answer: whole where it says how long it is, else as soon as its headers are there.

        Args:
            request: as it arrived, with its body unless ``body`` is given.
            body: where the body comes from, piece by piece.
        """
        future: asyncio.Future[Reply | LiveReply] = self._loop.create_future()
        self._pool.submit(self._run, request, body, future)
        return future

    def close(self) -> None:
        """Let the threads go; answers under way are dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, request: HttpRequest, body: BodyPipe | None, future: asyncio.Future[Reply | LiveReply]) -> None:
        live: LiveReply | None = None
        content: IO[bytes] = BytesIO(request.body) if body is None else io.BufferedReader(body)
        try:
            with content, contextlib.closing(_call(self._app, request, content)) as parts:
                head = next(parts)
                assert isinstance(head, Reply)
                if not head.streamed:
                    head.body = (Write(0.0, b"".join(part for part in parts if isinstance(part, bytes))),)
                    self._settle(future, head)
                    return
                live = LiveReply(head, self._loop)
                self._settle(future, live)
                for part in parts:
                    live.push(part if isinstance(part, bytes) else b"")
                live.push(None)
        except Gone:
            return
        except ConnectionError:  # the script breaks the answer off here
            self._break_off(future, live, b"")
        except Exception:
            logger.exception("the Flask app failed on %s %s", request.method, request.path)
            self._break_off(future, live, b"qfkit bug: see the log of the mock\n")

    def _break_off(self, future: asyncio.Future[Reply | LiveReply], live: LiveReply | None, words: bytes) -> None:
        """End an answer before its end; one without a head yet gets an error status and ``words``."""
        if live is None:
            self._settle(future, Reply(500, [], (Write(0.0, words),)))
            return
        live.head.ending = "cut"
        with contextlib.suppress(Gone):
            live.push(None)

    def _settle(self, future: asyncio.Future[Reply | LiveReply], reply: Reply | LiveReply) -> None:
        self._loop.call_soon_threadsafe(lambda: None if future.done() else future.set_result(reply))


def _call(app: WSGIApplication, request: HttpRequest, content: IO[bytes]) -> Generator[Reply | bytes, None, None]:
    """One request through a WSGI app (PEP 3333): first its head, then the pieces of its body."""
    heads: list[Reply] = []
    written: list[bytes] = []

    def start_response(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> Callable[[bytes], object]:
        kept = [(name, value) for name, value in headers if name.lower() not in _FRAMING]
        streamed = not any(name.lower() == "content-length" for name, _ in headers)
        heads.append(Reply(int(status[:3]), kept, streamed=streamed))
        return written.append

    produced: Iterable[bytes] = app(environ_of(request, content), start_response)
    try:
        pieces = iter(produced)
        first = next(pieces, b"")  # the head may come as late as the first piece
        yield heads[-1]
        yield from written
        yield first
        yield from pieces
    finally:
        close = getattr(produced, "close", None)
        if close is not None:
            close()


def environ_of(request: HttpRequest, content: IO[bytes]) -> dict[str, Any]:
    """The request as a WSGI environment, its body read from ``content``."""
    host, _, port = (request.header("host") or "localhost").rpartition(":")
    environ: dict[str, Any] = {
        "REQUEST_METHOD": request.method,
        "SCRIPT_NAME": "",
        "PATH_INFO": unquote_to_bytes(request.path).decode("latin-1"),
        "QUERY_STRING": request.query,
        "RAW_URI": request.target,
        "SERVER_NAME": host or port,
        "SERVER_PORT": port if host and port.isdigit() else "80",
        "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0),
        "wsgi.url_scheme": request.scheme,
        "wsgi.input": content,
        "wsgi.input_terminated": True,
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
    }
    if request.body:
        environ["CONTENT_LENGTH"] = str(len(request.body))
    for name, value in request.headers:
        key = name.upper().replace("-", "_")
        if key == "CONTENT_TYPE":
            environ[key] = value
        elif key == "CONTENT_LENGTH":
            environ.setdefault(key, value)
        elif key != "TRANSFER_ENCODING":
            key = f"HTTP_{key}"
            environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ
