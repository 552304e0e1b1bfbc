"""Exponential backoff with jitter, what the service asks to wait, and a budget for when everything fails."""

from mock_server import MockServer
from qfkit import Client, RateLimitError, RetryBudget, RetryPolicy, ServerError
from qfkit.testing.clock import SkippingClock

policy = RetryPolicy(
    attempts=4,
    base=0.5,
    factor=2,
    cap=30,
    jitter="decorrelated",  # or full, equal, none
    retry_after_ceiling=60,
    max_total=180,
    budget=RetryBudget(ratio=0.1, reserve=5),
    also={336105},  # tried again although the table says that it need not be
    never={336100},  # not tried again although it says that it may be
)

with MockServer() as server:
    account = server.account()
    clock = SkippingClock()  # waits take no time in this example
    with Client(server.url, account.credentials, "v1", auth="bce-auth-v1", retry=policy, clock=clock) as client:
        account.fail(18, retry_after=2).then.fail(336501).then.reply("好")
        for attempt in client.chat("你好").attempts:
            print(f"{attempt.number}: {attempt.code}, {attempt.waited:.2f} s, {attempt.wait_reason}")
        assert clock.sleeps[0] == 2

        account.fail(336100)
        try:
            client.chat("你好")
        except ServerError as error:
            refused = error
        assert len(refused.attempts) == 1

        account.fail(18, times="forever")
        sent = len(account.requests)
        failures = list(client.map(["你好"] * 10, max_workers=1))
        assert all(isinstance(failure, RateLimitError) for failure in failures)
        print(f"10 calls made {len(account.requests) - sent} requests, where 40 were allowed:", failures[-1].gave_up)
        assert len(account.requests) - sent < 16
