"""The log: what it says as text and as fields, who may read it, and that no secret is ever in it."""

from __future__ import annotations

import io
import json
import logging
import string
import subprocess
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scripted_server import OK, STREAMS, FakeClock, ScriptedServer, answer, event, stream, v1_event

from qfkit.client import (
    Client,
    ConfigurationError,
    Credentials,
    Mask,
    QianfanError,
    RetryPolicy,
    Safety,
    configure_logging,
)

#: What every record of the logging module has.
PLAIN = set(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}

# Half of one is looked for below: it must be nothing that stands in a log anyway, as "Connection" does.
token = st.text(string.ascii_letters + string.digits + "-_.", min_size=12, max_size=36).map("zQ7-".__add__)


@pytest.fixture(scope="module")
def echo() -> Iterator[ScriptedServer]:
    server = ScriptedServer()
    yield server
    server.close()


class Keep(logging.Handler):
    """Everything, as it would be written by anybody: text, fields and tracebacks."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.records: list[logging.LogRecord] = []
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)
        self.lines += [logging.Formatter("%(name)s %(message)s").format(record), repr(record.__dict__)]


@contextmanager
def kept(name: str | None = None) -> Iterator[Keep]:
    logger, handler = logging.getLogger(name), Keep()
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    try:
        yield handler
    finally:
        logger.removeHandler(handler)
        logger.setLevel(level)


@pytest.fixture
def log() -> Iterator[Keep]:
    with kept("qfkit") as handler:
        yield handler


@pytest.fixture(autouse=True)
def undone() -> Iterator[None]:
    """What configure_logging sets up is taken away again."""
    ours = logging.getLogger("qfkit")
    before, level = list(ours.handlers), ours.level
    yield
    for handler in [it for it in ours.handlers if it not in before]:
        ours.removeHandler(handler)
        handler.close()
    ours.setLevel(level)


def fields(record):
    return {name: value for name, value in vars(record).items() if name not in PLAIN}


def slowly(clock, seconds, step):
    def later(exchange):
        clock.advance(seconds)
        step(exchange)

    return later


def test_a_call_that_goes_well(server, connect, clock, log):
    server.play(slowly(clock, 2.0, answer(OK["v1"], headers=[("X-Baidu-Request-Id", "r-1")])))
    connect("v1", auth="bce-auth-v1").chat("长" * 60)
    start, success = map(fields, log.records)
    question = {"dialect": "v1", "operation": "chat", "model": "ernie-3.5-8k", "prompt": "长" * 50}
    assert start == {"event": "start", "call": start["call"], **question}
    assert success == {
        "event": "success",
        "call": start["call"],
        **question,
        "result_length": 2,
        "latency_headers": 2.0,
        "latency_first_token": None,
        "latency_total": 2.0,
        "attempts": 1,
        "request_id": "r-1",
        "tokens_in": 1,
        "tokens_out": 8,
    }
    assert [record.levelname for record in log.records] == ["DEBUG", "INFO"]


def test_a_stream_has_three_latencies(server, connect, clock, log):
    def step(exchange):
        clock.advance(1.0)
        exchange.head()
        exchange.chunk(b": still thinking\n\n")
        clock.advance(2.0)
        exchange.chunk(STREAMS["v1"][0])

    def rest(exchange):
        for piece in STREAMS["v1"][1:]:
            exchange.chunk(piece)
        exchange.end()

    server.play(lambda exchange: (step(exchange), rest(exchange)))
    got = connect("v1", auth="bce-auth-v1").stream("hi")
    clock.advance(4.0)
    list(got)
    success = fields(log.records[-1])
    assert success["event"] == "success"
    assert 1.0 <= success["latency_headers"] <= success["latency_first_token"] == got.ttft == 3.0
    assert success["latency_total"] == 7.0
    assert success["result_length"] == 2


def test_retries_and_failures(server, connect, log):
    busy = {"error_code": 18, "error_msg": "Open api qps request limit reached", "id": "as-9"}
    server.play(answer(busy), answer({"error_code": 336003, "error_msg": "bad messages"}))
    with pytest.raises(QianfanError):
        connect("v1", auth="bce-auth-v1").chat("hi")
    _, retry, failure = map(fields, log.records)
    assert (retry["event"], retry["code"], retry["reason"], retry["request_id"]) == ("retry", 18, "backoff", "as-9")
    assert retry["wait"] > 0
    assert (failure["event"], failure["code"], failure["attempts"]) == ("failure", 336003, 2)
    assert [record.levelname for record in log.records] == ["DEBUG", "WARNING", "ERROR"]
    assert failure["prompt"] == "hi"


def test_the_prompt_is_masked_before_it_is_cut(server, connect, keys, log):
    server.otherwise = answer(OK["v1"])
    prompt = "x" * 40 + keys.secret_key + " sk-abcdefghijklmnopqrstuvwx"
    client = connect("v1", auth="bce-auth-v1")
    client.chat(prompt)
    client.chat("sk-abcdefghijklmnopqrstuvwx 13812345678", safety=Safety(input=[Mask(kinds=["mobile"])]))
    prompts = [fields(record)["prompt"] for record in log.records if "prompt" in fields(record)]
    assert prompts[0] == "x" * 40 + "*** ***"
    assert prompts[-1] == "*** [MOBILE-1]"


# configure_logging


def write_one_line_of_each(client, server):
    server.play(answer({"error_code": 18, "error_msg": "busy"}), answer(OK["v1"]))
    client.chat("你好")


def test_json_lines(server, connect):
    written = io.StringIO()
    configure_logging(json=True, level="debug", stream=written)
    write_one_line_of_each(connect("v1", auth="bce-auth-v1"), server)
    lines = [json.loads(line) for line in written.getvalue().splitlines()]
    assert [line["event"] for line in lines] == ["start", "retry", "success"]
    assert [line["level"] for line in lines] == ["DEBUG", "WARNING", "INFO"]
    assert lines[2]["logger"] == "qfkit.client"
    assert lines[2]["prompt"] == "你好"
    assert "你好" in written.getvalue()
    assert lines[2]["result_length"] == 2
    assert {"time", "message", "call", "attempts", "tokens_in"} <= set(lines[2])


def test_text_to_a_file_and_the_root_logger_stays_as_it_is(server, connect, tmp_path):
    root = logging.getLogger()
    before = (list(root.handlers), root.level, list(root.filters))
    path = tmp_path / "calls.log"
    for _ in range(3):  # the last one counts, once
        configure_logging(file=path)
    write_one_line_of_each(connect("v1", auth="bce-auth-v1"), server)
    lines = path.read_text("utf-8").splitlines()
    assert len(lines) == 2
    assert " - INFO - qfkit.client - #" in lines[1]
    assert (list(root.handlers), root.level, list(root.filters)) == before


def test_tracebacks_are_redacted_too():
    written = io.StringIO()
    secret = 'a"b\\c-my-very-secret'
    for as_json in (False, True):
        configure_logging(json=as_json, stream=written, secrets=[secret])
        try:
            int(f"{secret} and sk-abcdefghijklmnopqrstuvwx and /x?access_token=24.abc")
        except ValueError:
            logging.getLogger("qfkit.mine").exception("failed with %s", secret, extra={"field": secret})
    text = written.getvalue()
    assert text.count("ValueError") >= 2
    for shown in (secret, json.dumps(secret)[1:-1], repr(secret)[1:-1], "sk-abc", "24.abc"):
        assert shown not in text


def test_what_cannot_be_configured(monkeypatch, tmp_path):
    with pytest.raises(ConfigurationError, match="one of them"):
        configure_logging(stream=io.StringIO(), file=tmp_path / "x")
    with pytest.raises(ConfigurationError, match="DEBUG, INFO"):
        configure_logging(level="LOUD")
    monkeypatch.setitem(sys.modules, "pythonjsonlogger.json", None)
    with pytest.raises(ConfigurationError, match=r"qfkit\[logging\]"):
        configure_logging(json=True)


def test_none_of_the_extras_is_loaded_unasked():
    code = (
        "import sys; from qfkit import Client, Safety, StripControl, configure_logging; Safety([StripControl()]); "
        "print([it for it in ('ahocorasick', 'stdnum', 'pythonjsonlogger') if it in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


# No secret, ever


def parrots(heard: str, dialect: str):
    """Servers that quote what they heard wherever a server can put a text: name -> step."""
    line = "".join(it if it.isprintable() and it.isascii() else "?" for it in heard)[:4000]
    said = [("X-Baidu-Request-Id", line), ("X-Bce-Request-Id", line), ("Retry-After", line), ("X-Anything", line)]
    v2 = {"error": {"code": line, "message": line, "type": line}, "id": line}
    error = v2 if dialect == "v2" else {"error_code": line, "error_msg": line, "id": line}
    known = (
        {"error": {"code": "rpm_rate_limit_exceeded", "message": line}}
        if dialect == "v2"
        else {
            "error_code": 18,
            "error_msg": line,
            "id": line,
        }
    )
    return {
        "code": answer(error, 500, said),
        "known": answer(known, 429, said),
        "keys": answer({line: line}, 200, said),
        "type": answer(b"<html>", 200, said, kind=line[:200]),
        "redirect": answer(b"", 302, [*said, ("Location", f"http://{line}")]),
        "gateway": answer(b"", 403, [*said, ("X-Bce-Error-Code", line), ("X-Bce-Error-Message", line)]),
        "reason": lambda exchange: exchange.send(f"HTTP/1.1 500 {line}\r\nContent-Length: 0\r\n\r\n".encode()),
        "junk": lambda exchange: exchange.send(f"HTTP/1.1 200 OK\r\n{line}\r\n\r\n".encode()),
        "no http": lambda exchange: exchange.send(f"{line}\r\n\r\n".encode()),
        "event": stream(v1_event("你"), event(error)),
        "event keys": stream(v1_event("你"), event({line: line})),
        "good": answer({**OK[dialect], "id": line}, 200, said),
    }


HOW = [*parrots("x", "v1")]


@pytest.mark.parametrize("how", HOW)
@settings(max_examples=12)
@given(data=st.data())
def test_whatever_happens_no_secret_is_in_the_log(echo, how, data):
    dialect, names = data.draw(
        st.sampled_from(
            [
                ("text_generation", ("secret_key",)),
                ("v1", ("access_token",)),
                ("v1", ("secret_key",)),
                ("v2", ("bearer_token",)),
            ]
        )
    )
    keys = {name: data.draw(token) for name in names}
    if "secret_key" in keys:
        keys["access_key"] = "ALTAKFAKEACCESSKEY000000"
    credentials = Credentials(**keys)
    secrets = set(credentials.secrets())
    quoted = data.draw(st.sampled_from(["", "x" * 45, "x" * 49])) + " ".join(secrets)
    signed: list[str] = []

    def step(exchange):
        request = exchange.request
        signed.append(request.header("X-Bce-Signature") or "")
        signed.append((request.header("Authorization") or "").rpartition("/")[2].rpartition(" ")[2])
        parrots(f"{request.target} {request.headers} {' '.join(secrets)}", dialect)[how](exchange)
        exchange.hang_up()

    echo.otherwise = step
    verb = data.draw(st.sampled_from(["chat", "stream"]))
    safety = data.draw(st.sampled_from([None, Safety.default()]))
    with kept() as everything:
        client = Client(
            echo.url, credentials, dialect, clock=FakeClock(), random=Random(1), retry=RetryPolicy(attempts=2)
        )
        with client:
            try:
                reply = (
                    client.chat(quoted, safety=safety)
                    if verb == "chat"
                    else client.stream(quoted, safety=safety).reply()
                )
                assert how == "good" or reply.text == ""
            except QianfanError as error:
                logging.getLogger("somebody").exception("it failed")
                everything.lines += [*traceback.format_exception(error), repr(vars(error)), repr(error.attempts)]
    written = "\n".join(everything.lines)
    assert "qfkit.client #" in written
    for value in {*secrets, *signed} - {""}:
        assert value not in written
    for value in secrets:  # nor half of one
        assert value[: len(value) // 2 + 2] not in written
