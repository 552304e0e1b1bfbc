"""Who sent this request, by which scheme, and if it is not let in, why.

One function a scheme; each returns an `Outcome`. The service's own answer to a failure is a row of the error table,
our explanation goes beside it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from hmac import compare_digest
from urllib.parse import parse_qs

import msgspec

from mock_server.state import Account, KeySet, State
from qfkit.protocol.dialects import Route
from qfkit.protocol.http import HttpRequest
from qfkit.protocol.signing import Reason, Verification, explain, replayed, verify_bce, verify_hmac


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not let in.

    Attributes:
        dialect, code: the row of the error table that the service answers with.
        message: the service's words where they depend on the case, else None for the table's.
        why: one line for the person who debugs.
    """

    dialect: str
    code: int | str
    why: str
    message: str | None = None


class Outcome(msgspec.Struct, frozen=True):
    """What authentication found.

    Attributes:
        account: whose request it is. Set for a refused request too where its key is known, so that its owner sees it.
        scheme: ``hmac``, ``access_token``, ``bce-auth-v1``, ``bearer``, ``client_credentials`` or None.
        signature: the verdict on a signature, for the two signing schemes.
        refusal: None when the request is let in.
        old_key: the keys are not the account's newest.
        token: the access token, bearer token or API key that was sent.
    """

    account: Account | None
    scheme: str | None
    signature: Verification | None = None
    refusal: Refusal | None = None
    old_key: bool = False
    token: str | None = None


class _Holder(msgspec.Struct, frozen=True):
    """Whose key a request names, and the secret to hold it against: none where the key has ended."""

    account: Account | None = None
    secret_key: str | None = None
    sk: str | None = None
    old: bool = False
    ended: str | None = None

    @classmethod
    def of(cls, keys: KeySet | None, now: float) -> _Holder:
        """The holder of these keys at ``now``."""
        if keys is None:
            return _NOBODY
        if ended := keys.why_ended(now):
            return cls(keys.account, ended=ended)
        secrets = keys.credentials
        return cls(keys.account, secrets.secret_key, secrets.sk, keys.rotated is not None)


_NOBODY = _Holder()
_FETCH_ONCE = "fetch a new one and send the request again, once"


def authenticate(request: HttpRequest, route: Route, state: State) -> Outcome:
    """Check the request by the scheme of its dialect (wire reference 2; design notes 4 for ``hmac``)."""
    return _SCHEMES[route.dialect](request, state)


def _hmac(request: HttpRequest, state: State) -> Outcome:
    key = request.header("x-bce-accesskey")
    now = state.clock.time()
    holder = _Holder.of(state.by_access_key(key) if key else None, now)
    account, secret = holder.account, holder.secret_key
    settings = state.settings
    result = verify_hmac(request, secret, now=now, allowed_skew=settings.skew, forms=settings.forms)
    if not result.ok:
        if _explained(request, secret, result, state):
            result = explain(request, secret, now=now, allowed_skew=settings.skew, forms=settings.forms, scheme="hmac")
        return Outcome(account, "hmac", result, Refusal("text_generation", 401, holder.ended or result.message))
    # As verification reads them: a replay with a blank added to a header is still that replay.
    fields = {name.lower(): value.strip(" \t") for name, value in request.headers}
    first = state.seen_before(fields["x-bce-nonce"], fields["x-bce-signature"], now)
    if first is not None:
        result = replayed(result, age=now - first)
        return Outcome(account, "hmac", result, Refusal("text_generation", 401, result.message))
    return Outcome(account, "hmac", result, old_key=holder.old)


#: Bytes of the largest body whose wrong signature is explained: each way to write it anew takes its time, on the loop.
_EXPLAINED_BYTES = 65_536


def _explained(request: HttpRequest, secret: str | None, result: Verification, state: State) -> bool:
    """Whether it is worth looking for the cause, and there is time to."""
    asked = bool(secret) and result.reason is Reason.MISMATCH and len(request.body) <= _EXPLAINED_BYTES
    return asked and state.may_explain()


def _v1(request: HttpRequest, state: State) -> Outcome:
    # Where both are present the token wins, unless Authorization is a bce-auth-v1 signature (8.13).
    authorization = request.header("authorization") or ""
    if authorization.startswith("bce-auth-v1"):
        return _bce(request, state, _refuse_v1)
    value = _query(request.query, "access_token")
    if not value:
        why = "no access_token in the query and no bce-auth-v1 Authorization header: v1 takes one or the other"
        return Outcome(None, None, refusal=Refusal("v1", 110, why))
    token = state.token(value)
    if token is None or token.kind != "oauth":
        why = "this access_token was not issued by this server: fetch one from /oauth/2.0/token"
        return Outcome(None, "access_token", token=value, refusal=Refusal("v1", 110, why))
    if token.revoked is not None:
        why = f"this access_token was revoked: {_FETCH_ONCE}"
        return Outcome(token.account, "access_token", token=value, refusal=Refusal("v1", 110, why))
    if (late := state.clock.time() - token.expires) >= 0:
        why = f"this access_token expired {late:.0f} s ago: {_FETCH_ONCE}"
        return Outcome(token.account, "access_token", token=value, refusal=Refusal("v1", 111, why))
    return Outcome(token.account, "access_token", token=value)


