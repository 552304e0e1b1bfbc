"""When the events of a stream leave: as numbers, and on a real socket."""

from __future__ import annotations

import json
import math
from itertools import pairwise
from random import Random
from statistics import fmean, median
from typing import Any

import pytest
from faults_client import EARLY, PIECES, framed, handled, listen, mock, plain, request
from hypothesis import given
from hypothesis import strategies as st

from mock_server.delivery import wire_plan
from mock_server.faults.options import OptionError
from mock_server.pacing import JITTERS, Pace
from qfkit.protocol.tokens import estimate

MANY = ["好"] * 4000


def gaps(times: tuple[float, ...]) -> list[float]:
    return [later - earlier for earlier, later in pairwise(times)]


# As numbers


def test_the_first_content_and_the_gaps_after_it() -> None:
    assert Pace(0.2, 0.05).times(["a", "b", "c"]) == (0.2, 0.25, 0.2 + 2 * 0.05)
    assert Pace().times(["a"] * 3) == (0.0,) * 3


def test_an_answer_without_content_has_one_moment() -> None:
    for pace in (Pace(0.2, 0.05), Pace(0.2, tokens_per_second=10), Pace(timing=[0.2, 0.3])):
        assert pace.times([]) == (0.2,)


@given(st.lists(st.text(max_size=8), min_size=1, max_size=30), st.floats(0.5, 5000))
def test_tokens_leave_at_their_rate(texts: list[str], rate: float) -> None:
    times = Pace(0.1, tokens_per_second=rate).times(texts)
    assert len(times) == len(texts)
    assert times[0] == pytest.approx(0.1)
    total = estimate("".join(texts))
    assert times[-1] - times[0] <= total / rate + 1e-9
    parts = [estimate(text) for text in texts]
    if sum(parts):
        assert times[-1] - times[0] == pytest.approx(total / rate * sum(parts[1:]) / sum(parts))


def test_a_piece_waits_by_the_tokens_it_carries() -> None:
    times = Pace(tokens_per_second=10).times(["one", " two three four", " five"])
    assert gaps(times) == pytest.approx([0.3, 0.1])


def test_recorded_moments_are_kept_and_their_gaps_go_on() -> None:
    recorded = [0.3, 0.3, 0.5, 0.6]
    assert Pace(timing=recorded).times(["x"] * 4) == pytest.approx(recorded)
    assert Pace(timing=recorded).times(["x"] * 2) == pytest.approx(recorded[:2])
    assert Pace(timing=recorded).times(["x"] * 7) == pytest.approx([*recorded, 0.6, 0.8, 0.9])
    assert Pace(timing=[0.3]).times(["x"] * 3) == pytest.approx([0.3] * 3)


@pytest.mark.parametrize("jitter", [name for name in JITTERS if name != "fixed"])
@pytest.mark.parametrize("spread", [0.1, 0.5, 1.0])
def test_jitter_has_the_distribution_that_it_says(jitter: str, spread: float) -> None:
    waits = gaps(Pace(0.0, 0.1, jitter=jitter, spread=spread).times(MANY, Random(7)))
    shares = [wait / 0.1 for wait in waits]
    deviation = math.sqrt(fmean([(share - fmean(shares)) ** 2 for share in shares]))
    if jitter == "lognormal":
        logs = [math.log(share) for share in shares]
        assert median(shares) == pytest.approx(1.0, abs=0.06 * spread + 0.005)
        assert fmean(shares) == pytest.approx(math.exp(spread**2 / 2), rel=0.08)
        assert math.sqrt(fmean([log**2 for log in logs])) == pytest.approx(spread, rel=0.05)
        assert min(shares) > 0
        return
    assert fmean(shares) == pytest.approx(1.0, abs=0.05 * spread)
    if jitter == "uniform":
        assert min(shares) >= 1 - spread - 1e-9
        assert max(shares) <= 1 + spread + 1e-9
        assert deviation == pytest.approx(spread / math.sqrt(3), rel=0.05)
    else:
        assert min(shares) >= -1e-9
        assert max(shares) <= 2 + 1e-9
        assert deviation == pytest.approx(spread, rel=0.05) if spread <= 0.5 else deviation < spread


