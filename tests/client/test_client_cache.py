"""Answers kept: which questions are the same, who asks, what comes back, and for how long."""

from __future__ import annotations

import gc
import json
import string
import threading
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule
from scripted_server import DONE, OK, PATIENCE, STREAMS, USAGE, FakeClock, answer, stream, v1_event, v2_event

from mock_server import MockServer
from qfkit.client import (
    BadRequestError,
    Cache,
    CacheStats,
    Client,
    ConfigurationError,
    MemoryStore,
    RateLimits,
    RetryPolicy,
    StoreUnavailable,
    StreamTruncated,
)
from qfkit.client.calls import chat_call
from qfkit.client.replay import Entry, decode, encode

DIALECTS = ("text_generation", "v1", "v2")
URL = "http://127.0.0.1:1"


def wait_until(true):
    deadline = time.monotonic() + PATIENCE
    while not true():
        assert time.monotonic() < deadline
        threading.Event().wait(0.001)


@pytest.fixture
def cached(connect, clock):
    """A client with a cache, on the fake clock."""

    def make(dialect="text_generation", cache=None, **more):
        if dialect == "v1":
            more.setdefault("auth", "bce-auth-v1")
        client = connect(dialect, cache=cache or Cache(MemoryStore(clock=clock)), **more)
        return client, client._chats.cache

    return make


# Settings


@pytest.mark.parametrize("ttl", [0, 1799, 86401, -1, float("nan"), float("inf"), True])
def test_the_time_to_live_is_checked(ttl):
    with pytest.raises(ConfigurationError, match=r"Cache\.ttl is seconds, from 1800 \(30 minutes\) to 86400"):
        Cache(ttl=ttl)


def test_other_settings_are_checked(connect):
    with pytest.raises(ConfigurationError, match=r"MemoryStore\.max_entries is a whole number, 1 or more"):
        MemoryStore(0)
    with pytest.raises(ConfigurationError, match=r"cache is a Cache, as in cache=Cache\(ttl=3600\); got bool"):
        connect(cache=True)


# Keys

TEXTS = st.text(st.characters(exclude_categories=("Cs",)), max_size=8)
VALUES = st.none() | st.booleans() | st.integers(-5, 5) | st.floats(-2, 2) | TEXTS
QUESTIONS = st.fixed_dictionaries(
    {
        "dialect": st.sampled_from(DIALECTS),
        "prompt": TEXTS.filter(bool),
        "model": st.sampled_from(["ernie-3.5-8k", "ernie-4.0-8k", "/chat/mine"]),
        "system": st.none() | TEXTS,
        "params": st.dictionaries(st.sampled_from(["temperature", "top_p", "user_id", "stop"]), VALUES, max_size=3),
        "url": st.sampled_from([URL, "http://127.0.0.1:2"]),
        "app_id": st.sampled_from([None, "app-1"]),
        "namespace": st.sampled_from(["", "tenant"]),
    }
)


def key_of(question, *, streamed=False):
    call = chat_call(
        question["dialect"],
        question["prompt"],
        model=question["model"],
        system=question["system"],
        params=question["params"],
        stream=streamed,
    )
    return Cache(namespace=question["namespace"]).key(call, question["url"], question["app_id"])


def meaning(question):
    """What the service is asked, and by whom: as text, where 1, 1.0 and True differ."""
    asked = {**question, "params": sorted((k, repr(v)) for k, v in question["params"].items() if v is not None)}
    if question["dialect"] == "text_generation":  # it has no models, and system prompts go in front of the question
        system = asked.pop("system")
        asked["prompt"] = f"{system}\n\n{asked['prompt']}" if system else asked["prompt"]
        asked.pop("model")
    return repr(sorted(asked.items()))


@settings(max_examples=300)
@given(QUESTIONS, QUESTIONS)
def test_keys_are_equal_exactly_for_equal_questions(one, other):
    assert (key_of(one) == key_of(other)) == (meaning(one) == meaning(other))


