"""A gate in front of the real service: every request passes it, whichever client sends it.

It stands where the real hosts' names lead while tests run live, so nobody has to be told of it: a client signs for the
real host, says the real host's name, and the gate sends the very same request on. Its own connections are checked
against the public authorities as ever. Who watches what passes is a `Passage`; the budget is one, and whoever wants to
record what passed, or to answer from a record, is another.
"""

from __future__ import annotations

import http.server
import os
import socket
import ssl
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any, Protocol

from requests import PreparedRequest, RequestException, Response
from requests.adapters import HTTPAdapter
from urllib3 import HTTPHeaderDict
from urllib3.exceptions import HTTPError

from qfkit.protocol.http import HttpRequest
from qfkit.testing.network import NETWORK

#: Seconds to connect to the service, and between bytes of its answer: a client that waits shorter hangs up by itself.
TIMEOUT = (10.0, 600.0)

#: Seconds that connections have to end when the gate closes.
_PATIENCE = 5.0

_PIECE = 65_536

#: Headers of one connection, which are not handed on (RFC 9110 7.6.1).
_HOP = frozenset(
    {"connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "te", "trailer", "transfer-encoding"}
    | {"upgrade", "proxy-connection"}
)


@dataclass(frozen=True)
class Answer:
    """What is said instead of the service.

    Attributes:
        status: of HTTP.
        headers: name and value pairs.
        body: its bytes.
    """

    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes


@dataclass(frozen=True)
class Exchange:
    """One request that was sent on, and what came back.

    Attributes:
        host: of the service.
        request: as the client sent it; it holds keys, so mind where it is written.
        status: of the answer; 0 where none came.
        headers: of the answer.
        body: of the answer, as far as it came.
        seconds: from sending on to the last byte.
        error: what broke it off; None where nothing did.
    """

    host: str
    request: HttpRequest
    status: int
    headers: tuple[tuple[str, str], ...]
    body: bytes
    seconds: float
    error: str | None = None


class Passage(Protocol):
    """Who is asked before a request passes, and told after it has. Called from many threads."""

    def enter(self, host: str, request: HttpRequest) -> Answer | None:
        """What is answered instead of sending it on; None sends it on."""
        ...

    def passed(self, exchange: Exchange) -> None:
        """It was sent on, and this is what came of it."""
        ...


class Gate:
    """Doors that lead to the real service.

    Args:
        upstream: name of a host -> URL (scheme and authority) where its requests are sent on to.
        passage: who is asked.

    Attributes:
        doors: port that a program asks for -> host and port of the door; filled by `open`.
    """

    def __init__(self, upstream: Mapping[str, str], passage: Passage) -> None:
        self.upstream = dict(upstream)
        self.passage = passage
        self.doors: dict[int, tuple[str, int]] = {}
        self._adapter = HTTPAdapter(pool_maxsize=32)
        # What the environment says is read now: a test that bends it means its own clients.
        self._proxies = {} if self._on_loopback() else urllib.request.getproxies()
        self._verify = os.environ.get("REQUESTS_CA_BUNDLE") or os.environ.get("SSL_CERT_FILE") or True

    def _on_loopback(self) -> bool:
        return all("//127.0.0.1" in url or "//localhost" in url for url in self.upstream.values())

    @contextmanager
    def open(self, context: ssl.SSLContext) -> Iterator[Gate]:
        """Let requests through until the block ends: by TLS with ``context`` for port 443, plain for port 80."""
        servers = {443: _Door(self, context), 80: _Door(self, None)}
        threads = [
            threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True) for server in servers.values()
        ]
        for thread in threads:
            thread.start()
        self.doors.update({port: ("127.0.0.1", server.server_address[1]) for port, server in servers.items()})
        try:
            yield self
        finally:
            self.doors.clear()
            for server in servers.values():
                server.close()
            for thread in threads:
                thread.join(_PATIENCE)
            self._adapter.close()

    def ask(self, host: str, request: HttpRequest) -> Response:
        """The service's answer, its body not yet read.

        Raises:
            RequestException: there is none.
        """
        prepared = PreparedRequest()
        prepared.method, prepared.url, prepared.body = (
            request.method,
            self.upstream[host] + request.target,
            request.body,
        )
        headers: Any = HTTPHeaderDict()
        for name, value in request.headers:
            if name.lower() not in _HOP | {"accept-encoding"}:
                headers.add(name, value)
        headers.add("Accept-Encoding", "identity")  # what passes is counted, so it has to be read
        prepared.headers = headers
        with NETWORK.past():
            return self._adapter.send(
                prepared, stream=True, timeout=TIMEOUT, verify=self._verify, proxies=self._proxies
            )


