"""The HTTP requests of clients that do not tell of them: seen where all of them pass.

Synchronous clients in Python send through one of two doors: the standard library's ``http.client`` (urllib3, requests,
the official SDK, urllib) or httpcore (httpx, openai). `install` puts a watch at both. It sees when a request is about
to be sent, to which path, and when the head of its answer is there; and it asks the gate first, so that no client can
pass the budget or leave the machine.

Requests are those of the call that the current greenlet or thread has begun with `watch`: a client that sends from
threads of its own is not seen, and its attempts are known from the mock's journal alone.
"""

from __future__ import annotations

import http.client
import importlib
import importlib.util
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import wraps
from typing import Any
from urllib.parse import urlsplit

from qfkit.protocol.dialects import INFERENCE_DIALECTS, route

#: Asked before each request with its URL; refuses by raising.
Admit = Callable[[str], None]

_HTTPCORES = ("httpcore", "httpcore2")


@dataclass(slots=True)
class Request:
    """One request. Times are seconds of ``time.perf_counter``.

    Attributes:
        sent: just before it was sent.
        inference: it asks for an answer; others fetch tokens or the list of services.
        status: of its answer, None while there is none.
        head: when the head of its answer was there, None while it is not.
        failed: when it was clear that none comes.
        connected: a connection was made.
    """

    sent: float
    inference: bool
    status: int | None = None
    head: float | None = None
    failed: float | None = None
    connected: bool = False

    @property
    def over(self) -> float:
        """The end of waiting for its answer, as far as it is known."""
        return self.head or self.failed or self.sent

    def fails(self) -> None:
        """No answer comes."""
        self.failed = time.perf_counter()


@dataclass(slots=True)
class Watch:
    """What was seen of one call.

    Attributes:
        admit: the gate.
        requests: in order.
        refused: what the gate refused with; a client may have taken it for a failed connection, and tried again.
    """

    admit: Admit
    requests: list[Request] = field(default_factory=list)
    refused: Exception | None = None

    @property
    def attempts(self) -> list[Request]:
        """Requests for an answer."""
        return [request for request in self.requests if request.inference]

    def sends(self, url: str) -> Request:
        """A request to ``url`` is about to be sent.

        Raises:
            Exception: whatever the gate refuses with.
        """
        try:
            self.admit(url)
        except Exception as error:
            self.refused = error
            raise
        target = route(urlsplit(url).path)
        request = Request(time.perf_counter(), target is not None and target.dialect in INFERENCE_DIALECTS)
        self.requests.append(request)
        return request


_current: ContextVar[Watch | None] = ContextVar("qfkit_watch", default=None)


@contextmanager
def watch(admit: Admit) -> Iterator[Watch]:
    """See what is sent by this greenlet or thread from now on, until the block ends. Needs `install`."""
    seen = Watch(admit)
    token = _current.set(seen)
    try:
        yield seen
    finally:
        _current.reset(token)


def install() -> Callable[[], None]:
    """Put the watch at both doors of this process, if it is not there yet; returns what takes it away."""
    if not _undo:
        _undo.append(_at_http_client())
        _undo.extend(_at_httpcore(name) for name in _HTTPCORES if importlib.util.find_spec(name) is not None)
    return _remove


_undo: list[Callable[[], None]] = []


def _remove() -> None:
    while _undo:
        _undo.pop()()


def _at_http_client() -> Callable[[], None]:
    connection: Any = http.client.HTTPConnection
    putrequest, send, getresponse = connection.putrequest, connection.send, connection.getresponse

    @wraps(putrequest)
    def watched_putrequest(self: Any, method: str, url: str, *args: Any, **kwargs: Any) -> Any:
        if (seen := _current.get()) is not None:
            scheme = "https" if self.default_port == http.client.HTTPS_PORT else "http"
            whole = url if "://" in url else f"{scheme}://{_bracketed(self.host)}:{self.port}{url}"
            self._qfkit_request = seen.sends(whole)
        return putrequest(self, method, url, *args, **kwargs)

    @wraps(send)
    def watched_send(self: Any, data: Any) -> Any:
        request = getattr(self, "_qfkit_request", None)
        if request is None:
            return send(self, data)
        try:
            result = send(self, data)  # connects where there is no connection yet
        except Exception:
            request.fails()
            raise
        request.connected = True
        return result

    @wraps(getresponse)
    def watched_getresponse(self: Any, *args: Any, **kwargs: Any) -> Any:
        request, self._qfkit_request = getattr(self, "_qfkit_request", None), None
        if request is None:
            return getresponse(self, *args, **kwargs)
        try:
            response = getresponse(self, *args, **kwargs)
        except Exception:
            request.fails()
            raise
        request.status, request.head = response.status, time.perf_counter()
        return response

    def undo() -> None:
        connection.putrequest, connection.send, connection.getresponse = putrequest, send, getresponse

    connection.putrequest = watched_putrequest
    connection.send = watched_send
    connection.getresponse = watched_getresponse
    return undo


def _at_httpcore(name: str) -> Callable[[], None]:
    module = importlib.import_module(name)
    pool: Any = module.ConnectionPool
    handle = pool.handle_request

    @wraps(handle)
    def watched(self: Any, request: Any) -> Any:
        if (seen := _current.get()) is None:
            return handle(self, request)
        url = request.url
        port = f":{url.port}" if url.port else ""
        found = seen.sends(
            f"{url.scheme.decode()}://{_bracketed(url.host.decode())}{port}{url.target.decode('ascii', 'replace')}"
        )
        try:
            response = handle(self, request)
        except Exception as error:
            found.fails()
            found.connected = not isinstance(error, (module.ConnectError, module.ConnectTimeout))
            raise
        found.connected, found.status, found.head = True, response.status, time.perf_counter()
        return response

    def undo() -> None:
        pool.handle_request = handle

    pool.handle_request = watched
    return undo


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
