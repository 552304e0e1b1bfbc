"""The search for the ceiling, against services whose ceiling is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.judging.steady import Trend
from loadtests.playing.search import Search, Signs, ceiling_lines, limited_by, steady


def run(search: Search, ceiling: float) -> list[float]:
    rates = []
    while (rate := search.next()) is not None:
        rates.append(rate)
        search.add(rate, holds=rate <= ceiling)
        assert len(rates) < 60
    return rates


class TestSearch:
    @given(st.floats(1, 900), st.floats(1, 200), st.floats(0.02, 0.3))
    def test_it_finds_the_ceiling_as_near_as_asked(self, ceiling, start, within):
        search = Search(start, 1000, within=within)
        run(search, ceiling)
        low, high = search.highest, search.lowest
        if low is None:
            assert ceiling < start / 32
        else:
            assert low <= ceiling < high
            assert high - low <= within * high

    def test_a_step_is_not_wasted(self):
        assert run(Search(10, 1000), 65) == [10, 20, 40, 80, 60, 70, 65]

    def test_what_never_fails_ends_at_the_most(self):
        search = Search(10, 100)
        assert run(search, 1e9) == [10, 20, 40, 80, 100]
        assert (search.highest, search.lowest) == (100, None)

    def test_what_never_holds_ends(self):
        search = Search(64, 1000)
        assert run(search, 0) == [64, 32, 16, 8, 4, 2, 1]
        assert search.highest is None

    def test_given_steps_end_with_the_first_that_fails(self):
        search = Search(0, 0, steps=[30, 10, 20, 40])
        assert run(search, 25) == [10, 20, 30]
        assert (search.highest, search.lowest) == (20, 30)

    def test_a_step_that_held_above_one_that_failed_does_not_count(self):
        search = Search(10, 1000)
        search.add(20, holds=False)
        search.add(40, holds=True)
        assert search.highest is None


EASY = Signs(busy=0.2, late=0.001, latency=0.010, served=0.008)


class TestLimit:
    @pytest.mark.parametrize(
        ("signs", "who", "words"),
        [
            (EASY._replace(busy=0.95, latency=0.5), "client", "used 95% of a core: take more --workers"),
            (EASY._replace(late=0.4, latency=0.5), "client", "up to 400 ms after their time"),
            (EASY._replace(refused=0.3, failed=0.01), "quota", "30% of all attempts were refused"),
            (EASY._replace(refused=0.3, busy=0.99, late=0.4), "quota", "30% of all attempts were refused"),
            (EASY._replace(failed=0.2), "server", "20% of all attempts failed"),
            (EASY._replace(server_busy=0.99, latency=0.5), "server", "the mock used 99% of a core"),
            (EASY._replace(latency=0.110, served=0.108), "server", "100% of the growth"),
            (
                EASY._replace(latency=0.110, served=0.018),
                "network",
                "latency grew by 100 ms, of which the server's own",
            ),
            (EASY._replace(latency=0.110, served=None), "server", "does not say how long"),
        ],
    )
    def test_by_its_signs(self, signs, who, words):
        limit, why = limited_by(signs, EASY)
        assert limit == who
        assert words in why

    def test_without_an_easy_step_to_compare_with(self):
        assert limited_by(EASY._replace(latency=0.1, served=0.09), None)[0] == "server"


def test_a_step_is_steady_when_nothing_grows():
    up, down = Trend(True, 5, 0.5, 0.1, 0.001, 12), Trend(True, -5, -0.5, -0.1, 0.001, 12)
    assert steady({"latency": down, "in_flight": down})["ok"]
    found = steady({"latency": up, "in_flight": down})
    assert (found["ok"], found["growing"]) == (False, ["latency"])


def test_lines_for_people():
    good = {"rate": 10.0, "ok": True, "slos": [], "steady": {"growing": [], "unknown": []}, "limits_reached": []}
    missed = {"slo": "ttft.p95<500ms", "why": "it was 812 ms", "ok": False}
    slow = {**good, "rate": 40.0, "ok": False, "slos": [missed]}
    grows = {**good, "rate": 20.0, "ok": False, "steady": {"growing": ["calls under way"], "unknown": ["latency"]}}
    section = {"steps": [good, slow, grows], "ceiling_rate": 10.0, "limited_by": "server", "why": "it is slow"}
    assert list(ceiling_lines(section)) == [
        "10.0 calls/s: holds",
        "40.0 calls/s: ttft.p95<500ms: it was 812 ms",
        "20.0 calls/s: calls under way grow while it lasts (too short a step to see whether it is steady)",
        "ceiling: 10.0 calls/s",
        "limited by the server: it is slow",
    ]
    none = {**section, "ceiling_rate": None, "limited_by": None}
    assert list(ceiling_lines(none))[-2:] == [
        "no rate held: begin lower, with --rate",
        "nothing limited it up to the highest rate that was tried: raise --to-rate",
    ]
