"""Misfortune at random, the same one for the same seed.

What the nth request meets follows from the seed and from n alone (and, in an outage, from the time), so a run that
failed can be had again with its seed, whatever the threads do. Failures come alone, or in bursts: then requests
alternate between good and bad runs of geometric length (Gilbert, "Capacity of a Burst-Noise Channel", Bell System
Technical Journal 39, 1960), so that as many fail in the long run, but together, as they do where something is
overloaded.
"""

from __future__ import annotations

import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import accumulate, count
from math import log1p
from typing import TYPE_CHECKING, Any

from mock_server.faults import options as rules
from mock_server.faults.options import OptionError, Options, Rule, option
from mock_server.generate import seeded
from mock_server.scenario import Action, Failure, answer
from mock_server.scenario.script import Taken

if TYPE_CHECKING:
    from random import Random

    from mock_server.matching.question import Question

_SHARES = rules.number(0.0, 1.0, "a share of the requests")


def _codes() -> Rule:
    def convert(value: Any) -> tuple[int | str, ...]:
        codes = (value,) if isinstance(value, (int, str)) else tuple(value)
        if not codes or any(type(code) is not int and not isinstance(code, str) for code in codes):
            raise ValueError
        for code in codes:
            Failure(code=code)  # an unknown one is told here, not by the request that meets it
        return codes

    item = {"type": ["integer", "string"]}
    schema = {"anyOf": [item, {"type": "array", "items": item, "minItems": 1}]}
    return Rule("an error code of the table, or a list of them", convert, schema)


def _outages() -> Rule:
    def convert(value: Any) -> tuple[tuple[float, float], ...]:
        pairs = [(start, end) for start, end in value]
        if any(isinstance(each, bool) or not isinstance(each, (int, float)) for pair in pairs for each in pair):
            raise TypeError
        windows = tuple([(float(start), float(end)) for start, end in pairs])
        if any(not 0 <= start < end for start, end in windows):
            raise ValueError
        return windows

    pair = {"type": "array", "items": {"type": "number", "minimum": 0}, "minItems": 2, "maxItems": 2}
    return Rule("a list of (start, end), in seconds since it was set", convert, {"type": "array", "items": pair})


def _fault(kind: str, **given: Any) -> Action:
    from mock_server.faults.whole import fault_of  # noqa: PLC0415 - most who start a mock break nothing

    return fault_of(kind, given)


def _stream_or(question: Question, instead: str, **delivery: Any) -> Action:
    """An answer whose stream breaks; a request that asks for no stream meets a fault of the whole answer."""
    return answer(None, delivery) if question.stream else _fault(instead)


@dataclass(frozen=True)
class Chaos(Options):
    """What happens to an account's requests at random.

    The rates are shares of all requests, 0 to 1, and together at most 1.
    """

    seed: int = option(0, rules.whole(-(2**63), 2**63), "the same seed breaks the same requests in the same way")
    error_rate: float = option(0.0, _SHARES, "are refused with one of `codes`")
    codes: tuple[int | str, ...] = option(
        (18, 336100, 500), _codes(), "the errors, each as likely; as `fail` takes them, in the form of each dialect"
    )
    reset_rate: float = option(0.0, _SHARES, "meet a TCP reset instead of an answer")
    hang_rate: float = option(0.0, _SHARES, "are never answered")
    garbage_rate: float = option(0.0, _SHARES, "are answered with bytes that are no HTTP")
    proxy_rate: float = option(0.0, _SHARES, "are answered by a proxy's error page, 502")
    slow_rate: float = option(0.0, _SHARES, "are answered only after `slow` seconds")
    slow: float = option(5.0, rules.seconds(), "how late a slow answer is")
    cut_rate: float = option(0.0, _SHARES, "have their stream cut after one event; other answers end too early")
    stall_rate: float = option(
        0.0, _SHARES, "have their stream stop after one event for ever; other answers never come"
    )
    stream_error_rate: float = option(
        0.0, _SHARES, "have an error of `codes` in their stream after one event; other answers are refused"
    )
    burst: float | None = option(
        None,
        rules.number(1.0, 1e6, "how many requests in a row are bad on average", optional=True),
        "failures come in bursts of that many on average; None: each by itself",
    )
    outages: tuple[tuple[float, float], ...] = option((), _outages(), "times in which every request fails")
    outage: str | int = option(
        500,
        rules.code(),
        "what requests meet in an outage: an error code, or `reset`, `hang`, `close`, `garbage` or `proxy-error`",
    )

    def check(self) -> None:
        """See `Options.check`."""
        super().check()
        if self.rate > 1.0 + 1e-9:
            named = ", ".join(f"{name}={getattr(self, name):g}" for name in _KINDS if getattr(self, name))
            raise OptionError("error_rate", f"the rates are shares of all requests, together at most 1; got {named}")
        if self.burst is not None and 0 < self.rate < 1 and self.burst * (1 - self.rate) / self.rate < 1:
            most = self.rate / (1 - self.rate)
            raise OptionError(
                "burst",
                f"with {self.rate:g} of all requests failing, bursts are {most:.3g} long at least; got {self.burst:g}",
            )
        if self.outage is None:
            raise OptionError("outage", f"outage is an error code, or one of {', '.join(sorted(_OUTAGES))}; got None")
        if self.outage not in _OUTAGES:
            Failure(code=self.outage)

    @property
    def rate(self) -> float:
        """The share of requests to which anything happens outside of outages."""
        return float(sum(getattr(self, name) for name in _KINDS))

    def describe(self) -> str:
        """As it would be written in a call."""
        return f"chaos({self.written})"


