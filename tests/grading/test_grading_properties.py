"""Whatever a client does, it gets a verdict; and whoever keeps to a sane policy gets a good one."""

from __future__ import annotations

import json
from random import Random

from hypothesis import given, settings
from hypothesis import strategies as st
from traces import ANSWERS, Trace, merged

from qfkit.grading import CODES, Limits, Observation, Signed, grade
from qfkit.grading.schedules import Declared, of_backoff
from qfkit.protocol.backoff import Backoff

#: Numbers, some of them none that a clock shows.
moments = st.floats(-1e3, 1e6, allow_nan=False) | st.sampled_from([0.0, 1e9, 1.7e9])

signatures = st.builds(
    Signed,
    timestamp=st.none() | moments,
    nonce=st.none() | st.sampled_from(["", "a", "b"]),
    mark=st.sampled_from(["", "x"]),
    form=st.none() | st.sampled_from(["B/path", "A/url"]),
    reason=st.sampled_from(["ok", "replayed", "expired", "mismatch"]),
)

anything = st.builds(
    Observation,
    number=st.integers(1, 50),
    began=moments,
    ended=st.none() | moments,
    due=st.none() | moments,
    dialect=st.sampled_from(["text_generation", "v1", "v2", "oauth", "iam", "console", "unknown"]),
    content=st.sampled_from(["a", "b"]),
    call_id=st.none() | st.sampled_from(["1", "2"]),
    retry_count=st.none() | st.integers(0, 3),
    agent=st.sampled_from(["", "python-requests/2"]),
    status=st.sampled_from([0, 200, 204, 400, 401, 429, 500, 504]),
    code=st.none() | st.sampled_from([18, 110, 336003, "invalid_iam_token", "x"]),
    retryable=st.booleans(),
    retry_after=st.none() | st.floats(0, 1e5),
    streamed=st.booleans(),
    pieces=st.integers(0, 3),
    broken=st.booleans(),
    outcome=st.sampled_from(["pending", "complete", "cut", "reset", "hung up"]),
    scheme=st.none() | st.sampled_from(["hmac", "bearer"]),
    signed=st.none() | signatures,
    token=st.none() | st.sampled_from(["s", "t"]),
    findings=st.sampled_from([(), ("old-key",), ("secret-in-clear: sk in the body",)]),
)


@settings(max_examples=300)
@given(st.lists(anything, max_size=14), st.sets(st.integers(1, 50)), st.booleans())
def test_there_is_a_verdict_on_anything(seen, noticed, waits_seen):
    numbers = {one.number for one in seen}
    for schedule in (None, "openai"):
        verdict = grade(seen, noticed=noticed, waits_seen=waits_seen, schedule=schedule)
        json.dumps(verdict.to_dict(), allow_nan=False)
        assert verdict.render()
        assert verdict.ok == (not verdict.codes)
        assert sum(len(call.attempts) for call in verdict.calls) == verdict.attempts
        for finding in verdict.findings:
            assert finding.code in CODES
            assert finding.evidence
            assert set(finding.attempts) <= numbers


policies = st.builds(
    Backoff,
    base=st.floats(0.2, 2.0),
    factor=st.floats(1.8, 3.0),
    cap=st.floats(20.0, 60.0),
    jitter=st.sampled_from(["full", "equal", "decorrelated"]),
)

failures = st.lists(st.sampled_from(["busy", "v1 busy", "torn", "cut early", "asked", "stale"]), max_size=3)


def obedient(trace, policy, random, answers, content):
    """A client that keeps to a policy, waits as it is told, and renews its token."""
    previous, failed = None, 0
    for answer in answers:
        one = trace.ask(answer, content, token=f"{trace.now}")
        if answer == "stale":
            trace.fetch()
            continue
        failed += 1
        if one.retry_after:
            trace.now += one.retry_after
            continue
        previous = policy.draw(failed, random, previous)
        trace.now += previous
    trace.ask("stream" if answers and answers[-1] == "cut early" else "ok", content)
    trace.now += random.uniform(0.0, 3.0)


@settings(max_examples=300)
@given(policies, st.lists(failures, min_size=1, max_size=9), st.integers(0, 10_000))
def test_whoever_keeps_to_a_sane_policy_is_told_off_for_nothing(policy, calls, seed):
    trace, random = Trace(), Random(seed)
    for number, answers in enumerate(calls):
        obedient(trace, policy, random, answers, f"q{number}")
    verdict = grade(trace.seen)
    # Chance may make one who draws at random look like one who does not: see `Limits` and the table of codes.
    unlucky = {"no-backoff", "backoff-not-growing", "no-jitter"}
    assert not set(verdict.codes) - unlucky, verdict.render()


def test_chance_makes_good_clients_look_bad_hardly_ever():
    told_off = []
    for seed in range(1500):
        random = Random(seed)
        policy = Backoff(
            base=random.uniform(0.2, 2.0),
            factor=random.uniform(1.8, 3.0),
            cap=random.uniform(20.0, 60.0),
            jitter=random.choice(["full", "equal", "decorrelated"]),
        )
        trace = Trace()
        for number in range(random.randint(1, 9)):
            answers = random.choices(["busy", "v1 busy", "torn", "stale"], k=random.randint(0, 3))
            obedient(trace, policy, random, answers, f"q{number}")
        told_off += grade(trace.seen).codes
    assert len(told_off) <= 15, told_off  # one in a hundred, of all codes together


@settings(max_examples=100)
@given(st.data())
def test_clients_that_ask_different_things_are_judged_as_if_they_were_alone(data):
    """All rules but those about many clients look at each call alone."""
    alone, traces = set(), []
    for number in range(data.draw(st.integers(1, 4))):
        trace = Trace(1.7e9 + number * 1e-4)
        answers = data.draw(st.lists(st.sampled_from(sorted(set(ANSWERS) - {"left"})), min_size=1, max_size=4))
        trace.call(answers, lambda failed: 0.4 * 2.0**failed, f"q{number}")
        traces.append(trace)
        alone |= set(grade(trace.seen).codes)
    together = set(grade(merged(*traces), limits=Limits(herd=50)).codes)
    of_many = {"no-jitter", "backoff-not-growing"}
    # What one client tries again, another may give up for want of budget: see `not-retried`.
    assert together - of_many <= alone
    assert alone - of_many - {"not-retried", "body-code-unnoticed"} <= together


def test_a_schedule_may_be_anything_that_says_its_draws():
    declared = of_backoff(Backoff(base=0.5, factor=2, cap=8, jitter="full"), attempts=3)
    assert isinstance(declared, Declared)
    assert grade([], schedule=declared).judgement.answer == "unclear"
