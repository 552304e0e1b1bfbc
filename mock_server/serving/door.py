"""The front door: one event loop that owns its sockets, parses HTTP with llhttp and carries out delivery plans.

Each connection answers its requests one after the other, in the order they came (RFC 9112 9.3.2), however many were
pipelined. Pieces of a stream leave by timers of the loop: a thousand open streams are a thousand timers, not threads.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
import ssl
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from email.utils import formatdate
from functools import partial
from pathlib import Path
from typing import TypeAlias, cast

import httptools

from mock_server.delivery import Reply, WirePlan, Write, wire_plan
from mock_server.serving.sender import Sender
from mock_server.serving.wsgi import BodyPipe, LiveReply
from qfkit.clock import SYSTEM_CLOCK, Clock, timers_of
from qfkit.protocol.http import HttpRequest

logger = logging.getLogger("qfkit.mock")


@dataclass(frozen=True, slots=True)
class Limits:
    """What a connection may cost.

    Attributes:
        head_bytes: request line and headers together; more is answered 431.
        body_bytes: content of one request; more is answered 413 before it is read.
        receive_seconds: from the first byte of a request to its last; slower is answered 408.
        idle_seconds: a kept connection without a request is closed after this.
        linger_seconds: a refused client may go on sending for so long before the connection is reset.
        pipelined: requests that may wait their turn before reading pauses.
    """

    head_bytes: int = 64 * 1024
    body_bytes: int = 64 * 1024 * 1024
    receive_seconds: float = 30.0
    idle_seconds: float = 75.0
    linger_seconds: float = 1.0
    pipelined: int = 16


Answering: TypeAlias = "Reply | asyncio.Future[Reply | LiveReply]"
Handler: TypeAlias = Callable[[HttpRequest], Answering]
StreamHandler: TypeAlias = "Callable[[HttpRequest, BodyPipe], asyncio.Future[Reply | LiveReply]]"


@dataclass(frozen=True, slots=True)
class _Arrived:
    request: HttpRequest
    version: str
    keep_alive: bool


class Connection(asyncio.Protocol):
    """One client's connection."""

    __slots__ = (
        "_answering",
        "_body",
        "_body_size",
        "_closing",
        "_door",
        "_eof",
        "_full",
        "_head_size",
        "_headers",
        "_in_head",
        "_limits",
        "_lingering",
        "_live",
        "_loop",
        "_parser",
        "_pending",
        "_pipe",
        "_receiving",
        "_sender",
        "_since",
        "_transport",
        "_url",
        "_watchdog",
    )

    def __init__(self, door: Door) -> None:
        self._door = door
        self._loop = door.loop
        self._limits = door.limits
        self._parser = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport | None = None
        self._pending: deque[_Arrived] = deque()
        self._answering = False
        self._closing = False
        self._full = False
        self._lingering: asyncio.TimerHandle | None = None
        self._sender: Sender | None = None
        self._live: LiveReply | None = None
        self._pipe: BodyPipe | None = None
        self._watchdog: asyncio.TimerHandle | None = None
        self._since = 0.0
        self._in_head = self._receiving = self._eof = False
        self._head_size = self._body_size = 0
        self._url = bytearray()
        self._headers: list[tuple[str, str]] = []
        self._body: list[bytes] = []

    @property
    def busy(self) -> bool:
        """An answer is under way or waits for its turn."""
        return self._answering or bool(self._pending)

    # asyncio.Protocol

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._sender = Sender(self._transport, self._loop, self._door.timers, self._finish)
        sock = transport.get_extra_info("socket")
        if sock is not None and sock.family in (socket.AF_INET, socket.AF_INET6):
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._door.connections.add(self)
        self._since = self._loop.time()
        self._watchdog = self._loop.call_later(self._limits.idle_seconds, self._watch)

    def data_received(self, data: bytes) -> None:
        if self._closing:
            return
        if self._in_head:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._refuse(400, "this server speaks no other protocol than HTTP/1.1")
        except httptools.HttpParserError as error:
            self._refuse(400, f"not HTTP: {error}")
        if self._in_head and self._head_size > self._limits.head_bytes:
            self._refuse(431, f"request line and headers are over {self._limits.head_bytes} bytes")

    def eof_received(self) -> bool:
        # The end of the client's bytes may mean that it only sends no more, or that it is gone: TCP tells one from the
        # other no sooner than at our next write. Whoever leaves in the middle of a paced stream is taken to be gone,
        # so that the journal knows at which piece; any other answer under way is still delivered.
        self._eof = True
        in_the_middle = self._live is not None or (self._sender is not None and self._sender.waiting)
        return self.busy and not in_the_middle

    def pause_writing(self) -> None:
        if self._sender is not None:
            self._sender.pause()

    def resume_writing(self) -> None:
        if self._sender is not None:
            self._sender.resume()

    def connection_lost(self, _exc: Exception | None) -> None:
        self._door.connections.discard(self)
        for timer in (self._lingering, self._watchdog):
            if timer is not None:
                timer.cancel()
        if self._sender is not None:
            self._sender.abandon()
        if self._live is not None:
            self._live.gone = True
        if self._pipe is not None:
            self._pipe.finish(broken=True)
        self._live = None
        self._pending.clear()
        self._closing = True

    # llhttp callbacks

    def on_message_begin(self) -> None:
        self._url.clear()
        self._headers, self._body = [], []
        self._head_size = self._body_size = 0
        self._in_head = self._receiving = True
        self._since = self._loop.time()

    def on_url(self, url: bytes) -> None:
        self._url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.decode("latin-1"), value.decode("latin-1")))

    def on_headers_complete(self) -> None:
        self._in_head = False
        size, length, expect = len(self._url), "", ""
        for name, value in self._headers:
            size += len(name) + len(value) + 4
            if len(name) == 14 and name.lower() == "content-length":
                length = value
            elif len(name) == 6 and name.lower() == "expect":
                expect = value
        if size > self._limits.head_bytes:
            self._refuse(431, f"request line and headers are over {self._limits.head_bytes} bytes")
        elif length.isdigit() and int(length) > self._limits.body_bytes:
            self._refuse(413, f"the body is over {self._limits.body_bytes} bytes")
        elif expect.lower() == "100-continue" and self._transport and not self._answering:
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        handler = self._door.stream_handler
        if handler is not None and not self.busy and not self._closing and self._door.streams(self._url):
            self._answer_while_receiving(handler)

    def _answer_while_receiving(self, handler: StreamHandler) -> None:
        """Hand the request on before its body is there; the body follows through a pipe."""
        loop, transport = self._loop, self._transport
        assert transport is not None
        self._pipe = BodyPipe(lambda: loop.call_soon_threadsafe(transport.resume_reading))
        self._answering = True
        arrived = self._arrived(b"")
        handler(arrived.request, self._pipe).add_done_callback(partial(self._deliver_later, arrived))

    def on_body(self, body: bytes) -> None:
        self._body_size += len(body)
        if self._body_size > self._limits.body_bytes:
            self._refuse(413, f"the body is over {self._limits.body_bytes} bytes")
        elif self._pipe is not None:
            if self._pipe.feed(body) and self._transport:
                self._transport.pause_reading()
        elif not self._closing:
            self._body.append(body)

    def on_message_complete(self) -> None:
        self._receiving = False
        if self._pipe is not None:
            self._pipe.finish()
            self._pipe = None
            return
        if self._closing:
            return
        body, self._body = b"".join(self._body), []
        self._pending.append(self._arrived(body))
        if not self._answering:
            self._answer_next()
        elif len(self._pending) >= self._limits.pipelined and self._transport and not self._full:
            self._full = True
            self._transport.pause_reading()

    def _arrived(self, body: bytes) -> _Arrived:
        parser = self._parser
        request = HttpRequest(
            parser.get_method().decode("latin-1"),
            self._url.decode("latin-1"),
            tuple(self._headers),
            body,
            self._door.scheme,
        )
        return _Arrived(request, parser.get_http_version(), parser.should_keep_alive())

    # Answering

    def _answer_next(self) -> None:
        while self._pending and not self._answering and not self._closing:
            arrived = self._pending.popleft()
            if self._full and self._transport:
                self._full = False
                self._transport.resume_reading()
            self._answering = True
            answering = self._door.handler(arrived.request)
            if isinstance(answering, Reply):
                self._deliver(answering, arrived)
            else:
                answering.add_done_callback(partial(self._deliver_later, arrived))

    def _deliver_later(self, arrived: _Arrived, done: asyncio.Future[Reply | LiveReply]) -> None:
        reply = done.result()
        if isinstance(reply, Reply):
            self._deliver(reply, arrived)
        elif self._closing or self._transport is None:
            reply.gone = True
        else:
            self._deliver_live(reply, arrived)

    def _deliver_live(self, live: LiveReply, arrived: _Arrived) -> None:
        """Send the pieces of an answer as a thread makes them."""
        assert self._transport is not None
        plan = self._plan(live.head, arrived)
        chunked = arrived.version != "1.0"
        self._live = live
        self._transport.write(plan.writes[0].data)

        def sink(piece: bytes | None) -> None:
            if self._transport is None or self._closing:
                return
            if piece is None:
                self._live = None
                cut = live.head.ending != "complete"
                if not cut and len(plan.writes) > 1:
                    self._transport.write(plan.writes[-1].data)
                self._finish("close" if cut else plan.after)
                return
            if piece and arrived.request.method != "HEAD":
                self._transport.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
            live.sent()

        live.attach(sink)

    def _plan(self, reply: Reply, arrived: _Arrived) -> WirePlan:
        reply.headers.append(("Date", self._door.date()))
        head_only = arrived.request.method == "HEAD"
        keep = arrived.keep_alive and not self._door.draining
        return wire_plan(reply, version=arrived.version, head_only=head_only, keep_alive=keep)

    def _deliver(self, reply: Reply, arrived: _Arrived) -> None:
        if self._closing or self._sender is None:
            if reply.on_end:
                reply.on_end("hung up")
            return
        self._sender.send(self._plan(reply, arrived), reply)

    def _finish(self, after: str) -> None:
        assert self._transport is not None
        self._answering = False
        self._since = self._loop.time()
        if after == "reset":
            self._closing = True
            self._transport.abort()
        elif after == "close" or (self._eof and not self._pending):
            self._closing = True
            self._transport.close()
        elif self._pending:
            # By the loop, not by recursion: a thousand pipelined requests must not be a thousand frames deep.
            self._loop.call_soon(self._answer_next)

    def _refuse(self, status: int, why: str) -> None:
        """Answer a request that never became one, and close."""
        if self._closing or self._transport is None:
            return
        self._closing = True
        body = f"{why}\n".encode()
        reply = Reply(status, [("Content-Type", "text/plain; charset=utf-8")], (Write(0.0, body),))
        if not self._answering:  # else the bytes would land in the middle of another answer
            for write in wire_plan(reply, keep_alive=False).writes:
                self._transport.write(write.data)
        # A close with unread bytes waiting is a reset, and a reset may overtake the answer (RFC 9112 9.6): so say that
        # nothing more will come, and drop what the client still sends until it has read that or its time is up.
        if self._transport.can_write_eof():  # TLS has no half-closed connections
            self._transport.write_eof()
        self._lingering = self._loop.call_later(self._limits.linger_seconds, self._transport.abort)

    # Time

    def _watch(self) -> None:
        """Close a connection that is idle or too slow; one timer a connection, set again only when it rings."""
        if self._closing:
            return
        limit = self._limits.receive_seconds if self._receiving else self._limits.idle_seconds
        left = self._since + limit - self._loop.time()
        if self.busy or left > 0:
            self._watchdog = self._loop.call_later(max(left, 0.1), self._watch)
        elif self._receiving:
            self._refuse(408, f"the request took longer than {limit:g} s to arrive")
        elif self._transport:
            self._closing = True
            self._transport.close()

    def hang_up(self) -> None:
        """Close at once, whatever is under way."""
        if self._transport is not None:
            self._transport.abort()


