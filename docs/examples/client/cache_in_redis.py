"""Answers shared between processes over Redis; while Redis is away, questions are asked without it."""

import logging

from mock_server import MockServer
from qfkit import Cache, Client, RedisStore

logging.basicConfig(format="%(name)s %(message)s")  # one line when the cache goes down, one when it is back

# Nobody listens on port 1: this Redis is down. Nothing else changes with one that is up.
store = RedisStore("redis://127.0.0.1:1/0")

with MockServer() as server:
    account = server.account()
    cache = Cache(store, ttl=24 * 3600, namespace="team-a")  # a tenant's own name: others share no answers with it
    with Client(server.url, account.credentials, cache=cache) as client:
        for _ in range(3):
            print(client.chat("你好").text)
    print(cache.stats)
    assert len(account.requests) == 3  # slower, never wrong
    assert cache.stats.errors == 6
store.close()
