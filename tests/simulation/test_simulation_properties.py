"""What holds of every simulation, whatever is simulated."""

from __future__ import annotations

import math
import multiprocessing
import os

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mock_server.quota import Limits
from qfkit import RetryBudget, RetryPolicy
from qfkit.simulation import TooMuch, WorkerLost, contender, jain, scenario, simulate
from qfkit.simulation.agenda import Agenda
from qfkit.simulation.measures import Curve, Rush, quantile
from qfkit.simulation.policies import Contender
from qfkit.simulation.run import Run

seconds = st.floats(0, 3, allow_nan=False)
policies = st.builds(
    RetryPolicy,
    attempts=st.integers(1, 6),
    base=seconds,
    factor=st.floats(1, 3),
    cap=seconds,
    jitter=st.sampled_from(["full", "equal", "decorrelated", "none"]),
    retry_after_ceiling=st.sampled_from([0.1, 60.0]),
    max_total=st.none() | st.floats(0, 10),
    budget=st.none() | st.builds(RetryBudget, ratio=st.floats(0, 1), reserve=st.integers(1, 5)),
)
limits = st.builds(
    Limits,
    qps=st.none() | st.integers(0, 8),
    rpm=st.none() | st.integers(0, 30),
    concurrency=st.none() | st.integers(0, 5),
    window=st.sampled_from(["fixed", "sliding", "bucket"]),
)
loads = st.one_of(
    st.fixed_dictionaries({"clients": st.integers(1, 20), "calls": st.integers(1, 4), "over": seconds}),
    st.fixed_dictionaries(
        {
            "clients": st.integers(1, 8),
            "rate": st.floats(1, 20),
            "duration": st.floats(1, 5),
            "arrivals": st.sampled_from(["even", "poisson"]),
        }
    ),
)
situations = st.builds(
    lambda load, service: scenario("quota", **load, **service),
    loads,
    st.fixed_dictionaries(
        {
            "limits": limits,
            "outage_at": seconds,
            "outage": seconds,
            "fault": st.sampled_from(["error", "hang", "reset"]),
            "timeout": st.just(2.0),
            "error_rate": st.floats(0, 1),
            "hop": st.floats(0, 0.1),
            "hop_sd": st.floats(0, 0.05),
            "answer": st.floats(0, 0.5),
            "dialect": st.sampled_from(["text_generation", "v1", "v2"]),
            "seed": st.integers(0, 5),
        }
    ),
)
contended = st.builds(
    lambda clients, seed: scenario("contention", clients=clients, seed=seed), st.integers(1, 12), st.integers(0, 5)
)


def admitted_in(run: Run) -> list[float]:
    """When the service let attempts in."""
    moments: list[float] = []
    answer = run.service.answer

    def watched(version: int):
        failure = answer(version)
        if failure is None:
            moments.append(run._agenda.now)
        return failure

    class Watched:
        read = staticmethod(run.service.read)
        answer = staticmethod(watched)

    run.service = Watched()
    run.go()
    return moments


@settings(max_examples=120)
@given(situations | contended, policies, st.booleans())
def test_nothing_is_lost(situation, policy, honours):
    outcome = simulate(situation, [Contender("policy", policy, honours)]).outcomes[0]
    assert outcome.calls == situation.total == outcome.answered + sum(outcome.causes.values())
    assert outcome.attempts == outcome.admitted + outcome.refused + outcome.faults
    assert outcome.admitted == outcome.answered, "what is let in is answered"
    assert outcome.attempts == sum(count * calls for count, calls in outcome.attempts_by_call.items())
    assert sum(outcome.attempts_by_call.values()) == outcome.calls
    assert min(outcome.attempts_by_call) >= 1
    assert max(outcome.attempts_by_call) <= policy.attempts
    assert outcome.attempts == sum(outcome.arrivals["counts"])
    assert outcome.answered == sum(outcome.answers["counts"])
    assert outcome.wasted == outcome.attempts - outcome.answered
    if outcome.answered:
        assert 0 <= outcome.p50 <= outcome.p95 <= outcome.last <= outcome.finished
        assert list(outcome.completions) == sorted(outcome.completions)
    for index in (outcome.fairness, outcome.fairness_answers):
        assert index is None or 1 / situation.clients - 1e-9 <= index <= 1 + 1e-9


