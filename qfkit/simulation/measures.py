"""What is made of a run: few numbers, each with its definition."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter, deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from qfkit.simulation.run import Run

#: Share of the baseline that is recovered; as in `loadtests.playing.recovery`.
RECOVERED: Final = 0.95
#: Answers that the stretch holds at least over which goodput is taken, and calls in a row that must be on time.
_ENOUGH: Final = 20
_IN_A_ROW: Final = 100

_BINS: Final = 512
_SECOND: Final = 1.0


class Rush:
    """The most of something within any one second."""

    __slots__ = ("_recent", "peak")

    def __init__(self) -> None:
        self.peak = 0
        self._recent: deque[float] = deque()

    def add(self, moment: float) -> None:
        """Count one at ``moment``, not before the last."""
        recent = self._recent
        recent.append(moment)
        while recent[0] <= moment - _SECOND:
            recent.popleft()
        self.peak = max(self.peak, len(recent))


class Curve:
    """How many of something over time, in at most 512 steps: each time they run out, two become one.

    Attributes:
        width: of a step, in seconds.
        counts: in each step from 0.
    """

    __slots__ = ("counts", "width")

    def __init__(self) -> None:
        self.width = 1 / 1024
        self.counts: list[int] = []

    def add(self, moment: float) -> None:
        """Count one at ``moment``, in seconds."""
        step = int(moment / self.width)
        while step >= _BINS:
            self.counts = [sum(self.counts[at : at + 2]) for at in range(0, len(self.counts), 2)]
            self.width *= 2
            step = int(moment / self.width)
        if step >= len(self.counts):
            self.counts.extend([0] * (step + 1 - len(self.counts)))
        self.counts[step] += 1

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return {"width": self.width, "counts": self.counts}


def jain(shares: Iterable[float]) -> float | None:
    """Jain's fairness index: 1 when all have the same, 1/n when one has all; None when nobody has anything.

    (sum of x) squared, over n times the sum of x squared: Jain, Chiu and Hawe, "A Quantitative Measure of Fairness and
    Discrimination for Resource Allocation in Shared Computer Systems", DEC-TR-301, 1984.
    """
    count, total, squares = 0, 0.0, 0.0
    for share in shares:
        count += 1
        total += share
        squares += share * share
    return total * total / (count * squares) if squares else None


def quantile(ordered: Sequence[float], share: float) -> float | None:
    """The value of nearest rank, None of nothing.

    Args:
        ordered: values, the smallest first.
        share: 0 to 1.
    """
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)] if ordered else None


def amplification(error_rate: float, attempts: int) -> float:
    """Attempts a call in the mean when each fails with a chance of its own: (1 - p^n) / (1 - p).

    Args:
        error_rate: p, from 0 to 1.
        attempts: n, of one call at most.
    """
    return float(attempts) if error_rate >= 1 else (1 - error_rate**attempts) / (1 - error_rate)


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a policy came to. Times are in seconds; of a completion, from the call's beginning to its answer.

    Attributes:
        label: of the policy.
        calls: how many began; all of them ended.
        answered: how many got an answer.
        causes: what ended the others -> how many: ``attempts``, ``budget``, ``max_total``, ``retry_after_ceiling``, or
            ``permanent`` for an error that no attempt cures.
        attempts: that arrived. ``admitted + refused + faults``.
        admitted: attempts that were answered well.
        refused: attempts that the quota refused, or that came after another's write.
        faults: attempts that met the outage or an error by chance.
        attempts_by_call: number of attempts -> calls that made so many.
        p50, p95, last: completion times of nearest rank, None when nothing was answered.
        finished: when the last call ended, answered or not.
        peak: most attempts that arrived within any one second.
        storm: most of them after the end of the outage, over what comes by ``rate`` in a second; None without either.
        fairness: Jain's index of the clients' mean completion times.
        fairness_answers: Jain's index of the clients' answers; with one call each it is the share that was answered.
        recovery: from the end of the outage to the first stretch (a second, or longer where it would hold fewer than 20
            answers) in which answers a second are 95 % of those before it. None without an outage or a rate, or when
            that was not reached while calls began.
        settled: from the end of the outage until calls are on time again: from then on, of any 100 calls in a row as
            many are answered within the deadline as 95 % of the share before it. None as for ``recovery``. It is the
            later of the two where retries and new calls fight for a quota: then the answers are many, but late.
        completions: completion times by percent of those answered: the 1st to the 100th.
        arrivals, answers: over time.
        wall: how long the simulation took, in real seconds.
    """

    label: str
    calls: int
    answered: int
    causes: Mapping[str, int]
    attempts: int
    admitted: int
    refused: int
    faults: int
    attempts_by_call: Mapping[int, int]
    p50: float | None
    p95: float | None
    last: float | None
    finished: float
    peak: int
    storm: float | None
    fairness: float | None
    fairness_answers: float | None
    recovery: float | None
    settled: float | None
    completions: Sequence[float]
    arrivals: Mapping[str, Any]
    answers: Mapping[str, Any]
    wall: float

    @property
    def share(self) -> float:
        """Of the calls, how many were answered, 0 to 1."""
        return self.answered / self.calls

    @property
    def amplification(self) -> float:
        """Attempts a call."""
        return self.attempts / self.calls

    @property
    def attempts_per_answer(self) -> float | None:
        """Attempts of all calls for each answer, None when there was none."""
        return self.attempts / self.answered if self.answered else None

    @property
    def wasted(self) -> int:
        """Attempts that brought no answer."""
        return self.attempts - self.answered

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data."""
        names = ("share", "amplification", "attempts_per_answer", "wasted")
        return asdict(self) | {name: getattr(self, name) for name in names}


def measure(run: Run, label: str, wall: float) -> Outcome:
    """What is to be said of a run that is at its end."""
    clients = run.scenario.clients
    answered = [call for call, good in enumerate(run.answered) if good]
    times = sorted(run.ended[call] - run.began[call] for call in answered)
    sums, counts = [0.0] * clients, [0] * clients
    for call in answered:
        sums[call % clients] += run.ended[call] - run.began[call]
        counts[call % clients] += 1
    rate = run.scenario.rate
    return Outcome(
        label=label,
        calls=len(run.began),
        answered=len(answered),
        causes=dict(run.causes.most_common()),
        attempts=run.all_attempts,
        admitted=run.service.admitted,
        refused=run.refused,
        faults=run.faults,
        attempts_by_call=dict(sorted(Counter(run.attempts).items())),
        p50=quantile(times, 0.5),
        p95=quantile(times, 0.95),
        last=quantile(times, 1.0),
        finished=max(run.ended),
        peak=run.rush.peak,
        storm=run.storm.peak / rate if run.scenario.outage and rate else None,
        fairness=jain(total / count for total, count in zip(sums, counts, strict=True) if count),
        fairness_answers=jain(counts),
        recovery=_recovery(run, answered),
        settled=_settled(run),
        completions=[value for percent in range(1, 101) if (value := quantile(times, percent / 100)) is not None],
        arrivals=run.arrivals.to_dict(),
        answers=run.answers.to_dict(),
        wall=wall,
    )


def _recovery(run: Run, answered: Sequence[int]) -> float | None:
    scenario = run.scenario
    if not scenario.outage or scenario.rate is None:
        return None
    moments = sorted(run.ended[call] for call in answered)
    start, end = scenario.outage_at, scenario.outage_end
    # Where the fault comes first there is nothing to compare with but what is asked.
    baseline = bisect_left(moments, start) / start if start else scenario.rate
    stretch = max(_SECOND, _ENOUGH / baseline) if baseline else _SECOND
    wanted = math.ceil(round(RECOVERED * baseline * stretch, 9))
    first, last = bisect_left(moments, end), bisect_right(moments, max(run.began))
    if not wanted:
        return None
    for at in range(first, last - wanted + 1):
        if moments[at + wanted - 1] - moments[at] <= stretch:
            return moments[at] - end
    return None


def _settled(run: Run) -> float | None:
    scenario = run.scenario
    if not scenario.outage or scenario.rate is None:
        return None
    calls = range(len(run.began))
    on_time = [run.answered[call] and run.ended[call] - run.began[call] <= scenario.deadline for call in calls]
    # Calls so late before the fault that it may have spoilt them say nothing of the baseline.
    before = [good for call, good in enumerate(on_time) if run.began[call] + scenario.deadline <= scenario.outage_at]
    baseline = sum(before) / len(before) if before else 1.0
    after = [call for call in calls if run.began[call] >= scenario.outage_end]
    if not after:
        return None
    width = min(_IN_A_ROW, len(after))
    sums = list(accumulate((int(on_time[call]) for call in after), initial=0))
    bad = [
        start
        for start in range(len(after) - width + 1)
        if sums[start + width] - sums[start] < RECOVERED * baseline * width
    ]
    if not bad:
        return 0.0
    return None if bad[-1] == len(after) - width else run.began[after[bad[-1] + 1]] - scenario.outage_end
