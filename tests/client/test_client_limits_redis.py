"""Limits that processes share over a real Redis, which dies and comes back."""

from __future__ import annotations

import gc
import os
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import redis
from redis_server import needs_redis
from scripted_server import PATIENCE, TEXT_GENERATION_OK, FakeClock, answer

from qfkit.client import ConfigurationError, RateLimits, RedisLimiter

pytestmark = needs_redis


@pytest.fixture
def clock(monkeypatch):
    """A clock that moves when somebody sleeps, for the library too, which asks Python for the time."""
    fake = FakeClock()
    monkeypatch.setattr("limits.storage.redis.time.time", fake.time)
    return fake


def starts(limiters, count, clock, tokens=1):
    """When so many attempts begin that ask the limiters in turn, each over at once."""
    moments = []
    for number in range(count):
        slot = limiters[number % len(limiters)].acquire("any", lambda: tokens)
        moments.append(clock.time())
        slot.release()
    return moments


def most_within(moments, seconds):
    return max(sum(start <= other < start + seconds for other in moments) for start in moments)


@pytest.mark.parametrize(("limits", "seconds"), [(RateLimits(qps=5), 1.0), (RateLimits(rpm=7), 60.0)])
def test_two_processes_keep_to_one_limit(redis_server, clock, limits, seconds):
    limiters = [RedisLimiter(redis_server.url, limits, clock=clock) for _ in range(2)]
    moments = starts(limiters, 20, clock)
    assert most_within(moments, seconds * 0.999) <= (limits.qps or limits.rpm)
    # And wait for nothing else: 20 attempts need so many windows at least, and one more at most.
    windows = -(-20 // (limits.qps or limits.rpm)) - 1
    assert windows * seconds * 0.99 <= moments[-1] - moments[0] <= (windows + 1) * seconds * 1.1


def test_tokens_are_shared_too_and_one_that_is_too_large_alone_still_goes(redis_server, clock):
    limiters = [RedisLimiter(redis_server.url, RateLimits(tpm=100), clock=clock) for _ in range(2)]
    moments = starts(limiters, 6, clock, tokens=60)
    assert most_within(moments, 30) == 1
    before = clock.time()
    limiters[0].acquire("any", lambda: 5000).release()
    assert clock.time() - before <= 130


def test_other_names_are_other_limits(redis_server, clock):
    limiters = [RedisLimiter(redis_server.url, RateLimits(rpm=1), name=name, clock=clock) for name in ("a", "b")]
    starts(limiters, 2, clock)
    assert clock.sleeps == []


def test_concurrency_is_shared_and_given_back(redis_server):
    limiters = [RedisLimiter(redis_server.url, RateLimits(concurrency=3)) for _ in range(3)]
    running, most, lock = 0, 0, threading.Lock()

    def work(number):
        nonlocal running, most
        slot = limiters[number % 3].acquire("any", lambda: 1)
        with lock:
            running += 1
            most = max(most, running)
        threading.Event().wait(0.005)
        with lock:
            running -= 1
        slot.release()
        slot.release()

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(36)))
    assert 1 < most <= 3


def test_a_slot_that_is_dropped_is_given_back(redis_server, connect, server):
    limiter = RedisLimiter(redis_server.url, RateLimits(concurrency=1))
    server.otherwise = answer(TEXT_GENERATION_OK)
    client = connect(limits=limiter)
    for _ in range(3):
        client.chat("?")
        gc.collect()
    with redis.Redis.from_url(redis_server.url) as inside:
        deadline = time.monotonic() + PATIENCE
        while inside.zcard("qfkit:concurrency") and time.monotonic() < deadline:
            threading.Event().wait(0.01)
        assert inside.zcard("qfkit:concurrency") == 0


def test_a_process_that_dies_gives_back_what_it_held(redis_server, monkeypatch):
    monkeypatch.setattr("qfkit.client.limits_redis.LEASE_SECONDS", 0.2)
    program = (
        "import os; import qfkit.client.limits_redis as m; from qfkit.client import RateLimits; m.LEASE_SECONDS = 0.2; "
        f"m.RedisLimiter({redis_server.url!r}, RateLimits(concurrency=1)).acquire('x', lambda: 1); os._exit(0)"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60, env=os.environ)
    limiter = RedisLimiter(redis_server.url, RateLimits(concurrency=1))
    assert limiter.acquire("x", lambda: 1).queued < PATIENCE


def test_without_redis_each_keeps_to_the_limits_by_itself(redis_server, clock, caplog):
    limiter = RedisLimiter(redis_server.url, RateLimits(qps=2), clock=clock)
    starts([limiter], 2, clock)
    redis_server.die()
    moments = starts([limiter], 6, clock)
    assert most_within(moments, 0.999) <= 2
    (warning,) = [record for record in caplog.records if "cannot be shared" in record.getMessage()]
    assert "keeps to them by itself" in warning.getMessage()
    redis_server.start()
    clock.advance(6)
    other = RedisLimiter(redis_server.url, RateLimits(qps=2), clock=clock)
    assert most_within(starts([limiter, other], 8, clock), 0.999) <= 2


def test_a_wrong_address_or_a_missing_package_is_told(monkeypatch):
    with pytest.raises(ConfigurationError, match="a Redis URL is redis://"):
        RedisLimiter("nonsense", RateLimits(qps=1))
    monkeypatch.setitem(sys.modules, "limits", None)
    with pytest.raises(ConfigurationError, match=r"pip install 'qfkit\[redis\]'"):
        RedisLimiter("redis://127.0.0.1", RateLimits(qps=1))
