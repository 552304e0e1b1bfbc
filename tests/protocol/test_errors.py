"""The error tables, held to the constants of the official SDK; searching and translating them."""

from __future__ import annotations

import copy
import pickle
from dataclasses import fields
from typing import Any

import pytest
from qianfan.consts import APIErrorCode, DefaultValue

from qfkit.protocol.dialects import INFERENCE_DIALECTS
from qfkit.protocol.errors import (
    DIALECTS,
    ERRORS,
    KINDS,
    RANGES,
    RETRIERS,
    ErrorSpec,
    UnknownErrorCode,
    classify,
    envelope,
    find,
    is_error_status,
    lookup,
    translate,
    with_status,
)
from qfkit.protocol.errors.kin import KIN, STATUS_CLASSES, STATUS_CODES, STATUSES, V1_CLASS_CODES
from qfkit.protocol.validation import CODES

ROWS = [pytest.param(spec, id=f"{spec.dialect}-{spec.code}-{index}") for index, spec in enumerate(ERRORS)]
STATUS_RANGE = range(400, 600)

# The tables themselves


@pytest.mark.parametrize("spec", ROWS)
def test_every_row_is_complete(spec: ErrorSpec) -> None:
    for text in (spec.message, spec.meaning, spec.remedy, spec.evidence):
        assert text.strip() == text
        assert text
    assert spec.meaning.endswith((".", ".)"))
    assert spec.remedy.endswith(".")
    assert spec.dialect in DIALECTS
    assert spec.kind in KINDS
    assert set(spec.retried_by) <= set(RETRIERS)
    assert set(spec.guess) <= {field.name for field in fields(ErrorSpec)}
    assert spec.message not in spec.other_messages


def test_no_row_stands_twice() -> None:
    keys = [(spec.dialect, spec.code, spec.message) for spec in ERRORS]
    assert len(set(keys)) == len(keys)


@pytest.mark.parametrize("spec", ROWS)
def test_a_kind_decides_whether_to_retry(spec: ErrorSpec) -> None:
    assert spec.retryable == KINDS[spec.kind].retryable


@pytest.mark.parametrize("spec", ROWS)
def test_a_client_that_retries_is_not_contradicted(spec: ErrorSpec) -> None:
    assert spec.retryable or not spec.retried_by


def test_each_dialect_keeps_its_own_sort_of_code_and_status() -> None:
    for spec in ERRORS:
        if spec.dialect in {"v1", "text_generation"}:
            assert isinstance(spec.code, int)
        else:
            assert isinstance(spec.code, str)
        assert (spec.type is not None) == (spec.dialect == "v2")
        assert spec.status == 200 if spec.dialect == "v1" else 400 <= spec.status <= 599
        assert not spec.has_id or spec.dialect == "v1"


def test_v1_has_an_id_only_from_the_model_service() -> None:
    for spec in ERRORS:
        if spec.dialect == "v1":
            assert spec.has_id == (336_000 <= int(spec.code) < 338_000)


def test_the_status_says_the_type_in_v2() -> None:
    types = {(spec.status, spec.type) for spec in ERRORS if spec.dialect == "v2" and "type" not in spec.guess}
    assert types == {
        (400, "invalid_request_error"),
        (400, "unsafe_request"),
        (401, "invalid_request_error"),
        (401, "access_denied"),
        (403, "access_denied"),
        (403, "unsafe_request"),
        (405, "invalid_request_error"),
        (429, "rate_limit_exceeded"),
        (500, "Internal_error"),
    }


def test_codes_without_a_source_are_marked() -> None:
    """336503-336507 have rows so that a mock can play them, but nothing in those rows is known."""
    for code in range(336503, 336508):
        spec = lookup("v1", code)
        assert spec is not None
        assert {"code", "message", "meaning", "kind", "retryable"} <= set(spec.guess)
    assert [lookup("v1", code) for code in range(336106, 336118)] == [None] * 12
    assert all(336106 in RANGES[0] and 336117 in RANGES[0] and code not in RANGES[0] for code in (336105, 336118))


# Held to the official SDK


def test_every_constant_of_the_sdk_has_its_row() -> None:
    ours = {spec.name: spec.code for spec in ERRORS if spec.name}
    theirs = {member.name: member.value for member in APIErrorCode if member is not APIErrorCode.NoError}
    assert ours == theirs


def test_the_python_sdk_retries_what_the_table_says() -> None:
    assert {spec.code for spec in ERRORS if "python" in spec.retried_by} == DefaultValue.RetryErrCodes
    assert {spec.code for spec in ERRORS if "python-console" in spec.retried_by} == DefaultValue.ConsoleRetryErrCodes


