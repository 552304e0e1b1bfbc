"""Tokens: bought once, shared by threads, replaced once when refused."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from scripted_server import PATIENCE, V1_OK, V2_OK, FakeClock, answer, drop

from qfkit.client import AuthenticationError, ConnectionFailed, InvalidReply, RetryPolicy
from qfkit.client.tokens import BoughtToken, Token, TokenCache

STALE = {"error_code": 111, "error_msg": "Access token expired"}
REFUSED = {"error": {"code": "invalid_iam_token", "message": "invalid_iam_token", "type": "invalid_request_error"}}


def oauth(token, expires_in=2592000):
    return answer({"access_token": token, "expires_in": expires_in})


def paths(server):
    return [request.path.rpartition("/")[2] for request in server.requests]


@pytest.mark.parametrize("code", [110, 111])
def test_v1_replaces_a_refused_token_and_sends_again(server, connect, clock, code):
    server.play(answer(STALE | {"error_code": code}), oauth("new"), answer(V1_OK))
    reply = connect("v1", retry=RetryPolicy(attempts=1)).chat("hi")  # not a retry, so no retry is needed
    assert paths(server) == ["completions", "token", "completions"]
    assert server.requests[2].query == "access_token=new"
    assert [(a.code, a.wait_reason) for a in reply.attempts] == [(code, None), (None, "token-refresh")]
    assert clock.sleeps == []


def test_v2_replaces_a_refused_token_and_sends_again(server, connect):
    server.play(answer(REFUSED, 401), answer({"token": "bce-v3/new"}), answer(V2_OK))
    reply = connect("v2").chat("hi")
    assert paths(server) == ["completions", "token", "completions"]
    assert server.requests[2].header("Authorization") == "Bearer bce-v3/new"
    assert [a.wait_reason for a in reply.attempts] == [None, "token-refresh"]


def test_once_and_no_more(server, connect):
    server.play(answer(STALE), oauth("new"), answer(STALE), oauth("newer"), answer(STALE))
    with pytest.raises(AuthenticationError) as caught:
        connect("v1").chat("hi")
    assert paths(server) == ["completions", "token", "completions"]
    assert len(caught.value.attempts) == 2


def test_once_a_call_even_among_retries(server, connect):
    busy = answer({"error_code": 336100, "error_msg": "high load"})
    server.play(answer(STALE), oauth("new"), busy, answer(STALE))
    with pytest.raises(AuthenticationError) as caught:
        connect("v1").chat("hi")
    assert [a.code for a in caught.value.attempts] == [111, 336100, 111]


def test_a_ready_token_without_keys_cannot_be_replaced(server, connect, only):
    server.play(answer(STALE), answer(REFUSED, 401))
    with pytest.raises(AuthenticationError):
        connect("v1", only("access_token")).chat("hi")
    with pytest.raises(AuthenticationError):
        connect("v2", only("bearer_token")).chat("hi")
    assert paths(server) == ["completions", "completions"]


def test_a_wrong_signature_is_no_stale_token(server, connect):
    server.play(answer({"error_code": 14, "error_msg": "IAM Certification failed"}))
    with pytest.raises(AuthenticationError):
        connect("v1").chat("hi")
    assert len(server.requests) == 1


def test_a_stream_replaces_a_refused_token_too(server, connect):
    from scripted_server import STREAMS, stream

    server.play(answer(STALE), oauth("new"), stream(*STREAMS["v1"]))
    with connect("v1").stream("hi") as said:
        assert "".join(chunk.text for chunk in said) == "你好"
    assert [a.wait_reason for a in said.attempts] == [None, "token-refresh"]


def test_eight_threads_buy_one_token(server, connect, only):
    server.otherwise = lambda exchange: (oauth("one") if "oauth" in exchange.request.path else answer(V1_OK))(exchange)
    client = connect("v1", only("ak", "sk"))
    start = threading.Barrier(8)

    def call(_):
        start.wait(PATIENCE)
        return client.chat("hi").text

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(call, range(8))) == ["你好"] * 8
    assert paths(server).count("token") == 1
    assert paths(server).count("completions") == 8


def test_eight_threads_that_are_refused_together_replace_the_token_once(server, connect):
    everyone = threading.Barrier(8)

    def serve(exchange):
        if "oauth" in exchange.request.path:
            return oauth("new")(exchange)
        if exchange.request.query != "access_token=new":
            everyone.wait(PATIENCE)  # nobody is refused before all have sent the old token
            return answer(STALE)(exchange)
        return answer(V1_OK)(exchange)

    server.otherwise = serve
    client = connect("v1")
    with ThreadPoolExecutor(8) as pool:
        replies = list(pool.map(lambda _: client.chat("hi"), range(8)))
    assert paths(server).count("token") == 1
    assert paths(server).count("completions") == 16
    assert {tuple(a.wait_reason for a in reply.attempts) for reply in replies} == {(None, "token-refresh")}


@pytest.mark.parametrize("life", [(2592000, 60), (100, 10)])
def test_a_token_is_replaced_shortly_before_its_end(server, connect, clock, only, life):
    lifetime, margin = life
    server.play(oauth("one", lifetime), answer(V1_OK), answer(V1_OK), oauth("two"), answer(V1_OK))
    client = connect("v1", only("ak", "sk"))
    client.chat("a")
    clock.advance(lifetime - margin - 1)
    client.chat("b")
    clock.advance(1)
    client.chat("c")
    assert paths(server) == ["token", "completions", "completions", "token", "completions"]


def test_the_life_of_a_bearer_token_is_told_by_the_services_own_clock(server, connect, clock, only):
    def token(name):
        times = {"createTime": "2030-01-01T00:00:00.000Z", "expireTime": "2030-01-01T00:10:00.000Z"}
        return answer({"token": name} | times)

    server.play(token("one"), answer(V2_OK), answer(V2_OK), token("two"), answer(V2_OK))
    client = connect("v2", only("access_key", "secret_key"))
    client.chat("a")
    clock.advance(539)
    client.chat("b")
    clock.advance(1)
    client.chat("c")
    assert paths(server) == ["token", "completions", "completions", "token", "completions"]


@pytest.mark.parametrize("times", [{}, {"createTime": "x", "expireTime": "y"}, {"createTime": 1, "expireTime": 2}])
def test_a_bearer_token_of_unknown_life_is_kept(server, connect, clock, only, times):
    server.play(answer({"token": "t"} | times), answer(V2_OK), answer(V2_OK))
    client = connect("v2", only("access_key", "secret_key"))
    client.chat("a")
    clock.advance(10**9)
    client.chat("b")
    assert paths(server) == ["token", "completions", "completions"]


@pytest.mark.parametrize("body", [{}, {"access_token": ""}, {"access_token": 7}, {"access_token": "line\nbreak"}])
def test_an_answer_without_a_token_is_said_to_be_one(server, connect, only, body):
    server.play(answer(body))
    with pytest.raises(InvalidReply, match="OAuth service answered without a usable 'access_token'"):
        connect("v1", only("ak", "sk")).chat("hi")


def test_a_fetch_that_fails_on_the_way_is_retried_with_the_call(server, connect, only):
    server.play(drop, oauth("t"), answer(V1_OK))
    reply = connect("v1", only("ak", "sk")).chat("hi")
    assert paths(server) == ["token", "token", "completions"]
    assert len(reply.attempts) == 2


# The cache alone


def test_waiting_threads_share_a_failure_but_not_its_exception():
    fetching, fail = threading.Event(), threading.Event()

    def fetch():
        fetching.set()
        fail.wait(PATIENCE)
        raise ConnectionFailed("no route")

    cache = BoughtToken(TokenCache(FakeClock()), fetch)
    with ThreadPoolExecutor(4) as pool:
        first = pool.submit(cache.get)
        fetching.wait(PATIENCE)
        others = [pool.submit(cache.get) for _ in range(3)]
        fail.set()
        errors = [future.exception(PATIENCE) for future in (first, *others)]
    assert {str(error) for error in errors} == {"no route"}
    assert len({id(error) for error in errors}) == 4


def test_an_interrupted_fetch_leaves_the_cache_usable():
    outcomes = [KeyboardInterrupt(), Token("t")]

    def fetch():
        outcome = outcomes.pop(0)
        if isinstance(outcome, BaseException):
            raise outcome
        return outcome

    cache = BoughtToken(TokenCache(FakeClock()), fetch)
    with pytest.raises(KeyboardInterrupt):
        cache.get()
    assert cache.get() == "t"


def test_discarding_an_old_token_keeps_the_new_one():
    tokens = iter([Token("one"), Token("two")])
    cache = BoughtToken(TokenCache(FakeClock()), lambda: next(tokens))
    assert cache.get() == "one"
    assert cache.discard("one")
    assert cache.get() == "two"
    assert cache.discard("one")
    assert cache.get() == "two"
    assert "two" not in repr(Token("two"))
