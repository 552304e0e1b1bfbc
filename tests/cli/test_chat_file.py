"""``qfkit chat --file``: many prompts, results that survive whatever happens."""

from __future__ import annotations

import io
import json
import sys
import threading

import pytest
from click.testing import CliRunner
from hypothesis import given
from hypothesis import strategies as st

from qfkit.cli import chat_results
from qfkit.cli.chat import command
from qfkit.cli.chat_progress import progress
from qfkit.client import Client
from qfkit.clock import SystemClock


@pytest.fixture
def account(server):
    account = server.account()
    account.echo().loop()
    return account


@pytest.fixture
def waits(monkeypatch):
    """What the client would have slept."""
    slept = []
    monkeypatch.setattr(SystemClock, "sleep", lambda self, seconds: slept.append(seconds))
    return slept


@pytest.fixture
def prompts(tmp_path):
    def write(*lines, name="prompts.txt"):
        path = tmp_path / name
        texts = [line if isinstance(line, str) else json.dumps(line, ensure_ascii=False) for line in lines]
        path.write_text("".join(f"{text}\n" for text in texts), "utf-8")
        return str(path)

    return write


@pytest.fixture
def out(tmp_path):
    return tmp_path / "results.jsonl"


@pytest.fixture
def qfkit_chat(account, waits):
    def invoke(*arguments, stdin=None, **environ):
        runner = CliRunner(env={**account.env(), **environ})
        return runner.invoke(command, [str(each) for each in arguments], input=stdin, catch_exceptions=False)

    return invoke


def read(text):
    return sorted((json.loads(line) for line in text.splitlines()), key=lambda result: result["index"])


def texts(out):
    return [result["text"] for result in read(out.read_text("utf-8"))]


def asked(account):
    return sorted(entry.json["messages"][-1]["content"] for entry in account.requests)


def test_plain_prompts_one_a_line(qfkit_chat, account, prompts, out):
    result = qfkit_chat("--file", prompts("一", "", "  二  ", "三"), "--out", out, "--max-workers", 2)
    assert (result.exit_code, result.stdout, result.stderr) == (0, "", "")
    found = read(out.read_text("utf-8"))
    assert [(each["index"], each["id"], each["text"], each["error"]) for each in found] == [
        (0, None, "一", None),
        (1, None, "二", None),
        (2, None, "三", None),
    ]
    assert len({each["digest"] for each in found}) == 3
    assert set(found[0]["usage"]) == {"prompt_tokens", "completion_tokens", "total_tokens"}
    assert [attempt["status"] for attempt in found[0]["attempts"]] == [200]


def test_json_lines_with_parameters_of_their_own(qfkit_chat, account, prompts):
    turns = [{"role": "user", "content": "a"}, {"role": "assistant", "content": "b"}, {"role": "user", "content": "c"}]
    file = prompts({"id": "x", "prompt": "甲", "temperature": 0.9}, {"id": 7, "messages": turns})
    result = qfkit_chat("--file", file, "--temperature", 0.2, "--system", "短", "--dialect", "v1")
    assert result.exit_code == 0
    first, second = read(result.stdout)
    assert (first["id"], first["text"], second["id"], second["text"]) == ("x", "甲", 7, "c")
    bodies = {entry.json["messages"][-1]["content"]: entry.json for entry in account.requests if entry.json}
    assert (bodies["甲"]["temperature"], bodies["c"]["temperature"]) == (0.9, 0.2)
    assert bodies["c"]["system"] == "短"
    assert bodies["c"]["messages"] == turns


def test_prompts_may_come_from_standard_input(qfkit_chat, account):
    result = qfkit_chat("--file", "-", stdin="一\n二\n")
    assert [each["text"] for each in read(result.stdout)] == ["一", "二"]


def test_a_failure_is_a_result_and_the_exit_status(qfkit_chat, account, prompts, out, waits):
    account.on(contains="坏").fail(17).loop()
    account.on(contains="忙").fail(18, times=2).then.reply("好")
    result = qfkit_chat("--file", prompts("一", "坏", "忙"), "--out", out, "--dialect", "v1")
    assert result.exit_code == 1
    assert "1 of 3 failed" in result.stderr
    good, bad, busy = read(out.read_text("utf-8"))
    assert (good["error"], bad["text"]) == (None, None)
    assert (bad["error"]["type"], bad["error"]["code"], bad["error"]["retryable"]) == ("RateLimitError", 17, False)
    assert [attempt["code"] for attempt in bad["attempts"]] == [17]
    assert [attempt["code"] for attempt in busy["attempts"]] == [18, 18, None]
    assert len(waits) == 2


