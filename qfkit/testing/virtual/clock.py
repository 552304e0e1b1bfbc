"""A clock of discrete events: time stands still while anybody is at work, and leaps to the next event when all wait.

Whoever waits leaves a timer. A thread of the clock's own, the *driver*, looks for the moment at which everybody else in
the process waits (`qfkit.testing.virtual.stillness`), sets the time to that of the earliest timer, wakes those who
waited for it, and looks again. So waits overlap as in real time: two sleepers of a minute wake together after one
minute, and what the first to wake does happens before the second's turn when that is later.

Time is counted in whole nanoseconds from the clock's beginning, so that 0.1 s and 0.2 s are 0.3 s.
"""

from __future__ import annotations

import math
import sys
import sysconfig
import threading
from _thread import allocate_lock
from collections.abc import Callable
from heapq import heapify, heappop, heappush
from itertools import count
from operator import index
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any, NamedTuple

from qfkit.testing.virtual import real
from qfkit.testing.virtual.loops import LoopTimers
from qfkit.testing.virtual.real import SECOND
from qfkit.testing.virtual.stillness import Stillness, stillness

if TYPE_CHECKING:
    import asyncio

#: In which order those of one instant are woken: whoever sleeps; whoever waits for something, and is to find it when it
#: comes at the last moment; whoever looks on.
SLEEPER, WAITER, LOOKER = range(3)

#: Reads of the clock at one instant before it begins to creep, as fast as real time: a loop that only looks at the time
#: until it is over would otherwise never see it pass.
_READS = 100_000

#: Seconds between two looks while somebody is at work: at first, and at most.
_LOOK, _SELDOM = 1e-4, 2e-3

#: Cancelled alarms that may lie about.
_DEAD = 1000

#: Modules that sleep for others: who asked them is of interest.
_NAPS = frozenset({"qfkit.clock", "tenacity.nap", "anyio._core._eventloop", "anyio._backends._asyncio"})


class TimeStandsStill(RuntimeError):
    """Somebody waits for virtual time, and it cannot move: a thread never came to rest."""


class Sleep(NamedTuple):
    """One sleep, as somebody asked for it.

    Attributes:
        seconds: how long.
        at: when it began, in seconds since the clock's beginning.
        who: name of the thread, or of the asyncio task.
        where: the line that slept, as ``package/file.py:line``.
    """

    seconds: float
    at: float
    who: str
    where: str


class Alarm:
    """A timer. ``ring`` is called once, by the driver, with the clock's lock held: it must not wait for anything."""

    __slots__ = ("live", "number", "ring", "turn", "until", "when")

    def __init__(self, when: int, number: int, ring: Callable[[], object], *, turn: int) -> None:
        self.when = when
        self.number = number
        self.ring = ring
        #: Of those of one instant, the later ring once the earlier have rung, and all is still again.
        self.turn = turn
        self.live = True
        #: Rings already when this is true.
        self.until: Callable[[], bool] | None = None

    def __lt__(self, other: Alarm) -> bool:
        return (self.when, self.turn, self.number) < (other.when, other.turn, other.number)


