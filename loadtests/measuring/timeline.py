"""What happened when: counts and durations by the second, for hours in bounded memory. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from loadtests.measuring.measures import CHART_BITS, Histogram

#: Cells at most; a run that spans more seconds gets cells twice as wide, and twice again.
CELLS = 3_600

_COUNTS = ("planned", "sent", "admitted", "attempts", "ok", "failed", "good")
_DURATIONS = ("latency", "ttft")


def _rough() -> Histogram:
    return Histogram(limit=0, bits=CHART_BITS)


@dataclass(slots=True)
class Cell:
    """One stretch of time.

    Attributes:
        planned: calls that were meant to be sent in it (open models).
        sent: calls whose first request was sent in it.
        attempts: inference requests sent in it.
        admitted: those of them that were answered well.
        ok, failed, good: calls that ended in it: well, not well, and within all SLOs.
        latency, ttft: of the good calls that ended in it; percentiles are right to 3 %.
    """

    planned: int = 0
    sent: int = 0
    admitted: int = 0
    attempts: int = 0
    ok: int = 0
    failed: int = 0
    good: int = 0
    latency: Histogram = field(default_factory=_rough)
    ttft: Histogram = field(default_factory=_rough)

    def merge(self, other: Cell) -> None:
        """Add what ``other`` counted."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        for name in _DURATIONS:
            getattr(self, name).merge(getattr(other, name))


class Timeline:
    """Cells of equal width, aligned to Unix time so that those of several machines fall together.

    The width is the smallest power of two of seconds with which the time from the first to the last cell is no more
    than `CELLS` cells: it depends on what was counted alone, not on the order or on how processes shared it.
    """

    __slots__ = ("_cells", "_limit", "width")

    def __init__(self, limit: int = CELLS) -> None:
        self._cells: dict[int, Cell] = {}
        self._limit = limit
        self.width = 1

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Timeline) and (self.width, self._cells) == (other.width, other._cells)

    __hash__ = None  # type: ignore[assignment]  # it changes

    def at(self, moment: float) -> Cell:
        """The cell of a Unix time in seconds, to be added to now."""
        return self._cell(int(moment // self.width), self.width)

    def merge(self, other: Timeline) -> None:
        """Add what ``other`` counted."""
        for index, cell in other._cells.items():
            self._cell(index, other.width).merge(cell)

    def _cell(self, index: int, width: int) -> Cell:
        while self.width < width:
            self._widen()
        index = index * width // self.width
        found = self._cells.get(index)
        if found is None:
            found = self._cells[index] = Cell()
            while max(self._cells) - min(self._cells) >= self._limit:
                self._widen()
                index //= 2
            found = self._cells[index]
        return found

    def _widen(self) -> None:
        self.width *= 2
        fine, self._cells = self._cells, {}
        for index, cell in fine.items():
            kept = self._cells.setdefault(index // 2, cell)
            if kept is not cell:
                kept.merge(cell)

    def rows(self) -> Iterator[tuple[int, Cell]]:
        """Unix time of each cell's beginning, and the cell, in order; without those in which nothing happened."""
        for index in sorted(self._cells):
            yield index * self.width, self._cells[index]

    def to_dict(self) -> dict[str, Any]:
        """As data, for another process."""
        return {
            "width": self.width,
            "cells": [
                [
                    index,
                    [getattr(cell, name) for name in _COUNTS],
                    [getattr(cell, name).to_dict() if getattr(cell, name).count else None for name in _DURATIONS],
                ]
                for index, cell in self._cells.items()
            ],
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any], limit: int = CELLS) -> Timeline:
        """What `to_dict` gave."""
        timeline = cls(limit)
        timeline.width = data["width"]
        for index, counts, durations in data["cells"]:
            cell = timeline._cells[index] = Cell(**dict(zip(_COUNTS, counts, strict=True)))
            for name, histogram in zip(_DURATIONS, durations, strict=True):
                if histogram is not None:
                    setattr(cell, name, Histogram.from_dict(histogram, limit=0, bits=CHART_BITS))
        return timeline
