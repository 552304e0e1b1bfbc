"""``qfkit chat -i``: a talk, from a terminal or a pipe."""

from __future__ import annotations

import builtins
import io
import json
import stat

import pytest
from click.testing import CliRunner

from qfkit.cli import chat_interactive
from qfkit.cli.chat import command
from qfkit.client import Client


@pytest.fixture
def talk(account):
    def invoke(*lines, arguments=()):
        runner = CliRunner(env=account.env())
        stdin = "".join(f"{line}\n" for line in lines)
        return runner.invoke(command, ["-i", *map(str, arguments)], input=stdin, catch_exceptions=False)

    return invoke


def sent(account, number=-1):
    return [message["content"] for message in account.requests[number].json["messages"]]


def test_the_talk_is_remembered_and_only_answers_are_printed(talk, account):
    account.stream(["你好", "小明"]).then.reply("你叫小明")
    result = talk("我叫小明", "", "我叫什么?")
    assert (result.exit_code, result.stdout, result.stderr) == (0, "你好小明\n你叫小明\n", "")
    assert sent(account) == ["我叫小明", "你好小明", "我叫什么?"]


def test_prompt_system_and_parameters(talk, account):
    account.echo().loop()
    result = talk("二", arguments=["一", "--system", "短", "--temperature", 0.5, "--dialect", "v2"])
    assert result.stdout == "一\n二\n"
    assert sent(account) == ["短", "一", "一", "二"]
    assert account.requests[-1].json["temperature"] == 0.5


def test_undo_clear_and_system(talk, account):
    account.echo().loop()
    result = talk(
        "一", "/undo", "/undo", "二", "/system 长", "三", "/clear", "四", "/system", arguments=["--dialect", "v1"]
    )
    assert result.exit_code == 0
    chats = [entry.json for entry in account.requests if entry.operation == "chat"]
    assert [[message["content"] for message in body["messages"]] for body in chats] == [
        ["一"],
        ["二"],
        ["二", "二", "三"],
        ["四"],
    ]
    assert [body.get("system") for body in chats] == [None, None, "长", "长"]
    for told in ("0 turns left", "there is nothing to undo", "system prompt: 长", "forgotten"):
        assert told in result.stderr


def test_save_and_load(talk, account, tmp_path):
    account.echo().loop()
    path = tmp_path / "talk.json"
    assert talk("一", f"/save {path}", arguments=["--system", "短"]).exit_code == 0
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    result = talk(f"/load {path}", "二", arguments=["--temperature", "0.5"])
    assert "1 turns loaded" in result.stderr
    assert sent(account) == ["短\n\n一", "短\n\n一", "二"]  # the first answer was an echo
    assert account.requests[-1].json["temperature"] == 0.5


@pytest.mark.parametrize(
    ("line", "told"),
    [
        ("/sav x", "there is no /sav: did you mean /save?"),
        ("/xyzzy", "there is no /xyzzy; /help lists what there is"),
        ("/save", "name a file: /save talk.json"),
        ("/load", "name a file: /load talk.json"),
        ("/load /nowhere/x.json", "/nowhere/x.json"),
        ("/save /nowhere/x.json", "No such file"),
    ],
)
def test_a_command_that_does_not_work_ends_nothing(talk, account, line, told):
    account.reply("好")
    result = talk(line, "hi")
    assert (result.exit_code, result.stdout) == (1, "好\n")  # a script is told
    assert told in result.stderr


def test_help_lists_every_command(talk, account):
    result = talk("/help")
    assert result.exit_code == 0
    for name in ("/undo", "/clear", "/save FILE", "/load FILE", "/system", "/help", "/quit"):
        assert name in result.stderr
    assert len(account.requests) == 0


def test_quit_ends_it(talk, account):
    assert talk("/quit", "hi").exit_code == 0
    assert len(account.requests) == 0


def test_two_slashes_say_one(talk, account):
    account.echo()
    assert talk("//undo").stdout == "/undo\n"


def test_a_failure_ends_the_answer_not_the_talk(talk, account):
    account.fail(17).then.stream(["你", "好"], cut_after=1).then.reply("还在")
    result = talk("一", "二", "三", arguments=["--dialect", "v1"])
    assert (result.exit_code, result.stdout) == (1, "你\n还在\n")
    assert "Error: v1 error 17" in result.stderr
    assert "Error: the stream broke off" in result.stderr
    chats = [entry for entry in account.requests if entry.operation == "chat"]
    assert [message["content"] for message in chats[-1].json["messages"]] == ["三"]


def test_ctrl_c_ends_the_answer_only(talk, account, monkeypatch):
    account.stream(["长", "篇"]).then.reply("好")
    show, streams = chat_interactive.show_stream, []

    def interrupted(stream):
        streams.append(stream)
        if len(streams) == 1:
            next(stream)
            raise KeyboardInterrupt
        show(stream)

    monkeypatch.setattr(chat_interactive, "show_stream", interrupted)
    result = talk("一", "二")
    assert (result.exit_code, result.stdout) == (0, "好\n")
    assert "not remembered" in result.stderr
    assert streams[0].ended
    assert sent(account) == ["二"]


def test_pictures_go_with_the_first_question(talk, account, tmp_path):
    account.reply("猫").then.reply("黑")
    picture = tmp_path / "cat.png"
    picture.write_bytes(
        b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR\0\0\0\x10\0\0\0\x10\x08\0\0\0\0:\x98\xa0\xbd\0\0\0\0IEND\xaeB`\x82"
    )
    arguments = ["--dialect", "v2", "--model", "ernie-4.5-turbo-vl", "--image", picture]
    result = talk("什么?", "颜色?", arguments=arguments)
    assert (result.exit_code, result.stdout) == (0, "猫\n黑\n"), result.stderr
    messages = account.requests[-1].json["messages"]
    assert [part["type"] for part in messages[0]["content"]].count("image_url") == 1
    assert isinstance(messages[2]["content"], str) or "image_url" not in json.dumps(messages[2])


# At a terminal


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def typed(account, monkeypatch, capsys):
    """A talk whose lines a person types; an exception among them is a key such as Ctrl-C."""

    def type_(*lines):
        keys = iter(lines)

        def read(prompt):
            assert prompt == "> "
            line = next(keys, EOFError())
            if isinstance(line, BaseException):
                raise line
            return line

        monkeypatch.setattr(builtins, "input", read)
        monkeypatch.setattr("sys.stdin", Terminal())
        with Client(account.url, account.credentials) as client:
            status = chat_interactive.Talk(client, None, {}).run(None, [])
        return (status, *capsys.readouterr())

    return type_


def test_ctrl_d_quits_and_ctrl_c_does_not(typed, account):
    account.reply("好")
    status, out, err = typed(KeyboardInterrupt(), "hi")
    assert (status, out) == (0, "好\n")
    assert err.count("Ctrl-D") == 2  # the greeting, and what Ctrl-C was answered


def test_a_person_has_seen_what_failed(typed, account):
    account.fail(400)
    status, _, err = typed("hi")
    assert status == 0
    assert "Error: text_generation error" in err
