"""Every error that an inference request can meet, and what each client is to make of it.

Copied by hand from the service's documents (wire reference 5.1 and 5.2, the tutorial's 6.1) and from the sources of the
clients; nothing of it is read from ``qfkit.protocol.errors``, which this is held against.
"""

from __future__ import annotations

import openai
from qianfan.errors import AccessTokenExpiredError, APIError

import qfkit

BAD, AUTH, DENIED = qfkit.BadRequestError, qfkit.AuthenticationError, qfkit.PermissionDeniedError
MISSING, LIMIT, BROKEN = qfkit.NotFoundError, qfkit.RateLimitError, qfkit.ServerError

#: v1: code -> a part of the text ("" where no source has one), what it means, whether another attempt may succeed.
V1: dict[int, tuple[str, type[qfkit.APIError], bool]] = {
    1: ("Unknown error", BROKEN, True),
    2: ("Service temporarily unavailable", BROKEN, True),
    3: ("Unsupported openapi method", MISSING, False),
    4: ("Open api request limit reached", LIMIT, True),
    6: ("No permission to access data", DENIED, False),
    13: ("Get service token failed", BROKEN, True),
    14: ("IAM Certification failed", AUTH, False),
    15: ("app not exists or create failed", BROKEN, True),
    17: ("Open api daily request limit reached", LIMIT, False),
    18: ("Open api qps request limit reached", LIMIT, True),
    19: ("Open api total request limit reached", LIMIT, False),
    100: ("Invalid parameter", BAD, False),
    110: ("Access token invalid or no longer valid", AUTH, False),
    111: ("Access token expired", AUTH, False),
    336000: ("Internal error", BROKEN, True),
    336001: ("Invalid Argument", BAD, False),
    336002: ("Invalid JSON", BAD, False),
    336003: ("", BAD, False),
    336004: ("", DENIED, False),
    336005: ("API name not exist", MISSING, False),
    336006: ("the length of messages must be an odd number", BAD, False),
    336007: ("the max input characters is ", BAD, False),
    336008: ("", BAD, False),
    336100: ("Try again", BROKEN, True),
    336101: ("Invalid HTTP Method", BAD, False),
    336102: ("", BAD, False),
    336103: ("Prompt tokens too long", BAD, False),
    336104: ("", BAD, False),
    336105: ("", BAD, False),
    336200: ("", BROKEN, True),
    336204: ("quota exceeded", LIMIT, False),
    336221: ("max number of documents is 64", BAD, False),
    336303: ("", BAD, False),
    336501: ("Rate limit reached for RPM", LIMIT, True),
    336502: ("Rate limit reached for TPM", LIMIT, True),
    336503: ("", LIMIT, True),
    336504: ("", LIMIT, True),
    336505: ("", LIMIT, True),
    336506: ("", LIMIT, True),
    336507: ("", LIMIT, True),
    337006: ("", BAD, False),
    500000: ("", BROKEN, True),
    500001: ("", BAD, False),
}

#: v1 codes that the gateway answers with, without an ``id``; those of the model service behind it have one (3.5).
V1_GATEWAY = {1, 2, 3, 4, 6, 13, 14, 15, 17, 18, 19, 100, 110, 111, 500000, 500001}

#: Codes that mean "fetch a new token, then ask again": the Python SDK does so once, and raises an error without a code.
V1_TOKEN = {110, 111}

#: What the Python SDK adds to the service's text (``QfAPIRequestor._check_error``).
SDK_ADVICE = {14: "IAM 鉴权失败", 17: "账户已欠费"}

