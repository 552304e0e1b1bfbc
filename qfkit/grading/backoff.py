"""Do observed waits follow a declared schedule? A statistical answer, with its error rates.

Three questions are put to the waits, and their answers corrected for being three:

1. *Bounds.* Is any wait shorter or longer than the schedule allows? No statistics: one wait outside is a violation.
2. *Spread.* Each wait is transformed by the distribution that it should have come from (the probability integral
   transform). If the schedule is kept, what comes out is even on 0 to 1, whatever the attempt: all waits can be pooled.
   Kolmogorov-Smirnov compares.
3. *Independence.* Does a wait foretell the next one of the same call? Spearman's rank correlation of neighbours.

The p-values of 2 and 3 are corrected by Holm's method (Scandinavian Journal of Statistics 6, 1979), so the chance that
a client that keeps its schedule is told otherwise is at most `ALPHA`, however many questions were asked. With fewer
than `ENOUGH` informative waits nothing is said about 2: the test would pass whatever the client did.

Waits are seen from the server: from the end of an answer to the next request. They are longer than the client's sleep
by the way there and back and by the time the client takes, never shorter; ``tolerance`` is how much that may be. What
was slept then lies between the wait less the tolerance and the wait, and of all samples that this leaves open the one
nearest to the schedule is tested: so a slow machine cannot make a good client look bad. On a virtual clock the
tolerance is 0, and the test is exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from random import Random
from typing import Literal, NamedTuple, TypeAlias

from qfkit.grading.schedules import Declared, Draw

#: The chance that a client that keeps its schedule is told that it does not: at most this.
ALPHA = 0.01

#: Waits that the spread can be judged from. With 20 of them, no jitter instead of full, half of every wait, or equal
#: instead of full jitter are found in at least nine of ten runs (a test says so).
ENOUGH = 20

#: Pairs of neighbouring waits that independence can be judged from.
ENOUGH_PAIRS = 30

#: Seconds, and share of the wait, by which an observed wait may be longer than the one that was slept.
TOLERANCE, TOLERANCE_SHARE = 0.05, 0.05

#: Seconds by which it may be shorter: clocks of two processes tick apart.
EARLY = 0.005
_ROUNDING = 1e-9

Answer: TypeAlias = Literal["kept", "broken", "unclear"]


@dataclass(frozen=True, slots=True)
class Wait:
    """One observed wait.

    Attributes:
        seconds: from the end of an answer to the next request of the same call.
        failures: of the call before it, 1 or more.
        call: tells the waits of one call apart from those of others.
        attempt: the number of the request that came after it, for messages.
    """

    seconds: float
    failures: int
    call: int = 0
    attempt: int = 0


@dataclass(frozen=True, slots=True)
class Test:
    """The answer to one question.

    Attributes:
        name: ``spread`` or ``independence``.
        count: waits, or pairs of them, that it was put to.
        statistic: of Kolmogorov-Smirnov (0 to 1), or Spearman's rho (-1 to 1).
        p: the chance of a statistic at least as extreme if the schedule is kept, corrected by Holm's method.
    """

    name: str
    count: int
    statistic: float
    p: float


class _Span(NamedTuple):
    """Where the transform of what was slept may lie."""

    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Judgement:
    """Whether waits follow a schedule.

    Attributes:
        answer: ``kept``, ``broken``, or ``unclear``: not enough waits to tell.
        message: one or two sentences that say why, and what to do.
        schedule: the declared one, in words.
        waits: how many were looked at.
        outside: waits that the schedule does not allow.
        tests: the statistical answers, as far as there were enough waits.
    """

    answer: Answer
    message: str
    schedule: str
    waits: int
    outside: tuple[Wait, ...] = ()
    tests: tuple[Test, ...] = ()


def judge(waits: Sequence[Wait], schedule: Declared, *, tolerance: float = TOLERANCE, seed: int = 0) -> Judgement:
    """Hold observed waits against a declared schedule.

    Args:
        waits: of any number of calls, those of a call in order. Leave out waits that the service asked for
            (``Retry-After``): they follow another rule.
        schedule: what the client says that it does; see `schedules.named` and `schedules.of_backoff`.
        tolerance: seconds by which a wait may be longer than what was slept, beside `TOLERANCE_SHARE` of it.
        seed: of the shuffling of waits at the cap; the same waits give the same judgement.

    Raises:
        ImportError: scipy is not there: ``pip install 'qfkit[grading]'``.
    """
    outside: list[Wait] = []
    pooled: list[_Span] = []
    neighbours: list[tuple[float, float]] = []
    random = Random(seed)
    for calls in _by_call(waits):
        transformed: list[_Span | None] = []
        previous: float | None = None
        for wait in calls:
            draw = schedule.after(wait.failures, previous)
            previous = wait.seconds
            allowed = tolerance + (TOLERANCE_SHARE * wait.seconds if tolerance else 0.0)
            early = EARLY if tolerance else _ROUNDING
            if draw is None or not draw.bounds[0] - early <= wait.seconds <= draw.bounds[1] + allowed + early:
                outside.append(wait)
                transformed.append(None)
                continue
            transformed.append(None if draw.fixed else _span(draw, wait.seconds, allowed, random.random()))
        pooled += [span for span in transformed if span is not None]
        neighbours += [(sum(a), sum(b)) for a, b in pairwise(transformed) if a is not None and b is not None]
    tests = _tests(pooled, neighbours)
    return _judgement(waits, schedule, tuple(outside), tests, informative=len(pooled))


def _span(draw: Draw, seconds: float, allowed: float, shuffle: float) -> _Span:
    return _Span(draw.transform(max(draw.low, seconds - allowed), shuffle), draw.transform(seconds, shuffle))


def _by_call(waits: Sequence[Wait]) -> list[list[Wait]]:
    calls: dict[int, list[Wait]] = {}
    for wait in waits:
        calls.setdefault(wait.call, []).append(wait)
    return list(calls.values())


def _tests(pooled: Sequence[_Span], neighbours: Sequence[tuple[float, float]]) -> tuple[Test, ...]:
    if len(pooled) < ENOUGH:
        return ()
    try:
        from scipy import stats  # noqa: PLC0415 - optional, and takes its time to import
    except ImportError as error:
        raise ImportError("judging a schedule needs scipy: pip install 'qfkit[grading]'") from error
    count = len(pooled)
    # The least distance of any sample that lies within the spans: each side is judged by the ends that favour it.
    highs, lows = sorted(span.high for span in pooled), sorted(span.low for span in pooled)
    above = max((rank + 1) / count - value for rank, value in enumerate(highs))
    below = max(value - rank / count for rank, value in enumerate(lows))
    distance = max(above, below, 0.0)
    raw = [("spread", count, distance, float(stats.kstwo.sf(distance, count)))]
    if len(neighbours) >= ENOUGH_PAIRS:
        rho, p = stats.spearmanr([a for a, _ in neighbours], [b for _, b in neighbours])
        raw.append(("independence", len(neighbours), float(rho), float(p)))
    adjusted = _holm([p for *_, p in raw])
    return tuple(Test(name, count, value, p) for (name, count, value, _), p in zip(raw, adjusted, strict=True))


def _holm(values: Sequence[float]) -> list[float]:
    order = sorted(range(len(values)), key=values.__getitem__)
    adjusted = [0.0] * len(values)
    least = 0.0
    for rank, index in enumerate(order):
        least = max(least, min(1.0, values[index] * (len(values) - rank)))
        adjusted[index] = least
    return adjusted


def _judgement(
    waits: Sequence[Wait], schedule: Declared, outside: tuple[Wait, ...], tests: tuple[Test, ...], *, informative: int
) -> Judgement:
    def say(answer: Answer, message: str) -> Judgement:
        return Judgement(answer, message, str(schedule), len(waits), outside, tests)

    if outside:
        return say("broken", f"{len(outside)} of {len(waits)} waits are none that {schedule} allows: {_first(outside)}")
    failed = [test for test in tests if test.p < ALPHA]
    if failed:
        return say("broken", "; ".join(_BROKEN[test.name].format(test=test, schedule=schedule) for test in failed))
    if tests:
        return say("kept", f"{len(waits)} waits look as if drawn from {schedule}")
    if waits and not informative:
        return say("kept", f"all {len(waits)} waits are those that {schedule} fixes")
    return say(
        "unclear",
        f"not enough attempts to tell: {informative} waits whose length is drawn, {ENOUGH} are needed. All are within "
        "the bounds; make more calls fail, or let them fail more often",
    )


_BROKEN = {
    "spread": (
        "{test.count} waits are within the bounds of {schedule} and are not spread as it would spread them "
        "(Kolmogorov-Smirnov {test.statistic:.2f}, p = {test.p:.2g}): is the jitter the declared one?"
    ),
    "independence": (
        "each wait foretells the next one (Spearman {test.statistic:.2f} over {test.count} pairs, p = {test.p:.2g}), "
        "where {schedule} draws each anew: is the source of randomness seeded, or drawn once a call?"
    ),
}


def _first(outside: Sequence[Wait], most: int = 3) -> str:
    shown = [f"{wait.seconds:.3g} s after failure {wait.failures} (attempt {wait.attempt})" for wait in outside[:most]]
    more = len(outside) - len(shown)
    return ", ".join(shown) + (f" and {more} more" if more else "")