def _v2(request: HttpRequest, state: State) -> Outcome:
    kind, _, value = (request.header("authorization") or "").partition(" ")
    value = value.strip()
    if kind.lower() != "bearer" or not value:
        why = "no 'Authorization: Bearer <API key or IAM token>' header: v2 takes nothing else"
        return Outcome(None, None, refusal=Refusal("v2", "invalid_iam_token", why))
    if keys := state.by_api_key(value):
        holder = _Holder.of(keys, state.clock.time())
        if holder.ended:
            refusal = Refusal("v2", "invalid_iam_token", holder.ended)
            return Outcome(holder.account, "bearer", token=value, refusal=refusal)
        return Outcome(holder.account, "bearer", token=value, old_key=holder.old)
    token = state.token(value)
    if token is None or token.kind != "bearer":
        why = (
            "this is an OAuth access_token, which only v1 takes"
            if token
            else "no account of this server has this API key, and it issued no such bearer token"
        )
        return Outcome(None, "bearer", token=value, refusal=Refusal("v2", "invalid_iam_token", why))
    if token.revoked is not None:
        why = "this bearer token was revoked: ask /v1/BCE-BEARER/token for a new one"
        return Outcome(token.account, "bearer", token=value, refusal=Refusal("v2", "invalid_iam_token", why))
    if (late := state.clock.time() - token.expires) >= 0:
        why = f"this bearer token expired {late:.0f} s ago: ask /v1/BCE-BEARER/token for a new one"
        return Outcome(token.account, "bearer", token=value, refusal=Refusal("v2", "invalid_iam_token", why))
    return Outcome(token.account, "bearer", token=value)


def _iam(request: HttpRequest, state: State) -> Outcome:
    return _bce(request, state, _refuse_iam)


def _bce(request: HttpRequest, state: State, refuse: Callable[[Verification], Refusal]) -> Outcome:
    parts = (request.header("authorization") or "").split("/")
    now = state.clock.time()
    holder = _Holder.of(state.by_access_key(parts[1]) if len(parts) > 1 else None, now)
    account, secret = holder.account, holder.secret_key
    result = verify_bce(request, secret, now=now, allowed_skew=state.settings.skew)
    if result.ok:
        return Outcome(account, "bce-auth-v1", result, old_key=holder.old)
    if holder.ended:
        result = replace(result, message=holder.ended)
    if _explained(request, secret, result, state):
        result = explain(request, secret, now=now, allowed_skew=state.settings.skew, scheme="bce-auth-v1")
    return Outcome(account, "bce-auth-v1", result, refuse(result))


def _refuse_v1(result: Verification) -> Refusal:
    return Refusal("v1", 14, result.message)


#: Reason -> what follows ``IamSignatureInvalid, cause: `` (2.2, other gateways, live).
_IAM_CAUSES = {
    Reason.UNKNOWN_KEY: "Could not find credential.",
    Reason.MISMATCH: "Fail to authn user: Signature does not match",
}


def _refuse_iam(result: Verification) -> Refusal:
    cause = _IAM_CAUSES.get(result.reason, _IAM_CAUSES[Reason.MISMATCH])
    return Refusal("iam", "IamSignatureInvalid", result.message, f"IamSignatureInvalid, cause: {cause}")


def _oauth(request: HttpRequest, state: State) -> Outcome:
    """Client credentials in the query, or form-encoded in the body [guess] (2.1)."""
    form = request.body.decode("utf-8", "replace") if _is_form(request) else ""
    client_id = _query(request.query, "client_id") or _query(form, "client_id")
    secret = _query(request.query, "client_secret") or _query(form, "client_secret")
    grant = _query(request.query, "grant_type") or _query(form, "grant_type")
    if not client_id or not secret or not grant:
        missing = [n for n, v in (("grant_type", grant), ("client_id", client_id), ("client_secret", secret)) if not v]
        why = f"{', '.join(missing)} missing: all three go into the query"
        return Outcome(None, "client_credentials", refusal=Refusal("oauth", "invalid_request", why))
    if grant != "client_credentials":
        why = f"grant_type is {grant[:40]!r}; the only one is client_credentials"
        return Outcome(None, "client_credentials", refusal=Refusal("oauth", "unsupported_grant_type", why))
    holder = _Holder.of(state.by_ak(client_id), state.clock.time())
    account = holder.account
    if account is None or holder.ended:
        why = holder.ended or "no account of this server has this API Key (client_id)"
        text = "unknown client id"
        return Outcome(account, "client_credentials", refusal=Refusal("oauth", "invalid_client", why, text))
    if not _same(secret, holder.sk or ""):
        why = "the API Key is known, the Secret Key (client_secret) is not its own"
        text = "Client authentication failed"
        return Outcome(account, "client_credentials", refusal=Refusal("oauth", "invalid_client", why, text))
    return Outcome(account, "client_credentials", old_key=holder.old)


_SCHEMES: dict[str, Callable[[HttpRequest, State], Outcome]] = {
    "text_generation": _hmac,
    "v1": _v1,
    "v2": _v2,
    "oauth": _oauth,
    "iam": _iam,
    "console": _iam,
}


def _is_form(request: HttpRequest) -> bool:
    return (request.header("content-type") or "").startswith("application/x-www-form-urlencoded")


def _query(query: str, name: str) -> str | None:
    if name not in query:
        return None
    values = parse_qs(query, keep_blank_values=True, max_num_fields=None).get(name)
    return values[0] if values else None


def _same(given: str, wanted: str) -> bool:
    return compare_digest(given.encode("utf-8", "surrogatepass"), wanted.encode())