class Door:
    """Accepts connections on one loop and answers their requests.

    Args:
        handler: answers a request that is there as a whole.
        loop: where everything happens.
        clock: by which streams are paced and answers dated; how long a client may take is real time.
        limits: what a connection may cost.
        streams: which request targets go to ``stream_handler`` before their body is there.
        stream_handler: answers those.
        tls: the server's certificate, None for plain HTTP.
    """

    def __init__(
        self,
        handler: Handler,
        loop: asyncio.AbstractEventLoop,
        *,
        clock: Clock = SYSTEM_CLOCK,
        limits: Limits | None = None,
        streams: Callable[[bytearray], bool] = lambda _target: False,
        stream_handler: StreamHandler | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.handler = handler
        self.streams = streams
        self.stream_handler = stream_handler
        self.loop = loop
        self.timers = timers_of(clock, loop)
        self.limits = limits or Limits()
        self.tls = tls
        #: Of the requests that come in here.
        self.scheme = "http" if tls is None else "https"
        self.connections: set[Connection] = set()
        self.draining = False
        self._clock = clock
        self._date = (0, "")
        self._server: asyncio.Server | None = None

    async def open(self, sock: socket.socket) -> None:
        """Begin to accept on a bound socket."""
        if sock.family == getattr(socket, "AF_UNIX", None):
            self._server = await self.loop.create_unix_server(lambda: Connection(self), sock=sock, backlog=1024)
        else:
            self._server = await self.loop.create_server(
                lambda: Connection(self),
                sock=sock,
                backlog=1024,
                ssl=self.tls,
                ssl_handshake_timeout=self.limits.idle_seconds if self.tls else None,
            )

    def date(self) -> str:
        """The ``Date`` header, made once a second."""
        now = int(self._clock.time())
        if now != self._date[0]:
            self._date = (now, formatdate(now, usegmt=True))
        return self._date[1]

    def close(self) -> None:
        """Stop accepting and hang up on everybody."""
        if self._server is not None:
            self._server.close()
        for connection in tuple(self.connections):
            connection.hang_up()

    async def drain(self, seconds: float) -> None:
        """Stop accepting, let answers under way end for at most ``seconds``, then hang up."""
        self.draining = True
        if self._server is not None:
            self._server.close()
        deadline = self.loop.time() + seconds
        while any(connection.busy for connection in self.connections) and self.loop.time() < deadline:
            await asyncio.sleep(0.02)
        self.close()


def listen(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 takes a free one.

    Raises:
        OSError: the address cannot be had, with the system's reason.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM)
    with contextlib.ExitStack() as undo:
        undo.callback(sock.close)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind((host, port))
        sock.listen(1024)
        sock.setblocking(False)
        undo.pop_all()
    return sock


def listen_unix(path: str | Path) -> socket.socket:
    """A listening Unix socket at ``path``, which must not exist; only its owner may connect.

    Raises:
        OSError: the path cannot be had, with the system's reason.
    """
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    with contextlib.ExitStack() as undo:
        undo.callback(sock.close)
        mask = os.umask(0o177)
        try:
            sock.bind(str(path))
        finally:
            os.umask(mask)
        sock.listen(1024)
        sock.setblocking(False)
        undo.pop_all()
    return sock
