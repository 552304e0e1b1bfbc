"""The charts of what only some scenarios have: backoff, outage, ceiling, soak. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from loadtests.reporting import axes, charts
from loadtests.reporting.charts import Band, Chart, Head, Level, Row, Series
from loadtests.reporting.figures import in_ms, quota_level, top_of, waits_chart
from loadtests.reporting.words import Data


def of_section(name: str, section: Data) -> Iterator[Chart]:
    """The charts of one section of the report, in the order of the page."""
    for number, draw in enumerate(_CHARTS.get(name, ())):
        chart = draw(f"s-{name}-{number}", section)
        if chart is not None:
            yield chart


def _rate(value: float) -> str:
    return f"{value:.3g}/s"


def _second(value: float) -> str:
    return f"{axes.number(round(value, 3))} s"


def _against_quota(key: str, backoff: Data) -> Chart | None:
    rows = backoff.get("timeline")
    if not rows:
        return None
    members = (("offered calls", "offered", 3), ("attempts", "attempts", 1), ("admitted", "admitted", 2))
    series = [
        Series(name, [(row["second"], row[member]) for row in rows], colour, dashed=member == "offered")
        for name, member, colour in members
    ]
    levels = quota_level(backoff)
    top = max([top_of(series), *(level.value for level in levels)])
    return charts.lines(
        Head(
            key,
            "Offered, attempts and admitted, as the server saw them",
            f"Calls offered, attempts and admitted attempts in each second; the highest is {top:.3g}.",
        ),
        series,
        axes.within(0, rows[-1]["second"] + 1, shown=_second),
        axes.linear(0, top * 1.05),
        names=("time since the first call", "a second"),
        levels=levels,
        shown=_rate,
    )


def _waits(key: str, section: Data) -> Chart | None:
    return waits_chart(key, section.get("waits") or {})


def _by_attempt(key: str, backoff: Data) -> Chart | None:
    found = backoff.get("by_attempt")
    if not found:
        return None
    data = [Row(f"attempt {row['attempt']}", (row["sent"], row["admitted"])) for row in found[:20]]
    top = max(value for row in data for value in row.values)
    last = data[-1]
    return charts.rows(
        Head(
            key,
            "Attempts by number",
            f"How many first, second, ... attempts were sent and admitted; {last.values[0]:g} of {last.name}.",
        ),
        ("sent", "admitted"),
        data,
        axes.linear(0, top),
    )


def _recovery(key: str, outage: Data) -> Chart | None:
    """Goodput and attempts before, in and after an outage; second 0 is its beginning."""
    curve = outage.get("curve")
    if not curve:
        return None
    series = [
        Series("attempts", [(row["t"], row["attempts"]) for row in curve], 1, dashed=True),
        Series("goodput", [(row["t"], row["goodput"]) for row in curve], 0),
    ]
    end, back = outage["seconds"], outage.get("recovery_seconds")
    bands = [Band(0, end, "outage")]
    if back:
        bands.append(Band(end, end + back, f"recovery {back:.3g} s"))
    baseline = outage.get("baseline_goodput") or 0.0
    levels = [Level(baseline * 0.95, "95 % of the goodput before")] if baseline else []
    top = max(top_of(series), baseline)
    said = "which never came back to 95 % of it" if back is None else f"back at 95 % of it {back:.3g} s after its end"
    return charts.lines(
        Head(
            key,
            "Recovery",
            f"Good calls and attempts around the outage: {baseline:.3g} good calls a second before it, {said}.",
        ),
        series,
        axes.within(curve[0]["t"], max(curve[-1]["t"], end), shown=_second),
        axes.linear(0, top * 1.05),
        names=("time since the outage began", "a second"),
        bands=bands,
        levels=levels,
        shown=_rate,
    )


def _ceiling(key: str, found: Data) -> Chart | None:
    """Which rates kept the SLOs."""
    steps = sorted((step for step in found.get("steps") or () if step.get("rate")), key=lambda step: step["rate"])
    measured = [(step["rate"], step.get("latency_p95")) for step in steps]
    known = [value for _, value in measured if value is not None]
    if len(known) < 2:
        return None
    rate = found.get("ceiling_rate")
    kept = f"up to {rate:.4g} calls a second kept the SLOs" if rate else "no rate kept the SLOs"
    return charts.lines(
        Head(key, "Latency by rate", f"The 95th percentile of latency at each rate that was tried; {kept}."),
        [Series("p95 of latency", measured)],
        axes.within(0, steps[-1]["rate"] * 1.02, shown=lambda value: f"{axes.number(round(value, 3))}/s"),
        axes.linear(0, max(known) * 1.05),
        names=("calls a second, offered", "milliseconds"),
        bands=[Band(0, rate, "kept the SLOs")] if rate else [],
        shown=in_ms,
    )


def _memory(key: str, soak: Data) -> Chart | None:
    """Memory of each process over a long run."""
    held: dict[str, list[tuple[float, float | None]]] = {
        name: [(at, value) for at, value in points] for name, points in (soak.get("memory") or {}).items()
    }
    held = {name: points for name, points in held.items() if len(points) > 1}
    values = [value for points in held.values() for _, value in points if value is not None]
    if not values:
        return None
    told = ", ".join(f"{name} from {points[0][1]:.4g} to {points[-1][1]:.4g}" for name, points in held.items())
    moments = [at for points in held.values() for at, _ in points]
    return charts.lines(
        Head(key, "Memory", f"Megabytes by time: {told}."),
        [Series(name, points) for name, points in held.items()],
        axes.within(min(moments), max(moments), shown=_second),
        axes.linear(0, max(values) * 1.05),
        names=("time", "MB"),
        shown=lambda value: f"{value:.4g} MB",
    )


_CHARTS: Mapping[str, tuple[Callable[[str, Data], Chart | None], ...]] = {
    "backoff": (_against_quota, _waits, _by_attempt),
    "outage": (_recovery, _waits),
    "ceiling": (_ceiling,),
    "soak": (_memory,),
}