class _Door(http.server.ThreadingHTTPServer):
    """One listening socket of the gate."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, gate: Gate, context: ssl.SSLContext | None) -> None:
        self.gate = gate
        self._context = context
        self._open: dict[socket.socket, threading.Thread] = {}
        super().__init__(("127.0.0.1", 0), _Passing)

    def get_request(self) -> tuple[socket.socket, Any]:
        """A connection; its handshake is made by the thread that serves it."""
        sock, address = super().get_request()
        if self._context is not None:
            sock = self._context.wrap_socket(sock, server_side=True, do_handshake_on_connect=False)
        return sock, address

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Serve one connection, and be known while it lasts."""
        self._open[request] = threading.current_thread()
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._open.pop(request, None)

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that hangs up, or does not trust us, is its own business; anything else is printed."""
        if not isinstance(sys.exc_info()[1], OSError):
            super().handle_error(request, client_address)

    def close(self) -> None:
        """Take no more, and hang up on those who keep connections."""
        self.shutdown()
        self.server_close()
        for sock, thread in list(self._open.items()):
            with suppress(OSError):  # it has gone already
                sock.shutdown(socket.SHUT_RDWR)
            thread.join(_PATIENCE)


class _Passing(http.server.BaseHTTPRequestHandler):
    """Requests of one connection."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    server: _Door

    def _pass(self) -> None:
        request = self._read()
        if request is None:
            return
        gate, host = self.server.gate, (request.header("host") or "").partition(":")[0].lower()
        if host not in gate.upstream:
            known = ", ".join(gate.upstream)
            self._say(_plain(421, f"qfkit live: {host or 'no host'} is not a host of Qianfan; these are: {known}"))
            return
        instead = gate.passage.enter(host, request)
        if instead is not None:
            self._say(instead)
            return
        started = time.perf_counter()
        try:
            answer = gate.ask(host, request)
        except RequestException as error:
            why = f"qfkit live: {gate.upstream[host]} gave no answer: {_why(error)}"
            gate.passage.passed(Exchange(host, request, 0, (), b"", time.perf_counter() - started, why))
            self._say(_plain(502, why))
            return
        body = bytearray()
        told: list[Exchange] = []

        def tell(broken: str | None = None) -> None:
            """Once, and before the client knows that the answer has ended: its next request finds the budget right."""
            if not told:
                headers, seconds = tuple(answer.headers.items()), time.perf_counter() - started
                told.append(Exchange(host, request, answer.status_code, headers, bytes(body), seconds, broken))
                gate.passage.passed(told[0])

        try:
            self._relay(answer, body, tell)
        except (OSError, HTTPError) as error:
            tell(_why(error))
            self.close_connection = True
        finally:
            answer.close()

    do_GET = do_POST = do_PUT = do_DELETE = do_HEAD = do_PATCH = do_OPTIONS = _pass  # noqa: N815 - the base's names

    def _read(self) -> HttpRequest | None:
        length = self.headers.get("Content-Length", "0")
        if "Transfer-Encoding" in self.headers or not length.isdigit():
            self.close_connection = True
            self._say(_plain(411, "qfkit live: send Content-Length; a body in chunks is not passed on"))
            return None
        body = self.rfile.read(int(length))
        scheme = "http" if not isinstance(self.connection, ssl.SSLSocket) else "https"
        return HttpRequest(self.command, self.path, tuple(self.headers.items()), body, scheme)

    def _relay(self, answer: Response, body: bytearray, end: Callable[[], None]) -> None:
        """Hand the answer on as it comes, keep a copy of what came, and call ``end`` before its last byte leaves."""
        raw = answer.raw
        bare = self.command == "HEAD" or answer.status_code in {204, 304}
        length = 0 if bare else int(raw.headers.get("content-length", -1))
        if not length:
            end()
        self.send_response_only(answer.status_code, answer.reason)
        for name, value in raw.headers.items():
            if name.lower() not in _HOP:
                self.send_header(name, value)
        if length < 0:
            self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        while not bare and (piece := raw.read1(_PIECE, decode_content=False)):
            body += piece
            if len(body) == length:
                end()
            self.wfile.write(b"%x\r\n%b\r\n" % (len(piece), piece) if length < 0 else piece)
        if length < 0:
            end()
            self.wfile.write(b"0\r\n\r\n")

    def _say(self, answer: Answer) -> None:
        self.send_response_only(answer.status)
        for name, value in (*answer.headers, ("Content-Length", str(len(answer.body)))):
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 - the base's
        """Nothing: targets may hold tokens."""


def _why(error: Exception) -> str:
    """What went wrong, without the target, whose query may hold a secret key (wire reference 2.1)."""
    reason = getattr(error.args[0], "reason", None) if error.args else None  # urllib3's, below that of requests
    return f"{type(error).__name__}: {reason}" if reason is not None else type(error).__name__


def _plain(status: int, text: str) -> Answer:
    return Answer(status, (("Content-Type", "text/plain; charset=utf-8"),), text.encode())
