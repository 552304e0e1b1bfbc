"""What the mock saw of a client: its calls, each with all of its attempts, and figures of them. Pure.

In these scenarios every call asks a question of its own (`tagged`), so attempts belong together beyond doubt, whatever
client made them. All figures here are the server's, and so mean the same for every client.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from loadtests.measuring.measures import Histogram
from loadtests.playing.control import Seen
from qfkit.grading import declared

QUANTILES = {"min": 0.0, "p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "max": 1.0}

#: Limit of a quota -> seconds that it is for.
_PER = {"qps": 1.0, "rpm": 60.0}


def tagged(prompt: str, tag: str) -> str:
    """A question that nobody else asks: ``prompt`` with a tag behind it."""
    return f"{prompt} #{tag}"


@dataclass(slots=True)
class Served:
    """One call as the server saw it.

    Attributes:
        question: with its tag.
        attempts: in the order of arrival.
    """

    question: str
    attempts: list[Seen] = field(default_factory=list)

    @property
    def began(self) -> float:
        """Arrival of its first attempt, Unix seconds."""
        return self.attempts[0].time

    @property
    def answer(self) -> Seen | None:
        """The attempt that was answered well, None while there is none."""
        return next((attempt for attempt in self.attempts if attempt.ok), None)

    @property
    def waits(self) -> list[tuple[int, float, bool]]:
        """Number of each attempt from 2 on, the seconds before it, and whether the service had said how long.

        From the end of the answer before it. An attempt whose answer never came ends when its client left.
        """
        return [
            (number, max(0.0, after.time - (before.ended or before.time)), bool(before.retry_after))
            for number, (before, after) in enumerate(pairwise(self.attempts), 2)
        ]


def calls_of(seen: Iterable[Seen]) -> list[Served]:
    """The calls that these requests belong to, in the order in which they began; token fetches belong to none."""
    found: dict[str, Served] = {}
    for one in sorted(seen, key=lambda one: (one.time, one.number)):
        if not one.token_fetch and one.operation != "unknown":
            found.setdefault(one.question, Served(one.question)).attempts.append(one)
    return list(found.values())


def rate(count: float, seconds: float) -> float:
    """So many in so many seconds, a second."""
    return round(count / seconds, 3) if seconds > 0 else 0.0


def milliseconds(seconds: Iterable[float]) -> dict[str, float | int]:
    """Count and quantiles, in milliseconds."""
    histogram = Histogram(seconds)
    values = histogram.quantiles(*QUANTILES.values())
    return {
        "count": histogram.count,
        **{name: round(value * 1e3, 3) for name, value in zip(QUANTILES, values, strict=False)},
    }


def backoff_section(
    seen: Sequence[Seen], *, quota: Mapping[str, float], span: tuple[float, float], schedule: str | None = None
) -> dict[str, Any]:
    """How a client met a quota: what it offered, what was admitted, and what its retries cost.

    Args:
        seen: the requests of the run.
        quota: what the account might ask.
        span: when calls were begun, Unix seconds: rates are over this time.
        schedule: the declared one, whose bounds stand beside the waits.
    """
    calls = calls_of(seen)
    attempts = [attempt for call in calls for attempt in call.attempts]
    seconds = span[1] - span[0]
    admitted = sum(attempt.ok for attempt in attempts)
    answered = sum(call.answer is not None for call in calls)
    return {
        "quota": dict(quota),
        "quota_rate": min((quota[name] / per for name, per in _PER.items() if name in quota), default=None),
        "seconds": round(seconds, 3),
        "offered": {"calls": len(calls), "rate": rate(len(calls), seconds)},
        "attempts": {"count": len(attempts), "rate": rate(len(attempts), seconds)},
        "admitted": {
            "count": admitted,
            "rate": rate(sum(span[0] <= a.time <= span[1] for a in attempts if a.ok), seconds),
        },
        "refused": len(attempts) - admitted,
        "answered": answered,
        "given_up": len(calls) - answered,
        "token_requests": sum(one.token_fetch for one in seen),
        "amplification": round(len(attempts) / len(calls), 3) if calls else None,
        "attempts_per_answer": round(len(attempts) / answered, 3) if answered else None,
        "by_attempt": _by_attempt(calls),
        "waits": waits_of(calls, schedule),
        "timeline": _timeline(calls, span[0]),
    }


def _by_attempt(calls: Sequence[Served]) -> list[dict[str, int]]:
    sent, good = Counter[int](), Counter[int]()
    for call in calls:
        for number, attempt in enumerate(call.attempts, 1):
            sent[number] += 1
            good[number] += attempt.ok
    return [{"attempt": number, "sent": sent[number], "admitted": good[number]} for number in sorted(sent)]


def waits_of(calls: Sequence[Served], schedule: str | None = None) -> dict[str, dict[str, Any]]:
    """The waits before each attempt by its number, in milliseconds, with what the schedule allows.

    ``asked`` counts those that followed the service's Retry-After: they are in no quantile.
    """
    own: dict[int, list[float]] = {}
    asked = Counter[int]()
    for call in calls:
        for number, wait, told in call.waits:
            kept = own.setdefault(number, [])
            if told:
                asked[number] += 1
            else:
                kept.append(wait)
    says = declared(schedule)
    found: dict[str, dict[str, Any]] = {}
    for number in sorted(own):
        draw = says.after(number - 1, None) if says is not None else None
        bounds = None if draw is None else [round(edge * 1e3, 3) for edge in draw.bounds]
        found[str(number)] = {**milliseconds(own[number]), "asked": asked[number], "declared": bounds}
    return found


def _timeline(calls: Sequence[Served], start: float) -> list[dict[str, Any]]:
    rows: dict[int, Counter[str]] = {}
    for call in calls:
        rows.setdefault(math.floor(call.began - start), Counter())["offered"] += 1
        for attempt in call.attempts:
            row = rows.setdefault(math.floor(attempt.time - start), Counter())
            row["attempts"] += 1
            row["admitted"] += attempt.ok
    return [
        {"second": second, **{name: rows.get(second, Counter())[name] for name in ("offered", "attempts", "admitted")}}
        for second in (range(min(rows), max(rows) + 1) if rows else ())
    ]


def told(milliseconds: float) -> str:
    """A time for people."""
    return f"{milliseconds / 1e3:.2f} s" if milliseconds >= 1000 else f"{milliseconds:.0f} ms"


def waits_lines(waits: Mapping[str, Mapping[str, Any]]) -> Iterator[str]:
    """A line for the waits before each attempt."""
    for number, row in waits.items():
        parts = []
        if row["count"]:
            parts.append(f"{row['count']} of its own, p50 {told(row['p50'])}, {told(row['min'])} to {told(row['max'])}")
        if row["asked"]:
            parts.append(f"{row['asked']} as the service asked (Retry-After)")
        if row["declared"]:
            parts.append(f"declared {told(row['declared'][0])} to {told(row['declared'][1])}")
        yield f"waits before attempt {number}: {'; '.join(parts)}"


def backoff_lines(section: Mapping[str, Any]) -> Iterator[str]:
    """What a person should read of `backoff_section`."""
    offered, attempts, admitted = section["offered"], section["attempts"], section["admitted"]
    quota = ", ".join(f"{name} {limit:g}" for name, limit in section["quota"].items())
    share = f", {admitted['rate'] / section['quota_rate']:.0%} of it" if section["quota_rate"] else ""
    yield f"quota {quota}: admitted {admitted['count']} ({admitted['rate']:.2f}/s{share}), refused {section['refused']}"
    sent = f"{attempts['count']} attempts ({attempts['rate']:.2f}/s)"
    yield f"offered {offered['calls']} calls ({offered['rate']:.2f}/s) in {sent}"
    yield f"answered {section['answered']}, given up {section['given_up']}"
    if section["amplification"] is not None:
        per = section["attempts_per_answer"]
        yield f"amplification {section['amplification']:.2f} attempts a call" + (
            f", {per:.2f} an answer" if per else ""
        )
    yield from waits_lines(section["waits"])
