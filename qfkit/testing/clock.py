"""Time for tests."""

from __future__ import annotations

import threading
import time


class SkippingClock:
    """Real time, but nobody waits: a sleep is written down and returns at once.

    The wall clock stays real, so that time stamps pass at the mock; the monotonic clock moves by what was slept, so
    that whoever measures the wait finds it.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._skipped = 0.0
        self._sleeps: list[float] = []

    @property
    def sleeps(self) -> tuple[float, ...]:
        """Every wait so far, in seconds, in order."""
        return tuple(self._sleeps)

    def time(self) -> float:
        """Unix time in seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never run backwards, skipped ones included."""
        return time.monotonic() + self._skipped

    def sleep(self, seconds: float) -> None:
        """Note the wait; do not wait."""
        with self._lock:
            self._skipped += max(0.0, seconds)
            self._sleeps.append(seconds)


class ManualClock:
    """Time that stands still but for what is slept: the same for a client and a mock that share it.

    Args:
        start: Unix time in seconds; None for that of the machine, so that time stamps of others are near it.
    """

    def __init__(self, start: float | None = None) -> None:
        self._lock = threading.Lock()
        self._start = self._now = time.time() if start is None else start

    def time(self) -> float:
        """Unix time in seconds."""
        return self._now

    def monotonic(self) -> float:
        """Seconds since the clock was made."""
        return self._now - self._start

    def sleep(self, seconds: float) -> None:
        """Move the clock by so much, at once; a negative wait is none."""
        with self._lock:
            self._now += max(0.0, seconds)
