"""How one dialect's failure is said in another, and what a bare HTTP status stands for.

All of it is [guess]: no document relates the dialects, and v1 is not known to answer with anything but 200. One rule
holds between the three inference dialects, and a test keeps it: a translation never turns a retryable failure into a
final one, or back.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Final

from qfkit.protocol.errors.spec import Dialect

#: Kind of a row -> its typical code in v1 and in v2. The other dialects answer with their first
#: row of that kind, or with the kind's HTTP status.
KIN: Final[Mapping[str, tuple[int, str]]] = MappingProxyType(
    {
        "bad_request": (336003, "invalid_argument"),
        "malformed_json": (336002, "malformed_json"),
        "invalid_messages": (336006, "invalid_messages"),
        "too_many_items": (336221, "invalid_argument"),
        "too_long_chars": (336007, "characters_too_long"),
        "too_long_tokens": (336103, "tokens_too_long"),
        "unsafe": (336003, "functions_unsafe"),
        "unsafe_system": (336104, "system_unsafe"),
        "unsafe_user": (336105, "user_setting_unsafe"),
        "method": (336101, "method_not_supported"),
        # In v1 the path names the model, so its unknown path is v2's unknown model; the SDK's fixtures agree (App. B).
        "not_found": (3, "invalid_model"),
        "model_offline": (336005, "model_offline"),
        "auth": (14, "invalid_iam_token"),
        "token_expired": (111, "invalid_iam_token"),
        "permission": (6, "invalid_appid"),
        "feature_permission": (336004, "no_parameter_permission"),
        # 17 also means an unpaid account (5.1), and v2 has no other final refusal for a quota that is used up.
        "overdue": (17, "account_overdue"),
        "quota_daily": (17, "account_overdue"),
        "quota_total": (19, "account_overdue"),
        "rate_limit": (18, "rpm_rate_limit_exceeded"),
        "rate_limit_qps": (18, "user_rate_limit_exceeded"),
        "rate_limit_rpm": (336501, "rpm_rate_limit_exceeded"),
        "rate_limit_tpm": (336502, "tpm_rate_limit_exceeded"),
        # v1's own codes for these four are guesses, and no SDK knows them.
        "rate_limit_input_tpm": (336502, "input_tpm_rate_limit_exceeded"),
        "rate_limit_output_tpm": (336502, "output_tpm_rate_limit_exceeded"),
        "rate_limit_preemptible": (4, "preemptible_rate_limit_exceeded"),
        "rate_limit_batch": (4, "Offline_batch_reasoning_refused"),
        "cluster_limit": (4, "cluster_rate_limit_exceeded"),
        # The SDK's test server plays 336100 as v2's internal_error (App. B).
        "overloaded": (336100, "internal_error"),
        "unavailable": (2, "internal_error"),
        "internal": (336000, "internal_error"),
    }
)

#: HTTP status -> the kind of failure it stands for, and its name.
STATUSES: Final[Mapping[int, tuple[str, str]]] = MappingProxyType(
    {
        400: ("bad_request", "Bad Request"),
        401: ("auth", "Unauthorized"),
        402: ("overdue", "Payment Required"),
        403: ("permission", "Forbidden"),
        404: ("not_found", "Not Found"),
        405: ("method", "Method Not Allowed"),
        # openai-python and the JavaScript SDK retry 408 and 409 (6); so do we.
        408: ("timeout", "Request Timeout"),
        409: ("conflict", "Conflict"),
        413: ("too_large", "Content Too Large"),
        415: ("bad_request", "Unsupported Media Type"),
        422: ("bad_request", "Unprocessable Content"),
        425: ("conflict", "Too Early"),
        429: ("rate_limit", "Too Many Requests"),
        500: ("internal", "Internal Server Error"),
        501: ("method", "Not Implemented"),
        502: ("unavailable", "Bad Gateway"),
        503: ("unavailable", "Service Unavailable"),
        504: ("timeout", "Gateway Timeout"),
    }
)

#: Any other status, by its first digit.
STATUS_CLASSES: Final[Mapping[int, str]] = MappingProxyType({4: "bad_request", 5: "internal"})

#: Dialect -> HTTP status -> the code that its body typically carries. A status without one gets a code made of its name
#: (v2, oauth, iam) or its number (text_generation); v1, whose clients read nothing but codes, always gets a real one.
STATUS_CODES: Final[Mapping[Dialect, Mapping[int, int | str]]] = MappingProxyType(
    {
        "text_generation": {400: 400, 401: 401, 429: 429, 500: 500},
        "v1": {
            401: 110,
            402: 17,
            403: 6,
            404: 3,
            405: 336101,
            408: 2,
            409: 15,
            413: 336007,
            425: 2,
            429: 18,
            501: 336101,
            502: 2,
            503: 2,
            504: 2,
        },
        "v2": {
            400: "invalid_argument",
            401: "invalid_iam_token",
            403: "account_overdue",
            405: "method_not_supported",
            429: "rpm_rate_limit_exceeded",
            500: "internal_error",
        },
        "oauth": {400: "invalid_request", 401: "invalid_client", 429: "rate_limit_exceeded", 500: "unknown_error"},
        "iam": {
            400: "InvalidHTTPRequest",
            403: "AccessDenied",
            404: "ResourceNotFound",
            412: "PreconditionFailed",
            500: "InternalError",
        },
    }
)

#: v1 for every other status, by its first digit.
V1_CLASS_CODES: Final[Mapping[int, int]] = MappingProxyType({4: 336003, 5: 336000})