def test_other_clients_retry_what_the_reference_says() -> None:
    v1 = [spec for spec in ERRORS if spec.dialect == "v1"]
    assert {spec.code for spec in v1 if "go" in spec.retried_by} == DefaultValue.RetryErrCodes
    assert {spec.code for spec in v1 if "javascript" in spec.retried_by} == {336502, 500000, 336100, 18}
    assert {spec.code for spec in v1 if "java" in spec.retried_by} == {18, 336100}
    by_status = {spec.code for spec in ERRORS if "openai-python" in spec.retried_by}
    assert by_status == {spec.code for spec in ERRORS if spec.dialect == "v2" and spec.status in {429, 500}}


# Searching


@pytest.mark.parametrize("code", [18, "18", " 18 ", "QPSLimitReached", "qpslimitreached"])
def test_find_takes_numbers_digits_and_the_sdks_names(code: int | str) -> None:
    assert [(spec.dialect, spec.code) for spec in find(code)] == [("v1", 18)]


def test_find_gives_every_row_of_a_code() -> None:
    assert [spec.message for spec in find("invalid_client")] == ["unknown client id", "Client authentication failed"]
    assert find("offline_BATCH_reasoning_refused")[0].code == "Offline_batch_reasoning_refused"
    assert find(12345) == ()


def test_lookup_gives_the_row_seen_live_first() -> None:
    spec = lookup("v2", "invalid_model")
    assert spec is not None
    assert (spec.status, spec.message) == (401, "The model does not exist or you do not have access to it.")
    assert lookup("v2", 18) is None
    assert lookup("v3", 18) is None


def test_with_status_gives_rows_of_all_dialects() -> None:
    found = with_status(429)
    assert {spec.dialect for spec in found} == {"text_generation", "v2", "oauth"}
    assert {spec.status for spec in found} == {429}


@pytest.mark.parametrize(("code", "expected"), [(400, True), ("599", True), (399, False), (600, False), ("x", False)])
def test_is_error_status(code: int | str, expected: bool) -> None:
    assert is_error_status(code) is expected


def test_every_refusal_of_validation_has_a_row() -> None:
    for dialect, codes in CODES.items():
        for code in codes.values():
            assert lookup(dialect, code) is not None


# Translating


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("spec", ROWS)
def test_every_code_means_something_in_every_dialect(spec: ErrorSpec, dialect: str) -> None:
    played = translate(spec.code, dialect)
    assert played.dialect == dialect
    assert envelope(played)
    assert played.remedy
    if spec.dialect == dialect:
        assert played is lookup(dialect, spec.code)


@pytest.mark.parametrize("dialect", INFERENCE_DIALECTS)
@pytest.mark.parametrize("spec", ROWS)
def test_a_translation_never_changes_whether_to_retry(spec: ErrorSpec, dialect: str) -> None:
    typical = lookup(spec.dialect, spec.code)
    assert typical is not None
    assert translate(spec.code, dialect).retryable == typical.retryable


