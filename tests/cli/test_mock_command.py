"""``qfkit mock`` as a CI job uses it: a process of its own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys

import pytest
import requests

from qfkit.cli.mock import DEFAULT_KEYS, default_keys


def start(*arguments: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "qfkit", "mock", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | (env or {}),
    )


def end(process: subprocess.Popen[str], number: int = signal.SIGTERM) -> tuple[str, str]:
    process.send_signal(number)
    try:
        return process.communicate(timeout=20)
    finally:
        process.kill()


def ask(url: str, token: str) -> requests.Response:
    return requests.post(
        f"{url}/v2/chat/completions",
        json={"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "你好"}]},
        headers={"Authorization": f"Bearer {token}"},
        timeout=10,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_program_reads_one_line_and_a_signal_ends_it_cleanly(number):
    process = start("--port", "0", "--json")
    ready = json.loads(process.stdout.readline())
    assert ready["pid"] == process.pid
    assert ask(ready["url"], ready["env"]["OPENAI_API_KEY"]).status_code == 200
    _, errors = end(process, number)
    assert (process.returncode, errors) == (0, "")


def test_a_person_reads_where_it_is_and_how_to_point_each_client_at_it():
    process = start("--port", "0")
    text = ""
    while "For code that signs" not in text:
        text += process.stdout.readline()
    end(process)
    for part in (
        "Mock Qianfan at http://127.0.0.1:",
        "export QIANFAN_ACCESS_KEY=",
        "export OPENAI_BASE_URL=",
        "OpenAI(",
    ):
        assert part in text


def test_the_default_account_takes_its_keys_from_the_environment():
    process = start("--port", "0", "--json", env={"QIANFAN_BEARER_TOKEN": "bce-v3/ALTAK-mine/abc"})
    ready = json.loads(process.stdout.readline())
    assert ask(ready["url"], "bce-v3/ALTAK-mine/abc").status_code == 200
    assert ask(ready["url"], str(DEFAULT_KEYS.bearer_token)).status_code == 401
    end(process)


def test_options_win_over_the_environment_and_that_over_the_documented_keys():
    keys = default_keys({"access_key": "option"}, {"QIANFAN_ACCESS_KEY": "environment", "QIANFAN_AK": "ak"})
    assert (keys.access_key, keys.ak, keys.sk) == ("option", "ak", DEFAULT_KEYS.sk)


def test_a_port_that_is_taken_is_said_plainly():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = start("--port", str(taken.getsockname()[1]))
        _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "another program has it; choose one with --port" in errors
    assert "Traceback" not in errors


def test_the_configuration_gives_settings_accounts_and_scripts(tmp_path):
    file = tmp_path / "mock.yaml"
    file.write_text(
        "accounts:\n  - bearer_token: bce-v3/ALTAK-x/y\n    script:\n      - fail: rpm_rate_limit_exceeded\n"
        "      - reply: 好\n",
        "utf-8",
    )
    ready_file = tmp_path / "ready"
    process = start("--port", "0", "--config", str(file), "--json", "--ready-file", str(ready_file))
    url = json.loads(process.stdout.readline())["url"]
    assert ask(url, "bce-v3/ALTAK-x/y").status_code == 429
    assert ask(url, "bce-v3/ALTAK-x/y").json()["choices"][0]["message"]["content"] == "好"
    end(process)
    assert ready_file.read_text("utf-8").strip() == url


def test_a_mistake_in_the_configuration_is_one_clear_line(tmp_path):
    file = tmp_path / "mock.yaml"
    file.write_text("atuh: off\n", "utf-8")
    process = start("--port", "0", "--config", str(file))
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 1
    assert "mock.yaml:1:1: 'atuh' is not a setting (at atuh); did you mean 'auth'?" in errors
    assert "Traceback" not in errors


def test_keys_on_the_command_line_and_accounts_in_the_file_do_not_go_together(tmp_path):
    file = tmp_path / "mock.yaml"
    file.write_text("accounts:\n  - name: a\n", "utf-8")
    process = start("--port", "0", "--config", str(file), "--access-key", "k")
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "names the accounts" in errors


@pytest.mark.parametrize("host", ["0.0.0.0", "192.0.2.7", "mock.example"])
def test_it_does_not_listen_for_others_without_a_token(host):
    process = start("--port", "0", "--host", host, env={"QFKIT_ADMIN_TOKEN": ""})
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert f"{host} is not loopback" in errors
    assert "secrets.token_urlsafe" in errors, "says how to make a token"


@pytest.mark.parametrize("how", ["option", "environment", "file"])
def test_with_a_token_it_listens_for_others(tmp_path, how):
    file = tmp_path / "mock.yaml"
    file.write_text("admin_token: hush-hush\n" if how == "file" else "", "utf-8")
    options = ["--admin-token", "hush-hush"] if how == "option" else []
    env = {"QFKIT_ADMIN_TOKEN": "hush-hush" if how == "environment" else ""}
    process = start("--port", "0", "--host", "0.0.0.0", "--config", str(file), *options, env=env)
    text = process.stdout.readline()
    output, errors = end(process)
    assert text.startswith("Mock Qianfan at http://")
    assert "hush-hush" not in text + output + errors


def test_options_are_settings(tmp_path):
    process = start("--port", "0", "--json", "--unmatched", "refuse", "--quota", "none")
    ready = json.loads(process.stdout.readline())
    answer = ask(ready["url"], ready["env"]["OPENAI_API_KEY"])
    assert (answer.status_code, "qfkit" in answer.text) == (400, True)
    end(process)


def test_watching_needs_a_file():
    process = start("--port", "0", "--watch")
    _, errors = process.communicate(timeout=20)
    assert process.returncode == 2
    assert "name it with --config" in errors


def test_a_watched_file_is_used_when_it_changes_and_kept_when_it_is_wrong(tmp_path):
    file = tmp_path / "mock.yaml"
    file.write_text("accounts: [{name: a, bearer_token: key-a}]\n", "utf-8")
    process = start("--port", "0", "--json", "--config", str(file), "--watch")
    url = json.loads(process.stdout.readline())["url"]
    file.write_text("accounts: [{name: a, bearer_token: key-a, script: [{reply: 二}]}]\n", "utf-8")
    assert "has changed and is in use: changed a" in process.stderr.readline()
    file.write_text("acounts: []\n", "utf-8")
    assert "mock.yaml:1:1: 'acounts' is not a setting" in process.stderr.readline()
    assert "the settings from before it stay" in process.stderr.readline()
    assert ask(url, "key-a").json()["choices"][0]["message"]["content"] == "二"
    end(process)


def test_sigterm_lets_an_open_stream_end():
    process = start("--port", "0", "--json", "--interval", "0.02")
    ready = json.loads(process.stdout.readline())
    body = {"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "你好"}], "stream": True}
    headers = {"Authorization": f"Bearer {ready['env']['OPENAI_API_KEY']}"}
    with requests.post(
        f"{ready['url']}/v2/chat/completions", json=body, headers=headers, stream=True, timeout=10
    ) as response:
        lines = response.iter_lines()
        assert next(lines).startswith(b"data: ")
        process.send_signal(signal.SIGTERM)
        assert b"data: [DONE]" in list(lines)
    assert process.wait(timeout=20) == 0
    process.communicate()
