"""How what people type is read, and the error that says what is wrong with it. Pure."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

_SPAN = re.compile(r"(?:(\d+)h)?(?:(\d+)m)?(?:(\d+(?:\.\d+)?)s?)?")


class PlanError(ValueError):
    """A load test that cannot be run as asked; the message says why, and what to change."""


def weights(flag: str, text: str, names: Sequence[str]) -> dict[str, float]:
    """Names and their weights, as ``chat=7,stream=2``; a name without one weighs 1.

    Raises:
        PlanError: a name is not among ``names``, stands twice, or its weight is no number above 0.
    """
    found: dict[str, float] = {}
    for part in text.split(","):
        name, equals, weight = (piece.strip() for piece in part.partition("="))
        if name not in names:
            raise PlanError(f"{flag} knows no {name!r}: choose among {', '.join(names)}, such as {names[0]}=2")
        try:
            value = float(weight) if equals else 1.0
        except ValueError:
            value = math.nan
        if not 0 < value < math.inf:
            raise PlanError(f"{flag} {part.strip()!r}: a weight is a number above 0, such as {name}=2")
        if name in found:
            raise PlanError(f"{flag} names {name} twice")
        found[name] = value
    return found


def seconds_of(text: str, *, zero: bool = False) -> float:
    """A time span such as ``10s``, ``1m30s``, ``2h`` or ``90`` in seconds.

    Args:
        text: the span.
        zero: it may be no time at all.

    Raises:
        PlanError: it is none, or zero.
    """
    found = _SPAN.fullmatch(text.strip())
    if found is None or not text.strip():
        raise PlanError(f"{text!r} is no time span: write it as 10s, 1m30s or 2h")
    hours, minutes, seconds = (float(part or 0) for part in found.groups())
    total = hours * 3600 + minutes * 60 + seconds
    if not total and not zero:
        raise PlanError(f"{text!r} is no time at all: give 1s or more")
    return total
