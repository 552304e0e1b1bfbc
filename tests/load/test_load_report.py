"""The report as data and as a table: what is in it, and what it warns of."""

from __future__ import annotations

import json

import pytest
from load_reports import full_report

from loadtests.measuring.measures import StreamTimer
from loadtests.measuring.samples import Attempted, Sample
from loadtests.measuring.tally import Ledger
from loadtests.reporting.report import Setting, build
from loadtests.reporting.terminal import render
from loadtests.reporting.words import notes_of

SETTING = Setting("http://127.0.0.1:8866", "text_generation", None, users=3, run_time=10.0, seed=7, attempts=1)


def stream_ledger() -> Ledger:
    ledger = Ledger(generators={"this process": 0.5})
    for call in range(100):
        timer = StreamTimer(0.0)
        timer.headers_arrived(0.010)
        timer.body_arrived(0.020)
        for index in range(3):
            timer.chunk_arrived(0.1 + call / 1000 + index * 0.02, "x")
        ledger.tally("stream").add(streamed(1000.0 + call / 10, 0.3, timer))
    return ledger


def streamed(began: float, end: float, timer: StreamTimer, outcome="ok") -> Sample:
    attempts = [Attempted(at=began, status=200)]
    return Sample(
        scenario="stream",
        kind="stream",
        began=began,
        end=end,
        outcome=outcome,
        attempts=attempts,
        requests=1,
        **timer.moments(),
    )


def failed_ledger() -> Ledger:
    ledger = Ledger()
    tally = ledger.tally("qps")
    tally.add(
        Sample(
            scenario="qps", began=0.0, end=1.0, attempts=[Attempted(at=0.0, status=200)], requests=2, token_requests=1
        )
    )
    for status, code, what in ((429, 18, ""), (429, 18, ""), (None, None, "ConnectionFailed")):
        attempt = Attempted(at=0.0, status=status, code=code, what=what, phase="body" if status else "connect")
        tally.add(Sample(scenario="qps", began=0.0, end=0.5, outcome="failed", attempts=[attempt] * 2, requests=2))
    return ledger


def test_the_data_survives_json_and_holds_exact_percentiles_with_their_counts():
    report = json.loads(json.dumps(build(stream_ledger(), SETTING)))
    data = report["scenarios"]["stream"]
    assert report["users"] == 3
    assert (data["calls"], data["ok"], data["requests"], data["content_chunks"]) == (100, 100, 100, 300)
    assert data["seconds"] == pytest.approx(10.2)
    assert data["qps"] == pytest.approx(9.8)
    ttft = data["milliseconds"]["ttft"]
    assert (ttft["count"], ttft["min"], ttft["p50"], ttft["p99"], ttft["max"]) == (100, 100, 149, 198, 199)
    itl = data["milliseconds"]["itl"]
    assert (itl["count"], itl["p50"]) == (200, 20)


def test_a_kind_of_duration_that_never_came_is_left_out():
    assert set(build(failed_ledger(), SETTING)["scenarios"]["qps"]["milliseconds"]) == {"latency", "failed"}


def test_failures_are_told_by_status_and_code_for_calls_and_attempts():
    failures = build(failed_ledger(), SETTING)["scenarios"]["qps"]["failures"]
    assert [(row["status"], row["code"], row["calls"], row["attempts"]) for row in failures] == [
        (None, None, 1, 2),
        (429, 18, 2, 4),
    ]
    assert "qps" in failures[1]["what"].lower()


def test_the_table_of_a_stream():
    text = render(build(stream_ledger(), SETTING))
    assert "stream: text_generation at http://127.0.0.1:8866, 3 users, seed 7, no retries" in text
    assert "calls     100 in 10.2 s: 100 ok, 0 failed" in text
    assert "QPS       9.8 calls a second" in text
    rows = {line.split("  ")[0]: line.split() for line in text.splitlines()}
    for title in ("latency", "headers", "first chunk", "TTFT", "ITL", "TPOT", "E2E"):
        assert title in rows
    assert rows["TTFT"][1:4] == ["100", "150", "100"]  # count, mean, min
    assert all(line == line.rstrip() for line in text.splitlines())
    assert not text.endswith("\n")


def test_the_table_of_failures():
    text = render(build(failed_ledger(), SETTING))
    assert "calls     4 in 1.0 s: 1 ok, 3 failed" in text
    assert "requests  8 sent: 7 attempts, 1.75 a call, 1 for tokens" in text
    assert "QPS       4.0 calls a second, 1.0 of them ok" in text
    lines = [line.split() for line in text.splitlines()]
    assert ["-", "-", "connect", "1", "2", "ConnectionFailed"] in lines
    assert any(line[:5] == ["429", "18", "body", "2", "4"] for line in lines)


