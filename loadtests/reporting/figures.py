"""Which charts a report has, drawn from its data. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import accumulate
from math import ceil, exp, log
from typing import Any

from loadtests.reporting import axes, charts, words
from loadtests.reporting.charts import Band, Bar, Chart, Head, Level, Row, Series, Span
from loadtests.reporting.words import Data

#: Bars of a distribution, about; none is narrower than this share of its values, for cells are 0.8 % wide.
_BARS, _NARROWEST = 60, 0.02


def of_scenario(key: str, data: Data, report: Data) -> Iterator[Chart]:
    """The charts of one scenario, in the order of the page. ``key`` makes their ids unique."""
    over = _Over(data, report)
    for number, draw in enumerate(_CHARTS):
        chart = draw(f"{key}-{number}", over)
        if chart is not None:
            yield chart


class _Over:
    """A scenario's data, and what all its charts share: the axis of time and the bands on it."""

    def __init__(self, data: Data, report: Data) -> None:
        self.data = data
        self.report = report
        self.width = data.get("timeline_width") or 1
        self.rows = _dense(data.get("timeline") or [], self.width)
        last = self.rows[-1]["second"] + self.width if self.rows else 1.0
        self.time = axes.within(0.0, last, shown=lambda second: f"{axes.number(round(second, 3))} s")
        window, start = (report.get("outage") or {}).get("window"), data.get("timeline_start")
        self.bands = [Band(window[0] - start, window[1] - start, "outage")] if window and start is not None else []

    def series(self, name: str, member: str, colour: int, *, dashed: bool = False, rate: bool = False) -> Series:
        """A member of the timeline as a line."""
        by = self.width if rate else 1
        # A cell stands for all of its time: its point is in the middle.
        points = [
            (row["second"] + self.width / 2, None if (value := row.get(member)) is None else value / by)
            for row in self.rows
        ]
        return Series(name, points, colour, dashed)


def _dense(timeline: Sequence[Data], width: int) -> list[dict[str, Any]]:
    """The timeline with the stretches in which nothing happened: no calls, and no durations."""
    known = {row["second"]: dict(row) for row in timeline}
    if not known:
        return []
    nothing = {name: 0 for name, value in timeline[0].items() if isinstance(value, int)}
    return [known.get(second, nothing | {"second": second}) for second in range(0, max(known) + 1, width)]


def top_of(series: Sequence[Series]) -> float:
    """The highest value; 0 when there is none."""
    return max((value for one in series for _, value in one.points if value is not None), default=0.0)


def in_ms(value: float) -> str:
    """Milliseconds for people."""
    return f"{words.figure(value)} ms"


def _over_time(member: str, title: str) -> Callable[[str, _Over], Chart | None]:
    def draw(key: str, over: _Over) -> Chart | None:
        series = [over.series("p50", f"{member}_p50", 0), over.series("p95", f"{member}_p95", 1, dashed=True)]
        row = over.data["milliseconds"].get(member)
        if row is None or not top_of(series):
            return None
        seen = f"Median and 95th percentile of {title} by time. Over the whole run they are {in_ms(row['p50'])} and"
        limits = [
            Level(result["limit"], result["slo"])
            for result in over.report.get("slos") or ()
            if result["measure"] == member and result["limit"] is not None and result["limit"] < top_of(series) * 3
        ]
        top = max([top_of(series), *(level.value for level in limits)])
        return charts.lines(
            Head(
                key,
                f"{title} over time",
                f"{seen} {in_ms(row['p95'])}.",
            ),
            series,
            over.time,
            axes.linear(0, top * 1.05),
            names=("time since the first call", "milliseconds"),
            bands=over.bands,
            levels=limits,
            shown=in_ms,
        )

    return draw


