"""A run of hours: does memory grow, does anything drift? Pure, but for reading what this machine says of a process.

Memory is looked at from the end of a first tenth of the run on: in it modules are loaded, pools and journals are
filled. What grows after that by more than a tenth, steadily (`loadtests.judging.steady`), is called a leak.
"""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any

from loadtests.judging.steady import Trend, trend

#: Share of the run at its beginning that says nothing about leaks.
SETTLING = 0.1

#: Looks at memory in a run, and the seconds between two at least.
LOOKS, LEAST = 2_000, 0.2

_MB = 1e6


def resident(pid: int) -> float | None:
    """Memory that a process and its children hold, in bytes; None when it is gone, or cannot be seen."""
    psutil = importlib.import_module("psutil")  # comes with Locust
    try:
        process = psutil.Process(pid)
        family = [process, *process.children(recursive=True)]
    except psutil.Error:
        return None
    held = 0.0
    for one in family:
        with suppress(psutil.Error):  # a child that has just ended holds nothing
            held += float(one.memory_info().rss)
    return held


def cpu_seconds(pid: int | None) -> float | None:
    """Processor time that a process has used; None when it is gone, or cannot be seen."""
    psutil = importlib.import_module("psutil")
    if pid is None:
        return None
    try:
        times = psutil.Process(pid).cpu_times()
    except psutil.Error:
        return None
    return float(times.user + times.system)


def listens(port: int) -> int | None:
    """The process of this machine that listens on a port; None when none is known."""
    psutil = importlib.import_module("psutil")

    try:
        found = psutil.net_connections("tcp")
    except psutil.Error:  # some systems ask for a privilege
        return None
    return next((int(one.pid) for one in found if one.status == psutil.CONN_LISTEN and one.laddr.port == port), None)


def interval(run_time: float | None) -> float:
    """Seconds between two looks."""
    return LEAST if run_time is None else max(LEAST, run_time / LOOKS)


def soak_section(
    looks: Sequence[tuple[float, Mapping[str, float]]], timeline: Sequence[Mapping[str, Any]], *, run_time: float
) -> dict[str, Any]:
    """What drifted.

    Args:
        looks: seconds since the beginning, and the bytes that each process held then.
        timeline: of the scenario, as the report has it.
        run_time: seconds.
    """
    names = sorted({name for _, held in looks for name in held})
    trends = {
        f"memory of the {name}": trend(
            [(second, held[name] / _MB) for second, held in looks if name in held and second >= SETTLING * run_time]
        )
        for name in names
    }
    for row, title in (
        ("latency_p50", "median latency (ms)"),
        ("ttft_p50", "median TTFT (ms)"),
        ("ok", "good calls a second"),
    ):
        points = [(float(cell["second"]), float(cell[row])) for cell in timeline if cell.get(row) is not None]
        # The first and the last second are no whole ones.
        if points := [point for point in points[1:-1] if point[0] >= SETTLING * run_time]:
            trends[title] = trend(points)
    return {
        "memory": {
            name: [[round(second, 3), round(held[name] / _MB, 3)] for second, held in looks if name in held]
            for name in names
        },
        "drift": {name: one.to_dict() for name, one in trends.items()},
        "drifting": [name for name, one in trends.items() if one.drifts],
        "leaks": [name for name, one in trends.items() if one.grows and name.startswith("memory")],
        "lines": list(_lines(trends)),
    }


def _lines(trends: Mapping[str, Trend]) -> Iterator[str]:
    for name, one in trends.items():
        if one.p is None:
            yield f"{name}: too short a run to tell ({one.points} stretches of time)"
            continue
        share = "" if one.share is None else f" ({one.share:+.1%})"
        word = "DRIFTS" if one.drifts else "steady"
        unit = " MB" if name.startswith("memory") else ""
        yield f"{name}: {word}, {one.change:+.3g}{unit} over the run{share}, p {one.p:.2g}"
