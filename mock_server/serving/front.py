"""The door with its loop: bound to an address, wired to the core and to Flask, run by whichever thread calls `run`."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

from mock_server.core import handle
from mock_server.delivery import Reply
from mock_server.serving.door import Door, Limits, listen
from mock_server.serving.wsgi import WsgiRunner
from mock_server.state import State
from qfkit.protocol.http import HttpRequest

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication

#: Paths under this are ours, and Flask's: the service has nothing there.
OWN_PREFIX = "/__"


class Front:
    """One listening address of a mock. The socket is bound at once, so `port` is known before `run`.

    Raises:
        OSError: the address cannot be had.
    """

    def __init__(self, state: State, host: str, port: int, *, limits: Limits | None = None) -> None:
        self._state = state
        self._socket = listen(host, port)
        self._limits = limits
        self._loop: asyncio.AbstractEventLoop | None = None
        self._done: asyncio.Event | None = None
        self._door: Door | None = None
        self._drain_seconds = 0.0
        self.host = host
        self.port: int = self._socket.getsockname()[1]

    @property
    def url(self) -> str:
        """The base URL."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"http://{host}:{self.port}"

    def run(self, ready: threading.Event | None = None) -> None:
        """Answer requests until `stop`; ``ready`` is set once they are taken."""
        asyncio.run(self._serve(ready))

    def stop(self, *, drain_seconds: float = 0.0) -> None:
        """End `run` from any thread or signal handler; answers under way may take ``drain_seconds`` to end.

        Called again while they do, it hangs up on them.
        """
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

        def answer(request: HttpRequest) -> Reply | asyncio.Future[Reply]:
            nonlocal flask
            if not request.target.startswith(OWN_PREFIX):
                return handle(request, self._state)
            if flask is None:  # Flask takes longer to import than the rest to start: only those who ask for it wait
                flask = WsgiRunner(self._app(), loop)
            return flask(request)

        self._door = door = Door(answer, loop, limits=self._limits)
        await door.open(self._socket)
        if ready is not None:
            ready.set()
        try:
            await self._done.wait()
            if self._drain_seconds:
                await door.drain(self._drain_seconds)
        finally:
            door.close()
            if flask is not None:
                flask.close()

    def _app(self) -> WSGIApplication:
        from mock_server.app import create_app  # noqa: PLC0415 - see answer()

        return create_app(state=self._state)
