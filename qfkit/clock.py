"""Time as a parameter: everything of ours that reads a clock or waits is handed one of these."""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """What the client and the mock need of time. A virtual clock offers the same three methods."""

    def time(self) -> float:
        """Unix time in seconds, for time stamps on the wire."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary start that never run backwards, for durations."""
        ...

    def sleep(self, seconds: float) -> None:
        """Wait for ``seconds`` (0 or more)."""
        ...


class SystemClock:
    """The machine's own time."""

    __slots__ = ()

    def time(self) -> float:
        """Unix time in seconds."""
        return time.time()

    def monotonic(self) -> float:
        """Seconds that never run backwards."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait for ``seconds``; zero or less returns at once."""
        if seconds > 0:
            time.sleep(seconds)


SYSTEM_CLOCK = SystemClock()
