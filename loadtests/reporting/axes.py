"""Where values stand in a chart, and at which of them an axis is marked. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import ceil, floor, inf, log10
from typing import NamedTuple

#: Share of an axis that a number takes.
_APART = 0.075


class Axis(NamedTuple):
    """One axis of a chart.

    Attributes:
        low, high: the values at its ends; ``high`` is above ``low``.
        ticks: values that are marked, in ascending order.
        at: value -> its place, from 0 at ``low`` to 1 at ``high``.
        shown: value -> how it is written.
    """

    low: float
    high: float
    ticks: list[float]
    at: Callable[[float], float]
    shown: Callable[[float], str]


def number(value: float) -> str:
    """A tick's value as short as it is exact: 0.5, 20, 1,500."""
    return f"{value:,.10g}" if abs(value) < 1e6 else f"{value:.3g}"


def linear(low: float, high: float, count: int = 5, shown: Callable[[float], str] = number) -> Axis:
    """An axis of equal steps whose ends are ticks.

    Args:
        low: must be on it.
        high: must be on it.
        count: ticks, about.
        shown: how they are written.
    """
    if high <= low:
        high = low + (abs(low) or 1.0)
    step = _step((high - low) / count)
    first, last = floor(low / step + 1e-9), ceil(high / step - 1e-9)
    ticks = [round(index * step, 12) for index in range(first, last + 1)]
    return _axis(ticks[0], ticks[-1], ticks, lambda value: value, shown)


def within(low: float, high: float, count: int = 8, shown: Callable[[float], str] = number) -> Axis:
    """An axis that ends where the values do, for time."""
    if high <= low:
        high = low + 1.0
    step = _step((high - low) / count)
    ticks = [round(index * step, 12) for index in range(ceil(low / step - 1e-9), floor(high / step + 1e-9) + 1)]
    return _axis(low, high, ticks, lambda value: value, shown)


def logarithmic(low: float, high: float, shown: Callable[[float], str] = number) -> Axis:
    """An axis on which equal factors are equally far apart; ``low`` is above 0."""
    high = max(high, low * 1.05)
    decades = range(floor(log10(low)), ceil(log10(high)) + 1)
    ticks: list[float] = []
    for steps in ((1,), (1, 2, 5), range(1, 10)):
        ticks = [step * 10.0**decade for decade in decades for step in steps if low <= step * 10.0**decade <= high]
        if len(ticks) >= 4:
            break
    if len(ticks) < 4:  # within less than a factor of about two
        ticks = within(low, high, 6).ticks
    axis = _axis(low, high, ticks, log10, shown)
    return axis._replace(ticks=list(_apart(axis)))


def _apart(axis: Axis) -> Iterator[float]:
    """Ticks whose numbers do not lie over each other."""
    last = -1.0
    for tick in axis.ticks:
        if (at := axis.at(tick)) - last >= _APART:
            last = at
            yield tick


def percentiles(top: float) -> Axis:
    """Shares up to ``top`` (such as 0.9999), each nine as wide as the one before it."""
    ticks = [0.0, 0.5, 0.9, *(share for share in (0.99, 0.999, 0.9999, 0.99999) if share <= top + 1e-12)]
    high = min(max(top, 0.9), 0.99999)
    return _axis(0.0, high, ticks, lambda share: -log10(1 - min(share, high)), lambda share: f"{share * 100:.10g}%")


def _step(rough: float) -> float:
    decade = 10.0 ** floor(log10(rough))
    return decade * next((factor for factor in (1, 2, 2.5, 5, 10) if factor * decade >= rough * (1 - 1e-9)), inf)


def _axis(
    low: float, high: float, ticks: list[float], warp: Callable[[float], float], shown: Callable[[float], str]
) -> Axis:
    start, width = warp(low), warp(high) - warp(low)
    return Axis(low, high, ticks, lambda value: (warp(value) - start) / width, shown)
