"""One kind of Locust user, alone in a process: the processor time of the load generator for a call.

    python -m benchmarks.loaders USER URL CALLS

Prints one line of JSON. Every user asks the same mock for the same, one call after the other over a kept connection.
"""

from __future__ import annotations

import locust  # isort: skip - first: it patches the modules that all others use

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import gevent
from locust.contrib.fasthttp import FastHttpUser
from locust.env import Environment

from benchmarks.work import CLIENT_KEYS, PROMPT, SSE_KEYS
from loadtests.planning.plan import Load, Plan, Traffic
from loadtests.users import USERS
from loadtests.wiring import attach

_PATH = "/v2/chat/completions"
_BODY: dict[str, Any] = {"model": "ernie-3.5-8k", "messages": [{"role": "user", "content": PROMPT}]}
_WARM_UP = 30


def _headers(*, stream: bool) -> dict[str, str]:
    return {"Authorization": f"Bearer {(SSE_KEYS if stream else CLIENT_KEYS).bearer_token}"}


class PlainChat(locust.HttpUser):
    """What the manual of Locust shows: one POST, and its JSON."""

    @locust.task
    def ask(self) -> None:
        """One call."""
        self.client.post(_PATH, json=_BODY, headers=_headers(stream=False)).json()


class FastChat(FastHttpUser):
    """The same on Locust's faster client."""

    @locust.task
    def ask(self) -> None:
        """One call."""
        self.client.post(_PATH, json=_BODY, headers=_headers(stream=False)).json()


class PlainStream(locust.HttpUser):
    """A stream read line by line, each line parsed; no moment of it is noted."""

    @locust.task
    def ask(self) -> None:
        """One stream."""
        body = _BODY | {"stream": True}
        with self.client.post(_PATH, json=body, headers=_headers(stream=True), stream=True) as response:
            for line in response.iter_lines():
                if line.startswith(b"data: {"):
                    json.loads(line[6:])


def _plain(user_class: type[locust.User]) -> Callable[[str], Environment]:
    def make(url: str) -> Environment:
        return Environment(user_classes=[user_class], host=url)

    return make


def _ours(scenario: str, *, dialect: str = "v2") -> Callable[[str], Environment]:
    def make(url: str) -> Environment:
        keys = SSE_KEYS if scenario == "stream" else CLIENT_KEYS
        os.environ |= {
            "QIANFAN_BEARER_TOKEN": keys.bearer_token,
            "QIANFAN_ACCESS_KEY": keys.access_key,
            "QIANFAN_SECRET_KEY": keys.secret_key,
        }
        environment = Environment(user_classes=[USERS[scenario]], host=url)
        traffic = Traffic(host=url, dialect="v2" if dialect == "v2" else "text_generation", prompt=PROMPT)
        _plans[environment] = Plan(scenario=scenario, traffic=traffic, load=Load(), calibrate=False, reconcile=False)
        return environment

    return make


_plans: dict[Environment, Plan] = {}

#: Name in `benchmarks.loaders_names` -> how to make it from the mock's URL.
LOADERS: dict[str, Callable[[str], Environment]] = {
    "Locust HttpUser": _plain(PlainChat),
    "Locust FastHttpUser": _plain(FastChat),
    "qfkit ChatUser": _ours("qps"),
    "qfkit ChatUser, signed": _ours("qps", dialect="text_generation"),
    "Locust HttpUser, stream": _plain(PlainStream),
    "qfkit StreamUser": _ours("stream"),
}


def main() -> None:
    name, url, calls = sys.argv[1], sys.argv[2], int(sys.argv[3])
    start = time.perf_counter()
    environment = LOADERS[name](url)
    runner = environment.create_local_runner()
    if environment in _plans:
        attach(environment, runner, _plans[environment])
    ready_ms = (time.perf_counter() - start) * 1000
    left = _WARM_UP + calls
    used: list[float] = []
    failed: list[BaseException] = []

    def ended(exception: BaseException | None, **_: Any) -> None:
        nonlocal left
        left -= 1
        if exception is not None:
            failed.append(exception)
        if left in {0, calls}:
            used.append(time.process_time())
        if left == 0:
            gevent.spawn(runner.quit)

    environment.events.request.add_listener(ended)  # type: ignore[no-untyped-call]  # Locust's types end here
    runner.start(1, 1)
    runner.greenlet.join()
    if failed or len(used) < 2:
        raise SystemExit(f"{name}: {len(failed)} calls failed, such as {failed[:1]}")
    print(json.dumps({"microseconds": (used[1] - used[0]) / calls * 1e6, "ready_ms": ready_ms}))


if __name__ == "__main__":
    main()
