"""``qfkit journal``: the journal of a running mock, on the terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading

import pytest
from click.testing import CliRunner

from mock_server import MockServer
from qfkit import Client
from qfkit.cli import main
from qfkit.client import QianfanError, RetryPolicy

PROGRAM = "from qfkit.cli import main; main()"


@pytest.fixture
def server():
    with MockServer() as server:
        yield server


@pytest.fixture
def account(server):
    account = server.account(name="shop")
    account.fail(18).then.reply("晴")
    with Client(server.url, account.credentials, "v1", retry=RetryPolicy(attempts=1)) as client:
        with pytest.raises(QianfanError):
            client.chat("天气")
        client.chat("明天")
    return account


def run(*args):
    return CliRunner().invoke(main, ["journal", *args], env={"QFKIT_ADMIN_TOKEN": None})


def test_one_line_a_request(server, account):
    result = run("--url", server.url)
    assert result.exit_code == 0, result.output
    token, refused, answered = result.output.splitlines()
    assert "[shop] POST /oauth/2.0/token → 200 by default, sent to the end" in token
    assert "→ 200 18 by fail 18, sent to the end" in refused
    assert "ernie-3.5-8k → 200 by reply '晴'" in answered


def test_filters_and_accounts(server, account):
    assert "#2" in run("--url", server.url, "--filter", "code=18").output
    assert len(run("--url", server.url, "--filter", "contains=明天", "--json").output.splitlines()) == 1
    nobody = run("--url", server.url, "--account", "nobody")
    assert "no request fits" in nobody.output
    # A filter may be called like an argument of whoever sends it.
    assert len(run("--url", server.url, "--filter", "method=POST", "--json").output.splitlines()) == 3
    wrong = run("--url", server.url, "--filter", "modell=x")
    assert wrong.exit_code == 1
    assert "model" in wrong.output
    assert run("--url", server.url, "--filter", "model").exit_code == 2


def test_json_is_what_python_has(server, account):
    printed = [json.loads(line) for line in run("--url", server.url, "--json").output.splitlines()]
    assert printed == [json.loads(json.dumps(entry.to_dict())) for entry in server.requests]


def test_files(server, account, tmp_path):
    har, lines = tmp_path / "run.har", tmp_path / "run.jsonl"
    result = run("--url", server.url, "--har", str(har), "--export", str(lines))
    assert result.output.splitlines() == [f"wrote {har}", f"wrote {lines}"]
    assert len(json.loads(har.read_text("utf-8"))["log"]["entries"]) == 3
    assert lines.read_text("utf-8") == server.requests.to_jsonl()
    assert run("--url", server.url, "--har", str(har), "--follow").exit_code == 2


def test_no_secret_is_printed(server, account, tmp_path):
    keys = account.credentials
    output = run("--url", server.url, "--json").output
    assert not [secret for secret in keys.secrets() if secret in output]


def test_a_mock_that_is_not_there():
    result = run("--url", "http://127.0.0.1:1")
    assert result.exit_code == 1
    assert "no mock answers at http://127.0.0.1:1" in result.output


def test_following_prints_what_comes(server, account):
    process = subprocess.Popen(
        [
            sys.executable,
            "-c",
            PROGRAM,
            "journal",
            "--url",
            server.url,
            "--follow",
            "--json",
        ],
        stdout=subprocess.PIPE,
        text=True,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        stop = threading.Timer(60, process.kill)
        stop.start()
        seen = [json.loads(process.stdout.readline())["number"] for _ in range(3)]
        with Client(server.url, account.credentials, "v2") as client:
            client.chat("后天")
        seen.append(json.loads(process.stdout.readline())["number"])
        stop.cancel()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()
    assert seen == [1, 2, 3, 4]
