"""The four ways to say who asks, one class each; every attempt is signed afresh.

A scheme has two verbs. `Auth.authorize` puts the proof on a request that is otherwise ready to go, the last thing that
happens before it is sent. `Auth.renew` is told that the service refused a proof, and says whether a new one may do
better; it is the client that then sends the request again, once.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol
from urllib.parse import parse_qsl, quote

from requests import PreparedRequest

from qfkit.client.exceptions import APIError
from qfkit.client.tokens import TokenSource
from qfkit.client.transport import host_header
from qfkit.clock import Clock
from qfkit.protocol.credentials import Credentials
from qfkit.protocol.signing import format_bce_date, sign_bce, sign_hmac
from qfkit.protocol.signing.hmac_headers import SIGNATURE_HEADER

#: Seconds that a bce-auth-v1 signature holds: what the Python and Go SDKs ask for (wire reference 2.2).
_SIGNATURE_LIFE = 300


@dataclass(frozen=True, slots=True, repr=False)
class Proof:
    """What went out to prove who asks.

    Attributes:
        sensitive: its secret parts, to be struck out of whatever is written.
        token: the token, for the schemes that send one.
        keys, signer: what it was made with, where keys may change.
    """

    sensitive: tuple[str, ...] = ()
    token: str | None = None
    keys: Credentials | None = None
    signer: Auth | None = None


class Auth(Protocol):
    """One way to say who asks. Used from many threads at once."""

    @property
    def scheme(self) -> str:
        """``hmac``, ``access_token``, ``bce-auth-v1`` or ``bearer``."""
        ...

    def authorize(self, request: PreparedRequest) -> Proof:
        """Put the proof on ``request``, which is otherwise ready.

        Raises:
            QianfanError: a token was needed and could not be had.
        """
        ...

    def renew(self, error: APIError, proof: Proof) -> bool:
        """Whether ``error`` says that ``proof`` has grown stale, and a new one can be had."""
        ...


class _Signing:
    """A scheme that signs: nothing can grow stale, nothing is kept."""

    def renew(self, error: APIError, proof: Proof) -> bool:  # noqa: ARG002 - as `Auth`
        """Always False: the next attempt is signed afresh anyway."""
        return False


class HmacAuth(_Signing):
    """text_generation: four ``X-Bce-*`` headers over method, path, body, time and nonce (form B)."""

    scheme = "hmac"

    def __init__(self, access_key: str, secret_key: str, clock: Clock, nonce: Callable[[], str]) -> None:
        self._access_key = access_key
        self._secret_key = secret_key
        self._clock = clock
        self._nonce = nonce

    def authorize(self, request: PreparedRequest) -> Proof:
        """Sign what is about to be sent."""
        headers = sign_hmac(
            access_key=self._access_key,
            secret_key=self._secret_key,
            method=request.method or "",
            target=request.path_url,
            body=_body(request),
            timestamp=int(self._clock.time()),
            nonce=self._nonce(),
        )
        request.headers.update(headers)
        return Proof((headers[SIGNATURE_HEADER],))


class BceAuth(_Signing):
    """v1 with IAM keys, and the IAM token service: ``Authorization: bce-auth-v1/…`` over path, query and headers."""

    scheme = "bce-auth-v1"

    def __init__(self, access_key: str, secret_key: str, clock: Clock) -> None:
        self._access_key = access_key
        self._secret_key = secret_key
        self._clock = clock

    def authorize(self, request: PreparedRequest) -> Proof:
        """Sign what is about to be sent."""
        now = self._clock.time()
        path, _, query = request.path_url.partition("?")
        # What is signed must be what is sent, so Host is set here and not left to http.client.
        signed = {
            "Host": host_header(request.url or ""),
            "Content-Type": str(request.headers["Content-Type"]),
            "x-bce-date": format_bce_date(now),
        }
        value = sign_bce(
            access_key=self._access_key,
            secret_key=self._secret_key,
            method=request.method or "",
            path=path,
            params=parse_qsl(query, keep_blank_values=True),
            headers=signed,
            timestamp=now,
            expiration=_SIGNATURE_LIFE,
            signed_headers=sorted(name.lower() for name in signed),
        )
        request.headers.update(signed)
        request.headers["Authorization"] = value
        return Proof((value.rpartition("/")[2],))


class _TokenAuth:
    """A scheme that sends a token, which may be refused although it was good."""

    #: Codes that say so (2.1, 2.4).
    stale_codes: frozenset[int | str] = frozenset()

    def __init__(self, source: TokenSource) -> None:
        self._source = source

    def renew(self, error: APIError, proof: Proof) -> bool:
        """Whether the token was refused and another can be had."""
        return error.code in self.stale_codes and proof.token is not None and self._source.discard(proof.token)


class AccessTokenAuth(_TokenAuth):
    """v1 with an application's keys: ``?access_token=``, from OAuth or ready."""

    scheme = "access_token"
    stale_codes = frozenset({110, 111})

    def authorize(self, request: PreparedRequest) -> Proof:
        """Add the token to the query, fetched first if there is none."""
        token = self._source.get()
        request.url = f"{request.url}?access_token={quote(token, '')}"
        return Proof((token,), token)


class BearerAuth(_TokenAuth):
    """v2: ``Authorization: Bearer``, with an API key or a token from IAM, and the application if there are several."""

    scheme = "bearer"
    stale_codes = frozenset({"invalid_iam_token"})

    def __init__(self, source: TokenSource, app_id: str | None) -> None:
        super().__init__(source)
        self._app_id = app_id

    def authorize(self, request: PreparedRequest) -> Proof:
        """Set the header, with a token fetched first if there is none."""
        token = self._source.get()
        request.headers["Authorization"] = f"Bearer {token}"
        if self._app_id:
            request.headers["appid"] = self._app_id
        return Proof((token,), token)


def _body(request: PreparedRequest) -> bytes:
    body = request.body
    return body if isinstance(body, bytes) else (body or "").encode()
