"""A question that comes again is answered from the cache: whole or as a stream, and asked once if many ask together."""

from mock_server import MockServer
from qfkit import Cache, Client

with MockServer() as server:
    account = server.account()
    cache = Cache(ttl=3600)  # in this process; Cache(RedisStore("redis://localhost:6379/0")) shares it between many
    with Client(server.url, account.credentials, cache=cache) as client:
        first = client.chat("什么是量子计算?", temperature=0.5)
        again = client.chat("什么是量子计算?", temperature=0.5)
        assert again.text == first.text
        assert again.cached
        assert not again.attempts  # nothing was sent

        for chunk in client.stream("什么是量子计算?", temperature=0.5):  # replayed
            print(chunk.text, end="")
        print()

        fresh = client.chat("什么是量子计算?", temperature=0.5, cache=False)
        assert not fresh.cached

        list(client.map(["同一个问题"] * 10))  # asked once, by whoever came first
    print(cache.stats, f"{cache.stats.hit_rate:.0%} saved")
    assert len(account.requests) == 3
