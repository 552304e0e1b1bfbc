"""Histograms are exact and mergeable; a stream's moments mean what the words of design.md say."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from loadtests.measures import Histogram, StreamTimer

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


class TestStreamTimer:
    def test_the_first_token_is_the_first_content_and_not_the_first_event(self):
        timer = timed((10.03, ""), (10.12, "你"), (10.15, "好"), (10.21, ""), headers=10.01)
        assert timer.headers == pytest.approx(0.01)
        assert timer.first_chunk == pytest.approx(0.03)
        assert timer.ttft == pytest.approx(0.12)
        assert timer.e2e == pytest.approx(0.15)

    def test_gaps_are_between_content_alone(self):
        timer = timed((10.1, "a"), (10.2, ""), (10.4, "b"), (10.5, "c"))
        assert timer.itl == pytest.approx([0.3, 0.1])
        assert timer.tpot == pytest.approx(0.2)
        assert timer.chunks == 3

    def test_one_token_has_no_gap(self):
        timer = timed((10.1, "a"))
        assert (timer.itl, timer.tpot) == ([], None)

    def test_a_stream_without_content_has_no_first_token(self):
        timer = timed((10.1, ""), (10.2, ""))
        assert (timer.ttft, timer.e2e, timer.tpot, timer.itl, timer.chunks) == (None, None, None, [], 0)
        assert timer.first_chunk == pytest.approx(0.1)

    def test_bytes_of_the_body_come_before_a_whole_event(self):
        timer = timed()
        timer.body_arrived(10.02)
        timer.body_arrived(10.03)
        timer.chunk_arrived(10.04, "a")
        assert timer.first_chunk == pytest.approx(0.02)

    def test_a_second_attempt_counts_from_the_first_sending_with_the_last_answer(self):
        timer = StreamTimer(10.0)
        timer.headers_arrived(10.1)
        timer.body_arrived(10.2)
        timer.headers_arrived(11.1)
        timer.chunk_arrived(11.3, "a")
        assert (timer.headers, timer.first_chunk, timer.ttft) == pytest.approx((1.1, 1.3, 1.3))

    @given(st.lists(durations, min_size=2, max_size=50))
    def test_the_mean_gap_is_tpot(self, gaps):
        now, chunks = 10.0, []
        for gap in gaps:
            now += gap
            chunks.append((now, "x"))
        timer = timed(*chunks)
        assert timer.tpot == pytest.approx(sum(timer.itl) / len(timer.itl))
        assert len(timer.itl) == len(gaps) - 1
