"""A budget for retries, over all calls of a client: when most calls fail, retrying them all makes it worse."""

from __future__ import annotations

import threading
from dataclasses import dataclass

from qfkit.client.exceptions import ConfigurationError


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryBudget:
    """How many retries the calls of a client may make together.

    Each call puts ``ratio`` of a retry into a purse that holds ``reserve`` at most, and is full at the start; each
    retry takes one out. So in the long run a client sends at most ``1 + ratio`` times as many requests as it has calls,
    however much fails. The design is that of Finagle's ``RetryBudget`` and of gRPC's retry throttling (gRFC A6).

    Attributes:
        ratio: retries that each call earns, 0 to 10; 0.1 allows one retry for ten calls.
        reserve: retries that can be saved up, 1 or more: what a client that makes few calls, or has just begun, may
            spend.

    Raises:
        ConfigurationError: a value is out of its range.
    """

    ratio: float = 0.1
    reserve: float = 10.0

    def __post_init__(self) -> None:
        for name, low, high in (("ratio", 0.0, 10.0), ("reserve", 1.0, 1e9)):
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, (int, float)) or not low <= value <= high:
                raise ConfigurationError(f"RetryBudget.{name} is a number from {low:g} to {high:g}; got {value!r}")


class Purse:
    """What is left of a budget. Safe to share between threads, and between clients."""

    __slots__ = ("_left", "_lock", "budget")

    def __init__(self, budget: RetryBudget) -> None:
        self.budget = budget
        self._left = float(budget.reserve)
        self._lock = threading.Lock()

    def earn(self) -> None:
        """A call has begun."""
        with self._lock:
            self._left = min(self.budget.reserve, self._left + self.budget.ratio)

    def spend(self) -> bool:
        """Take a retry out; False when there is not a whole one left."""
        with self._lock:
            # A tenth added ten times is a little less than one.
            if self._left < 1.0 - 1e-9:
                return False
            self._left = max(0.0, self._left - 1.0)
            return True

    @property
    def left(self) -> float:
        """Retries that may be made now."""
        return self._left
