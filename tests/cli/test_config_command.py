"""``qfkit config``: what a file sets up, what is wrong with it, the schema, an example."""

from __future__ import annotations

import json
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner, Result

from qfkit.cli import main

ROOT = Path(__file__).resolve().parents[2]


def run(*arguments: str) -> Result:
    return CliRunner().invoke(main, ["config", *arguments])


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "mock.yaml"


def test_a_good_file_is_summed_up_without_a_secret(file: Path) -> None:
    file.write_text(
        "auth: off\nforms: [B/path]\nadmin_token: hush-hush\naccounts:\n"
        "  - {name: shop, ak: hush-ak, sk: hush-sk, quota: {qps: 1}, previous: {ak: hush-old}, script: [{reply: x}],\n"
        "     rules: [{on: {stream: true}, script: [{fail: 18}, {reply: y}]}]}\n"
        "  - {}\n",
        "utf-8",
    )
    result = run("check", str(file))
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        f"{file} is good.",
        "Settings: auth: off, forms: [B/path], admin_token: set",
        "Account shop: keys: ak; rules: 1; steps: 3; quota; old keys: ak",
        "Account account-2: keys: all generated; rules: 0; steps: 0",
    ]
    data = json.loads(run("check", str(file), "--json").stdout)
    assert data["ok"] is True
    assert data["settings"] == {"auth": "off", "forms": ["B/path"]}
    assert [account["steps"] for account in data["accounts"]] == [3, 0]
    assert "hush" not in result.output + json.dumps(data)


def test_a_model_that_there_is_not_is_a_note(file: Path) -> None:
    text = "accounts: [{rules: [{on: {model: ernie-4.0-8kk}}], quota: {models: {my-own: {rpm: 1}}}}]\n"
    file.write_text(text, "utf-8")
    result = run("check", str(file))
    assert result.exit_code == 0
    assert (
        "no model of Qianfan is named 'ernie-4.0-8kk' (at accounts[0].rules[0].on.model); did you mean" in result.stdout
    )
    assert "'my-own' (at accounts[0].quota.models.my-own); if it is your own, requests for it need" in result.stdout
    assert len(json.loads(run("check", str(file), "--json").stdout)["notes"]) == 2
    file.write_text(f"models: any\n{text}", "utf-8")
    assert "Note" not in run("check", str(file)).stdout


def test_an_empty_file_says_what_is_done(file: Path) -> None:
    file.write_text("", "utf-8")
    assert "Settings: all at their defaults\nNo accounts: one is made" in run("check", str(file)).stdout


def test_every_mistake_is_a_line_and_the_exit_code_1(file: Path) -> None:
    file.write_text("seeed: 3\nauth: of\n", "utf-8")
    result = run("check", str(file))
    assert (result.exit_code, result.stdout) == (1, "")
    wrong_name, wrong_value, count = result.stderr.splitlines()
    assert wrong_name == f"{file}:1:1: 'seeed' is not a setting (at seeed); did you mean 'seed'? Example: seed: 7"
    assert wrong_value.startswith(f"{file}:2:7: auth is one of 'strict', 'warn', 'off'; got 'of' (at auth); did you ")
    assert count == f"2 problems in {file}"
    result = run("check", str(file), "--json")
    assert result.exit_code == 1
    data = json.loads(result.stdout)
    assert data["ok"] is False
    assert data["problems"][0] == {
        "line": 1,
        "column": 1,
        "path": "seeed",
        "message": "'seeed' is not a setting",
        "hint": "did you mean 'seed'?",
        "example": "seed: 7",
    }


def test_a_file_that_is_not_there_is_told(file: Path) -> None:
    result = run("check", str(file))
    assert result.exit_code == 1
    assert "cannot be read: No such file or directory" in result.stderr


def test_the_schema_is_the_published_one() -> None:
    result = run("schema")
    assert result.exit_code == 0
    assert result.stdout == (ROOT / "docs" / "settings.schema.json").read_text("utf-8")
    jsonschema.Draft202012Validator.check_schema(json.loads(result.stdout))


def test_the_example_is_good_and_explains_itself(file: Path) -> None:
    result = run("example")
    file.write_text(result.stdout, "utf-8")
    assert "# yaml-language-server: $schema=" in result.stdout
    assert run("check", str(file)).exit_code == 0
    keys = [line for line in result.stdout.splitlines() if line and not line.startswith((" ", "#", "accounts"))]
    assert all("#" in line for line in keys), "each setting has a comment"
