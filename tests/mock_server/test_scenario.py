from __future__ import annotations

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mock_server.core import handle
from mock_server.delivery import Reply, Write
from mock_server.faults.whole import fault_of
from mock_server.handle import AccountHandle
from mock_server.pacing import Pace
from mock_server.scenario import Answer, Failure, Script, answer, pieces_of, stream
from mock_server.settings import build
from mock_server.state import State
from qfkit.protocol.credentials import Credentials
from qfkit.protocol.http import HttpRequest


@given(st.lists(st.tuples(st.sampled_from([18, 336100, 500]), st.integers(1, 20)), max_size=5))
def test_steps_are_met_in_order_and_exactly_as_often_as_queued(steps):
    script = Script()
    for code, times in steps:
        script.add(Failure(code=code), times)
    wanted = [code for code, times in steps for _ in range(times)]
    got = [script.take().action for _ in wanted]
    assert [action.code for action in got if isinstance(action, Failure)] == wanted
    assert isinstance(script.take().action, Answer)


def test_64_threads_meet_a_step_exactly_as_often_as_queued():
    script = Script()
    script.add(Failure(code=18), 500)
    with ThreadPoolExecutor(64) as pool:
        taken = list(pool.map(lambda _: type(script.take().action).__name__, range(2000)))
    assert Counter(taken) == {"Failure": 500, "Answer": 1500}


def test_the_journal_is_told_which_step_and_how_far_it_is():
    script = Script()
    script.add(Failure(code=18), 2)
    assert [script.take().name for _ in range(3)] == ["fail 18 (1 of 2)", "fail 18 (2 of 2)", "default"]


def test_what_is_waiting_is_told_in_words():
    script = Script()
    script.add(Failure(code=18), 3)
    script.add(Answer(text="好"))
    script.take()
    assert script.waiting() == ["fail 18 x2", "reply '好' x1"]
    script.clear()
    assert script.waiting() == []


@pytest.mark.parametrize("times", [0, -1, 1.5, True])
def test_times_is_a_whole_number_from_1(times):
    with pytest.raises(ValueError, match="whole number from 1"):
        Script().add(Answer(), times)


@pytest.mark.parametrize(
    ("retry_after", "headers"),
    [
        (None, []),
        (2, [("Retry-After", "2")]),
        (1.5, [("Retry-After", "2"), ("retry-after-ms", "1500")]),
        ("soon", [("Retry-After", "soon")]),
        (datetime(2026, 11, 23, 8, 0, tzinfo=timezone.utc), [("Retry-After", "Mon, 23 Nov 2026 08:00:00 GMT")]),
    ],
)
def test_retry_after_is_written_as_the_rfc_has_it(retry_after, headers):
    assert Failure(code=429, retry_after=retry_after).headers() == headers


def test_a_mistake_is_told_where_it_is_written():
    with pytest.raises(ValueError, match="18"):
        Failure(code=1818)
    with pytest.raises(ValueError, match="retry_after is in seconds"):
        Failure(code=429, retry_after=-1)
    with pytest.raises(ValueError, match="ttft is in seconds"):
        Pace(ttft=-0.1)
    with pytest.raises(TypeError, match="list of strings"):
        pieces_of("你好")


def test_a_fault_is_a_step_like_any_other():
    script = Script()
    script.add(fault_of("reset", {"after_bytes": 3}), 2)
    assert script.waiting() == ["fault reset (after_bytes=3) x2"]
    assert [script.take().name for _ in range(3)] == [
        "fault reset (after_bytes=3) (1 of 2)",
        "fault reset (after_bytes=3) (2 of 2)",
        "default",
    ]


def test_only_a_step_that_varies_counts_its_turns():
    script = Script()
    steady, varied = stream(["a"], {"ttft": 1}), stream(["a"], {"ttft": 1, "jitter": "uniform"})
    script.add(steady, 2)
    script.add(varied, 2)
    taken = [script.take().action for _ in range(4)]
    assert taken[0] is taken[1] is steady
    assert [action.turn for action in taken if isinstance(action, Answer)] == [0, 0, 0, 1]


def test_a_text_is_cut_when_it_is_queued():
    assert stream("春江 hi", {"chunk": "word"}).pieces == ("春", "江", " hi")
    with pytest.raises(ValueError, match="cut already"):
        stream(["春", "江"], {"chunk": "word"})
    with pytest.raises(ValueError, match="a tool call is"):
        answer(None, {"tool_calls": [{"arguments": {}}]})


class _Teapot:
    def apply(self, ordinary):
        return Reply(418, [("Content-Type", "text/plain")], (Write(0.0, ordinary("茶").content[:1]),))

    def describe(self):
        return "teapot"


def test_a_step_of_ones_own_makes_the_whole_answer():
    state = State(build({}))
    account = AccountHandle(state.add_account(Credentials()), state, "http://127.0.0.1:1")
    account.step(_Teapot(), times=2).then.reply("好")
    assert account.waiting == ["teapot x2", "reply '好' x1"]
    key = account.credentials.bearer_token
    request = HttpRequest(
        "POST",
        "/v2/chat/completions",
        [("Authorization", f"Bearer {key}")],
        b'{"model":"ernie-4.0-8k","messages":[{"role":"user","content":"?"}]}',
    )
    replies = [handle(request, state) for _ in range(3)]
    assert [reply.status for reply in replies] == [418, 418, 200]
    assert replies[0].content == b"{"
    assert [entry.answered_by for entry in account.requests] == ["teapot (1 of 2)", "teapot (2 of 2)", "reply '好'"]


def test_what_is_no_step_is_told_where_it_is_written():
    account = AccountHandle(None, None, "")
    with pytest.raises(TypeError, match=r"step\(\) takes an object with apply\(ordinary\) and describe\(\); 18 has no"):
        account.step(18)
