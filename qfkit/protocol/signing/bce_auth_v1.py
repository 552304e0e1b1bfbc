r"""The IAM signature ``bce-auth-v1`` (wire reference 2.2).

    Authorization: bce-auth-v1/{accessKeyId}/{timestamp}/{expirationSeconds}/{signedHeaders}/{signature}

    prefix           = the value up to and with expirationSeconds
    signing key      = hex(HMAC-SHA256(key = secret key,              message = prefix))
    canonicalRequest = METHOD \n CanonicalURI \n CanonicalQuery \n CanonicalHeaders      (no newline at the end)
    signature        = hex(HMAC-SHA256(key = hex text of signing key, message = canonicalRequest))

The body is not signed. Queries and headers are percent-encoded (``A-Z a-z 0-9 - . _ ~`` stay), each query ``k=v`` and
each header ``name:value`` first encoded, then sorted. Signed headers are those that the value lists; where its slot is
empty, the default set. ``host`` is mandatory.

Official and third-party clients stray from this in ways that the service bears. ``TOLERATED`` lists them; a signature
that is not right as written is tried in every combination of those that apply, and ``form`` tells which one matched.
"""

from __future__ import annotations

import hmac
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timezone
from itertools import islice
from typing import TypeAlias

from qfkit.protocol.credentials import mask
from qfkit.protocol.http import Headers, HttpRequest, header_items
from qfkit.protocol.signing import bce_canonical
from qfkit.protocol.signing.bce_canonical import AS_SENT, STANDARD, Reading, canonical_of, readings
from qfkit.protocol.signing.canonical import Canonical, legible, octets
from qfkit.protocol.signing.hmac_headers import skew_report
from qfkit.protocol.signing.result import Reason, Verification, refused, shown

SCHEME = "bce-auth-v1"
_AUTHORIZATION = "authorization"

#: Seconds that a time stamp may lie in the future. A guess: no source gives the service's rule (wire reference, C.1).
FUTURE_SKEW_GUESS = 300.0
#: Combinations of tolerated spellings to try for one request: a refusal must stay cheap.
_MAX_READINGS = 64

#: Query parameters, not yet encoded: names with values, None for a name alone.
Params: TypeAlias = Mapping[str, str | None] | Iterable[tuple[str, str | None]]

_FIELDS = ("bce-auth-v1", "access key", "time stamp", "seconds", "signed headers", "signature")
_FORM = "YYYY-MM-DDThh:mm:ssZ"
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z")


class MalformedAuthorization(ValueError):
    """An ``Authorization`` value that is not of this scheme, or not of its form."""


@dataclass(frozen=True, slots=True)
class BceAuthorization:
    """The fields of an ``Authorization`` value.

    Attributes:
        access_key: names the account.
        timestamp: as written, ``YYYY-MM-DDThh:mm:ssZ``.
        issued: the same instant in Unix seconds.
        expiration: validity in seconds from ``issued``, 0 or more.
        signed_headers: names in the order listed, lower case; empty for the default set.
        signature: as written; 64 lower-case hex digits when the client kept to the rules.
    """

    access_key: str
    timestamp: str
    issued: int
    expiration: int
    signed_headers: tuple[str, ...]
    signature: str = field(repr=False)
    prefix: str = field(repr=False)


def format_bce_date(timestamp: float) -> str:
    """Unix seconds as the scheme writes them, ``YYYY-MM-DDThh:mm:ssZ``; fractions are cut off.

    Raises:
        ValueError: the year would not have four digits.
    """
    try:
        moment = datetime.fromtimestamp(int(timestamp), timezone.utc)
    except (ValueError, OverflowError, OSError) as error:
        raise ValueError(f"timestamp {timestamp} is no moment up to the year 9999: give Unix seconds") from error
    return f"{moment:%Y-%m-%dT%H:%M:%SZ}".rjust(20, "0")


def parse_bce_date(text: str) -> int:
    """Unix seconds of a date as the scheme writes it.

    Raises:
        ValueError: it is not of the form ``YYYY-MM-DDThh:mm:ssZ``, or no such moment exists.
    """
    if not _DATE.fullmatch(text):
        raise ValueError(f"{shown(text)} is not a UTC date of the form {_FORM}")
    return int(datetime.fromisoformat(f"{text[:-1]}+00:00").timestamp())


def signing_key(secret_key: str, prefix: str) -> bytes:
    """The key of the second HMAC: hex text, as bytes, of the HMAC over ``prefix``."""
    return hmac.digest(octets(secret_key), octets(prefix), "sha256").hex().encode("ascii")


def canonical_request(
    *,
    method: str,
    path: str,
    headers: Headers,
    params: Params = (),
    signed_headers: Sequence[str] | None = None,
) -> str:
    """The canonical request of a request that is about to be sent.

    Args:
        method: any case.
        path: as it will stand on the wire, percent-encoded, without a query; empty counts as ``/``.
        headers: those that will be sent, ``Host`` among them.
        params: the query, not encoded.
        signed_headers: names in any case; None or empty for the default set (host, content-length, content-type,
            content-md5 and every x-bce-*). An x-bce-* header that is not named is not signed.
    """
    return _canonical(method, path, headers, params, _names(signed_headers)).text()


