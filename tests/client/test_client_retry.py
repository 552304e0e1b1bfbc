"""When a call is tried again, how long it waits, and when it stops."""

from __future__ import annotations

import gc
import math
import socket
import statistics
from email.utils import formatdate
from fractions import Fraction
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scripted_server import OK, TEXT_GENERATION_OK, V1_OK, V2_OK, FakeClock, answer, drop, stream, v1_event

from qfkit.client import (
    APIError,
    ConfigurationError,
    ConnectionFailed,
    QianfanError,
    RateLimitError,
    RetryBudget,
    RetryPolicy,
    ServerError,
    Stream,
    TimeoutExceeded,
)
from qfkit.client.answers import api_error
from qfkit.client.budget import Purse
from qfkit.client.retry import Decision, parse_retry_after
from qfkit.protocol.errors import ERRORS

BUSY = answer({"error_code": 18, "error_msg": "Open api qps request limit reached"})


def busy(status=429, **headers):
    pairs = [(name.replace("_", "-"), value) for name, value in headers.items()]
    return answer({"error_code": 429, "error_msg": "Request limit reached"}, status, pairs)


# The policy, a value


def test_defaults_are_as_documented():
    policy = RetryPolicy()
    assert (policy.attempts, policy.base, policy.factor, policy.cap, policy.jitter) == (3, 0.5, 2.0, 30.0, "full")
    assert (policy.retry_after_ceiling, policy.max_total) == (60.0, 180.0)


@pytest.mark.parametrize(("jitter", "low", "mean"), [("full", 0.0, 0.5), ("equal", 0.5, 0.75)])
def test_jitter_is_spread_evenly_over_its_range(jitter, low, mean):
    policy, random = RetryPolicy(jitter=jitter), Random(20240501)
    draws = [policy.backoff(4, random) / 4.0 for _ in range(4000)]  # 0.5 * 2**3
    assert low <= min(draws) < low + 0.01
    assert 0.99 < max(draws) <= 1.0
    width = 1 - low
    error = width / math.sqrt(12 * len(draws))  # of the mean of an even spread
    assert abs(statistics.fmean(draws) - mean) < 4 * error
    quarters = [sum(low + width * q / 4 <= draw < low + width * (q + 1) / 4 for draw in draws) for q in range(4)]
    assert all(abs(count - 1000) < 4 * math.sqrt(1000 * 0.75) for count in quarters)


def test_without_jitter_waits_double_up_to_the_cap():
    policy = RetryPolicy(jitter="none", cap=3.0)
    assert [policy.backoff(n, Random()) for n in range(1, 6)] == [0.5, 1.0, 2.0, 3.0, 3.0]


def test_a_call_that_fails_for_hours_does_not_overflow():
    assert RetryPolicy(factor=10.0).bounds(5000) == (0.0, 30.0)


@given(base=st.floats(0, 10), cap=st.floats(0, 100), seed=st.integers())
def test_decorrelated_jitter_is_that_of_the_article(base, cap, seed):
    # "sleep = min(cap, random_between(base, sleep * 3))", sleep being base at first (AWS, 2015).
    policy = RetryPolicy(base=base, cap=cap, jitter="decorrelated")
    ours, theirs = Random(seed), Random(seed)
    sleep, previous = base, None
    for failures in range(1, 12):
        previous = policy.backoff(failures, ours, previous)
        sleep = min(cap, theirs.uniform(base, max(base, sleep * 3)))
        assert previous == sleep


def test_a_decorrelated_wait_grows_from_the_backoff_before_and_not_from_a_retry_after(server, connect, clock):
    server.play(BUSY, busy(Retry_After="7"), BUSY, answer(V1_OK))

    class Highest(Random):
        def uniform(self, a, b):
            return b

    policy = RetryPolicy(attempts=4, base=1.0, jitter="decorrelated")
    connect(dialect="v1", retry=policy, random=Highest()).chat("?")
    assert clock.sleeps == [3.0, 7.0, 9.0]


