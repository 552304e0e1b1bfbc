r"""The signature of the text_generation dialect: four ``X-Bce-*`` headers.

    X-Bce-AccessKey: <access key>      X-Bce-Timestamp: <Unix seconds>
    X-Bce-Nonce: <random>              X-Bce-Signature: base64(HMAC-SHA256(secret key, string to sign))

    string to sign = METHOD \n TARGET \n BODY \n TIMESTAMP            (form A)
    string to sign = METHOD \n TARGET \n BODY \n TIMESTAMP \n NONCE   (form B)

Tutorials disagree on it: TARGET is the request target in their prose and the full URL in their code, and the nonce is
"included" in prose and left out of code. So a verifier tries four forms in a fixed order and says which one matched.
BODY is the exact bytes sent. The parts are joined, not escaped, so the string alone does not tell where the body ends:
form B over ``body, time, nonce`` is form A over ``body + newline + time`` at the time ``nonce``. A nonce that is no
recent Unix time (five digits, a UUID) cannot be misread so; insisting on form B removes the doubt.
"""

from __future__ import annotations

import base64
import hmac
from collections.abc import Callable, Iterator, Sequence
from enum import Enum
from typing import NamedTuple

from qfkit.protocol.credentials import mask
from qfkit.protocol.http import HttpRequest
from qfkit.protocol.signing.canonical import Canonical, first_difference, octets
from qfkit.protocol.signing.result import Reason, Verification, refused, shown

SCHEME = "hmac"
ACCESS_KEY_HEADER = "X-Bce-AccessKey"
TIMESTAMP_HEADER = "X-Bce-Timestamp"
NONCE_HEADER = "X-Bce-Nonce"
SIGNATURE_HEADER = "X-Bce-Signature"

#: Seconds that a time stamp may be off either way (design notes, section 4).
DEFAULT_SKEW = 300.0


class HmacForm(str, Enum):
    """What the signature covers: B signs the nonce, A does not; of the target, its path and query or the full URL."""

    B_PATH = "B/path"
    B_URL = "B/url"
    A_PATH = "A/path"
    A_URL = "A/url"


#: In the order that they are tried.
ALL_FORMS: tuple[HmacForm, ...] = tuple(HmacForm)
#: Facts of each form: (form, signs the nonce, signs the URL).
_FORMS = tuple((form, form.value[0] == "B", form.value[2:] == "url") for form in ALL_FORMS)

_HEADERS = {name.lower(): name for name in (ACCESS_KEY_HEADER, TIMESTAMP_HEADER, NONCE_HEADER, SIGNATURE_HEADER)}
_READ = frozenset({*_HEADERS, "host"})

#: Multiples of a second that clients count in by mistake: milli-, micro- and nanoseconds.
_FRACTIONS = (10**3, 10**6, 10**9)
_DAY = 86400
#: Seconds by which China's time is ahead of UTC: the offset of nearly everyone who calls this service.
_CHINA = 8 * 3600


class SignedFields(NamedTuple):
    """What the headers of a request say."""

    access_key: str
    timestamp: str
    nonce: str
    signature: str
    host: str


def string_to_sign(*, method: str, target: str, body: bytes, timestamp: int | str, nonce: str | None = None) -> bytes:
    """The bytes that the HMAC is taken over.

    Args:
        method: as sent.
        target: the request target as sent, or the full URL, by form.
        body: the exact bytes sent.
        timestamp: Unix seconds, as in the header.
        nonce: as in the header for form B; None for form A.
    """
    parts = [octets(method), octets(target), body, octets(str(timestamp))]
    if nonce is not None:
        parts.append(octets(nonce))
    return b"\n".join(parts)


def sign_hmac(
    *,
    access_key: str,
    secret_key: str,
    method: str,
    target: str,
    body: bytes,
    timestamp: int,
    nonce: str,
    form: HmacForm = HmacForm.B_PATH,
    url: str | None = None,
) -> dict[str, str]:
    """The four headers that sign a request.

    Args:
        access_key: names the account.
        secret_key: the key of the HMAC.
        method: as it will be sent, usually ``POST``.
        target: path and query as they will be sent, percent-encoded.
        body: the very bytes that will be sent.
        timestamp: Unix seconds, 0 or more; sign each attempt with the current time.
        nonce: random text, new for each attempt.
        form: what to cover.
        url: the full URL as it will be called; needed by the URL forms only.

    Raises:
        ValueError: a header value would be empty or span lines, the time is negative, or a URL form lacks its URL.
    """
    for name, value in ((ACCESS_KEY_HEADER, access_key), (NONCE_HEADER, nonce)):
        if not value or value.split() != [value]:
            raise ValueError(f"{name} must be one word without white space, not {shown(value)}")
    if timestamp < 0:
        raise ValueError(f"timestamp must be Unix seconds, 0 or more, not {timestamp}")
    form = HmacForm(form)
    _, signs_nonce, signs_url = _FORMS[ALL_FORMS.index(form)]
    if signs_url and url is None:
        raise ValueError(f"form {form.value} signs the full URL: pass url=")
    message = string_to_sign(
        method=method,
        target=url if signs_url and url is not None else target,
        body=body,
        timestamp=timestamp,
        nonce=nonce if signs_nonce else None,
    )
    return {
        ACCESS_KEY_HEADER: access_key,
        TIMESTAMP_HEADER: str(timestamp),
        NONCE_HEADER: nonce,
        SIGNATURE_HEADER: base64.b64encode(hmac.digest(octets(secret_key), message, "sha256")).decode("ascii"),
    }


