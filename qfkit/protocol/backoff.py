"""How long to wait between attempts: schedules as plain values.

The client waits by them, a simulation runs on them, and whoever judges a client holds its waits against them.
"""

from __future__ import annotations

from dataclasses import dataclass
from random import Random
from typing import Literal, TypeAlias

Jitter: TypeAlias = Literal["full", "equal", "decorrelated", "none"]

#: Share of a wait that is fixed; the rest is drawn evenly. Full jitter spreads a herd of clients best.
FIXED_SHARE: dict[str, float] = {"full": 0.0, "equal": 0.5, "none": 1.0}

#: Decorrelated jitter draws from ``base`` to so many times the wait before.
DECORRELATED_GROWTH = 3.0

JITTERS: tuple[str, ...] = ("full", "equal", "decorrelated", "none")


@dataclass(frozen=True, slots=True, kw_only=True)
class Backoff:
    """Exponential backoff with jitter; the names are those of Brooker, "Exponential Backoff and Jitter" (AWS, 2015).

    Attributes:
        base: seconds, the longest wait after the first failure; for ``decorrelated`` the shortest of all.
        factor: what it is multiplied by after each further failure, 1 or more; ``decorrelated`` has its own growth.
        cap: seconds, the longest wait of all.
        jitter: ``full`` draws from 0 to the longest, ``equal`` keeps half and draws the rest, ``decorrelated`` draws
            from ``base`` to three times the wait before and cuts off at the cap, ``none`` waits the longest.
    """

    base: float
    factor: float
    cap: float
    jitter: Jitter

    def bounds(self, failures: int, previous: float | None = None) -> tuple[float, float]:
        """The shortest and longest wait, in seconds, after so many failures (1 or more) of one call.

        Args:
            failures: of this call, so far.
            previous: the wait before, in seconds, None if there was none; it matters for ``decorrelated`` alone.
        """
        if self.jitter == "decorrelated":
            longest = self._decorrelated(previous)
            return min(self.cap, self.base), min(self.cap, longest)
        try:
            longest = min(self.cap, self.base * self.factor ** (failures - 1))
        except OverflowError:  # a call that fails for hours
            longest = self.cap
        return longest * FIXED_SHARE[self.jitter], longest

    def draw(self, failures: int, random: Random, previous: float | None = None) -> float:
        """A wait in seconds, within `bounds`. A decorrelated one is drawn first and cut off then, as AWS does."""
        if self.jitter == "decorrelated":
            return min(self.cap, random.uniform(self.base, self._decorrelated(previous)))
        low, high = self.bounds(failures)
        return low if low == high else random.uniform(low, high)

    def _decorrelated(self, previous: float | None) -> float:
        return max(self.base, DECORRELATED_GROWTH * (self.base if previous is None else previous))
