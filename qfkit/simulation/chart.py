"""The chart, as SVG written by hand: no library to install, no network, the same bytes for the same figures."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from html import escape
from typing import Any, Final

from qfkit.simulation.compare import Comparison
from qfkit.simulation.measures import Outcome

_WIDTH: Final = 1040
_LEFT, _RIGHT, _ROW = 270, 110, 46
_INK, _GRID, _ARRIVALS, _ANSWERS, _FAULT = "#333", "#e3e8eb", "#b8c4cc", "#0b6e99", "#fbe3e0"
#: Characters of a label that have room.
_LONGEST: Final = 36
#: Told apart also by people who see colours differently (Okabe and Ito, 2008); after the eighth they come dashed.
_COLOURS: Final = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#000000", "#888888")
_CURVE: Final = 260
#: Seconds over which a rate is taken at least: of fewer, one attempt alone would be a high one.
_LEAST_STEP: Final = 0.05


def draw(comparison: Comparison) -> str:
    """What arrived and what was answered over time, a row for each policy; and how soon calls were answered."""
    parts = [*_rows(comparison)]
    top = 70.0 + _ROW * len(comparison.outcomes)
    parts += _completions(comparison.outcomes, top + 40)
    height = top + 40 + _CURVE + 60
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height:.0f}" font-family="sans-serif" '
        f'font-size="12" fill="{_INK}">'
    )
    return "\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', *parts, "</svg>"]) + "\n"


def _rows(comparison: Comparison) -> Iterator[str]:
    outcomes, scenario = comparison.outcomes, comparison.scenario
    end = max(outcome.finished for outcome in outcomes)
    # Long tails would squeeze what matters to the left edge: show the time in which all but one attempt in 200 came.
    shown = max(_LEAST_STEP, min(end, max(_bulk(outcome.arrivals) for outcome in outcomes) * 1.05))
    # Steps of two pixels: narrower ones would be drawn over each other.
    step = max(_LEAST_STEP, shown / ((_WIDTH - _LEFT - _RIGHT) / 2))
    most = max(rate for it in outcomes for *_, rate in _rates(it.arrivals, step))
    bottom = 40.0 + _ROW * len(outcomes)

    def x(moment: float) -> float:
        return _LEFT + (_WIDTH - _LEFT - _RIGHT) * min(1.0, moment / shown)

    def height(rate: float) -> float:
        return (_ROW - 8.0) * math.log1p(rate) / math.log1p(most)

    yield _text(20, 22, "A second, over time (heights are logarithmic)", bold=True)
    for at, (colour, words) in enumerate(((_ARRIVALS, "attempts that arrive"), (_ANSWERS, "answers"))):
        yield f'<rect x="{_LEFT + 100 + at * 170}" y="12" width="12" height="12" fill="{colour}"/>'
        yield _text(_LEFT + 118 + at * 170, 22, words)
    if scenario.outage:
        left, right = x(scenario.outage_at), x(scenario.outage_end)
        yield (
            f'<rect x="{left:.1f}" y="36" width="{right - left:.1f}" height="{bottom - 36:.1f}" fill="{_FAULT}">'
            "<title>the outage</title></rect>"
        )
        yield _text(_LEFT + 360, 22, "shaded: the outage")
    for at, outcome in enumerate(outcomes):
        base = 40.0 + _ROW * (at + 1)
        best = outcome.label == comparison.advice.label
        yield _text(_LEFT - 10, base - 14, _short(outcome.label), anchor="end", bold=best)
        yield f'<path d="M{_LEFT} {base:.1f}H{_WIDTH - _RIGHT}" stroke="{_GRID}"/>'
        for curve, colour in ((outcome.arrivals, _ARRIVALS), (outcome.answers, _ANSWERS)):
            steps = [(x(end), height(rate)) for _, end, rate in _rates(curve, step)]
            yield _area([(right, base - up) for right, up in steps], base, colour)
        yield _text(_WIDTH - _RIGHT + 8, base - 14, f"{outcome.share:.0%} answered")
    for moment in _round(shown):
        yield _text(x(moment), bottom + 16, f"{moment:g} s", anchor="middle")


def _rates(curve: Mapping[str, Any], shortest: float) -> list[tuple[float, float, float]]:
    """Beginning and end of each step, and how many a second; no step is shorter than ``shortest`` seconds."""
    width, counts = curve["width"], curve["counts"]
    together = max(1, math.ceil(shortest / width))
    step = together * width
    return [
        (at * width, at * width + step, sum(counts[at : at + together]) / step)
        for at in range(0, len(counts), together)
    ]


def _bulk(curve: Mapping[str, Any]) -> float:
    """Until when all but one in 200 had come."""
    counts, total, seen = curve["counts"], sum(curve["counts"]), 0
    for at, count in enumerate(counts):
        seen += count
        if seen >= total * 0.995:
            return float((at + 1) * curve["width"])
    return float(len(counts) * curve["width"])


def _area(points: Sequence[tuple[float, float]], base: float, colour: str) -> str:
    """Steps from each point to the next one's place, down to ``base`` on both sides."""
    steps = "".join(f"V{y:.1f}H{x:.1f}" for x, y in points)
    return f'<path d="M{_LEFT} {base:.1f}{steps}V{base:.1f}Z" fill="{colour}" fill-opacity="0.8"/>'


