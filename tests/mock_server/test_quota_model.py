"""The quotas against a model of them that keeps everything and counts by definition."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from fractions import Fraction
from itertools import combinations_with_replacement

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from mock_server.quota import Granted, Limits, Quota, Refused
from mock_server.quota.windows import WINDOWS

SECOND = 10**6
PERIODS = {"qps": SECOND, "rpm": 60 * SECOND, "tpm": 60 * SECOND}
ORDER = ["total", "daily", "qps", "concurrency", "rpm", "tpm"]
KINDS = {"total": "quota_total", "daily": "quota_daily", "concurrency": "rate_limit_qps"}
CHINA = timezone(timedelta(hours=8))
#: 2026-11-23 23:58:20 in China: a day ends soon.
BEGIN = datetime(2026, 11, 23, 23, 58, 20, tzinfo=CHINA)


class MicroClock:
    """Time in whole microseconds."""

    def __init__(self):
        self.micros = 0

    def time(self):
        return (int(BEGIN.timestamp()) * SECOND + self.micros) / SECOND

    def monotonic(self):
        return 98765.4321 + self.micros / SECOND

    def sleep(self, seconds):
        self.micros += round(seconds * SECOND)


def in_fixed_window(events, now, period):
    start, used = None, 0
    for at, amount in events:
        if start is None or at >= start + period:
            start, used = at, 0
        used += amount
    return used if start is not None and now < start + period else 0


def in_sliding_window(events, now, period):
    return sum(amount for at, amount in events if now - period < at)


def in_bucket(events, now, period, limit):
    level, before = Fraction(limit), 0
    for at, amount in [*events, (now, 0)]:
        level = min(Fraction(limit), level + Fraction((at - before) * limit, period)) - amount
        before = at
    return level


small = st.integers(0, 6)
limits = st.builds(
    Limits,
    qps=st.none() | small,
    rpm=st.none() | small,
    tpm=st.none() | st.integers(0, 40),
    daily=st.none() | st.integers(0, 12),
    total=st.none() | st.integers(0, 20),
    concurrency=st.none() | small,
    window=st.sampled_from(["fixed", "sliding", "bucket"]),
)
tokens = st.integers(0, 15) | st.integers(0, 50)
pauses = st.one_of(
    st.integers(0, 300_000),
    st.sampled_from([1, SECOND // 6, SECOND - 1, SECOND, SECOND + 1, 10 * SECOND, 60 * SECOND - 1, 60 * SECOND]),
    st.integers(0, 70 * SECOND),
    st.just(86_400 * SECOND),
)


class QuotaMachine(RuleBasedStateMachine):
    @initialize(limits=limits)
    def begin(self, limits):
        self.limits, self.clock = limits, MicroClock()
        self.quota = Quota(limits, self.clock)
        self.requests = []  # moments at which one was let in
        self.spent = []  # [moment, tokens], corrected when they are settled
        self.open = []
        self.unsettled = []
        self.last_refusal = None

    # The model

    @property
    def now(self):
        return self.clock.micros

    def today(self):
        def day(at):
            return (BEGIN + timedelta(microseconds=at)).date()

        return sum(day(at) == day(self.now) for at in self.requests)

    def used(self, field):
        if field in ("total", "daily", "concurrency"):
            return {"total": len(self.requests), "daily": self.today(), "concurrency": len(self.open)}[field]
        events = self.spent if field == "tpm" else [(at, 1) for at in self.requests]
        period, limit = PERIODS[field], getattr(self.limits, field)
        if self.limits.window == "bucket":
            return limit - (in_bucket(events, self.now, period, limit) // 1)
        count = in_fixed_window if self.limits.window == "fixed" else in_sliding_window
        return count(events, self.now, period)

    def refusing(self, tokens):
        found = []
        for field in ORDER:
            limit = getattr(self.limits, field)
            amount = tokens if field == "tpm" else 1
            if limit is not None and (limit == 0 or self.used(field) + amount > limit):
                found.append(field)
        return found

    # What happens

    @rule(tokens=tokens)
    def ask(self, tokens):
        expected = self.refusing(tokens)
        admission = self.quota.admit(tokens)
        if expected:
            assert isinstance(admission, Refused), f"let in, but {expected} are used up"
            assert admission.quota == expected[0]
            assert admission.kind == KINDS.get(expected[0], f"rate_limit_{expected[0]}")
            assert len(admission.reason.splitlines()) == 1
            self.last_refusal = (self.now, tokens, expected, admission)
            return
        assert isinstance(admission, Granted), f"refused what fits: {admission}"
        self.last_refusal = None
        self.requests.append(self.now)
        self.spent.append([self.now, tokens])
        self.open.append(admission)
        self.unsettled.append((admission, self.spent[-1]))

    @rule(pause=pauses)
    def wait(self, pause):
        self.clock.micros += pause

    @precondition(lambda self: self.last_refusal and self.last_refusal[0] == self.now)
    @rule()
    def wait_as_told(self):
        _, tokens, expected, refusal = self.last_refusal
        if refusal.retry_after is None:
            self.clock.micros += 61 * SECOND
            assert self.refusing(tokens)
            return
        wait = round(refusal.retry_after * SECOND)
        assert 0 < wait <= 86_400 * SECOND
        if "concurrency" not in expected:
            self.clock.micros += wait - min(wait, 1001)
            assert self.refusing(tokens), "it would have fitted a millisecond earlier"
            self.clock.micros += min(wait, 1001)
            self.ask(tokens)
            assert self.requests[-1] == self.now, "it waited as told and was refused again"

    @precondition(lambda self: self.open)
    @rule(data=st.data())
    def release(self, data):
        admission = self.open.pop(data.draw(st.integers(0, len(self.open) - 1)))
        admission.release()
        admission.release()
        self.last_refusal = None

    @precondition(lambda self: self.unsettled)
    @rule(data=st.data(), used=tokens)
    def settle(self, data, used):
        admission, event = self.unsettled.pop(data.draw(st.integers(0, len(self.unsettled) - 1)))
        admission.settle(used)
        admission.settle(1000)
        self.last_refusal = None
        if used > event[1]:
            self.spent.append([self.now, used - event[1]])
        elif self.limits.window != "bucket":
            event[1] = used

    @invariant()
    def the_state_is_the_model_s(self):
        set_limits = [field for field in ORDER if getattr(self.limits, field) is not None]
        assert self.quota.used() == {field: self.used(field) for field in set_limits}
        left = self.quota.remaining()
        assert left.requests == (None if self.limits.rpm is None else max(0, self.limits.rpm - self.used("rpm")))
        assert left.tokens == (None if self.limits.tpm is None else max(0, self.limits.tpm - self.used("tpm")))


QuotaMachine.TestCase.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
TestQuotaMachine = QuotaMachine.TestCase


def fits(window, events, now, amount, *, limit, period):
    """Whether ``amount`` more is within the quota, by the definition of the window."""
    if not limit:
        return False
    if window == "bucket":
        return in_bucket(events, now, period, limit) >= amount
    count = in_fixed_window if window == "fixed" else in_sliding_window
    return count(events, now, period) + amount <= limit


@pytest.mark.parametrize("window", ["fixed", "sliding", "bucket"])
@settings(max_examples=400)
@given(
    limit=st.integers(0, 9),
    period=st.integers(1, 9),
    steps=st.lists(st.tuples(st.integers(0, 12), st.integers(0, 10), st.booleans()), max_size=25),
)
def test_a_window_lets_in_what_fits_by_its_definition_and_waits_no_moment_too_long(window, limit, period, steps):
    counter, now, events = WINDOWS[window](limit, period), 0, []
    for pause, amount, unasked in steps:
        now += pause
        wait = counter.wait(now, amount)
        assert (wait == 0) == (amount <= limit and fits(window, events, now, amount, limit=limit, period=period))
        if wait is None:
            assert amount > limit or not limit
        elif wait:
            assert fits(window, events, now + wait, amount, limit=limit, period=period)
            assert not fits(window, events, now + wait - 1, amount, limit=limit, period=period)
        if wait == 0 or unasked:  # as when more was used than was asked for
            counter.take(now, amount)
            events.append((now, amount))


@pytest.mark.parametrize("window", ["sliding", "bucket"])
@given(limit=st.integers(1, 30), asked=st.lists(st.tuples(pauses, st.integers(1, 30)), max_size=40))
def test_no_stretch_of_time_holds_more_than_the_quota(window, limit, asked):
    clock = MicroClock()
    quota = Quota(Limits(tpm=limit, window=window), clock)
    let_in = []
    for pause, amount in asked:
        clock.micros += pause
        if isinstance(quota.admit(amount), Granted):
            let_in.append((clock.micros, amount))
    minute = 60 * SECOND
    for (first, _), (last, _) in combinations_with_replacement(let_in, 2):
        taken = sum(amount for at, amount in let_in if first <= at <= last)
        if window == "bucket":
            assert taken <= limit + Fraction(limit * (last - first), minute)
        elif last - first < minute:
            assert taken <= limit


@given(limit=st.integers(1, 30), asked=st.lists(st.tuples(pauses, st.integers(1, 30)), max_size=60))
def test_no_fixed_window_holds_more_than_the_quota(limit, asked):
    clock = MicroClock()
    quota = Quota(Limits(tpm=limit), clock)
    windows = []  # [begin, tokens]
    for pause, amount in asked:
        clock.micros += pause
        if isinstance(quota.admit(amount), Granted):
            if not windows or clock.micros >= windows[-1][0] + 60 * SECOND:
                windows.append([clock.micros, 0])
            windows[-1][1] += amount
    assert all(taken <= limit for _, taken in windows)
