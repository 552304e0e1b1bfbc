"""The search for the ceiling on reports of services whose ceiling is known; no load is made."""

from __future__ import annotations

from typing import Any

import pytest

from loadtests.judging.slo import parse
from loadtests.measuring.recorder import Recorder
from loadtests.measuring.samples import Attempted, Sample
from loadtests.planning.climb import Climb
from loadtests.planning.spelling import PlanError
from loadtests.playing.climbing import climb
from loadtests.reporting.report import Setting, build

SETTING = Setting("http://127.0.0.1:1", "v2", None, 1, 20.0, 0, 1)


def service(capacity: float, *, refuses: bool = False, seconds: int = 20):
    """Steps of a service that answers so many calls a second in 10 ms; others wait for their turn, or are refused."""
    tried = []

    def step(rate: float) -> dict[str, Any]:
        tried.append(rate)
        recorder = Recorder("test", cpu=lambda: 0.0, now=lambda: 0.0)
        free = 1000.0
        allowed = 0.0
        for index in range(int(rate * seconds)):
            at = 1000.0 + index / rate
            allowed += capacity / rate
            good = not refuses or allowed >= 1.0
            allowed -= good and refuses
            free = max(free, at) + (0.0 if refuses else 1 / capacity)
            ended = (free if not refuses else at) + 0.01
            attempt = Attempted(
                at=at, status=200 if good else 429, code=None if good else 18, phase="" if good else "body"
            )
            recorder.planned()
            recorder.add(
                Sample(
                    scenario="ceiling",
                    planned=at,
                    began=at,
                    outcome="ok" if good else "failed",
                    attempts=[attempt],
                    requests=1,
                    end=ended - at,
                )
            )
        return build(recorder.total, SETTING)

    return step, tried


def test_a_queue_that_grows_fails_a_step_although_nothing_has_failed():
    step, tried = service(50)
    section, best = climb(Climb(most=500, within=0.1).search(10), step, slos=[parse("latency.p99<1min")])
    assert 42 <= section["ceiling_rate"] <= 51
    assert section["fails_at"] > 50
    assert tried[:4] == [10, 20, 40, 80]
    assert all(
        set(one["steady"]["growing"]) == {"latency", "calls under way"} for one in section["steps"] if one["rate"] > 55
    )
    assert best["scenarios"]["ceiling"]["calls"] == int(section["ceiling_rate"] * 20)
    assert section["limited_by"] == "server"


def test_a_quota_is_told_from_a_queue():
    step, _ = service(30, refuses=True)
    section, _ = climb(Climb(steps="20,40").search(None), step)
    assert (section["ceiling_rate"], section["fails_at"], section["limited_by"]) == (20, 40, "quota")
    assert section["lines"][-1] == "limited by the quota: 25% of all attempts were refused by a quota"


def test_an_slo_is_kept_or_not():
    step, _ = service(1000)
    section, _ = climb(Climb(most=40).search(10), step, slos=[parse("latency.p50<5ms")])
    assert section["ceiling_rate"] is None
    assert section["lines"][0].startswith("10.0 calls/s: latency.p50<5ms")


def test_somebody_ends_it():
    step, tried = service(1000)
    section, best = climb(Climb().search(10), lambda rate: step(rate) if rate < 40 else None)
    assert (tried, section["ceiling_rate"]) == ([10, 20], 20)
    assert best["scenarios"]["ceiling"]["calls"] == 400


def test_nothing_is_measured():
    section, best = climb(Climb().search(10), lambda rate: build(Recorder("x", cpu=float, now=float).total, SETTING))
    assert (len(section["steps"]), section["ceiling_rate"], best["scenarios"]) == (1, None, {})


@pytest.mark.parametrize(
    ("climb", "start", "words"),
    [
        (Climb(steps="1,x"), None, "got 'x'"),
        (Climb(steps="0"), None, "got '0'"),
        (Climb(most=5), 10.0, "begins at --rate 10 and ends at --most 5"),
    ],
)
def test_what_is_no_search(climb, start, words):
    with pytest.raises(PlanError, match=words):
        climb.search(start)
