"""Why a signature does not match: verify, and where that fails, find the client's mistake by trying what it may be."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace

from qfkit.protocol.http import HttpRequest
from qfkit.protocol.signing import bce_auth_v1, hmac_headers
from qfkit.protocol.signing.bce_auth_v1 import read_authorization, verify_bce
from qfkit.protocol.signing.canonical import first_difference
from qfkit.protocol.signing.causes import named
from qfkit.protocol.signing.hmac_headers import ALL_FORMS, DEFAULT_SKEW, HmacForm, read_fields, verify_hmac
from qfkit.protocol.signing.result import MESSAGE_LIMIT, Reason, Verification
from qfkit.protocol.signing.search import Guess, digest_hint, read_digest, search


def scheme_of(request: HttpRequest) -> str:
    """Which scheme signs a request: bce-auth-v1 if it has ``Authorization`` and no ``X-Bce-Signature``, else hmac."""
    signed_headers = request.header(hmac_headers.SIGNATURE_HEADER) is not None
    authorized = request.header("Authorization") is not None
    return bce_auth_v1.SCHEME if authorized and not signed_headers else hmac_headers.SCHEME


def explain(
    request: HttpRequest,
    secret_key: str | None,
    *,
    now: float,
    allowed_skew: float = DEFAULT_SKEW,
    forms: Sequence[HmacForm] = ALL_FORMS,
    scheme: str | None = None,
) -> Verification:
    """Verify a request; when its signature does not match, say why.

    On a mismatch this rebuilds what clients with known mistakes would have signed, up to 1,200 strings. When the HMAC
    over one is the client's signature, the mistake is certain: ``cause`` names it, ``received`` is that string. When
    none is, ``cause`` is ``wrong-secret``, which is then only the likeliest. A few milliseconds; for failures, not for
    every request.

    Args:
        request: as received.
        secret_key: of the account that the request names; None when there is no such account.
        now: Unix seconds.
        allowed_skew: as for ``verify_hmac`` and ``verify_bce``.
        forms: those of the hmac scheme that are accepted.
        scheme: ``hmac`` or ``bce-auth-v1``; None to go by the headers.

    Raises:
        ValueError: there is no such ``scheme``, or ``forms`` is empty.
    """
    if scheme not in {None, hmac_headers.SCHEME, bce_auth_v1.SCHEME}:
        raise ValueError(f"scheme must be hmac or bce-auth-v1, not {scheme!r}")
    if (scheme or scheme_of(request)) == bce_auth_v1.SCHEME:
        return _explain_bce(request, secret_key, now=now, allowed_skew=allowed_skew)
    verdict = verify_hmac(request, secret_key, now=now, allowed_skew=allowed_skew, forms=forms)
    fields = read_fields(request)
    if verdict.reason is not Reason.MISMATCH or secret_key is None or isinstance(fields, Verification):
        return verdict
    # Loaded for the first signature that is wrong: a fifth of what the mock's start would load otherwise.
    from qfkit.protocol.signing import hypotheses_hmac  # noqa: PLC0415

    guesses = hypotheses_hmac.guesses(request, fields, secret_key, forms)
    return _explained(verdict, fields.signature, guesses, wants_hex=False)


def _explain_bce(request: HttpRequest, secret_key: str | None, *, now: float, allowed_skew: float) -> Verification:
    verdict = verify_bce(request, secret_key, now=now, allowed_skew=allowed_skew)
    read = read_authorization(request)
    # A mismatch that has its cause already is one of a header that did not arrive: nothing to search for.
    if verdict.reason is not Reason.MISMATCH or verdict.cause or secret_key is None or isinstance(read, Verification):
        return verdict
    from qfkit.protocol.signing import hypotheses_bce  # noqa: PLC0415 - as above

    return _explained(verdict, read.signature, hypotheses_bce.guesses(request, read, secret_key), wants_hex=True)


def _explained(verdict: Verification, signature: str, guesses: Iterable[Guess], *, wants_hex: bool) -> Verification:
    digest = read_digest(signature, wants_hex=wants_hex)
    if digest is None:
        message = f"The signature is no digest: {digest_hint(signature, wants_hex=wants_hex)}."
        return replace(verdict, cause="signature-not-a-digest", message=message)
    found = search(guesses, digest)
    if found.guess is None:
        message = (
            f"The signature does not match, and no known mistake gives it ({found.tries} strings tried): "
            "most likely the secret key is not that of this access key."
        )
        return replace(verdict, cause="wrong-secret", message=message)
    ours = found.guess.expected()
    expected, received, labels = ours.text(), found.guess.signed.canonical().text(), ours.labels()
    cause = "+".join((*found.guess.causes, *digest.causes))
    return replace(
        verdict,
        message=_message(cause),
        expected=expected,
        received=received,
        difference=first_difference(expected, received, labels),
        cause=cause,
        labels=labels,
    )


def _message(cause: str) -> str:
    rows = named(cause)
    statements = "; ".join(row.statement for row in rows)
    message = f"Signature mismatch: {statements}."
    advised = f"{message} {rows[0].advice[0].upper()}{rows[0].advice[1:]}."
    return advised if len(advised) <= MESSAGE_LIMIT else message[:MESSAGE_LIMIT]
