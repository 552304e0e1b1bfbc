"""The tutorial's ThreadPoolExecutor and its 100 requests a second, as one call: `map`, under a limit that holds."""

import time

from mock_server import MockServer
from qfkit import Client

with MockServer() as server:
    account = server.account()
    began = time.monotonic()
    # The client keeps to 100 a second by itself, which is what text_generation allows; limits=RateLimits(…) changes it.
    with Client(server.url, account.credentials) as client:
        replies = list(client.map([f"第{number}题" for number in range(120)], max_workers=20))
    elapsed = time.monotonic() - began
    print(f"{len(replies)} answers in {elapsed:.2f} s")
    assert all(reply.text for reply in replies)
    assert elapsed >= 1  # the last 20 waited for the next second