def test_resume_asks_only_what_has_no_answer(qfkit_chat, account, prompts, out):
    account.on(contains="坏").fail(17, times=1).then.echo().loop()
    file = prompts("一", "坏", "三")
    assert qfkit_chat("--file", file, "--out", out, "--dialect", "v1").exit_code == 1
    before = len(account.requests)
    assert qfkit_chat("--file", file, "--out", out, "--dialect", "v1", "--resume").exit_code == 0
    chats = [entry for entry in list(account.requests)[before:] if entry.operation == "chat"]
    assert [entry.json["messages"][-1]["content"] for entry in chats] == ["坏"]
    assert texts(out) == ["一", "坏", "三"]  # the failure is gone from the file
    before = len(account.requests)
    assert qfkit_chat("--file", file, "--out", out, "--dialect", "v1", "--resume").exit_code == 0
    assert len(account.requests) == before


def test_resume_knows_prompts_by_what_they_ask_not_by_their_place(qfkit_chat, account, prompts, out):
    assert qfkit_chat("--file", prompts("一", "二"), "--out", out).exit_code == 0
    assert qfkit_chat("--file", prompts("新", "一", "一", "二"), "--out", out, "--resume").exit_code == 0
    assert asked(account) == sorted(["一", "二", "新", "一"])  # the same prompt twice wants two answers
    # Another temperature is another question.
    assert qfkit_chat("--file", prompts("二"), "--out", out, "--resume", "--temperature", 0.3).exit_code == 0
    assert len(account.requests) == 5


def test_resume_without_an_earlier_run_begins(qfkit_chat, prompts, out):
    assert qfkit_chat("--file", prompts("一"), "--out", out, "--resume").exit_code == 0
    assert texts(out) == ["一"]


@given(cut=st.integers(0, 400), other=st.booleans())
def test_a_file_cut_anywhere_is_whole_after_resume(tmp_path_factory, cut, other):
    path = tmp_path_factory.mktemp("cut") / "results.jsonl"
    lines = [{"index": n, "id": None, "digest": f"d{n}", "text": "好" * n, "error": None} for n in range(4)]
    whole = "".join(f"{json.dumps(line, ensure_ascii=False)}\n" for line in lines).encode()
    cut = min(cut, len(whole))
    path.write_bytes(whole[:cut])
    found = chat_results.answered(path)
    kept = path.read_bytes()
    assert kept == b"" or kept.endswith(b"\n")
    assert whole.startswith(kept)
    assert sum(found.values()) == kept.count(b"\n") == len([json.loads(line) for line in kept.splitlines()])
    # Nothing that had come whole is lost, not even where only the end of its line was.
    assert kept.count(b"\n") == sum(len(line) - 1 <= cut - start for start, line in offsets(whole))
    assert list(path.parent.iterdir()) == [path]


def offsets(data):
    start = 0
    for line in data.splitlines(keepends=True):
        yield start, line
        start += len(line)


def test_resume_leaves_a_file_alone_that_is_none_of_its_own(qfkit_chat, account, prompts, out):
    out.write_text('{"index": 0}\n{"more": 1}\n')
    result = qfkit_chat("--file", prompts("一"), "--out", out, "--resume")
    assert result.exit_code == 2
    assert "line 1, is no result of `qfkit chat --file`" in result.stderr
    assert out.read_text() == '{"index": 0}\n{"more": 1}\n'
    assert len(account.requests) == 0


def test_results_are_not_overwritten_by_accident(qfkit_chat, account, prompts, out):
    out.write_text("precious")
    result = qfkit_chat("--file", prompts("一"), "--out", out)
    assert (result.exit_code, out.read_text()) == (2, "precious")
    assert "--resume" in result.stderr
    assert len(account.requests) == 0


def test_each_result_is_on_the_disk_before_the_next_is_asked(qfkit_chat, prompts, out, monkeypatch):
    seen, chat = [], Client.chat

    def spy(self, prompt, **params):
        seen.append(len(out.read_bytes().splitlines()))
        return chat(self, prompt, **params)

    monkeypatch.setattr(Client, "chat", spy)
    assert qfkit_chat("--file", prompts(*"一二三四五"), "--out", out, "--max-workers", 1).exit_code == 0
    assert seen == [0, 1, 2, 3, 4]


def test_a_slow_answer_holds_no_other_back(qfkit_chat, prompts, out, monkeypatch):
    others, chat = threading.Event(), Client.chat

    def slow(self, prompt, **params):
        if prompt == "慢":
            assert others.wait(20)
        reply = chat(self, prompt, **params)
        if prompt == "快":
            others.set()
        return reply

    monkeypatch.setattr(Client, "chat", slow)
    assert qfkit_chat("--file", prompts("慢", "快"), "--out", out, "--max-workers", 2).exit_code == 0
    assert texts(out) == ["慢", "快"]


