"""The cache in a real Redis, which dies and comes back.

These tests start a ``redis-server`` of their own if the machine has one.
"""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
import time

import pytest
import redis
from redis_server import needs_redis
from scripted_server import PATIENCE, FakeClock, answer

from qfkit.client import Cache, CacheStats, Client, ConfigurationError, RedisStore, StoreUnavailable


@pytest.fixture
def stores():
    """Makes stores; closes them."""
    made = []

    def make(*arguments, **more):
        made.append(RedisStore(*arguments, **more))
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def echo(server):
    def step(exchange):
        answer({"result": exchange.request.json["messages"][0]["content"]})(exchange)

    server.otherwise = step
    return server


@needs_redis
@pytest.mark.parametrize("address", ["url", "socket_url"])
def test_what_one_client_asked_another_knows(redis_server, stores, echo, connect, address):
    clients = [connect(cache=Cache(stores(getattr(redis_server, address)), ttl=1800)) for _ in range(2)]
    assert not clients[0].chat("你好").cached
    assert clients[1].chat("你好").cached
    assert clients[1].stream("你好").reply().text == "你好"
    assert len(echo.requests) == 1
    with redis.Redis.from_url(redis_server.url) as inside:
        (name,) = inside.keys()
        assert name.startswith(b"qfkit:")
        assert 1790 < inside.ttl(name) <= 1800


@needs_redis
def test_a_client_of_ones_own_that_decodes_works_too(redis_server, echo, connect):
    with redis.Redis.from_url(redis_server.url, decode_responses=True) as own:
        client = connect(cache=Cache(RedisStore(own, prefix="team:")))
        assert [client.chat("你好").cached for _ in range(2)] == [False, True]
        assert own.keys() == [name for name in own.keys() if name.startswith("team:")]  # noqa: SIM118 - Redis's


@needs_redis
def test_noise_in_redis_is_no_answer(redis_server, stores, echo, connect):
    client = connect(cache=Cache(stores(redis_server.url)))
    client.chat("你好")
    with redis.Redis.from_url(redis_server.url) as inside:
        (name,) = inside.keys()
        value = inside.get(name)
        for noise in (b"", b"\xff\x00", value[:-5], value.replace(name[6:], b"0" * 64)):
            inside.set(name, noise)
            assert not client.chat("你好").cached
            assert client.chat("你好").cached
        inside.delete(name)
        inside.lpush(name, "a list")
        assert not client.chat("你好").cached


@needs_redis
def test_redis_dies_and_returns_in_the_middle_of_a_run(redis_server, stores, echo, connect, caplog):
    clock = FakeClock()
    cache = Cache(stores(redis_server.url, clock=clock))
    client = connect(cache=cache)
    prompts = [str(number % 10) for number in range(60)]
    texts = []
    for number, reply in enumerate(client.map(prompts, max_workers=1)):
        texts.append(reply.text)
        if number == 20:
            redis_server.die()
        if number == 40:
            redis_server.start()
            clock.advance(2)
    assert texts == prompts  # slower, never wrong
    stats = cache.stats
    assert stats.hits >= 15
    assert stats.errors >= 10
    assert stats.hits + stats.misses == 60
    assert len(echo.requests) == stats.misses
    assert client.chat("7").text == client.chat("7").text == "7"
    assert client.chat("7").cached
    assert [line.partition(":")[0] for line in caplog.messages if "cache is" in line] == [
        "the cache is down, questions are asked without it",
        "the cache is back",
    ]


@needs_redis
@pytest.mark.skipif(sys.platform == "win32", reason="no SIGSTOP there")
def test_a_redis_that_hangs_costs_one_time_out(redis_server, stores, echo, connect):
    cache = Cache(stores(redis_server.url, clock=FakeClock()))
    client = connect(cache=cache)
    client.chat("你好")
    redis_server.process.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    assert [client.chat("你好").cached for _ in range(20)] == [False] * 20
    assert time.monotonic() - began < 5  # 40 reads and writes would take 10 s at 0.25 s each
    redis_server.process.send_signal(signal.SIGCONT)
    assert cache.stats == CacheStats(misses=21, stored=1, errors=40)


@needs_redis
def test_a_restart_between_two_questions_is_not_even_noticed(redis_server, stores, echo, connect):
    cache = Cache(stores(redis_server.url))
    client = connect(cache=cache)
    client.chat("你好")
    redis_server.die()
    redis_server.start()
    assert [client.chat("你好").cached for _ in range(2)] == [False, True]
    assert cache.stats.errors == 0


# Without a Redis


def test_nobody_there(stores, echo, connect, caplog):
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    clock = FakeClock()
    store = stores(f"redis://:pass-word@127.0.0.1:{port}/0", clock=clock)
    client = connect(cache=Cache(store))
    assert [client.chat("你好").cached for _ in range(3)] == [False] * 3
    with pytest.raises(StoreUnavailable, match="failed a moment ago"):
        store.get("k")
    clock.advance(1)
    with pytest.raises(StoreUnavailable, match="Redis: ConnectionError"):
        store.get("k")
    with pytest.raises(StoreUnavailable, match="failed a moment ago"):
        store.set("k", b"", 1800)
    clock.advance(1)
    with pytest.raises(StoreUnavailable, match="Redis: ConnectionError"):
        store.set("k", b"", 1800)
    assert "pass-word" not in caplog.text + repr(store)


def test_an_address_that_is_none_is_not_quoted():
    with pytest.raises(ConfigurationError, match="takes an address such as redis://localhost:6379/0") as caught:
        RedisStore("http://:pass-word@localhost")
    assert "pass-word" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_the_missing_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "redis", None)
    with pytest.raises(ConfigurationError, match=r'pip install "qfkit\[redis\]"'):
        RedisStore("redis://localhost")


def test_the_client_loads_without_redis():
    code = "import sys; from qfkit import Client, Cache, RedisStore; print('redis' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=PATIENCE, check=True)
    assert done.stdout == "False\n"
    assert Client.__module__ == "qfkit.client.client"
