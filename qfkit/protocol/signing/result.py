"""What came of checking a signature, once for programs (``to_dict``) and once for people (``render``)."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, replace
from enum import Enum
from typing import Any

from qfkit.protocol.credentials import mask
from qfkit.protocol.signing.canonical import Difference
from qfkit.protocol.signing.causes import named
from qfkit.protocol.signing.report import render

#: Longest ``Verification.message`` in characters: it travels in a response header.
MESSAGE_LIMIT = 200


class Reason(str, Enum):
    """Why a signature was accepted or refused."""

    OK = "ok"
    MISSING_HEADER = "missing_header"
    MALFORMED = "malformed"
    UNKNOWN_KEY = "unknown_key"
    EXPIRED = "expired"
    CLOCK_SKEW = "clock_skew"
    REPLAYED = "replayed"
    FORM_NOT_ALLOWED = "form_not_allowed"
    MISMATCH = "mismatch"


@dataclass(frozen=True, slots=True, kw_only=True)
class Verification:
    """The verdict on one request's signature. Never holds a secret, nor a signature that the caller did not make.

    Attributes:
        ok: accepted or not. The object itself is always true: ask this.
        scheme: ``hmac`` or ``bce-auth-v1``.
        reason: the class of the verdict.
        message: one line of at most 200 printable characters: what was wrong and what to do.
        access_key: the access key that the request claims, as sent; None when it names none.
        form: what the signature matched, None for nothing. hmac: ``B/path``, ``B/url``, ``A/path`` or ``A/url``;
            bce-auth-v1: ``as-sent``, or the tolerated spellings joined with ``+``, such as ``host-without-port``.
        expected: the string to sign as the server built it; set on a mismatch or a form that is not allowed.
        received: the string that the client signed, when that is certain: its HMAC is the client's signature.
        difference: the first place where ``received`` departs from ``expected``.
        cause: machine name of what went wrong, a key of ``CAUSES`` or several joined with ``+``; None on success, and
            on a mismatch that nobody looked into (``explain`` does).
        findings: names of what was accepted but is worth knowing, keys of ``FINDINGS``.
        labels: what each line of ``expected`` holds.
    """

    ok: bool
    scheme: str
    reason: Reason
    message: str
    access_key: str | None = field(default=None, repr=False)
    form: str | None = None
    expected: str | None = None
    received: str | None = None
    difference: Difference | None = None
    cause: str | None = None
    findings: tuple[str, ...] = ()
    labels: tuple[str, ...] = field(default=(), repr=False)

    @property
    def shown_access_key(self) -> str | None:
        """The access key as it may be written: masked when unknown, as it may then be a secret put in its place."""
        if self.reason is Reason.UNKNOWN_KEY and self.access_key is not None:
            return mask(self.access_key)
        return self.access_key

    @property
    def advice(self) -> str | None:
        """What to do about it, in a sentence or two; None when there is nothing to do."""
        return (
            " ".join(f"{row.advice[0].upper()}{row.advice[1:]}." for row in named(self.cause)) if self.cause else None
        )

    def to_dict(self) -> dict[str, Any]:
        """The verdict as JSON-ready values, ``advice`` included, an unknown access key masked."""
        return {
            "ok": self.ok,
            "scheme": self.scheme,
            "reason": self.reason.value,
            "message": self.message,
            "access_key": self.shown_access_key,
            "form": self.form,
            "expected": self.expected,
            "received": self.received,
            "difference": None if self.difference is None else asdict(self.difference),
            "cause": self.cause,
            "advice": self.advice,
            "findings": list(self.findings),
            "labels": list(self.labels),
        }

    def render(self) -> str:
        """The report for people: headline, both strings with the first difference marked, cause, how to fix it."""
        return render(self)


def refused(scheme: str, reason: Reason, message: str, **details: Any) -> Verification:
    """A refusal; ``message`` is cut to what fits into a header."""
    if len(message) > MESSAGE_LIMIT:
        message = f"{message[: MESSAGE_LIMIT - 3]}..."
    return Verification(ok=False, scheme=scheme, reason=reason, message=message, **details)


def replayed(verified: Verification, *, age: float) -> Verification:
    """The same request a second time: ``verified`` turned into a refusal.

    Args:
        verified: the verdict on the repeated request, accepted.
        age: seconds since the request was first seen.
    """
    return replace(
        verified,
        ok=False,
        reason=Reason.REPLAYED,
        cause="replayed",
        message=f"This signed request was seen {age:.1f} s ago: sign each attempt afresh, with a new nonce and time.",
    )


def shown(value: str, limit: int = 40) -> str:
    """A value from the wire as a message may quote it: in quotes, printable ASCII, cut to ``limit`` characters."""
    text = ascii(value[:limit])
    return f"{text[:limit]}...{text[0]}" if len(value) > limit or len(text) > limit + 2 else text
