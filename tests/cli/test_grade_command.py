"""``qfkit grade``: a verdict on the command line, of a running mock or of a file."""

from __future__ import annotations

import json

import pytest
import requests
from click.testing import CliRunner

from mock_server import MockServer
from qfkit.cli import main


@pytest.fixture
def mock():
    with MockServer(port=0) as server:
        yield server


def ask(account, question="q"):
    return requests.post(
        f"{account.url}/v2/chat/completions",
        json={"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": question}]},
        headers={"Authorization": f"Bearer {account.credentials.bearer_token}"},
        timeout=10,
    )


def run(*arguments):
    return CliRunner().invoke(main, ["grade", *map(str, arguments)])


def test_a_good_client(mock):
    ask(mock.account(name="shop"))
    result = run("--url", mock.url)
    assert result.exit_code == 0
    assert result.output == (
        "account shop: verdict: ok (1 call, 1 attempt)\n"
        "grouping: explicit: the client says itself which attempts belong together, or no question was tried twice\n"
    )


def test_every_account_that_was_used_is_judged(mock):
    good, bad, _ = (mock.account(name=name) for name in ("good", "bad", "unused"))
    bad.fail(500)
    ask(good)
    ask(bad)
    result = run("--url", mock.url)
    assert result.exit_code == 1
    assert "account good: verdict: ok" in result.output
    assert "account bad: verdict: not-retried" in result.output
    assert "unused" not in result.output
    assert run("--url", mock.url, "--account", "good").exit_code == 0
    assert run("--url", mock.url, "--ignore", "not-retried").exit_code == 0
    assert run("--url", mock.url, "--noticed").exit_code == 0


def test_the_line_can_be_moved(mock, tmp_path):
    account = mock.account(name="shop")
    account.fail(429, retry_after=25)
    ask(account)
    file = tmp_path / "journal.jsonl"
    file.write_text(account.requests.to_jsonl(), "utf-8")
    for source in (("--url", mock.url), ("--journal", file)):
        assert run(*source).exit_code == 1
        assert run(*source, "--limits", "patience=20").exit_code == 0


def test_json(mock):
    account = mock.account(name="shop")
    account.fail(500)
    ask(account)
    result = run("--url", mock.url, "--json", "--schedule", "openai")
    data = json.loads(result.output)
    assert (result.exit_code, data["ok"]) == (1, False)
    assert data["accounts"]["shop"]["findings"][0]["code"] == "not-retried"
    assert data["accounts"]["shop"]["schedule"]["declared"] == "openai(initial=0.5, max=8)"


def test_a_file_gives_the_same_verdict(mock, tmp_path):
    account, other = mock.account(name="shop"), mock.account(name="other")
    account.fail(500)
    ask(account)
    ask(other)
    requests.get(f"{mock.url}/nothing", timeout=10)
    file = tmp_path / "journal.jsonl"
    file.write_text(mock.requests.to_jsonl() + "\n", "utf-8")
    result = run("--journal", file)
    assert result.exit_code == 1
    assert result.output == run("--url", mock.url).output
    assert run("--journal", file, "--noticed").exit_code == 0
    assert run("--journal", file, "--account", "other").exit_code == 0


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--schedule", "opneai"], "did you mean 'openai'"),
        (["--limits", "cpa=1"], "did you mean 'cap'"),
        (["--ignore", "no-backof"], "did you mean 'no-backoff'"),
        (["--url", "http://127.0.0.1:1"], "no mock answers at http://127.0.0.1:1 (ConnectionError): start one"),
        (["--journal", "missing.jsonl"], "does not exist"),
    ],
)
def test_what_cannot_be_judged_has_its_own_exit_code(arguments, message):
    result = run(*arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.output.split())


def test_an_account_that_is_not_there(mock):
    mock.account(name="shop")
    result = run("--url", mock.url, "--account", "shpo")
    assert (result.exit_code, result.output) == (2, "Error: no account is named 'shpo'; did you mean 'shop'?\n")
    result = run("--url", mock.url)
    assert (result.exit_code, result.output) == (2, "Error: no account has been used: there is nothing to judge\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{}", "journal.jsonl:1 is no entry of a journal (KeyError: 'account')"),
        ("\n[", "journal.jsonl:2 is no entry of a journal (JSONDecodeError"),
        ('{"account": "a"}', "account a: this is no entry of a journal: KeyError: 'headers'"),
        ("", "no account has been used"),
    ],
)
def test_a_file_that_is_no_journal(tmp_path, text, message):
    file = tmp_path / "journal.jsonl"
    file.write_text(text, "utf-8")
    result = run("--journal", file)
    assert result.exit_code == 2
    assert message in result.output


def test_a_mock_with_a_token():
    with MockServer(port=0, admin_token="open sesame") as mock:
        ask(mock.account(name="shop"))
        assert run("--url", mock.url).exit_code == 2
        assert run("--url", mock.url, "--token", "open sesame").exit_code == 0


def test_another_server_is_told_from_a_mock(monkeypatch):
    answer = requests.Response()
    answer.status_code, answer._content = 404, b"<html>"
    monkeypatch.setattr(requests.Session, "request", lambda *_, **__: answer)
    result = run("--url", "http://127.0.0.1:1")
    assert result.exit_code == 2
    assert "answers 404: is that a mock of qfkit?" in result.output
