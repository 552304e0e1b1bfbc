"""Which policy to take, and why: a rule of three lines, applied in words.

1. Calls come first: whoever answers more than a point fewer of them than the best is out.
2. Then time: out is whoever takes more than a quarter longer than the fastest of the rest for 95 % of the answers, or,
   after an outage, to recover (a second more is forgiven).
3. Of the rest, the one that needs the fewest attempts for an answer; within 2 % of each other, the one with the lowest
   peak.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from qfkit.simulation.measures import Outcome
from qfkit.simulation.scenario import Scenario

_POINT: Final = 0.01
_SLOWER: Final = 1.25
_FORGIVEN: Final = 1.0
_SAME: Final = 1.02
#: Below this share of answers the advice says what else must change.
_ENOUGH: Final = 0.99


@dataclass(frozen=True, slots=True)
class Advice:
    """A recommendation.

    Attributes:
        label: the policy, None when no call was answered under any.
        text: in words, one sentence a line.
    """

    label: str | None
    text: str


def advise(scenario: Scenario, outcomes: Sequence[Outcome]) -> Advice:
    """What to take, of one or more."""
    best = max(outcome.share for outcome in outcomes)
    if not best:
        return Advice(None, f"No policy gets any call answered. {_remedy(scenario)}")
    able = [it for it in outcomes if it.share >= best - _POINT]
    fast = _fast(able)
    frugal = min(_per_answer(it) for it in fast)
    chosen = min((it for it in fast if _per_answer(it) <= frugal * _SAME), key=lambda it: it.peak)
    lines = [f"Recommended: {chosen.label}."]
    lines.append(
        f"It answers {chosen.share:.1%} of the calls{_best_of(chosen, outcomes, best)}, with "
        f"{_per_answer(chosen):.2f} attempts an answer, half of them within {_seconds(chosen.p50)} and 95 % within "
        f"{_seconds(chosen.p95)}{_recovers(chosen)}."
    )
    lines += [_against(it, chosen) for it in outcomes if it is not chosen]
    if best < _ENOUGH:
        lines.append(f"No policy gets all calls answered. {_remedy(scenario)}")
    return Advice(chosen.label, "\n".join(lines))


def _fast(able: Sequence[Outcome]) -> list[Outcome]:
    shortest = min(_p95(it) for it in able)
    fast = [it for it in able if _p95(it) <= shortest * _SLOWER]
    if any(it.recovered for it in fast):
        soonest = min(it.recovery for it in fast if it.recovery is not None)
        fast = [it for it in fast if it.recovery is not None and it.recovery <= soonest * _SLOWER + _FORGIVEN]
    return fast


def _against(other: Outcome, chosen: Outcome) -> str:
    """What the chosen one has over another, the weightiest first."""
    if other.share < chosen.share - _POINT:
        return f"- {other.label}: answers {other.share:.1%} of the calls."
    if _p95(other) > _p95(chosen) * _SLOWER:
        return f"- {other.label}: takes {_p95(other) / _p95(chosen):.1f} times as long for 95 % of the answers."
    if other.recovered is False and chosen.recovered:
        return f"- {other.label}: does not recover from the outage while calls come."
    if (
        other.recovery is not None
        and chosen.recovery is not None
        and other.recovery > chosen.recovery * _SLOWER + _FORGIVEN
    ):
        return (
            f"- {other.label}: recovers {_seconds(other.recovery)} after the outage, not {_seconds(chosen.recovery)}."
        )
    more = _per_answer(other) / _per_answer(chosen) - 1
    if more > _SAME - 1:
        return f"- {other.label}: {more:.0%} more attempts for each answer."
    if other.share < chosen.share:
        return f"- {other.label}: as good, within the lines drawn; answers {other.share:.1%}."
    if other.peak > chosen.peak:
        return f"- {other.label}: as good, but up to {other.peak:,} attempts a second arrive, not {chosen.peak:,}."
    if more < 1 - _SAME:
        return f"- {other.label}: {-more:.0%} fewer attempts, but slower for 95 % of the answers."
    return f"- {other.label}: as good, within the lines drawn."


def _best_of(chosen: Outcome, outcomes: Sequence[Outcome], best: float) -> str:
    if len(outcomes) == 1:
        return ""
    return ", as many as the best" if chosen.share >= best else f" (the best: {best:.1%})"


def _recovers(chosen: Outcome) -> str:
    if chosen.recovered is None:
        return ""
    if chosen.recovery is None:
        return "; it has not recovered when the last call begins"
    return f", and calls are on time again {_seconds(chosen.recovery)} after the outage"


def _remedy(scenario: Scenario) -> str:
    qps = scenario.limits.qps
    if scenario.rate is None and qps:
        least = scenario.total / qps
        return (
            f"{scenario.total:,} calls at {qps:,} a second take {least:,.4g} s at best: let clients begin over that "
            "time, limit them (RateLimits), or let retries go on that long (attempts, cap, max_total)."
        )
    if scenario.outage:
        return (
            f"The outage lasts {scenario.outage:g} s: calls that are to outlive it need waits that add up to more than "
            "that (attempts, cap)."
        )
    return "More attempts would help, at the price of amplification; see (1 - p^n)/(1 - p)."


def _per_answer(outcome: Outcome) -> float:
    return float("inf") if outcome.attempts_per_answer is None else outcome.attempts_per_answer


def _p95(outcome: Outcome) -> float:
    return float("inf") if outcome.p95 is None else outcome.p95


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.3g} s"
