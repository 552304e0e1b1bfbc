"""All cases, in the order of the tables."""

from __future__ import annotations

from qfkit.testing.conformance import answers, broken, damage, keys, streams, waiting
from qfkit.testing.conformance.case import AREAS, Case

_ORDER = {area: number for number, area in enumerate(AREAS)}

#: Every case, by area.
CASES: tuple[Case, ...] = tuple(
    sorted(
        (*keys.CASES, *answers.CASES, *waiting.CASES, *streams.CASES, *broken.CASES, *damage.CASES),
        key=lambda case: _ORDER[case.area],
    )
)