@given(QUESTIONS, st.randoms())
def test_the_order_of_parameters_and_the_way_of_delivery_do_not_matter(question, random):
    shuffled = list(question["params"].items())
    random.shuffle(shuffled)
    key = key_of(question)
    assert key == key_of({**question, "params": dict(shuffled)}) == key_of(question, streamed=True)
    assert len(key) == 64
    assert set(key) <= set(string.hexdigits.lower())


@given(QUESTIONS, st.sampled_from(["prompt", "temperature", "model", "system", "url", "namespace", "app_id"]))
def test_each_part_matters(question, part):
    other = dict(question)
    if part == "temperature":
        other["params"] = {**question["params"], "temperature": 17.5}
    else:
        other[part] = (question[part] or "") + "2"
    same = part == "model" and question["dialect"] == "text_generation"
    if part == "model" and question["dialect"] == "v1":
        other[part] = "/chat/other"  # v1 has no path for a model that it does not know
    assert (key_of(question) == key_of(other)) == same


def test_no_key_or_token_is_part_of_a_key(server, connect, keys, only, clock):
    store = MemoryStore(clock=clock)
    server.play(answer(OK["v2"]))
    connect("v2", only("bearer_token"), cache=Cache(store)).chat("你好")
    other = connect("v2", type(keys)(bearer_token="bce-v3/other/key"), cache=Cache(store))
    assert other.chat("你好").cached
    ((name, (_, value)),) = store._entries.items()
    assert not [secret for secret in keys.secrets() if secret in name or secret.encode() in value]


# Whole answers


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_second_time_nothing_is_sent(server, cached, dialect):
    client, cache = cached(dialect)
    server.play(answer(OK[dialect]))
    first, second = client.chat("你好"), client.chat("你好")
    assert len(server.requests) == 1
    assert (first.cached, len(first.attempts)) == (False, 1)
    assert (second.cached, second.attempts, second.latency) == (True, (), 0)
    for name in ("text", "reasoning", "usage", "finish_reason", "tool_calls", "id", "model", "raw", "request_id"):
        assert getattr(first, name) == getattr(second, name), name
    assert cache.stats == CacheStats(hits=1, misses=1, stored=1)
    assert cache.stats.hit_rate == 0.5


def test_what_one_reader_changes_no_other_sees(server, cached):
    client, _ = cached()
    server.play(answer(OK["text_generation"]))
    client.chat("你好").raw["result"] = "changed"
    client.chat("你好").raw["result"] = "changed"
    assert client.chat("你好").raw["result"] == "你好"


def test_answers_expire(server, connect, clock):
    client = connect(cache=Cache(MemoryStore(clock=clock), ttl=1800))
    server.otherwise = answer(OK["text_generation"])
    client.chat("你好")
    clock.advance(1799.9)
    assert client.chat("你好").cached
    clock.advance(0.2)
    assert not client.chat("你好").cached


def test_a_call_can_go_past_it(server, cached):
    client, cache = cached()
    server.otherwise = answer(OK["text_generation"])
    for _ in range(2):
        assert not client.chat("你好", cache=False).cached
    assert cache.stats == CacheStats()
    assert "cache" not in server.requests[0].json
    assert [reply.cached for reply in client.map(["你好"] * 3, cache=False)] == [False] * 3


def test_without_a_cache_nothing_changes(server, connect):
    server.otherwise = answer(OK["text_generation"])
    client = connect()
    assert not client.chat("你好", cache=True).cached
    assert not client.chat("你好").cached


def test_failures_are_not_kept(server, cached):
    client, cache = cached(retry=RetryPolicy(attempts=1))
    server.play(answer({"error_code": 336003, "error_msg": "bad"}, 400), answer(OK["text_generation"]))
    with pytest.raises(BadRequestError):
        client.chat("你好")
    assert not client.chat("你好").cached
    assert client.chat("你好").cached
    assert cache.stats == CacheStats(hits=1, misses=2, stored=1)


