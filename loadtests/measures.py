"""Durations and how they are kept: pure values; every moment is handed in by the caller."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TypedDict

_MICRO = 1_000_000


class HistogramData(TypedDict):
    """A `Histogram` as JSON or msgpack carries it: pairs of microseconds and count, in ascending order."""

    microseconds: list[tuple[int, int]]


class Histogram:
    """Durations, counted by whole microseconds, so that percentiles are exact and merging is adding.

    Why not an HDR histogram: PyPI's hdrhistogram is alive (0.10.8) but has no types, is a C extension, wants setuptools
    and pbr at run time, and rounds. Counts by microsecond cost about 100 bytes for each *distinct* duration, which is
    10 MB after a hundred thousand calls. Runs of hours will want coarser cells; only `add` would change.
    """

    __slots__ = ("_counts", "count")

    def __init__(self, seconds: Iterable[float] = ()) -> None:
        self._counts: dict[int, int] = {}
        self.count = 0
        for value in seconds:
            self.add(value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Histogram) and self._counts == other._counts

    __hash__ = None  # type: ignore[assignment]  # it changes

    def __repr__(self) -> str:
        return f"<Histogram of {self.count}>"

    def add(self, seconds: float) -> None:
        """Count one duration, rounded to a microsecond.

        Raises:
            ValueError: it is negative: two moments were taken from different clocks, or in the wrong order.
        """
        if seconds < 0:
            raise ValueError(f"a duration is 0 or more seconds; got {seconds!r}: are both moments of one clock?")
        cell = round(seconds * _MICRO)
        self._counts[cell] = self._counts.get(cell, 0) + 1
        self.count += 1

    def merge(self, other: Histogram) -> None:
        """Count all that ``other`` counted."""
        for cell, count in other._counts.items():
            self._counts[cell] = self._counts.get(cell, 0) + count
        self.count += other.count

    def quantiles(self, *shares: float) -> list[float]:
        """For each share, the smallest duration in seconds that this share of all, or more, do not exceed.

        By nearest rank: each result is a duration that was measured, none is interpolated. Empty when nothing was.

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
                found[wanted[index]] = cell
                index += 1
            if index == len(wanted):
                break
        return [found[rank] / _MICRO for rank in ranks]

    @property
    def mean(self) -> float | None:
        """The arithmetic mean in seconds, None when nothing was counted."""
        return sum(cell * count for cell, count in self._counts.items()) / self.count / _MICRO if self.count else None

    def to_dict(self) -> HistogramData:
        """As data, for another process."""
        return {"microseconds": sorted(self._counts.items())}

    @classmethod
    def from_dict(cls, data: HistogramData) -> Histogram:
        """What `to_dict` gave."""
        histogram = cls()
        histogram._counts = {cell: count for cell, count in data["microseconds"]}  # noqa: C416 - JSON gives lists
        histogram.count = sum(histogram._counts.values())
        return histogram


class StreamTimer:
    """The moments of one stream, and the durations between them. Moments are seconds of any one monotonic clock.

    The first token is the first chunk with *content*: servers send their headers, keep-alives and an empty first delta
    long before the model has said anything, and a time taken there flatters.

    Args:
        sent: just before the request was handed to the transport.
    """

    __slots__ = ("_body", "_headers", "_tokens", "sent")

    def __init__(self, sent: float) -> None:
        self.sent = sent
        self._headers: float | None = None
        self._body: float | None = None
        self._tokens: list[float] = []

    def headers_arrived(self, now: float) -> None:
        """The answer's head is here. When a call is sent again, the moments of its last answer count."""
        self._headers, self._body = now, None

    def body_arrived(self, now: float) -> None:
        """Bytes of the body are here; the first ones count."""
        if self._body is None:
            self._body = now

    def chunk_arrived(self, now: float, text: str) -> None:
        """An event of the stream is here, with this much content; often none in the first and the last one."""
        self.body_arrived(now)
        if text:
            self._tokens.append(now)

    @property
    def headers(self) -> float | None:
        """Seconds from sending to the answer's head."""
        return self._since(self._headers)

    @property
    def first_chunk(self) -> float | None:
        """Seconds from sending to the first bytes of the body, content or not."""
        return self._since(self._body)

    @property
    def ttft(self) -> float | None:
        """Time to first token: seconds from sending to the first content; None when there was none."""
        return self._since(self._tokens[0]) if self._tokens else None

    @property
    def chunks(self) -> int:
        """Chunks with content."""
        return len(self._tokens)

    @property
    def itl(self) -> list[float]:
        """Inter-token latency: the seconds of each gap between chunks with content; one fewer than there are chunks."""
        return [later - earlier for earlier, later in zip(self._tokens, self._tokens[1:], strict=False)]

    @property
    def tpot(self) -> float | None:
        """Time per output token: (tN - t1) / (n - 1) seconds over the n chunks with content; None for fewer than two.

        A chunk counts as one token: what a chunk holds is the server's choice, and only some servers say.
        """
        return (self._tokens[-1] - self._tokens[0]) / (len(self._tokens) - 1) if len(self._tokens) > 1 else None

    @property
    def e2e(self) -> float | None:
        """Seconds from sending to the last content; None when there was none."""
        return self._since(self._tokens[-1]) if self._tokens else None

    def _since(self, moment: float | None) -> float | None:
        return None if moment is None else moment - self.sent
