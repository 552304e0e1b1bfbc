"""What stands for the functions of `time` and for `asyncio.sleep`, wherever a module has taken them by name.

Each stand-in asks on every call whether virtual time is on, and for whom: so one that a module took by name meanwhile
goes on as the real function afterwards.
"""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType
from typing import Any, TypeVar
from weakref import WeakKeyDictionary

from qfkit.testing.virtual import real
from qfkit.testing.virtual.current import clock_for, is_real

T = TypeVar("T")


def sleep(seconds: float, /) -> None:
    """Stands for `time.sleep`."""
    clock = clock_for(sys._getframe(1))
    if clock is None:
        real.sleep(seconds)
    else:
        clock.sleep_in(seconds, sys._getframe(1))


def time() -> float:
    """Stands for `time.time`."""
    clock = clock_for(sys._getframe(1))
    return real.wall() if clock is None else clock.time()


def time_ns() -> int:
    """Stands for `time.time_ns`."""
    clock = clock_for(sys._getframe(1))
    return real.wall_ns() if clock is None else clock.time_ns()


def monotonic() -> float:
    """Stands for `time.monotonic`."""
    clock = clock_for(sys._getframe(1))
    return real.monotonic() if clock is None else clock.monotonic()


def monotonic_ns() -> int:
    """Stands for `time.monotonic_ns`."""
    clock = clock_for(sys._getframe(1))
    return real.monotonic_ns() if clock is None else clock.monotonic_ns()


def perf_counter() -> float:
    """Stands for `time.perf_counter`."""
    clock = clock_for(sys._getframe(1))
    return real.perf_counter() if clock is None else clock.perf_counter()


def perf_counter_ns() -> int:
    """Stands for `time.perf_counter_ns`."""
    clock = clock_for(sys._getframe(1))
    return real.perf_counter_ns() if clock is None else clock.perf_counter_ns()


async def async_sleep(delay: float, result: T | None = None) -> T | None:
    """Stands for `asyncio.sleep`, to write the sleep down; it is the loop that waits."""
    frame = sys._getframe(1)
    clock = clock_for(frame)
    if clock is not None and delay > 0:
        task = asyncio.current_task()
        clock.note(delay, task.get_name() if task is not None else "asyncio", frame)
    return await real.async_sleep(delay, result)


#: Function -> what stands for it.
STAND_INS: tuple[tuple[Any, Any], ...] = (
    (real.sleep, sleep),
    (real.wall, time),
    (real.wall_ns, time_ns),
    (real.monotonic, monotonic),
    (real.monotonic_ns, monotonic_ns),
    (real.perf_counter, perf_counter),
    (real.perf_counter_ns, perf_counter_ns),
    (real.async_sleep, async_sleep),
)

_BY_ID = {id(function): stand_in for function, stand_in in STAND_INS}

#: Module -> the names by which it has any of them. Looking through all modules takes some 10 ms, so once each.
_found: WeakKeyDictionary[ModuleType, tuple[str, ...]] = WeakKeyDictionary()


@contextmanager
def replaced() -> Iterator[None]:
    """Put the stand-ins wherever a module that is loaded has one of the functions, until the block ends."""
    done: list[tuple[dict[str, Any], str, Any, Any]] = []
    try:
        for module in tuple(sys.modules.values()):
            if not issubclass(type(module), ModuleType):
                continue  # some put other things there, and not all of them admit it
            names = _found.get(module)
            if names is None:
                names = _found[module] = _names(module)
            space = vars(module)
            for name in names:
                function = space.get(name)
                stand_in = _BY_ID.get(id(function))
                if stand_in is not None:
                    space[name] = stand_in
                    done.append((space, name, stand_in, function))
        yield
    finally:
        for space, name, stand_in, function in done:
            if space.get(name) is stand_in:  # else somebody has put another thing there
                space[name] = function


def _names(module: ModuleType) -> tuple[str, ...]:
    if is_real(module.__name__):
        return ()
    return tuple(name for name, value in tuple(vars(module).items()) if id(value) in _BY_ID)
