"""The clock tells the truth: a server whose moments are known, measured by the whole of `loadtests` in its own process.

The only tests here that take real time, and must: what is tested is a measurement of it. Three streams of 0.2 s.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from mock_server import MockServer

#: Seconds after the request at which each piece leaves. Everything but the words comes early, to mislead.
HEADERS, EMPTY, FIRST, SECOND, THIRD = 0.0, 0.03, 0.12, 0.15, 0.21
STREAMS = 3


def event(content: str, finish: str = "null") -> bytes:
    data = b'data: {"choices": [{"delta": {"content": "%b"}, "finish_reason": %b}]}\n\n' % (
        content.encode(),
        finish.encode(),
    )
    return b"%x\r\n%b\r\n" % (len(data), data)


SCHEDULE = [
    (HEADERS, b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"),
    (EMPTY, event("")),
    (FIRST, event("你")),
    (SECOND, event("好")),
    # One event in two writes: it is whole, and counts, only with the second.
    (THIRD - 0.04, event("吗", '"stop"')[:30]),
    (THIRD, event("吗", '"stop"')[30:] + b"0\r\n\r\n"),
]


@pytest.fixture
def raw_server():
    """A server that writes bytes by the clock; one connection at a time, which is all that one user needs."""
    listener = socket.create_server(("127.0.0.1", 0))
    served = []

    def serve() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            with connection:
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                while _read_request(connection):
                    start = time.monotonic()
                    for at, data in SCHEDULE:
                        time.sleep(max(0.0, start + at - time.monotonic()))
                        connection.sendall(data)
                    served.append(start)

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    yield f"http://127.0.0.1:{listener.getsockname()[1]}", served
    listener.shutdown(socket.SHUT_RDWR)
    listener.close()
    thread.join(10)


def _read_request(connection: socket.socket) -> bool:
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := connection.recv(65536)):
            return False
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:"))
    while len(body) < length:
        body += connection.recv(65536)
    return True


def test_the_first_token_is_when_the_first_content_came(raw_server):
    url, served = raw_server
    traffic = {"host": url, "max_requests": STREAMS, "prompt": "你好"}
    plan = {"scenario": "stream", "traffic": traffic, "users": 1, "run_time": 60, "as_json": True}
    plan |= {"calibrate": False, "reconcile": False}  # it is no mock, and knows one path
    keys = {"QIANFAN_ACCESS_KEY": "ALTAKaccess", "QIANFAN_SECRET_KEY": "secret"}
    run = subprocess.run(
        [sys.executable, "-m", "loadtests.run", json.dumps(plan)],
        env=os.environ | keys,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (run.returncode, run.stderr) == (0, "")
    data = json.loads(run.stdout)["scenarios"]["stream"]
    assert (data["ok"], data["content_chunks"], len(served)) == (STREAMS, 3 * STREAMS, STREAMS)
    took = data["milliseconds"]
    # The best of three: a busy machine can make a moment late, and nothing can make it early.
    assert took["headers"]["min"] < 30
    assert 30 <= took["first_byte"]["min"] < 80
    assert 120 <= took["ttft"]["min"] <= 170
    assert 210 <= took["e2e"]["min"] <= 260
    assert took["itl"]["count"] == 2 * STREAMS
    assert took["tpot"]["p50"] == pytest.approx(45, abs=15)
    assert took["itl"]["mean"] == pytest.approx(45, abs=15)
    assert took["first_chunk"]["min"] < 80  # the empty event, which came long before the content
    # What other tools would have called it.
    variants = data["variants"]
    assert variants["ttft (Qianfan SDK)"]["min"] < 30
    assert 30 <= variants["ttft (vLLM)"]["min"] < 80


@pytest.fixture
def mock():
    with MockServer(seed=7, quota="none") as server:
        yield server


def load(server: MockServer, scenario: str, *arguments: str) -> tuple[int, dict]:
    run = subprocess.run(
        [sys.executable, "-m", "qfkit", "load", scenario, "--host", server.url, "--no-calibrate", "--json", *arguments],
        env=os.environ | server.default_account.env(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.stderr == ""
    return run.returncode, json.loads(run.stdout)


def test_p99_is_not_p98(mock):
    """Of a hundred answers two are slow: p98 is quick, p99 and p99.9 are not."""
    account = mock.default_account
    account.stream(["x"], times=98).then.stream(["x"], ttft=0.3).then.stream(["x"], ttft=0.6)
    code, report = load(mock, "stream", "--users", "1", "--run-time", "1m", "--max-requests", "100")
    took = report["scenarios"]["stream"]["milliseconds"]["ttft"]
    assert (code, took["count"]) == (0, 100)
    assert took["p95"] < 200
    assert 300 <= took["p99"] < 600 <= took["p99.9"] == took["max"]


def test_calls_that_outlast_the_run_are_in_it(mock):
    """Dropping what is under way at the end would drop the slowest: here all of them."""
    mock.default_account.stream(["x", "y"], ttft=0.9, interval=0.2, times=1000)
    code, report = load(mock, "stream", "--users", "3", "--run-time", "0.5s")
    data = report["scenarios"]["stream"]
    assert (code, data["ok"], data["cut_off"], report["reconciliation"]["seen"]) == (0, 3, 0, 3)
    assert data["milliseconds"]["e2e"]["min"] >= 1100
    assert sum(row["ok"] for row in data["timeline"] if row["second"] >= 0) == 3


def test_failures_that_hide_behind_http_200_are_told_by_code_and_phase(mock):
    account = mock.default_account
    account.fail(18, times=2).then.stream(["a", "b", "c"], cut_after=1)
    account.then.stream(["a", "b", "c"], error=336100, error_after=1).then.reply("ok", times=1000)
    code, report = load(mock, "stream", "--dialect", "v1", "--users", "1", "--run-time", "1m", "--max-requests", "8")
    data = report["scenarios"]["stream"]
    found = {(row["status"], row["code"], row["what"], row["phase"]): row["calls"] for row in data["failures"]}
    assert code == 1
    assert (data["ok"], data["failed"], report["reconciliation"]["ok"]) == (3, 4, True)
    assert {(status, code, phase): calls for (status, code, _, phase), calls in found.items()} == {
        (200, 18, "body"): 2,
        (200, None, "truncated"): 1,
        (200, 336100, "mid-stream"): 1,
    }


def test_a_service_that_is_gone_is_told_apart_from_one_that_fails():
    """Refused connections are calls that failed, were sent, and that no server can have seen."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # and nobody listens
        traffic = {"host": f"http://127.0.0.1:{taken.getsockname()[1]}", "max_requests": 20}
        plan = {"scenario": "qps", "traffic": traffic, "users": 2, "run_time": 60, "as_json": True, "calibrate": False}
        run = subprocess.run(
            [sys.executable, "-m", "loadtests.run", json.dumps(plan)],
            env=os.environ | {"QIANFAN_ACCESS_KEY": "ALTAKaccess", "QIANFAN_SECRET_KEY": "secret"},
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    report = json.loads(run.stdout)
    (row,) = report["scenarios"]["qps"]["failures"]
    counts = report["reconciliation"]
    assert run.returncode == 1
    assert (row["status"], row["code"], row["what"], row["phase"]) == (None, None, "ConnectionFailed", "connect")
    assert row["calls"] == counts["sent"] == counts["unconnected"] == 20
    assert (counts["ok"], counts["seen"]) == (True, None)
    assert any("is no mock of qfkit" in note for note in report["notes"])
