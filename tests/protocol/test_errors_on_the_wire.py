"""Errors on the wire: what the mock writes, the client reads."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qfkit.protocol.dialects import INFERENCE_DIALECTS
from qfkit.protocol.errors import DIALECTS, ERRORS, KINDS, ErrorSpec, classify, envelope, find, lookup, translate

ROWS = [pytest.param(spec, id=f"{spec.dialect}-{spec.code}-{index}") for index, spec in enumerate(ERRORS)]


@pytest.mark.parametrize("spec", ROWS)
def test_what_the_mock_writes_the_client_reads(spec: ErrorSpec) -> None:
    assert classify(spec.dialect, spec.status, envelope(spec, request_id="as-abcdefghij")) is spec


@pytest.mark.parametrize("dialect", INFERENCE_DIALECTS)
def test_what_the_mock_plays_the_client_understands(dialect: str) -> None:
    for code in [*(spec.code for spec in ERRORS), *range(400, 600)]:
        played = translate(code, dialect)
        read = classify(dialect, played.status, envelope(played))
        assert read is not None
        assert replace(read, guess=()) == replace(played, guess=())


@pytest.mark.parametrize(
    ("dialect", "code", "body"),
    [
        ("v1", 18, {"error_code": 18, "error_msg": "Open api qps request limit reached"}),
        (
            "v1",
            336003,
            {"error_code": 336003, "error_msg": "message content can not be empty", "id": "as-abcdefghij"},
        ),
        (
            "v2",
            "rpm_rate_limit_exceeded",
            {
                "error": {
                    "code": "rpm_rate_limit_exceeded",
                    "message": "Rate limit reached for RPM",
                    "type": "rate_limit_exceeded",
                },
                "id": "as-abcdefghij",
            },
        ),
        ("text_generation", 429, {"error_code": 429, "error_msg": "Request limit reached"}),
        ("oauth", "invalid_client", {"error_description": "unknown client id", "error": "invalid_client"}),
        ("iam", "AccessDenied", {"code": "AccessDenied", "message": "Access denied.", "requestId": "as-abcdefghij"}),
    ],
)
def test_envelopes_have_the_shape_and_key_order_of_the_service(
    dialect: str, code: int | str, body: dict[str, Any]
) -> None:
    spec = lookup(dialect, code)
    assert spec is not None
    made = envelope(spec, request_id="as-abcdefghij")
    assert made == body
    assert list(made) == list(body)


def test_an_envelope_without_a_request_id_has_none() -> None:
    specs = [lookup("v1", 336003), lookup("v2", "internal_error"), lookup("iam", "AccessDenied")]
    for spec in specs:
        assert spec is not None
        assert not {"id", "requestId"} & set(envelope(spec))


def test_an_envelope_takes_another_text() -> None:
    spec = lookup("v1", 336007)
    assert spec is not None
    text = "the max input characters is 11200"
    body = envelope(spec, message=text)
    assert body["error_msg"] == text
    assert classify("v1", 200, body) is spec


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize(
    "body",
    [
        None,
        {},
        {"id": "as-abcdefghij", "object": "chat.completion", "result": "好"},
        {"choices": [{"delta": {"content": "好"}}]},
        {"error_code": 0, "error_msg": "success"},
        {"error": None, "choices": []},
        {"error": {}},
        {"error": ""},
        {"code": 0, "message": "ok"},
        {"code": "print('hi')", "message": "an answer that holds code"},
        {"code": 200, "msg": "ok"},
    ],
)
def test_an_answer_is_not_an_error(dialect: str, body: dict[str, Any] | None) -> None:
    assert classify(dialect, 200, body) is None


def test_v1_reports_errors_under_200() -> None:
    assert classify("v1", 200, {"error_code": 336100, "error_msg": "high load"}) is lookup("v1", 336100)


def test_a_code_in_digits_is_a_number() -> None:
    assert classify("v1", 200, {"error_code": "18", "error_msg": ""}) is lookup("v1", 18)


def test_rows_of_one_code_are_told_apart() -> None:
    empty = {"error": {"code": "invalid_model", "message": "model is empty", "type": "invalid_request_error"}}
    absent = {"error": {"code": "invalid_model", "message": "No permission to use the model"}}
    for status, body, expected in ((400, empty, "bad_request"), (401, absent, "not_found")):
        spec = classify("v2", status, body)
        assert spec is not None
        assert spec.kind == expected
    secret = classify(
        "oauth", 200, {"error": "invalid_client", "error_description": "Client authentication failed"}
    )  # 200: the SDK's test server
    assert secret is not None
    assert "QIANFAN_SK" in secret.remedy
    assert secret.status == 200


def test_the_older_wording_of_iam_is_known() -> None:
    body = {
        "code": "IamSignatureInvalid",
        "message": "SignatureDoesNotMatch, cause: Fail to authn user: Signature does not match",
    }
    spec = classify("iam", 403, body)
    assert spec is not None
    assert "QIANFAN_SECRET_KEY" in spec.remedy


@pytest.mark.parametrize(
    ("dialect", "status", "body", "code"),
    [
        ("v2", 200, {"error_code": 336100, "error_msg": "x"}, 336100),  # a gateway in front of v1
        ("v2", 429, {"error": {"code": 336501, "message": "x"}}, 336501),
        ("v1", 401, {"error": {"code": "invalid_iam_token", "message": "x"}}, "invalid_iam_token"),
        ("v1", 200, {"code": 336501, "msg": "Rate limit reached for RPM"}, 336501),  # one document page
        ("v1", 403, {"code": "AccessDenied", "message": "Access denied."}, "AccessDenied"),
        ("text_generation", 429, {"error_code": 18, "error_msg": "x"}, 18),
    ],
)
def test_shapes_of_other_dialects_are_read(dialect: str, status: int, body: dict[str, Any], code: int | str) -> None:
    spec = classify(dialect, status, body)
    assert spec is not None
    assert (spec.code, spec.status) == (code, status)
    assert spec.kind == find(code)[0].kind


@pytest.mark.parametrize(
    ("status", "kind", "retryable"),
    [
        (400, "bad_request", False),
        (401, "auth", False),
        (403, "permission", False),
        (404, "not_found", False),
        (408, "timeout", True),
        (409, "conflict", True),
        (413, "too_large", False),
        (418, "bad_request", False),
        (429, "rate_limit", True),
        (500, "internal", True),
        (502, "unavailable", True),
        (503, "unavailable", True),
        (504, "timeout", True),
        (507, "internal", True),
    ],
)
@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("body", [None, {"detail": "gateway"}])
def test_a_status_alone_is_judged_by_its_class(
    dialect: str, body: dict[str, Any] | None, status: int, kind: str, retryable: bool
) -> None:
    spec = classify(dialect, status, body)
    assert spec is not None
    assert (spec.status, spec.kind, spec.retryable) == (status, kind, retryable)


@pytest.mark.parametrize(
    ("dialect", "status", "body", "kind", "retryable"),
    [
        ("v1", 200, {"error_code": 336999, "error_msg": "new"}, "unknown", False),
        ("v1", 503, {"error_code": 336999, "error_msg": "new"}, "unavailable", True),
        ("v2", 429, {"error": {"code": "new_limit", "message": "new"}}, "rate_limit", True),
        ("v2", 400, {"error": {"code": "new_refusal", "message": "new"}}, "bad_request", False),
        ("iam", 403, {"code": "NewCode", "message": "new"}, "permission", False),
    ],
)
def test_an_unknown_code_is_said_to_be_unknown(
    dialect: str, status: int, body: dict[str, Any], kind: str, retryable: bool
) -> None:
    spec = classify(dialect, status, body)
    assert spec is not None
    assert (spec.status, spec.kind, spec.retryable, spec.message) == (status, kind, retryable, "new")
    assert "is not in the tables" in spec.meaning
    assert not find(spec.code)


def test_an_unknown_code_in_a_range_is_explained() -> None:
    spec = classify("v1", 200, {"error_code": 336110, "error_msg": "?"})
    assert spec is not None
    assert "336106-336117" in spec.meaning


def test_an_error_object_without_a_code_is_an_error() -> None:
    spec = classify("v2", 200, {"error": {"message": "out of order"}})
    assert spec is not None
    assert (spec.kind, spec.message, spec.retryable) == ("unknown", "out of order", False)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=12) | st.just("9" * 5000),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner, max_size=3),
    max_leaves=6,
)
KEYS = st.sampled_from(
    ["error_code", "error_msg", "error", "code", "message", "msg", "error_description", "id", "requestId", "result"]
)


@given(st.sampled_from(DIALECTS), st.integers(100, 599), st.dictionaries(KEYS, JSON))
def test_no_json_upsets_the_client(dialect: str, status: int, body: dict[str, Any]) -> None:
    spec = classify(dialect, status, body)
    if spec is not None:
        assert spec.status == status
        assert spec.kind in KINDS
    else:
        assert status < 400
