"""Which keys make which auth scheme, and how tokens are bought."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from urllib.parse import urlencode

from requests import PreparedRequest

from qfkit.client.answers import read_json
from qfkit.client.credentials import require
from qfkit.client.exceptions import ConfigurationError, InvalidReply
from qfkit.client.schemes import AccessTokenAuth, Auth, BceAuth, BearerAuth, HmacAuth, Proof
from qfkit.client.tokens import BoughtToken, ReadyToken, SharedTokens, Token
from qfkit.client.transport import Outgoing, Transport
from qfkit.clock import Clock
from qfkit.protocol.credentials import ENVIRONMENT, Credentials
from qfkit.protocol.dialects import IAM_TOKEN, OAUTH_TOKEN, InferenceDialect
from qfkit.protocol.messages import Json

#: Seconds that an IAM bearer token is asked to live: the Python SDK's default (2.3).
_BEARER_LIFE = 43_200


@dataclass(frozen=True, slots=True, kw_only=True)
class AuthSetup:
    """What the schemes are made from. ``base_url`` also serves OAuth."""

    credentials: Credentials
    base_url: str
    iam_base_url: str
    app_id: str | None
    transport: Transport
    clock: Clock
    nonce: Callable[[], str]
    tokens: SharedTokens


def new_nonce() -> str:
    """32 hexadecimal digits that nobody can foresee."""
    return uuid.uuid4().hex


def make_auth(dialect: InferenceDialect, scheme: str | None, setup: AuthSetup) -> Auth:
    """The scheme for a dialect: the named one, or the first for which there are keys.

    Raises:
        ConfigurationError: the dialect has no such scheme, or keys are missing or cannot stand in a header.
    """
    keys = setup.credentials
    for name, variable in ENVIRONMENT.items():
        if _half_characters(getattr(keys, name)):
            raise ConfigurationError(f"{name} ({variable}) is not text: it was read with the wrong encoding")
    known = SCHEMES[dialect]
    if scheme is None:
        complete = (name for name in known if any(all(getattr(keys, key) for key in row) for row in _KEYS[name]))
        scheme = next(complete, known[0])
        require(keys, dialect, *(row for name in known for row in _KEYS[name]))
    elif scheme not in known:
        raise ConfigurationError(f"dialect {dialect} has no auth scheme {scheme!r}; it has {', '.join(known)}")
    else:
        require(keys, scheme, *_KEYS[scheme])
    return _MAKERS[scheme](setup)


#: Dialect -> its schemes; the first for which there are keys is taken. v1 prefers the application's keys as the
#: official Python SDK does.
SCHEMES: dict[InferenceDialect, tuple[str, ...]] = {
    "text_generation": ("hmac",),
    "v1": ("access_token", "bce-auth-v1"),
    "v2": ("bearer",),
}
#: Scheme -> the sets of keys of which one must be complete.
_KEYS: dict[str, tuple[tuple[str, ...], ...]] = {
    "hmac": (("access_key", "secret_key"),),
    "access_token": (("ak", "sk"), ("access_token",)),
    "bce-auth-v1": (("access_key", "secret_key"),),
    "bearer": (("bearer_token",), ("access_key", "secret_key")),
}


def _hmac(setup: AuthSetup) -> Auth:
    return HmacAuth(*_iam_keys(setup.credentials), setup.clock, setup.nonce)


def _bce(setup: AuthSetup) -> Auth:
    return BceAuth(*_iam_keys(setup.credentials), setup.clock)


def _access_token(setup: AuthSetup) -> Auth:
    keys = setup.credentials
    if not (keys.ak and keys.sk):
        return AccessTokenAuth(ReadyToken(keys.access_token or ""))
    cache = setup.tokens.cache(setup.clock, keys.access_token, "oauth", setup.base_url, keys.ak, keys.sk)
    return AccessTokenAuth(BoughtToken(cache, OAuthFetch(keys.ak, keys.sk, setup)))


def _bearer(setup: AuthSetup) -> Auth:
    keys = setup.credentials
    ready = _in_header("bearer_token", keys.bearer_token) if keys.bearer_token else None
    if keys.access_key and keys.secret_key:
        pair = (keys.access_key, keys.secret_key)
        cache = setup.tokens.cache(setup.clock, ready, "iam", setup.iam_base_url, *pair)
        return BearerAuth(BoughtToken(cache, IamFetch(setup)), setup.app_id)
    return BearerAuth(ReadyToken(ready or ""), setup.app_id)


_MAKERS: dict[str, Callable[[AuthSetup], Auth]] = {
    "hmac": _hmac,
    "bce-auth-v1": _bce,
    "access_token": _access_token,
    "bearer": _bearer,
}


class OAuthFetch:
    """Buys an access token with an application's keys; all parameters stand in the query (2.1)."""

    def __init__(self, ak: str, sk: str, setup: AuthSetup) -> None:
        query = urlencode({"grant_type": "client_credentials", "client_id": ak, "client_secret": sk})
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        self._outgoing = Outgoing("POST", f"{setup.base_url}{OAUTH_TOKEN}?{query}", b"{}", headers)
        self._setup = setup

    def __call__(self) -> Token:
        """Fetch one.

        Raises:
            APIError: dialect ``oauth``; the keys were refused.
            InvalidReply: the answer holds no token.
            TransportError: no answer.
        """
        setup = self._setup
        answer = setup.transport.send(self._outgoing, lambda _: None)
        data = read_json("oauth", answer, now=setup.clock.time(), secrets=setup.credentials.secrets())
        return Token(_token(data, "access_token", "OAuth"), _positive(data.get("expires_in")))


