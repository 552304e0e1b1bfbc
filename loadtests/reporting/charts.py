"""Charts as SVG that stands in a page by itself: no script, no font, no address. Pure.

Every chart has a title and a description for those who do not see it, axes with their units, and a tooltip for each
moment or bar (the element ``title``, which browsers show themselves). Colours are classes (``s0`` to ``s5``) that the
page's style sheet fills in, for light and dark; series differ in their dashes, too.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from html import escape
from itertools import pairwise
from typing import NamedTuple

from loadtests.reporting.axes import Axis

WIDTH, HEIGHT = 580, 250
_LEFT, _RIGHT, _TOP, _BOTTOM = 58, 14, 14, 42
_INNER, _TALL = WIDTH - _LEFT - _RIGHT, HEIGHT - _TOP - _BOTTOM

#: Letters of a row's name that have room; the tooltip has all of them.
_NAME = 37

#: Places along the horizontal axis that can be pointed at, at most.
_HITS = 240


class Head(NamedTuple):
    """What a chart says of itself.

    Attributes:
        key: makes the ids of its elements unique in the page.
        title: what it shows.
        description: what there is to see, for those who do not.
    """

    key: str
    title: str
    description: str


class Series(NamedTuple):
    """One line of a chart.

    Attributes:
        name: for the legend and the tooltips.
        points: pairs of x and y in ascending order of x; a y of None is a gap.
        colour: number of its class.
        dashed: drawn with dashes.
    """

    name: str
    points: Sequence[tuple[float, float | None]]
    colour: int = 0
    dashed: bool = False


class Band(NamedTuple):
    """A stretch of the horizontal axis that is marked, such as an outage."""

    low: float
    high: float
    name: str


class Level(NamedTuple):
    """A line across, such as a limit."""

    value: float
    name: str


class Chart(NamedTuple):
    """A drawn chart.

    Attributes:
        title: what it shows.
        svg: the drawing.
        legend: name, colour and dashes of each series.
        note: a sentence for below it.
    """

    title: str
    svg: str
    legend: Sequence[tuple[str, int, bool]] = ()
    note: str = ""


def lines(
    head: Head,
    series: Sequence[Series],
    x: Axis,
    y: Axis,
    *,
    names: tuple[str, str],
    bands: Sequence[Band] = (),
    levels: Sequence[Level] = (),
    shown: Callable[[float], str] | None = None,
    note: str = "",
) -> Chart:
    """Lines over a common axis.

    Args:
        head: what it says of itself.
        series: at least one.
        x: the axis along the bottom.
        y: the axis upwards.
        names: of the axes, with their units.
        bands: stretches to mark.
        levels: lines across.
        shown: how a y value is written in tooltips.
        note: a sentence for below it.
    """
    parts = [*_bands(bands, x), *_grid(x, y, names)]
    parts += [part for one in series for part in _path(one, x, y)]
    parts += _levels(levels, y)
    parts += _hits(series, x, shown or y.shown)
    legend = [(one.name, one.colour, one.dashed) for one in series]
    return Chart(head.title, _svg(head, parts), legend, note)


class Bar(NamedTuple):
    """One bar over a stretch of the horizontal axis; ``name`` is its tooltip."""

    low: float
    high: float
    height: float
    name: str


def histogram(
    head: Head,
    bars: Sequence[Bar],
    x: Axis,
    y: Axis,
    *,
    names: tuple[str, str],
    marks: Sequence[Level] = (),
    note: str = "",
) -> Chart:
    """Bars side by side, with marks (percentiles, limits) as lines from bottom to top."""
    parts = [*_grid(x, y, names)]
    for bar in bars:
        left, right, top = _x(x, bar.low), _x(x, bar.high), _y(y, bar.height)
        parts.append(
            f'<rect class="bar s0" x="{left:.1f}" y="{top:.1f}" width="{max(right - left - 0.5, 0.5):.1f}" '
            f'height="{_TOP + _TALL - top:.1f}"><title>{escape(bar.name)}</title></rect>'
        )
    edge = -100.0
    for mark in sorted(marks):
        at = _x(x, mark.value)
        parts.append(f'<line class="mark" x1="{at:.1f}" y1="{_TOP}" x2="{at:.1f}" y2="{_TOP + _TALL}"/>')
        if at - edge > 34:  # else the names would lie over each other: the table has the numbers
            anchor, place = ("end", at - 3) if at > WIDTH - _RIGHT - 30 else ("start", at + 3)
            parts.append(
                f'<text class="name" x="{place:.1f}" y="{_TOP + 9}" text-anchor="{anchor}">{escape(mark.name)}</text>'
            )
            edge = at
    return Chart(head.title, _svg(head, parts), (), note)


class Row(NamedTuple):
    """One row of horizontal bars: its name, and a value for each series."""

    name: str
    values: Sequence[float]


def rows(head: Head, names: Sequence[str], data: Sequence[Row], x: Axis) -> Chart:
    """Horizontal bars, one row under the other; one colour a series.

    Args:
        head: what it says of itself.
        names: of the series.
        data: the rows.
        x: from 0.
    """
    each, gap, left = 15, 12, 236
    tall = len(data) * (each * len(names) + gap)
    parts = []
    for index, row in enumerate(data):
        top = _TOP + index * (each * len(names) + gap)
        label = row.name if len(row.name) <= _NAME else f"{row.name[: _NAME - 1]}…"
        middle = top + each * len(names) / 2 + 4
        parts.append(f'<text class="label" x="{left - 8}" y="{middle:.1f}" text-anchor="end">{escape(label)}</text>')
        for place, (name, value) in enumerate(zip(names, row.values, strict=True)):
            width = x.at(value) * (WIDTH - left - 80)
            told = f"{row.name}: {x.shown(value)} {name}"
            parts.append(
                f'<rect class="bar s{place}" x="{left}" y="{top + place * each}" width="{max(width, 1):.1f}" '
                f'height="{each - 2}"><title>{escape(told)}</title></rect>'
                f'<text class="label" x="{left + width + 5:.1f}" y="{top + place * each + 10}">{x.shown(value)}</text>'
            )
    legend = [(name, index, False) for index, name in enumerate(names)]
    return Chart(head.title, _svg(head, parts, height=tall + _TOP * 2), legend)


class Span(NamedTuple):
    """One column of `spans`: measured quantiles, and what was declared for them.

    Attributes:
        name: for the axis.
        least, middle, high, most: minimum, median, p95 and maximum, in the axis' unit.
        declared: bounds, None where there are none.
        told: the tooltip.
    """

    name: str
    least: float
    middle: float
    high: float
    most: float
    declared: tuple[float, float] | None
    told: str


def spans(head: Head, data: Sequence[Span], y: Axis, *, name: str, note: str = "") -> Chart:
    """Columns with a bar from the least to the p95, a line to the most, a dot at the median, over what was declared."""
    parts = [*_grid(None, y, ("", name))]
    each = _INNER / max(len(data), 1)
    for index, span in enumerate(data):
        middle = _LEFT + each * (index + 0.5)
        if span.declared is not None:
            high, low = _y(y, span.declared[1]), _y(y, span.declared[0])
            tall = max(low - high, 2)
            parts.append(
                f'<rect class="declared" x="{middle - 34:.1f}" y="{high:.1f}" width="68" height="{tall:.1f}"/>'
            )
        tops = {part: _y(y, getattr(span, part)) for part in ("least", "middle", "high", "most")}
        parts.append(
            f'<g><title>{escape(span.told)}</title><line class="whisker" x1="{middle:.1f}" y1="{tops["most"]:.1f}" '
            f'x2="{middle:.1f}" y2="{tops["least"]:.1f}"/><rect class="bar s0" x="{middle - 16:.1f}" '
            f'y="{tops["high"]:.1f}" width="32" height="{max(tops["least"] - tops["high"], 1):.1f}"/>'
            f'<line class="median" x1="{middle - 16:.1f}" y1="{tops["middle"]:.1f}" x2="{middle + 16:.1f}" '
            f'y2="{tops["middle"]:.1f}"/></g>'
            f'<text class="tick" x="{middle:.1f}" y="{_TOP + _TALL + 16}" text-anchor="middle">'
            f"{escape(span.name)}</text>"
        )
    return Chart(head.title, _svg(head, parts), (), note)


# Pieces


def _x(axis: Axis, value: float) -> float:
    return _LEFT + min(max(axis.at(value), 0.0), 1.0) * _INNER


def _y(axis: Axis, value: float) -> float:
    return _TOP + (1 - min(max(axis.at(value), 0.0), 1.0)) * _TALL


def _svg(head: Head, parts: Sequence[str], height: float = HEIGHT) -> str:
    key = head.key
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-labelledby="{key}-t {key}-d">'
        f'<title id="{key}-t">{escape(head.title)}</title><desc id="{key}-d">{escape(head.description)}</desc>'
        f"{''.join(parts)}</svg>"
    )


def _grid(x: Axis | None, y: Axis, names: tuple[str, str]) -> Iterator[str]:
    bottom = _TOP + _TALL
    for tick in y.ticks:
        at = _y(y, tick)
        yield f'<line class="grid" x1="{_LEFT}" y1="{at:.1f}" x2="{WIDTH - _RIGHT}" y2="{at:.1f}"/>'
        yield f'<text class="tick" x="{_LEFT - 7}" y="{at + 4:.1f}" text-anchor="end">{escape(y.shown(tick))}</text>'
    for at, text in [(_x(x, tick), x.shown(tick)) for tick in x.ticks] if x is not None else ():
        yield f'<line class="tickmark" x1="{at:.1f}" y1="{bottom}" x2="{at:.1f}" y2="{bottom + 4}"/>'
        yield f'<text class="tick" x="{at:.1f}" y="{bottom + 16}" text-anchor="middle">{escape(text)}</text>'
    yield f'<line class="axis" x1="{_LEFT}" y1="{bottom}" x2="{WIDTH - _RIGHT}" y2="{bottom}"/>'
    centre, middle = _LEFT + _INNER / 2, _TOP + _TALL / 2
    yield (
        f'<text class="name" x="{centre:.0f}" y="{HEIGHT - 8}" text-anchor="middle">{escape(names[0])}</text>'
        f'<text class="name" x="13" y="{middle:.0f}" text-anchor="middle" '
        f'transform="rotate(-90 13 {middle:.0f})">{escape(names[1])}</text>'
    )


def _bands(bands: Sequence[Band], x: Axis) -> Iterator[str]:
    for band in bands:
        left, right = _x(x, band.low), _x(x, band.high)
        yield f'<rect class="band" x="{left:.1f}" y="{_TOP}" width="{max(right - left, 1):.1f}" height="{_TALL}"/>'
        yield f'<text class="name" x="{left + 4:.1f}" y="{_TOP + 11}">{escape(band.name)}</text>'


def _levels(levels: Sequence[Level], y: Axis) -> Iterator[str]:
    for level in levels:
        at = _y(y, level.value)
        yield f'<line class="mark" x1="{_LEFT}" y1="{at:.1f}" x2="{WIDTH - _RIGHT}" y2="{at:.1f}"/>'
        name = escape(level.name)
        yield f'<text class="name" x="{WIDTH - _RIGHT - 2}" y="{at - 4:.1f}" text-anchor="end">{name}</text>'


def _path(series: Series, x: Axis, y: Axis) -> Iterator[str]:
    dashed = " dashed" if series.dashed else ""
    for run in _runs(series.points):
        if len(run) == 1:
            at, value = run[0]
            yield f'<circle class="dot s{series.colour}" cx="{_x(x, at):.1f}" cy="{_y(y, value):.1f}" r="2"/>'
        else:
            points = " ".join(f"{_x(x, at):.1f},{_y(y, value):.1f}" for at, value in run)
            yield f'<polyline class="line s{series.colour}{dashed}" points="{points}"/>'


def _runs(points: Sequence[tuple[float, float | None]]) -> Iterator[list[tuple[float, float]]]:
    """Stretches without a gap."""
    run: list[tuple[float, float]] = []
    for at, value in points:
        if value is None:
            if run:
                yield run
            run = []
        else:
            run.append((at, value))
    if run:
        yield run


def _hits(series: Sequence[Series], x: Axis, shown: Callable[[float], str]) -> Iterator[str]:
    """Invisible columns that show the values of all series when pointed at."""
    moments = sorted({at for one in series for at, value in one.points if value is not None})
    moments = moments[:: -(-len(moments) // _HITS)] if moments else []
    values = [dict(one.points) for one in series]
    places = [_x(x, at) for at in moments]
    edges = [places[0] - 4, *((a + b) / 2 for a, b in pairwise(places)), places[-1] + 4] if places else []
    for at, (left, right) in zip(moments, pairwise(edges), strict=True):
        told = [
            f"{one.name}: {shown(value)}"
            for one, known in zip(series, values, strict=True)
            if (value := known.get(at)) is not None
        ]
        text = escape("\n".join([x.shown(at), *told]))
        yield (
            f'<rect class="hit" x="{left:.1f}" y="{_TOP}" width="{right - left:.1f}" height="{_TALL}">'
            f"<title>{text}</title></rect>"
        )