def read_fields(request: HttpRequest) -> SignedFields | Verification:
    """The signature's headers, or the refusal of a request that lacks one or sends two different ones.

    White space around a value is not part of it (RFC 9110, 5.5).
    """
    seen: dict[str, str] = {}
    for name, value in request.headers:
        key = name.lower()
        if key in _READ:
            text = value.strip(" \t")
            if seen.setdefault(key, text) != text and key in _HEADERS:
                return _refuse(
                    Reason.MALFORMED,
                    f"{_HEADERS[key]} came twice with different values: set each header once an attempt.",
                    seen.get("x-bce-accesskey"),
                    "repeated-header",
                )
    missing = [name for key, name in _HEADERS.items() if not seen.get(key)]
    if missing:
        return _refuse(
            Reason.MISSING_HEADER,
            f"Missing or empty: {', '.join(missing)}. The signature needs all of {', '.join(_HEADERS.values())}.",
            seen.get("x-bce-accesskey"),
            "missing-header",
        )
    return SignedFields(
        seen["x-bce-accesskey"],
        seen["x-bce-timestamp"],
        seen["x-bce-nonce"],
        seen["x-bce-signature"],
        seen.get("host", ""),
    )


def verify_hmac(
    request: HttpRequest,
    secret_key: str | None,
    *,
    now: float,
    allowed_skew: float = DEFAULT_SKEW,
    forms: Sequence[HmacForm] = ALL_FORMS,
) -> Verification:
    """Check the four headers of a request. Whatever the headers hold, this answers; it does not raise.

    Checked in this order: all headers there, time stamp readable, access key known, time stamp within the skew (a stale
    request is told that it is stale, and no more), signature.

    Args:
        request: as received.
        secret_key: of the account that ``X-Bce-AccessKey`` names; None when there is no such account.
        now: Unix seconds.
        allowed_skew: seconds that the time stamp may be off either way.
        forms: those that are accepted. A signature that is right in another form is refused as such.

    Raises:
        ValueError: ``forms`` is empty, so that nothing could be accepted.
    """
    if not forms:
        raise ValueError("forms must name at least one form")
    fields = read_fields(request)
    if isinstance(fields, Verification):
        return fields
    timestamp = fields.timestamp
    # int() takes far more than a header may hold: signs, underscores, the digits of other scripts.
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 20):
        return _refuse(
            Reason.MALFORMED,
            f"X-Bce-Timestamp is {shown(timestamp)}, not whole Unix seconds: send and sign str(int(time.time())).",
            fields.access_key,
            "timestamp-not-integer",
        )
    if secret_key is None:
        return _refuse(
            Reason.UNKNOWN_KEY,
            f"No account has the access key {shown(mask(fields.access_key))}: check the key, and whose it is.",
            fields.access_key,
            "unknown-key",
        )
    ahead = int(timestamp) - now
    if abs(ahead) > allowed_skew:
        cause, message = skew_report(int(timestamp), now, allowed_skew)
        return _refuse(Reason.CLOCK_SKEW, f"X-Bce-Timestamp {message}", fields.access_key, cause)
    form = matching_form(request, fields, octets(secret_key))
    if form is None:
        expected = canonical(request, fields, HmacForm(forms[0]))
        return _refuse(
            Reason.MISMATCH,
            "X-Bce-Signature does not match the request: check the secret key and the string to sign.",
            fields.access_key,
            None,
            expected=expected.text(),
            labels=expected.labels(),
        )
    if form not in forms:
        return _form_refusal(request, fields, form, HmacForm(forms[0]))
    return Verification(
        ok=True,
        scheme=SCHEME,
        reason=Reason.OK,
        message="",
        access_key=fields.access_key,
        form=form.value,
        findings=_A_FINDINGS if form in _A_FORMS else (),
    )


_A_FINDINGS = ("nonce-unsigned",)
_A_FORMS = frozenset(form for form, signs_nonce, _ in _FORMS if not signs_nonce)
_URL_FORMS = frozenset(form for form, _, signs_url in _FORMS if signs_url)


