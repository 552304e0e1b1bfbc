"""One HTTP exchange over a `requests.Session`, and nothing of Qianfan but the shape of its failures.

Three things are easy to get wrong here, and are settled in this module:

* The body is bytes before it comes here, and the request is signed when it is otherwise ready (requests' own auth
  hook): what is signed is what is sent.
* A stream is read with ``read1``: whatever has arrived is handed on at once. ``iter_lines`` and ``read(amt)`` wait
  until a block is full, and report first tokens late.
* The exceptions of requests and urllib3 quote URLs, and Qianfan's URLs carry tokens. So none of them is quoted or
  chained: ours are raised outside the ``except`` block, with the cause in our own words (see also `raise_if`).
"""

from __future__ import annotations

import functools
import importlib.metadata
import ssl
import traceback
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from http.cookiejar import DefaultCookiePolicy
from typing import Any
from urllib.parse import urlsplit

import requests
import urllib3
from requests.adapters import HTTPAdapter
from requests.auth import AuthBase

from qfkit.client.exceptions import ConfigurationError, ConnectionFailed, QianfanError, TimeoutExceeded
from qfkit.client.redaction import guard_urllib3_logs

#: (connect, read) in seconds. The read timeout bounds each wait for bytes, not the whole answer.
DEFAULT_TIMEOUT = (5.0, 60.0)

_READ_SIZE = 65536
#: Connections kept open to a host. More threads than this still work, but reconnect.
_POOL_SIZE = 100
#: How long a finished stream may take to end its body, so that its connection can be used again.
_DRAIN_SECONDS = 0.5
_DRAIN_READS = 8
_BROKEN = (OSError, urllib3.exceptions.HTTPError)  # requests.RequestException is an OSError

#: What has no cause in the system's own words.
_WORDS: tuple[tuple[type[Exception] | tuple[type[Exception], ...], str], ...] = (
    (
        (requests.exceptions.ContentDecodingError, urllib3.exceptions.DecodeError),
        "its Content-Encoding cannot be undone",
    ),
    (
        (requests.exceptions.ChunkedEncodingError, requests.ConnectionError, urllib3.exceptions.ProtocolError),
        "the connection closed before its end",
    ),
)

Sign = Callable[[requests.PreparedRequest], None]


@dataclass(frozen=True, slots=True)
class Outgoing:
    """A request to be signed and sent. ``url`` has no query unless the request is a token fetch."""

    method: str
    url: str
    body: bytes | None = None
    headers: Mapping[str, str] = field(default_factory=dict)


class Answer:
    """What came back. Streamed ones hold a connection until `close` or the end of `chunks`."""

    __slots__ = ("_response", "_timeout", "headers", "status")

    def __init__(self, response: requests.Response, timeout: tuple[float, float]) -> None:
        self._response = response
        self._timeout = timeout
        self.status = response.status_code
        self.headers = response.headers

    def read(self) -> bytes:
        """The whole body.

        Raises:
            TransportError: it did not come whole.
        """
        try:
            return self._response.content
        except _BROKEN as error:
            found = [_explain(error, self._timeout)]
        self.close()
        raise found.pop()

    def chunks(self) -> Iterator[bytes]:
        """The body in the pieces in which it arrives, content coding undone.

        Raises:
            TransportError: the body broke off, or nothing came for the read timeout.
        """
        while data := self._read1():
            yield data

    def _read1(self) -> bytes:
        try:
            data: bytes = self._response.raw.read1(_READ_SIZE, decode_content=True)
        except _BROKEN as error:
            found = [_explain(error, self._timeout)]
        else:
            return data
        self.close()
        raise found.pop()

    def finish(self) -> None:
        """Read what may still stand after the last event, so that the connection can be used again; then close."""
        raw = self._response.raw
        sock = getattr(raw.connection, "sock", None)
        if sock is not None:
            try:
                sock.settimeout(_DRAIN_SECONDS)
                for _ in range(_DRAIN_READS):
                    if not raw.read1(_READ_SIZE, decode_content=True):
                        break
            except _BROKEN:
                pass  # the answer is whole; only the connection is lost, and close() drops it
        self.close()

    def close(self) -> None:
        """Give the connection back if the body was read to its end, else close it. Safe to repeat."""
        self._response.close()


class _Hook(AuthBase):
    """Runs ``sign`` as the last step of preparing. Giving requests an auth also keeps ~/.netrc out of it."""

    def __init__(self, sign: Sign) -> None:
        self._sign = sign

    def __call__(self, r: requests.PreparedRequest) -> requests.PreparedRequest:
        self._sign(r)
        return r