def sign_bce(
    *,
    access_key: str,
    secret_key: str,
    method: str,
    path: str,
    headers: Headers,
    params: Params = (),
    timestamp: float,
    expiration: int = 1800,
    signed_headers: Sequence[str] | None = None,
) -> str:
    """The ``Authorization`` value that signs a request.

    Args:
        access_key: names the account.
        secret_key: the key of the first HMAC.
        method: any case.
        path: as it will stand on the wire, percent-encoded, without a query; empty counts as ``/``.
        headers: those that will be sent. Send ``x-bce-date`` with ``format_bce_date(timestamp)`` among them.
        params: the query, not encoded.
        timestamp: Unix seconds; fractions are cut off.
        expiration: validity in seconds, 0 or more. The document's default is 1800, the Python SDK's 300.
        signed_headers: names to sign, listed in the given order (the document asks for them sorted); None or empty
            leaves the slot empty and signs the default set, as the official Python signer does.

    Raises:
        ValueError: the access key is empty or has a slash, ``host`` is not covered, a named header is not among
            ``headers``, or ``expiration`` is negative.
    """
    names = _names(signed_headers)
    present = {octets(name).strip().lower() for name, _ in header_items(headers)}
    if not access_key or "/" in access_key:
        raise ValueError(f"access_key must be a word without a slash, not {shown(access_key)}")
    if expiration < 0:
        raise ValueError(f"expiration must be 0 seconds or more, not {expiration}")
    if names and b"host" not in names:
        raise ValueError(f"signed_headers must name host, which is mandatory; got {', '.join(map(legible, names))}")
    if absent := [legible(name) for name in (names or (b"host",)) if name not in present]:
        raise ValueError(f"headers lacks what is to be signed: {', '.join(absent)}")
    prefix = f"{SCHEME}/{access_key}/{format_bce_date(timestamp)}/{expiration}"
    message = _canonical(method, path, headers, params, names).octets()
    signature = hmac.digest(signing_key(secret_key, prefix), message, "sha256").hex()
    return f"{prefix}/{';'.join(map(legible, names))}/{signature}"


def _names(signed_headers: Sequence[str] | None) -> tuple[bytes, ...]:
    return tuple(octets(name).strip().lower() for name in signed_headers or ())


def _canonical(method: str, path: str, headers: Headers, params: Params, names: Sequence[bytes]) -> Canonical:
    items = params.items() if isinstance(params, Mapping) else params
    pairs = bce_canonical.canonical_pairs((octets(name), octets(value)) for name, value in header_items(headers))
    return bce_canonical.canonical(
        octets(method.upper()),
        octets(path) or b"/",
        bce_canonical.canonical_query([(octets(name), octets(value or "")) for name, value in items], STANDARD.query),
        bce_canonical.header_lines(bce_canonical.selected(pairs, names), STANDARD.header),
    )


def parse_bce_authorization(value: str) -> BceAuthorization:
    """Read an ``Authorization`` value of this scheme.

    Raises:
        MalformedAuthorization: it is of another scheme or not of this form; the text says where.
    """
    # A signature in base64 may hold slashes: it is the last field, so they stay in it, for `explain` to see.
    parts = value.strip(" \t").split("/", 5)
    if parts[0] != SCHEME:
        scheme = re.split(r"[\s/]", parts[0], maxsplit=1)[0]
        raise MalformedAuthorization(f"Authorization begins with {_told(scheme)}, not with {SCHEME}/.")
    if len(parts) != len(_FIELDS):
        raise MalformedAuthorization(
            f"Authorization has {len(parts)} fields, not 6: {'/'.join(_FIELDS)}. No signed headers: keep both slashes."
        )
    _, access_key, timestamp, expiration, listed, signature = parts
    if not access_key:
        raise MalformedAuthorization("Authorization has an empty access key, its second field.")
    try:
        issued = parse_bce_date(timestamp)
    except ValueError as error:
        why = str(error) if _DATE.fullmatch(timestamp) else f"{_told(timestamp)} is not a UTC date of the form {_FORM}"
        raise MalformedAuthorization(f"The time stamp in Authorization does not read: {why}.") from None
    if not (expiration.isascii() and expiration.isdigit() and len(expiration) <= 10):
        raise MalformedAuthorization(f"The validity in Authorization is {_told(expiration)}, not whole seconds.")
    names = tuple(name.strip().lower() for name in listed.split(";")) if listed else ()
    if not all(names):
        given = _listed(listed.split(";"))
        raise MalformedAuthorization(f"The signed headers {given} hold an empty name: join them with one ';'.")
    if not signature:
        raise MalformedAuthorization("Authorization has an empty signature, its last field.")
    return BceAuthorization(
        access_key=access_key,
        timestamp=timestamp,
        issued=issued,
        expiration=int(expiration),
        signed_headers=names,
        signature=signature,
        prefix=value.strip(" \t")[: -len(listed) - len(signature) - 2],
    )


