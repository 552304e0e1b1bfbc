"""The door with its loop: bound to an address, wired to the core and to Flask, run by whichever thread calls `run`."""

from __future__ import annotations

import asyncio
import os
import selectors
import ssl
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from mock_server.core import Later, begin
from mock_server.delivery import Reply
from mock_server.routes.guard import control_guard
from mock_server.serving.door import Answering, Door, Limits, listen, listen_unix
from mock_server.serving.wsgi import BodyPipe, LiveReply, WsgiRunner
from mock_server.state import State
from qfkit.protocol.http import HttpRequest

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

#: Paths that begin like this are ours, and Flask's: the service has nothing there.
OWN_PREFIX = (b"/__", b"/metrics")


class Front:
    """One listening address of a mock. The socket is bound at once, so that `port` is known before `run`.

    Args:
        state: whose requests to answer.
        host, port: the TCP address; port 0 takes a free one.
        uds: a path to listen on as a Unix socket, instead of TCP.
        limits: what a connection may cost.
        tls: the server's certificate, None for plain HTTP.
        flask: serve everything through Flask, which is the reference; slower, and without byte-exact faults.

    Raises:
        ConfigError: other machines could use the control API, and it has no token.
        OSError: the address cannot be had.
    """

    def __init__(
        self,
        state: State,
        host: str = "127.0.0.1",
        port: int = 0,
        *,
        uds: str | Path | None = None,
        limits: Limits | None = None,
        tls: ssl.SSLContext | None = None,
        flask: bool = False,
    ) -> None:
        control_guard(state.settings, host if uds is None else None)
        self._state = state
        self._socket = listen(host, port) if uds is None else listen_unix(uds)
        self._limits = limits
        self._tls = tls
        self._all_flask = flask
        self._loop: asyncio.AbstractEventLoop | None = None
        self._done: asyncio.Event | None = None
        self._door: Door | None = None
        self._drain_seconds = 0.0
        self._pid = os.getpid()
        self.uds = None if uds is None else Path(uds)
        self.host = host
        self.port: int = 0 if uds is not None else self._socket.getsockname()[1]

    @property
    def url(self) -> str:
        """The base URL; for a Unix socket ``http+unix://`` and its path, percent-encoded."""
        if self.uds is not None:
            return f"http+unix://{str(self.uds).replace('/', '%2F')}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'http' if self._tls is None else 'https'}://{host}:{self.port}"

    def run(self, ready: threading.Event | None = None) -> None:
        """Answer requests until `stop`; ``ready`` is set once they are taken."""
        loop = new_event_loop()
        try:
            loop.run_until_complete(self._serve(ready))
        finally:
            loop.close()
            if self.uds is not None:
                self.uds.unlink(missing_ok=True)

    def stop(self, *, drain_seconds: float = 0.0) -> None:
        """End `run` from any thread or signal handler; answers under way may take ``drain_seconds`` to end.

        Called again while they do, it hangs up on them. In a forked child, whose copy of the loop nobody runs, it only
        closes the child's copy of the socket.
        """
        if os.getpid() != self._pid:
            self._socket.close()
            return
        loop, done, door = self._loop, self._done, self._door
        if loop is None or done is None or door is None or loop.is_closed():
            return
        if done.is_set():
            loop.call_soon_threadsafe(door.close)
            return
        self._drain_seconds = drain_seconds
        loop.call_soon_threadsafe(done.set)

    async def _serve(self, ready: threading.Event | None) -> None:
        self._loop = loop = asyncio.get_running_loop()
        self._done = asyncio.Event()
        flask: WsgiRunner | None = None
        threads: LaterRunner | None = None

        def for_flask(target: bytes | bytearray) -> bool:
            return self._all_flask or target.startswith(OWN_PREFIX)

        def answer(request: HttpRequest) -> Answering:
            # A request for Flask comes here only when it was pipelined behind another.
            nonlocal threads
            if for_flask(request.target.encode("latin-1")):
                return ask_flask(request)
            begun = begin(request, self._state)
            if isinstance(begun, Reply):
                return begun
            if threads is None:
                threads = LaterRunner(loop)
            return threads(begun)

        def ask_flask(request: HttpRequest, body: BodyPipe | None = None) -> asyncio.Future[Reply | LiveReply]:
            nonlocal flask
            if flask is None:  # Flask takes longer to import than the rest to start: only those who ask for it wait
                flask = WsgiRunner(self._app(), loop)
            return flask(request, body)

        self._door = door = Door(
            answer,
            loop,
            clock=self._state.clock,
            limits=self._limits,
            streams=for_flask,
            stream_handler=ask_flask,
            tls=self._tls,
        )
        await door.open(self._socket)
        if ready is not None:
            ready.set()
        try:
            await self._done.wait()
            if self._drain_seconds:
                await door.drain(self._drain_seconds)
        finally:
            door.close()
            await asyncio.sleep(0)  # lets the connections that were hung up on say goodbye
            if flask is not None:
                flask.close()
            if threads is not None:
                threads.close()

    def _app(self) -> WSGIApplication:
        from mock_server.app import create_app  # noqa: PLC0415 - see answer()

        return create_app(state=self._state)


class LaterRunner:
    """Runs answers that take code of the user's in threads, so that nobody else waits for them.

    Args:
        loop: where the answers are awaited.
        threads: how many run side by side; they are started as they are needed.
    """

    def __init__(self, loop: asyncio.AbstractEventLoop, threads: int = 64) -> None:
        self._loop = loop
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="qfkit-callable")

    def __call__(self, later: Later) -> asyncio.Future[Reply | LiveReply]:
        """The reply, as soon as it is found."""
        future: asyncio.Future[Reply | LiveReply] = self._loop.create_future()
        self._pool.submit(self._run, later, future)
        return future

    def close(self) -> None:
        """Let the threads go; answers that have not begun are dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _run(self, later: Later, future: asyncio.Future[Reply | LiveReply]) -> None:
        reply = later.run()
        try:
            self._loop.call_soon_threadsafe(_settle, future, reply)
        except RuntimeError:  # the mock was stopped meanwhile, and its loop is closed
            if reply.on_end:
                reply.on_end("hung up")


def _settle(future: asyncio.Future[Reply | LiveReply], reply: Reply) -> None:
    if not future.done():
        future.set_result(reply)


def new_event_loop() -> asyncio.AbstractEventLoop:
    """A loop of uvloop where that is installed (``pip install 'qfkit[server]'``), else of asyncio."""
    try:
        import uvloop  # noqa: PLC0415 - optional
    except ImportError:
        return asyncio.new_event_loop() if sys.platform == "win32" else RealTimeLoop(_RealTimeSelector())
    loop: asyncio.AbstractEventLoop = uvloop.new_event_loop()
    return loop


class _RealTimeSelector(selectors.DefaultSelector):
    """Waits in real time, also where virtual time makes the loops of a test leap: see `RealTimeLoop`."""

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """As the selector of the system."""
        return super().select(timeout)


class RealTimeLoop(asyncio.SelectorEventLoop):
    """A loop that keeps real time, as uvloop does: how long a client may take is no matter of virtual time.

    Virtual time knows this module, and leaves the time alone for whoever asks from here.
    """

    def time(self) -> float:
        """Seconds that never run backwards."""
        return time.monotonic()