@pytest.mark.parametrize("dialect", DIALECTS)
def test_every_http_status_means_something_in_every_dialect(dialect: str) -> None:
    for status in STATUS_RANGE:
        played = translate(status, dialect)
        kind = STATUSES[status][0] if status in STATUSES else STATUS_CLASSES[status // 100]
        assert (played.dialect, played.status) == (dialect, status)
        assert played.retryable == KINDS[kind].retryable
        assert translate(str(status), dialect) == played
        assert played in ERRORS or played.guess


@pytest.mark.parametrize(
    ("code", "dialect", "expected", "status"),
    [
        # text_generation keeps v1's numbers, under the HTTP status of their kind.
        (18, "text_generation", 18, 429),
        (336501, "text_generation", 336501, 429),
        (17, "text_generation", 17, 429),
        (110, "text_generation", 110, 401),
        (14, "text_generation", 14, 401),
        (336003, "text_generation", 336003, 400),
        (336100, "text_generation", 336100, 500),
        (336000, "text_generation", 336000, 500),
        (6, "text_generation", 6, 403),
        ("rpm_rate_limit_exceeded", "text_generation", 429, 429),
        ("invalid_iam_token", "text_generation", 401, 401),
        ("internal_error", "text_generation", 500, 500),
        ("invalid_argument", "text_generation", 400, 400),
        ("account_overdue", "text_generation", 403, 403),
        # v1 and v2 meet by kind.
        (18, "v2", "user_rate_limit_exceeded", 429),
        (336501, "v2", "rpm_rate_limit_exceeded", 429),
        (336502, "v2", "tpm_rate_limit_exceeded", 429),
        (336503, "v2", "input_tpm_rate_limit_exceeded", 429),
        (4, "v2", "cluster_rate_limit_exceeded", 429),
        (110, "v2", "invalid_iam_token", 401),
        (14, "v2", "invalid_iam_token", 401),
        (3, "v2", "invalid_model", 401),
        (336100, "v2", "internal_error", 500),
        (336002, "v2", "malformed_json", 400),
        (336007, "v2", "characters_too_long", 400),
        (336103, "v2", "tokens_too_long", 400),
        ("rpm_rate_limit_exceeded", "v1", 336501, 200),
        ("invalid_model", "v1", 3, 200),
        ("account_overdue", "v1", 17, 200),
        ("QPSLimitReached", "v1", 18, 200),
        ("QPSLimitReached", "v2", "user_rate_limit_exceeded", 429),
        # HTTP statuses. v1 answers with a real code under the status that was asked for.
        (429, "v1", 18, 429),
        (401, "v1", 110, 401),
        (403, "v1", 6, 403),
        (404, "v1", 3, 404),
        (413, "v1", 336007, 413),
        (500, "v1", 336000, 500),
        (503, "v1", 2, 503),
        (418, "v1", 336003, 418),
        (429, "v2", "rpm_rate_limit_exceeded", 429),
        (401, "v2", "invalid_iam_token", 401),
        (403, "v2", "account_overdue", 403),
        (404, "v2", "not_found", 404),
        (503, "v2", "service_unavailable", 503),
        (418, "v2", "http_418", 418),
        (429, "text_generation", 429, 429),
        (503, "text_generation", 503, 503),
        # The services that hand out tokens.
        (401, "oauth", "invalid_client", 401),
        (14, "iam", "IamSignatureInvalid", 403),
        (6, "iam", "AccessDenied", 403),
        (503, "iam", "ServiceUnavailable", 503),
    ],
)
def test_translations(code: int | str, dialect: str, expected: int | str, status: int) -> None:
    played = translate(code, dialect)
    assert (played.code, played.status) == (expected, status)


def test_text_generation_keeps_the_text_of_v1() -> None:
    played = translate("18", "text_generation")
    assert envelope(played) == {"error_code": 18, "error_msg": "Open api qps request limit reached"}
    assert "status" in played.guess


def test_v1_under_a_status_that_no_source_shows_is_a_guess() -> None:
    played = translate(429, "v1")
    assert "status" in played.guess
    assert played.retried_by == ("javascript",)  # the Python SDK gives up on any status that is not 2xx


@pytest.mark.parametrize(
    ("code", "nearest"),
    [
        (20, 19),
        (336009, 336008),
        (33600, 336000),
        (336110, 336105),
        (399, 400),
        ("rpm_rate_limit", "rpm_rate_limit_exceeded"),
        ("QPSLimit", 18),
    ],
)
def test_an_unknown_code_names_the_nearest(code: int | str, nearest: int | str) -> None:
    with pytest.raises(UnknownErrorCode, match=rf"{code}.* neither a Qianfan error code .* {nearest}") as caught:
        translate(code, "v1")
    assert caught.value.code == code
    assert nearest in caught.value.nearest
    assert isinstance(caught.value, ValueError)


@pytest.mark.parametrize("code", [0, -1, 200, 399, 600, "", "9" * 5000, "no such code at all"])
def test_an_unknown_code_is_refused(code: int | str) -> None:
    with pytest.raises(UnknownErrorCode) as caught:
        translate(code, "v2")
    assert caught.value.nearest
    assert all(find(known) for known in caught.value.nearest)


def test_an_unknown_code_in_a_known_range_says_what_is_known() -> None:
    with pytest.raises(UnknownErrorCode, match="336106-336117 are mentioned as a range"):
        translate(336110, "v1")


def test_an_unknown_code_survives_copying_and_pickling() -> None:
    error = UnknownErrorCode(20)
    assert str(pickle.loads(pickle.dumps(error))) == str(copy.copy(error)) == str(error)


@pytest.mark.parametrize("call", [lambda: translate(18, "v3"), lambda: classify("v3", 500, None)])
def test_an_unknown_dialect_is_refused(call: Any) -> None:
    with pytest.raises(ValueError, match="no dialect 'v3'; choose one of text_generation, v1, v2"):
        call()


def test_the_tables_of_kin_are_whole() -> None:
    assert set(KIN) == {spec.kind for spec in ERRORS}
    for v1_code, v2_code in KIN.values():
        assert lookup("v1", v1_code)
        assert lookup("v2", v2_code)
    assert {kind for kind, _ in STATUSES.values()} <= set(KINDS)
    assert set(STATUS_CODES) == set(DIALECTS)
    for dialect, codes in STATUS_CODES.items():
        assert all(lookup(dialect, code) for code in codes.values())
    assert all(lookup("v1", code) for code in V1_CLASS_CODES.values())
