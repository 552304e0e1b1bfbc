"""Which clock the process runs on, and who is not on it."""

from __future__ import annotations

import threading
from collections.abc import Callable
from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qfkit.testing.virtual.clock import VirtualClock

#: Packages and modules that stay in real time: those that run the tests and time them; those that wait for other
#: processes; those that keep a time of their own in C; and what in the mock is about sockets rather than about Qianfan.
REAL = frozenset(
    {
        *("_pytest", "pytest", "pytest_timeout", "xdist", "execnet", "hypothesis", "coverage"),
        *("subprocess", "multiprocessing", "concurrent.futures.process", "socketserver", "wsgiref", "http.server"),
        *("trio", "gevent", "locust", "uvloop", "freezegun", "time_machine"),
        *("pdb", "bdb", "IPython", "debugpy", "pydevd", "faulthandler"),
        *("qfkit.testing.virtual", "mock_server.serving", "mock_server.observing"),
    }
)

#: Modules that wait for whoever called them.
_ON_BEHALF = frozenset({"threading", "queue", "concurrent.futures", "concurrent.futures._base", "contextlib"})

_STAND_INS = "qfkit.testing.virtual.functions"

_known: dict[str, bool] = {}


class Current:
    """The clock of the process."""

    clock: VirtualClock | None = None
    #: Lets what reads the time in C have the real one again.
    come_home: Callable[[], object] = staticmethod(lambda: None)


def is_real(module: str) -> bool:
    """Whether a module stays in real time."""
    found = _known.get(module)
    if found is None:
        parts = module.split(".")
        found = _known[module] = any(".".join(parts[:end]) in REAL for end in range(1, len(parts) + 1))
    return found


def clock_for(frame: FrameType) -> VirtualClock | None:
    """The clock for the code in ``frame``; None where that is the real one."""
    clock = Current.clock
    if clock is None:
        return None
    asker: FrameType | None = frame
    while asker is not None and asker.f_globals.get("__name__") in _ON_BEHALF:
        asker = asker.f_back
    module = _starter() if asker is None else asker.f_globals.get("__name__", "")
    return None if is_real(module) else clock


def _starter() -> str:
    """Whose code this thread was started for, where all of its frames are the standard library's: a timer waits so."""
    thread = threading.current_thread()
    function = getattr(thread, "function", None) or getattr(thread, "_target", None)
    module = str(getattr(function, "__module__", ""))
    return "" if module == _STAND_INS else module  # Thread(target=time.sleep) is started for whoever wrote that
