"""Durations and how they are kept: pure values; every moment is handed in by the caller."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

_MICRO = 1_000_000


class HistogramData(TypedDict):
    """A `Histogram` as JSON or msgpack carries it: pairs of microseconds and count, in ascending order."""

    microseconds: list[tuple[int, int]]
    coarse: bool
    sum: int
    min: int
    max: int


#: Significant bits of a coarse cell's lower end: a cell is at most 1/1024 as wide as the values in it.
FINE_BITS = 11
#: The same for charts: cells about 3 % wide.
CHART_BITS = 6
#: Distinct durations that are kept apart before cells become coarse.
EXACT = 20_000


def cell_of(microseconds: int, bits: int) -> tuple[int, int]:
    """The log-spaced cell that a duration falls into: its lowest and its highest value.

    Cells are as wide as the power of two that leaves their lower end ``bits`` significant bits, so that cells of fewer
    bits are made of whole cells of more.
    """
    shift = max(0, microseconds.bit_length() - bits)
    low = microseconds >> shift << shift
    return low, low + (1 << shift) - 1


class Histogram:
    """Durations, counted by whole microseconds, so that percentiles are exact and merging is adding.

    Exact up to ``limit`` distinct durations (some 2 MB). A run of hours has more: then cells are made log-spaced, and a
    percentile is the middle of its cell, which is wrong by at most 0.05 %. Count, mean, minimum and maximum stay exact.
    Whether cells are coarse depends only on which durations were counted, not on their order or on how processes shared
    them, so merged histograms stay equal to one that saw all.

    Why not an HDR histogram: PyPI's hdrhistogram is alive (0.10.8) but has no types, is a C extension, wants setuptools
    and pbr at run time, and rounds from the first value on. Its cells are what we turn to when we must.

    Args:
        seconds: first durations.
        limit: distinct durations that are kept apart.
        bits: significant bits of the cells after that.
    """

    __slots__ = ("_bits", "_coarse", "_counts", "_high", "_limit", "_low", "_sum", "count")

    def __init__(self, seconds: Iterable[float] = (), *, limit: int = EXACT, bits: int = FINE_BITS) -> None:
        self._counts: dict[int, int] = {}
        self._limit, self._bits = limit, bits
        self._coarse = limit == 0
        self._sum = self._low = self._high = 0
        self.count = 0
        for value in seconds:
            self.add(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self.to_dict() == other.to_dict()

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"<Histogram of {self.count}>"

    @property
    def exact(self) -> bool:
        """Percentiles are durations that were measured, to the microsecond."""
        return not self._coarse

    def add(self, seconds: float) -> None:
        """Count one duration, rounded to a microsecond.

        Raises:
            ValueError: it is negative: two moments were taken from different clocks, or in the wrong order.
        """
        if seconds < 0:
            raise ValueError(f"a duration is 0 or more seconds; got {seconds!r}: are both moments of one clock?")
        value = round(seconds * _MICRO)
        self._low = value if not self.count else min(self._low, value)
        self._high = max(self._high, value)
        self._sum += value
        self.count += 1
        cell = cell_of(value, self._bits)[0] if self._coarse else value
        self._counts[cell] = self._counts.get(cell, 0) + 1
        if len(self._counts) > self._limit and not self._coarse:
            self._coarsen()

    def merge(self, other: Histogram) -> None:
        """Count all that ``other``, of the same limit and bits, counted."""
        if not other.count:
            return
        if other._coarse and not self._coarse:
            self._coarsen()
        counts = self._counts
        for cell, count in other._counts.items():
            kept = cell_of(cell, self._bits)[0] if self._coarse else cell
            counts[kept] = counts.get(kept, 0) + count
        self._low = min(self._low, other._low) if self.count else other._low
        self._high = max(self._high, other._high)
        self._sum += other._sum
        self.count += other.count
        if len(counts) > self._limit and not self._coarse:
            self._coarsen()

    def _coarsen(self) -> None:
        self._coarse = True
        fine, self._counts = self._counts, {}
        for value, count in fine.items():
            cell = cell_of(value, self._bits)[0]
            self._counts[cell] = self._counts.get(cell, 0) + count

    def quantiles(self, *shares: float) -> list[float]:
        """For each share, the smallest duration in seconds that this share of all, or more, do not exceed.

        By nearest rank: while the histogram is exact, each result is a duration that was measured, none is
        interpolated. Empty when nothing was.

        Args:
            shares: each from 0 (the minimum) to 1 (the maximum).

        Raises:
            ValueError: a share is outside of that.
        """
        if not all(0 <= share <= 1 for share in shares):
            raise ValueError(f"a share is from 0 to 1, such as 0.99; got {shares!r}")
        if not self.count:
            return []
        # Share 0.07 of 100 is 7.000000000000001 in floating point; the rank meant is 7.
        ranks = [max(1, -int(-round(share * self.count, 9) // 1)) for share in shares]
        found = dict.fromkeys(ranks, 0)
        wanted = sorted(found)
        passed = index = 0
        for cell in sorted(self._counts):
            passed += self._counts[cell]
            while index < len(wanted) and passed >= wanted[index]:
                found[wanted[index]] = self._middle(cell)
                index += 1
            if index == len(wanted):
                break
        found |= {rank: value for rank, value in ((1, self._low), (self.count, self._high)) if rank in found}
        return [found[rank] / _MICRO for rank in ranks]

    def _middle(self, cell: int) -> int:
        if not self._coarse:
            return cell
        low, high = cell_of(cell, self._bits)
        return min(max((low + high) // 2, self._low), self._high)

    def cells(self, bits: int = CHART_BITS) -> list[tuple[int, int, int]]:
        """Lowest and highest microseconds of each log-spaced cell that holds any, and how many; in ascending order."""
        counts: dict[tuple[int, int], int] = {}
        for value, count in self._counts.items():
            cell = cell_of(value, bits)
            counts[cell] = counts.get(cell, 0) + count
        return [(low, high, counts[low, high]) for low, high in sorted(counts)]

    @property
    def mean(self) -> float | None:
        """The arithmetic mean in seconds, None when nothing was counted."""
        return self._sum / self.count / _MICRO if self.count else None

    @property
    def total(self) -> float:
        """The sum in seconds."""
        return self._sum / _MICRO

    def to_dict(self) -> HistogramData:
        """As data, for another process."""
        return {
            "microseconds": sorted(self._counts.items()),
            "coarse": self._coarse,
            "sum": self._sum,
            "min": self._low,
            "max": self._high,
        }

    @classmethod
    def from_dict(cls, data: HistogramData, *, limit: int = EXACT, bits: int = FINE_BITS) -> Histogram:
        """What `to_dict` gave."""
        histogram = cls(limit=limit, bits=bits)
        histogram._counts = {cell: count for cell, count in data["microseconds"]}  # noqa: C416 - JSON gives lists
        histogram._coarse = data["coarse"]
        histogram._sum, histogram._low, histogram._high = data["sum"], data["min"], data["max"]
        histogram.count = sum(histogram._counts.values())
        return histogram


class Moments(TypedDict):
    """The members of a `loadtests.measuring.samples.Sample` that a stream's moments give."""

    headers: float | None
    first_byte: float | None
    first_chunk: float | None
    first_reasoning: float | None
    ttft: float | None
    e2e: float | None
    contents: list[float]
    empties: list[float]