@given(
    ratio=st.sampled_from([0.0, 0.1, 0.25, 0.5, 1.0]),
    reserve=st.integers(1, 20),
    spends=st.lists(st.integers(0, 4), max_size=60),
)
def test_a_budget_is_never_overspent_and_never_stingy(ratio, reserve, spends):
    purse = Purse(RetryBudget(ratio=ratio, reserve=reserve))
    left = Fraction(reserve)
    for wanted in spends:
        purse.earn()
        left = min(Fraction(reserve), left + Fraction(str(ratio)))
        for _ in range(wanted):
            granted = purse.spend()
            assert granted == (left >= 1)
            left -= granted


def test_a_budget_bounds_the_requests_of_a_client_whose_calls_all_fail(server, connect):
    server.play(*[BUSY] * 200)
    policy = RetryPolicy(attempts=5, budget=RetryBudget(ratio=0.5, reserve=4))
    client = connect(dialect="v1", retry=policy)
    for _ in range(40):
        with pytest.raises(RateLimitError) as caught:
            client.chat("?")
    # Calls but the first find room in the purse: 40 calls, 4 retries saved up, 39 or 40 halves earned.
    assert len(server.requests) in {40 + 4 + 19, 40 + 4 + 20}
    assert "retry budget" in caught.value.gave_up
    assert caught.value.attempts[-1].code == 18


def test_codes_can_be_added_and_taken_away(server, connect):
    denied = answer({"error_code": 6, "error_msg": "No permission to access data"})
    server.play(denied, answer(V1_OK), BUSY)
    client = connect(dialect="v1", retry=RetryPolicy(also={6}, never={18}))
    assert client.chat("?").text
    with pytest.raises(RateLimitError) as caught:
        client.chat("?")
    assert len(caught.value.attempts) == 1


@given(
    policy=st.builds(
        RetryPolicy,
        attempts=st.integers(1, 9),
        base=st.floats(0, 100),
        factor=st.floats(1, 10),
        cap=st.floats(0, 1000),
        jitter=st.sampled_from(["full", "equal", "decorrelated", "none"]),
        retry_after_ceiling=st.floats(0, 1000),
        max_total=st.none() | st.floats(0, 1000),
    ),
    asked=st.none() | st.floats(0, 2000),
    failures=st.integers(1, 12),
    elapsed=st.floats(0, 2000),
    seed=st.integers(),
)
def test_no_decision_breaks_a_promise(policy, asked, failures, elapsed, seed):
    error = api_error(
        "v1",
        200,
        {} if asked is None else {"Retry-After": repr(asked)},
        {"error_code": 18, "error_msg": "x"},
        now=0,
        secrets=(),
    )
    decision = policy.decide(error, failures=failures, elapsed=elapsed, random=Random(seed))
    if decision.wait is None:
        return
    assert failures < policy.attempts
    assert policy.max_total is None or elapsed + decision.wait <= policy.max_total
    if asked:
        assert decision == Decision(asked, "retry-after")
        assert asked <= policy.retry_after_ceiling
    else:
        low, high = policy.bounds(failures)
        assert low <= decision.wait <= high <= policy.cap
        assert decision.reason == "backoff"


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0},
        {"attempts": 1.5},
        {"attempts": True},
        {"base": -1},
        {"factor": 0.5},
        {"cap": float("nan")},
        {"jitter": "some"},
        {"budget": 0.1},
        {"also": "18"},
        {"never": [True]},
        {"retry_after_ceiling": float("inf")},
        {"retry_after_ceiling": None},
        {"max_total": -1},
    ],
)
def test_a_policy_that_makes_no_sense_is_refused(wrong):
    with pytest.raises(ConfigurationError, match=f"RetryPolicy.{next(iter(wrong))} is"):
        RetryPolicy(**wrong)


def test_a_policy_is_a_value():
    assert RetryPolicy(attempts=5) == RetryPolicy(attempts=5)
    assert hash(RetryPolicy()) == hash(RetryPolicy())
    with pytest.raises(AttributeError):
        RetryPolicy().attempts = 5  # type: ignore[misc]


