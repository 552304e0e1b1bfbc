"""Which policy to take, and why: a rule of four lines, applied in words.

0. Where the service says how long to wait, whoever does not heed it is there for comparison only.
1. Calls come first: whoever answers more than a point fewer of them than the best is out.
2. After an outage, so is whoever takes more than a quarter longer than the soonest until calls are on time again (a
   second more is forgiven).
3. Of the rest, the one with the lowest cost: attempts an answer times the time that 95 % of the answers take. So twice
   the attempts are worth half the time, and no more. Within 2 % of each other, the one with the lowest peak.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
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


def advise(scenario: Scenario, outcomes: Sequence[Outcome], deaf: Collection[str] = ()) -> Advice:
    """What to take, of one or more.

    Args:
        scenario: what they were put into.
        outcomes: of the policies.
        deaf: labels of those that do not heed what the service says.
    """
    fit = [it for it in outcomes if it.label not in deaf] or outcomes
    best = max(outcome.share for outcome in fit)
    if not best:
        return Advice(None, f"No policy gets any call answered. {_remedy(scenario)}")
    able = _settling([it for it in fit if it.share >= best - _POINT])
    cheapest = min(_cost(it) for it in able)
    chosen = min((it for it in able if _cost(it) <= cheapest * _SAME), key=lambda it: it.peak)
    lines = [f"Recommended: {chosen.label}."]
    lines.append(
        f"It answers {chosen.share:.1%} of the calls{_best_of(chosen, best)}, with "
        f"{_per_answer(chosen):.2f} attempts an answer, half of them within {_seconds(chosen.p50)} and 95 % within "
        f"{_seconds(chosen.p95)}{_recovers(chosen)}."
    )
    lines += [_against(it, chosen) for it in fit if it is not chosen]
    lines += [f"{_against(it, chosen)} It does not heed Retry-After." for it in outcomes if it not in fit]
    if scenario.error_rate and not (scenario.outage or scenario.limits.limited):
        lines.append(
            "Errors by chance are no rarer after a wait, so waits bring nothing here. A service that fails under load "
            "is another matter: simulate an outage before you choose."
        )
    if best < _ENOUGH:
        lines.append(f"No policy gets all calls answered. {_remedy(scenario)}")
    return Advice(chosen.label, "\n".join(lines))


def _settling(able: Sequence[Outcome]) -> Sequence[Outcome]:
    settled = [it.settled for it in able if it.settled is not None]
    if not settled:
        return able
    latest = min(settled) * _SLOWER + _FORGIVEN
    return [it for it in able if it.settled is not None and it.settled <= latest]


def _against(other: Outcome, chosen: Outcome) -> str:
    """What the chosen one has over another, the weightiest first."""
    if other.share < chosen.share - _POINT:
        return f"- {other.label}: answers {other.share:.1%} of the calls."
    if other.settled is None and chosen.settled is not None:
        return f"- {other.label}: calls are late until the end, long after the outage."
    if (
        other.settled is not None
        and chosen.settled is not None
        and other.settled > chosen.settled * _SLOWER + _FORGIVEN
    ):
        return (
            f"- {other.label}: calls are on time {_seconds(other.settled)} after the outage, "
            f"not {_seconds(chosen.settled)}."
        )
    cost = _cost(other) / _cost(chosen)
    if 1 / _SAME <= cost <= _SAME:
        if other.peak > chosen.peak:
            return f"- {other.label}: as good, but up to {other.peak:,} attempts a second arrive, not {chosen.peak:,}."
        return f"- {other.label}: as good, within the lines drawn."
    return (
        f"- {other.label}: {_times(_per_answer(other) / _per_answer(chosen), 'attempts an answer')}, "
        f"{_times(_p95(other) / _p95(chosen), 'time for 95 % of the answers')}."
    )


def _times(ratio: float, what: str) -> str:
    return f"about the same {what}" if 0.95 <= ratio <= 1.05 else f"{ratio:.2g} times the {what}"


def _best_of(chosen: Outcome, best: float) -> str:
    return f" (the most: {best:.1%})" if chosen.share < best else ""


def _recovers(chosen: Outcome) -> str:
    if chosen.settled is None:
        return ""
    return f", and calls are on time again {_seconds(chosen.settled)} after the outage"


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


def _cost(outcome: Outcome) -> float:
    return _per_answer(outcome) * _p95(outcome)


def _p95(outcome: Outcome) -> float:
    return float("inf") if outcome.p95 is None else outcome.p95


def _seconds(value: float | None) -> str:
    return "never" if value is None else f"{value:.3g} s"
