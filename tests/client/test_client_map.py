"""Client.map: order, failures, memory, an end."""

from __future__ import annotations

import gc
import itertools
import signal
import subprocess
import sys
import textwrap
import threading
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_server import PATIENCE, answer

from qfkit.client import APIError, Batch, ConfigurationError, QianfanError, Reply, RetryPolicy
from qfkit.client.exceptions import ConnectionFailed


def echo(exchange):
    """Answer with the question; a question with 坏 in it is bad."""
    text = exchange.request.json["messages"][0]["content"]
    if "坏" in text:
        return answer({"error_code": 336003, "error_msg": text}, 400)(exchange)
    return answer({"result": text})(exchange)


def wait_until(true):
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        threading.Event().wait(0.001)


def test_answers_come_in_the_order_of_the_questions(server, connect):
    server.otherwise = echo
    prompts = [str(number) for number in range(40)]
    assert [reply.text for reply in connect().map(prompts)] == prompts


def test_a_failure_loses_nothing_else(server, connect):
    server.otherwise = echo
    prompts = ["一", "坏", [{"role": "user", "content": "三"}], 4, "五"]
    found = list(connect(retry=RetryPolicy(attempts=1)).map(prompts, max_workers=3))
    assert [type(one).__name__ for one in found] == ["Reply", "BadRequestError", "Reply", "ConfigurationError", "Reply"]
    assert [one.text for one in found if isinstance(one, Reply)] == ["一", "三", "五"]
    assert isinstance(found[1], APIError)
    assert found[1].attempts[0].code == 336003


def test_arguments_hold_for_all(server, connect):
    server.otherwise = echo
    replies = list(connect().map(["a", "b"], system="简短", temperature=0.5))
    assert [reply.text for reply in replies] == ["简短\n\na", "简短\n\nb"]
    assert [request.json["temperature"] for request in server.requests] == [0.5, 0.5]


def test_nothing_asked_nothing_answered(connect):
    assert list(connect().map([])) == []


@pytest.mark.parametrize("workers", [0, -1, 1001, "5", 2.5])
def test_max_workers_is_checked(connect, workers):
    with pytest.raises(ConfigurationError, match="max_workers is a whole number from 1 to 1000"):
        connect().map(["a"], max_workers=workers)


def test_so_many_work_at_once_and_no_more():
    lock, running, peak = threading.Lock(), 0, 0
    all_in = threading.Barrier(4)

    def ask(prompt):
        nonlocal running, peak
        with lock:
            running += 1
            peak = max(peak, running)
        all_in.wait(PATIENCE)  # 4 must be in at once, or this fails
        with lock:
            running -= 1
        return prompt

    assert list(Batch(ask, range(40), 4)) == list(range(40))
    assert peak == 4


@given(st.lists(st.sampled_from(["good", "bad"]), max_size=60), st.integers(1, 6))
def test_each_question_has_its_own_answer(fates, workers):
    def ask(item):
        number, fate = item
        if fate == "bad":
            raise ConnectionFailed(str(number))
        return number

    found = list(Batch(ask, enumerate(fates), workers))
    assert [one.args[0] if isinstance(one, QianfanError) else str(one) for one in found] == [
        str(number) for number in range(len(fates))
    ]
    assert [isinstance(one, QianfanError) for one in found] == [fate == "bad" for fate in fates]


def test_a_million_prompts_are_taken_as_they_are_answered():
    taken = 0

    def prompts():
        nonlocal taken
        for taken in range(1, 1_000_001):  # noqa: UP028 - counted as they are taken
            yield taken

    batch = Batch(lambda prompt: prompt, prompts(), 5)
    assert taken == 0
    for due in range(1, 2001):
        assert next(batch) == due
        assert taken <= due + 20
    batch.close()
    assert list(batch) == []
    assert taken <= 2020


def test_a_slow_answer_holds_the_window_not_the_workers():
    hold, done = threading.Event(), []

    def ask(prompt):
        if prompt == 0:
            assert hold.wait(PATIENCE)
        else:
            done.append(prompt)
            if len(done) == 7:
                hold.set()
        return prompt

    assert list(itertools.islice(Batch(ask, itertools.count(), 2), 8)) == list(range(8))


def test_closing_cancels_what_has_not_begun():
    began, hold = [], threading.Event()

    def ask(prompt):
        began.append(prompt)
        assert prompt == 0 or hold.wait(PATIENCE)
        return prompt

    before = threading.active_count()
    with Batch(ask, itertools.count(), 2) as batch:
        assert next(batch) == 0
        wait_until(lambda: len(began) == 3)
    hold.set()
    wait_until(lambda: threading.active_count() <= before)
    assert sorted(began) == [0, 1, 2]
    assert list(batch) == []


def test_dropping_it_ends_its_threads():
    before = threading.active_count()
    for answered in Batch(lambda prompt: prompt, itertools.count(), 3):
        if answered == 10:
            break
    del answered
    gc.collect()
    wait_until(lambda: threading.active_count() <= before)


def test_prompts_that_fail_do_so_after_the_answers_before_them():
    def prompts():
        yield 1
        yield 2
        raise OSError("the disk is gone")

    batch = Batch(lambda prompt: prompt, prompts(), 2)
    assert [next(batch), next(batch)] == [1, 2]
    with pytest.raises(OSError, match="the disk is gone"):
        next(batch)
    with pytest.raises(StopIteration):
        next(batch)


def test_a_bug_does_not_pass_for_an_answer():
    def ask(prompt):
        if prompt == 1:
            raise ZeroDivisionError
        return prompt

    batch = Batch(ask, itertools.count(), 2)
    assert next(batch) == 0
    with pytest.raises(ZeroDivisionError):
        next(batch)
    assert list(batch) == []


@pytest.mark.skipif(sys.platform == "win32", reason="SIGINT cannot be sent to a child on Windows")
def test_ctrl_c_stops_at_once_although_calls_hang(server, keys):
    release = threading.Event()
    server.otherwise = lambda exchange: release.wait(2 * PATIENCE)
    script = f"""
        import itertools
        from qfkit import Client, Credentials
        client = Client({server.url!r}, Credentials(access_key="ALTAKFAKE", secret_key="0123456789"))
        batch = client.map(map(str, itertools.count()), max_workers=3)
        try:
            next(batch)
        except KeyboardInterrupt:
            print("stopped", list(batch))
    """
    command = [sys.executable, "-c", textwrap.dedent(script)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        wait_until(lambda: len(server.requests) == 3)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=PATIENCE)  # a call may hang for 60 s
    release.set()
    assert (out, err) == ("stopped []\n", "")
    assert len(server.requests) == 3
