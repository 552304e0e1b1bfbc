"""Waits held against a declared schedule: how often a good client is accused, and a bad one found."""

from __future__ import annotations

import functools
from random import Random

import pytest
from scipy import stats

from qfkit.grading.backoff import ALPHA, ENOUGH, Wait, _holm, judge
from qfkit.grading.schedules import Declared, Draw, named

FULL = named("aws-full", base=0.5, cap=8)
SCHEDULES = {
    "full": FULL,
    "equal": named("aws-equal", base=0.5, cap=8),
    "decorrelated": named("aws-decorrelated", base=0.5, cap=4),
    "qianfan": named("qianfan", max_wait_interval=2.5),
    "openai": named("openai"),
    "stamina": named("stamina", wait_max=1.5),
}


def waits_of(schedule, random, calls, depth, delay=lambda random: 0.0):
    found = []
    for call in range(calls):
        previous = None
        for failures in range(1, depth + 1):
            wait = schedule.after(failures, previous).draw(random) + delay(random)
            previous = wait
            found.append(Wait(wait, failures, call, failures + 1))
    return found


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_client_that_keeps_its_schedule_is_accused_as_rarely_as_promised(name):
    schedule, random, runs = SCHEDULES[name], Random(f"good {name}"), 400
    accused = sum(
        judge(waits_of(schedule, random, 12, 5), schedule, tolerance=0, seed=run).answer == "broken"
        for run in range(runs)
    )
    # More than this many would come of a rate of ALPHA once in a million times.
    assert accused <= stats.binom.ppf(1 - 1e-6, runs, ALPHA)


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_slow_machine_makes_no_good_client_bad(name):
    schedule, random = SCHEDULES[name], Random(f"slow {name}")
    late = [
        judge(waits_of(schedule, random, 30, 5, lambda source: source.uniform(0.0, 0.05)), schedule).answer
        for _ in range(100)
    ]
    assert late.count("broken") <= stats.binom.ppf(1 - 1e-6, 100, ALPHA)


def always(share, schedule=FULL):
    """A client that waits the same share of the longest wait every time."""

    def formula(failures, previous):
        low, high = schedule.after(failures, previous).bounds
        return Draw(low + share * (high - low), low + share * (high - low))

    return Declared(f"{share} of it", formula)


def scaled(share, schedule=FULL):
    def formula(failures, previous):
        low, high = schedule.after(failures, previous).bounds
        return Draw(low * share, high * share)

    return Declared("scaled", formula)


#: What clients get wrong when they say full jitter -> how they wait.
DEVIATIONS = {
    "no jitter": always(1.0),
    "half of it, always": always(0.5),
    "equal instead of full": named("aws-equal", base=0.5, cap=8),
    "half of each wait": scaled(0.5),
    "twice each wait": scaled(2.0),
    "not growing": Declared("flat", lambda failures, previous: Draw(0.0, 0.5)),
}


@pytest.mark.parametrize("deviation", DEVIATIONS)
def test_common_deviations_are_found_with_as_few_waits_as_promised(deviation):
    client, random, runs = DEVIATIONS[deviation], Random(deviation), 100
    depth = 4
    found = sum(
        judge(waits_of(client, random, ENOUGH // depth, depth), FULL, tolerance=0, seed=run).answer == "broken"
        for run in range(runs)
    )
    assert found >= 0.9 * runs


def test_jitter_that_is_drawn_once_a_call_is_found():
    random, found = Random(5), 0
    for _run in range(50):
        waits = []
        for call in range(20):
            share = random.random()
            waits += [Wait(share * FULL.after(n, None).high, n, call, n + 1) for n in range(1, 5)]
        judgement = judge(waits, FULL, tolerance=0)
        found += "foretells" in judgement.message
    assert found >= 45


def test_one_wait_outside_is_enough_and_is_named():
    judgement = judge([Wait(0.1, 1, 0, 2), Wait(3.0, 2, 0, 3)], FULL)
    assert judgement.answer == "broken"
    assert judgement.outside == (Wait(3.0, 2, 0, 3),)
    assert "3 s after failure 2 (attempt 3)" in judgement.message


def test_too_few_waits_are_not_judged_and_that_is_said():
    judgement = judge(waits_of(FULL, Random(1), 4, 4), FULL)
    assert judgement.answer == "unclear"
    assert judgement.message.startswith("not enough attempts to tell: 16 waits")


def test_fixed_waits_need_no_statistics():
    schedule = named("exponential", base=1, cap=4)
    assert judge([Wait(w, n, 0, n + 1) for n, w in enumerate([1, 2, 4, 4], 1)], schedule).answer == "kept"
    assert judge([Wait(w, n, 0, n + 1) for n, w in enumerate([1, 1, 1, 1], 1)], schedule).answer == "broken"


def test_more_attempts_than_declared_are_outside():
    schedule = Declared("two", lambda failures, previous: Draw(0, 1), attempts=2)
    assert judge([Wait(0.5, 1, 0, 2), Wait(0.5, 2, 0, 3)], schedule).outside == (Wait(0.5, 2, 0, 3),)


def test_the_same_waits_give_the_same_judgement():
    waits = waits_of(SCHEDULES["decorrelated"], Random(3), 20, 6)
    judged = functools.partial(judge, waits, SCHEDULES["decorrelated"], tolerance=0, seed=4)
    assert judged() == judged()


def test_without_tolerance_the_distance_is_that_of_kolmogorov_and_smirnov():
    waits = waits_of(FULL, Random(9), 10, 5)
    spread = judge(waits, FULL, tolerance=0).tests[0]
    values = [wait.seconds / FULL.after(wait.failures, None).high for wait in waits]
    assert spread.statistic == pytest.approx(stats.kstest(values, "uniform").statistic)


def test_holm_is_that_of_scipy():
    values = [0.01, 0.04, 0.03]
    assert _holm(values) == pytest.approx([0.03, 0.06, 0.06])