class Transport:
    """Sends requests over one session, from any number of threads.

    Args:
        session: the caller's own, which stays theirs to close; None makes one.
        timeout: seconds, for connecting and for each wait for bytes; one number for both.

    Raises:
        ConfigurationError: a timeout is missing or not positive.
    """

    def __init__(self, session: requests.Session | None, timeout: float | tuple[float, float]) -> None:
        self.timeout = _check_timeout(timeout)
        self._owned = session is None
        self._session = session if session is not None else _new_session()
        self._known: dict[tuple[str, ...], Mapping[str, Any]] = {}
        guard_urllib3_logs()

    def send(self, outgoing: Outgoing, sign: Sign, *, stream: bool = False) -> Answer:
        """One exchange. Redirects are not followed: a signature holds for one address.

        Raises:
            TransportError: no answer, or not all of it.
            ConfigurationError: the address or a header cannot be sent.
        """
        session = self._session
        try:
            request = self._prepare(outgoing, _Hook(sign))
            settings = {**self._settings(request.url or ""), "stream": stream}
            response = session.send(request, timeout=self.timeout, allow_redirects=False, **settings)
        except _BROKEN as error:
            found = [_explain(error, self.timeout)]
        else:
            return Answer(response, self.timeout)
        raise found.pop()

    # requests merges the session's settings into each request and reads the environment's proxies for each, which takes
    # a third of a small request's time. Our own session nobody can change: there the first is two dictionaries, and the
    # second is done once for each host.

    def _prepare(self, outgoing: Outgoing, auth: AuthBase) -> requests.PreparedRequest:
        method, url, body, headers = outgoing.method, outgoing.url, outgoing.body, outgoing.headers
        if not self._owned:
            return self._session.prepare_request(requests.Request(method, url, headers, data=body, auth=auth))
        request = requests.PreparedRequest()
        request.prepare(method, url, {**self._session.headers, **headers}, data=body, auth=auth)
        return request

    def _settings(self, url: str) -> Mapping[str, Any]:
        """Proxies and certificates, from the session and the environment."""
        if not self._owned:
            # Named outright, since requests lets REQUESTS_CA_BUNDLE win over what its user gave the session.
            verify = None if self._session.verify is True else self._session.verify
            return self._session.merge_environment_settings(url, {}, None, verify, None)
        host = urlsplit(url)[:2]
        if host not in self._known:
            self._known[host] = self._session.merge_environment_settings(url, {}, None, None, None)
        return self._known[host]

    def close(self) -> None:
        """Close the session, if it is our own."""
        if self._owned:
            self._session.close()


def _new_session() -> requests.Session:
    session = requests.Session()
    adapter = HTTPAdapter(pool_connections=4, pool_maxsize=_POOL_SIZE)
    session.mount("https://", adapter)
    session.mount("http://", adapter)
    session.headers["User-Agent"] = _user_agent()
    # The service sets a browser-tracking cookie (3.3) that no API client needs to send back.
    session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=[]))
    return session


@functools.cache
def _user_agent() -> str:
    try:
        own = f"qfkit/{importlib.metadata.version('qfkit')}"
    except importlib.metadata.PackageNotFoundError:  # run from its sources, not installed
        own = "qfkit"
    return f"{own} {requests.utils.default_user_agent()}"


def _check_timeout(timeout: object) -> tuple[float, float]:
    pair = timeout if isinstance(timeout, (tuple, list)) else (timeout, timeout)
    if len(pair) == 2 and all(isinstance(value, (int, float)) and 0 < value < float("inf") for value in pair):
        return float(pair[0]), float(pair[1])
    raise ConfigurationError(
        f"timeout is seconds, more than 0: one number or (connect, read); got {timeout!r}. "
        "A call without a timeout can hang for ever"
    )


def _explain(error: Exception, timeout: tuple[float, float]) -> QianfanError:
    """What happened, as an exception of ours without any text that may hold a URL."""
    found = _causes(error)
    for cause in found:
        # requests and urllib3 leave exceptions in frames of their own tracebacks, and so keep ours (see `raise_if`).
        traceback.clear_frames(cause.__traceback__)
    if any(isinstance(it, requests.ConnectTimeout) for it in found):
        return TimeoutExceeded(f"could not connect within {timeout[0]:g} s (connect timeout)")
    if any(isinstance(it, (requests.ReadTimeout, urllib3.exceptions.ReadTimeoutError, TimeoutError)) for it in found):
        return TimeoutExceeded(f"nothing came for {timeout[1]:g} s (read timeout)")
    if isinstance(error, ValueError) and isinstance(error, requests.RequestException):
        return ConfigurationError(
            f"requests refuses to send this ({type(error).__name__}): check base_url, the keys and the session"
        )
    words = next((f"{type(it).__name__}: {it}" for it in reversed(found) if _is_plain(it)), None) or next(
        (text for kind, text in _WORDS if isinstance(error, kind)), type(error).__name__
    )
    certificate = any(isinstance(it, ssl.SSLCertVerificationError) for it in found)
    return ConnectionFailed(f"no whole answer: {words}", retryable=not certificate)


def _causes(error: BaseException) -> list[BaseException]:
    """``error`` and what it wraps, outermost first: requests and urllib3 keep it in args, ``reason`` or the context."""
    found: list[BaseException] = []
    queue: list[object] = [error]
    while queue:
        item = queue.pop(0)
        if isinstance(item, BaseException) and item not in found:
            found.append(item)
            queue += [*item.args, getattr(item, "reason", None), item.__cause__, item.__context__]
    return found


def _is_plain(error: BaseException) -> bool:
    # The system's own words: "[Errno 111] Connection refused". The libraries' words quote the URL.
    return isinstance(error, OSError) and type(error).__module__ in {"builtins", "socket", "ssl", "http.client"}


def host_header(url: str) -> str:
    """The ``Host`` header for ``url``: the port only where it is not the scheme's own."""
    parts = urlsplit(url)
    default = {"http": 80, "https": 443}.get(parts.scheme)
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname or ""
    return host if parts.port in {None, default} else f"{host}:{parts.port}"
