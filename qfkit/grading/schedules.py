"""Schedules that a client may declare, as distributions: what waits would look like if it kept to them.

Every schedule in use draws evenly between two bounds and cuts off at a cap. So one form, `Draw`, says what the wait
after each failure is, and the rows of `SCHEDULES` say it for the libraries that people retry with. What is named there
was read off the libraries' own source; a test draws from each library and holds the row against it.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from functools import partial
from random import Random
from typing import Any, Protocol

from qfkit.protocol.backoff import DECORRELATED_GROWTH, FIXED_SHARE, Backoff


@dataclass(frozen=True, slots=True)
class Draw:
    """One wait: drawn evenly from ``low`` to ``high``, then cut off at ``cap``. All in seconds."""

    low: float
    high: float
    cap: float = math.inf

    @property
    def bounds(self) -> tuple[float, float]:
        """The shortest and the longest wait that can come of it."""
        return min(self.low, self.cap), min(self.high, self.cap)

    @property
    def fixed(self) -> bool:
        """It is always the same, so that how it is spread says nothing."""
        low, high = self.bounds
        return low >= high

    def draw(self, random: Random) -> float:
        """A wait."""
        return min(self.cap, random.uniform(self.low, self.high))

    def below(self, wait: float) -> float:
        """The chance of a wait shorter than ``wait``, waits at the cap not counted."""
        if wait <= self.low:
            return 0.0
        return min(1.0, (wait - self.low) / (self.high - self.low))

    def transform(self, wait: float, shuffle: float) -> float:
        """The probability integral transform: spread evenly over 0 to 1 if the wait was drawn from this.

        Waits cut off at the cap all have one value, an atom. They are spread over its share at random, by ``shuffle``,
        itself even on 0 to 1 (the randomised transform; Brockwell, Statistics & Probability Letters 77, 2007).

        Args:
            wait: seconds.
            shuffle: a number from 0 to 1.
        """
        if wait >= self.cap and self.high > self.cap:
            edge = self.below(self.cap)
            return edge + shuffle * (1.0 - edge)
        return self.below(wait)


class Schedule(Protocol):
    """What a client says of its waits."""

    def after(self, failures: int, previous: float | None) -> Draw | None:
        """The wait after so many failures (1 or more) and a wait of ``previous`` seconds (None at first).

        None when there shall be no further attempt.
        """
        ...


@dataclass(frozen=True, slots=True)
class Declared:
    """A schedule by formula.

    Attributes:
        name: for messages.
        formula: (failures, previous) -> the wait.
        attempts: requests of a call at most, None for no limit.
    """

    name: str
    formula: Callable[[int, float | None], Draw]
    attempts: int | None = None

    def __str__(self) -> str:
        return self.name

    def after(self, failures: int, previous: float | None) -> Draw | None:
        """As `Schedule`."""
        if self.attempts is not None and failures >= self.attempts:
            return None
        return self.formula(failures, previous)


def of_backoff(backoff: Backoff, attempts: int | None = None) -> Declared:
    """The schedule of a plain value: what `RetryPolicy.schedule` gives."""
    return Declared(str(backoff), partial(_backoff, backoff), attempts)


def named(name: str, **options: Any) -> Declared:
    """A schedule by name, with options in the words of the library.

    ``aws-full``, ``aws-equal``, ``aws-decorrelated`` and ``exponential``: ``base``, ``cap``, ``factor``, all required
    but ``factor`` (2). ``qianfan`` (the official Python SDK), ``openai``, ``urllib3``, ``tenacity-jitter``,
    ``tenacity-random`` and ``stamina``: as their libraries call them, with their defaults.

    Raises:
        ValueError: there is no such schedule, or it has no such option; the message names the nearest.
    """
    row = SCHEDULES.get(name)
    if row is None:
        near = get_close_matches(name, SCHEDULES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(SCHEDULES)}"
        raise ValueError(f"there is no schedule {name!r}; {hint}")
    formula, defaults = row
    for option in options:
        if option not in defaults:
            raise ValueError(f"the schedule {name} has no option {option!r}; it has {', '.join(defaults)}")
    given = defaults | options
    missing = [option for option, value in given.items() if value is None]
    if missing:
        raise ValueError(f"the schedule {name} needs {' and '.join(missing)}, in seconds")
    words = ", ".join(f"{option}={value:g}" for option, value in given.items())
    return Declared(f"{name}({words})", partial(formula, **given))


def _backoff(backoff: Backoff, failures: int, previous: float | None) -> Draw:
    if backoff.jitter == "decorrelated":
        last = backoff.base if previous is None else min(previous, backoff.cap)
        return Draw(backoff.base, max(backoff.base, DECORRELATED_GROWTH * last), backoff.cap)
    longest = min(backoff.cap, _power(backoff.base, backoff.factor, failures - 1))
    return Draw(longest * FIXED_SHARE[backoff.jitter], longest)


def _aws(failures: int, previous: float | None, *, jitter: Any, base: float, cap: float, factor: float = 2.0) -> Draw:
    return _backoff(Backoff(base=base, factor=factor, cap=cap, jitter=jitter), failures, previous)


def _additive(
    failures: int, _previous: float | None, *, initial: float, exp_base: float, jitter: float, max: float
) -> Draw:
    low = _power(initial, exp_base, failures - 1)
    return Draw(low, low + jitter, max)


def _qianfan(
    failures: int, previous: float | None, *, backoff_factor: float, jitter: float, max_wait_interval: float
) -> Draw:
    return _additive(failures, previous, initial=backoff_factor, exp_base=2.0, jitter=jitter, max=max_wait_interval)


def _stamina(
    failures: int,
    previous: float | None,
    *,
    wait_initial: float,
    wait_exp_base: float,
    wait_jitter: float,
    wait_max: float,
) -> Draw:
    return _additive(failures, previous, initial=wait_initial, exp_base=wait_exp_base, jitter=wait_jitter, max=wait_max)


def _tenacity_random(
    failures: int, _previous: float | None, *, multiplier: float, exp_base: float, min: float, max: float
) -> Draw:
    return Draw(0.0, sorted((min, _power(multiplier, exp_base, failures - 1), max))[1])


def _openai(failures: int, _previous: float | None, *, initial: float, max: float) -> Draw:
    longest = sorted((0.0, _power(initial, 2.0, failures - 1), max))[1]
    return Draw(longest * 0.75, longest)


def _urllib3(
    failures: int, _previous: float | None, *, backoff_factor: float, backoff_jitter: float, backoff_max: float
) -> Draw:
    if failures <= 1:
        return Draw(0.0, 0.0)
    low = _power(backoff_factor, 2.0, failures - 1)
    return Draw(low, low + backoff_jitter, backoff_max)


def _power(base: float, factor: float, exponent: int) -> float:
    try:
        return base * factor**exponent
    except OverflowError:
        return math.inf


_NEEDED: dict[str, float | None] = {"base": None, "cap": None, "factor": 2.0}

#: Name -> (formula, options with their defaults; None is required).
SCHEDULES: dict[str, tuple[Callable[..., Draw], dict[str, float | None]]] = {
    "aws-full": (partial(_aws, jitter="full"), _NEEDED),
    "aws-equal": (partial(_aws, jitter="equal"), _NEEDED),
    "aws-decorrelated": (partial(_aws, jitter="decorrelated"), {"base": None, "cap": None}),
    "exponential": (partial(_aws, jitter="none"), _NEEDED),
    "qianfan": (_qianfan, {"backoff_factor": 1.0, "jitter": 1.0, "max_wait_interval": 120.0}),
    "openai": (_openai, {"initial": 0.5, "max": 8.0}),
    "urllib3": (_urllib3, {"backoff_factor": 0.0, "backoff_jitter": 0.0, "backoff_max": 120.0}),
    "tenacity-jitter": (_additive, {"initial": 1.0, "exp_base": 2.0, "jitter": 1.0, "max": math.inf}),
    "tenacity-random": (_tenacity_random, {"multiplier": 1.0, "exp_base": 2.0, "min": 0.0, "max": math.inf}),
    "stamina": (_stamina, {"wait_initial": 0.1, "wait_exp_base": 2.0, "wait_jitter": 1.0, "wait_max": 5.0}),
}