#: v2: code -> HTTP status, ``error.type``, a part of the text, what it means. Whether to try again is the status's.
V2: dict[str, tuple[int, str, str, type[qfkit.APIError]]] = {
    "malformed_json": (400, "invalid_request_error", "Invalid Argument", BAD),
    "invalid_model": (401, "invalid_request_error", "The model does not exist", MISSING),
    "invalid_messages": (400, "invalid_request_error", "", BAD),
    "invalid_argument": (400, "invalid_request_error", "messages cannot be empty", BAD),
    "characters_too_long": (400, "invalid_request_error", "the max input characters is ", BAD),
    "tokens_too_long": (400, "invalid_request_error", "Prompt tokens too long", BAD),
    "invalid_image_generation_prompt": (400, "invalid_request_error", "prompt is invalid, please check", BAD),
    "invalid_image_genration_prompt": (400, "invalid_request_error", "prompt is invalid, please check", BAD),
    "invalid_image_generation_refer_image": (400, "invalid_request_error", "refer image is invalid", BAD),
    "invalid_image_url": (400, "invalid_request_error", "the image width and height are not within", BAD),
    "invalid_plugin_argument": (400, "invalid_request_error", "", BAD),
    "image_url_unsafe": (400, "unsafe_request", "the content of image_url.url field is unsafe", BAD),
    "invalid_iam_token": (401, "invalid_request_error", "invalid_iam_token", AUTH),
    "invalid_appid": (401, "invalid_request_error", "No permission to use the appid", DENIED),
    "no_parameter_permission": (401, "access_denied", "", DENIED),
    "account_overdue": (403, "access_denied", "Access denied due to overdue account", DENIED),
    "model_offline": (403, "access_denied", "The model is offline", MISSING),
    "coding_plan_api_key_not_allowed": (403, "access_denied", "", DENIED),
    "system_unsafe": (403, "unsafe_request", "the content of system field is invalid", BAD),
    "user_setting_unsafe": (403, "unsafe_request", "the content of user field is invalid", BAD),
    "functions_unsafe": (403, "unsafe_request", "the content of functions field is invalid", BAD),
    "method_not_supported": (405, "invalid_request_error", "Only POST requests are accepted", BAD),
    "rpm_rate_limit_exceeded": (429, "rate_limit_exceeded", "Rate limit reached for RPM", LIMIT),
    "tpm_rate_limit_exceeded": (429, "rate_limit_exceeded", "Rate limit reached for TPM", LIMIT),
    "input_tpm_rate_limit_exceeded": (429, "rate_limit_exceeded", "Rate limit reached for Input TPM", LIMIT),
    "output_tpm_rate_limit_exceeded": (429, "rate_limit_exceeded", "Rate limit reached for Output TPM", LIMIT),
    "cluster_rpm_rate_limit_exceeded": (429, "rate_limit_exceeded", "Rate limit reached for Cluster RPM", LIMIT),
    "cluster_tpm_rate_limit_exceeded": (429, "rate_limit_exceeded", "Rate limit reached for Cluster TPM", LIMIT),
    "preemptible_rate_limit_exceeded": (429, "rate_limit_exceeded", "reached for preemptible resource", LIMIT),
    "Offline_batch_reasoning_refused": (429, "rate_limit_exceeded", "reached for offline batch reasoning", LIMIT),
    "user_rate_limit_exceeded": (429, "rate_limit_exceeded", "qps request limit by APP ID reached", LIMIT),
    "cluster_rate_limit_exceeded": (429, "rate_limit_exceeded", "request limit by resouce cluster reached", LIMIT),
    "internal_error": (500, "Internal_error", "Internal error", BROKEN),
    "dispatch_internal_error": (500, "Internal_error", "Internal error", BROKEN),
    "image_generation_interal_error": (500, "Internal_error", "image generation service interal error", BROKEN),
}

#: As 110 and 111, where the token was bought with IAM keys; a ready API key cannot be renewed.
V2_TOKEN = "invalid_iam_token"

#: text_generation: code and HTTP status alike (the tutorial's 6.1, which has no texts).
TEXT_GENERATION: dict[int, tuple[type[qfkit.APIError], bool]] = {
    400: (BAD, False),
    401: (AUTH, False),
    429: (LIMIT, True),
    500: (BROKEN, True),
}

#: HTTP status -> what openai-python raises (its ``OpenAI._make_status_error``).
OPENAI: dict[int, type[openai.APIStatusError]] = {
    400: openai.BadRequestError,
    401: openai.AuthenticationError,
    403: openai.PermissionDeniedError,
    405: openai.APIStatusError,
    429: openai.RateLimitError,
    500: openai.InternalServerError,
}


def sdk_v1_error(code: int) -> type[Exception]:
    """What the official SDK raises for a v1 code, once it has tried a new token where that is the remedy."""
    return AccessTokenExpiredError if code in V1_TOKEN else APIError


def worth_another_try(status: int) -> bool:
    """v2's rows by status: limits and faults pass, the rest is the request's, the key's or the account's."""
    return status == 429 or status >= 500
