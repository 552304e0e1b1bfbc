"""How far two samples differ, and how sure that is: the statistics of ``qfkit load compare``. Needs numpy and scipy.

*Percentiles* are compared by their ratio. Its spread comes from a bootstrap: both histograms are drawn again 2000
times, and each time the ratio is taken anew (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, ch. 16).
Cells are at most 0.8 % wide; within a cell a value is drawn evenly, so their width is part of the spread.

*Shares* (errors, goodput) are compared by Fisher's exact test, their difference bounded by Newcombe's interval
(Statistics in Medicine 17, 1998, method 10).

Calls of one run are *not* independent: a service that is slow in one second is slow for all calls of that second. A
bootstrap that ignores this finds differences between two runs of the same thing. So the number of calls is divided by
a design effect, which is measured: how much more the seconds of the run (put together to at most `BATCHES` stretches)
differ from each other than they would by chance.

*Many questions*: p-values are corrected by Holm's method, so the chance that two runs of the same thing differ in any
row is at most `ALPHA`, not in each.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, expm1, log, log1p, sqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import stats

#: The chance that anything at all is found where nothing is.
ALPHA = 0.05
#: Draws of the bootstrap.
DRAWS = 2000
#: Stretches of time that a run is divided into, at most, to see how much they differ.
BATCHES = 20
#: Effective values that must lie beyond a percentile for it to be compared.
BEYOND = 10

Floats = NDArray[np.float64]
Cells = Sequence[Sequence[int]]


@dataclass(frozen=True, slots=True)
class Difference:
    """What was found of one measure.

    Attributes:
        value: B less A: relative to A for percentiles and rates (0.12 is 12 % more), else of shares.
        low: lower end of the 95 % confidence interval.
        high: upper end.
        p_any: the chance of such a difference, to either side, if there is none.
        p_beyond: the chance of it if B is worse by the tolerance at most.
        smallest: the difference for the worse that would have been found with a chance of 80 %.
    """

    value: float
    low: float
    high: float
    p_any: float
    p_beyond: float
    smallest: float


def percentiles(
    a: Cells,
    b: Cells,
    exact: Mapping[float, tuple[float, float]],
    *,
    sizes: tuple[float, float],
    tolerance: float,
    seed: int,
) -> dict[float, Difference | None]:
    """Compare percentiles of two histograms; more is worse.

    Args:
        a: cells of the first run: lowest and highest value, and count.
        b: cells of the second.
        exact: share, such as 0.95 -> that percentile of both, as it was measured.
        sizes: effective numbers of values.
        tolerance: relative difference that is allowed.
        seed: of the draws.

    Returns:
        Share -> what was found; None where too few values lie beyond the percentile.
    """
    told = [share for share, both in exact.items() if min(sizes) * (1 - share) >= BEYOND and min(both) > 0]
    random = np.random.default_rng(seed)
    drawn = [_drawn(cells, told, size, random) for cells, size in ((a, sizes[0]), (b, sizes[1]))] if told else []
    found: dict[float, Difference | None] = dict.fromkeys(exact)
    for index, share in enumerate(told):
        one, other = exact[share]
        found[share] = _difference(log(other / one), drawn[1][index] - drawn[0][index], tolerance)
    return found


def _difference(middle: float, drawn: Floats, tolerance: float) -> Difference:
    """A ratio, from its logarithm and the logarithms that were drawn for it."""
    drawn = drawn + (middle - float(np.median(drawn)))
    spread = float(np.std(drawn))
    low, high = np.quantile(drawn, [0.025, 0.975])
    limit = log1p(tolerance)
    either = min(_chance(drawn, 0.0, spread), _chance(-drawn, 0.0, spread))
    return Difference(
        value=expm1(middle),
        low=expm1(float(low)),
        high=expm1(float(high)),
        p_any=min(1.0, 2 * either),
        p_beyond=_chance(drawn, limit, spread),
        smallest=expm1(limit + _power() * spread),
    )


def _chance(drawn: Floats, limit: float, spread: float) -> float:
    """The share of draws up to a limit; where there are none, what a normal distribution would have there."""
    passed = int(np.sum(drawn <= limit))
    if passed:
        return (1 + passed) / (DRAWS + 1)
    score = (float(np.mean(drawn)) - limit) / max(spread, 1e-12)
    return min(1 / (DRAWS + 1), float(stats.norm.sf(score)))


def _drawn(cells: Cells, told: Sequence[float], size: float, random: np.random.Generator) -> list[Floats]:
    """The logarithms of percentiles, of `DRAWS` samples drawn from a histogram."""
    lows, highs, counts = (np.array(column, dtype=float) for column in zip(*cells, strict=True))
    number = max(1, round(size))
    passed = np.cumsum(random.multinomial(number, counts / counts.sum(), size=DRAWS), axis=1)
    found = []
    for share in told:
        place = np.argmax(passed >= max(1, ceil(round(share * number, 9))), axis=1)
        value = lows[place] + (highs[place] + 1 - lows[place]) * random.random(DRAWS)
        found.append(np.log(np.maximum(value, 0.5)))
    return found


def shares(a: tuple[float, float], b: tuple[float, float], *, more_is_worse: bool) -> Difference | None:
    """Compare two shares, each given as (effective) count of hits and of all; None when one is of nothing."""
    if min(a[1], b[1]) < 1:
        return None
    table = [[_whole(b[0]), _whole(b[1] - b[0])], [_whole(a[0]), _whole(a[1] - a[0])]]
    worse = "greater" if more_is_worse else "less"
    first, second = a[0] / a[1], b[0] / b[1]
    bounds = [_wilson(hits, of) for hits, of in (a, b)]
    (low_a, high_a), (low_b, high_b) = bounds
    value = second - first
    least = 1 / max(a[1], b[1], 2)
    pooled = min(max((a[0] + b[0]) / (a[1] + b[1]), least), 1 - least)
    spread = sqrt(pooled * (1 - pooled) * (1 / a[1] + 1 / b[1]))
    return Difference(
        value=value,
        low=value - sqrt((second - low_b) ** 2 + (high_a - first) ** 2),
        high=value + sqrt((high_b - second) ** 2 + (first - low_a) ** 2),
        p_any=float(stats.fisher_exact(table).pvalue),
        p_beyond=float(stats.fisher_exact(table, alternative=worse).pvalue),
        smallest=_power() * spread * (1 if more_is_worse else -1),
    )


def _whole(value: float) -> int:
    return max(0, round(value))


def _wilson(hits: float, of: float) -> tuple[float, float]:
    interval = stats.binomtest(min(_whole(hits), _whole(of)), _whole(of)).proportion_ci(method="wilson")
    return float(interval.low), float(interval.high)


def rates(a: Sequence[float], b: Sequence[float], *, tolerance: float) -> Difference | None:
    """Compare mean rates, given by stretches of time of each run; less is worse. None with fewer than 5 stretches."""
    if min(len(a), len(b)) < 5 or min(np.mean(a), np.mean(b)) <= 0:
        return None
    parts = [float(np.var(one, ddof=1)) / float(np.mean(one)) ** 2 / len(one) for one in (a, b)]
    spread = max(sqrt(sum(parts)), 1e-12)
    each = sum(part**2 / (len(one) - 1) for part, one in zip(parts, (a, b), strict=True))
    freedom = sum(parts) ** 2 / max(each, 1e-30)  # Welch and Satterthwaite
    middle = log(float(np.mean(b)) / float(np.mean(a)))
    law = stats.t(max(freedom, 1.0))
    reach = float(law.ppf(0.975)) * spread
    limit = log1p(-tolerance)
    return Difference(
        value=expm1(middle),
        low=expm1(middle - reach),
        high=expm1(middle + reach),
        p_any=2 * float(law.sf(abs(middle) / spread)),
        p_beyond=float(law.cdf((middle - limit) / spread)),
        smallest=expm1(limit - _power() * spread),
    )


def between_runs(
    values: Sequence[float], new: float, *, tolerance: float, more_is_worse: bool, relative: bool
) -> Difference | None:
    """Compare one run with several of the same thing: by how much these differ from each other.

    Args:
        values: a figure of at least three runs of the same thing.
        new: the figure in question.
        tolerance: relative difference for the worse that is allowed; absolute ones have none.
        more_is_worse: the figure is one of which less is wanted.
        relative: compare by ratio.

    Returns:
        None for fewer than three runs, or where a ratio makes no sense.
    """
    if len(values) < 3 or (relative and min(*values, new) <= 0):
        return None
    known = [log(value) for value in values] if relative else list(values)
    middle = (log(new) if relative else new) - float(np.mean(known))
    # A new run differs from the mean of the others by its own chance and by theirs.
    spread = max(float(np.std(known, ddof=1)) * sqrt(1 + 1 / len(known)), 1e-12)
    law, sign = stats.t(len(known) - 1), 1 if more_is_worse else -1
    limit = (log1p(sign * tolerance) if relative else 0.0) * sign
    back = expm1 if relative else float
    reach = float(law.ppf(0.975)) * spread
    return Difference(
        value=back(middle),
        low=back(middle - reach),
        high=back(middle + reach),
        p_any=2 * float(law.sf(abs(middle) / spread)),
        p_beyond=float(law.sf((sign * middle - limit) / spread)),
        smallest=back(sign * (limit + float(law.ppf(1 - ALPHA) + law.ppf(0.8)) * spread)),
    )


def both(within: Difference, between: Difference) -> Difference:
    """A difference that must stand out from what moves within a run, and from what differs between runs."""
    return Difference(
        value=between.value,
        low=min(within.low, between.low),
        high=max(within.high, between.high),
        p_any=max(within.p_any, between.p_any),
        p_beyond=max(within.p_beyond, between.p_beyond),
        smallest=max(within.smallest, between.smallest, key=abs),
    )


def holm(values: Sequence[float]) -> list[float]:
    """P-values, corrected for how many there are (Holm, Scandinavian Journal of Statistics 6, 1979)."""
    order = sorted(range(len(values)), key=values.__getitem__)
    corrected, worst = [0.0] * len(values), 0.0
    for place, index in enumerate(order):
        worst = max(worst, min(1.0, values[index] * (len(values) - place)))
        corrected[index] = worst
    return corrected


def _power() -> float:
    """Spreads between the line and a difference that is found beyond it with a chance of 80 %."""
    return float(stats.norm.ppf(1 - ALPHA) + stats.norm.ppf(0.8))


# How much calls of the same time go together


def duration_effect(timeline: Sequence[Mapping[str, Any]], member: str, cells: Cells) -> float:
    """The design effect of a duration: 1 when calls of the same second are no more alike than any others.

    The median of each second is turned into the share of all values below it. If calls were independent, that would be
    distributed as the middle one of so many even draws (a beta distribution), whatever the durations are.

    Args:
        timeline: of the run.
        member: ``latency`` or ``ttft``.
        cells: of the histogram of the whole run, in microseconds.
    """
    rows = [(row[f"{member}_p50"], row["ok"]) for row in timeline if row[f"{member}_p50"] is not None and row["ok"]]
    if len(rows) < 5:
        return 1.0
    ends = np.array([cell[1] for cell in cells], dtype=float)
    passed = np.concatenate([[0.0], np.cumsum([cell[2] for cell in cells])]) / sum(cell[2] for cell in cells)
    medians = np.array([row[0] for row in rows]) * 1000
    counts = np.array([row[1] for row in rows], dtype=float)
    # Medians of a second are known to 3 %: the middle of the shares that this leaves open.
    below = passed[np.searchsorted(ends, medians * 0.985)]
    above = passed[np.searchsorted(ends, medians * 1.015)]
    rank = np.ceil(counts / 2)
    spread = np.sqrt(rank * (counts - rank + 1) / ((counts + 1) ** 2 * (counts + 2)))
    scores = ((below + above) / 2 - rank / (counts + 1)) / spread
    return _effect(scores, counts)


def share_effect(timeline: Sequence[Mapping[str, Any]], hits: Sequence[float], of: Sequence[float]) -> float:
    """The design effect of a share: 1 when failures are spread over time as by chance, more when they come together."""
    counts = np.array(of, dtype=float)
    keep = counts > 0
    counts, found = counts[keep], np.array(hits, dtype=float)[keep]
    share = float(found.sum() / counts.sum()) if len(counts) else 0.0
    if len(counts) < 5 or not 0 < share < 1 or not timeline:
        return 1.0
    scores = (found - counts * share) / np.sqrt(counts * share * (1 - share))
    return _effect(scores, counts)


def _effect(scores: Floats, counts: Floats) -> float:
    """Mean square of standard scores, put together to stretches; 1 at least."""
    groups = np.array_split(np.arange(len(scores)), min(BATCHES, len(scores)))
    weights = [np.sqrt(counts[group]) for group in groups]
    together = np.array([
        float(np.sum(scores[group] * weight) / np.sqrt(np.sum(weight**2)))
        for group, weight in zip(groups, weights, strict=True)
    ])  # fmt: skip
    sizes = np.array([float(counts[group].sum()) for group in groups])
    # What all stretches have in common, such as rounding, is no difference between them.
    common = float(np.sum(together * np.sqrt(sizes)) / np.sum(sizes))
    rest = together - common * np.sqrt(sizes)
    freedom = max(len(groups) - 1, 1)
    # It is itself estimated, from few stretches: what Student's t is to the normal distribution.
    unsure = float(stats.t(freedom).ppf(0.975) / stats.norm.ppf(0.975)) ** 2
    return max(1.0, unsure * float(np.sum(rest**2)) / freedom)
