"""What one row of the error tables says, and the closed list of kinds that relates the dialects to each other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, Literal, TypeAlias, get_args

Dialect: TypeAlias = Literal["text_generation", "v1", "v2", "oauth", "iam"]
DIALECTS: Final[tuple[Dialect, ...]] = get_args(Dialect)


@dataclass(frozen=True, slots=True)
class Kind:
    """One sort of failure, whatever a dialect calls it.

    Attributes:
        summary: what happened, for errors that have no row of their own.
        remedy: what to do about it, for the same.
        status: the HTTP status (400-599) that says it best; text_generation answers with it.
        retryable: True where the same request, sent again later, may well succeed.
    """

    summary: str
    remedy: str
    status: int
    retryable: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ErrorSpec:
    """One error of the service.

    Attributes:
        dialect: the API family whose envelope carries it.
        code: ``error_code`` (v1, text_generation: int), ``error.code`` (v2), ``error`` (oauth) or ``code`` (iam).
        status: the HTTP status it comes with; 200 for v1 (wire reference 3.5).
        message: the literal text of the service.
        meaning: what went wrong.
        remedy: what a developer can do about it.
        retryable: True where a sane client sends the same request again, after a wait. Our judgement: see `retried_by`
            for what official clients do. False also where something must be renewed first (a token, a signature).
        kind: a key of `KINDS`.
        type: v2 only, ``error.type``.
        name: the Python SDK's constant (``qianfan.consts.APIErrorCode``), where it has one.
        retried_by: the clients whose default retry set holds it, keys of `RETRIERS`.
        has_id: v1 only, True where the body also carries ``id``: the model service answered, not the gateway.
        evidence: where the row comes from, in the tags of the wire reference (doc, sdk, 3rd-live, 3rd, fixture).
        guess: names of the fields above that no source gives.
        other_messages: further literal texts seen under this code.
    """

    dialect: Dialect
    code: int | str
    status: int
    message: str
    meaning: str
    remedy: str
    retryable: bool
    kind: str
    type: str | None = None
    name: str | None = None
    retried_by: tuple[str, ...] = ()
    has_id: bool = False
    evidence: str
    guess: tuple[str, ...] = ()
    other_messages: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CodeRange:
    """Codes from ``first`` to ``last`` of which little or nothing is known; ``note`` says what."""

    first: int
    last: int
    note: str

    def __contains__(self, code: int) -> bool:
        return self.first <= code <= self.last


#: Whose default retry set may hold an error, and what that client then does (wire reference 6). With a retry count of
#: 1 there is one attempt: nothing is repeated until the user raises the count.
RETRIERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "python": "the official Python SDK, inference calls: 3 attempts, after waits of about 1-2 s and 2-3 s",
        "python-console": "the official Python SDK, console calls only: retry count 1",
        "go": "the official Go SDK, same codes as the Python SDK: retry count 1",
        "javascript": "the official JavaScript SDK, some codes, and HTTP 408, 409, 429 and 5xx: retry count 1",
        "java": "the official Java SDK: retry count 1",
        "openai-python": "openai-python, HTTP 408, 409, 429 and 5xx: 3 attempts, after waits of about 0.5 s and 1 s",
    }
)

_BACK_OFF = "Wait and send it again, doubling the wait each time and adding jitter; honour Retry-After when it is sent."
_LATER = "Send it again later, with growing waits and a limit on the attempts."
_CHECK_BODY = "Check the request body against the documentation of the endpoint."
_CHECK_KEYS = "Check the keys, and that they belong to this environment; then sign or authenticate afresh."

#: The statuses that text_generation documents are 400, 401, 429 and 500. A kind that one of them covers uses it; only
#: kinds that none of the four describes (permission, unknown path, method, size) keep HTTP's own status [guess].
KINDS: Final[Mapping[str, Kind]] = MappingProxyType(
    {
        "bad_request": Kind("The request is not acceptable as it is.", _CHECK_BODY, 400, False),
        "malformed_json": Kind("The body is not JSON.", "Send one JSON object, encoded in UTF-8.", 400, False),
        "invalid_messages": Kind("The messages break a rule.", "Fix roles, order or content of messages.", 400, False),
        "too_many_items": Kind("A list is too long.", "Split the list over several requests.", 400, False),
        "too_long_chars": Kind("The input has too many characters.", "Shorten the input.", 400, False),
        "too_long_tokens": Kind("The input has too many tokens.", "Shorten the input.", 400, False),
        "too_large": Kind("The request body is too large.", "Send a smaller body.", 413, False),
        "unsafe": Kind("The content was refused as unsafe.", "Change the content that was refused.", 400, False),
        "unsafe_system": Kind("The system text was refused.", "Change the text of system.", 400, False),
        "unsafe_user": Kind("The user setting was refused.", "Change the user field.", 400, False),
        "method": Kind("The path does not take this HTTP method.", "Use the method it documents.", 405, False),
        "not_found": Kind("Nothing answers at this path.", "Check base URL, path and model name.", 404, False),
        "model_offline": Kind("The model was withdrawn.", "Choose a current model.", 404, False),
        "auth": Kind("The caller could not be authenticated.", _CHECK_KEYS, 401, False),
        "token_expired": Kind(
            "The access token is missing, invalid or expired.",
            "Get a new token, then repeat the request once.",
            401,
            False,
        ),
        "permission": Kind(
            "The keys are right but may not use this.", "Enable the service for the application.", 403, False
        ),
        "feature_permission": Kind(
            "The account may not use this parameter.", "Drop the parameter, or apply for the feature.", 403, False
        ),
        "overdue": Kind("The account is in arrears.", "Settle the account in the console.", 403, False),
        "quota_daily": Kind("Today's quota is used up.", "Wait for tomorrow, or raise the quota.", 429, False),
        "quota_total": Kind("The whole quota is used up.", "Buy or apply for more quota.", 429, False),
        "rate_limit": Kind("Requests come too fast.", _BACK_OFF, 429, True),
        "rate_limit_qps": Kind("Too many requests a second.", _BACK_OFF, 429, True),
        "rate_limit_rpm": Kind("Too many requests a minute.", _BACK_OFF, 429, True),
        "rate_limit_tpm": Kind("Too many tokens a minute.", _BACK_OFF, 429, True),
        "rate_limit_input_tpm": Kind("Too many input tokens a minute.", _BACK_OFF, 429, True),
        "rate_limit_output_tpm": Kind("Too many output tokens a minute.", _BACK_OFF, 429, True),
        "rate_limit_preemptible": Kind("No preemptible capacity is left.", _BACK_OFF, 429, True),
        "rate_limit_batch": Kind("No capacity for offline batches is left.", _BACK_OFF, 429, True),
        "cluster_limit": Kind("The shared cluster is full.", _BACK_OFF, 429, True),
        "overloaded": Kind("The service is overloaded.", _BACK_OFF, 500, True),
        "unavailable": Kind("The service is unavailable for the moment.", _LATER, 500, True),
        "internal": Kind("The service failed internally.", _LATER, 500, True),
        "timeout": Kind("The service ran out of time.", _LATER, 504, True),
        "conflict": Kind("The request collided with another change.", _LATER, 409, True),
        "unknown": Kind(
            "The service refused in a way that the tables do not know.",
            "Read its text, log the request id, and ask the service's support; do not retry blindly.",
            500,
            False,
        ),
    }
)
