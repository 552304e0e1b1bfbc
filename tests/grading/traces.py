"""Clients in virtual time: what a server would have observed of them, written by policy models."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from random import Random

from qfkit.grading import Observation, Signed

#: Sorts of answers -> what an observation has of them.
ANSWERS = {
    "ok": {"pieces": 1},
    "busy": {"status": 429, "code": "rpm_rate_limit_exceeded", "kind": "rate_limit_rpm", "retryable": True},
    "v1 busy": {"dialect": "v1", "status": 200, "code": 18, "kind": "rate_limit_qps", "retryable": True},
    "v1 ok": {"dialect": "v1", "pieces": 1},
    "asked": {"status": 429, "code": 18, "retryable": True, "retry_after": 1.5, "dialect": "text_generation"},
    "bad": {"status": 400, "code": "invalid_argument", "kind": "bad_request"},
    "stale": {"dialect": "v1", "status": 200, "code": 111, "kind": "token_expired"},
    "stream": {"streamed": True, "pieces": 5},
    "cut": {"streamed": True, "pieces": 2, "broken": True, "outcome": "cut"},
    "cut early": {"streamed": True, "pieces": 0, "broken": True, "outcome": "cut"},
    "torn": {"broken": True, "outcome": "reset"},
    "left": {"outcome": "hung up"},
}

#: Seconds that an answer takes.
TOOK = 0.01


class Trace:
    """Writes down requests, numbered, from ``now`` on."""

    def __init__(self, now: float = 1_700_000_000.0) -> None:
        self.now = now
        self.seen: list[Observation] = []

    def ask(self, answer: str = "ok", content: str = "q", **more: object) -> Observation:
        """One request now, and its answer."""
        fields = {"began": self.now, "ended": self.now + TOOK, "content": content, **ANSWERS[answer], **more}
        one = Observation(number=len(self.seen) + 1, **fields)
        self.seen.append(one)
        self.now += TOOK
        return one

    def call(self, answers: list[str], waits: Callable[[int], float] | list[float], content: str = "q", **more) -> None:
        """A call: its answers, and the wait after each failure (1 or more)."""
        for number, answer in enumerate(answers, 1):
            self.ask(answer, content, **more)
            if number < len(answers):
                self.now += waits(number) if callable(waits) else waits[number - 1]
        self.now += 1.0

    def fetch(self) -> Observation:
        """A token is fetched."""
        return self.ask("ok", "token", dialect="oauth", operation="token")

    def signed(self, at: float, nonce: str, **more) -> Signed:
        """A signature of a time and a nonce."""
        return Signed(**{"timestamp": float(int(at)), "nonce": nonce, "mark": f"{nonce}***", "form": "B/path", **more})


def merged(*traces: Trace) -> list[Observation]:
    """What one server sees of several clients: by time, numbered anew."""
    every = sorted((one for trace in traces for one in trace.seen), key=lambda one: one.began)
    return [replace(one, number=number) for number, one in enumerate(every, 1)]


def full(random: Random, base: float = 0.5, cap: float = 8.0) -> Callable[[int], float]:
    """Full jitter."""
    return lambda failures: random.uniform(0.0, min(cap, base * 2 ** (failures - 1)))


def exponential(failures: int) -> float:
    """No jitter."""
    return 0.5 * 2.0 ** (failures - 1)


def failing(times: int, answer: str = "busy", end: str = "ok") -> list[str]:
    """So many failures, then the end."""
    return [answer] * times + [end]


def contents() -> Iterator[str]:
    """Questions that are all different."""
    number = 0
    while True:
        number += 1
        yield f"q{number}"
