"""Drifts, held to scipy and to series that are known to have one or none."""

from __future__ import annotations

import random
from itertools import accumulate
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import kendalltau, theilslopes

from loadtests.judging.steady import FEWEST, stretches, trend


def series(value, seconds=60, seed=1, each=10):
    rng = random.Random(seed)
    moments = sorted(rng.uniform(0, seconds) for _ in range(seconds * each))
    return [(at, value(at, rng)) for at in moments]


class TestTrend:
    @pytest.mark.parametrize(
        ("value", "drifts"),
        [
            (lambda at, rng: 100 + at, True),
            (lambda at, rng: 100 - at, True),
            (lambda at, rng: (100 + at) * rng.lognormvariate(0, 0.5), True),
            (lambda at, rng: 100 + at / 60, False),  # a trend of 1 %
            (lambda at, rng: 100 * rng.lognormvariate(0, 0.5), False),
            (lambda at, rng: 100.0, False),
            (lambda at, rng: 100 if rng.random() > 0.01 else 1e6, False),  # outliers are no trend
            (lambda at, rng: 0.0, False),
        ],
    )
    def test_what_is_known(self, value, drifts):
        found = trend(series(value))
        assert found.drifts is drifts

    def test_a_rise_is_told_by_how_much(self):
        found = trend(series(lambda at, rng: 100 + at + rng.gauss(0, 3)))
        assert found.grows
        assert found.per_second == pytest.approx(1.0, abs=0.1)
        assert found.change == pytest.approx(60, abs=6)
        assert found.share == pytest.approx(60 / 130, abs=0.06)
        assert not trend(series(lambda at, rng: 100 - at)).grows

    def test_it_is_scipys(self):
        data = series(lambda at, rng: rng.gauss(100, 5), seed=8)
        times, values = zip(*stretches(data), strict=True)
        assert trend(data).p == pytest.approx(kendalltau(times, values).pvalue)
        assert trend(data).per_second == pytest.approx(theilslopes(values, times)[0])

    def test_a_steady_figure_is_seldom_called_a_drift_even_when_neighbours_are_alike(self):
        def walk(rng):
            # A first-order autoregressive process: each value keeps nine tenths of the one before.
            noise = [rng.gauss(0, 1) for _ in range(1200)]
            return [
                (index * 0.05, 20 + value) for index, value in enumerate(accumulate(noise, lambda a, b: 0.9 * a + b))
            ]

        found = [trend(walk(random.Random(seed)), matters=0.0).drifts for seed in range(200)]
        assert sum(found) <= 0.05 * 200

    @pytest.mark.parametrize("count", range(FEWEST))
    def test_too_little_says_nothing(self, count):
        found = trend([(float(at), float(at)) for at in range(count)])
        assert (found.drifts, found.p) == (False, None)

    def test_all_at_one_moment(self):
        assert stretches([(3.0, 1.0), (3.0, 2.0)]) == [(3.0, 1.5)]

    def test_as_data(self):
        found = trend(series(lambda at, rng: 100 + at)).to_dict()
        assert found["drifts"] is True
        assert set(found) == {"drifts", "change", "share", "per_second", "p", "points"}


@given(st.lists(st.tuples(st.floats(0, 100), st.floats(-5, 5)), min_size=1, max_size=80), st.integers(1, 12))
def test_every_value_is_in_one_stretch(data, batches):
    found = stretches(data, batches)
    assert len(found) <= batches
    assert [moment for moment, _ in found] == sorted(moment for moment, _ in found)
    values = [value for _, value in data]
    assert all(min(values) <= value <= max(values) for _, value in found)
    if batches == 1:
        assert found[0][1] == median(values)