# What the service asks for

NOW = 1_714_550_400.0


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({}, None),
        ({"Retry-After": "2"}, 2.0),
        ({"Retry-After": " 2 "}, 2.0),
        ({"Retry-After": "1.5"}, 1.5),
        ({"Retry-After": "0"}, 0.0),
        ({"Retry-After": "-3"}, 0.0),
        ({"Retry-After": ""}, None),
        ({"Retry-After": "soon"}, None),
        ({"Retry-After": "nan"}, None),
        ({"Retry-After": "1e999"}, math.inf),
        ({"Retry-After-Ms": "250", "Retry-After": "9"}, 0.25),
        ({"Retry-After-Ms": "x", "Retry-After": "9"}, 9.0),
        ({"Retry-After": formatdate(NOW + 7, usegmt=True)}, 7.0),
        ({"Retry-After": formatdate(NOW - 7, usegmt=True)}, 0.0),
        # The service's clock is an hour behind ours: what counts is its own idea of now.
        ({"Retry-After": formatdate(NOW - 3600 + 7, usegmt=True), "Date": formatdate(NOW - 3600, usegmt=True)}, 7.0),
        ({"Retry-After": formatdate(NOW + 7, usegmt=True), "Date": "yesterday"}, 7.0),
        ({"Retry-After": "Wed, 99 Foo 2024 99:99:99 GMT"}, None),
    ],
)
def test_retry_after_in_all_its_forms(headers, seconds):
    assert parse_retry_after(headers, now=NOW) == seconds


@pytest.mark.parametrize(
    "headers",
    [{"Retry_After": "1.5"}, {"retry_after_ms": "1500"}, {"RETRY_AFTER": formatdate(NOW + 1.5 + 0.5, usegmt=True)}],
)
def test_a_call_waits_to_the_letter_as_the_service_asks(server, connect, clock, headers):
    server.play(busy(**headers), answer(TEXT_GENERATION_OK))
    reply = connect().chat("hi")
    (waited,) = clock.sleeps
    assert waited == (2.0 if "RETRY_AFTER" in headers else 1.5)
    assert [(a.waited, a.wait_reason) for a in reply.attempts] == [(0.0, None), (waited, "retry-after")]


def test_v1_may_ask_too_under_http_200(server, connect, clock):
    server.play(answer({"error_code": 18, "error_msg": "x"}, 200, [("Retry-After", "3")]), answer(V1_OK))
    connect("v1").chat("hi")
    assert clock.sleeps == [3.0]


def test_a_wait_above_the_ceiling_is_not_waited(server, connect, clock):
    server.play(busy(Retry_After="3600"))
    with pytest.raises(RateLimitError) as caught:
        connect().chat("hi")
    assert clock.sleeps == []
    assert len(server.requests) == 1
    assert caught.value.retry_after == 3600
    assert "asks to wait 3600 s, more than RetryPolicy.retry_after_ceiling=60" in str(caught.value)


def test_zero_retry_after_means_backoff(server, connect, clock):
    server.play(busy(Retry_After="0"), answer(TEXT_GENERATION_OK))
    reply = connect(retry=RetryPolicy(jitter="none")).chat("hi")
    assert clock.sleeps == [0.5]
    assert reply.attempts[1].wait_reason == "backoff"


# Calls


def test_backoff_sleeps_on_the_clock_and_is_recorded(server, connect, clock):
    server.play(BUSY, drop, answer(V1_OK))
    reply = connect("v1", retry=RetryPolicy(jitter="none")).chat("hi")
    assert clock.sleeps == [0.5, 1.0]
    first, second, third = reply.attempts
    assert (first.number, first.status, first.code, first.started) == (1, 200, 18, 0.0)
    assert first.error == "v1 error 18 (HTTP 200): Open api qps request limit reached"
    assert (second.number, second.status, second.code, second.started) == (2, None, None, 0.5)
    assert "RemoteDisconnected" in second.error
    assert (third.number, third.status, third.error, third.started) == (3, 200, None, 1.5)
    assert [a.wait_reason for a in reply.attempts] == [None, "backoff", "backoff"]
    assert [a.waited for a in reply.attempts] == [0.0, 0.5, 1.0]
    assert reply.latency == 1.5


