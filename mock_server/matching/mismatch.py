"""Why a request did not match: one value a condition that it missed, with how far off it was."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import SequenceMatcher
from functools import lru_cache
from typing import Any, Literal, TypeAlias

#: How the distance is told: by similar letters, by the longest part that is there, or not at all.
By: TypeAlias = Literal["letters", "part", "nothing", "time"]

#: Characters of a value that are compared, and shown.
_COMPARED, _SHOWN, _AROUND = 500, 40, 10

#: What misses by time alone (state, nth call, steps used up) would fit at another moment: it is near.
_BY_TIME = 0.5

#: However alike, what differs is not the same.
_LEAST = 0.05


@dataclass(slots=True)  # not frozen: one is made for every rule that a request passes by, and that costs
class Mismatch:
    """A condition that a request missed.

    Attributes:
        field: the matcher, such as ``model`` or ``json.temperature``.
        wanted: what the rule wants.
        got: what the request has; None where it has nothing of the kind. Of several texts the nearest is told.
        by: how `distance` is told.
    """

    field: str
    wanted: Any
    got: Any
    by: By = "nothing"

    @property
    def distance(self) -> float:
        """How far off it was, over 0 and up to 1."""
        if self.by == "time":
            return _BY_TIME
        if self.by == "nothing" or not isinstance(self.wanted, str):
            return 1.0
        nearest = self._nearest()
        return _distance(self.wanted[:_COMPARED], nearest[:_COMPARED], self.by) if isinstance(nearest, str) else 1.0

    def _nearest(self) -> Any:
        if self.by == "part" and isinstance(self.got, tuple):
            wanted = self.wanted[:_COMPARED]
            return min(self.got, key=lambda text: _distance(wanted, text[:_COMPARED], "part"))
        return self.got

    def line(self) -> str:
        """One line, the first difference marked with bars: ``model: wanted 'a-4', got 'a-3' (… at "a-|3|")``."""
        got = self._nearest()
        words = f"{self.field}: wanted {_shown(self.wanted)}, got {'none' if got is None else _shown(got)}"
        if self.by in {"nothing", "time"} or not isinstance(self.wanted, str) or not isinstance(got, str):
            return words
        marked = _marked(self.wanted[:_COMPARED], got[:_COMPARED], self.by)
        return words if marked is None else f'{words} (first difference at "{_one_line(marked)}")'


@lru_cache(maxsize=4096)  # the same few rules miss the same few texts again and again
def _distance(wanted: str, got: str, by: By) -> float:
    matcher = SequenceMatcher(None, wanted, got, autojunk=False)
    same = matcher.ratio() if by == "letters" else matcher.find_longest_match().size / max(1, len(wanted))
    return max(_LEAST, 1.0 - same)


@lru_cache(maxsize=1024)
def _marked(wanted: str, got: str, by: By) -> str | None:
    """``got`` around the first character that differs, which stands between bars; None where nothing is alike."""
    start = 0
    if by == "part":
        found = SequenceMatcher(None, wanted, got, autojunk=False).find_longest_match()
        if not found.size:
            return None
        start = max(0, found.b - found.a)
    at = start
    while at < len(got) and at - start < len(wanted) and got[at] == wanted[at - start]:
        at += 1
    before = ("…" if at > _AROUND else "") + got[max(0, at - _AROUND) : at]
    after = got[at + 1 : at + 1 + _AROUND] + ("…" if len(got) > at + 1 + _AROUND else "")
    return f"{before}|{got[at : at + 1]}|{after}"


@dataclass(frozen=True, slots=True)
class Match:
    """How well a request fits.

    Attributes:
        distance: 0 when it fits; else the share of the conditions that it missed, each weighed by how far off it was.
        mismatches: the conditions that it missed, in the order of the table of matchers.
    """

    distance: float
    mismatches: tuple[Mismatch, ...] = ()

    @property
    def ok(self) -> bool:
        """It fits."""
        return not self.mismatches


def _shown(value: Any) -> str:
    text = repr(value)
    if len(text) > _SHOWN + 2:
        text = f"{text[:_SHOWN]}…" + (text[-1] if isinstance(value, str) else "")
    return _one_line(text)


def _one_line(text: str) -> str:
    return text if text.isprintable() else "".join(char if char.isprintable() else " " for char in text)