def _load_over_time(key: str, over: _Over) -> Chart | None:
    planned = any(row.get("planned") for row in over.rows)
    series = [
        over.series("offered (intended)", "planned", 3, dashed=True, rate=True)
        if planned
        else over.series("offered (begun)", "sent", 3, dashed=True, rate=True),
        over.series("attempts", "attempts", 1, rate=True),
        over.series("admitted", "admitted", 2, rate=True),
        over.series("goodput", "good", 0, rate=True),
    ]
    if not over.rows:
        return None
    cell = "the second" if over.width == 1 else f"stretches of {over.width} s"
    levels = quota_level(over.report.get("backoff") or {})
    top = max([top_of(series), *(level.value for level in levels)])
    return charts.lines(
        Head(
            key,
            "Offered, admitted and goodput over time",
            f"Calls offered, attempts, attempts answered well and good calls, each a second. The highest is {top:.0f}.",
        ),
        series,
        over.time,
        axes.linear(0, top * 1.05),
        names=("time since the first call", "a second"),
        bands=over.bands,
        levels=levels,
        shown=lambda value: f"{value:.3g}/s",
        note=f"Counted by {cell}. Goodput stands where calls ended, all else where they began.",
    )


def quota_level(backoff: Data) -> list[Level]:
    """The quota that a backoff was tried against, where it is a rate."""
    rate = backoff.get("quota_rate")
    return [Level(rate, f"quota {rate:g}/s")] if rate else []


def _percentiles(key: str, over: _Over) -> Chart | None:
    found = {name: over.data["histograms"].get(name) for name in ("latency", "e2e", "ttft", "itl")}
    if not over.data["histograms"].get("ttft"):
        found = {"latency": found["latency"]}
    cells = {name: value for name, value in found.items() if value and name != "e2e"}
    if not cells:
        return None
    most = max(sum(count for *_, count in value) for value in cells.values())
    series = [
        Series(words.TITLES[name], _curve(value), colour, dashed=colour == 1)
        for colour, (name, value) in enumerate(cells.items())
    ]
    return charts.lines(
        Head(
            key,
            "Percentiles",
            "Each duration by the share of all that were no longer; each nine of the share is as wide as the last.",
        ),
        series,
        axes.percentiles(1 - 1 / max(most, 10)),
        axes.linear(0, top_of(series) * 1.02),
        names=("share of calls (of gaps, for ITL) that took no longer", "milliseconds"),
        shown=in_ms,
        note="The rightmost point of each line is the longest of all.",
    )


def _curve(cells: Sequence[Sequence[int]]) -> list[tuple[float, float | None]]:
    """Share of all -> milliseconds that it did not exceed."""
    total = sum(count for *_, count in cells)
    passed = accumulate(count for *_, count in cells)
    curve = [(sofar / total, high / 1000) for sofar, (_, high, _) in zip(passed, cells, strict=True)]
    # The last point is the maximum: 1 - 1/n, where its one value of n stands.
    points: list[tuple[float, float | None]] = [(0.0, cells[0][0] / 1000)]
    points += [(min(share, 1 - 1 / max(total, 10)), value) for share, value in curve]
    return points


def _distribution(member: str, title: str, of: str, *, unless: str = "") -> Callable[[str, _Over], Chart | None]:
    def draw(key: str, over: _Over) -> Chart | None:
        histograms = over.data.get("histograms") or {}
        cells = histograms.get(member)
        if not cells or (unless and histograms.get(unless)):
            return None
        row = over.data["milliseconds"][member]
        bars = _bars(cells)
        tallest = max(bar.height for bar in bars)
        x = axes.logarithmic(bars[0].low, bars[-1].high, shown=lambda value: axes.number(float(f"{value:.4g}")))
        return charts.histogram(
            Head(
                key,
                title,
                f"How many {of} took how long: p50 {in_ms(row['p50'])}, p99 {in_ms(row['p99'])}.",
            ),
            bars,
            x,
            axes.linear(0, tallest),
            names=("milliseconds, logarithmic", of),
            marks=[Level(max(row[name], x.low), name) for name in ("p50", "p95", "p99")],
        )

    return draw


