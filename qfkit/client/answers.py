"""From an HTTP answer to JSON that is good, or to the exception that says what it is instead."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from qfkit.client.exceptions import (
    APIError,
    AuthenticationError,
    BadRequestError,
    InvalidReply,
    NotFoundError,
    PermissionDeniedError,
    RateLimitError,
    ServerError,
    raise_if,
)
from qfkit.client.redaction import redact, scrub
from qfkit.client.retry import parse_retry_after
from qfkit.client.transport import Answer
from qfkit.protocol.errors import ErrorSpec, classify
from qfkit.protocol.messages import Json

_REQUEST_ID_HEADERS = ("X-Baidu-Request-Id", "X-Bce-Request-Id")
_DIAGNOSIS = "X-Qfkit-Diagnosis"
_EXCERPT = 120

#: Kind of error (protocol.errors) -> the exception it is raised as. ``unknown`` goes by its HTTP status.
EXCEPTIONS: dict[str, type[APIError]] = {
    "bad_request": BadRequestError,
    "malformed_json": BadRequestError,
    "invalid_messages": BadRequestError,
    "too_many_items": BadRequestError,
    "too_long_chars": BadRequestError,
    "too_long_tokens": BadRequestError,
    "too_large": BadRequestError,
    "unsafe": BadRequestError,
    "unsafe_system": BadRequestError,
    "unsafe_user": BadRequestError,
    "method": BadRequestError,
    "not_found": NotFoundError,
    "model_offline": NotFoundError,
    "auth": AuthenticationError,
    "token_expired": AuthenticationError,
    "permission": PermissionDeniedError,
    "feature_permission": PermissionDeniedError,
    "overdue": PermissionDeniedError,
    "quota_daily": RateLimitError,
    "quota_total": RateLimitError,
    "rate_limit": RateLimitError,
    "rate_limit_qps": RateLimitError,
    "rate_limit_rpm": RateLimitError,
    "rate_limit_tpm": RateLimitError,
    "rate_limit_input_tpm": RateLimitError,
    "rate_limit_output_tpm": RateLimitError,
    "rate_limit_preemptible": RateLimitError,
    "rate_limit_batch": RateLimitError,
    "cluster_limit": RateLimitError,
    "overloaded": ServerError,
    "unavailable": ServerError,
    "internal": ServerError,
    "timeout": ServerError,
    "conflict": ServerError,
}
_BY_STATUS: dict[int, type[APIError]] = {
    401: AuthenticationError,
    403: PermissionDeniedError,
    404: NotFoundError,
    429: RateLimitError,
}


def request_id(headers: Mapping[str, str], body: Mapping[str, Any] | None = None) -> str | None:
    """The service's id of a request: from the answer's headers (v1 3.3, IAM 2.2), else from its body."""
    for name in _REQUEST_ID_HEADERS:
        if value := headers.get(name):
            return value
    found = (body.get("id") or body.get("requestId")) if body else None
    return found if isinstance(found, str) else None


def api_error(
    dialect: str,
    status: int,
    headers: Mapping[str, str],
    body: Json | None,
    *,
    now: float,
    secrets: Iterable[str],
) -> APIError | None:
    """The error that an answer, or one event of a stream, reports; None when it reports none.

    Args:
        dialect: who answers: a dialect, ``oauth`` or ``iam``.
        status: HTTP status; v1 reports errors under 200.
        headers: of the answer.
        body: its JSON object, None when it has none.
        now: Unix time in seconds.
        secrets: what to strike out, should the service quote it.
    """
    if body is None and (code := headers.get("X-Bce-Error-Code")):  # gateways answer so with an empty body (2.2)
        body = {"code": code, "message": headers.get("X-Bce-Error-Message", code)}
    spec = classify(dialect, status, body)
    if spec is None:
        return None
    # A service may quote what it was sent in any of its texts, and a code that no table has is one of them.
    error_code = redact(spec.code, secrets) if isinstance(spec.code, str) else spec.code
    spec = replace(spec, code=error_code, message=redact(spec.message, secrets), meaning=redact(spec.meaning, secrets))
    return _exception(spec, status)(
        redact(_words(body), secrets),
        dialect=dialect,
        code=spec.code,
        status=status,
        spec=spec,
        request_id=scrub(request_id(headers, body), secrets),
        retry_after=parse_retry_after(headers, now=now),
        retryable=spec.retryable,
        diagnosis=redact(headers[_DIAGNOSIS], secrets) if _DIAGNOSIS in headers else None,
    )


def read_json(dialect: str, answer: Answer, *, now: float, secrets: Iterable[str]) -> Json:
    """The JSON object of a good answer, read to its end. Arguments as `api_error`.

    Raises:
        APIError: the answer reports an error.
        InvalidReply: it is neither JSON nor a known error; the message quotes its beginning.
        TransportError: it did not come whole.
    """
    content = answer.read()
    try:
        body = json.loads(content)
    except ValueError:  # also a UnicodeDecodeError
        body = None
    data = body if isinstance(body, dict) else None
    raise_if(api_error(dialect, answer.status, answer.headers, data, now=now, secrets=secrets))
    if data is None or not 200 <= answer.status < 300:
        raise InvalidReply(
            redact(_unreadable(dialect, answer, redact(content.decode("utf-8", "replace"), secrets)), secrets)
        )
    return data


def _exception(spec: ErrorSpec, status: int) -> type[APIError]:
    if known := EXCEPTIONS.get(spec.kind):
        return known
    return ServerError if status >= 500 else _BY_STATUS.get(status, BadRequestError)


def _words(body: Mapping[str, Any] | None) -> str:
    """What the service itself said, in whichever envelope: v1, v2, OAuth or IAM (2 and 5)."""
    if body is None:
        return ""
    nested = body.get("error")
    holder = nested if isinstance(nested, Mapping) else body
    for name in ("error_msg", "message", "error_description", "msg"):
        if isinstance(text := holder.get(name), str) and text:
            return text
    return ""


def _unreadable(dialect: str, answer: Answer, text: str) -> str:
    kind = answer.headers.get("Content-Type", "no content type")
    if 300 <= answer.status < 400:
        return (
            f"the {dialect} service answered with a redirect (HTTP {answer.status}), which is not followed: a "
            "signature holds for one address. Set base_url to where it points"
        )
    shown = f"{text[:_EXCERPT]!r}{'…' if len(text) > _EXCERPT else ''}" if text else "an empty body"
    return (
        f"the {dialect} service answered HTTP {answer.status} ({kind}) with {shown} where a JSON object was due. "
        "Check that base_url is the service's, and that no proxy answers in its place"
    )