class IamFetch:
    """Buys a bearer token with an IAM key pair (2.3)."""

    def __init__(self, setup: AuthSetup) -> None:
        self._setup = setup
        self._auth = BceAuth(*_iam_keys(setup.credentials), setup.clock)
        headers = {"Content-Type": "application/json", "Accept": "application/json"}
        url = f"{setup.iam_base_url}{IAM_TOKEN}?expireInSeconds={_BEARER_LIFE}"
        self._outgoing = Outgoing("GET", url, None, headers)

    def __call__(self) -> Token:
        """Fetch one. Fails as `OAuthFetch`, with dialect ``iam``."""
        setup = self._setup
        proof = Proof()

        def sign(request: PreparedRequest) -> None:
            nonlocal proof
            proof = self._auth.authorize(request)

        answer = setup.transport.send(self._outgoing, sign)
        secrets = (*setup.credentials.secrets(), *proof.sensitive)
        data = read_json("iam", answer, now=setup.clock.time(), secrets=secrets)
        return Token(_token(data, "token", "IAM"), _life(data))


def _iam_keys(credentials: Credentials) -> tuple[str, str]:
    return _in_header("access_key", credentials.access_key or ""), credentials.secret_key or ""


def _in_header(name: str, value: str) -> str:
    if not _fits_header(value) or (name == "access_key" and "/" in value):
        raise ConfigurationError(
            f"{name} ({ENVIRONMENT[name]}) is not one word of printable ASCII: a blank, a line break or a quote was "
            "copied along, or it is not a key at all"
        )
    return value


def _half_characters(value: str | None) -> bool:
    return value is not None and any("\ud800" <= character <= "\udfff" for character in value)


def _fits_header(value: str) -> bool:
    return value.isascii() and value.isprintable() and " " not in value


def _token(data: Json, name: str, service: str) -> str:
    value = data.get(name)
    if isinstance(value, str) and value and _fits_header(value):
        return value
    raise InvalidReply(f"the {service} service answered without a usable {name!r}; got keys {sorted(data)}")


def _life(data: Json) -> float | None:
    # The difference of two of the service's own times, so that a client whose clock is off judges right.
    try:
        created, expires = (datetime.fromisoformat(str(data[name]).replace("Z", "+00:00")) for name in _TIMES)
        return _positive((expires - created).total_seconds())
    except (KeyError, ValueError, TypeError):
        return None


_TIMES = ("createTime", "expireTime")


def _positive(value: object) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and value > 0 else None
