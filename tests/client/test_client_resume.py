"""Streams that break off in the middle, and go on."""

from __future__ import annotations

import json
from itertools import pairwise
from queue import SimpleQueue

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_server import PATIENCE, V1_OK, answer, stream, v1_event, v2_event

from qfkit.client import Cache, ConfigurationError, RateLimitError, RetryPolicy, StreamError, StreamTruncated
from qfkit.client.resume import GO_ON, Skipper, to_continue

PIECES = ["床前", "明月光,", "疑是", "地上霜"]
TEXT = "".join(PIECES)
DONE = b"data: [DONE]\n\n"


def events(pieces, dialect="v2", *, whole=True):
    if dialect == "v1":
        return [v1_event(text, last=whole and n == len(pieces) - 1, number=n) for n, text in enumerate(pieces)]
    found = [v2_event({"content": text}) for text in pieces]
    return [*found, v2_event({"content": ""}, "stop"), DONE] if whole else found


def broken(exchange_events):
    """A stream whose connection closes in the middle of the body."""

    def step(exchange):
        exchange.head()
        for event in exchange_events:
            exchange.chunk(event)
        exchange.hang_up()

    return step


def read(stream):
    return [chunk.text for chunk in stream if chunk.text]


@pytest.mark.parametrize("dialect", ["v1", "v2"])
@pytest.mark.parametrize("came", [1, 2, 3])
def test_replay_leaves_out_what_came_before(server, connect, clock, dialect, came):
    server.play(broken(events(PIECES[:came], dialect, whole=False)), stream(*events(PIECES, dialect)))
    answered = connect(dialect).stream("?", resume="replay")
    assert read(answered) == PIECES
    assert (answered.text, answered.complete) == (TEXT, True)
    first, second = answered.attempts
    assert (first.number, second.number, second.wait_reason) == (1, 2, "resume")
    assert clock.sleeps == [second.waited]
    assert second.started == pytest.approx(first.elapsed + second.waited)
    assert server.requests[0].body == server.requests[1].body


@given(text=st.text(min_size=1), cuts=st.lists(st.integers(0, 40)), said=st.integers(0, 40), other=st.text(max_size=5))
def test_whatever_the_pieces_nothing_comes_twice_and_another_answer_is_noticed(text, cuts, said, other):
    edges = sorted({0, len(text), *(cut for cut in cuts if cut < len(text))})
    pieces = [text[a:b] for a, b in pairwise(edges)]
    before = text[:said]
    skip = Skipper(before)
    assert "".join(skip(piece) or "" for piece in pieces) == text[len(before) :]
    assert skip.short == 0
    changed = before[:-1] + other
    if not changed.startswith(before) and not before.startswith(changed):
        assert Skipper(before)(changed) is None


def test_another_answer_is_an_error_and_not_a_salad(server, connect):
    server.play(broken(events(PIECES[:2], whole=False)), stream(*events(["床前", "看月光"])))
    answered = connect("v2").stream("?", resume="replay")
    with pytest.raises(StreamError, match="another answer, which differs after 2 characters") as caught:
        list(answered)
    assert caught.value.text == "床前明月光,"
    assert len(caught.value.attempts) == 2


def test_a_shorter_answer_is_another_one(server, connect):
    server.play(broken(events(PIECES[:2], whole=False)), stream(*events(PIECES[:1])))
    with pytest.raises(StreamError, match="differs after 2 characters"):
        list(connect("v2").stream("?", resume="replay"))


@pytest.mark.parametrize("dialect", ["v1", "v2"])
def test_continue_shows_the_model_what_it_said(server, connect, dialect):
    server.play(broken(events(PIECES[:2], dialect, whole=False)), stream(*events(PIECES[2:], dialect)))
    answered = connect(dialect).stream("写诗", system="诗人", resume="continue")
    assert read(answered) == PIECES
    sent = [json.loads(request.body) for request in server.requests]
    assert sent[1]["messages"][-3:] == [
        {"role": "user", "content": "写诗"},
        {"role": "assistant", "content": "床前明月光,"},
        {"role": "user", "content": GO_ON},
    ]
    assert {key: value for key, value in sent[1].items() if key != "messages"} == {
        key: value for key, value in sent[0].items() if key != "messages"
    }
    assert len(to_continue([{"role": "user", "content": "?"}], "x")) % 2 == 1  # roles alternate (3.1)