@settings(max_examples=60)
@given(situations, policies)
def test_no_call_goes_past_what_its_policy_says(situation, policy):
    run = Run(situation, Contender("policy", policy))
    run.go()
    for began, ended, answered in zip(run.began, run.ended, run.answered, strict=True):
        assert ended >= began
        if policy.max_total is not None and answered:
            # The last wait ends within max_total; what comes after it is the last attempt.
            last = situation.answer + 2 * situation.hop + 20 * situation.hop_sd
            assert ended - began <= policy.max_total + last + 1e-6
    assert run._agenda.now == max(run.ended)


@settings(max_examples=60)
@given(
    st.integers(1, 60),
    seconds,
    st.integers(1, 8),
    st.sampled_from(["fixed", "sliding", "bucket"]),
    st.sampled_from(["full:attempts=6", "immediate:attempts=20", "full:attempts=6,retry_after=no"]),
)
def test_no_window_holds_more_than_the_quota(clients, over, qps, window, policy):
    run = Run(scenario("quota", clients=clients, over=over, limits=Limits(qps=qps, window=window)), contender(policy))
    moments = admitted_in(run)
    # Any second meets two fixed windows, and a full bucket with what flows in meanwhile.
    most = qps if window == "sliding" else 2 * qps
    for at, start in enumerate(moments):
        assert sum(moment < start + 1 - 1e-6 for moment in moments[at:]) <= most
    if window == "fixed":  # windows that begin with their first request, counted once more, without the quota
        while moments:
            inside = [moment for moment in moments if moment < moments[0] + 1 - 1e-6]
            assert len(inside) <= qps
            moments = [moment for moment in moments if moment >= moments[0] + 1 - 1e-6]


@settings(max_examples=25)
@given(situations, policies)
def test_the_same_seed_gives_the_same_figures(situation, policy):
    first, second = (simulate(situation, {"policy": policy}).outcomes[0].to_dict() for _ in range(2))
    assert first | {"wall": 0} == second | {"wall": 0}


class TestProcesses:
    def test_they_change_nothing(self):
        situation, names = scenario("outage", duration=40), ["full", "full:budget=0.2", "openai"]
        alone, together = (simulate(situation, names, jobs=jobs).to_dict() for jobs in (1, 2))
        for one in (*alone["policies"], *together["policies"]):
            one["wall"] = 0
        assert alone == together

    def test_one_that_is_stopped_stops_all(self):
        with pytest.raises(TooMuch, match=r"(full|equal): stopped after 500 attempts"):
            simulate(scenario("quota"), ["full", "equal"], jobs=2, most_attempts=500)
        assert multiprocessing.active_children() == []

    def test_one_that_dies_is_told(self):
        class Dies:
            def __reduce__(self):
                return os._exit, (9,)

        with pytest.raises(WorkerLost, match="exit code 9 before its work was done; if memory ran out"):
            simulate(scenario("quota"), [Contender("dies", Dies()), contender("none")], jobs=2)
        assert multiprocessing.active_children() == []

    def test_progress_comes_through(self, monkeypatch):
        monkeypatch.setattr("qfkit.simulation.compare._PATIENCE", 0.0)
        situation = scenario("quota", clients=20_000, limits=Limits(qps=1))
        words: list[str] = []
        simulate(situation, ["full:attempts=4"], jobs=2, tell=words.append)
        assert words[0].startswith("full:attempts=4: 65,536 attempts, ")
        assert words[-1].startswith("1/1 full:attempts=4: ")


def test_another_seed_gives_others():
    figures = {simulate(scenario("quota", seed=seed), ["full"]).outcomes[0].last for seed in range(4)}
    assert len(figures) == 4


def test_policies_meet_the_same_arrivals():
    situation = scenario("errors", clients=200, over=20, seed=5)
    runs = [Run(situation, contender(name)) for name in ("none", "full", "openai")]
    for run in runs:
        run.go()
    assert runs[0].began == runs[1].began == runs[2].began


def test_one_who_never_ends_is_stopped():
    with pytest.raises(TooMuch, match=r"immediate.*stopped after 5,000 attempts.*not at its end"):
        simulate(
            scenario("quota", limits=Limits(qps=0), hop=0, hop_sd=0),
            ["immediate:attempts=1000000,max_total=none"],
            most_attempts=5000,
        )


