"""Misfortune at random: as often as it was asked for, and the same again for the same seed."""

from __future__ import annotations

import json
import threading
from concurrent.futures import ThreadPoolExecutor
from itertools import groupby
from pathlib import Path
from types import SimpleNamespace

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from mock_server import MockServer, Settings, State
from mock_server.chaos import Chaos, Storm
from mock_server.core import handle
from mock_server.faults.options import OptionError, UnknownOption, rows
from mock_server.handle import AccountHandle
from mock_server.scenario import Failure
from qfkit.protocol.http import HttpRequest

QUESTION = SimpleNamespace(stream=False, time=0.0, dialect="v2")
STREAM = SimpleNamespace(stream=True, time=0.0, dialect="v2")
MANY = 20_000


def fates(chaos, count=MANY, question=QUESTION):
    storm = Storm(chaos, 0.0)
    return [storm.fate(number, question) for number in range(1, count + 1)]


def is_likely(hits, count, rate):
    return stats.binomtest(hits, count, rate).pvalue > 1e-6


@pytest.mark.parametrize("rate", [0.01, 0.1, 0.5, 0.99])
def test_as_many_fail_as_were_asked_for(rate):
    failed = sum(fate is not None for fate in fates(Chaos(seed=3, error_rate=rate)))
    assert is_likely(failed, MANY, rate)


def test_kinds_share_as_their_rates_say():
    chaos = Chaos(seed=1, error_rate=0.1, reset_rate=0.05, slow_rate=0.2, slow=3.0, codes=(18, 336100))
    described = [fate.describe() for fate in fates(chaos) if fate is not None]
    for words, rate in (
        ("fail 18", 0.05),
        ("fail 336100", 0.05),
        ("fault reset", 0.05),
        ("fault delay (delay=3.0)", 0.2),
    ):
        assert is_likely(described.count(words), MANY, rate), words


@pytest.mark.parametrize(
    ("option", "whole", "stream"),
    [
        ("cut_rate", "fault wrong-length", "default (cut_after=1)"),
        ("stall_rate", "fault hang", "default (stall_after=1)"),
        ("stream_error_rate", "fail 18", "default (error_after=1, error=18)"),
    ],
)
def test_what_breaks_a_stream_breaks_other_answers_in_their_way(option, whole, stream):
    chaos = Chaos(codes=18, **{option: 1.0})
    assert fates(chaos, 1)[0].describe() == whole
    assert fates(chaos, 1, STREAM)[0].describe() == stream


@given(
    seed=st.integers(0, 2**40),
    rates=st.dictionaries(
        st.sampled_from(["error_rate", "reset_rate", "hang_rate", "proxy_rate", "garbage_rate"]), st.floats(0, 0.2)
    ),
    burst=st.none() | st.floats(200, 2000),
)
def test_the_same_seed_breaks_the_same_requests_whoever_asks_first(seed, rates, burst):
    chaos = Chaos(seed=seed, burst=burst, **rates)
    forwards = Storm(chaos, 0.0)
    backwards = Storm(chaos, 0.0)
    numbers = range(1, 60)
    first = [forwards.fate(number, QUESTION) for number in numbers]
    again = [backwards.fate(number, QUESTION) for number in reversed(numbers)]
    assert first == again[::-1]
    if not sum(rates.values()):
        assert set(first) == {None}


def test_another_seed_breaks_others():
    failing = [{n for n, fate in enumerate(fates(Chaos(seed=s, error_rate=0.3), 200)) if fate} for s in (1, 2)]
    assert failing[0] != failing[1]


@pytest.mark.parametrize(("rate", "burst"), [(0.1, 5.0), (0.5, 2.0), (0.3, 20.0)])
def test_bursts_are_as_long_as_asked_and_fail_as_many(rate, burst):
    failed = [fate is not None for fate in fates(Chaos(seed=9, error_rate=rate, burst=burst))]
    runs = [len(list(run)) for bad, run in groupby(failed) if bad][1:-1]  # those at the edges are cut off
    # Geometric from 1 with this mean: the mean of so many lengths is near normal.
    spread = (burst * (burst - 1) / len(runs)) ** 0.5
    assert abs(sum(runs) / len(runs) - burst) < 5 * spread
    longest = 4 * int(burst)
    counts = [sum(run == length for run in runs) for length in range(1, longest)]
    counts.append(len(runs) - sum(counts))
    law = stats.geom(1 / burst)
    expected = [law.pmf(length) * len(runs) for length in range(1, longest)]
    expected.append(len(runs) - sum(expected))
    kept = [(got, want) for got, want in zip(counts, expected, strict=True) if want >= 5]
    got, want = zip(*kept, strict=True)
    scale = sum(got) / sum(want)
    assert stats.chisquare(got, [each * scale for each in want]).pvalue > 1e-4
    # In bursts, failures are far from independent: so many standard errors more are allowed.
    assert abs(sum(failed) / MANY - rate) < 5 * (rate * (1 - rate) * 2 * burst / MANY) ** 0.5