def _bars(cells: Sequence[Sequence[int]]) -> list[Bar]:
    """Cells put together into bars of equal width on a logarithmic axis, in milliseconds."""
    low = log(max(cells[0][0], 1) / 1000)  # what took no time stands with what took a microsecond
    high = log(max(cells[-1][1] + 1, 2) / 1000)
    values = sum(count for *_, count in cells)
    count = max(1, min(_BARS, ceil((high - low) / _NARROWEST), max(12, round(3 * values**0.5))))
    width = (high - low) / count
    heights = [0] * count
    for start, end, held in cells:
        middle = log(max((start + end + 1) / 2, 1) / 1000)
        heights[min(int((middle - low) / width), count - 1)] += held
    edges = [exp(low + width * index) for index in range(count + 1)]
    return [
        Bar(left, right, height, f"{in_ms(left)} to {in_ms(right)}: {height}")
        for left, right, height in zip(edges, edges[1:], heights, strict=False)
    ]


def _waits(key: str, over: _Over) -> Chart | None:
    if any((over.report.get(name) or {}).get("waits") for name in words.SECTIONS):
        return None  # there they stand beside what was declared
    return waits_chart(key, over.data.get("waits") or {})


def waits_chart(key: str, waits: Mapping[str, Data]) -> Chart | None:
    """What was slept before each attempt, beside what was declared for it.

    Args:
        key: makes its ids unique.
        waits: number of the attempt -> count and quantiles in milliseconds; where a schedule was declared, its least
            and its most as ``declared``.
    """
    if not any(row["count"] for row in waits.values()):
        return None
    data = [_span(number, row) for number, row in waits.items() if row["count"]]
    top = max([span.most for span in data] + [span.declared[1] for span in data if span.declared])
    against = "; shaded: what the declared schedule allows" if any(span.declared for span in data) else ""
    return charts.spans(
        Head(
            key,
            "Waits before each attempt",
            "What was slept before each attempt after the first: least to p95, the median, and the most.",
        ),
        data,
        axes.linear(0, top * 1.05),
        name="milliseconds",
        note=f"Bar: least to p95; mark: median; line: to the longest{against}.",
    )


def _span(number: str, row: Data) -> Span:
    told = ", ".join(f"{name} {in_ms(row[name])}" for name in ("min", "p50", "p95", "max"))
    declared = row.get("declared")
    allowed = f"; declared {in_ms(declared[0])} to {in_ms(declared[1])}" if declared else ""
    return Span(
        f"before attempt {number}",
        row["min"],
        row["p50"],
        row["p95"],
        row["max"],
        (declared[0], declared[1]) if declared else None,
        f"before attempt {number}: {row['count']} waits, {told}{allowed}",
    )


def _failures(key: str, over: _Over) -> Chart | None:
    failures = sorted(over.data["failures"], key=lambda row: -row["attempts"])[:20]
    if not failures:
        return None
    data = [Row(" · ".join(_named(row)), (row["calls"], row["attempts"])) for row in failures]
    top = max(value for row in data for value in row.values)
    return charts.rows(
        Head(
            key,
            "Errors by status, code and phase",
            f"{len(failures)} kinds of failures; the most frequent is {data[0].name}.",
        ),
        ("calls", "attempts"),
        data,
        axes.linear(0, top),
    )


def _named(row: Mapping[str, Any]) -> Iterator[str]:
    yield "no answer" if row["status"] is None else f"HTTP {row['status']}"
    if row["code"] is not None:
        yield f"code {row['code']}"
    if row.get("phase"):
        yield row["phase"]
    if row["code"] is None and row["what"]:
        yield row["what"]


_CHARTS: tuple[Callable[[str, _Over], Chart | None], ...] = (
    _load_over_time,
    _over_time("ttft", "Time to first token"),
    _over_time("latency", "Latency"),
    _percentiles,
    _distribution("ttft", "Distribution of the time to first token", "calls"),
    _distribution("itl", "Distribution of the gaps between tokens", "gaps"),
    _distribution("latency", "Distribution of the latency", "calls", unless="ttft"),
    _failures,
    _waits,
)
