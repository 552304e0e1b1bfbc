"""The plot, as SVG written by hand: no library to install, a few kilobytes, the same bytes for the same figures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

_WIDTH, _PANEL_HEIGHT, _BAR = 860, 190, 22
_LEFT, _RIGHT = 230, 120
_OURS, _OTHERS, _INK, _GRID = "#0b6e99", "#b8c4cc", "#333", "#e3e8eb"


def draw(findings: dict[str, dict[str, Any]]) -> str:
    """An SVG of what is there: bars of the two rates, then the growth curves side by side."""
    parts: list[str] = []
    top = 30.0
    for name, title in (("json", "Chat, JSON: answers a second"), ("sse", "Chat, SSE of 20 chunks: streams a second")):
        if rates := {who: found["rate"]["median"] for who, found in findings.get(name, {}).items()}:
            drawn, top = _bars(title, rates, top)
            parts += drawn
    curves = {
        f"µs a request, by {name}": [(int(size), point["microseconds"]) for size, point in points.items()]
        for name, points in findings.get("growth", {}).items()
        if points
    }
    if over := findings.get("memory", {}).get("over_requests"):
        curves["MB, by requests"] = [(int(count), size / 1e6) for count, size in over.items() if int(count)]
    if curves:
        width = (_WIDTH - 40) / len(curves)
        for number, (title, points) in enumerate(curves.items()):
            parts += _curve(title, points, 20 + number * width, top, width - 20)
        top += _PANEL_HEIGHT + 40
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {top:.0f}" font-family="sans-serif" '
        f'font-size="12" fill="{_INK}">'
    )
    return "\n".join([head, '<rect width="100%" height="100%" fill="#fff"/>', *parts, "</svg>"]) + "\n"


def _bars(title: str, rates: dict[str, float], top: float) -> tuple[list[str], float]:
    most = max(rates.values())
    parts = [_text(20, top, title, bold=True)]
    y = top + 12
    for name, rate in sorted(rates.items(), key=lambda item: -item[1]):
        length = (_WIDTH - _LEFT - _RIGHT) * rate / most
        colour = _OURS if name.startswith("qfkit") else _OTHERS
        parts.append(_text(_LEFT - 8, y + 14, name, anchor="end"))
        parts.append(f'<rect x="{_LEFT}" y="{y:.0f}" width="{length:.1f}" height="{_BAR - 5}" fill="{colour}"/>')
        parts.append(_text(_LEFT + length + 6, y + 14, f"{rate:,.0f}"))
        y += _BAR
    return parts, y + 34


def _curve(title: str, points: Sequence[tuple[int, float]], left: float, top: float, width: float) -> list[str]:
    base, height = top + _PANEL_HEIGHT, _PANEL_HEIGHT - 30.0
    lows, highs = math.log10(points[0][0]), math.log10(points[-1][0])
    most = max(value for _, value in points) * 1.15 or 1.0

    def place(size: int, value: float) -> tuple[float, float]:
        share = (math.log10(size) - lows) / (highs - lows) if highs > lows else 0.5
        return left + 30 + (width - 50) * share, base - height * value / most

    parts = [_text(left, top, title, bold=True)]
    for step in range(3):
        value = most * step / 2
        y = place(points[0][0], value)[1]
        parts.append(f'<path d="M{left + 26:.1f} {y:.1f}H{left + width - 12:.1f}" stroke="{_GRID}"/>')
        parts.append(_text(left + 22, y + 4, f"{value:.0f}", anchor="end"))
    places = [place(*point) for point in points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in places)
    parts.append(f'<polyline points="{line}" fill="none" stroke="{_OURS}" stroke-width="2"/>')
    parts += [f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3" fill="{_OURS}"/>' for x, y in places]
    for index in (0, len(points) - 1):
        parts.append(_text(places[index][0], base + 16, _short(points[index][0]), anchor="middle"))
    return parts


def _short(number: int) -> str:
    for size, letter in ((1_000_000, "M"), (1000, "k")):
        if number >= size:
            return f"{number / size:g}{letter}"
    return str(number)


def _text(x: float, y: float, words: str, *, anchor: str = "start", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{weight}>{escape(words)}</text>'
