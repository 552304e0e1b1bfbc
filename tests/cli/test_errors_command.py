"""``qfkit errors`` as somebody with an error in hand uses it."""

from __future__ import annotations

import json
from typing import Any

import pytest
from click.testing import CliRunner, Result

from qfkit.cli.errors import command
from qfkit.protocol.errors import DIALECTS, ERRORS


def run(*arguments: str) -> Result:
    return CliRunner().invoke(command, arguments)


def read(*arguments: str) -> list[dict[str, Any]]:
    result = run(*arguments, "--json")
    assert result.exit_code == 0
    data = json.loads(result.output)
    assert isinstance(data, list)
    return data


def test_without_a_code_every_row_is_one_line() -> None:
    result = run()
    assert result.exit_code == 0
    lines = result.output.splitlines()
    assert lines[0].split() == ["dialect", "code", "HTTP", "retry", "message"]
    assert len(lines) == 1 + len(ERRORS)
    assert sum(" ".join(line.split()) == "v1 18 200 yes Open api qps request limit reached" for line in lines) == 1


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_list_of_one_dialect(dialect: str) -> None:
    rows = run("--dialect", dialect).output.splitlines()[1:]
    assert {row.split()[0] for row in rows} == {dialect}
    assert len(rows) == sum(spec.dialect == dialect for spec in ERRORS)


def test_the_list_as_json() -> None:
    data = read()
    assert [(row["dialect"], row["code"]) for row in data] == [(spec.dialect, spec.code) for spec in ERRORS]


def test_a_code_is_explained() -> None:
    result = run("18")
    assert result.exit_code == 0
    assert "v1  18 (QPSLimitReached in the Python SDK)  HTTP 200" in result.output
    assert "Open api qps request limit reached" in result.output
    assert "Meaning:  More requests a second" in result.output
    assert "Remedy:   Back off" in result.output
    assert "Retry:    yes, after a wait" in result.output
    assert "- the official Python SDK, inference calls: 3 attempts" in result.output
    assert '{"error_code": 18, "error_msg": "Open api qps request limit reached"}' in result.output
    assert "As v2:    user_rate_limit_exceeded, HTTP 429" in result.output
    assert "As text_generation: 18, HTTP 429" in result.output


def test_an_error_that_nobody_retries_says_so() -> None:
    assert "Retry:    no; in no client's default retry set" in run("336003").output


def test_a_guess_is_shown_as_one() -> None:
    assert "guessed: message" in run("336104").output


@pytest.mark.parametrize("name", ["rpm_rate_limit_exceeded", "RPM_RATE_LIMIT_EXCEEDED"])
def test_a_name_is_explained(name: str) -> None:
    result = run(name)
    assert result.exit_code == 0
    assert "v2  rpm_rate_limit_exceeded  HTTP 429" in result.output
    assert "As v1:    336501, HTTP 200" in result.output


def test_the_sdks_name_is_explained() -> None:
    assert [row["code"] for row in read("ServerHighLoad")] == [336100]


def test_every_row_of_a_code_is_shown() -> None:
    assert [row["message"] for row in read("invalid_client")] == ["unknown client id", "Client authentication failed"]


def test_a_status_shows_who_else_sends_it() -> None:
    result = run("429")
    assert result.exit_code == 0
    assert result.output.startswith("text_generation  429  HTTP 429")
    _, _, others = result.output.partition("Other errors sent with HTTP 429:")
    assert "rpm_rate_limit_exceeded" in others
    assert "text_generation" not in others


def test_a_status_without_a_row_shows_what_each_dialect_would_send() -> None:
    assert [(row["dialect"], row["code"], row["status"]) for row in read("503")] == [
        ("text_generation", 503, 503),
        ("v1", 2, 503),
        ("v2", "service_unavailable", 503),
    ]
    assert "Other errors sent with" not in run("503").output


def test_a_dialect_translates_the_code_of_another() -> None:
    rows = read("18", "--dialect", "v2")
    assert [(row["dialect"], row["code"], row["status"]) for row in rows] == [("v2", "user_rate_limit_exceeded", 429)]


def test_json_holds_the_body_and_the_kin() -> None:
    (row,) = read("336501")
    assert row["envelope"] == {"error_code": 336501, "error_msg": "Rate limit reached for RPM", "id": "as-xxxxxxxxxx"}
    assert row["kin"] == {
        "text_generation": {"code": 336501, "status": 429},
        "v2": {"code": "rpm_rate_limit_exceeded", "status": 429},
    }
    assert row["retryable"] is True


@pytest.mark.parametrize("spec", ERRORS, ids=lambda spec: f"{spec.dialect}-{spec.code}")
def test_every_code_can_be_explained(spec: Any) -> None:
    result = run(str(spec.code))
    assert result.exit_code == 0
    assert spec.message in result.output
    assert spec.remedy in result.output


@pytest.mark.parametrize(
    ("code", "nearest"), [("20", "19, 18, 17"), ("336009", "336008"), ("rpm_rate", "rpm_rate_limit")]
)
def test_an_unknown_code_is_a_usage_error_that_names_the_nearest(code: str, nearest: str) -> None:
    result = run(code)
    assert result.exit_code == 2
    assert "neither a Qianfan error code nor an HTTP status" in result.output
    assert nearest in result.output


def test_an_unknown_code_is_one_in_every_dialect() -> None:
    assert run("20", "--dialect", "v1").exit_code == 2
    assert run("18", "--dialect", "v3").exit_code == 2
