"""What was measured on, how quiet it was, and which core does what."""

from __future__ import annotations

import contextlib
import os
import platform
import re
import resource
import statistics
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

_LINUX = sys.platform == "linux"
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def describe() -> dict[str, Any]:
    """The machine, without its name: processor, cores, memory, system, Python."""
    pages = os.sysconf("SC_PHYS_PAGES")
    return {
        "processor": _processor(),
        "cores": len(allowed_cores()) or os.cpu_count(),
        "memory_gib": round(pages * _PAGE / 2**30, 1),
        "system": _system(),
        "python": f"{platform.python_implementation()} {platform.python_version()}",
    }


def _processor() -> str:
    if _LINUX and (found := re.search(r"model name\s*:\s*(.+)", Path("/proc/cpuinfo").read_text("utf-8"))):
        return " ".join(found[1].split())
    return platform.processor() or platform.machine()


def _system() -> str:
    if not _LINUX:
        return f"{platform.system()} {platform.release()}"
    # What follows the version is the builder's: it says nothing of speed, and may name whose machine it is.
    kernel = f"Linux {'.'.join(platform.release().split('.')[:2])}"
    with contextlib.suppress(OSError):
        return f"{platform.freedesktop_os_release()['PRETTY_NAME']}, {kernel}"
    return kernel


def allowed_cores() -> tuple[int, ...]:
    """The cores that this process may use; empty where the system cannot say."""
    return tuple(sorted(os.sched_getaffinity(0))) if _LINUX else ()


@dataclass(frozen=True, slots=True)
class Cores:
    """Who runs where: the server under test alone on one core, whoever asks it on another.

    Attributes:
        server, client: core numbers; None where nobody is pinned.
    """

    server: int | None
    client: int | None

    @classmethod
    def choose(cls, *, pin: bool) -> Cores:
        """The last core serves, the one before it asks; nobody is pinned where there are fewer than two."""
        cores = allowed_cores()
        return cls(cores[-1], cores[-2]) if pin and len(cores) >= 2 else cls(None, None)

    @property
    def pinned(self) -> bool:
        """Server and client have a core each."""
        return self.server is not None

    @contextlib.contextmanager
    def on(self, core: int | None) -> Iterator[None]:
        """What is started within inherits ``core``."""
        if core is None:
            yield
            return
        before = os.sched_getaffinity(0)
        os.sched_setaffinity(0, {core})
        try:
            yield
        finally:
            os.sched_setaffinity(0, before)


@dataclass(slots=True)
class Noise:
    """How long one fixed loop took, again and again between the measurements: what drifts here drifts everywhere."""

    seconds: list[float] = field(default_factory=list)

    def probe(self) -> None:
        """Run the loop once, on the core that serves."""
        start = time.perf_counter()
        total = 0
        for number in range(200_000):
            total += number * number % 7
        self.seconds.append(time.perf_counter() - start)

    @property
    def drift(self) -> float:
        """The slowest over the fastest; 1 is a silent machine."""
        return max(self.seconds) / min(self.seconds) if self.seconds else 1.0

    def to_dict(self) -> dict[str, Any]:
        """For the report."""
        if not self.seconds:
            return {"probes": 0}
        return {
            "probes": len(self.seconds),
            "median_ms": round(statistics.median(self.seconds) * 1000, 2),
            "drift": round(self.drift, 2),
            "load_average": round(os.getloadavg()[0], 1),
        }


# Other processes, as the kernel counts them


def measurable() -> bool:
    """Memory and processor time of another process can be read here: from /proc, so on Linux alone."""
    return _LINUX


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    found = [pid]
    for parent in found:  # grows while it is walked
        with contextlib.suppress(OSError):
            for thread in Path(f"/proc/{parent}/task").iterdir():
                found += map(int, (thread / "children").read_text("ascii").split())
    return found


def resident_bytes(pid: int) -> int:
    """Memory that a process and its descendants hold (resident set size)."""
    total = 0
    for member in family(pid):
        with contextlib.suppress(OSError):
            total += int(Path(f"/proc/{member}/statm").read_text("ascii").split()[1]) * _PAGE
    return total


def cpu_seconds(pid: int) -> float:
    """Processor time that a process and its living descendants have used, in steps of 10 ms."""
    total = 0
    for member in family(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{member}/stat").read_text("utf-8").rpartition(")")[2].split()
            total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def raise_descriptor_limit(wanted: int) -> int:
    """Let this process and those that it starts open ``wanted`` files; how many they may."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for limits in ((wanted, max(wanted, hard)), (min(wanted, hard), hard)):
        if soft < limits[0]:
            with contextlib.suppress(OSError, ValueError):
                resource.setrlimit(resource.RLIMIT_NOFILE, limits)
                break
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]
