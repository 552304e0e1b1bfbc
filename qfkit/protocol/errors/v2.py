"""Errors of v2 (the OpenAI-compatible API): wire reference 5.2, one row a status, code and meaning.

Where a code has several rows, the one seen live today comes first: `lookup` returns it.
"""

from __future__ import annotations

from functools import partial
from typing import Final

from qfkit.protocol.errors.spec import ErrorSpec

_BY_STATUS = ("javascript", "openai-python")
_BY_CASE = ("message",)
_SEE_FIELDS = "Compare the body with the field table of the endpoint, and change what the text names."
_BACK_OFF = "Back off: retry after a growing wait with jitter"

_request = partial(ErrorSpec, dialect="v2", status=400, type="invalid_request_error", retryable=False)
_key = partial(ErrorSpec, dialect="v2", status=401, type="invalid_request_error", retryable=False)
_denied = partial(ErrorSpec, dialect="v2", status=403, type="access_denied", kind="permission", retryable=False)
_unsafe = partial(ErrorSpec, dialect="v2", status=403, type="unsafe_request", retryable=False, evidence="doc")
_limit = partial(ErrorSpec, dialect="v2", status=429, type="rate_limit_exceeded", retryable=True, retried_by=_BY_STATUS)
_server = partial(
    ErrorSpec,
    dialect="v2",
    status=500,
    type="Internal_error",  # the capital I is the service's
    kind="internal",
    retryable=True,
    retried_by=_BY_STATUS,
    evidence="doc",
)

