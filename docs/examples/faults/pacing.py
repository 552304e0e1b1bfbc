"""When the pieces of a stream arrive: rates, jitter, a recording."""

import time

from mock_server import MockServer
from qfkit import Client


def arrivals(client: Client) -> list[float]:
    """Seconds from the call to each piece."""
    start = time.monotonic()
    return [time.monotonic() - start for chunk in client.stream("你好") if chunk.text]


with MockServer() as server:
    account = server.account()
    client = Client(server.url, account.credentials)

    account.stream(["你", "好"], ttft=0.05, interval=0.02)
    first, second = arrivals(client)
    assert first > 0.045
    assert second > 0.065

    # A model that writes: a text, cut into tokens, 200 of which come a second, never quite evenly.
    poem = "床前明月光,疑是地上霜。举头望明月,低头思故乡。"
    account.stream(poem, chunk="token", ttft=0.02, tokens_per_second=200, jitter="lognormal", seed=7)
    print(f"{len(arrivals(client))} tokens, unevenly")

    # A recording of a real stream, as moments after the request.
    account.stream(list("春夏秋冬"), timing=[0.02, 0.02, 0.05, 0.06])
    assert arrivals(client)[-1] > 0.055

    # The settings of the server say when, where the step does not: MockServer(ttft=0.2, interval=0.05).
    client.close()
