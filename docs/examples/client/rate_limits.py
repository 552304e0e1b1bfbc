"""Limits that the client keeps by itself: shared by its threads, first come first served, told on each attempt."""

from mock_server import MockServer
from qfkit import Client, RateLimits
from qfkit.testing.clock import SkippingClock

with MockServer() as server:
    account = server.account()
    # text_generation documents 100 requests a second, which is the default there. Here less, and in an instant: the
    # clock of this example skips all waits.
    limits = RateLimits(qps=5, rpm=300, tpm=100_000, concurrency=3)
    clock = SkippingClock()
    with Client(server.url, account.credentials, limits=limits, clock=clock) as client:
        replies = list(client.map([f"第{number}题" for number in range(20)], max_workers=10))
    held_back = [reply.attempts[0].queued for reply in replies]
    print("held back:", " ".join(f"{seconds:.2f}" for seconds in held_back), "s")
    print("20 calls at 5 a second waited", f"{sum(clock.sleeps):.1f} s in all")
    assert len(replies) == len(account.requests) == 20
    assert sum(clock.sleeps) > 2
