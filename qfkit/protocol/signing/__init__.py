"""Signing and checking requests, one module a scheme, and finding out why a signature is wrong."""

from __future__ import annotations

from qfkit.protocol.signing.bce_auth_v1 import (
    FUTURE_SKEW_GUESS,
    BceAuthorization,
    MalformedAuthorization,
    canonical_request,
    format_bce_date,
    parse_bce_authorization,
    parse_bce_date,
    sign_bce,
    verify_bce,
)
from qfkit.protocol.signing.bce_canonical import TOLERATED, Tolerated
from qfkit.protocol.signing.canonical import Difference, compare
from qfkit.protocol.signing.causes import CAUSES, FINDINGS, Cause
from qfkit.protocol.signing.explain import explain, scheme_of
from qfkit.protocol.signing.hmac_headers import (
    ALL_FORMS,
    DEFAULT_SKEW,
    HmacForm,
    sign_hmac,
    string_to_sign,
    verify_hmac,
)
from qfkit.protocol.signing.result import MESSAGE_LIMIT, Reason, Verification, replayed

__all__ = [
    "ALL_FORMS",
    "CAUSES",
    "DEFAULT_SKEW",
    "FINDINGS",
    "FUTURE_SKEW_GUESS",
    "MESSAGE_LIMIT",
    "TOLERATED",
    "BceAuthorization",
    "Cause",
    "Difference",
    "HmacForm",
    "MalformedAuthorization",
    "Reason",
    "Tolerated",
    "Verification",
    "canonical_request",
    "compare",
    "explain",
    "format_bce_date",
    "parse_bce_authorization",
    "parse_bce_date",
    "replayed",
    "scheme_of",
    "sign_bce",
    "sign_hmac",
    "string_to_sign",
    "verify_bce",
    "verify_hmac",
]
