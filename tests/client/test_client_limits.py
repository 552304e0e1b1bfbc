"""The client's own limits: never exceeded in any window, first come first served, and no lower than need be."""

from __future__ import annotations

import gc
import itertools
import os
import signal
import sys
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule
from scripted_server import OK, PATIENCE, STREAMS, FakeClock, answer, stream

from mock_server import MockServer
from qfkit.client import Client, ConfigurationError, Limiter, RateLimits, RetryPolicy, ServerError
from qfkit.testing.clock import SkippingClock

BAD = answer({"error_code": 336000, "error_msg": "Internal error"}, 500)


def assert_kept(starts, capacity, seconds):
    """No half-open stretch of ``seconds`` holds more than ``capacity``; starts are (time, weight), in order."""
    total = 0
    first = 0
    for number, (time_, weight) in enumerate(starts):
        total += weight
        while starts[first][0] + seconds <= time_:
            total -= starts[first][1]
            first += 1
        assert total <= capacity or number == first, f"{total} in {seconds} s from {starts[first][0]}"


# The values


@pytest.mark.parametrize("name", ["qps", "rpm", "tpm", "concurrency"])
@pytest.mark.parametrize("value", [0, -1, 0.5, "100", True])
def test_a_limit_is_a_whole_number(name, value):
    with pytest.raises(ConfigurationError, match=rf"RateLimits\.{name} is a whole number, 1 or more, or None"):
        RateLimits(**{name: value})


def test_only_the_documented_limit_is_kept_by_default(connect):
    limits = {dialect: connect(dialect)._limiter.limits for dialect in ("text_generation", "v1", "v2")}
    assert limits == {
        "text_generation": RateLimits(qps=100, adaptive=False),
        "v1": RateLimits.off(),
        "v2": RateLimits.off(),
    }


def test_anything_else_is_refused(connect):
    with pytest.raises(ConfigurationError, match="limits is a RateLimits, a Limiter or None; got int"):
        connect(limits=100)


# Windows


class Windows(RuleBasedStateMachine):
    """Attempts begin, time passes, the service corrects weights and names limits: nothing is ever exceeded."""

    @initialize(
        qps=st.none() | st.integers(1, 5),
        rpm=st.none() | st.integers(1, 20),
        tpm=st.none() | st.integers(1, 100),
        adaptive=st.booleans(),
    )
    def begin(self, qps, rpm, tpm, adaptive):
        self.limits = RateLimits(qps=qps, rpm=rpm, tpm=tpm, adaptive=adaptive)
        self.clock = FakeClock()
        self.limiter = Limiter(self.limits, self.clock)
        self.starts = []
        self.tokens = []
        self.slots = []
        self.learned = {}
        self.by_model = {"a": [], "b": []}

    @rule(model=st.sampled_from("ab"), tokens=st.integers(0, 120))
    def acquire(self, model, tokens):
        before = self.clock.monotonic()
        slot = self.limiter.acquire(model, lambda: tokens)
        now = self.clock.monotonic()
        assert slot.queued == now - before
        self.slots.append((slot, len(self.tokens)))
        self.starts.append((now, 1))
        self.tokens.append((now, tokens))
        self.by_model[model].append((now, 1))
        cap = self.learned.get(model)
        if cap is not None:  # what began under an earlier, higher limit is past; the newest start must respect the new
            assert sum(start + 60 > now for start, _ in self.by_model[model]) <= cap
        if self.limits.tpm is not None:
            inside = [weight for start, weight in self.tokens if start + 60 > now]
            assert sum(inside) <= self.limits.tpm or sum(inside) == inside[-1]

    @rule(seconds=st.floats(0, 90))
    def pass_time(self, seconds):
        self.clock.advance(seconds)

    @precondition(lambda self: self.slots)
    @rule(data=st.data(), tokens=st.integers(0, 150))
    def settle(self, data, tokens):
        slot, index = data.draw(st.sampled_from(self.slots))
        slot.settle(tokens)
        if tokens:
            self.tokens[index] = (self.tokens[index][0], tokens)

    @rule(model=st.sampled_from("ab"), value=st.integers(-1, 20))
    def learn(self, model, value):
        self.limiter.learn(model, {"X-Ratelimit-Limit-Requests": str(value)})
        if value > 0 and self.limits.adaptive:
            self.learned[model] = value

    @invariant()
    def nothing_is_exceeded(self):
        if getattr(self, "limits", None) is None:
            return
        if self.limits.qps is not None:
            assert_kept(self.starts, self.limits.qps, 1)
        if self.limits.rpm is not None:
            assert_kept(self.starts, self.limits.rpm, 60)


TestWindows = Windows.TestCase
TestWindows.settings = settings(max_examples=60, stateful_step_count=40, deadline=None)