@given(st.sampled_from(sorted(JITTERS)), st.integers(0, 2**32), st.integers(1, 40))
def test_the_same_source_gives_the_same_times_and_none_goes_back(jitter: str, seed: int, count: int) -> None:
    pace = Pace(0.2, 0.05, jitter=jitter)
    times = pace.times(["x"] * count, Random(seed))
    assert times == pace.times(["x"] * count, Random(seed))
    assert all(gap >= 0 for gap in gaps((0.0, *times)))


def test_the_first_wait_varies_too() -> None:
    firsts = {Pace(0.2, jitter="normal").times(["x"], Random(seed))[0] for seed in range(20)}
    assert len(firsts) == 20


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"ttft": -0.1}, "ttft is in seconds, from 0 to 3600; got -0.1"),
        ({"interval": float("nan")}, "interval is in seconds"),
        ({"interval": True}, "interval is in seconds"),
        ({"ttft": "0.2"}, "ttft is in seconds"),
        ({"tokens_per_second": 0}, "tokens_per_second is tokens a second, from 0.001"),
        ({"tokens_per_second": 10, "interval": 0.1}, "two rates: give one"),
        ({"jitter": "gaussian"}, "jitter is one of 'fixed', 'uniform', 'normal', 'lognormal'; got 'gaussian'"),
        ({"spread": 0.2}, "add jitter='uniform'"),
        ({"spread": 1.5, "jitter": "normal"}, "spread is at most 1 with jitter='normal'"),
        ({"timing": [0.3, 0.2]}, "itertools.accumulate makes them of gaps"),
        ({"timing": 0.3}, "timing is a list of moments"),
        ({"timing": [0.1], "ttft": 0.1}, "timing holds every moment already"),
    ],
)
def test_a_mistake_is_told_where_it_is_written(options: dict[str, object], told: str) -> None:
    with pytest.raises(OptionError) as caught:
        Pace.of(options, "a stream")
    assert told in str(caught.value)


# On a socket: an event never comes before its time, and the rest is the machine's