def read_authorization(request: HttpRequest) -> BceAuthorization | Verification:
    """The fields of the request's ``Authorization`` header, or the refusal of one that is missing or malformed."""
    values = {value.strip(" \t") for name, value in request.headers if name.lower() == _AUTHORIZATION}
    if len(values) > 1:
        message = "Authorization came twice with different values: set each header once an attempt."
        return refused(SCHEME, Reason.MALFORMED, message, cause="repeated-header")
    value = "".join(values)
    if not value:
        return refused(
            SCHEME,
            Reason.MISSING_HEADER,
            "There is no Authorization header: send bce-auth-v1/... made over this request.",
            cause="missing-header",
        )
    try:
        return parse_bce_authorization(value)
    except MalformedAuthorization as error:
        return refused(SCHEME, Reason.MALFORMED, str(error), cause="malformed-authorization")


def verify_bce(
    request: HttpRequest, secret_key: str | None, *, now: float, allowed_skew: float = FUTURE_SKEW_GUESS
) -> Verification:
    """Check the ``Authorization`` header of a request. Whatever the headers hold, this answers; it does not raise.

    Checked in this order: header there and readable, access key known, still valid, signed headers all there and
    ``host`` among them, signature.

    Args:
        request: as received.
        secret_key: of the account that the header names; None when there is no such account.
        now: Unix seconds. Refused after time stamp + expiration.
        allowed_skew: seconds that the time stamp may lie in the future (a guess, see ``FUTURE_SKEW_GUESS``).
    """
    read = read_authorization(request)
    if isinstance(read, Verification):
        return read
    if secret_key is None:
        key = shown(mask(read.access_key))
        return _refuse(read, Reason.UNKNOWN_KEY, f"No account has the access key {key}: check it.", "unknown-key")
    refusal = _untimely(read, now, allowed_skew) or _uncovered(request, read)
    if refusal is not None:
        return refusal
    listed = frozenset(map(octets, read.signed_headers))
    key_bytes, given = signing_key(secret_key, read.prefix), octets(read.signature)
    expected = canonical_of(request, listed, Reading())
    if hmac.compare_digest(hmac.digest(key_bytes, expected.octets(), "sha256").hex().encode("ascii"), given):
        return _accepted(read, AS_SENT)
    for form, reading in islice(readings(request, listed), 1, _MAX_READINGS):
        message = canonical_of(request, listed, reading).octets()
        if hmac.compare_digest(hmac.digest(key_bytes, message, "sha256").hex().encode("ascii"), given):
            return _accepted(read, form)
    return refused(
        SCHEME,
        Reason.MISMATCH,
        "The signature in Authorization does not match the request: check the secret key and the canonical request.",
        access_key=read.access_key,
        expected=expected.text(),
        labels=expected.labels(),
    )


def _accepted(read: BceAuthorization, form: str) -> Verification:
    return Verification(ok=True, scheme=SCHEME, reason=Reason.OK, message="", access_key=read.access_key, form=form)


def _untimely(read: BceAuthorization, now: float, allowed_skew: float) -> Verification | None:
    if read.issued - now > allowed_skew:
        cause, message = skew_report(read.issued, now, allowed_skew)
        return _refuse(read, Reason.CLOCK_SKEW, f"The time stamp in Authorization {message}", cause)
    late = now - read.issued - read.expiration
    if late > 0:
        message = f"The signature expired {late:.0f} s ago: it was made at {read.timestamp} for {read.expiration} s."
        return _refuse(read, Reason.EXPIRED, f"{message} Sign each attempt afresh.", "expired")
    return None


#: What no header's name looks like, and a key or a signature does: the fields of a header may change places.
_SECRET_NAME = re.compile(r"[0-9a-f]{16}|.{41}", re.IGNORECASE)


def _told(value: str, most: int = 24) -> str:
    """A field that is not what it should be: one that is longer than any proper one may be a secret, and is masked."""
    return shown(value if len(value) <= most else mask(value), most)


def _listed(names: Iterable[str]) -> str:
    """Names of headers, as far as they can be names."""
    told = [mask(name) if _SECRET_NAME.search(name) else name for name in names]
    return shown(", ".join(told), 80)


def _uncovered(request: HttpRequest, read: BceAuthorization) -> Verification | None:
    if read.signed_headers and "host" not in read.signed_headers:
        message = f"The signed headers {_listed(read.signed_headers)} lack host, which is mandatory."
        return _refuse(read, Reason.MALFORMED, message, "host-not-signed")
    present = {name.strip().lower() for name, _ in request.headers}
    absent = [name for name in read.signed_headers or ("host",) if name not in present]
    if absent:
        message = f"Missing headers required by signing: {_listed(absent)}. Send what you list, or do not list it."
        return _refuse(read, Reason.MISMATCH, message, "missing-signed-header")
    return None


def _refuse(read: BceAuthorization, reason: Reason, message: str, cause: str) -> Verification:
    return refused(SCHEME, reason, message, access_key=read.access_key, cause=cause)
