"""Which policy is recommended, and that what is said of the others is so."""

from __future__ import annotations

import re

from hypothesis import given
from hypothesis import strategies as st

from mock_server.quota import Limits
from qfkit.simulation import Outcome, scenario, simulate
from qfkit.simulation.advice import advise

QUOTA = scenario("quota")


def outcome(label="it", *, answered=100, attempts=200, p95=1.0, peak=10, settled=None) -> Outcome:
    return Outcome(
        label=label,
        calls=100,
        answered=answered,
        causes={"attempts": 100 - answered},
        attempts=attempts,
        admitted=answered,
        refused=attempts - answered,
        faults=0,
        attempts_by_call={},
        p50=p95 / 2 if answered else None,
        p95=p95 if answered else None,
        last=p95,
        finished=p95,
        peak=peak,
        storm=None,
        fairness=1.0,
        fairness_answers=1.0,
        recovery=settled,
        settled=settled,
        completions=[],
        arrivals={},
        answers={},
        wall=0.0,
    )


def line(text: str, label: str) -> str:
    return next(line for line in text.splitlines() if line.startswith(f"- {label}: "))


def test_answers_come_before_all_else():
    advice = advise(QUOTA, [outcome("few", answered=98, attempts=100, p95=0.1), outcome("all", attempts=900, p95=60)])
    assert advice.label == "all"
    assert line(advice.text, "few") == "- few: answers 98.0% of the calls."


def test_within_a_point_the_cheaper_one_is_taken_and_the_price_is_told():
    advice = advise(QUOTA, [outcome("most", attempts=400), outcome("cheap", answered=99, attempts=99, p95=1.5)])
    assert advice.label == "cheap"
    assert "answers 99.0% of the calls (the most: 100.0%), with 1.00 attempts an answer" in advice.text
    assert (
        line(advice.text, "most")
        == "- most: 4 times the attempts an answer, 0.67 times the time for 95 % of the answers."
    )


def test_of_equals_the_one_with_the_lowest_peak():
    advice = advise(QUOTA, [outcome("rush", peak=90), outcome("calm", peak=30), outcome("calm too", peak=30)])
    assert advice.label == "calm"
    assert line(advice.text, "rush") == "- rush: as good, but up to 90 attempts a second arrive, not 30."
    assert line(advice.text, "calm too") == "- calm too: as good, within the lines drawn."


def test_after_an_outage_new_calls_count():
    some = [outcome("never", attempts=100), outcome("late", attempts=100, settled=20.0), outcome("soon", settled=4.0)]
    advice = advise(scenario("outage"), some)
    assert advice.label == "soon"
    assert "calls are on time again 4 s after the outage" in advice.text
    assert line(advice.text, "never") == "- never: calls are late until the end, long after the outage."
    assert line(advice.text, "late") == "- late: calls are on time 20 s after the outage, not 4 s."


def test_who_does_not_heed_the_service_is_no_choice_but_where_there_is_no_other():
    some = [outcome("deaf", attempts=100), outcome("good", attempts=300)]
    advice = advise(QUOTA, some, {"deaf"})
    assert advice.label == "good"
    assert line(advice.text, "deaf").endswith("It does not heed Retry-After.")
    assert advise(QUOTA, some[:1], {"deaf"}).label == "deaf"


def test_what_else_must_change():
    late = simulate(scenario("quota", clients=500, limits=Limits(qps=10)), ["full"])
    assert "500 calls at 10 a second take 50 s at best" in late.advice.text
    assert "The outage lasts 20 s" in simulate(scenario("outage"), ["none"]).advice.text
    assert "amplification" in simulate(scenario("errors", clients=50), ["none"]).advice.text
    assert "waits bring nothing" in simulate(scenario("errors", clients=50), ["full"]).advice.text
    assert "must" not in simulate(scenario("quota", clients=50), ["full"]).advice.text


outcomes = st.lists(
    st.builds(
        lambda answered, more, p95, peak: (answered, answered + more, p95, peak),
        st.integers(0, 100),
        st.integers(0, 500),
        st.floats(0.1, 100),
        st.integers(1, 1000),
    ),
    min_size=1,
    max_size=8,
)


@given(outcomes)
def test_nobody_is_better_in_everything(figures):
    found = [
        outcome(f"p{at}", answered=answered, attempts=attempts, p95=p95, peak=peak)
        for at, (answered, attempts, p95, peak) in enumerate(figures)
    ]
    advice = advise(QUOTA, found)
    if not any(it.answered for it in found):
        assert advice.label is None
        return
    chosen = next(it for it in found if it.label == advice.label)
    for other in found:
        if other.answered:
            assert not (
                other.share >= chosen.share
                and other.attempts_per_answer < chosen.attempts_per_answer * 0.97
                and other.p95 < chosen.p95 * 0.97
            )
    assert len(re.findall(r"^- p\d", advice.text, re.MULTILINE)) == len(found) - 1
