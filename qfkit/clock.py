"""Time as a parameter: everything of ours that reads a clock or waits is handed one of these."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

if TYPE_CHECKING:
    import asyncio


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


class Timer(Protocol):
    """Something that will be called."""

    def cancel(self) -> None:
        """Do not call it."""
        ...


class Timers(Protocol):
    """What an event loop needs of a clock, beside the loop's own timers. The loop itself is one, in real time."""

    def time(self) -> float:
        """Seconds from an arbitrary start that never run backwards."""
        ...

    def call_at(self, when: float, callback: Callable[[], object], /) -> Timer:
        """Call ``callback`` in the loop when `time` is ``when``."""
        ...


class TimedClock(Clock, Protocol):
    """A clock whose time event loops can wait for."""

    def timers(self, loop: asyncio.AbstractEventLoop) -> Timers:
        """Timers that ring in ``loop`` by this clock."""
        ...


class SystemClock:
    """The machine's own time; or what a test has put in the place of the functions of `time`."""

    __slots__ = ()

    #: Whose timers loops are to use while a test has put virtual time there: a loop may keep its own time in C.
    stand_in: ClassVar[TimedClock | None] = None

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

    def timers(self, loop: asyncio.AbstractEventLoop) -> Timers:
        """The loop's own."""
        return loop if self.stand_in is None else self.stand_in.timers(loop)


SYSTEM_CLOCK = SystemClock()


def timers_of(clock: Clock, loop: asyncio.AbstractEventLoop) -> Callable[[], Timers]:
    """Gives the timers that ring in ``loop`` by ``clock``; the loop's own where the clock has none to offer."""
    make: Any = getattr(clock, "timers", None)
    return (lambda: loop) if make is None else (lambda: make(loop))
