"""Virtual time for a whole process: waits end at once, in the order and at the times at which they would have ended.

>>> import time
>>> with virtual_time() as clock:
...     time.sleep(600)
>>> clock.elapsed
600.0

`virtual_time` puts a `VirtualClock` in the place of the process's time: of the functions of `time` (also where a module
has taken them by name), `datetime`'s now, the ends of waits in `threading` and `queue`, of reads from sockets, and of
the loops of asyncio. The mock reads the same time, and paces its streams by it.

What it is made of: the clock of discrete events and the test for stillness are our own, since no library has them:
``freezegun`` and ``time-machine`` move the time but leave `sleep` real, ``looptime`` and ``aiotools`` know one loop of
asyncio each, and nothing of threads and sockets. ``time-machine`` is what `datetime` is left to: it replaces it in C,
under every name that it may have.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest.mock import patch

from qfkit.clock import SystemClock
from qfkit.testing.virtual.clock import Sleep, TimeStandsStill, VirtualClock
from qfkit.testing.virtual.current import Current
from qfkit.testing.virtual.functions import replaced
from qfkit.testing.virtual.waits import patches

__all__ = ["Sleep", "TimeStandsStill", "VirtualClock", "virtual_time"]

_TAKEN = (
    "virtual time is on already, and a process has one time only: ask for qianfan_clock once a test, and end one "
    "virtual_time() block before the next begins"
)
_NO_TIME_MACHINE = "virtual time needs time-machine, for datetime: pip install 'qfkit[test]'"
_WINDOWS = "virtual time is not there for Windows: its loops and sockets wait in ways that it cannot reach yet"
_GEVENT = "gevent has patched time in this process and schedules all waits itself: virtual time cannot be put on top"


@contextmanager
def virtual_time(*, patience: float = 30.0) -> Iterator[VirtualClock]:
    """Run this process on virtual time until the block ends.

    Args:
        patience: real seconds that a thread may keep the time from moving on while others wait for it.

    Raises:
        ImportError: time-machine is not installed.
        RuntimeError: virtual time is on already, gevent has patched `time`, or this is Windows.
        ValueError: ``patience`` is not more than 0.
    """
    if Current.clock is not None:
        raise RuntimeError(_TAKEN)
    if sys.platform == "win32":
        raise RuntimeError(_WINDOWS)
    monkey: Any = sys.modules.get("gevent.monkey")
    if monkey is not None and monkey.is_module_patched("time"):
        raise RuntimeError(_GEVENT)
    clock = VirtualClock(patience=patience)
    with ExitStack() as stack:
        stack.callback(clock.close)
        _travel(clock, stack)
        stack.enter_context(replaced())
        for owner, name, made in patches():
            stack.enter_context(patch.object(owner, name, made(getattr(owner, name))))
        stack.enter_context(patch.object(SystemClock, "stand_in", clock))
        stack.enter_context(patch.object(Current, "clock", clock))
        yield clock


def _travel(clock: VirtualClock, stack: ExitStack) -> None:
    """Let `datetime`, and what else reads the time in C, go with the clock."""
    try:
        from time_machine import travel  # noqa: PLC0415 - optional
    except ImportError as error:
        raise ImportError(_NO_TIME_MACHINE) from error
    journey = travel(clock.time(), tick=False)
    clock.moved = journey.start().shift
    stack.callback(journey.stop)
    stack.enter_context(patch.object(Current, "come_home", journey.stop))


def _in_child() -> None:
    """A forked child has no driver, and so no virtual time: it goes on in real time."""
    if Current.clock is not None:
        Current.clock = SystemClock.stand_in = None
        Current.come_home()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_in_child)
