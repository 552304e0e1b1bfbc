"""Each scenario and each model of load, as people run them, with what they promise held against the mock's journal.

Each run is a process of its own, and two more with workers. They take real time: about a second of load each.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from mock_server import MockServer

QFKIT = (sys.executable, "-m", "qfkit", "load")


@pytest.fixture
def server():
    with MockServer(seed=7, journal=100_000, quota="none") as server:
        yield server


def load(server: MockServer, scenario: str, *arguments: str, errors: str = "") -> tuple[int, dict]:
    """Exit code and JSON of ``qfkit load``; nothing else may be on stderr than what is expected there."""
    done = subprocess.run(
        [*QFKIT, scenario, "--host", server.url, "--run-time", "1s", "--json", *arguments],
        env=os.environ | server.default_account.env(),
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.stderr == errors
    return done.returncode, json.loads(done.stdout)


def total(report: dict, name: str) -> int:
    return sum(data[name] for data in report["scenarios"].values())


def test_two_workers_send_what_one_would_and_all_of_it_is_seen(server):
    code, report = load(server, "qps", "--workers", "2", "--rate", "30", "--arrivals", "constant", "--no-calibrate")
    counts = report["reconciliation"]
    assert (code, report["exit"]["why"], report["lost_workers"]) == (0, "all calls were good", [])
    assert len(report["generators"]) == 2
    assert counts["planned"] == total(report, "ok") == 30
    assert counts["sent"] == counts["recorded"] == counts["seen"] == len(server.requests)
    assert report["load"] == {"model": "constant", "rate": 30.0, "max_in_flight": 1000}


def test_a_mix_is_counted_by_kind_and_dialect_with_two_workers_too(server):
    code, report = load(
        server,
        "mixed",
        *("--mix", "chat=2,stream=1,tools=1,embed=1", "--dialects", "text_generation,v1,v2", "--no-calibrate"),
        *("--rate", "80", "--lengths", "short,long", "--workers", "2"),
    )
    assert (code, len(report["generators"])) == (0, 2)
    kinds = {tuple(name.split()[1:]) for name in report["scenarios"]}
    assert kinds <= {(kind, dialect) for kind in ("chat", "stream") for dialect in ("text_generation", "v1", "v2")} | {
        (kind, dialect) for kind in ("tools", "embed") for dialect in ("v1", "v2")
    }
    assert {kind for kind, _ in kinds} == {"chat", "stream", "tools", "embed"}
    for name, data in report["scenarios"].items():
        assert ("ttft" in data["milliseconds"]) == (name.split()[1] == "stream")
    assert report["reconciliation"]["seen"] == len(server.requests) == total(report, "requests")


@pytest.mark.parametrize("scenario", ["tools", "embed", "stream"])
def test_two_workers_of_each_other_kind_lose_nothing(server, scenario):
    code, report = load(server, scenario, "--workers", "2", "--users", "2", "--no-calibrate")
    assert (code, len(report["generators"]), report["lost_workers"]) == (0, 2, [])
    assert report["reconciliation"]["seen"] == len(server.requests) == total(report, "requests") > 0


def test_tools_are_called_and_both_rounds_are_one_call(server):
    server.default_account.call_tool("get_current_weather").then.reply("晴").loop()
    code, report = load(server, "tools", "--max-requests", "8", "--users", "1", "--no-calibrate")
    data = report["scenarios"]["tools"]
    assert (code, data["ok"]) == (0, 4)
    assert data["requests"] == data["attempts"] == len(server.requests) == 8
    assert all(entry.json["tools"][0]["function"]["name"] == "get_current_weather" for entry in server.requests)


class TestOpenLoads:
    def test_a_stalled_service_cannot_hide_the_calls_that_it_kept_waiting(self, server):
        """Coordinated omission: one connection after the other would have asked it three times, and found one slow."""
        server.default_account.stream(["x"], ttft=0.5, times=100_000)
        code, report = load(server, "stream", "--rate", "40", "--arrivals", "constant", "--no-calibrate")
        data = report["scenarios"]["stream"]
        assert (code, data["ok"], report["reconciliation"]["planned"]) == (0, 40, 40)
        assert data["milliseconds"]["ttft"]["min"] >= 500
        assert data["late"]["count"] == 40

    def test_more_calls_than_may_be_under_way_spoil_the_measurement(self, server):
        server.default_account.stream(["x"], ttft=0.8, times=100_000)
        code, report = load(
            server, "stream", "--rate", "20", "--arrivals", "constant", "--max-in-flight", "5", "--no-calibrate"
        )
        counts = report["reconciliation"]
        assert code == 3
        assert counts["unsent"] > 0
        assert counts["planned"] == counts["unsent"] + report["scenarios"]["stream"]["ok"] == 20
        assert "--max-in-flight 5 allows were under way" in report["limits_reached"][0]

    def test_a_trace_is_replayed_with_its_questions(self, server, tmp_path):
        trace = tmp_path / "trace.jsonl"
        trace.write_text(
            '{"at": 0, "prompt": "一"}\n{"at": 0.3, "prompt": "二"}\n{"at": 0.3, "prompt": "三"}\n', "utf-8"
        )
        code, _ = load(server, "qps", "--trace", str(trace), "--no-calibrate")
        seen = [(entry.time, entry.json["messages"][0]["content"]) for entry in server.requests]
        assert code == 0
        assert sorted(text for _, text in seen) == sorted("一二三")
        assert 0.2 < max(seen)[0] - min(seen)[0] < 0.8

    def test_the_warm_up_is_counted_and_in_no_figure(self, server):
        code, report = load(
            server, "qps", "--rate", "40", "--arrivals", "constant", "--warmup", "0.5s", "--no-calibrate"
        )
        data = report["scenarios"]["qps"]
        assert (code, data["calls"], data["warmup_calls"]) == (0, 20, 20)
        assert data["milliseconds"]["latency"]["count"] == 20
        assert report["reconciliation"]["seen"] == len(server.requests) == 40


class TestTrust:
    def test_the_own_error_of_each_worker_is_measured_and_its_requests_are_not_the_loads(self, server):
        code, report = load(server, "stream", "--rate", "5", "--workers", "2")
        found, counts = report["calibration"], report["reconciliation"]
        assert len(report["generators"]) == 2
        assert found["line_ms"] == 5.0
        assert found["at_rest"]["streams"] == 12
        assert found["at_load"]["streams"] >= 2
        assert 0 < found["at_rest"]["ttft_p50_error_ms"] < 50  # of a machine that has other things to do
        assert found["ok"] or code == 3
        assert counts["ok"]
        assert counts["sent"] == counts["seen"] < len(server.requests)
        assert [name for name in (account.name for account in server.accounts) if "calibration" in name] == []

    def test_keys_that_are_wrong_are_seen_all_the_same(self, server):
        keys = server.default_account.env() | {"QIANFAN_ACCESS_KEY": "nobody", "QIANFAN_SECRET_KEY": "wrong"}
        done = subprocess.run(
            [*QFKIT, "qps", "--host", server.url, "--json", "--no-calibrate", "--max-requests", "5"],
            env=os.environ | keys,
            capture_output=True,
            text=True,
            timeout=100,
            check=False,
        )
        report = json.loads(done.stdout)
        assert (done.returncode, report["reconciliation"]["seen"], report["reconciliation"]["ok"]) == (1, 5, True)
