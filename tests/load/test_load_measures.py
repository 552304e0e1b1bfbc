"""Histograms are exact and mergeable; a stream's moments mean what the words of design.md say."""

from __future__ import annotations

import itertools
import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.measuring.measures import Histogram, StreamTimer

#: Whole microseconds up to an hour, as seconds.
durations = st.integers(0, 3_600_000_000).map(lambda cell: cell / 1_000_000)


def timed(*chunks: tuple[float, str], sent: float = 10.0, headers: float = 10.0) -> StreamTimer:
    timer = StreamTimer(sent)
    timer.headers_arrived(headers)
    for now, text in chunks:
        timer.chunk_arrived(now, text)
    return timer


class TestHistogram:
    @given(st.lists(durations, min_size=1), st.floats(0, 1))
    def test_a_quantile_is_the_smallest_measured_value_that_the_share_does_not_exceed(self, values, share):
        (found,) = Histogram(values).quantiles(share)
        assert found in values
        wanted = max(1, math.ceil(round(share * len(values), 9)))
        assert sum(value <= found for value in values) >= wanted
        assert sum(value < found for value in values) < wanted

    @given(st.lists(durations), st.lists(durations))
    def test_two_halves_merged_are_the_whole(self, left, right):
        merged = Histogram(left)
        merged.merge(Histogram(right))
        assert merged == Histogram(left + right)
        assert merged.count == len(left) + len(right)

    @given(st.lists(durations))
    def test_it_survives_json(self, values):
        histogram = Histogram(values)
        back = Histogram.from_dict(json.loads(json.dumps(histogram.to_dict())))
        assert (back, back.count, back.mean) == (histogram, histogram.count, histogram.mean)

    def test_p98_is_not_p99(self):
        values = [0.001] * 98 + [0.5] + [2.0]
        assert Histogram(values).quantiles(0.98, 0.99, 1.0) == [0.001, 0.5, 2.0]

    def test_the_order_of_the_question_is_the_order_of_the_answer(self):
        assert Histogram([0.1, 0.2, 0.3]).quantiles(1.0, 0.0, 0.5, 0.5) == [0.3, 0.1, 0.2, 0.2]

    def test_a_rank_that_floating_point_overshoots(self):
        assert Histogram([i / 1000 for i in range(1, 101)]).quantiles(0.07) == [
            0.007
        ]  # 0.07 * 100 is 7.000000000000001

    def test_nothing_counted(self):
        histogram = Histogram()
        assert (histogram.count, histogram.quantiles(0.5), histogram.mean) == (0, [], None)

    def test_the_mean(self):
        assert Histogram([0.1, 0.2, 0.6]).mean == pytest.approx(0.3)

    def test_a_negative_duration_is_a_mistake_of_clocks(self):
        with pytest.raises(ValueError, match="one clock"):
            Histogram([-0.001])

    @pytest.mark.parametrize("share", [-0.1, 1.1, 99])
    def test_a_share_is_no_percentage(self, share):
        with pytest.raises(ValueError, match=r"such as 0\.99"):
            Histogram([0.1]).quantiles(share)


class TestManyDurations:
    """Beyond ``limit`` distinct durations the cells are coarse."""

    @given(st.lists(durations, min_size=1, max_size=60), st.floats(0, 1))
    def test_the_error_is_documented(self, values, share):
        (rough,) = Histogram(values, limit=5).quantiles(share)
        (exact,) = Histogram(values).quantiles(share)
        assert rough == pytest.approx(exact, rel=0.0005, abs=1e-9)

    @given(st.lists(durations), st.lists(durations))
    def test_merged_halves_are_the_whole(self, left, right):
        merged = Histogram(left, limit=5)
        merged.merge(Histogram(right, limit=5))
        assert merged == Histogram(left + right, limit=5)
        assert merged.exact == (len({*left, *right}) <= 5)

    @given(st.lists(durations, min_size=1))
    def test_count_mean_and_both_ends_stay_exact(self, values):
        rough, exact = Histogram(values, limit=0), Histogram(values)
        assert (rough.count, rough.mean) == (exact.count, exact.mean)
        assert rough.quantiles(0, 1) == exact.quantiles(0, 1)

    def test_memory_is_bounded(self):
        histogram = Histogram((number * 0.0137 for number in range(200_000)), limit=1000)
        assert len(histogram.to_dict()["microseconds"]) < 1024 * 33

    @given(st.lists(durations), st.integers(1, 12))
    def test_cells_hold_everything_once_and_coarse_ones_are_made_of_fine_ones(self, values, bits):
        cells = Histogram(values).cells(bits)
        assert sum(count for _, _, count in cells) == len(values)
        assert all(earlier[1] < later[0] for earlier, later in itertools.pairwise(cells))
        if bits <= 6:
            assert Histogram(values, limit=0).cells(bits) == cells

    def test_a_chart_cell_is_about_three_percent_wide(self):
        ((low, high, _),) = Histogram([0.1]).cells()
        assert low <= 100_000 <= high
        assert 0.015 < (high + 1 - low) / low <= 1 / 32


class TestStreamTimer:
    def test_the_first_token_is_the_first_content_and_not_the_first_event(self):
        took = timed((10.03, ""), (10.12, "你"), (10.15, "好"), (10.21, ""), headers=10.01).moments()
        assert took["headers"] == pytest.approx(0.01)
        assert took["first_byte"] == took["first_chunk"] == pytest.approx(0.03)
        assert took["ttft"] == pytest.approx(0.12)
        assert took["e2e"] == pytest.approx(0.15)
        assert took["contents"] == pytest.approx([0.12, 0.15])
        assert took["empties"] == pytest.approx([0.03, 0.21])

    def test_reasoning_is_no_content(self):
        timer = StreamTimer(10.0)
        timer.chunk_arrived(10.1, "", "Let me see")
        timer.chunk_arrived(10.2, "", "and think")
        timer.chunk_arrived(10.3, "42")
        took = timer.moments()
        assert (took["first_reasoning"], took["ttft"]) == pytest.approx((0.1, 0.3))

    def test_a_stream_without_content_has_no_first_token(self):
        took = timed((10.1, ""), (10.2, "")).moments()
        assert (took["ttft"], took["e2e"], took["contents"]) == (None, None, [])
        assert took["first_chunk"] == pytest.approx(0.1)

    def test_bytes_of_the_body_come_before_a_whole_event(self):
        timer = timed()
        timer.body_arrived(10.02)
        timer.body_arrived(10.03)
        timer.chunk_arrived(10.04, "a")
        took = timer.moments()
        assert (took["first_byte"], took["first_chunk"]) == pytest.approx((0.02, 0.04))

    def test_a_second_attempt_counts_from_the_first_sending_with_the_last_answer(self):
        timer = StreamTimer(10.0)
        timer.headers_arrived(10.1)
        timer.body_arrived(10.2)
        timer.chunk_arrived(10.2, "")
        timer.headers_arrived(11.1)
        timer.chunk_arrived(11.3, "a")
        took = timer.moments()
        assert (took["headers"], took["first_byte"], took["ttft"]) == pytest.approx((1.1, 1.3, 1.3))
        assert took["empties"] == []

    def test_moments_count_from_the_intended_sending_when_there_is_one(self):
        assert timed((10.1, "a")).moments(9.0)["ttft"] == pytest.approx(1.1)