def test_an_outage_is_exact():
    storm = Storm(Chaos(outages=[(10, 20), (30, 31)], outage=503), since=1000.0)

    def at(time):
        taken = storm.strike(SimpleNamespace(stream=False, time=time, dialect="v2"))
        return None if taken is None else taken.name

    assert at(1009.999) is None
    assert at(1010.0) == "chaos seed=0 request 2, outage: fail 503"
    assert at(1019.999).endswith("outage: fail 503")
    assert at(1020.0) is None
    assert at(1030.5).endswith("outage: fail 503")
    assert at(1031.0) is None


@pytest.mark.parametrize("kind", ["reset", "hang", "close", "garbage", "proxy-error"])
def test_an_outage_may_be_a_fault(kind):
    storm = Storm(Chaos(outages=[(0, 1)], outage=kind), since=0.0)
    assert storm.strike(QUESTION).name.endswith(f"outage: fault {kind}")


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"error_rate": 0.7, "reset_rate": 0.4}, OptionError, "together at most 1; got error_rate=0.7, reset_rate=0.4"),
        ({"eror_rate": 0.7}, UnknownOption, "did you mean 'error_rate'"),
        ({"error_rate": 1.5}, OptionError, "error_rate is a share of the requests, from 0 to 1"),
        ({"codes": [999999]}, OptionError, "codes is an error code of the table"),
        ({"codes": []}, OptionError, "codes is"),
        ({"outage": None}, OptionError, "outage is an error code, or one of close, garbage"),
        ({"outages": [("1", 2)]}, OptionError, "outages is a list"),
        ({"outages": [(True, 2)]}, OptionError, "outages is a list"),
        ({"outages": [(5, 5)]}, OptionError, r"outages is a list of \(start, end\)"),
        ({"outage": 424242, "outages": [(0, 1)]}, ValueError, "424242"),
        ({"error_rate": 0.9, "burst": 2}, OptionError, "bursts are 9 long at least; got 2"),
    ],
)
def test_nonsense_is_refused_where_it_is_written(options, error, says):
    with pytest.raises(error, match=says):
        Chaos.of(options, "chaos()")


# On an account


class Frozen:
    """Time that passes when somebody sleeps."""

    now = 1_714_550_400.0

    def time(self):
        return self.now

    monotonic = time

    def sleep(self, seconds):
        self.now += seconds


def ask(state, account):
    content = json.dumps({"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "?"}]}).encode()
    headers = (("Authorization", f"Bearer {account.credentials.bearer_token}"),)
    return handle(HttpRequest("POST", "/v2/chat/completions", headers, content, "http"), state).status


def mocked(clock=None):
    state = State(Settings(), *([clock] if clock else []))
    return state, AccountHandle(state.add_account(), state, "http://127.0.0.1:1")


def test_it_goes_before_rules_and_says_its_seed_in_the_journal():
    state, account = mocked()
    account.on().reply("never")
    account.chaos(seed=7, error_rate=1.0, codes=429)
    assert ask(state, account) == 429
    assert account.requests[-1].answered_by == "chaos seed=7 request 1: fail 429"
    assert account.misfortune == "chaos(seed=7, error_rate=1.0, codes=[429])"
    assert account.chaos(None).misfortune is None
    assert ask(state, account) == 200


def test_a_run_can_be_had_again():
    runs = []
    for _ in range(2):
        state, account = mocked()
        account.chaos(seed=5, error_rate=0.3)
        runs.append([ask(state, account) for _ in range(60)])
    assert runs[0] == runs[1]
    assert 200 in runs[0]
    assert len(set(runs[0])) > 1


def test_outages_count_from_when_it_was_set():
    clock = Frozen()
    state, account = mocked(clock)
    clock.sleep(50)
    account.chaos(outages=[(10, 20)])
    seen = []
    for _ in range(4):
        seen.append(ask(state, account))
        clock.sleep(7)
    assert seen == [200, 200, 500, 200]


def test_with_threads_the_same_number_of_requests_fails():
    def run(threads):
        state, account = mocked()
        account.chaos(seed=11, error_rate=0.4)
        together = threading.Barrier(threads)

        def work():
            together.wait(20)
            return [ask(state, account) for _ in range(320 // threads)]

        with ThreadPoolExecutor(threads) as pool:
            return sorted(status for each in [pool.submit(work) for _ in range(threads)] for status in each.result())

    assert run(1) == run(32)


def test_over_sockets_a_reset_is_one():
    with MockServer() as server:
        account = server.account().chaos(reset_rate=1.0)
        with pytest.raises(requests.ConnectionError):
            requests.post(
                f"{server.url}/v2/chat/completions",
                headers={"Authorization": f"Bearer {account.credentials.bearer_token}"},
                json={"model": "ernie-4.0-8k", "messages": [{"role": "user", "content": "?"}]},
                timeout=10,
            )


def test_what_it_is_asked_for_has_to_be_one_thing():
    _, account = mocked()
    with pytest.raises(TypeError, match="not both"):
        account.chaos(Chaos(), seed=1)
    assert Failure(code=18).describe() == "fail 18"


def test_every_option_is_documented():
    page = (Path(__file__).resolve().parents[2] / "docs" / "chaos.md").read_text("utf-8")
    for name, says, default, what in rows(Chaos):
        assert f"| `{name}` | {says} | `{default}` | {what} |\n" in page
