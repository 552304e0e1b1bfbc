"""What the mock saw of a client, counted: calls, waits, storms, herds, the way back."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import chisquare

from loadtests.playing.control import Seen, SeenAnswer
from loadtests.playing.recovery import curve, herd, outage_lines, outage_section, peak, recovery
from loadtests.playing.served import backoff_lines, backoff_section, calls_of, tagged, waits_of

_numbers = iter(range(1, 10**9))


def seen(at: float, question: str, *, ok: bool = True, took: float = 0.1, asks: float | None = None, **more) -> Seen:
    return Seen(
        number=next(_numbers),
        time=at,
        dialect=more.pop("dialect", "v2"),
        operation="chat",
        status=200 if ok else 429,
        error_code=None if ok else 18,
        duration=took,
        body={"messages": [{"role": "user", "content": question}]},
        response=SeenAnswer([("Retry-After", str(asks))] if asks else []),
        **more,
    )


class TestCalls:
    def test_attempts_of_one_question_are_one_call_whatever_comes_between(self):
        a, b = tagged("你好", "1"), tagged("你好", "2")
        entries = [seen(0, a, ok=False), seen(0.05, b), seen(1, a, ok=False), seen(3, a)]
        entries.append(seen(0.5, "", dialect="oauth"))
        first, second = calls_of(reversed(entries))
        assert (len(first.attempts), len(second.attempts)) == (3, 1)
        assert first.waits == [(2, pytest.approx(0.9), False), (3, pytest.approx(1.9), False)]
        assert first.answer is first.attempts[-1]

    def test_waits_that_the_service_asked_for_are_apart(self):
        calls = calls_of([seen(0, "a", ok=False, asks=1), seen(1.2, "a", ok=False), seen(2.3, "a")])
        found = waits_of(calls)
        assert found["2"] == {"count": 0, "asked": 1, "declared": None}
        assert (found["3"]["count"], found["3"]["asked"], found["3"]["p50"]) == (1, 0, 1000)

    def test_the_declared_bounds_stand_beside(self):
        calls = calls_of([seen(0, "a", ok=False), seen(0.5, "a", ok=False), seen(1.5, "a")])
        found = waits_of(calls, "aws-full:base=0.5,cap=8")
        assert [row["declared"] for row in found.values()] == [[0, 500], [0, 1000]]


def test_a_quota_met():
    entries = [seen(0, "a"), seen(0, "b", ok=False), seen(1, "b"), seen(1, "c", ok=False), seen(2, "c", ok=False)]
    entries.append(seen(0, "", dialect="iam"))
    found = backoff_section(entries, quota={"qps": 1}, span=(0, 4))
    assert found["offered"] == {"calls": 3, "rate": 0.75}
    assert found["attempts"] == {"count": 5, "rate": 1.25}
    assert found["admitted"] == {"count": 2, "rate": 0.5}
    assert (found["refused"], found["answered"], found["given_up"], found["token_requests"]) == (3, 2, 1, 1)
    assert (found["amplification"], found["attempts_per_answer"]) == (1.667, 2.5)
    assert found["by_attempt"] == [{"attempt": 1, "sent": 3, "admitted": 1}, {"attempt": 2, "sent": 2, "admitted": 1}]
    assert found["timeline"] == [
        {"second": 0, "offered": 2, "attempts": 2, "admitted": 1},
        {"second": 1, "offered": 1, "attempts": 2, "admitted": 1},
        {"second": 2, "offered": 0, "attempts": 1, "admitted": 0},
    ]


def test_nothing_came():
    found = backoff_section([], quota={"qps": 1}, span=(0, 0))
    assert (found["amplification"], found["timeline"], found["waits"]) == (None, [], {})
    assert outage_section([], window=(1, 2), span=(0, 3), fault={})["recovered"] is False


moments = st.lists(st.floats(0, 20, allow_nan=False), max_size=60).map(sorted)


class TestPeak:
    @given(moments)
    def test_it_is_the_most_of_any_window(self, arrivals):
        count, since = peak(arrivals, 5, 15)
        inside = [at for at in arrivals if 5 <= at < 15]
        windows = [sum(begin <= at < begin + 1.0 for at in inside) for begin in inside]
        assert count == max(windows, default=0)
        assert since is None if not inside else since in inside


class TestRecovery:
    @given(moments, st.floats(0.5, 6))
    def test_it_is_the_first_stretch_with_enough_and_there_is_none_before(self, answers, baseline):
        back = recovery(answers, baseline, 8.0, 18.0)
        wanted = 0.95 * baseline
        starts = [at for at in answers if at >= 8]
        good = [at for at in starts if sum(at <= x <= min(at + 1.0, 18.0) for x in answers) >= wanted - 1e-9]
        assert back == (pytest.approx(min(good) - 8.0) if good else None)

    def test_by_hand(self):
        assert recovery([8.5, 9.0, 10.0, 10.2, 10.4, 10.6], 4, 8.0, 20.0) == 2.0
        assert recovery([8.5, 9.0, 10.0, 10.2, 10.4, 10.6], 8, 8.0, 20.0) is None

    def test_without_a_baseline_there_is_no_way_back(self):
        assert recovery([9.0], 0.0, 8.0, 20.0) is None


class TestHerd:
    def test_the_statistic_is_scipys(self):
        rng = random.Random(4)
        retries = sorted(rng.uniform(0, 1) for _ in range(200))
        counts = [sum(part / 20 <= at < (part + 1) / 20 for at in retries) for part in range(20)]
        statistic, chance = chisquare(counts)
        found = herd(retries, 0.0)
        assert found["dispersion"] == pytest.approx(statistic / 19, abs=1e-3)
        assert found["p"] == pytest.approx(chance, rel=1e-2)
        assert found["largest"] == max(counts)

    def test_arrivals_by_chance_are_no_herd(self):
        rng = random.Random(2)
        found = [herd(sorted(rng.uniform(0, 10) for _ in range(1000)), 0.0) for _ in range(50)]
        assert sum(one["p"] < 0.01 for one in found) <= 4
        assert sum(one["dispersion"] for one in found) / 50 == pytest.approx(1.0, abs=0.05)

    def test_the_same_wait_is_one(self):
        rng = random.Random(1)
        retries = sorted(second + 0.5 + rng.gauss(0, 0.01) for second in range(5) for _ in range(40))
        found = herd(retries, 0.0)
        assert found["dispersion"] > 10
        assert found["p"] < 1e-9

    def test_too_few_say_nothing(self):
        assert herd([0.1, 0.2, 0.3], 0.0) is None


class TestOutage:
    #: Ten calls a second for ten seconds; from 3 to 5 all fails; each failed call is tried again after a second, three
    #: times at most.
    @staticmethod
    def run(wait: float = 1.0) -> list[Seen]:
        entries = []
        for index in range(100):
            at = index * 0.1
            for number in range(4):
                when = at + number * (wait + 0.05)
                down = 3 <= when < 5
                entries.append(seen(when, f"q{index}", ok=not down, took=0.05))
                if not down:
                    break
        return entries

    def test_what_it_did(self):
        found = outage_section(self.run(), window=(3.0, 5.0), span=(0.0, 9.9), fault={"fail": 500})
        assert found["baseline_goodput"] == pytest.approx(10, abs=0.5)
        assert found["baseline_attempts"] == pytest.approx(10, abs=0.5)
        # In the second after it, new calls meet the retries of both seconds before.
        assert found["storm_peak"] in {30, 31}
        assert (found["storm_during"], found["storm_peak_at"]) == (20, pytest.approx(2.0, abs=0.2))
        assert found["recovery_seconds"] <= 0.2
        assert found["recovered"] is True
        struck = found["struck"]
        assert (struck["calls"], struck["answered"], struck["given_up"]) == (20, 20, 0)
        assert found["wasted_attempts"] == 20 + 10  # each of them once, and those of the first second twice
        assert struck["answered_after"]["max"] <= 1200

    def test_clients_that_wait_long_come_back_late(self):
        entries = self.run(wait=20.0)
        for index in range(53, 100):  # after the outage nobody asks until its waits are over
            entries = [one for one in entries if one.question != f"q{index}"]
        found = outage_section(entries, window=(3.0, 5.0), span=(0.0, 30.0), fault={})
        assert found["recovery_seconds"] == pytest.approx(20.05 + 3 - 5, abs=0.3)

    def test_the_curve_counts_everything_once(self):
        entries = self.run()
        calls = calls_of(entries)
        rows = curve(calls, (3.0, 5.0), (0.0, 9.9))
        width = 0.25
        assert round(sum(row["attempts"] for row in rows) * width) == len(entries)
        assert round(sum(row["goodput"] for row in rows) * width) == len(calls)
        assert rows[0]["t"] == -3.0
        assert [row["t"] for row in rows] == [pytest.approx(-3 + index * width) for index in range(len(rows))]


def test_lines_for_people():
    found = backoff_section([seen(0, "a", ok=False), seen(1.5, "a")], quota={"qps": 1}, span=(0, 4))
    assert list(backoff_lines(found)) == [
        "quota qps 1: admitted 1 (0.25/s, 25% of it), refused 1",
        "offered 1 calls (0.25/s) in 2 attempts (0.50/s)",
        "answered 1, given up 0",
        "amplification 2.00 attempts a call, 2.00 an answer",
        "waits before attempt 2: 1 of its own, p50 1.40 s, 1.40 s to 1.40 s",
    ]
    assert list(backoff_lines(backoff_section([], quota={"tpm": 9}, span=(0, 0))))
    found = outage_section(
        TestOutage.run(), window=(3.0, 5.0), span=(0.0, 9.9), fault={"fail": 500, "times": "forever"}
    )
    lines = list(outage_lines(found))
    assert lines[0] == "2.0 s of fail 500; before it 10.0 good calls/s"
    assert "recovered to 95% of that" in "\n".join(lines)
    gone = outage_section(TestOutage.run()[:40], window=(3.0, 5.0), span=(0.0, 9.9), fault={})
    assert any("never came back" in line for line in outage_lines(gone))
