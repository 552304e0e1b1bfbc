"""Errors of the two services that hand out tokens, and of the gateway that checks IAM signatures.

``oauth`` is ``/oauth/2.0/token`` (wire reference 2.1). ``iam`` is the common envelope of Baidu's cloud, met on the
bearer-token and console endpoints (2.2): ``{"code","message","requestId"}`` with the same in ``X-Bce-Error-*`` headers.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from qfkit.protocol.errors.spec import ErrorSpec

_STATUS = ("status",)
_GENERIC = "doc (Baidu's generic OAuth2 table)"

_oauth = partial(ErrorSpec, dialect="oauth", retryable=False)
_signature = partial(
    ErrorSpec, dialect="iam", code="IamSignatureInvalid", status=403, retryable=False, kind="auth", evidence="3rd-live"
)
_bce = partial(ErrorSpec, dialect="iam", retryable=False, evidence="doc")

OAUTH_ERRORS: Final[tuple[ErrorSpec, ...]] = (
    _oauth(
        code="invalid_client",
        status=401,
        message="unknown client id",
        meaning="The API Key (client_id) is unknown.",
        remedy="Check QIANFAN_AK: it is the application's API Key, not an IAM access key (ALTAK…).",
        kind="auth",
        evidence="3rd-live, doc",
    ),
    _oauth(
        code="invalid_client",
        status=401,
        message="Client authentication failed",
        meaning="The Secret Key (client_secret) does not belong to the API Key.",
        remedy="Check QIANFAN_SK: it must come from the same application as QIANFAN_AK.",
        kind="auth",
        evidence="doc, sdk",
        guess=_STATUS,
    ),
    _oauth(
        code="invalid_request",
        status=400,
        message="The request is missing a required parameter",
        meaning="client_id or client_secret is missing or empty.",
        remedy="Send grant_type, client_id and client_secret in the query string; check for unset variables.",
        kind="bad_request",
        evidence="3rd-live",
        guess=_STATUS,
    ),
    _oauth(
        code="unsupported_grant_type",
        status=400,
        message="The authorization grant type is not supported",
        meaning="grant_type is not one that the service knows.",
        remedy="Send grant_type=client_credentials.",
        kind="bad_request",
        evidence=_GENERIC,
        guess=_STATUS,
    ),
    _oauth(
        code="invalid_grant",
        status=400,
        message="The provided authorization grant is revoked",
        meaning="The grant was revoked. Never seen with client_credentials.",
        remedy="Send grant_type=client_credentials.",
        kind="auth",
        evidence=_GENERIC,
        guess=_STATUS,
    ),
    _oauth(
        code="unauthorized_client",
        status=400,
        message="The client is not authorized to use this authorization grant type",
        meaning="The application may not use this grant. Never seen with client_credentials.",
        remedy="Send grant_type=client_credentials, with the keys of an application of the console.",
        kind="permission",
        evidence=_GENERIC,
        guess=_STATUS,
    ),
    _oauth(
        code="unknown_error",
        status=500,
        message="unknown error",
        meaning="The token service failed. Never seen; dify handles it.",
        remedy="Ask for the token again with growing waits.",
        retryable=True,
        kind="internal",
        evidence="3rd",
        guess=("status", "message", "meaning"),
    ),
    _oauth(
        code="rate_limit_exceeded",
        status=429,
        message="rate limit exceeded",
        meaning="Tokens were asked for too often. Never seen; dify handles it.",
        remedy="Keep the token for its 30 days instead of asking for one per request, and back off.",
        retryable=True,
        kind="rate_limit",
        evidence="3rd",
        guess=("status", "message", "meaning"),
    ),
)

IAM_ERRORS: Final[tuple[ErrorSpec, ...]] = (
    _signature(
        message="IamSignatureInvalid, cause: Could not find credential.",
        meaning="The access key of the signature is unknown.",
        remedy="Check QIANFAN_ACCESS_KEY: an IAM access key (ALTAK…), not the API Key of an application.",
        # What the Python SDK compares X-Bce-Error-Message with, letter for letter; older wording.
        other_messages=("NotFound, cause: Could not find credential.",),
    ),
    _signature(
        message="IamSignatureInvalid, cause: Fail to authn user: Signature does not match",
        meaning="The signature is not the one that the server computes: wrong secret key, or wrong text signed.",
        remedy="Check QIANFAN_SECRET_KEY; `qfkit sign --explain` shows both canonical requests side by side.",
        other_messages=("SignatureDoesNotMatch, cause: Fail to authn user: Signature does not match",),
    ),
    _signature(
        message="IamSignatureInvalid, cause: Fail to authn user: Missing headers required by signing: content-length",
        meaning="A header that was signed did not arrive; the text names it.",
        remedy="Sign only headers that are sent, and that no proxy removes (nginx drops names with underscores).",
    ),
    _signature(
        message="IamSignatureInvalid, cause: request ip not allowed",
        meaning="The access key may not be used from this address.",
        remedy="Call from an allowed address, or change the key's rules in the IAM console.",
        kind="permission",
    ),
    _bce(
        code="AccessDenied",
        status=403,
        message="Access denied.",
        meaning="The keys are right but may not do this.",
        remedy="Grant the permission to the user in the IAM console.",
        kind="permission",
    ),
    _bce(
        code="InappropriateJSON",
        status=400,
        message="The JSON you provided was well-formed and valid, but not appropriate for this operation.",
        meaning="The body is JSON, but a member is missing or of the wrong type.",
        remedy="Compare the body with the endpoint's documentation.",
        kind="bad_request",
    ),
    _bce(
        code="InternalError",
        status=500,
        message="We encountered an internal error. Please try again.",
        meaning="The service failed internally.",
        remedy="Send it again with growing waits.",
        retryable=True,
        kind="internal",
    ),
    _bce(
        code="InvalidAccessKeyId",
        status=403,
        message="The Access Key ID you provided does not exist in our records.",
        meaning="The access key is unknown.",
        remedy="Check QIANFAN_ACCESS_KEY: an IAM access key (ALTAK…), not the API Key of an application.",
        kind="auth",
    ),
    _bce(
        code="InvalidHTTPAuthHeader",
        status=400,
        message="The HTTP authorization header is invalid. Consult the service documentation for details.",
        meaning="The Authorization header is not in the form of bce-auth-v1.",
        remedy="Send bce-auth-v1/{access key}/{timestamp}/{seconds}/{signed headers}/{signature}, timestamp in UTC.",
        kind="auth",
    ),
    _bce(
        code="InvalidHTTPRequest",
        status=400,
        message="There was an error in the body of your HTTP request.",
        meaning="The body does not fit its headers, for example its encoding.",
        remedy="Check Content-Type, Content-Length and the encoding of the body.",
        kind="bad_request",
    ),
    _bce(
        code="InvalidURI",
        status=400,
        message="Could not parse the specified URI.",
        meaning="The path or query cannot be parsed.",
        remedy="Percent-encode the path and query as UTF-8.",
        kind="bad_request",
    ),
    _bce(
        code="MalformedJSON",
        status=400,
        message="The JSON you provided was not well-formed.",
        meaning="The body is not JSON.",
        remedy="Send one JSON object in UTF-8.",
        kind="malformed_json",
    ),
    _bce(
        code="InvalidVersion",
        status=404,
        message="The API version specified was invalid.",
        meaning="The version in the path does not exist.",
        remedy="Check the version segment of the path.",
        kind="not_found",
    ),
    _bce(
        code="OptInRequired",
        status=403,
        message="A subscription for the service is required.",
        meaning="The service is not enabled for the account.",
        remedy="Enable the service in the console.",
        kind="permission",
    ),
    _bce(
        code="PreconditionFailed",
        status=412,
        message="The specified If-Match header doesn't match the ETag header.",
        meaning="A conditional request did not meet its condition.",
        remedy="Read the resource again and repeat the change on what it is now.",
        kind="bad_request",
    ),
    _bce(
        code="RequestExpired",
        status=400,
        message="Request has expired. Timestamp date is 2024-05-01T08:00:00Z.",
        meaning="The signature's timestamp is too old; the text gives it.",
        remedy="Set the clock, and sign each attempt afresh: a retry must not reuse the first signature.",
        kind="auth",
    ),
    _bce(
        code="SignatureDoesNotMatch",
        status=400,
        message="The request signature we calculated does not match the signature you provided. Check your Secret "
        "Access Key and signing method. Consult the service documentation for details.",
        meaning="The signature is not the one that the server computes. Sources disagree on its status: 400 or 403.",
        remedy="Check QIANFAN_SECRET_KEY; `qfkit sign --explain` shows both canonical requests side by side.",
        kind="auth",
        guess=_STATUS,
    ),
    _bce(
        code="ResourceNotFound",
        status=404,
        message="The resource was not found.",
        meaning="The gateway has nothing at this path.",
        remedy="Check base URL and path; a doubled /chat/completions is the usual slip.",
        kind="not_found",
        evidence="3rd-live (code only)",
        guess=("status", "message"),
    ),
)
