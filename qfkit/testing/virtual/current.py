"""Which clock the process runs on, and who is not on it."""

from __future__ import annotations

from types import FrameType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from qfkit.testing.virtual.clock import VirtualClock

#: Packages and modules that stay in real time: those that run the tests and time them; those that wait for other
#: processes; those that keep a time of their own in C; and what in the mock is about sockets rather than about Qianfan.
REAL = frozenset(
    {
        *("_pytest", "pytest", "pytest_timeout", "xdist", "execnet", "hypothesis", "coverage", "unittest"),
        *("subprocess", "multiprocessing", "concurrent.futures.process", "socketserver", "wsgiref", "http.server"),
        *("trio", "gevent", "locust", "uvloop", "pdb", "bdb", "IPython", "debugpy", "pydevd", "faulthandler"),
        *("qfkit.testing.virtual", "time_machine", "mock_server.serving", "mock_server.observing"),
    }
)

#: Modules that wait for whoever called them.
_ON_BEHALF = frozenset({"threading", "queue", "concurrent.futures", "concurrent.futures._base", "contextlib"})

_known: dict[str, bool] = {}


class Current:
    """The clock of the process."""

    clock: VirtualClock | None = None


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
    return None if asker is not None and is_real(asker.f_globals.get("__name__", "")) else clock