def test_it_goes_on_as_often_as_the_policy_allows(server, connect, clock):
    server.play(*[broken(events(PIECES[: n + 1], whole=False)) for n in range(4)])
    answered = connect("v2", retry=RetryPolicy(attempts=3, jitter="none")).stream("?", resume="replay")
    with pytest.raises(StreamTruncated) as caught:
        list(answered)
    assert caught.value.text == "床前明月光,疑是"
    assert [attempt.number for attempt in caught.value.attempts] == [1, 2, 3]
    assert clock.sleeps == [0.5, 1.0]


def test_retries_of_the_second_call_count_as_attempts_too(server, connect):
    busy = answer({"error": {"code": "rpm_rate_limit_exceeded", "message": "x", "type": "y"}}, 429)
    server.play(broken(events(PIECES[:1], whole=False)), busy, stream(*events(PIECES)))
    answered = connect("v2").stream("?", resume="replay")
    list(answered)
    assert [(a.number, a.wait_reason) for a in answered.attempts] == [(1, None), (2, "resume"), (3, "backoff")]
    starts = [attempt.started for attempt in answered.attempts]
    assert starts == sorted(starts)


def test_a_second_call_that_fails_for_good_says_so_with_the_text(server, connect, clock):
    denied = answer({"error": {"code": "access_denied", "message": "no", "type": "y"}}, 403)
    server.play(broken(events(PIECES[:1], whole=False)), denied)
    with pytest.raises(StreamError, match="access_denied") as caught:
        list(connect("v2").stream("?", resume="replay"))
    assert caught.value.text == "床前"
    first, second = caught.value.attempts
    assert (first.status, second.status, second.number, second.wait_reason) == (200, 403, 2, "resume")
    assert [second.waited] == pytest.approx(clock.sleeps)


def test_an_error_event_that_may_pass_is_resumed_and_one_that_stays_is_not(server, connect):
    passing = b'data: {"error_code":336100,"error_msg":"high load"}\n\n'
    lasting = b'data: {"error_code":336003,"error_msg":"bad"}\n\n'
    begun = events(PIECES[:1], "v1", whole=False)
    server.play(stream(*begun, passing), stream(*events(PIECES, "v1")), stream(*begun, lasting))
    client = connect("v1")
    assert client.stream("?", resume="replay").reply().text == TEXT
    with pytest.raises(StreamError, match="336003"):
        list(client.stream("?", resume="replay"))
    assert len(server.requests) == 3


def test_without_it_nothing_is_sent_again(server, connect):
    server.play(broken(events(PIECES[:1], whole=False)))
    with pytest.raises(StreamTruncated):
        list(connect("v2").stream("?"))
    assert len(server.requests) == 1


def test_half_a_tool_call_is_not_resumed(server, connect):
    call = v2_event({"tool_calls": [{"index": 0, "id": "1", "type": "function", "function": {"name": "f"}}]})
    server.play(broken([*events(PIECES[:1], whole=False), call]))
    with pytest.raises(StreamTruncated):
        list(connect("v2").stream("?", resume="continue"))
    assert len(server.requests) == 1


def test_a_resumed_answer_is_not_cached(server, connect):
    server.play(broken(events(PIECES[:1], whole=False)), stream(*events(PIECES)), stream(*events(PIECES)))
    client = connect("v2", cache=Cache())
    assert client.stream("?", resume="replay").reply().text == TEXT
    assert client.stream("?", resume="replay").reply().text == TEXT
    assert len(server.requests) == 3


def test_closing_it_closes_the_second_connection(server, connect):
    seen: SimpleQueue[bool] = SimpleQueue()

    def second(exchange):
        exchange.head()
        for event in events(PIECES, whole=False):
            exchange.chunk(event)
        seen.put(exchange.peer_closed())

    server.play(broken(events(PIECES[:1], whole=False)), second)
    with connect("v2").stream("?", resume="replay") as answered:
        for chunk in answered:
            if chunk.text == PIECES[1]:
                break
    assert seen.get(timeout=PATIENCE) is True


def test_no_other_way_to_go_on(connect):
    with pytest.raises(ConfigurationError, match="resume is one of replay, continue, or None; got 'again'"):
        connect("v2").stream("?", resume="again")


def test_it_costs_a_retry_of_nobody_else(server, connect):
    server.play(answer(V1_OK))
    assert connect("v1").chat("?").attempts[0].wait_reason is None


def test_a_refusal_before_content_is_a_plain_retry(server, connect):
    busy = answer({"error_code": 18, "error_msg": "qps"})
    server.play(busy, busy, busy)
    with pytest.raises(RateLimitError) as caught:
        connect("v1").stream("?", resume="replay")
    assert [attempt.wait_reason for attempt in caught.value.attempts] == [None, "backoff", "backoff"]