#: Rate -> what happens, given the chaos, its randomness for this request, and the question.
_KINDS: dict[str, Callable[[Chaos, Random, Question], Action]] = {
    "error_rate": lambda chaos, random, _: Failure(code=random.choice(chaos.codes)),
    "reset_rate": lambda _chaos, _random, _question: _fault("reset"),
    "hang_rate": lambda _chaos, _random, _question: _fault("hang"),
    "garbage_rate": lambda _chaos, random, _: _fault("garbage", seed=random.getrandbits(32)),
    "proxy_rate": lambda _chaos, _random, _question: _fault("proxy-error"),
    "slow_rate": lambda chaos, _random, _question: _fault("delay", delay=chaos.slow),
    "cut_rate": lambda _chaos, _random, question: _stream_or(question, "wrong-length", cut_after=1),
    "stall_rate": lambda _chaos, _random, question: _stream_or(question, "hang", stall_after=1),
    "stream_error_rate": lambda chaos, random, question: (
        answer(None, {"error_after": 1, "error": random.choice(chaos.codes)})
        if question.stream
        else Failure(code=random.choice(chaos.codes))
    ),
}

#: What an outage may be, beside an error code.
_OUTAGES = frozenset({"reset", "hang", "close", "garbage", "proxy-error"})


class Storm:
    """A `Chaos` at work: counts the requests that it is asked about. Safe for any number of threads.

    Args:
        chaos: what happens.
        since: Unix time on the server's clock from which outages count.
    """

    def __init__(self, chaos: Chaos, since: float) -> None:
        self.chaos = chaos
        self.since = since
        self._numbers = count(1)
        self._thresholds = list(accumulate(getattr(chaos, name) for name in _KINDS))
        self._lock = threading.Lock()
        self._ends: list[int] = []  # of runs: good ones and bad ones in turn, beginning with a good one
        self._lengths = self._runs()

    def describe(self) -> str:
        """As it would be written in a call."""
        return self.chaos.describe()

    def strike(self, question: Question) -> Taken | None:
        """What becomes of this request; None lets it pass."""
        number = next(self._numbers)
        chaos = self.chaos
        name = f"chaos seed={chaos.seed} request {number}"
        elapsed = question.time - self.since
        if any(start <= elapsed < end for start, end in chaos.outages):
            outage = _fault(str(chaos.outage)) if chaos.outage in _OUTAGES else Failure(code=chaos.outage)
            return Taken(outage, f"{name}, outage: {outage.describe()}")
        action = self.fate(number, question)
        return None if action is None else Taken(action, f"{name}: {action.describe()}")

    def fate(self, number: int, question: Question) -> Action | None:
        """What the request of this number, from 1, meets outside of outages."""
        random = seeded(self.chaos.seed, "chaos", str(number))
        draw = random.random()
        if self.chaos.burst is not None:
            if not self._in_burst(number):
                return None
            draw *= self.chaos.rate
        kind = bisect_right(self._thresholds, draw)
        names = list(_KINDS)
        if kind == len(names):
            return None
        return _KINDS[names[kind]](self.chaos, random, question)

    def _in_burst(self, number: int) -> bool:
        with self._lock:
            while not self._ends or self._ends[-1] < number:
                self._ends.append((self._ends[-1] if self._ends else 0) + next(self._lengths))
            return bisect_right(self._ends, number - 1) % 2 == 1

    def _runs(self) -> Iterator[int]:
        """Lengths of runs, good and bad in turn, so that ``rate`` of all requests are in bad ones."""
        chaos = self.chaos
        random, burst = seeded(chaos.seed, "bursts"), chaos.burst or 1.0
        good = burst * (1 - chaos.rate) / chaos.rate if chaos.rate else float("inf")
        bad_first = random.random() < chaos.rate
        yield 0 if bad_first else _geometric(random, good)
        while True:
            yield _geometric(random, burst)
            yield _geometric(random, good)


#: More requests than anybody sends.
_ENDLESS = 10**15


def _geometric(random: Random, mean: float) -> int:
    """A length from 1, geometric with this mean; without end for an immense one."""
    if mean <= 1.0:
        return 1 if mean > 0 else 0
    if mean > _ENDLESS:
        return _ENDLESS
    return 1 + int(log1p(-random.random()) / log1p(-1.0 / mean))
