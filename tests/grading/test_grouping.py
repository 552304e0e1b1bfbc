"""Which attempts belong to one call, and how sure that is."""

from __future__ import annotations

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from traces import Trace, failing, full, merged

from qfkit.grading import Limits, grade
from qfkit.grading.grouping import certainty_of, group


def shape(trace, **more):
    return [([one.number for one in call.attempts], call.certainty) for call in group(trace.seen, **more)]


def test_an_id_says_it_whatever_the_order():
    trace = Trace()
    for answer, call in (("busy", "a"), ("busy", "b"), ("ok", "b"), ("ok", "a"), ("ok", "a")):
        trace.ask(answer, call_id=call)
    assert shape(trace) == [([1, 4, 5], "explicit"), ([2, 3], "explicit")]


def test_one_id_for_two_questions_is_two_calls():
    trace = Trace()
    trace.ask("busy", "a", call_id="same")
    trace.ask("ok", "b", call_id="same")
    assert [numbers for numbers, _ in shape(trace)] == [[1], [2]]


def test_a_count_says_it_where_the_client_counts():
    trace = Trace()
    for count in (0, 1, 2):
        trace.ask("busy", retry_count=count)
        trace.now += 0.4
    assert shape(trace) == [([1, 2, 3], "explicit")]


def test_a_count_that_is_always_0_says_nothing():
    trace = Trace()
    for answer in ("busy", "busy", "ok"):
        trace.ask(answer, retry_count=0)
        trace.now += 0.4
    assert shape(trace) == [([1, 2, 3], "likely")]


def test_two_counts_at_the_same_time_cannot_be_told_apart():
    first, second = Trace(), Trace(1_700_000_000.005)
    for trace in (first, second):
        for count in (0, 1):
            trace.ask("busy", retry_count=count)
            trace.now += 0.4
    calls = group(merged(first, second))
    assert [call.certainty for call in calls] == ["ambiguous", "ambiguous"]
    assert [len(call.attempts) for call in calls] == [2, 2]


def test_content_and_order_say_what_is_likely():
    trace = Trace()
    trace.call(failing(2), [0.4, 0.8], "a")
    trace.call(["ok"], [], "a")
    trace.call(["ok"], [], "b")
    assert shape(trace) == [([1, 2, 3], "likely"), ([4], "likely"), ([5], "likely")]


def test_unrelated_questions_of_one_content_are_calls_of_their_own():
    trace = Trace()
    for _ in range(3):
        trace.ask("ok")
    assert [numbers for numbers, _ in shape(trace)] == [[1], [2], [3]]
    assert grade(trace.seen).ok


def test_questions_of_one_content_at_the_same_time_are_no_call_with_a_bad_backoff():
    """Three threads ask the same thing, and each backs off well."""
    traces = []
    for number in range(3):
        trace = Trace(1_700_000_000.0 + number * 0.001)
        trace.call(failing(3), full(Random(number)))
        traces.append(trace)
    verdict = grade(merged(*traces))
    assert verdict.ok, verdict.render()
    assert verdict.certainty == "ambiguous"
    assert [finding.code for finding in verdict.findings] == ["cannot-tell"]
    assert "X-Qfkit-Call-Id" in verdict.render()


def test_a_crowd_that_looks_like_one_impatient_client_is_told_from_it():
    trace = Trace()
    for _ in range(12):  # one after the other, so that none is open at the same time as another
        trace.ask("busy")
    trace.now += 0.7
    trace.ask("ok")
    verdict = grade(trace.seen)
    assert verdict.ok, verdict.render()
    assert verdict.certainty == "ambiguous"


def test_an_attempt_that_has_not_ended_is_gone_on_with_by_nobody():
    trace = Trace()
    trace.ask("busy", ended=trace.now + 5.0)
    trace.ask("ok")
    assert [numbers for numbers, _ in shape(trace)] == [[1], [2]]


def test_what_was_noticed_ends_its_call():
    trace = Trace()
    for _ in range(3):
        trace.ask("bad")
    assert [numbers for numbers, _ in shape(trace)] == [[1, 2, 3]]
    assert [numbers for numbers, _ in shape(trace, noticed={1, 2, 3})] == [[1], [2], [3]]
    assert grade(trace.seen, noticed={1, 2, 3}).ok


@pytest.mark.parametrize(("answer", "later"), [("bad", 40.0), ("busy", 1000.0)])
def test_late_questions_are_new_ones(answer, later):
    trace = Trace()
    trace.ask(answer)
    trace.now += later
    trace.ask("ok")
    assert [numbers for numbers, _ in shape(trace)] == [[1], [2]]


def test_patience_can_be_longer():
    trace = Trace()
    trace.ask("bad")
    trace.now += 40.0
    trace.ask("ok")
    assert [numbers for numbers, _ in shape(trace, limits=Limits(patience=60))] == [[1, 2]]


def test_a_client_that_timed_out_and_comes_again_is_one_call_and_its_wait_is_not_known():
    trace = Trace()
    trace.ask("left")
    trace.ask("left", ended=None)
    trace.ask("ok")
    (call,) = group(trace.seen)
    assert [gap.seconds for gap in call.gaps] == [None, None]
    assert grade(trace.seen).ok


def test_one_who_has_had_enough_of_a_stream_and_asks_again_makes_another_call():
    trace = Trace()
    trace.ask("left", streamed=True, pieces=3)
    trace.ask("stream")
    assert [numbers for numbers, _ in shape(trace)] == [[1], [2]]


def test_a_token_fetch_is_no_attempt_and_the_repeat_after_it_no_retry():
    trace = Trace()
    trace.ask("stale", token="a")
    trace.fetch()
    trace.ask("v1 ok", token="b")
    (call,) = group(trace.seen)
    assert [one.number for one in call.attempts] == [1, 3]
    assert (call.tries, [gap.renewal for gap in call.gaps]) == (1, [True])
    assert grade(trace.seen).ok


def test_certainty_is_that_of_the_least_sure():
    trace = Trace()
    trace.ask("ok", "alone")
    assert certainty_of(group(trace.seen)) == "explicit"
    trace.call(failing(1), [0.4])
    assert certainty_of(group(trace.seen)) == "likely"


def test_thousands_of_identical_failures_are_grouped_in_no_time():
    trace = Trace()
    for _ in range(5000):
        trace.ask("busy", ended=trace.now + 30.0)
    assert len(group(trace.seen)) == 5000


attempts = st.lists(st.tuples(st.sampled_from(["busy", "torn", "stale"]), st.floats(0.05, 20.0)), max_size=4)


@settings(max_examples=60)
@given(st.lists(st.tuples(attempts, st.floats(0.0, 10.0)), min_size=1, max_size=6))
def test_calls_of_distinct_contents_do_not_disturb_each_other(calls):
    alone, together = [], []
    for number, (failures, start) in enumerate(calls):
        trace = Trace(1_700_000_000.0 + start + number * 1e-4)
        answers = [answer for answer, _ in failures] + ["ok"]
        trace.call(answers, [wait for _, wait in failures], f"q{number}")
        together.append(trace)
        alone.append([[one.began for one in call.attempts] for call in group(trace.seen)])
    grouped = {}
    for call in group(merged(*together)):
        grouped.setdefault(call.first.content, []).append([one.began for one in call.attempts])
        assert call.certainty == "likely"
    assert [grouped[f"q{number}"] for number in range(len(calls))] == alone