def test_it_gives_up_after_the_last_attempt_and_says_so(server, connect, clock):
    server.otherwise = answer({"error_code": 336100, "error_msg": "high load", "id": "as-3vj8dnkd4q"})
    with pytest.raises(ServerError) as caught:
        connect("v1").chat("hi")
    error = caught.value
    assert len(server.requests) == 3
    assert len(clock.sleeps) == 2
    assert [attempt.code for attempt in error.attempts] == [336100] * 3
    assert (error.code, error.status, error.message, error.request_id) == (336100, 200, "high load", "as-3vj8dnkd4q")
    assert error.spec.retryable
    text = str(error)
    assert text.startswith("v1 error 336100 (HTTP 200): high load. ")
    assert error.spec.remedy.rstrip(".") in text
    assert text.endswith("[request id as-3vj8dnkd4q; 3 attempts; gave up: RetryPolicy.attempts=3]")


def test_one_attempt_never_retries(server, connect, clock):
    server.otherwise = BUSY
    with pytest.raises(RateLimitError) as caught:
        connect("v1", retry=RetryPolicy(attempts=1)).chat("hi")
    assert (len(server.requests), clock.sleeps) == (1, [])
    assert "gave up" not in str(caught.value)


def test_no_wait_ends_after_max_total(server, connect, clock):
    server.otherwise = BUSY
    with pytest.raises(RateLimitError, match=r"would pass RetryPolicy.max_total=4") as caught:
        connect("v1", retry=RetryPolicy(attempts=99, jitter="none", max_total=4.0)).chat("hi")
    assert clock.sleeps == [0.5, 1.0, 2.0]
    assert len(caught.value.attempts) == 4


@pytest.mark.parametrize("spec", ERRORS, ids=lambda spec: f"{spec.dialect}-{spec.code}-{spec.status}")
def test_every_row_of_the_table_is_retried_exactly_if_it_says_so(spec, server, connect, only):
    from qfkit.protocol.errors import envelope

    dialect, keys = {
        "oauth": ("v1", only("ak", "sk")),
        "iam": ("v2", only("access_key", "secret_key")),
    }.get(spec.dialect, (spec.dialect, only("access_key", "secret_key", "access_token", "bearer_token")))
    if spec.dialect == "v2":
        keys = only("bearer_token")  # nothing to renew a refused token with
    server.play(answer(envelope(spec, request_id="as-0123456789"), spec.status))
    server.play(*([answer({"access_token": "t", "token": "t"})] if spec.dialect in {"oauth", "iam"} else []))
    server.otherwise = answer(OK[dialect])
    client = connect(dialect, keys)
    if spec.retryable:
        reply = client.chat("hi")
        assert [attempt.code for attempt in reply.attempts] == [spec.code, None]
    else:
        with pytest.raises(APIError) as caught:
            client.chat("hi")
        assert (caught.value.code, caught.value.dialect) == (spec.code, spec.dialect)
        assert len(server.requests) == 1
        assert not caught.value.retryable


@pytest.mark.parametrize("status", [408, 429, 500, 502, 503, 504])
@pytest.mark.parametrize("dialect", ["text_generation", "v1", "v2"])
def test_statuses_without_a_known_body_are_retried(server, connect, dialect, status):
    server.play(answer(b"<html>Bad Gateway</html>", status, kind="text/html"), answer(OK[dialect]))
    assert connect(dialect).chat("hi").attempts[0].status == status


