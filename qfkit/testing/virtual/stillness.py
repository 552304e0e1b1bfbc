"""Whether everybody waits: then, and only then, may virtual time move on.

A process is still when no other thread of it runs, wants to run, or has run since we began to look. On Linux the kernel
says so exactly:

1. Read the CPU time of every other thread, in nanoseconds.
2. Let go of the interpreter's lock for a moment. A thread that waits for it, and only looks asleep, gets it now.
3. Read the state of every thread: all are asleep (``S``). One that was woken but has not got a CPU yet is ``R``.
4. Read the CPU times again: none has moved.

A thread that had run between 1 and 4 would have used CPU time; one that was about to run would not be asleep in 3. So
there was a moment between 1 and 3 in which all of them slept, and nobody was left to wake another. What is on its way
between two sockets of this machine is no gap: on loopback, `send` itself puts the bytes into the receiver's buffer, and
wakes it, before it returns. Only what comes from outside, another process or machine, is not seen.

Elsewhere the CPU time of the whole process must stand still, but for our own, for three times `Silence.WINDOW`. That is
evidence, no proof: a thread that is starved of CPU for so long is overlooked.
"""

from __future__ import annotations

import os
import threading
from pathlib import Path
from typing import Protocol

from qfkit.testing.virtual import real

_TASKS = Path("/proc/self/task")


class Stillness(Protocol):
    """Looks whether everybody but the caller waits."""

    def moving(self) -> list[int]:
        """Native ids of threads that do something; 0 stands for one that cannot be told."""
        ...

    def close(self) -> None:
        """Give back what looking takes."""
        ...


class ThreadStates:
    """What Linux says of the threads of this process."""

    #: Seconds for which the interpreter's lock is let go.
    WINDOW = 5e-5

    def __init__(self) -> None:
        self._files: dict[int, int] = {}

    def moving(self) -> list[int]:
        """Native ids of the other threads that do something."""
        own = threading.get_native_id()
        others = [tid for name in os.listdir(_TASKS) if (tid := int(name)) != own]  # noqa: PTH208 - half the time
        before = [_cpu_time(tid) for tid in others]
        real.sleep(self.WINDOW)
        return [
            tid
            for tid, then in zip(others, before, strict=True)
            if then is None or self._state(tid) != b"S" or _cpu_time(tid) != then
        ]

    def close(self) -> None:
        """Close the files."""
        for descriptor in self._files.values():
            os.close(descriptor)
        self._files.clear()

    def _state(self, tid: int) -> bytes:
        """One letter (proc(5)); nothing for a thread that has ended."""
        try:
            descriptor = self._files.get(tid)
            if descriptor is None:
                descriptor = self._files[tid] = os.open(_TASKS / f"{tid}/stat", os.O_RDONLY | os.O_CLOEXEC)
            stat = os.pread(descriptor, 128, 0)
        except OSError:
            if (stale := self._files.pop(tid, None)) is not None:
                os.close(stale)
            return b""
        after_name = stat.rfind(b")") + 2  # the name may hold anything
        return stat[after_name : after_name + 1]


class Silence:
    """What the CPU time of the process says, where there is no `ThreadStates`."""

    #: Seconds for which nobody else may use the CPU, so many times.
    WINDOW, TIMES = 5e-3, 3
    #: Nanoseconds that the two readings may differ by themselves.
    NOISE = 30_000

    def moving(self) -> list[int]:
        """``[0]`` while somebody uses the CPU, or could not get it."""
        for _ in range(self.TIMES):
            began, before = real.monotonic(), real.process_time_ns() - real.thread_time_ns()
            real.sleep(self.WINDOW)
            after = real.process_time_ns() - real.thread_time_ns()
            # Where we are late ourselves, others may be as well.
            if after - before > self.NOISE or real.monotonic() - began > 2 * self.WINDOW:
                return [0]
        return []

    def close(self) -> None:
        """Nothing was taken."""


def stillness() -> Stillness:
    """The best that this system has."""
    exact = real.clock_gettime_ns is not None and _TASKS.is_dir()
    return ThreadStates() if exact and _cpu_time(threading.get_native_id()) is not None else Silence()


def _cpu_time(tid: int) -> int | None:
    """Nanoseconds that a thread of this process has run; None when there is no such thread any more."""
    assert real.clock_gettime_ns is not None
    try:
        return real.clock_gettime_ns((~tid << 3) | 6)  # the kernel's clock of one thread: CPUCLOCK_PERTHREAD | _SCHED
    except OSError:
        return None
