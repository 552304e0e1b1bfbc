"""The exit code of a run, and why: every reason alone, and which wins."""

from __future__ import annotations

import signal
from typing import Any

import pytest

from loadtests.judging.ending import decide, finish
from loadtests.judging.slo import parse_all


def report(**members: Any) -> dict[str, Any]:
    scenario = {
        "calls": 100, "ok": 100, "failed": 0, "cut_off": 0, "seconds": 10.0, "failures": [],
        "milliseconds": {"latency": {"count": 100, "p95": 300.0}},
    }  # fmt: skip
    scenario |= members.pop("scenario", {})
    return {
        "host": "http://127.0.0.1:1", "scenarios": {"qps": scenario}, "generators": {"this process": 0.4},
        "lost_workers": [], "calibration": None, "reconciliation": None, "verdict": None,
    } | members  # fmt: skip


def test_a_good_run():
    assert decide(report()) == {"code": 0, "why": "all calls were good", "reasons": [[0, "all calls were good"]]}


FAILED = {"failed": 3, "ok": 97}
UNTRUSTED = [
    ({"scenario": {"calls": 0}}, "nothing was measured: no call to http://127.0.0.1:1 ended"),
    ({"lost_workers": ["w1"]}, "worker w1 never sent its last figures"),
    ({"reconciliation": {"ok": False, "differences": ["sent 10, seen 9"]}}, "sent 10, seen 9"),
    ({"calibration": {"ok": False, "line_ms": 5}}, "own error is above 5 ms"),
    ({"limits_reached": ["at most 100 calls may be in flight, and that was reached"]}, "in flight"),
]


@pytest.mark.parametrize(("members", "words"), UNTRUSTED)
def test_a_measurement_that_is_not_to_be_trusted(members, words):
    ending = decide(report(**members))
    assert ending["code"] == 3
    assert words in ending["why"]


def test_what_was_reconciled_and_calibrated_is_trusted():
    assert decide(report(reconciliation={"ok": True, "differences": []}, calibration={"ok": True}))["code"] == 0


def test_failed_calls():
    failed = report(scenario=FAILED)
    assert decide(failed)["why"] == "calls failed: 3 of 100"
    assert decide(failed)["code"] == 1
    assert decide(failed, allow_failures=True) == {
        "code": 0, "why": "calls failed: 3; that was allowed", "reasons": [[0, "calls failed: 3; that was allowed"]],
    }  # fmt: skip


def test_an_slo_on_errors_decides_about_failed_calls():
    allowed, refused = report(scenario=FAILED), report(scenario=FAILED)
    assert finish(allowed, slos=parse_all(["errors<5%"])) == 0
    assert allowed["exit"]["why"] == "every SLO was met: 1 of 1"
    assert finish(refused, slos=parse_all(["errors<1%"])) == 1
    assert refused["exit"]["why"] == "SLO missed: errors<1%: errors was 3 %; asked: less than 1 %"
    assert len(refused["exit"]["reasons"]) == 1


def test_results_and_ending_are_in_the_report():
    run = report()
    assert finish(run, slos=parse_all(["latency.p95<200ms", "latency.p95<1s"])) == 1
    assert [result["ok"] for result in run["slos"]] == [False, True]
    assert run["exit"]["code"] == 1


@pytest.mark.parametrize(("slo", "code"), [("latency.p95<200ms", 3), ("latency.p95<1s", 0), ("errors<1%", 0)])
def test_a_busy_generator_spoils_what_was_missed_not_what_was_met(slo, code):
    run = report(generators={"this process": 0.97})
    assert finish(run, slos=parse_all([slo])) == code
    if code:
        assert "used 97% of a core: it may be its own doing" in run["exit"]["why"]
        assert [number for number, _ in run["exit"]["reasons"]] == [3, 1]


@pytest.mark.parametrize(("late", "code"), [(150.0, 3), (99.0, 1)])
def test_a_duration_that_is_missed_by_no_more_than_calls_were_late_says_nothing(late, code):
    run = report(scenario={"late": {"count": 100, "p95": late}})
    assert finish(run, slos=parse_all(["latency.p95<=200ms"])) == code
    if code == 3:
        assert "latency.p95<=200ms was missed, but this tool sent calls late by 150 ms (p95)" in run["exit"]["why"]


def test_a_lower_limit_is_not_missed_by_lateness():
    run = report(scenario={"late": {"count": 100, "p95": 500.0}})
    assert finish(run, slos=parse_all(["latency.p95>400ms"])) == 1


def test_gaps_between_tokens_are_none_the_longer_for_late_sending():
    itl = {"milliseconds": {"itl": {"count": 100, "p95": 30.0}}, "late": {"count": 100, "p95": 500.0}}
    assert finish(report(scenario=itl), slos=parse_all(["itl.p95<20ms"])) == 1


def test_a_busy_generator_is_no_excuse_for_errors():
    run = report(generators={"this process": 0.97}, scenario=FAILED)
    assert finish(run, slos=parse_all(["errors<1%"])) == 1


def test_the_weightiest_reason_wins_and_all_are_told():
    run = report(scenario=FAILED, lost_workers=["w1"])
    assert finish(run, slos=parse_all(["latency.p95<1ms"]), signum=signal.SIGINT) == 130
    assert [code for code, _ in run["exit"]["reasons"]] == [130, 3, 1, 1]
    assert run["exit"]["why"].startswith("SIGINT ended the run early")