@pytest.mark.parametrize("status", [400, 401, 403, 404, 405, 413, 422])
def test_other_statuses_are_not(server, connect, status):
    server.play(answer(b"", status))
    with pytest.raises(APIError) as caught:
        connect("v2").chat("hi")
    assert caught.value.status == status
    assert len(server.requests) == 1


def test_a_port_where_nobody_listens_is_tried_again(server, connect, clock):
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))  # bound, not listening: refused, and nobody else can take it
        with pytest.raises(ConnectionFailed, match="Connection refused") as caught:
            connect(base_url=f"http://127.0.0.1:{probe.getsockname()[1]}").chat("hi")
    assert len(caught.value.attempts) == 3
    assert len(clock.sleeps) == 2


def test_a_body_that_breaks_off_is_tried_again(server, connect):
    def cut(exchange):
        exchange.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 100\r\n\r\n{")
        exchange.hang_up()

    server.play(cut, answer(V2_OK))
    reply = connect("v2").chat("hi")
    assert reply.attempts[0].error == "no whole answer: the connection closed before its end"
    assert reply.text == "你好"


def test_a_server_that_stalls_is_a_timeout(server, connect):
    server.play(lambda exchange: exchange.peer_closed(), answer(V2_OK))
    reply = connect("v2", timeout=(5, 0.05)).chat("hi")
    assert reply.attempts[0].error == "nothing came for 0.05 s (read timeout)"
    server.otherwise = lambda exchange: exchange.peer_closed()
    with pytest.raises(TimeoutExceeded):
        connect("v2", timeout=0.05, retry=RetryPolicy(attempts=1)).chat("hi")


def test_an_interrupt_is_not_a_failure_to_retry(server, connect, clock):
    class Impatient(FakeClock):
        def sleep(self, seconds):
            raise KeyboardInterrupt

    server.otherwise = BUSY
    with pytest.raises(KeyboardInterrupt):
        connect("v1", clock=Impatient()).chat("hi")
    assert len(server.requests) == 1


def test_the_same_seed_waits_the_same(server, connect):
    waits = []
    for _ in range(2):
        clock = FakeClock()
        server.play(BUSY, BUSY, answer(V1_OK))
        connect("v1", clock=clock, random=Random(42)).chat("hi")
        waits.append(clock.sleeps)
    assert waits[0] == waits[1]
    assert len(set(waits[0])) == 2


def fails(client, verb):
    # Not pytest.raises, which keeps the exception in cycles of its own.
    try:
        client.chat("hi") if verb == "chat" else client.stream("hi").reply()
    except QianfanError:
        return True
    return False


@pytest.mark.parametrize("verb", ["chat", "stream"])
@pytest.mark.parametrize(
    "failure",
    [
        drop,
        BUSY,
        answer(b"<html>"),
        answer(b"", 500),
        lambda exchange: (exchange.send(b"HTTP/1.1 400 Bad\r\nContent-Length: 9\r\n\r\n{"), exchange.hang_up()),
        lambda exchange: (exchange.head(), exchange.hang_up()),
        stream(v1_event("你"), v1_event("好"), b"data: {broken\n\n"),
        stream(v1_event("你"), v1_event("好"), end=False),
    ],
)
def test_failures_leave_nothing_to_the_garbage_collector(server, connect, verb, failure):
    client = connect("v1", retry=RetryPolicy(attempts=2))
    server.otherwise = failure
    gc.disable()
    gc.freeze()  # what other tests have left is none of this one's, and takes long to look through
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        for _ in range(2):
            assert fails(client, verb)
        gc.collect()
        left = [item for item in gc.garbage if isinstance(item, (Exception, Stream, socket.socket))]
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.unfreeze()
        gc.enable()
    assert left == []


def test_a_failure_that_is_not_ours_passes_at_once(server, connect, clock):
    class Broken(Random):
        def uniform(self, a, b):
            raise ZeroDivisionError

    server.otherwise = BUSY
    with pytest.raises(ZeroDivisionError):
        connect("v1", random=Broken()).chat("hi")
    assert not issubclass(ZeroDivisionError, QianfanError)