@pytest.mark.parametrize(
    ("dialect", "body"),
    [
        ("v1", {**OK["v1"], "need_clear_history": True}),
        ("v2", {**OK["v2"], "choices": [{**OK["v2"]["choices"][0], "flag": 3}]}),
        ("v1", b'{"result": "half \\ud83d", "id": "as-1"}'),
    ],
)
def test_what_should_not_or_cannot_be_kept_is_not(server, cached, dialect, body):
    client, cache = cached(dialect)
    server.otherwise = answer(body)
    assert [client.chat("你好").cached for _ in range(2)] == [False, False]
    assert cache.stats == CacheStats(misses=2)


def test_hits_pass_the_limits(server, cached, clock):
    client, _ = cached(limits=RateLimits(rpm=1))
    server.play(answer(OK["text_generation"]))
    for _ in range(5):
        client.chat("你好")
    assert clock.sleeps == []


# Streams


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_stream_that_was_read_is_replayed(server, cached, dialect):
    client, cache = cached(dialect)
    server.play(stream(*STREAMS[dialect]))
    first = client.stream("你好")
    chunks = list(first)
    second = client.stream("你好")
    assert list(second) == chunks
    assert (second.cached, second.attempts, second.complete) == (True, (), True)
    assert second.ttft is not None
    for name in ("text", "reasoning", "usage", "finish_reason", "tool_calls", "id", "model"):
        assert getattr(second, name) == getattr(first, name), name
    whole = client.chat("你好")
    assert (whole.text, whole.usage, whole.finish_reason) == (first.text, first.usage, first.finish_reason)
    assert whole.cached
    assert second.reply().cached
    assert len(server.requests) == 1
    assert cache.stats == CacheStats(hits=2, misses=1, stored=1)


@pytest.mark.parametrize("dialect", DIALECTS)
def test_a_whole_answer_is_replayed_as_a_stream(server, cached, dialect):
    client, _ = cached(dialect)
    server.play(answer(OK[dialect]))
    whole = client.chat("你好")
    with client.stream("你好") as opened:
        assert [chunk.text for chunk in opened if chunk.text] == ["你好"]
        assert opened.complete
    again = client.stream("你好").reply()
    for name in ("text", "reasoning", "usage", "finish_reason", "id", "model"):
        assert getattr(again, name) == getattr(whole, name), name
    assert len(server.requests) == 1


def test_tool_calls_survive(server, cached):
    client, _ = cached("v2")
    call = {"id": "c1", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}}
    first = {"index": 0, **call, "function": {"name": "f", "arguments": '{"a"'}}
    rest = {"index": 0, "function": {"arguments": ": 1}"}}
    server.play(
        stream(
            v2_event({"tool_calls": [first]}),
            v2_event({"tool_calls": [rest]}),
            v2_event({}, "tool_calls", usage=USAGE),
            DONE,
        )
    )
    expected = client.stream("?").reply().tool_calls
    assert expected[0]["function"]["arguments"] == '{"a": 1}'
    assert client.stream("?").reply().tool_calls == client.chat("?").tool_calls == expected
    message = {"role": "assistant", "content": None, "tool_calls": [call]}
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    server.play(answer({**OK["v2"], "choices": [choice]}))
    assert client.chat("!").tool_calls == client.stream("!").reply().tool_calls == (call,)


def test_a_stream_that_was_not_read_to_its_end_is_not_kept(server, cached):
    client, cache = cached("v1", retry=RetryPolicy(attempts=1))
    server.play(stream(*STREAMS["v1"]), stream(v1_event("你"), end=False), stream(*STREAMS["v1"]))
    for _ in client.stream("你好"):
        break
    gc.collect()
    with pytest.raises(StreamTruncated):
        list(client.stream("你好"))
    assert cache.stats.stored == 0
    assert client.stream("你好").reply().text == "你好"
    assert cache.stats == CacheStats(misses=3, stored=1)


