"""Timers for loops that keep real time, such as the mock's, by a virtual clock."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from qfkit.testing.virtual.real import SECOND

if TYPE_CHECKING:
    import asyncio

    from qfkit.testing.virtual.clock import Alarm, VirtualClock

#: Real seconds by which a loop's timer may be late before virtual time goes on without it.
_LATE = 5.0


class LoopTimers:
    """Timers that ring in an event loop by a virtual clock, whatever time the loop itself keeps."""

    __slots__ = ("_clock", "_loop")

    def __init__(self, clock: VirtualClock, loop: asyncio.AbstractEventLoop) -> None:
        self._clock = clock
        self._loop = loop

    def time(self) -> float:
        """Virtual seconds since the clock's beginning."""
        return self._clock._read() / SECOND

    def call_at(self, when: float, callback: Callable[[], object], /) -> LoopTimer:
        """Call ``callback`` in the loop when `time` is ``when``. To be called in the loop."""
        return LoopTimer(self._clock, self._loop, round(when * SECOND), callback)

    def call_soon_in_real_time(self, seconds: float, callback: Callable[[], object]) -> RealTimer:
        """Call ``callback`` in the loop in ``seconds`` of real time, and keep virtual time from moving until then."""
        return RealTimer(self._clock, self._loop, seconds, callback)


class RealTimer:
    """A callback that waits in real time, while virtual time stands still."""

    __slots__ = ("_callback", "_clock", "_handle", "_mark")

    def __init__(
        self, clock: VirtualClock, loop: asyncio.AbstractEventLoop, seconds: float, callback: Callable[[], object]
    ) -> None:
        self._clock, self._callback = clock, callback
        self._mark = clock.hold(seconds + _LATE)
        self._handle = loop.call_later(seconds, self._call)

    def cancel(self) -> None:
        """Do not call it."""
        self._handle.cancel()
        self._clock.let_go(self._mark)

    def _call(self) -> None:
        self._clock.let_go(self._mark)
        self._callback()


class LoopTimer:
    """A callback that waits for its time."""

    __slots__ = ("_alarm", "_callback", "_clock", "_loop", "_real")

    def __init__(
        self, clock: VirtualClock, loop: asyncio.AbstractEventLoop, when: int, callback: Callable[[], object]
    ) -> None:
        self._clock, self._loop = clock, loop
        self._callback: Callable[[], object] | None = callback
        self._alarm: Alarm | None = None
        self._real: asyncio.TimerHandle | None = None
        wait = when - clock._read()
        if clock._closed is None:
            self._alarm = clock.alarm(max(wait, 1), self._ring)
        else:
            self._real = loop.call_later(wait / SECOND, self._call)

    def cancel(self) -> None:
        """Do not call it."""
        self._callback = None
        if self._alarm is not None:
            self._clock.cancel(self._alarm)
        if self._real is not None:
            self._real.cancel()

    def _ring(self) -> None:
        with suppress(RuntimeError):  # the loop is closed: nobody is left who waits
            self._loop.call_soon_threadsafe(self._call)

    def _call(self) -> None:
        if (callback := self._callback) is not None:  # else it was cancelled after it rang
            callback()
