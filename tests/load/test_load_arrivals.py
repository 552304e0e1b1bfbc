"""Open loads: the moments are those that the model promises, and any number of processes send the same ones."""

from __future__ import annotations

import itertools
import statistics

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from loadtests.planning.arrivals import Arrival, moments_of, share
from loadtests.planning.plan import Load
from loadtests.planning.spelling import PlanError

rates = st.floats(0.5, 200)


def moments(run_time: float | None = 20.0, seed: int = 0, **load) -> list[float]:
    return [arrival.at for arrival in moments_of(Load(**load), run_time, seed)]


def gaps(times: list[float]) -> list[float]:
    return [later - earlier for earlier, later in itertools.pairwise([0.0, *times])]


class TestModels:
    @given(rates, st.floats(0.1, 10))
    def test_constant_comes_at_even_gaps(self, rate, run_time):
        found = moments(run_time, arrivals="constant", rate=rate)
        assert found == pytest.approx([number / rate for number in range(len(found))])
        assert len(found) == pytest.approx(rate * run_time, abs=1)

    def test_poisson_has_exponential_gaps(self):
        found = gaps(moments(100.0, arrivals="poisson", rate=50))
        assert stats.kstest(found, "expon", args=(0, 1 / 50)).pvalue > 0.01

    @pytest.mark.parametrize("shape", [0.25, 0.5, 1.0, 4.0])
    def test_gamma_has_gaps_of_its_shape_at_the_same_rate(self, shape):
        found = gaps(moments(200.0, arrivals="gamma", rate=50, burstiness=shape))
        assert stats.kstest(found, "gamma", args=(shape, 0, 1 / (50 * shape))).pvalue > 0.01
        assert len(found) / 200 == pytest.approx(50, rel=0.1)
        assert statistics.stdev(found) / statistics.mean(found) == pytest.approx(shape**-0.5, rel=0.1)

    @given(rates, rates, st.floats(1, 20))
    def test_a_ramp_has_sent_what_its_rate_adds_up_to(self, first, last, run_time):
        found = moments(run_time, arrivals="ramp", rate=first, to_rate=last)
        assert len(found) == pytest.approx((first + last) / 2 * run_time, abs=1)
        assert all(gap >= 0 for gap in gaps(found))
        for number, at in enumerate(found):
            assert first * at + (last - first) * at**2 / (2 * run_time) == pytest.approx(number, abs=1e-6 * len(found))

    def test_a_ramp_needs_an_end(self):
        with pytest.raises(PlanError, match="give a run time"):
            next(iter(moments_of(Load(arrivals="ramp", rate=1, to_rate=2), None, 0)))

    @pytest.mark.parametrize("arrivals", ["constant", "poisson", "gamma"])
    def test_without_a_run_time_there_is_no_end(self, arrivals):
        endless = moments_of(Load(arrivals=arrivals, rate=1000), None, 0)
        assert len(list(itertools.islice(endless, 5000))) == 5000

    def test_a_closed_load_has_no_moments(self):
        assert moments() == []


class TestShares:
    @given(
        st.sampled_from(["constant", "poisson", "gamma"]),
        st.integers(1, 7),
        st.integers(0, 5),
        st.floats(1, 100),
    )
    def test_processes_send_together_what_one_would_have(self, arrivals, processes, seed, rate):
        load = Load(arrivals=arrivals, rate=rate)
        whole = list(enumerate(moments_of(load, 5.0, seed)))
        parts = [list(share(moments_of(load, 5.0, seed), index, processes)) for index in range(processes)]
        assert sorted(itertools.chain.from_iterable(parts)) == whole
        assert max(map(len, parts)) - min(map(len, parts)) <= 1

    def test_another_seed_is_another_run(self):
        assert moments(arrivals="poisson", rate=5, seed=1) == moments(arrivals="poisson", rate=5, seed=1)
        assert moments(arrivals="poisson", rate=5, seed=1) != moments(arrivals="poisson", rate=5, seed=2)


class TestTraces:
    def test_lines_are_seconds_or_objects(self, tmp_path):
        trace = tmp_path / "trace"
        trace.write_text('# from the access log\n0.5\n\n{"at": 1, "prompt": "你好"}\n1\n30\n', "utf-8")
        found = list(moments_of(Load(arrivals="trace", trace=str(trace)), 20.0, 0))
        assert found == [Arrival(0.5), Arrival(1.0, "你好"), Arrival(1.0)]

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("1\n0.5", r"line 2: 0\.5 s is before"),
            ("-1", "line 1"),
            ("soon", "line 1: write seconds"),
            ('1\n{"when": 2}', "line 2: write seconds"),
            ("nan", "line 1"),
            ("# nothing\n", "holds no moments"),
        ],
    )
    def test_a_bad_line_is_named(self, tmp_path, text, words):
        trace = tmp_path / "trace"
        trace.write_text(text, "utf-8")
        with pytest.raises(PlanError, match=words):
            moments_of(Load(arrivals="trace", trace=str(trace)), 20.0, 0)

    def test_a_trace_that_cannot_be_read(self, tmp_path):
        with pytest.raises(PlanError, match="cannot be read"):
            moments_of(Load(arrivals="trace", trace=str(tmp_path / "missing")), 20.0, 0)