def test_a_stream_without_a_single_event_is_not_kept(server, cached):
    client, cache = cached("v2")
    server.otherwise = stream(DONE)
    assert [client.stream("你好").reply().text for _ in range(2)] == ["", ""]
    assert cache.stats == CacheStats(misses=2)


def test_a_stream_can_go_past_it(server, cached):
    client, cache = cached("v1")
    server.otherwise = stream(*STREAMS["v1"])
    for _ in range(2):
        assert not client.stream("你好", cache=False).reply().cached
    assert cache.stats == CacheStats()


# The same question at the same time


def ask_together(client, count, prompt="你好"):
    found = [None] * count

    def ask(number):
        try:
            found[number] = client.chat(prompt)
        except Exception as error:  # noqa: BLE001 - judged by the test
            found[number] = error

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(count)]
    for thread in threads:
        thread.start()
    return found, threads


def test_identical_questions_are_asked_once(server, cached):
    client, cache = cached()
    hold = threading.Event()

    def slow(exchange):
        assert hold.wait(PATIENCE)
        answer(OK["text_generation"])(exchange)

    server.play(slow)
    found, threads = ask_together(client, 12)
    wait_until(lambda: len(server.requests) == 1)
    hold.set()
    for thread in threads:
        thread.join(PATIENCE)
    assert [reply.text for reply in found] == ["你好"] * 12
    assert len({id(reply) for reply in found}) == 12
    assert len(server.requests) == 1
    assert sum(not reply.cached for reply in found) == 1
    stats = cache.stats
    assert (stats.misses, stats.stored, stats.hits + stats.joined) == (1, 1, 11)
    assert client._chats.cache._flights == {}


def test_a_failure_is_shared_and_each_has_its_own_exception():
    cache, hold, inside = Cache(), threading.Event(), threading.Event()
    asked, errors = [], []

    def ask():
        asked.append(1)
        inside.set()
        assert hold.wait(PATIENCE)
        raise ConfigurationError("no")

    def run():
        try:
            cache.reply("k", ask)
        except ConfigurationError as error:
            errors.append(error)

    leader = threading.Thread(target=run)
    leader.start()
    assert inside.wait(PATIENCE)
    waiting = cache._flights["k"]
    others = [threading.Thread(target=run) for _ in range(5)]
    for thread in others:
        thread.start()
    wait_until(lambda: len(waiting._condition._waiters) == 5)
    hold.set()
    for thread in [leader, *others]:
        thread.join(PATIENCE)
    assert len(asked) == 1
    assert len({id(error) for error in errors}) == 6
    assert cache.stats == CacheStats(misses=1, joined=5)


def test_when_the_one_who_asked_is_interrupted_another_asks(server, connect):
    server.play(answer(OK["text_generation"]))
    client = connect()
    cache, hold, inside = Cache(), threading.Event(), threading.Event()
    found = []

    def interrupted():
        inside.set()
        assert hold.wait(PATIENCE)
        raise KeyboardInterrupt

    def lead():
        with pytest.raises(KeyboardInterrupt):
            cache.reply("k", interrupted)

    leader = threading.Thread(target=lead)
    leader.start()
    assert inside.wait(PATIENCE)
    waiting = cache._flights["k"]
    other = threading.Thread(target=lambda: found.append(cache.reply("k", lambda: client.chat("你好"))))
    other.start()
    wait_until(lambda: waiting._condition._waiters)
    hold.set()
    leader.join(PATIENCE)
    other.join(PATIENCE)
    assert found[0].text == "你好"


# Stores