@given(qps=st.integers(1, 50), calls=st.integers(0, 200))
def test_no_wait_is_longer_than_need_be(qps, calls):
    clock = FakeClock()
    limiter = Limiter(RateLimits(qps=qps), clock)
    for _ in range(calls):
        limiter.acquire("m", lambda: 1)
    began = clock.monotonic()
    limiter.acquire("m", lambda: 1)
    assert began - 1000.0 <= calls // qps * 1.02 + 0.01
    assert clock.monotonic() - 1000.0 == pytest.approx(calls // qps * 1.02, abs=0.05)


def test_a_header_of_60_lets_60_go_at_once():
    clock = FakeClock()
    limiter = Limiter(RateLimits(), clock)
    limiter.learn("m", {"X-Ratelimit-Limit-Requests": "60", "X-Ratelimit-Limit-Tokens": "300000"})
    for _ in range(60):
        assert limiter.acquire("m", lambda: 10).queued == 0  # the official SDK would let 9 go in ten seconds
    assert limiter.acquire("other", lambda: 10).queued == 0
    assert limiter.acquire("m", lambda: 10).queued == pytest.approx(60, abs=0.05)


def test_what_began_before_the_first_header_counts():
    clock = FakeClock()
    limiter = Limiter(RateLimits(), clock)
    for _ in range(5):
        limiter.acquire("m", lambda: 100)
    limiter.learn("m", {"X-Ratelimit-Limit-Tokens": "600"})
    assert limiter.acquire("m", lambda: 100).queued == 0
    assert limiter.acquire("m", lambda: 100).queued == pytest.approx(60, abs=0.05)


@pytest.mark.parametrize("text", ["", "0", "-5", "many", "1e3", "٣", "3.5"])
def test_a_header_that_says_nothing_changes_nothing(text):
    limiter = Limiter(RateLimits(), FakeClock())
    limiter.learn("m", {"X-Ratelimit-Limit-Requests": text, "X-Ratelimit-Limit-Tokens": text})
    assert [limiter.acquire("m", lambda: 10**6).queued for _ in range(100)] == [0.0] * 100


def test_the_configured_limit_holds_when_the_service_allows_more():
    limiter = Limiter(RateLimits(rpm=2), FakeClock())
    limiter.learn("m", {"X-Ratelimit-Limit-Requests": "3000"})
    assert [limiter.acquire("m", lambda: 0).queued > 0 for _ in range(3)] == [False, False, True]


def test_a_call_that_alone_is_over_the_limit_goes_alone():
    limiter = Limiter(RateLimits(tpm=10), FakeClock())
    assert limiter.acquire("m", lambda: 50).queued == 0
    assert limiter.acquire("m", lambda: 50).queued == pytest.approx(60, abs=0.05)


# Threads


def test_first_come_first_served():
    limiter = Limiter(RateLimits(concurrency=1), FakeClock())
    first = limiter.acquire("m", lambda: 1)
    order, threads = [], []

    def ask(number):
        slot = limiter.acquire("m", lambda: 1)
        order.append(number)
        slot.release()

    def queued():
        gates = limiter._gates("m")
        return sum(len(gate.turn._waiting) for gate in gates) + sum(gate.turn._taken for gate in gates)

    for number in range(20):
        before = queued()
        threads.append(threading.Thread(target=ask, args=(number,)))
        threads[-1].start()
        deadline = time.monotonic() + PATIENCE
        while queued() <= before:
            assert time.monotonic() < deadline
    first.release()
    for thread in threads:
        thread.join(PATIENCE)
    assert order == list(range(20))


@settings(max_examples=10, deadline=None)
@given(qps=st.integers(1, 7), workers=st.integers(2, 8))
def test_many_threads_keep_it_together(qps, workers):
    lock, starts = threading.Lock(), []
    limiter = Limiter(RateLimits(qps=qps, tpm=10**9, concurrency=3), SkippingClock())
    inside, peak = 0, 0

    def work():
        nonlocal inside, peak
        for _ in range(15):
            slot = limiter.acquire("m", lambda: 1)
            with lock:
                inside += 1
                peak = max(peak, inside)
                starts.append(slot._starts[0].time)
            with lock:
                inside -= 1
            slot.release()

    threads = [threading.Thread(target=work) for _ in range(workers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    assert len(starts) == 15 * workers
    assert peak <= 3
    assert_kept([(start, 1) for start in sorted(starts)], qps, 1)


@pytest.mark.skipif(sys.platform == "win32", reason="no SIGUSR1 there")
def test_an_interrupted_wait_leaves_the_queue_in_order():
    class Interrupted(BaseException):
        pass

    def interrupt(number, frame):
        raise Interrupted

    limiter = Limiter(RateLimits(concurrency=1), FakeClock())
    held = limiter.acquire("m", lambda: 1)
    before = signal.signal(signal.SIGUSR1, interrupt)
    try:
        for crowd in (0, 1):  # at the head of the queue, and behind it
            others = [threading.Thread(target=lambda: limiter.acquire("m", lambda: 1).release()) for _ in range(crowd)]
            for thread in others:
                thread.start()
            deadline = time.monotonic() + PATIENCE
            while crowd and not limiter._shared.turn._taken:
                assert time.monotonic() < deadline
            threading.Timer(0.05, os.kill, (os.getpid(), signal.SIGUSR1)).start()
            with pytest.raises(Interrupted):
                limiter.acquire("m", lambda: 1)
            held.release()
            for thread in others:
                thread.join(PATIENCE)
            held = limiter.acquire("m", lambda: 1)
    finally:
        signal.signal(signal.SIGUSR1, before)
    held.release()
    assert limiter.acquire("m", lambda: 1).queued == 0


# In the client


@pytest.mark.parametrize("dialect", ["text_generation", "v1", "v2"])
def test_what_was_waited_is_told(server, connect, clock, dialect, caplog):
    server.otherwise = answer(OK[dialect])
    more = {"auth": "bce-auth-v1"} if dialect == "v1" else {}
    client = connect(dialect, limits=RateLimits(qps=2), **more)
    caplog.set_level("INFO", "qfkit")
    queued = [client.chat("你好").attempts[0].queued for _ in range(5)]
    assert queued == pytest.approx([0, 0, 1, 0, 1], abs=0.05)
    assert sum("held back 1.020 s by the client's own limits" in line for line in caplog.messages) == 2
    assert clock.sleeps == pytest.approx([1, 1], abs=0.05)


def test_each_attempt_counts_and_is_signed_after_the_wait(server, connect, clock):
    server.play(BAD, BAD, answer(OK["text_generation"]))
    reply = connect(limits=RateLimits(rpm=1), retry=RetryPolicy(base=0)).chat("你好")
    assert [attempt.queued for attempt in reply.attempts] == pytest.approx([0, 60, 60], abs=0.05)
    stamps = [int(request.header("X-Bce-Timestamp")) for request in server.requests]
    assert [after - before for before, after in itertools.pairwise(stamps)] == [60, 60]


def test_a_limiter_is_shared_by_the_clients_that_are_given_it(server, connect, clock):
    server.otherwise = answer(OK["text_generation"])
    limiter = Limiter(RateLimits(rpm=1), clock)
    assert connect(limits=limiter).chat("你").attempts[0].queued == 0
    assert connect(limits=limiter).chat("好").attempts[0].queued == pytest.approx(60, abs=0.05)


def test_the_tokens_that_were_counted_replace_the_estimate(server, connect):
    server.otherwise = answer({"result": "好", "usage": {"prompt_tokens": 40, "completion_tokens": 50}})
    client = connect(limits=RateLimits(tpm=100))
    queued = [client.chat("你好").attempts[0].queued for _ in range(3)]
    assert queued == pytest.approx([0, 0, 60], abs=0.05)  # 2 + 90 fit, 180 leave no room


@pytest.mark.parametrize("dialect", ["text_generation", "v1", "v2"])
def test_a_stream_holds_its_place_until_it_ends(server, connect, dialect):
    more = {"auth": "bce-auth-v1"} if dialect == "v1" else {}
    client = connect(dialect, limits=RateLimits(concurrency=1), retry=RetryPolicy(attempts=1), **more)
    permits = client._limiter._permits
    server.otherwise = stream(*STREAMS[dialect])
    opened = client.stream("你好")
    assert permits.qsize() == 0
    assert "".join(chunk.text for chunk in opened) == "你好"
    assert permits.qsize() == 1
    opened.close()
    assert permits.qsize() == 1
    with client.stream("你好"):
        assert permits.qsize() == 0
    assert permits.qsize() == 1
    opened = client.stream("你好")
    del opened
    gc.collect()
    assert permits.qsize() == 1
    server.play(BAD)
    with pytest.raises(ServerError):
        client.stream("你好")
    server.play(BAD)
    with pytest.raises(ServerError):
        client.chat("你好")
    assert permits.qsize() == 1


def test_an_interrupted_call_gives_its_place_back(server, connect, monkeypatch):
    server.otherwise = answer(OK["text_generation"])
    client = connect(limits=RateLimits(concurrency=1))

    def interrupted(*arguments, **more):
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(client._transport, "send", interrupted)
        with pytest.raises(KeyboardInterrupt):
            client.chat("你好")
    assert client.chat("你好").text == "你好"


def test_a_text_is_weighed_only_where_tokens_are_limited():
    def weigh():
        raise AssertionError("nobody needs to know")

    for limits in (RateLimits.off(), RateLimits(qps=5, adaptive=False)):
        Limiter(limits, FakeClock()).acquire("m", weigh)


def test_the_mock_names_a_limit_and_the_client_learns_it():
    with MockServer(port=0) as server:
        account = server.account()
        with Client(server.url, account.credentials, "v1", limits=RateLimits(), clock=SkippingClock()) as client:
            reply = client.chat("你好", model="ernie-3.5-8k")
            named = int(reply.headers["X-Ratelimit-Limit-Requests"])
            assert client._limiter._models["chat ernie-3.5-8k"].requests[0].capacity == named
