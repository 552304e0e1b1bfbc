"""The scenario ``ceiling``: runs of one rate after the other, judged, until the highest that holds is known.

Knows no Locust: whoever calls `climb` says how a step is run.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from statistics import median
from typing import Any

from loadtests.judging.slo import Slo, parse
from loadtests.judging.slo_results import evaluate
from loadtests.judging.steady import trend
from loadtests.playing.control import PAGE, Control, ControlFailed, Seen
from loadtests.playing.endurance import cpu_seconds, listens
from loadtests.playing.search import Search, Signs, ceiling_lines, limited_by, steady

#: What a step must keep when nobody says.
DEFAULT_SLO = "goodput>=0.95*offered"

#: Codes and statuses with which quotas refuse, wherever they are counted.
_QUOTA_STATUS = 429


def climb(
    search: Search,
    run: Callable[[float], dict[str, Any] | None],
    *,
    slos: Sequence[Slo] = (),
    probe: Probe | None = None,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Look for the ceiling.

    Args:
        search: which rates to try.
        run: makes one step at a rate; its report, or None when somebody has ended it.
        slos: that a step must keep; `DEFAULT_SLO` without any.
        probe: of the server, where it can be looked at.

    Returns:
        The section, and the report of the highest step that held, or of the last one.
    """
    asked = tuple(slos) or (parse(DEFAULT_SLO),)
    steps: list[dict[str, Any]] = []
    signs: list[Signs] = []
    best: dict[str, Any] = {}
    while (rate := search.next()) is not None:
        if probe is not None:
            probe.begin()
        report = run(rate)
        if report is None:
            break
        served, busy = probe.end() if probe is not None else (None, None)
        signs.append(_signs(report, served, busy))
        steps.append(_step(rate, report, asked))
        search.add(rate, holds=steps[-1]["ok"])
        if not best or search.highest == rate:
            best = report
        if not _calls(report):  # nothing was measured: another rate would change nothing
            best = report
            break
    return _section(search, steps, signs), best


def _calls(report: Mapping[str, Any]) -> int:
    return sum(data["calls"] for data in report["scenarios"].values())


def _step(rate: float, report: dict[str, Any], slos: Sequence[Slo]) -> dict[str, Any]:
    data = next(iter(report["scenarios"].values()), None)
    results = [
        {name: result[name] for name in ("slo", "value", "limit", "ok", "why")} for result in evaluate(slos, report)
    ]
    limits = list(report["limits_reached"])
    even = steady(_trends(data["timeline"]) if data else {})
    latency = data["milliseconds"].get("latency", {}) if data else {}
    return {
        "rate": round(rate, 3),
        "ok": all(result["ok"] for result in results) and even["ok"] and bool(_calls(report)) and not limits,
        "slos": results,
        "steady": even,
        "limits_reached": limits,
        "calls": data["calls"] if data else 0,
        "failed": data["failed"] if data else 0,
        "goodput": data["goodput"]["rate"] if data else 0.0,
        "latency_p50": latency.get("p50"),
        "latency_p95": latency.get("p95"),
        "late_p99": data["late"]["p99"] if data and data["late"] else None,
    }


def _trends(timeline: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """How latency and the calls under way went over a step: in its whole seconds, without the first and the last."""
    under_way, points = 0, []
    for cell in timeline:
        under_way += cell["sent"] - cell["ok"] - cell["failed"]
        points.append((float(cell["second"]), float(under_way)))
    # The last calls are sent in the run's last second; what comes after is their way out.
    last = max((index for index, cell in enumerate(timeline) if cell["sent"]), default=0)
    latency = [
        (float(cell["second"]), float(cell["latency_p50"]))
        for cell in timeline[1:last]
        if cell["latency_p50"] is not None
    ]
    return {"latency": trend(latency), "calls under way": trend(points[1:last])}


def _signs(report: Mapping[str, Any], served: float | None, server_busy: float | None) -> Signs:
    data = next(iter(report["scenarios"].values()), None)
    if data is None:
        return Signs(0.0, 0.0, 0.0, served, server_busy)
    attempts = max(1, data["attempts"])
    refused = sum(row["attempts"] for row in data["failures"] if row["status"] == _QUOTA_STATUS)
    failed = sum(row["attempts"] for row in data["failures"]) - refused
    latency = data["milliseconds"].get("latency", {"p50": 0.0})["p50"] / 1e3
    return Signs(
        busy=max(report["generators"].values(), default=0.0),
        late=data["late"]["p99"] / 1e3 if data["late"] else 0.0,
        # An open load counts from the intended moment; what the generator itself was late is not the service's.
        latency=max(0.0, latency - (data["late"]["p50"] / 1e3 if data["late"] else 0.0)),
        served=served,
        server_busy=server_busy,
        refused=refused / attempts,
        failed=failed / attempts,
    )


def _section(search: Search, steps: list[dict[str, Any]], signs: list[Signs]) -> dict[str, Any]:
    held = [index for index, step in enumerate(steps) if step["ok"]]
    lowest = min(
        (index for index, step in enumerate(steps) if not step["ok"]), key=lambda i: steps[i]["rate"], default=None
    )
    easiest = min(held, key=lambda index: steps[index]["rate"], default=None)
    limit, why = (
        limited_by(signs[lowest], None if easiest is None else signs[easiest])
        if lowest is not None
        else (None, "nothing did up to the highest rate that was tried")
    )
    section = {
        "steps": [{**step, "signs": one._asdict()} for step, one in zip(steps, signs, strict=True)],
        "ceiling_rate": search.highest,
        "fails_at": search.lowest,
        "limited_by": limit,
        "why": why,
    }
    return {"lines": list(ceiling_lines(section)), **section}


class Probe:
    """Looks at a mock while a step runs: how long it took itself, and what of a core it used.

    Args:
        control: of the mock.
        port: where it listens, on this machine.
    """

    def __init__(self, control: Control, port: int | None) -> None:
        self._control = control
        self._pid = None if port is None else listens(port)
        self._after = 0
        self._began: tuple[float, float | None] = (0.0, None)

    def begin(self) -> None:
        """A step begins."""
        self._after = max((seen.number for seen in self._entries(limit=1)), default=0)
        self._began = time.monotonic(), cpu_seconds(self._pid)

    def end(self) -> tuple[float | None, float | None]:
        """A step has ended: the median of the seconds that the mock took for an answer, and the share of a core.

        None for each that cannot be known.
        """
        began, before = self._began
        after, elapsed = cpu_seconds(self._pid), time.monotonic() - began
        busy = None if before is None or after is None or elapsed <= 0 else (after - before) / elapsed
        took = [
            seen.duration
            for seen in self._entries(limit=PAGE)
            if seen.number > self._after and seen.duration is not None and not seen.token_fetch
        ]
        return (median(took) if took else None), busy

    def _entries(self, limit: int) -> list[Seen]:
        with suppress(ControlFailed):
            return self._control.last(limit)
        return []
