"""How much a service takes: the search for the highest rate that keeps the SLOs, and what ends it. Pure.

A step is a run at one rate, with open arrivals. It *holds* when it keeps every SLO and is steady: neither latency nor
the calls under way grow while it lasts (`loadtests.judging.steady`). A queue that grows has only not failed yet.

The search doubles the rate until a step fails, then halves the interval between the highest rate that held and the
lowest that did not, until they are as near as asked.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple, TypeAlias

from loadtests.judging.steady import Trend
from loadtests.reporting.report import BUSY

Limit: TypeAlias = Literal["client", "network", "server", "quota", "nothing"]

#: Share of the increase of latency that explains it.
_MOST = 0.6

#: Late sends are the generator's fault from this share of the latency's median on, or these seconds.
_LATE_SHARE, _LATE = 0.5, 0.02


class Step(NamedTuple):
    """One step.

    Attributes:
        rate: calls a second that were asked for.
        holds: it kept the SLOs, and was steady.
    """

    rate: float
    holds: bool


class Search:
    """Which rate comes next.

    Args:
        start: the first rate, calls a second.
        most: the highest that is tried.
        within: how near the answer has to be, as a share of it.
        steps: rates to try one after the other instead; the search ends after the first that fails.
    """

    def __init__(self, start: float, most: float, *, within: float = 0.1, steps: Sequence[float] = ()) -> None:
        self._start, self._most, self._within = start, most, within
        self._list = sorted(steps)
        self.done: list[Step] = []

    @property
    def highest(self) -> float | None:
        """The highest rate that held, with none below it that failed; None while there is none."""
        lowest = self.lowest
        held = [step.rate for step in self.done if step.holds and (lowest is None or step.rate < lowest)]
        return max(held, default=None)

    @property
    def lowest(self) -> float | None:
        """The lowest rate that failed."""
        return min((step.rate for step in self.done if not step.holds), default=None)

    def next(self) -> float | None:
        """The rate of the next step; None when the answer is there."""
        if self._list:
            tried = len(self.done)
            return None if self.lowest is not None or tried == len(self._list) else self._list[tried]
        if not self.done:
            return min(self._start, self._most)
        low, high = self.highest, self.lowest
        if high is None:
            assert low is not None
            return None if low >= self._most else min(low * 2, self._most)
        if low is None:
            return high / 2 if high / 2 >= self._start / 64 else None
        return None if high - low <= self._within * high else (low + high) / 2

    def add(self, rate: float, *, holds: bool) -> None:
        """Note how a step went."""
        self.done.append(Step(rate, holds))


class Signs(NamedTuple):
    """What is known of a step that failed, and of the first that held.

    Attributes:
        busy: share of a core that the busiest generator used.
        late: seconds by which sends were late, the 99th percentile.
        latency: seconds, the client's median.
        served: seconds, the mock's own median from the arrival of a request until its last bytes left; None for a
            service that does not say.
        server_busy: share of a core that the mock used, None when it is not known.
        refused: share of attempts that a quota refused.
        failed: share of attempts that failed otherwise.
    """

    busy: float
    late: float
    latency: float
    served: float | None
    server_busy: float | None = None
    refused: float = 0.0
    failed: float = 0.0


def limited_by(failed: Signs, easy: Signs | None) -> tuple[Limit, str]:
    """What kept a step from holding, and why one thinks so.

    Args:
        failed: of the step that failed.
        easy: of the first step that held, to compare with; None when none did.
    """
    if failed.refused > failed.failed and failed.refused > 0:
        return "quota", f"{failed.refused:.0%} of all attempts were refused by a quota"
    if failed.busy >= BUSY:
        return "client", f"the load generator used {failed.busy:.0%} of a core: take more --workers"
    if failed.late >= max(_LATE, _LATE_SHARE * failed.latency):
        return "client", f"calls left up to {failed.late * 1e3:.0f} ms after their time (p99): take more --workers"
    if failed.failed > 0:
        return "server", f"{failed.failed:.0%} of all attempts failed"
    if failed.server_busy is not None and failed.server_busy >= BUSY:
        return "server", f"the mock used {failed.server_busy:.0%} of a core"
    before = easy.latency if easy is not None else 0.0
    grown = failed.latency - before
    if failed.served is None or grown <= 0:
        return "server", "latency grew, and the service does not say how long it took itself"
    own = failed.served - ((easy.served or 0.0) if easy is not None else 0.0)
    part = own / grown
    if part >= _MOST:
        return "server", f"{min(part, 1.0):.0%} of the growth in latency is the server's own time"
    grew, its = f"{grown * 1e3:.0f} ms", f"{max(own, 0.0) * 1e3:.0f} ms"
    return "network", (
        f"latency grew by {grew}, of which the server's own time is {its}: the rest is spent between the two, "
        "such as in the server's accept queue"
    )


def steady(trends: Mapping[str, Trend]) -> dict[str, Any]:
    """Whether a step was steady, from the trends of its figures: none of them grows."""
    growing = [name for name, one in trends.items() if one.grows]
    unknown = [name for name, one in trends.items() if one.p is None]
    return {
        "ok": not growing,
        "growing": growing,
        "unknown": unknown,
        **{name: one.to_dict() for name, one in trends.items()},
    }


def ceiling_lines(section: Mapping[str, Any]) -> Iterator[str]:
    """What a person should read of the section."""
    for step in section["steps"]:
        wrong = [f"{one['slo']}: {one['why']}" for one in step["slos"] if not one["ok"]]
        wrong += [f"{name} grow while it lasts" for name in step["steady"]["growing"]]
        wrong += step["limits_reached"]
        unknown = " (too short a step to see whether it is steady)" if step["steady"]["unknown"] else ""
        yield f"{step['rate']:.1f} calls/s: {'; '.join(wrong) or 'holds'}{unknown}"
    if section["ceiling_rate"] is None:
        yield "no rate held: begin lower, with --rate"
    else:
        yield f"ceiling: {section['ceiling_rate']:.1f} calls/s"
    if section["limited_by"]:
        yield f"limited by the {section['limited_by']}: {section['why']}"
    else:
        yield "nothing limited it up to the highest rate that was tried: raise --to-rate"