def test_ctrl_c_stops_keeps_what_came_and_says_how_to_go_on(qfkit_chat, account, prompts, out, monkeypatch):
    file, chat = prompts(*"一二三四五"), Client.chat

    def interrupted(self, prompt, **params):
        if prompt == "三":
            raise KeyboardInterrupt
        return chat(self, prompt, **params)

    with monkeypatch.context() as patch:
        patch.setattr(Client, "chat", interrupted)
        result = qfkit_chat("--file", file, "--out", out, "--max-workers", 1)
    assert result.exit_code == 130
    done = len(texts(out))
    assert 2 <= done < 5
    assert f"{done} of 5 answered, 0 failed. Go on with --out {out} --resume." in result.stderr
    assert qfkit_chat("--file", file, "--out", out, "--resume").exit_code == 0
    assert texts(out) == list("一二三四五")
    assert asked(account).count("一") == 1


def test_what_comes_after_the_end_is_not_written(tmp_path):
    file = io.BytesIO()
    results = chat_results.Results(file, 0, lambda done, failed: None)
    results.write({"error": None, "text": "\ud800"})
    results.close()
    results.write({"error": None, "text": "late"})
    (line,) = file.getvalue().splitlines()
    assert json.loads(line)["text"] == "\ud800"
    assert results.done == 1


@pytest.mark.parametrize(
    ("lines", "told"),
    [
        (['{"prompt": "a"}', "plain"], "line 2 of the prompts is no JSON"),
        (['{"prompt": "a"}', "[1]"], "line 2 of the prompts is no JSON object but list"),
        (['{"id": 1}'], 'line 1 of the prompts has "prompt", a text, or "messages"'),
        (['{"prompt": "a", "messages": []}'], "one of the two"),
        (['{"prompt": ""}'], "empty or a wrong question"),
        (['{"messages": ["a"]}'], "empty or a wrong question"),
        (['{"prompt": "a", "id": true}'], 'an "id" that is neither'),
        (['{"prompt": "a", "safety": false, "cache": false}'], "cache, safety, which cannot be set for one prompt"),
    ],
)
def test_a_wrong_line_is_named_before_anything_is_asked(qfkit_chat, account, prompts, lines, told):
    result = qfkit_chat("--file", prompts(*lines))
    assert result.exit_code == 2
    assert told in result.stderr
    assert len(account.requests) == 0


def test_a_file_that_is_no_text(qfkit_chat, tmp_path):
    (tmp_path / "x").write_bytes(b"ok\n\xff\n")
    result = qfkit_chat("--file", tmp_path / "x")
    assert result.exit_code == 1
    assert "is not text in UTF-8" in result.stderr


def test_an_out_that_cannot_be_written(qfkit_chat, prompts, tmp_path):
    result = qfkit_chat("--file", prompts("一"), "--out", tmp_path / "nowhere" / "r.jsonl")
    assert result.exit_code == 1
    assert "No such file" in result.stderr


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["--file", "F", "hi"], "leave PROMPT out"),
        (["--file", "F", "-i"], "give one of them"),
        (["--file", "F", "--stream"], "leave --stream out"),
        (["--file", "F", "--json"], "leave --json out"),
        (["--file", "F", "--image", "x.png"], "pictures stand in the file"),
        (["--file", "F", "--resume"], "--out RESULTS.jsonl"),
        (["hi", "--out", "r"], "--out goes with --file"),
        (["hi", "--resume"], "--resume goes with --file"),
        (["hi", "--max-workers", "2"], "--max-workers goes with --file"),
        (["-i", "--json"], "give one of them"),
        (["-i", "-"], "leave the - out"),
        ([], "nothing to ask"),
    ],
)
def test_what_does_not_go_together(qfkit_chat, account, prompts, arguments, told):
    file = prompts("一")
    result = qfkit_chat(*[file if each == "F" else each for each in arguments])
    assert result.exit_code == 2
    assert told in result.stderr
    assert len(account.requests) == 0


def test_safety_masks_what_is_sent(qfkit_chat, account, prompts):
    result = qfkit_chat("--file", prompts("电话 13812345678"), "--safety")
    assert "13812345678" not in account.requests[0].body.decode()
    assert read(result.stdout)[0]["text"] == "电话 13812345678"


# Progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_progress_with_rich():
    terminal = Terminal()
    with progress(3, 1, terminal) as advance:
        advance(3, 1)
    assert "3/3" in terminal.getvalue()
    assert "1 failed" in terminal.getvalue()


def test_progress_without_rich(monkeypatch):
    monkeypatch.setitem(sys.modules, "rich.progress", None)
    terminal = Terminal()
    with progress(3, 1, terminal) as advance:
        advance(2, 1)
    assert terminal.getvalue() == "\r1/3, 0 failed\r2/3, 1 failed\n"


def test_no_progress_where_nobody_looks():
    pipe = io.StringIO()
    with progress(3, 1, pipe) as advance:
        advance(2, 1)
    assert pipe.getvalue() == ""
