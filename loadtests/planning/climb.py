"""How the ceiling is looked for: validated values. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

import msgspec

from loadtests.planning.spelling import PlanError
from loadtests.playing.search import Search


class Climb(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How the ceiling is looked for.

    Attributes:
        most: calls a second, the highest rate that is tried.
        within: how near the answer has to be, as a share of it.
        steps: rates to try one after the other instead, such as ``10,20,40``; the first that fails ends it.
    """

    most: Annotated[float, msgspec.Meta(gt=0)] = 1000.0
    within: Annotated[float, msgspec.Meta(gt=0, lt=1)] = 0.1
    steps: str | None = None

    def search(self, start: float | None) -> Search:
        """The search, from a rate on.

        Raises:
            PlanError: the steps are no rates, or it would begin above its end.
        """
        first = min(10.0, self.most) if start is None else start
        if self.steps is None and first > self.most:
            raise PlanError(f"the search begins at --rate {first:g} and ends at --most {self.most:g}: raise --most")
        return Search(first, self.most, within=self.within, steps=list(self._rates()))

    def _rates(self) -> Iterator[float]:
        for part in self.steps.split(",") if self.steps else ():
            try:
                rate = float(part)
            except ValueError:
                rate = 0.0
            if not 0 < rate < float("inf"):
                raise PlanError(f"--steps are calls a second, such as 10,20,40; got {part.strip()!r}")
            yield rate
