"""Where the line is drawn between a sane client and one that is told off: every threshold of a verdict."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from difflib import get_close_matches


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """Thresholds of a verdict.

    Attributes:
        instant: seconds; a shorter wait is none.
        tolerance: seconds by which a wait may fall short of ``Retry-After``, and waits that are meant to be equal may
            differ; also what `backoff.judge` allows the way there and back. 0 on a virtual clock.
        growth: what a wait is to be multiplied by at least after each failure.
        cap: seconds, the longest wait that nobody asked for.
        attempts: of one call, at most.
        amplification: attempts for each call on average, at most.
        amplification_calls: calls from which on that is looked at.
        herd: clients whose retries arrive together are a herd from so many on.
        herd_share: as a share of the wait, by how much the waits of a herd differ at most.
        storm: token fetches within a second that are a storm.
        patience: seconds; a client that is asked to wait longer may rightly give up, and a request that comes later
            than this after a failure that needs no retry is another call.
        stale_signature: seconds between signing and arrival that are too many.
        abandoned: seconds that a stream may stay open after all of it should have left.
    """

    instant: float = 0.02
    tolerance: float = 0.05
    growth: float = 1.1
    cap: float = 120.0
    attempts: int = 10
    amplification: float = 5.0
    amplification_calls: int = 10
    herd: int = 5
    herd_share: float = 0.03
    storm: int = 5
    patience: float = 30.0
    stale_signature: float = 60.0
    abandoned: float = 10.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            number = isinstance(value, (int, float)) and not isinstance(value, bool)
            if not number or not math.isfinite(value) or value < 0:
                raise ValueError(f"Limits.{field.name} is a number, 0 or more; got {value!r}")

    @classmethod
    def parse(cls, text: str) -> Limits:
        """Limits as a command line has them, ``cap=60,attempts=5``; the others as they are.

        Raises:
            ValueError: there is no such limit, or it cannot have that value; the message names the nearest.
        """
        return cls.of(numbers(text, "limits"))

    @classmethod
    def of(cls, values: Mapping[str, float]) -> Limits:
        """Limits by name, the others as they are.

        Raises:
            ValueError: there is no such limit, or it cannot have that value; the message names the nearest.
        """
        known = [field.name for field in fields(cls)]
        for name in values:
            if name not in known:
                near = get_close_matches(name, known, n=1)
                hint = f"did you mean {near[0]!r}?" if near else f"they are {', '.join(known)}"
                raise ValueError(f"there is no limit {name!r}; {hint}")
        return cls(**values)  # type: ignore[arg-type]  # whole numbers and others: checked when it is made


def numbers(text: str, what: str) -> dict[str, float]:
    """Numbers by name, as a command line has them: ``base=0.5,cap=8``.

    Args:
        text: the names and numbers.
        what: they are, for messages.

    Raises:
        ValueError: a part is no name with a number from 0.
    """
    found = {}
    for part in text.split(","):
        if not part.strip():
            continue
        name, _, value = part.partition("=")
        try:
            number = float(value)
        except ValueError:
            number = math.nan
        if not number >= 0:  # also for nan
            raise ValueError(f"{what} are names with numbers from 0, as in base=0.5,cap=8; got {part!r}")
        found[name.strip()] = number
    return found