class StreamTimer:
    """The moments of one stream, as they come. Moments are seconds of any one monotonic clock.

    The first token is the first chunk with *content*: servers send their headers, keep-alives and an empty first delta
    long before the model has said anything, and a time taken there flatters.

    Args:
        sent: just before the request was handed to the transport.
    """

    __slots__ = ("_body", "_contents", "_empties", "_headers", "_reasoning", "sent")

    def __init__(self, sent: float) -> None:
        self.sent = sent
        self.headers_arrived(None)

    def headers_arrived(self, now: float | None) -> None:
        """The answer's head is here. When a call is sent again, the moments of its last answer count."""
        self._headers = now
        self._body: float | None = None
        self._reasoning: float | None = None
        self._contents: list[float] = []
        self._empties: list[float] = []

    def body_arrived(self, now: float) -> None:
        """Bytes of the body are here; the first ones count."""
        if self._body is None:
            self._body = now

    def chunk_arrived(self, now: float, text: str, reasoning: str = "") -> None:
        """An event of the stream is here, with this much content; often none in the first and the last one."""
        self.body_arrived(now)
        if reasoning and self._reasoning is None:
            self._reasoning = now
        (self._contents if text else self._empties).append(now)

    def moments(self, origin: float | None = None) -> Moments:
        """As the members of a `Sample`: seconds since ``origin``, the sending unless it is given."""
        start = self.sent if origin is None else origin
        contents = [now - start for now in self._contents]
        empties = [now - start for now in self._empties]
        return {
            "headers": None if self._headers is None else self._headers - start,
            "first_byte": None if self._body is None else self._body - start,
            "first_chunk": min((*contents[:1], *empties[:1]), default=None),
            "first_reasoning": None if self._reasoning is None else self._reasoning - start,
            "ttft": contents[0] if contents else None,
            "e2e": contents[-1] if contents else None,
            "contents": contents,
            "empties": empties,
        }
