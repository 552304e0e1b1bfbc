"""The scenarios backoff, outage, ceiling, soak and replay, as people start them; figures are held against the mock.

Each run is a process of its own, for Locust patches the one it is imported in, and takes real time: a few seconds.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

import loadtests
from mock_server import MockServer
from qfkit.cli import main

FILES = Path(loadtests.__path__[0])


@pytest.fixture
def server():
    with MockServer(seed=7, journal=100_000, quota="none") as server:
        yield server


def run(server: MockServer, *arguments: str, keys: bool = False) -> subprocess.CompletedProcess[str]:
    others = {name: value for name, value in os.environ.items() if not name.startswith(("QIANFAN_", "OPENAI_"))}
    return subprocess.run(
        (sys.executable, "-m", *arguments),
        env=others | (server.default_account.env() if keys else {}),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )


def load(server: MockServer, scenario: str, *arguments: str, keys: bool = False) -> dict[str, Any]:
    """The report of a run that ended well."""
    options = ("--json", "--no-calibrate", *arguments)
    done = run(server, "qfkit", "load", scenario, "--host", server.url, *options, keys=keys)
    assert (done.returncode, done.stderr) == (0, "")
    report: dict[str, Any] = json.loads(done.stdout)
    return report


def journal(server: MockServer, name: str) -> list[Any]:
    (account,) = [account for account in server.state.accounts() if account.name == name]
    return list(account.journal.entries())


class TestBackoff:
    #: A client, and the dialect that it speaks when nobody says.
    @pytest.mark.parametrize(("client", "dialect"), [("qfkit", "text_generation"), ("sdk", "v1"), ("openai", "v2")])
    def test_what_the_client_says_is_what_the_mock_saw(self, server, client, dialect):
        report = load(server, "backoff", "--client", client, "--rate", "12", "--run-time", "2s", "--quota", "qps=4")
        found, data = report["backoff"], report["scenarios"]["backoff"]
        seen = journal(server, found["account"])
        chats = [entry for entry in seen if entry.operation == "chat"]
        assert (report["client"], found["dialect"]) == (client, dialect)
        assert data["requests"] == found["requests"] == len(seen)
        assert data["attempts"] == found["attempts"]["count"] == len(chats) > found["offered"]["calls"]
        assert (data["calls"], data["ok"]) == (found["offered"]["calls"], found["answered"])
        assert found["admitted"]["count"] == sum(entry.ok for entry in chats)
        assert found["refused"] == sum(entry.answered_by == "quota" for entry in chats) > 0
        assert found["amplification"] == pytest.approx(len(chats) / data["calls"], abs=1e-3)
        assert report["verdict"]["ok"] is found["verdict"]["ok"]
        assert any("amplification" in line for line in found["lines"])

    def test_plain_locust_with_two_workers(self, server, tmp_path):
        with socket.create_server(("127.0.0.1", 0)) as listener:
            port = str(listener.getsockname()[1])
        file = tmp_path / "report.json"
        done = run(
            server,
            *("locust", "--headless", "--only-summary", "-u", "4", "-r", "100", "-t", "2s", "--processes", "2"),
            *("--master-bind-port", port, "--master-port", port),
            *("-f", str(FILES / "backoff.py"), "--host", server.url, "--dialect", "v2", "--report-json", str(file)),
        )
        assert "Traceback" not in done.stderr
        report = json.loads(file.read_text("utf-8"))
        found, data = report["backoff"], report["scenarios"]["backoff"]
        assert len(report["generators"]) == 2
        assert data["requests"] == found["requests"] == len(journal(server, found["account"])) > 0


class TestOutage:
    def test_two_workers_through_an_outage(self, server):
        report = load(
            server,
            *("outage", "--dialect", "v2", "--rate", "40", "--run-time", "4s", "--workers", "2", "--seed", "3"),
            *("--fault", "503", "--fault-at", "1.5s", "--fault-for", "0.8s"),
        )
        found, data = report["outage"], report["scenarios"]["outage"]
        seen = journal(server, found["account"])
        down = [entry for entry in seen if entry.status == 503]
        assert len(report["generators"]) == 2
        assert data["requests"] == found["requests"] == len(seen)
        assert found["seconds"] == pytest.approx(0.8, abs=0.3)
        assert all(found["window"][0] - 0.1 <= entry.time <= found["window"][1] + 0.1 for entry in down)
        assert found["wasted_attempts"] == len(down) > 0
        assert found["struck"]["calls"] > 5
        assert found["storm_peak"] >= found["baseline_attempts"] > 0
        assert found["baseline_goodput"] == pytest.approx(40, rel=0.5)
        assert found["recovered"] is True
        assert sum(row["attempts"] for row in found["curve"]) * 0.25 == pytest.approx(data["attempts"])

    def test_what_hangs_is_the_clients_to_end(self, server):
        report = load(
            server,
            *("outage", "--client", "openai", "--client-timeout", "0.2", "--users", "4", "--run-time", "3s"),
            *("--fault", "hang", "--fault-at", "1s", "--fault-for", "0.6s"),
        )
        hung = [entry for entry in journal(server, report["outage"]["account"]) if entry.outcome != "complete"]
        assert hung
        assert {entry.outcome for entry in hung} == {"hung up"}


#: One process, and two workers under a master.
one_and_two = pytest.mark.parametrize("workers", ["1", "2"])


@one_and_two
def test_the_ceiling_is_where_the_quota_is(server, workers):
    server.default_account.quota(qps=20)
    options = ("--steps", "10,60", "--arrivals", "constant", "--run-time", "1.5s", "--workers", workers)
    report = load(server, "ceiling", *options, keys=True)
    found = report["ceiling"]
    assert [(step["rate"], step["ok"]) for step in found["steps"]] == [(10, True), (60, False)]
    assert (found["ceiling_rate"], found["fails_at"], found["limited_by"]) == (10, 60, "quota")
    assert report["load"]["rate"] == 10  # the figures beside are those of the step that held
    assert found["lines"][0].startswith("10.0 calls/s: holds")


@one_and_two
def test_a_soak_watches_the_memory_of_both_sides(server, workers):
    found = load(server, "soak", "--users", "2", "--run-time", "2s", "--workers", workers, keys=True)["soak"]
    assert set(found["memory"]) == {"load generator", "service"}
    assert all(len(rows) >= 5 and min(rows)[1] > 1 for rows in found["memory"].values())
    assert set(found["drift"]) >= {"memory of the load generator", "memory of the service"}


@one_and_two
def test_a_replay_sends_at_the_moments_of_the_file(server, tmp_path, workers):
    trace = tmp_path / "trace"
    trace.write_text('0\n0.3\n{"at": 0.9, "prompt": "天气"}\n', "utf-8")
    options = ("--trace", str(trace), "--run-time", "1.5s", "--workers", workers)
    data = load(server, "replay", *options, keys=True)["scenarios"]["replay"]
    first, *_, last = server.requests
    assert data["calls"] == len(server.requests) == 3
    assert last.time - first.time == pytest.approx(0.9, abs=0.15)
    assert last.json["messages"][0]["content"] == "天气"


def test_a_live_run_says_what_it_would_spend_and_stops_at_its_budget(server):
    # Live in all but its host: nothing leaves this machine.
    budget = ("--live", "--max-tokens", "6000", "--max-qps", "25", "--price", "4,16")
    options = ("--run-time", "1h", "--users", "2", "--json", "--attempts", "1", *budget)
    done = run(server, "qfkit", "load", "qps", "--host", server.url, *options, keys=True)
    data = json.loads(done.stdout)["scenarios"]["qps"]
    first, *_ = seen = list(server.requests)
    spent = sum(entry.response.json["usage"]["total_tokens"] for entry in seen)
    assert done.stderr.startswith(f"Live: at most 6,000 tokens go to {server.url}, at most 25 a second.\n")
    assert "4 + 16 yuan for a million tokens (--price, now" in done.stderr
    assert data["requests"] == len(seen)
    assert 1000 < spent <= 6000
    times = [entry.time for entry in seen]
    assert (
        max(sum(at <= other < at + 1.0 for other in times) for at in times) <= 27
    )  # sent in time, seen a little later
    assert first.scheme == "hmac"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("backoff", "--live", "--max-requests", "5"), "backoff plays its part on a mock: leave out --live"),
        (("qps", "--live"), "say how much at most, with --max-requests N, --max-tokens N or --max-cost YUAN"),
        (("qps", "--live", "--max-requests", "9", "--rate", "150"), "--rate 150 is above 100 requests a second"),
        (("qps", "--price", "4"), "--price is yuan for a million tokens"),
        (("qps", "--workers", "2", "--max-tokens", "9"), "is kept by one process: leave out --workers"),
        (("backoff", "--client", "sdkk"), "--client is qfkit, sdk, openai, or the path of a factory"),
        (("backoff", "--quota", "qpm=5"), "--quota knows no 'qpm'"),
        (("backoff", "--schedule", "opnai"), "did you mean 'openai'"),
        (("backoff", "--limits", "tolerence=1"), "--limits: "),
        (("outage", "--fault", "flood"), "--fault knows no 'flood'"),
        (("outage", "--fault-at", "9s", "--fault-for", "2s"), "the fault would last until 11 s, and the run 10 s"),
        (("replay",), "replay sends calls at the moments that a file names: give --trace FILE"),
        (("ceiling", "--steps", "10,ten"), "--steps are calls a second, such as 10,20,40; got 'ten'"),
        (("ceiling", "--rate", "50", "--most", "20"), "the search begins at --rate 50 and ends at --most 20"),
        (("ceiling", "--arrivals", "trace", "--trace", "x"), "ceiling tries rates"),
    ],
)
def test_what_cannot_be_run_is_told_before_it_starts(arguments, words):
    done = CliRunner().invoke(main, ["load", arguments[0], "--host", "http://127.0.0.1:9", *arguments[1:]])
    assert done.exit_code == 2
    assert words in " ".join(done.output.split())


class _Somebody(BaseHTTPRequestHandler):
    """A web server that is no mock."""

    def do_POST(self) -> None:
        self.send_error(404)

    do_GET = do_POST  # noqa: N815 - the name that http.server looks for

    def log_message(self, *_: object) -> None:
        pass


def test_a_service_that_is_no_mock_is_told(server):
    with HTTPServer(("127.0.0.1", 0), _Somebody) as somebody:
        thread = threading.Thread(target=somebody.serve_forever, kwargs={"poll_interval": 0.02})
        thread.start()
        host = f"http://127.0.0.1:{somebody.server_port}"
        done = run(server, "qfkit", "load", "backoff", "--host", host)
        somebody.shutdown()
        thread.join()
    assert done.returncode == 2
    assert f"{host}/__admin/accounts answers 404: is that a mock of qfkit?" in done.stderr
    assert "Traceback" not in done.stdout + done.stderr
