"""Load on a mock, as people make it: every figure is held against what the server saw.

Each run is a process of its own, for Locust patches the one it is imported in. A run measures real time, so it takes
some: about a second each.
"""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

import loadtests
from loadtests.reporting.outputs import samples_of
from loadtests.reporting.page import data_of
from mock_server import MockServer

FILES = Path(loadtests.__path__[0])
QFKIT = (sys.executable, "-m", "qfkit", "load")
LOCUST = (sys.executable, "-m", "locust", "--headless", "--only-summary", "--no-calibrate", "-u", "4", "-r", "100")


@pytest.fixture
def server():
    with MockServer(seed=7, journal=100_000, quota="none") as server:
        yield server


@pytest.fixture
def paced():
    with MockServer(seed=7, ttft=0.1, interval=0.02, quota="none") as server:
        yield server


def run(server: MockServer, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        arguments,
        env=os.environ | server.default_account.env(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def load(server: MockServer, scenario: str, *arguments: str) -> tuple[int, dict]:
    """Exit code and JSON of ``qfkit load``; it must be clean on stderr."""
    options = ("--users", "4", "--run-time", "1s", "--no-calibrate", "--json", *arguments)
    done = run(server, *QFKIT, scenario, "--host", server.url, *options)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def free_port() -> str:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return str(listener.getsockname()[1])


class TestQps:
    def test_every_call_is_signed_and_every_request_is_in_the_servers_journal(self, server):
        code, report = load(server, "qps")
        data = report["scenarios"]["qps"]
        assert code == 0
        assert data["qps"] > 0
        assert (data["failed"], data["failures"], data["cut_off"]) == (0, [], 0)
        assert data["calls"] == data["attempts"] == data["requests"] == len(server.requests) > 0
        assert data["milliseconds"]["latency"]["count"] == data["ok"]
        assert all(entry.signature.ok and not entry.stream for entry in server.requests)
        assert len({entry.header("X-Bce-Nonce") for entry in server.requests}) == data["calls"]
        assert data["seconds"] == pytest.approx(1.0, abs=0.5)

    def test_failures_are_counted_by_status_and_code(self, server):
        account = server.default_account
        account.fail(18, times=3).then.fail(500).then.reply("ok", times=100_000)
        code, report = load(server, "qps")
        data = report["scenarios"]["qps"]
        found = {(row["status"], row["code"]): (row["calls"], row["attempts"]) for row in data["failures"]}
        assert code == 1
        assert found == {(429, 18): (3, 3), (500, 500): (1, 1)}
        assert (data["failed"], data["requests"]) == (4, len(server.requests))

    def test_failures_may_be_allowed_and_attempts_are_not_calls(self, server):
        server.default_account.fail(18, times=2).then.reply("ok", times=100_000)
        code, report = load(
            server, "qps", "--attempts", "3", "--users", "1", "--run-time", "3s", "--max-requests", "20"
        )
        data = report["scenarios"]["qps"]
        assert (code, data["ok"], data["attempts"], report["attempts"]) == (0, 18, 20, 3)
        assert [(row["code"], row["calls"], row["attempts"]) for row in data["failures"]] == [(18, 0, 2)]
        server.default_account.reset().fail(18, times=1000)
        code, report = load(server, "qps", "--allow-failures", "--max-requests", "5")
        assert (code, report["scenarios"]["qps"]["failed"]) == (0, 5)

    def test_a_budget_ends_the_run_and_counts_requests_for_tokens(self, server):
        code, report = load(server, "qps", "--dialect", "v1", "--run-time", "1h", "--max-requests", "9", "--users", "2")
        data = report["scenarios"]["qps"]
        assert code == 0
        assert (data["requests"], data["token_requests"], data["attempts"]) == (9, 2, 7)
        assert len(server.requests) == 9

    def test_the_same_seed_asks_the_same_things(self, server, tmp_path):
        prompts = tmp_path / "prompts"
        prompts.write_text("\n".join(map(str, range(100))), "utf-8")
        asked = []
        for seed in ("1", "1"):
            server.default_account.reset()
            options = ("--users", "1", "--max-requests", "8", "--prompts", str(prompts), "--seed", seed)
            load(server, "qps", *options)
            asked.append([entry.json["messages"][0]["content"] for entry in server.default_account.requests])
        assert asked[0] == asked[1] != sorted(asked[0], key=int)
        assert len(set(asked[0])) > 1

    def test_a_person_gets_a_table_and_a_line_of_progress(self, server):
        mine, theirs = pty.openpty()
        with subprocess.Popen(
            [*QFKIT, "qps", "--host", server.url, "--run-time", "1.5s", "--users", "2", "--no-calibrate"],
            env=os.environ | server.default_account.env(),
            stdout=subprocess.PIPE,
            stderr=theirs,
            text=True,
        ) as process:
            table, _ = process.communicate(timeout=60)
        os.close(theirs)
        progress = os.read(mine, 65536).decode()
        os.close(mine)
        assert process.returncode == 0
        assert f"requests  {len(server.requests)} sent" in table
        assert "latency" in table
        assert "/1.5 s\r\n2 users  " in progress
        assert "p50 latency" in progress
        assert progress.endswith("\x1b[2K")  # wiped off


class TestStream:
    def test_first_tokens_and_gaps_are_the_servers_schedule(self, paced):
        code, report = load(paced, "stream")
        data = report["scenarios"]["stream"]
        took = data["milliseconds"]
        assert code == 0
        assert (data["failed"], data["requests"]) == (0, len(paced.requests))
        assert took["ttft"]["count"] == took["e2e"]["count"] == data["ok"] > 0
        # A busy machine makes moments late, and nothing can make one early: the best of them tells.
        assert 100 <= took["ttft"]["min"] <= 160
        assert 15 <= took["itl"]["p50"] <= 45
        assert took["itl"]["count"] == data["content_chunks"] - data["ok"]
        assert took["headers"]["p50"] < took["ttft"]["p50"]
        assert all(entry.stream and entry.outcome == "complete" for entry in paced.requests)

    @pytest.mark.parametrize("dialect", ["v1", "v2"])
    def test_the_other_dialects(self, paced, dialect):
        code, report = load(paced, "stream", "--dialect", dialect, "--max-requests", "6", "--run-time", "1m")
        data = report["scenarios"]["stream"]
        assert (code, data["requests"], len(paced.requests)) == (0, 6, 6)
        assert data["milliseconds"]["ttft"]["min"] >= 100

    def test_a_broken_stream_is_a_failure_although_its_status_is_200(self, server):
        server.default_account.stream(["a", "b", "c"], cut_after=2, times=1000)
        code, report = load(server, "stream", "--max-requests", "5")
        (row,) = report["scenarios"]["stream"]["failures"]
        assert code == 1
        assert (row["status"], row["code"], row["what"], row["calls"]) == (200, None, "StreamTruncated", 5)

    def test_what_hangs_is_cut_off_counted_and_in_no_duration(self):
        with MockServer(seed=7, ttft=600) as server:
            plan = {"scenario": "stream", "traffic": {"host": server.url}, "users": 3, "run_time": 0.5, "grace": 0.1}
            plan |= {"calibrate": False}
            done = run(server, sys.executable, "-m", "loadtests.run", json.dumps(plan | {"as_json": True}))
            data = json.loads(done.stdout)["scenarios"]["stream"]
            assert (done.returncode, done.stderr) == (3, "")
            assert (data["calls"], data["cut_off"], data["requests"]) == (0, 3, len(server.requests))
            assert data["milliseconds"] == {}


@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_ends_the_run_with_a_report_of_what_was_measured(server, number, code):
    with subprocess.Popen(
        [*QFKIT, "qps", "--host", server.url, "--run-time", "1h", "--users", "2", "--json", "--no-calibrate"],
        env=os.environ | server.default_account.env(),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        until(lambda: len(server.requests) > 10)
        process.send_signal(number)
        output, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (code, "")
    assert json.loads(output)["scenarios"]["qps"]["requests"] == len(server.requests)


def until(true) -> None:
    for _ in range(3000):
        if true():
            return
        threading.Event().wait(0.01)  # another process must get there
    raise AssertionError("it never came")


class TestPlainLocust:
    def test_one_process(self, server, tmp_path):
        server.default_account.fail(18, times=3).then.reply("ok", times=100_000)
        report = tmp_path / "report.json"
        theirs, ours, samples = (tmp_path / name for name in ("theirs.html", "ours.html", "samples.jsonl"))
        done = run(
            server,
            *LOCUST,
            *("-f", str(FILES / "qps.py"), "--host", server.url, "-t", "1s", "--report-json", str(report)),
            *("--html", str(theirs), "--csv", str(tmp_path / "csv"), "--html-report", str(ours)),
            *("--samples", str(samples), "--slo", "errors<=0%", "--slo", "call.latency<10s"),
        )
        whole = json.loads(report.read_text("utf-8"))
        data = whole["scenarios"]["qps"]
        assert done.returncode == whole["exit"]["code"] == 1
        assert "exit code 1: SLO missed: errors<=0%: errors was " in done.stdout
        assert data["goodput"]["slos"] == ["call.latency<10s"]
        assert data["goodput"]["good"] == data["ok"]
        assert "<html" in theirs.read_text("utf-8")
        assert (tmp_path / "csv_stats.csv").exists()
        assert data_of(ours.read_text("utf-8")) == whole
        calls = list(samples_of(samples))
        assert len(calls) == data["calls"]
        assert sum(call.outcome == "failed" for call in calls) == 3
        assert "Traceback" not in done.stderr
        assert "Warning" not in done.stderr
        assert data["requests"] == len(server.requests) > 0
        # Locust's own table holds one entry a call, and nothing of ours is added up in its Aggregated row.
        aggregated = next(line.split() for line in done.stderr.splitlines() if line.split()[:1] == ["Aggregated"])
        assert f"requests  {data['requests']} sent" in done.stdout
        assert int(aggregated[1]) == data["calls"]
        (row,) = [line.split() for line in done.stderr.splitlines() if "CallFailed" in line]
        assert row[0] == "3"
        assert "HTTP 429, code 18" in " ".join(row)

    def test_two_workers_lose_nothing_although_their_last_streams_end_late(self, server, tmp_path):
        # Streams of 1.2 s: at the end they outlast the half second for which Locust's master waits by itself.
        server.default_account.stream(["a", "b", "c"], ttft=1.0, interval=0.1, times=1000)
        report, port = tmp_path / "report.json", free_port()
        done = run(
            server,
            *LOCUST,
            *("-f", str(FILES / "stream.py"), "--host", server.url, "-t", "2s", "--report-json", str(report)),
            *("--samples", str(tmp_path / "samples"), "--slo", "ttft.p95<100ms"),
            *("--processes", "2", "--master-bind-port", port, "--master-port", port),
        )
        whole = json.loads(report.read_text("utf-8"))
        data = whole["scenarios"]["stream"]
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
        assert data["goodput"]["good"] == 0
        assert [call.ttft for call in samples_of(tmp_path / "samples")].count(None) == 0
        assert sum(1 for _ in samples_of(tmp_path / "samples")) == data["ok"]
        assert (len(whole["generators"]), whole["lost_workers"]) == (2, [])
        assert data["requests"] == data["ok"] == len(server.requests) > 0
        assert data["milliseconds"]["itl"]["count"] == 2 * data["ok"]
        assert data["milliseconds"]["ttft"]["min"] >= 1000
        assert all(entry.outcome == "complete" for entry in server.requests)

    def test_a_real_host_is_refused_before_anything_is_sent(self, server):
        done = run(server, *LOCUST, "-f", str(FILES / "qps.py"), "--host", "https://aip.baidubce.com", "-t", "1s")
        assert done.returncode == 2
        assert "aip.baidubce.com is not this machine" in done.stderr

    def test_a_budget_is_refused_where_processes_could_not_share_it(self, server):
        port = free_port()
        done = run(
            server,
            *LOCUST,
            *("-f", str(FILES / "qps.py"), "--host", server.url, "-t", "1s", "--max-requests", "5"),
            *("--processes", "2", "--master-bind-port", port, "--master-port", port),
        )
        assert done.returncode == 2
        assert "is kept by one process: leave out" in done.stderr
        assert len(server.requests) == 0