def test_retries_and_the_model_are_named():
    setting = SETTING._replace(dialect="v2", model="ernie-4.0-8k", attempts=3)
    assert "v2, ernie-4.0-8k at " in render(build(stream_ledger(), setting))
    assert "up to 3 attempts a call" in render(build(stream_ledger(), setting))


def test_the_table_of_everything():
    text = render(full_report())
    for words in (
        "poisson arrivals, 20 calls a second, seed 7, up to 3 attempts a call",
        "good calls a second, 90.1% of all (ttft.p95<500ms)",
        "tokens    20097 output, 331 a second; 28.5 a second within a call at the median (by the server: 1181 calls)",
        "late      sent after the intended moment: p50 ",
        "waits     before attempt 2: min ",
        "reconciled  calls planned 1228 = recorded 1228; requests sent 1329 = recorded 1329 = seen by the server 1329",
        "calibrated  own error at the median: at rest TTFT 0.41 ms, ITL 0.08 ms; under this load TTFT 1.90 ms, ITL",
        "(line 5 ms): kept",
        "outage    back at 95 %",
        "MISSED  ttft.p95<500ms        ttft.p95 was 533 ms; asked: less than 500 ms",
        "met     verdict=pass          the verdict was pass",
        "Note: made up",
        "exit code 1: SLO missed: ttft.p95<500ms: ttft.p95 was 533 ms",
        "also (1): SLO missed: goodput>0.95*offered",
    ):
        assert words in text


def test_what_is_wrong_with_the_measurement_stands_in_the_table():
    report = full_report() | {
        "calibration": {"at_rest": {"ttft_p50_error_ms": 9.0, "itl_p50_error_ms": 0.1}, "at_load": None, "ok": False},
        "reconciliation": {"ok": False, "differences": ["one was never sent", "two were"]},
        "limits_reached": ["at most 10 calls may be in flight"],
    }
    text = render(report)
    assert "at rest TTFT 9.00 ms, ITL 0.10 ms (line 5 ms): NOT KEPT" in text
    assert "reconciled  NO: one was never sent; two were" in text
    assert "Note: at most 10 calls may be in flight" in text


def test_variants_of_other_tools_stand_below_under_their_names():
    report = full_report()
    row = report["scenarios"]["stream"]["milliseconds"]["tpot"] | {"definition": "(e2e - ttft) / (tokens - 1)"}
    report["scenarios"]["stream"]["variants"] = {"tpot (vllm)": row}
    [line] = [line for line in render(report).splitlines() if line.startswith("tpot (vllm)")]
    assert line.endswith("(e2e - ttft) / (tokens - 1)")


def test_cells_and_seconds_add_up_to_the_calls():
    data = full_report()["scenarios"]["stream"]
    for name, row in data["milliseconds"].items():
        assert sum(count for _, _, count in data["histograms"][name]) == row["count"]
    assert all(high - low <= low / 128 for cells in data["histograms"].values() for low, high, _ in cells)
    timeline = data["timeline"]
    assert sum(row["planned"] for row in timeline) == data["calls"]
    assert sum(row["ok"] for row in timeline) == data["ok"]
    assert sum(row["good"] for row in timeline) == data["goodput"]["good"]
    assert sum(row["attempts"] for row in timeline) == data["attempts"]
    assert timeline[0]["second"] == 0


def test_nothing_sent():
    assert render(build(Ledger(), SETTING)) == "Nothing was sent to http://127.0.0.1:8866."


def notes(ledger: Ledger) -> str:
    report = build(ledger, SETTING)
    found = " ".join(notes_of(report))
    assert all(note in render(report) for note in notes_of(report))
    return found


def test_a_busy_generator_is_told():
    ledger = stream_ledger()
    assert notes(ledger) == ""
    ledger.generators["worker"] = 0.97
    assert "the load generator used 97% of a core" in notes(ledger)


def test_a_lost_worker_is_told():
    ledger = stream_ledger()
    ledger.lost.append("host_3")
    assert "worker host_3 never sent its last figures" in notes(ledger)


def test_streams_without_content_and_calls_cut_off_are_told():
    ledger = stream_ledger()
    ledger.tally("stream").add(streamed(1000.0, 0.1, StreamTimer(0.0)))
    ledger.tally("stream").add(streamed(1000.0, 0.1, StreamTimer(0.0), outcome="cut_off"))
    assert "streams without any content: 1" in notes(ledger)
    assert "calls cut off at the end: 1" in notes(ledger)