def _round(end: float) -> list[float]:
    """Round numbers from 0 to ``end``, ten at most."""
    power = 10.0 ** math.floor(math.log10(end / 10))
    step = next(power * digit for digit in (1, 2, 5, 10) if power * digit * 10 >= end)
    return [round(step * at, 9) for at in range(int(end / step + 1e-9) + 1)]


def _completions(outcomes: Sequence[Outcome], top: float) -> Iterator[str]:
    yield _text(20, top - 14, "Calls answered, by the time since they began (logarithmic)", bold=True)
    times = [time for outcome in outcomes for time in outcome.completions if time > 0]
    low, high = (min(times), max(times)) if times else (0.1, 1.0)
    low, high = math.log10(low * 0.9), math.log10(high * 1.1)
    left, right, base = 60.0, float(_WIDTH - 330), top + _CURVE

    def place(time: float, share: float) -> str:
        position = (math.log10(max(time, 1e-9)) - low) / (high - low)
        return f"{left + (right - left) * min(1.0, max(0.0, position)):.1f},{base - _CURVE * share:.1f}"

    for step in range(5):
        y = base - _CURVE * step / 4
        yield f'<path d="M{left} {y:.1f}H{right}" stroke="{_GRID}"/>'
        yield _text(left - 6, y + 4, f"{step * 25} %", anchor="end")
    for step in range(6):
        time = 10 ** (low + (high - low) * step / 5)
        yield _text(left + (right - left) * step / 5, base + 18, f"{time:.2g} s", anchor="middle")
    for at, outcome in enumerate(outcomes):
        colour = _COLOURS[at % len(_COLOURS)]
        dashes = "" if at < len(_COLOURS) else ' stroke-dasharray="5 3"'
        points = _points(outcome, 10**high)
        line = " ".join(place(time, share) for time, share in points)
        yield f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="1.8"{dashes}/>'
        y = top + 10 + at * 18
        yield f'<path d="M{right + 16} {y:.1f}h22" stroke="{colour}" stroke-width="3"{dashes}/>'
        yield _text(right + 44, y + 4, _short(outcome.label))


def _points(outcome: Outcome, last: float) -> Iterable[tuple[float, float]]:
    share = outcome.answered / outcome.calls
    yield from ((time, share * (at + 1) / 100) for at, time in enumerate(outcome.completions))
    if outcome.completions:
        yield last, share


def _short(label: str) -> str:
    return label if len(label) <= _LONGEST else f"{label[: _LONGEST - 1]}…"


def _text(x: float, y: float, words: str, *, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight}>{escape(words)}</text>'