V2_ERRORS: Final[tuple[ErrorSpec, ...]] = (
    _request(
        code="malformed_json",
        message="Invalid Argument",
        meaning="The body is not JSON, or not a JSON object.",
        remedy="Send one JSON object in UTF-8 with Content-Type: application/json.",
        kind="malformed_json",
        evidence="doc",
    ),
    _key(
        code="invalid_model",
        message="The model does not exist or you do not have access to it.",
        meaning="The model is unknown or not enabled for this account. The status is 401 although the key is right.",
        remedy="Check the model id (GET /v2/models lists them) and that it is enabled for the account.",
        kind="not_found",
        evidence="3rd-live, doc",
        other_messages=("No permission to use the model",),
    ),
    _request(
        code="invalid_model",
        message="model is empty",
        meaning="The request names no model.",
        remedy="Set model. Recent servers answer `invalid_argument` with `you must provide a model parameter` instead.",
        kind="bad_request",
        evidence="doc",
    ),
    _request(
        code="invalid_messages",
        message="the length of messages must be an odd number",
        meaning="The messages break a rule; the text says which.",
        remedy="Check roles, their order, and that no content is empty.",
        kind="invalid_messages",
        evidence="doc; text by case, this one from the SDK's fixtures",
        guess=_BY_CASE,
    ),
    _request(
        code="invalid_argument",
        message="messages cannot be empty",
        meaning="A parameter is missing, of the wrong type or out of range; the text names it.",
        remedy=_SEE_FIELDS,
        kind="bad_request",
        evidence="3rd-live",
        other_messages=(
            "the role must be one of the following: system,developer,user,assistant,tool",
            "parameter check failed, max_completion_tokens range is [1, 12288]",
            "you must provide a model parameter",
        ),
    ),
    _request(
        code="characters_too_long",
        message="the max input characters is 20000",
        meaning="The input has more characters than the model takes; the text gives the limit.",
        remedy="Shorten the input, drop old turns, or use a model with a larger context.",
        kind="too_long_chars",
        evidence="doc (`… is xxx`)",
    ),
    _request(
        code="tokens_too_long",
        message="Prompt tokens too long",
        meaning="The input has more tokens than the model takes.",
        remedy="Shorten the input, drop old turns, or use a model with a larger context.",
        kind="too_long_tokens",
        evidence="doc",
    ),
    *(
        _request(
            code=code,
            message="prompt is invalid, please check parameter",
            meaning=f"The prompt for an image was refused.{note}",
            remedy="Change the prompt: not empty, within the model's length, nothing a safety filter may refuse.",
            kind="bad_request",
            evidence="doc",
        )
        for code, note in (
            ("invalid_image_generation_prompt", ""),
            ("invalid_image_genration_prompt", " (Older spelling of invalid_image_generation_prompt.)"),
        )
    ),
    _request(
        code="invalid_image_generation_refer_image",
        message="refer image is invalid, please check parameter",
        meaning="The reference image cannot be used.",
        remedy="Send a reachable URL or a data: URL of a supported image.",
        kind="bad_request",
        evidence="doc",
    ),
    _request(
        code="invalid_image_url",
        message="the image width and height are not within the allowed range",
        meaning="An image in a message has sides outside the allowed range.",
        remedy="Resize the image before sending it.",
        kind="bad_request",
        evidence="doc",
    ),
    _request(
        code="invalid_plugin_argument",
        message="plugin argument is invalid",
        meaning="An argument of a plugin is wrong; the text says which.",
        remedy="Check the plugin's arguments.",
        kind="bad_request",
        evidence="doc; text by case",
        guess=_BY_CASE,
    ),
    _request(
        code="image_url_unsafe",
        message="the content of image_url.url field is unsafe",
        meaning="An image in a message was refused as unsafe.",
        remedy="Send another image.",
        type="unsafe_request",
        kind="unsafe",
        evidence="doc",
    ),
    _key(
        code="invalid_iam_token",
        message="invalid_iam_token",
        meaning="The bearer token is missing, unknown or expired. An OAuth access_token is refused here too.",
        remedy="Send `Authorization: Bearer bce-v3/ALTAK-…`; create an API key, or renew the IAM bearer token.",
        kind="auth",
        evidence="3rd-live, doc",
        other_messages=("IAM Certification failed",),
    ),
    _key(
        code="invalid_appid",
        message="No permission to use the appid",
        meaning="The key does not belong to the application in the appid header.",
        remedy="Drop the appid header to use the default application, or send one of the key's own.",
        kind="permission",
        evidence="doc",
    ),
    _key(
        code="no_parameter_permission",
        message="No permission to use the parameter",
        meaning="The account may not use this parameter; the text says which.",
        remedy="Drop the parameter, or apply for the feature in the console.",
        type="access_denied",
        kind="feature_permission",
        evidence="doc; text by case",
        guess=_BY_CASE,
    ),
    _denied(
        code="account_overdue",
        message="Access denied due to overdue account",
        meaning="The account owes money.",
        remedy="Settle the account in the console. Do not retry.",
        kind="overdue",
        evidence="3rd-live",
    ),
    _denied(
        code="model_offline",
        message="The model is offline",
        meaning="The model was withdrawn.",
        remedy="Choose a current model; GET /v2/models lists them.",
        kind="model_offline",
        evidence="doc",
    ),
    _denied(
        code="coding_plan_api_key_not_allowed",
        message="The API key of a coding plan is not allowed here",
        meaning="A key of the coding plan was used on the normal base URL.",
        remedy="Use that key with /v2/coding, or a normal API key here.",
        evidence="3rd-live (code only)",
        guess=("status", "type", "message"),
    ),
    _unsafe(
        code="system_unsafe",
        message="the content of system field is invalid",
        meaning="The system text was refused as unsafe.",
        remedy="Change the system message.",
        kind="unsafe_system",
    ),
    _unsafe(
        code="user_setting_unsafe",
        message="the content of user field is invalid",
        meaning="The content of user was refused as unsafe.",
        remedy="Change or drop the user field.",
        kind="unsafe_user",
    ),
    _unsafe(
        code="functions_unsafe",
        message="the content of functions field is invalid",
        meaning="A function's description was refused as unsafe.",
        remedy="Change names and descriptions in functions or tools.",
        kind="unsafe",
    ),
    _request(
        code="method_not_supported",
        status=405,
        message="Only POST requests are accepted",
        meaning="The path takes POST only.",
        remedy="Send the request as POST; watch for redirects that turn POST into GET.",
        kind="method",
        evidence="doc",
    ),
    _limit(
        code="rpm_rate_limit_exceeded",
        message="Rate limit reached for RPM",
        meaning="More requests this minute than the account has for this model.",
        remedy=f"{_BACK_OFF}; the window is a fixed minute, so at most 60 s pass before requests are accepted again.",
        kind="rate_limit_rpm",
        evidence="3rd-live, doc",
    ),
    _limit(
        code="tpm_rate_limit_exceeded",
        message="Rate limit reached for TPM",
        meaning="More tokens this minute than the account has for this model.",
        remedy=f"{_BACK_OFF}, up to 60 s; send shorter prompts or lower max_completion_tokens.",
        kind="rate_limit_tpm",
        evidence="doc",
    ),
    *(
        _limit(
            code=code,
            message=f"Rate limit reached for {what}",
            meaning=meaning,
            remedy=f"{_BACK_OFF}{extra}.",
            kind=kind,
            evidence="doc",
        )
        for code, what, kind, meaning, extra in (
            (
                "input_tpm_rate_limit_exceeded",
                "Input TPM",
                "rate_limit_input_tpm",
                "More input tokens this minute than the account has for this model.",
                ", up to 60 s; send shorter prompts",
            ),
            (
                "output_tpm_rate_limit_exceeded",
                "Output TPM",
                "rate_limit_output_tpm",
                "More output tokens this minute than the account has for this model.",
                ", up to 60 s; lower max_completion_tokens",
            ),
            (
                "cluster_rpm_rate_limit_exceeded",
                "Cluster RPM",
                "cluster_limit",
                "All callers together send more requests than the model's cluster serves.",
                "; if it persists for minutes, use another model",
            ),
            (
                "cluster_tpm_rate_limit_exceeded",
                "Cluster TPM",
                "cluster_limit",
                "All callers together send more tokens than the model's cluster serves.",
                "; if it persists for minutes, use another model",
            ),
            (
                "preemptible_rate_limit_exceeded",
                "preemptible resource",
                "rate_limit_preemptible",
                "No spare capacity is left for preemptible requests.",
                ", or send the request without preemptible",
            ),
            (
                "Offline_batch_reasoning_refused",
                "offline batch reasoning",
                "rate_limit_batch",
                "No capacity is left for offline batches.",
                ", in minutes rather than seconds",
            ),
        )
    ),
    _limit(
        code="user_rate_limit_exceeded",
        message="qps request limit by APP ID reached",
        meaning="More requests a second than this application is allowed.",
        remedy=f"{_BACK_OFF}, and limit the requests you send at the same time.",
        kind="rate_limit_qps",
        evidence="doc",
    ),
    _limit(
        code="cluster_rate_limit_exceeded",
        message="request limit by resouce cluster reached",
        meaning="All callers together send more than the model's cluster serves.",
        remedy=f"{_BACK_OFF}; if it persists for minutes, use another model.",
        kind="cluster_limit",
        evidence="doc",
    ),
    _server(
        code="internal_error",
        message="Internal error",
        meaning="The service failed internally.",
        remedy="Send it again with growing waits; if it stays, report the id of the answer to Baidu.",
    ),
    _server(
        code="dispatch_internal_error",
        message="Internal error",
        meaning="The service failed while passing the request on to a model.",
        remedy="Send it again with growing waits; if it stays, report the id of the answer to Baidu.",
    ),
    _server(
        code="image_generation_interal_error",
        message="image generation service interal error",
        meaning="The image service failed internally. (The spelling is the service's.)",
        remedy="Send it again with growing waits.",
    ),
)
