"""Running a WSGI app from the event loop: what is not on the hot path is Flask's, in a small pool of threads."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from io import BytesIO
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote_to_bytes

from mock_server.delivery import Reply, Write
from qfkit.protocol.http import HttpRequest

if TYPE_CHECKING:
    from _typeshed.wsgi import WSGIApplication


class WsgiRunner:
    """Answers requests with a WSGI app in threads; they are started when the first request needs them."""

    def __init__(self, app: WSGIApplication, loop: asyncio.AbstractEventLoop, threads: int = 4) -> None:
        self._app = app
        self._loop = loop
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="qfkit-flask")

    def __call__(self, request: HttpRequest) -> asyncio.Future[Reply]:
        """The app's answer, when it has one."""
        return self._loop.run_in_executor(self._pool, call_wsgi, self._app, request)

    def close(self) -> None:
        """Let the threads go; answers under way are dropped."""
        self._pool.shutdown(wait=False, cancel_futures=True)


def call_wsgi(app: WSGIApplication, request: HttpRequest) -> Reply:
    """One request through a WSGI app (PEP 3333), its body collected whole."""
    head: list[tuple[int, list[tuple[str, str]]]] = []

    def start_response(status: str, headers: list[tuple[str, str]], _exc_info: Any = None) -> Callable[[bytes], object]:
        head.append((int(status[:3]), headers))
        return written.append

    written: list[bytes] = []
    produced: Iterable[bytes] = app(environ_of(request), start_response)
    try:
        written.extend(produced)
    finally:
        close = getattr(produced, "close", None)
        if close is not None:
            close()
    status, headers = head[-1]
    framing = {"content-length", "transfer-encoding", "connection", "date"}  # the door's own business
    kept = [(name, value) for name, value in headers if name.lower() not in framing]
    return Reply(status, kept, (Write(0.0, b"".join(written)),))


def environ_of(request: HttpRequest) -> dict[str, Any]:
    """The request as a WSGI environment."""
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
        "wsgi.input": BytesIO(request.body),
        "wsgi.errors": sys.stderr,
        "wsgi.multithread": True,
        "wsgi.multiprocess": False,
        "wsgi.run_once": False,
        "CONTENT_LENGTH": str(len(request.body)),
    }
    for name, value in request.headers:
        key = name.upper().replace("-", "_")
        if key == "CONTENT_TYPE":
            environ[key] = value
        elif key not in {"CONTENT_LENGTH", "TRANSFER_ENCODING"}:
            key = f"HTTP_{key}"
            environ[key] = f"{environ[key]},{value}" if key in environ else value
    return environ