class VirtualClock:
    """Virtual time. Give it to `MockServer` and `Client`, or let `virtual_time` put it in the place of `time`'s own.

    Args:
        patience: real seconds that somebody waits for the time to move before `TimeStandsStill` is raised in them.
        look: tells whether everybody waits; the best that this system has when not given.
    """

    def __init__(self, *, patience: float = 30.0, look: Stillness | None = None) -> None:
        if not patience > 0:
            raise ValueError(f"patience is in real seconds, more than 0; got {patience!r}")
        self._patience = patience
        self._look = look or stillness()
        self._lock = threading.RLock()  # a destructor may run in the middle of anything, and cancel an alarm
        self._alarms: list[Alarm] = []
        self._dead = 0
        #: Those that may ring before their time.
        self._conditional: list[Alarm] = []
        self._numbers = count()
        self._now = 0
        self._reads = 0
        #: Real time when the clock last crept; 0 while it does not.
        self._crept = 0
        self._wall, self._monotonic, self._counter = real.wall_ns(), real.monotonic_ns(), real.perf_counter_ns()
        self._sleeps: list[Sleep] = []
        self._holds: dict[object, float] = {}
        self._bell = allocate_lock()
        self._bell.acquire()
        self._driver: threading.Thread | None = None
        self._closed: int | None = None
        self._stuck: str | None = None
        self._broken = False
        #: Told of every move, in seconds, with the lock held.
        self.moved: Callable[[float], object] = lambda _seconds: None

    def __repr__(self) -> str:
        slept = ", ".join(f"{each.seconds:g}" for each in self._sleeps[:8])
        more = f", and {len(self._sleeps) - 8} more" if len(self._sleeps) > 8 else ""
        waiting = sum(alarm.live for alarm in tuple(self._alarms))
        return (
            f"<virtual clock: {self.elapsed:g} s passed"
            + (f", slept {slept}{more} s" if slept else ", nobody slept")
            + (f", {waiting} waiting" if waiting else "")
            + (", removed>" if self._closed is not None else ">")
        )

    # Reading

    @property
    def elapsed(self) -> float:
        """Virtual seconds since the clock's beginning."""
        return self._now / SECOND

    @property
    def sleeps(self) -> tuple[Sleep, ...]:
        """Every `time.sleep` and `asyncio.sleep` of more than 0 s so far, in the order in which they began."""
        return tuple(self._sleeps)

    def time(self) -> float:
        """Unix time in seconds. It began with the real one."""
        return self.time_ns() / SECOND

    def time_ns(self) -> int:
        """Unix time in nanoseconds."""
        return self._wall + self._read()

    def monotonic(self) -> float:
        """Seconds that never run backwards. They began with the real ones."""
        return self.monotonic_ns() / SECOND

    def monotonic_ns(self) -> int:
        """Nanoseconds that never run backwards."""
        return self._monotonic + self._read()

    def perf_counter(self) -> float:
        """As `monotonic`, from the start that `time.perf_counter` has."""
        return self.perf_counter_ns() / SECOND

    def perf_counter_ns(self) -> int:
        """As `monotonic_ns`, from the start that `time.perf_counter_ns` has, and a nanosecond more with every read.

        Whoever times a request divides by what it took, and with the real counter that never is nothing.
        """
        self._counter += 1
        return self._counter + self._read()

    def _read(self) -> int:
        if self._closed is not None:
            return self._now + real.monotonic_ns() - self._closed
        self._reads += 1
        if self._reads > _READS:
            self._creep()
        return self._now

    def _creep(self) -> None:
        with self._lock:
            crept = real.monotonic_ns()
            self._move_to(self._now + (crept - self._crept if self._crept else 0))
            self._crept = crept
            if self._alarms and self._alarms[0].when < self._now:
                self._ring_bell()

    # Waiting

    def sleep(self, seconds: float) -> None:
        """Wait until ``seconds`` of virtual time have passed; 0 lets other threads run.

        Raises:
            ValueError: ``seconds`` is negative.
            TimeStandsStill: a thread has kept it from passing for longer than ``patience``.
        """
        self.sleep_in(seconds, sys._getframe(1))

    def advance(self, seconds: float) -> None:
        """Let ``seconds`` pass; what is due until then has happened, and come to rest, when this returns.

        In a coroutine, ``await asyncio.sleep(seconds)`` instead: this would keep its loop from running.

        Raises:
            ValueError: ``seconds`` is negative: time does not run backwards.
            TimeStandsStill: as `sleep`.
        """
        wait = nanoseconds(seconds)
        if wait < 0:
            raise ValueError(f"time does not run backwards: advance(seconds) takes 0 or more, got {seconds!r}")
        self._wait(wait, turn=LOOKER)

    def _wait(self, wait: int, *, turn: int = SLEEPER, until: Callable[[], bool] | None = None) -> None:
        gate = allocate_lock()
        gate.acquire()
        alarm = self.alarm(wait, gate.release, turn=turn, until=until)
        try:
            gate.acquire()
        finally:
            self.cancel(alarm)
        self.check(alarm)

    def wait_until(self, found: Callable[[], bool], seconds: float) -> None:
        """Wait until ``found()``, for ``seconds`` at most; it is asked again and again, from another thread."""
        self._wait(nanoseconds(seconds), turn=WAITER, until=found)

    def sleep_in(self, seconds: float, frame: FrameType) -> None:
        """As `sleep`, for the code in ``frame``."""
        wait = nanoseconds(seconds)
        if wait < 0:
            raise ValueError("sleep length must be non-negative")
        if wait == 0:
            real.sleep(0)
            return
        self.note(seconds, threading.current_thread().name, frame)
        self._wait(wait)

    def note(self, seconds: float, who: str, frame: FrameType) -> None:
        """Write down that somebody sleeps."""
        at = frame
        while at.f_globals.get("__name__") in _NAPS and at.f_back is not None:
            at = at.f_back
        where = f"{'/'.join(Path(at.f_code.co_filename).parts[-2:])}:{at.f_lineno}"
        self._sleeps.append(Sleep(seconds, self.elapsed, who, where))

    def timers(self, loop: asyncio.AbstractEventLoop) -> LoopTimers:
        """Timers that ring in ``loop`` by this clock."""
        return LoopTimers(self, loop)

    # For those who wait in other ways

    def alarm(
        self, wait: int, ring: Callable[[], object], *, turn: int = SLEEPER, until: Callable[[], bool] | None = None
    ) -> Alarm:
        """Have ``ring`` called in ``wait`` nanoseconds; at once where the clock has been removed."""
        with self._lock:
            alarm = Alarm(self._now + max(wait, 0), next(self._numbers), ring, turn=turn)
            alarm.until = until
            if self._closed is not None or self._broken:
                alarm.live = False
                ring()
                return alarm
            heappush(self._alarms, alarm)
            if until is not None:
                self._conditional.append(alarm)
            if self._driver is None:
                self._driver = threading.Thread(target=self._drive, name="qfkit-virtual-time", daemon=True)
                self._driver.start()
            self._ring_bell()
        return alarm

    def cancel(self, alarm: Alarm) -> None:
        """See that it does not ring any more."""
        with self._lock:
            self._dead += alarm.live
            alarm.live = False
            if self._dead > _DEAD and self._dead > len(self._alarms) // 2:  # timeouts that were far away: most are
                self._alarms = [each for each in self._alarms if each.live]
                heapify(self._alarms)
                self._dead = 0

    def check(self, alarm: Alarm) -> None:
        """To be called by whoever waited for an alarm.

        Raises:
            TimeStandsStill: it did not ring because its time had come.
        """
        if self._stuck is not None and alarm.when > self._now:
            raise TimeStandsStill(self._stuck)

    def hold(self, seconds: float) -> object:
        """Keep the time from moving for ``seconds`` of real time, or until what this returns is handed to `let_go`."""
        mark = object()
        self._holds[mark] = real.monotonic() + seconds
        return mark

    def let_go(self, mark: object) -> None:
        """Let the time move again."""
        self._holds.pop(mark, None)

    def close(self) -> None:
        """Let the time go on as the real one. Whoever still waits is woken now."""
        with self._lock:
            if self._closed is not None:
                return
            self._closed = real.monotonic_ns()
            alarms, self._alarms = sorted(self._alarms), []
            for alarm in alarms:
                self._sound(alarm)
            self._ring_bell()
        if self._driver is not None:
            self._driver.join()
        self._look.close()

    # The driver. It alone moves the time, but for those who only ever look at it.

    def _ring_bell(self) -> None:
        if self._bell.locked():
            self._bell.release()

    def _drive(self) -> None:
        try:
            self._keep_moving()
        except BaseException as error:  # else everybody would wait for ever
            self._broken = True
            self._wake_all(f"a bug in qfkit, please report it: virtual time broke down with {error!r}")
            raise

    def _keep_moving(self) -> None:
        pause, since = _LOOK, real.monotonic()
        while self._closed is None:
            if not self._pending():
                self._bell.acquire()
                since = real.monotonic()
                continue
            if self._overdue():
                self._ring_due()
                continue
            # In this order: whoever holds the time does so before it comes to rest.
            busy = self._look.moving() or ([-1] if self._held() else [])
            if self._fulfilled() or (not busy and self._leap()):
                pause, since = _LOOK, real.monotonic()
            elif real.monotonic() - since > self._patience:
                self._give_up(busy)
            else:
                real.sleep(pause)
                pause = min(pause * 1.5, _SELDOM)

    def _pending(self) -> bool:
        with self._lock:
            self._drop_dead()
            return bool(self._alarms)

    def _drop_dead(self) -> None:
        while self._alarms and not self._alarms[0].live:
            heappop(self._alarms)
            self._dead = max(0, self._dead - 1)

    def _overdue(self) -> bool:
        """Somebody is to be woken whom a creeping clock has passed: whoever looks at it may be waiting for them."""
        with self._lock:
            return bool(self._alarms) and self._alarms[0].when < self._now

    def _held(self) -> bool:
        now = real.monotonic()
        return any(until > now for until in tuple(self._holds.values()))

    def _fulfilled(self) -> bool:
        """Wake those whose condition has come true."""
        if not self._conditional:
            return False
        with self._lock:
            self._conditional = [alarm for alarm in self._conditional if alarm.live]
        found = [alarm for alarm in tuple(self._conditional) if alarm.until is not None and alarm.until()]
        with self._lock:
            for alarm in found:
                self._sound(alarm)
        return bool(found)

    def _leap(self) -> bool:
        """All are still: on to the earliest timer."""
        with self._lock:
            self._drop_dead()
            if not self._alarms or self._closed is not None:
                return False
            self._reads = self._crept = 0
            self._move_to(max(self._now, self._alarms[0].when))
        self._ring_due()
        return True

    def _ring_due(self) -> None:
        """Wake all who wait for this instant; of those who wait for it to be over, only when nobody else does."""
        with self._lock:
            turn: int | None = None
            while self._alarms and self._alarms[0].when <= self._now:
                alarm = self._alarms[0]
                if turn is None or alarm.turn == turn or not alarm.live:
                    turn = alarm.turn if alarm.live else turn
                    self._sound(heappop(self._alarms))
                else:
                    break

    def _sound(self, alarm: Alarm) -> None:
        if alarm.live:
            alarm.live = False
            alarm.ring()

    def _move_to(self, now: int) -> None:
        if now != self._now:
            step, self._now = now - self._now, now
            self.moved(step / SECOND)

    def _give_up(self, busy: list[int]) -> None:
        self._wake_all(
            f"virtual time stands still: it moves on when all threads wait, and for {self._patience:g} real seconds "
            f"{_describe(busy)}. If that takes its time by right, allow more: virtual_time(patience=...)"
        )

    def _wake_all(self, why: str) -> None:
        self._stuck = why
        with self._lock:
            alarms, self._alarms = sorted(self._alarms), []
            for alarm in alarms:
                self._sound(alarm)


def nanoseconds(seconds: Any) -> int:
    """Rounded up, as `time.sleep` does: whoever sleeps for what is left of a wait must come to its end.

    Raises:
        TypeError: it is no number, in the words of `time.sleep`.
    """
    return math.ceil((seconds if isinstance(seconds, (int, float)) else index(seconds)) * SECOND)


def _describe(busy: list[int]) -> str:
    """Who was at work, and where."""
    if busy == [-1]:
        return "an answer from outside this process was waited for"
    frames = sys._current_frames()
    told = [
        f"{thread.name!r} was at {_line(frames[thread.ident])}"
        for thread in threading.enumerate()
        if thread.native_id in busy and thread.ident in frames
    ]
    return "thread " + ", thread ".join(told) if told else "something in this process was at work"


def _line(frame: FrameType) -> str:
    """The innermost line that is no library's, where there is one."""
    libraries = tuple(set(sysconfig.get_paths().values()))
    own: FrameType | None = frame
    while own is not None and own.f_code.co_filename.startswith(libraries):
        own = own.f_back
    frame = own or frame
    return f"{frame.f_code.co_filename}:{frame.f_lineno} in {frame.f_code.co_name}"