class Memory(RuleBasedStateMachine):
    """The store against a model of it: a list of what was set and used, the least recent first."""

    MOST = 4

    def __init__(self):
        super().__init__()
        self.clock = FakeClock()
        self.store = MemoryStore(self.MOST, self.clock)
        self.model = []  # (key, value, expires)

    @rule(key=st.sampled_from("abcdef"), value=st.binary(max_size=2), ttl=st.integers(1, 50))
    def set(self, key, value, ttl):
        self.model = [item for item in self.model if item[0] != key]
        self.model.append((key, value, self.clock.monotonic() + ttl))
        self.model = self.model[-self.MOST :]
        self.store.set(key, value, ttl)

    @rule(key=st.sampled_from("abcdef"))
    def get(self, key):
        found = next((item for item in self.model if item[0] == key), None)
        if found is not None:
            self.model.remove(found)
            if found[2] > self.clock.monotonic():
                self.model.append(found)
            else:
                found = None
        assert self.store.get(key) == (found[1] if found else None)

    @rule(seconds=st.integers(0, 30))
    def pass_time(self, seconds):
        self.clock.advance(seconds)

    @invariant()
    def it_is_bounded(self):
        assert len(self.store) == len(self.model) <= self.MOST


TestMemory = Memory.TestCase
TestMemory.settings = settings(max_examples=60, deadline=None)

ENTRY = Entry(
    text="t",
    reasoning="",
    usage=None,
    finish_reason=None,
    tool_calls=(),
    id=None,
    model=None,
    is_truncated=False,
    need_clear_history=False,
    flag=0,
    request_id=None,
    raw={"result": "t"},
)


@given(st.binary() | st.binary().map(lambda noise: encode("k", ENTRY)[: len(noise) * 7] + noise))
def test_what_is_no_entry_is_passed_over(value):
    assert decode("k", value) in (None, ENTRY)


@pytest.mark.parametrize("change", [{"version": 2}, {"key": "other"}, {"entry": {}}, {"entry": None}])
def test_an_entry_of_another_version_or_question_is_passed_over(change):
    stored = json.loads(encode("k", ENTRY))
    assert decode("k", json.dumps(stored).encode()) == ENTRY
    assert decode("k", json.dumps({**stored, **change}).encode()) is None


def test_a_damaged_store_costs_a_request_and_heals(server, cached, clock):
    store = MemoryStore(clock=clock)
    client, cache = cached(cache=Cache(store))
    server.otherwise = answer(OK["text_generation"])
    client.chat("你好")
    (key,) = store._entries
    store.set(key, b"\xff not an entry", 100)
    assert not client.chat("你好").cached
    assert client.chat("你好").cached
    assert cache.stats.errors == 0


def test_a_store_that_fails_costs_nothing_but_requests(server, cached, caplog):
    class Broken(MemoryStore):
        broken = True

        def get(self, key):
            if self.broken:
                raise StoreUnavailable("the disk is full")
            return super().get(key)

        def set(self, key, value, ttl):
            if self.broken:
                raise StoreUnavailable("the disk is full")
            super().set(key, value, ttl)

    store = Broken()
    client, cache = cached(cache=Cache(store))
    server.otherwise = answer(OK["text_generation"])
    assert [client.chat("你好").cached for _ in range(3)] == [False] * 3
    store.broken = False
    assert [client.chat("你好").cached for _ in range(2)] == [False, True]
    assert cache.stats == CacheStats(hits=1, misses=4, stored=1, errors=6)
    assert [line for line in caplog.messages if "cache is" in line] == [
        "the cache is down, questions are asked without it: the disk is full",
        "the cache is back",
    ]


@pytest.mark.parametrize("dialect", DIALECTS)
def test_the_mock_is_asked_once(dialect):
    with MockServer(port=0) as server:
        account = server.account()
        with Client(server.url, account.credentials, dialect, cache=Cache()) as client:
            texts = {client.chat("你好", temperature=0.5).text for _ in range(3)}
            texts.add(client.stream("你好", temperature=0.5).reply().text)
            assert len(texts) == 1
        assert len([entry for entry in account.requests if entry.operation == "chat"]) == 1