def test_events_do_not_come_before_their_time() -> None:
    s = plain("v2")
    with mock() as server:
        server.default_account.stream(list(PIECES), ttft=0.02, interval=0.01)
        heard = listen(server, request("v2"))
    done = len(heard.data) - len(framed([*s.events, b""])) + len(b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n")
    for number, event in enumerate(s.events[: len(PIECES)]):
        assert heard.when(done + 1) >= 0.02 + number * 0.01 - EARLY
        done += len(framed([event]))


def test_a_late_head_comes_with_the_first_event() -> None:
    with mock() as server:
        server.default_account.stream(list(PIECES), ttft=0.03, early_headers=False)
        heard = listen(server, request("v2"))
    assert heard.reads[0][0] >= 0.03 - EARLY


def test_a_stall_is_as_long_as_it_says() -> None:
    s = plain("v2")
    with mock() as server:
        server.default_account.stream(list(PIECES), stall_after=2, stall=0.04)
        heard = listen(server, request("v2"))
    before = len(heard.head) + len(b"Date: Thu, 01 Jan 1970 00:00:00 GMT\r\n") + len(framed(s.events[:2]))
    assert heard.when(before + 1) >= 0.04 - EARLY


def test_a_stall_before_the_cut_comes_before_the_end() -> None:
    with mock() as server:
        server.default_account.stream(list(PIECES), stall_after=2, stall=0.04, cut_after=2)
        heard = listen(server, request("v2"))
    assert heard.ended_at >= 0.04 - EARLY


# Through the core


def test_the_head_is_early_unless_it_is_told_otherwise() -> None:
    early, late = handled(
        lambda account: account.stream(["a", "b"], ttft=0.2, interval=0.1).stream(
            ["a", "b"], ttft=0.2, interval=0.1, early_headers=False
        ),
        request("v1"),
        request("v1"),
    )
    assert [write.at for write in wire_plan(early).writes] == pytest.approx([0.0, 0.2, 0.3, 0.3, 0.3])
    assert [write.at for write in wire_plan(late).writes] == pytest.approx([0.2, 0.2, 0.3, 0.3, 0.3])


def test_the_settings_say_when_a_step_does_not() -> None:
    slow, fast, own = handled(
        lambda account: account.stream(["a", "b"], cut_after=2).stream(["a", "b"], ttft=0).reply("x y", interval=2),
        *[request("v1")] * 3,
        ttft=0.3,
        interval=0.1,
    )
    assert [write.at for write in slow.body] == pytest.approx([0.3, 0.4])
    assert [write.at for write in fast.body] == [0.0] * 3
    assert own.body[0].at == 0.0


def test_jitter_differs_from_request_to_request_and_is_the_same_next_time() -> None:
    def played(**options: Any) -> list[list[float]]:
        made = handled(lambda account: account.stream(list("春夏秋冬"), times=3, **options), *[request("v1")] * 3)
        return [[write.at for write in reply.body] for reply in made]

    first = played(interval=1, jitter="uniform")
    assert first == played(interval=1, jitter="uniform")
    assert len({tuple(times) for times in first}) == 3
    assert first != played(interval=1, jitter="uniform", seed=1)
    assert played(interval=1) == [[0.0, 1.0, 2.0, 3.0, 3.0]] * 3


def test_created_advances_with_the_stream() -> None:
    (reply,) = handled(lambda account: account.stream(["a", "b", "c"], ttft=1, interval=1), request("v1"))
    created = [json.loads(write.data.removeprefix(b"data: "))["created"] for write in reply.body]
    assert created == [1_700_000_001, 1_700_000_002, 1_700_000_003, 1_700_000_003]


@pytest.mark.parametrize(
    ("options", "times"),
    [
        ({"stall_after": 2, "stall": 5}, [1, 2, 8, 9, 9]),
        ({"stall_after": 0, "stall": 5}, [6, 7, 8, 9, 9]),
        ({"stall_after": 5, "stall": 5}, [1, 2, 3, 4, 4, 9]),
        ({"stall_after": 2}, [1, 2]),
        ({"stall_after": 2, "stall": 5, "cut_after": 2}, [1, 2, 7]),
        ({"stall_after": 1, "stall": 5, "cut_after": 2}, [1, 7]),
        ({"stall_after": 0, "stall": 5, "cut_after": 0}, [5]),
        ({"cut_after": 0}, []),
        ({"error_after": 2, "error": 18}, [1, 2, 3]),
        ({"error_after": 5, "error": 18}, [1, 2, 3, 4, 4, 4]),
        ({"error_after": 0, "error": 18, "error_ends": False}, [1, 1, 2, 3, 4, 4]),
        ({"swap": 1}, [1, 2, 3, 4, 4]),
        ({"duplicate": 1, "empty_at": 1}, [1, 2, 2, 2, 3, 4, 4]),
        ({"comment_every": 2}, [1, 1, 2, 3, 3, 4, 4, 4]),
        ({"keep_alive": 0.75, "cut_after": 2}, [0.75, 1, 1.75, 2]),
        ({"keep_alive": 2, "stall_after": 1, "stall": 4, "cut_after": 2}, [1, 3, 5, 6]),
        ({"keep_alive": 2, "stall_after": 1, "stall": 5, "cut_after": 1}, [1, 3, 5, 6]),
        ({"events_per_write": 3}, [3, 4]),
        ({"writes": "one-segment"}, [4]),
    ],
)
def test_what_happens_to_events_happens_to_their_times(options: dict[str, Any], times: list[float]) -> None:
    (reply,) = handled(lambda account: account.stream(list("abcd"), ttft=1, interval=1, **options), request("v1"))
    assert [write.at for write in reply.body] == times


def test_split_writes_never_overtake_one_another() -> None:
    (reply,) = handled(
        lambda account: account.stream(["好好", "好"], interval=0.5, writes="inside-characters", write_interval=0.25),
        request("v1"),
    )
    # Two characters split the first event into three; its last part and the event after it wait for their turn.
    assert [write.at for write in reply.body] == [0.0, 0.25, 0.5, 0.75, 1.0, 1.25]
