"""Is a figure steady, or does it drift? A statistical answer for steps of a load and for runs of hours. Pure.

A queue that grows, a cache that fills, memory that leaks: each is a trend over time. Two things are asked of a series:

1. *Is there a trend?* Mann and Kendall's test (Econometrica 13, 1945; Rank Correlation Methods, 1948): the rank
   correlation of value and time. It needs no distribution, and an outlier moves it little. Neighbouring values of a
   system under load are alike, which makes the test see trends where there are none; so the series is cut into equal
   stretches of time and only their medians are tested (batch means: Law and Kelton, Simulation Modeling and Analysis).
2. *Does it matter?* Sen's slope (JASA 63, 1968), the median of the slopes of all pairs, over the length of the series,
   as a share of its median. A trend that is real and amounts to 1 % is no finding.

Only a trend that is both is a drift. scipy computes both; `pip install 'qfkit[load]'` brings it.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median
from typing import NamedTuple

#: The chance of calling a series without trend a drift: at most this.
ALPHA = 0.01

#: Stretches that a series is cut into, and the fewest that a test is made of: with 5, the steadiest rise has p = 0.017.
BATCHES, FEWEST = 12, 6

#: Change over the whole series, as a share of its median, that matters.
MATTERS = 0.1


class Trend(NamedTuple):
    """How a figure went.

    Attributes:
        drifts: it has a trend, upwards or downwards, that matters.
        change: from the beginning to the end, by Sen's slope, in the figure's unit.
        share: the same as a share of the median; None when that is 0.
        per_second: the slope.
        p: of the test; None with too few values to say.
        points: stretches that were compared.
    """

    drifts: bool
    change: float
    share: float | None
    per_second: float
    p: float | None
    points: int

    @property
    def grows(self) -> bool:
        """It drifts upwards."""
        return self.drifts and self.change > 0

    def to_dict(self) -> dict[str, float | bool | int | None]:
        """As JSON-ready data."""
        return {
            name: float(f"{value:.6g}") if isinstance(value, float) else value for name, value in self._asdict().items()
        }


def trend(series: Sequence[tuple[float, float]], *, matters: float = MATTERS, batches: int = BATCHES) -> Trend:
    """How a figure goes over time.

    Args:
        series: moments in seconds, and values; in any order.
        matters: the change over the whole series, as a share of its median, from which on a trend is a drift.
        batches: stretches of equal length that it is cut into.

    Raises:
        ImportError: scipy is missing; the message says how to get it.
    """
    points = stretches(series, batches)
    if len(points) < FEWEST:
        return Trend(False, 0.0, None, 0.0, None, len(points))
    try:
        from scipy.stats import kendalltau, theilslopes  # noqa: PLC0415 - slow to import
    except ImportError as error:
        raise ImportError("a test for drift needs scipy: pip install 'qfkit[load]'") from error
    times = [moment for moment, _ in points]
    values = [value for _, value in points]
    if len(set(values)) == 1:
        return Trend(False, 0.0, 0.0, 0.0, 1.0, len(points))
    p = float(kendalltau(times, values).pvalue)
    slope = float(theilslopes(values, times)[0])
    moments = [moment for moment, _ in series]
    change = slope * (max(moments) - min(moments))
    middle = median(values)
    share = change / abs(middle) if middle else None
    large = share is None or abs(share) >= matters
    return Trend(p < ALPHA and large and change != 0, change, share, slope, p, len(points))


def stretches(series: Sequence[tuple[float, float]], batches: int = BATCHES) -> list[tuple[float, float]]:
    """The middle of each stretch of time that holds a value, and the median of its values; in order."""
    if not series:
        return []
    first, last = min(series)[0], max(series)[0]
    width = (last - first) / batches
    if width <= 0:
        return [(first, median(value for _, value in series))]
    held: dict[int, list[float]] = {}
    for moment, value in series:
        held.setdefault(min(batches - 1, int((moment - first) / width)), []).append(value)
    return [(first + (index + 0.5) * width, median(held[index])) for index in sorted(held)]
