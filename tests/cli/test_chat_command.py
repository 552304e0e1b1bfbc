"""``qfkit chat``: one question, from a shell or a script."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from qfkit.cli.chat import command

DIALECTS = ["text_generation", "v1", "v2"]


@pytest.fixture
def qfkit_chat(account):
    def invoke(*arguments, stdin=None, **environ):
        runner = CliRunner(env={**account.env(), **environ})
        return runner.invoke(command, list(arguments), input=stdin, catch_exceptions=False)

    return invoke


@pytest.mark.parametrize("streamed", [[], ["--stream"]])
@pytest.mark.parametrize("dialect", DIALECTS)
def test_it_prints_the_answer_and_nothing_else(qfkit_chat, account, dialect, streamed):
    account.reply("晴,25 度。")
    result = qfkit_chat("天气?", "--dialect", dialect, *streamed)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "晴,25 度。\n", "")
    (entry,) = [entry for entry in account.requests if entry.operation == "chat"]
    assert entry.dialect == dialect


def test_the_dialect_follows_the_keys(qfkit_chat, account):
    assert qfkit_chat("hi").exit_code == 0
    assert qfkit_chat("hi", QIANFAN_ACCESS_KEY=None, QIANFAN_AK=None).exit_code == 0
    assert [entry.dialect for entry in account.requests] == ["text_generation", "v2"]


@pytest.mark.parametrize("streamed", [[], ["--stream"]])
def test_json_for_programs(qfkit_chat, account, streamed):
    account.fail(336100).then.reply("好")
    result = qfkit_chat("hi", "--dialect", "v1", "--json", *streamed)
    data = json.loads(result.stdout)
    assert result.stdout.count("\n") == 1
    assert (data["text"], data["finish_reason"], data["model"]) == ("好", "normal", "ernie-3.5-8k")
    assert set(data["usage"]) == {"prompt_tokens", "completion_tokens", "total_tokens"}
    assert [(attempt["number"], attempt["code"]) for attempt in data["attempts"]] == [(1, 336100), (2, None)]
    assert data["attempts"][1]["wait_reason"] == "backoff"
    assert ("ttft" in data) == bool(streamed)


def test_the_prompt_may_come_from_standard_input(qfkit_chat, account):
    assert qfkit_chat("-", stdin="多行\n提问").exit_code == 0
    assert account.requests[-1].json["messages"] == [{"role": "user", "content": "多行\n提问"}]


def test_standard_input_that_is_no_text(qfkit_chat):
    result = qfkit_chat("-", stdin=b"\xff\xfe")
    assert (result.exit_code, result.stderr) == (1, "Error: standard input is not text in utf-8\n")


@pytest.mark.parametrize(
    ("dialect", "limit"),
    [("text_generation", "max_tokens"), ("v1", "max_output_tokens"), ("v2", "max_completion_tokens")],
)
def test_parameters_reach_the_request_under_the_dialects_names(qfkit_chat, account, dialect, limit):
    options = ["--temperature", "0.5", "--top-p", "0.9", "--max-tokens", "64", "--system", "短"]
    assert qfkit_chat("hi", "--dialect", dialect, *options).exit_code == 0
    body = account.requests[-1].json
    assert (body["temperature"], body["top_p"], body[limit]) == (0.5, 0.9, 64)
    assert "短" in json.dumps(body, ensure_ascii=False)


def test_a_model_can_be_chosen(qfkit_chat, account):
    assert qfkit_chat("hi", "--dialect", "v2", "--model", "ernie-4.0-8k").exit_code == 0
    assert account.requests[-1].json["model"] == "ernie-4.0-8k"


@pytest.mark.parametrize("streamed", [[], ["--stream"]])
def test_an_error_is_one_clean_message(qfkit_chat, account, streamed):
    account.fail(17)
    result = qfkit_chat("hi", "--dialect", "v1", *streamed)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: v1 error 17 (HTTP 200): Open api daily request limit reached")
    assert "Traceback" not in result.stderr


def test_a_broken_stream_keeps_what_came(qfkit_chat, account):
    account.stream(["你", "好"], cut_after=1)
    result = qfkit_chat("hi", "--stream")
    assert (result.exit_code, result.stdout) == (1, "你\n")
    assert "Error: the stream broke off after 1 chunks" in result.stderr


def test_a_wrong_key_is_explained(qfkit_chat):
    result = qfkit_chat("hi", QIANFAN_SECRET_KEY="not the one")
    assert result.exit_code == 1
    assert "text_generation error 401" in result.stderr
    assert "not the one" not in result.stderr


def test_a_model_that_v1_does_not_know(qfkit_chat):
    result = qfkit_chat("hi", "--dialect", "v1", "--model", "ernie-4.0-8kk")
    assert result.exit_code == 2  # nothing was sent
    assert "ernie-4.0-8k" in result.stderr


def test_where_nobody_listens(qfkit_chat):
    result = qfkit_chat("hi", "--base-url", "http://127.0.0.1:1", "--attempts", "1")
    assert result.exit_code == 1
    assert "Connection refused" in result.stderr


def test_without_keys_it_says_which():
    result = CliRunner().invoke(command, ["hi"], catch_exceptions=False)
    assert result.exit_code == 2
    assert "QIANFAN_ACCESS_KEY and QIANFAN_SECRET_KEY" in result.stderr


@pytest.mark.parametrize(
    ("environ", "arguments", "told"),
    [
        ({"QIANFAN_BASE_URL": None}, [], "QIANFAN_BASE_URL"),
        ({"QIANFAN_BASE_URL": "https://aip.baidubce.com"}, [], "https://aip.baidubce.com"),
        ({}, ["--base-url", "https://aip.baidubce.com"], "qfkit mock"),
        ({"QIANFAN_CONSOLE_API_BASE_URL": None}, ["--dialect", "v2"], "QIANFAN_CONSOLE_API_BASE_URL"),
        ({"QIANFAN_IAM_BASE_URL": "https://iam.bj.baidubce.com"}, ["--dialect", "v2"], "QIANFAN_IAM_BASE_URL"),
    ],
)
def test_baidus_own_hosts_are_not_called_by_accident(qfkit_chat, account, environ, arguments, told):
    result = qfkit_chat("hi", *arguments, **environ)
    assert result.exit_code == 2
    assert "--live" in result.stderr
    assert told in result.stderr
    assert len(account.requests) == 0


def test_live_allows_them(qfkit_chat, monkeypatch):
    from qfkit.client import Client, QianfanError

    asked = []

    def chat(self, prompt, **params):
        asked.append(self.base_url)
        raise QianfanError("not really")

    monkeypatch.setattr(Client, "chat", chat)
    result = qfkit_chat("hi", "--live", QIANFAN_BASE_URL=None)
    assert (result.exit_code, asked) == (1, ["https://aip.baidubce.com"])


def test_help_names_the_environment():
    result = CliRunner().invoke(command, ["--help"])
    for words in ("QIANFAN_BASE_URL", "QIANFAN_ACCESS_KEY", "--live", "--json"):
        assert words in result.stdout