def matching_form(request: HttpRequest, fields: SignedFields, key: bytes) -> HmacForm | None:
    """The form under which the signature is right, compared in constant time; None when there is none.

    The URL is tried with http and https: behind a TLS front, or called through an interceptor, the server cannot know
    which one the client wrote.
    """
    given = octets(fields.signature)
    for encode in _encodings(request, fields):
        method, target = encode(request.method), encode(request.target)
        times = encode(fields.timestamp)
        nonce = b"%b\n%b" % (times, encode(fields.nonce))
        for form, signs_nonce, signs_url in _FORMS:
            end = nonce if signs_nonce else times
            for place in _urls(encode(fields.host), target) if signs_url else (target,):
                message = b"%b\n%b\n%b\n%b" % (method, place, request.body, end)
                ours = base64.b64encode(hmac.digest(key, message, "sha256"))
                if hmac.compare_digest(ours, given):
                    return form
    return None


def _urls(host: bytes, target: bytes) -> tuple[bytes, ...]:
    return (b"http://%b%b" % (host, target), b"https://%b%b" % (host, target)) if host else ()


def _encodings(request: HttpRequest, fields: SignedFields) -> Iterator[Callable[[str], bytes]]:
    """How text became bytes: UTF-8, and where that fails Latin-1, as which WSGI hands over whatever bytes came."""
    yield octets
    texts = (request.method, request.target, fields.nonce, fields.host)
    if not all(text.isascii() for text in texts) and all(ord(ch) < 256 for text in texts for ch in text):
        yield _latin_1


def _latin_1(text: str) -> bytes:
    return text.encode("latin-1")


def canonical(request: HttpRequest, fields: SignedFields, form: HmacForm, scheme: str | None = None) -> Canonical:
    """The string to sign of ``request`` under ``form``; a URL gets ``scheme``, by default the request's."""
    target = request.target
    if form in _URL_FORMS:
        target = f"{scheme or request.scheme}://{fields.host}{target}"
    parts = [
        ("METHOD", octets(request.method)),
        ("TARGET", octets(target)),
        ("BODY", request.body),
        ("TIMESTAMP", octets(fields.timestamp)),
    ]
    if form not in _A_FORMS:
        parts.append(("NONCE", octets(fields.nonce)))
    return Canonical(tuple(parts))


def form_causes(got: HmacForm, wanted: HmacForm) -> tuple[str, ...]:
    """What a client that signs ``got`` must change to sign ``wanted``, as names of causes."""
    causes = []
    if (got in _URL_FORMS) != (wanted in _URL_FORMS):
        causes.append("url-for-path" if got in _URL_FORMS else "path-for-url")
    if (got in _A_FORMS) != (wanted in _A_FORMS):
        causes.append("nonce-unsigned" if got in _A_FORMS else "nonce-signed")
    return tuple(causes)


def _form_refusal(request: HttpRequest, fields: SignedFields, got: HmacForm, wanted: HmacForm) -> Verification:
    expected, received = canonical(request, fields, wanted), canonical(request, fields, got)
    text, labels = expected.text(), expected.labels()
    return _refuse(
        Reason.FORM_NOT_ALLOWED,
        f"The signature is right in form {got.value}, but this server wants {wanted.value}: {_FORM_TEXT[wanted]}.",
        fields.access_key,
        "+".join(form_causes(got, wanted)),
        form=got.value,
        expected=text,
        received=received.text(),
        difference=first_difference(text, received.text(), labels),
        labels=labels,
    )


_FORM_TEXT = {
    HmacForm.B_PATH: "sign the path with its query, and the nonce",
    HmacForm.B_URL: "sign the full URL, and the nonce",
    HmacForm.A_PATH: "sign the path with its query, without the nonce",
    HmacForm.A_URL: "sign the full URL, without the nonce",
}


def skew_report(timestamp: int, now: float, allowed: float) -> tuple[str, str]:
    """Cause and message, less its subject, for a time stamp that is off by more than ``allowed`` seconds."""
    for fraction in _FRACTIONS:
        if abs(timestamp / fraction - now) < _DAY:
            return "timestamp-in-milliseconds", f"{timestamp} is not in seconds: divide it by {fraction:,}."
    ahead = timestamp - now
    side, word = ("clock-ahead", "ahead of") if ahead > 0 else ("clock-behind", "behind")
    off = f"is {abs(ahead):.0f} s {word} this server's clock (allowed: {allowed:g} s)"
    if abs(abs(ahead) - _CHINA) <= min(allowed, 60):
        return "local-time-for-utc", f"{off}: 8 hours, as when China's time is taken for UTC. Use time.time()."
    return side, f"{off}: sign each attempt afresh, and check the client's clock."


def _refuse(reason: Reason, message: str, access_key: str | None, cause: str | None, **details: object) -> Verification:
    return refused(SCHEME, reason, message, access_key=access_key, cause=cause, **details)