class TestMeasures:
    @given(st.lists(st.floats(0, 1e6), min_size=1, max_size=50))
    def test_jain_lies_between_one_for_all_and_one_for_one(self, shares):
        index = jain(shares)
        if not any(share * share for share in shares):
            assert index is None
        else:
            assert 1 / len(shares) - 1e-9 <= index <= 1 + 1e-9
            assert index == pytest.approx(np.mean(shares) ** 2 / np.mean(np.square(shares)), rel=1e-6)

    @given(st.lists(st.floats(0.1, 1e3), min_size=1, max_size=20), st.floats(0.1, 100))
    def test_jain_does_not_know_units(self, shares, unit):
        assert jain(shares) == pytest.approx(jain([share * unit for share in shares]))

    @given(st.integers(1, 30), st.integers(0, 30), st.floats(0.1, 100))
    def test_jain_is_the_share_of_those_who_have_the_same_while_others_have_nothing(self, some, others, share):
        assert jain([share] * some + [0.0] * others) == pytest.approx(some / (some + others))  # its paper, section 3

    @given(st.lists(st.floats(0, 100), min_size=1, max_size=60), st.floats(0, 1))
    def test_quantiles_of_nearest_rank(self, values, share):
        expected = np.quantile(values, share, method="inverted_cdf")
        exact = share * len(values)
        if abs(exact - round(exact)) > 1e-9:  # on the edge between two ranks rounding decides
            assert quantile(sorted(values), share) == expected

    @given(st.lists(st.floats(0, 50), min_size=1, max_size=80))
    def test_the_rush_is_the_fullest_second(self, moments):
        moments.sort()
        rush = Rush()
        for moment in moments:
            rush.add(moment)
        assert rush.peak == max(sum(end - 1 < moment <= end for moment in moments) for end in moments)

    @given(st.lists(st.floats(0, 1e7), min_size=1, max_size=80))
    def test_a_curve_loses_nothing_and_stays_small(self, moments):
        moments.sort()
        curve = Curve()
        for moment in moments:
            curve.add(moment)
        assert sum(curve.counts) == len(moments)
        assert len(curve.counts) <= 512
        edges = np.arange(len(curve.counts) + 1) * curve.width
        assert curve.counts == np.histogram(moments, edges)[0].tolist() or moments[-1] == edges[-1]

    def test_recovery_and_what_comes_after_it(self):
        # Without retries there is no storm: the first call after the fault is answered at once.
        calm = simulate(scenario("outage"), ["none"]).outcomes[0]
        assert calm.settled == 0
        assert 0 <= calm.recovery < 1
        assert calm.storm <= 1.1
        # Those that all come back together fill the quota: answers are many at once, but new calls are late.
        storm = simulate(scenario("outage"), ["fixed:attempts=50,max_total=none"]).outcomes[0]
        assert storm.storm > 5
        assert storm.recovery < 1 < storm.settled

    def test_what_does_not_recover_says_so(self):
        tight = scenario("outage", duration=70, limits=Limits(qps=51))
        outcome = simulate(tight, ["fixed:attempts=200,max_total=none"]).outcomes[0]
        assert outcome.settled is None
        assert simulate(scenario("quota"), ["none"]).outcomes[0].recovery is None


class TestAgenda:
    @given(st.lists(st.floats(0, 100), max_size=40))
    def test_events_come_in_order_and_those_of_one_moment_as_put_down(self, moments):
        agenda, seen = Agenda(), []
        for number, moment in enumerate(moments):
            agenda.at(moment, lambda subject, _: seen.append((agenda.now, subject)), number)
        agenda.run()
        assert seen == sorted(seen)
        assert [number for _, number in seen] == sorted(range(len(moments)), key=lambda at: (moments[at], at))

    def test_it_is_a_clock_on_which_nobody_sleeps(self):
        agenda = Agenda()
        agenda.at(2.5, lambda *_: None, 0)
        agenda.run()
        assert (agenda.monotonic(), agenda.time() % 86_400) == (2.5, 16 * 3600 + 2.5)
        with pytest.raises(RuntimeError, match="nobody sleeps"):
            agenda.sleep(1)


def test_a_hundred_thousand_clients_take_seconds_and_little_memory():
    situation = scenario("quota", clients=100_000, over=50, limits=Limits(qps=5000))
    outcome = simulate(situation, ["full:retry_after=no,attempts=5"], jobs=1).outcomes[0]
    assert outcome.answered + outcome.causes.get("attempts", 0) == 100_000
    assert math.isfinite(outcome.last)
    assert outcome.peak >= 2000
