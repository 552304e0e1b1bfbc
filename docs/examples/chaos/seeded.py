"""Requests that fail at random, and the same ones again with the same seed."""

from mock_server import MockServer
from qfkit import Client, RetryPolicy
from qfkit.client import QianfanError
from qfkit.testing.clock import SkippingClock


def run(server: MockServer, seed: int) -> list[str]:
    account = server.account().chaos(seed=seed, error_rate=0.3, codes=[18, 336100], reset_rate=0.1)
    prompts = [f"问题{number}" for number in range(12)]
    with Client(server.url, account.credentials, "v1", retry=RetryPolicy(attempts=1), clock=SkippingClock()) as client:
        replies = client.map(prompts, max_workers=1)
        return [type(reply).__name__ if isinstance(reply, QianfanError) else "ok" for reply in replies]


with MockServer() as server:
    first = run(server, seed=7)
    assert first == run(server, seed=7)
    assert first != run(server, seed=8)
    print(*first)

    # An outage: from 10 to 60 seconds after it was set, every request meets a TCP reset.
    account = server.account().chaos(outages=[(10, 60)], outage="reset")
    print(account.misfortune)
