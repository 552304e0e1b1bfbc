"""What an outage did, from what the mock saw: the storm, the herd, and the way back. Pure.

Goodput here is calls a second that were answered well, counted when their answer ended. Its *baseline* is the mean over
the time before the fault. The service is *recovered* at the beginning of the first stretch after the fault, of `span`
seconds, in which goodput is 95 % of the baseline; a stretch is a second, or longer where so little is asked that a
second holds fewer than twenty answers, since the scatter of so few would decide.

The *storm* is the most attempts that arrived in any one second, from the beginning of the fault on. The *herd* is how
unevenly retries arrive within a second: each second is cut into twenty, and the variance of their counts is divided by
what arrivals by chance (Poisson) of this rate would have. 1 is by chance; clients that wait the same time after the
same failure come together, and it is far more. The p-value is of the chi-square test of that.
"""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from loadtests.playing.control import Seen
from loadtests.playing.served import Served, calls_of, milliseconds, rate, told, waits_lines, waits_of

#: Share of the baseline that is recovered.
SHARE = 0.95

#: Answers that a stretch holds at least.
_ENOUGH = 20

#: Parts of a second that are held against each other, and retries that a second has at least to be looked at.
_PARTS, _BUSY = 20, 10

#: Points of the curve at most.
_POINTS = 240


def outage_section(
    seen: Sequence[Seen],
    *,
    window: tuple[float, float],
    span: tuple[float, float],
    fault: Mapping[str, Any],
    schedule: str | None = None,
) -> dict[str, Any]:
    """How a client went through an outage and back.

    Args:
        seen: the requests of the run.
        window: of the fault, Unix seconds on the mock's clock.
        span: when calls were begun, first and last.
        fault: what was played.
        schedule: a declared one, whose bounds stand beside the waits.
    """
    start, end = window
    calls = calls_of(seen)
    attempts = [attempt for call in calls for attempt in call.attempts]
    arrivals = sorted(attempt.time for attempt in attempts)
    answers = sorted(ended for call in calls if (ended := _answered(call)) is not None)
    before = start - span[0]
    baseline = rate(_within(answers, span[0], start), before)
    usual = rate(_within(arrivals, span[0], start), before)
    retries = sorted(attempt.time for call in calls for attempt in call.attempts[1:])
    struck = [call for call in calls if any(_hit(attempt, window) for attempt in call.attempts)]
    wasted = sum(not attempt.ok for attempt in attempts if attempt.time >= start)
    during, after = peak(arrivals, start, end), peak(arrivals, end, math.inf)
    storm = max(during, after)
    stretch = max(1.0, _ENOUGH / baseline) if baseline else 1.0
    back = recovery(answers, baseline, end, span[1], stretch)
    late = [ended - end for call in struck if (ended := _answered(call)) is not None and ended > end]
    return {
        "window": [round(start, 3), round(end, 3)],
        "seconds": round(end - start, 3),
        "fault": dict(fault),
        "baseline_goodput": baseline,
        "baseline_attempts": usual,
        "storm_peak": storm[0],
        "storm_peak_at": None if storm[1] is None else round(storm[1] - start, 3),
        "storm_ratio": round(storm[0] / usual, 2) if usual else None,
        "storm_during": during[0],
        "storm_after": after[0],
        "herd": herd(retries, start),
        "recovery_seconds": None if back is None else round(back, 3),
        "recovered": back is not None,
        "stretch": round(stretch, 3),
        "wasted_attempts": wasted,
        "amplification": round(len(attempts) / len(calls), 3) if calls else None,
        "struck": {
            "calls": len(struck),
            "answered": sum(call.answer is not None for call in struck),
            "given_up": sum(call.answer is None for call in struck),
            "answered_after": milliseconds(late),
        },
        "waits": waits_of(calls, schedule),
        "curve": curve(calls, window, span),
    }


def _answered(call: Served) -> float | None:
    return None if call.answer is None else call.answer.ended


def _hit(attempt: Seen, window: tuple[float, float]) -> bool:
    return not attempt.ok and window[0] <= attempt.time <= window[1]


def _within(moments: Sequence[float], low: float, high: float) -> int:
    """How many of ascending ``moments`` lie from ``low`` until before ``high``."""
    return bisect_left(moments, high) - bisect_left(moments, low)


def peak(arrivals: Sequence[float], low: float, high: float, width: float = 1.0) -> tuple[int, float | None]:
    """The most ascending ``arrivals`` from ``low`` until before ``high`` within ``width`` seconds, and since when."""
    first, last = bisect_left(arrivals, low), bisect_left(arrivals, high)
    best, since = 0, None
    for index in range(first, last):
        count = min(bisect_left(arrivals, arrivals[index] + width), last) - index
        if count > best:
            best, since = count, arrivals[index]
    return best, since


def recovery(answers: Sequence[float], baseline: float, end: float, until: float, stretch: float = 1.0) -> float | None:
    """Seconds from the end of the fault to 95 % of the baseline; None when it did not come until the run ended.

    Args:
        answers: when calls were answered well, ascending.
        baseline: answers a second before the fault.
        end: of the fault.
        until: after this, no call was begun.
        stretch: seconds over which goodput is taken.
    """
    wanted = math.ceil(round(SHARE * baseline * stretch, 9))
    if wanted <= 0:
        return None
    first, last = bisect_left(answers, end), bisect_right(answers, until)
    for index in range(first, last - wanted + 1):
        if answers[index + wanted - 1] - answers[index] <= stretch:
            return answers[index] - end
    return None


def herd(retries: Sequence[float], start: float) -> dict[str, Any] | None:
    """How unevenly ascending ``retries`` arrive within a second; None where there are too few to tell."""
    parts: dict[int, Counter[int]] = {}
    for moment in retries:
        place = math.floor((moment - start) * _PARTS)
        parts.setdefault(place // _PARTS, Counter())[place % _PARTS] += 1
    busy = [counts for counts in parts.values() if counts.total() >= _BUSY]
    if not busy:
        return None
    statistic, freedom = 0.0, 0
    for counts in busy:
        mean = counts.total() / _PARTS
        statistic += sum((counts[part] - mean) ** 2 for part in range(_PARTS)) / mean
        freedom += _PARTS - 1
    largest = max(max(counts.values()) for counts in busy)
    return {
        "dispersion": round(statistic / freedom, 3),
        "p": _chance(statistic, freedom),
        "seconds": len(busy),
        "largest": largest,
        "part_ms": 1000 / _PARTS,
    }


def _chance(statistic: float, freedom: int) -> float | None:
    """The chance that arrivals by chance are as uneven; None without scipy."""
    try:
        from scipy.stats import chi2  # noqa: PLC0415 - slow to import, and an extra
    except ImportError:
        return None
    return float(f"{float(chi2.sf(statistic, freedom)):.3g}")


def curve(calls: Sequence[Served], window: tuple[float, float], span: tuple[float, float]) -> list[dict[str, Any]]:
    """What happened when, in seconds from the beginning of the fault; figures a second."""
    last = max([span[1], *(attempt.time for call in calls for attempt in call.attempts)])
    width = max(0.25, (last - span[0]) / _POINTS)
    rows: dict[int, Counter[str]] = {}

    def count(moment: float, name: str) -> None:
        rows.setdefault(math.floor((moment - window[0]) / width), Counter())[name] += 1

    for call in calls:
        for number, attempt in enumerate(call.attempts):
            count(attempt.time, "retries" if number else "offered")
        if (ended := _answered(call)) is not None:
            count(ended, "goodput")
        else:
            count(call.attempts[-1].ended or call.attempts[-1].time, "given_up")
    return [
        {
            "t": round(place * width, 3),
            "attempts": round((row["offered"] + row["retries"]) / width, 3),
            **{name: round(row[name] / width, 3) for name in ("offered", "retries", "goodput", "given_up")},
        }
        for place in (range(min(rows), max(rows) + 1) if rows else ())
        for row in (rows.get(place, Counter()),)
    ]


def outage_lines(section: Mapping[str, Any]) -> Iterator[str]:
    """What a person should read of `outage_section`."""
    if section["window"] is None:
        yield section["why"]
        return
    fault = ", ".join(f"{name} {value}" for name, value in section["fault"].items() if name != "times")
    yield f"{section['seconds']:.1f} s of {fault}; before it {section['baseline_goodput']:.1f} good calls/s"
    ratio = f", {section['storm_ratio']:.1f} times the usual" if section["storm_ratio"] else ""
    at = "" if section["storm_peak_at"] is None else f" at {section['storm_peak_at']:+.1f} s"
    yield (
        f"storm: at most {section['storm_peak']} attempts in a second{at}{ratio} "
        f"(during {section['storm_during']}, after {section['storm_after']})"
    )
    if section["herd"] is None:
        yield "herd: too few retries in any second to tell"
    else:
        one = section["herd"]
        chance = "" if one["p"] is None else f", p {one['p']:g}"
        most = f"at most {one['largest']} in {one['part_ms']:g} ms"
        yield f"herd: dispersion {one['dispersion']:.2f} (1 is by chance{chance}), {most}"
    if section["recovered"]:
        yield f"recovered to {SHARE:.0%} of that {section['recovery_seconds']:.2f} s after the fault's end"
    else:
        yield f"never came back to {SHARE:.0%} of that while calls were made"
    struck = section["struck"]
    late = struck["answered_after"]
    slow = f", the last one {told(late['max'])} after its end" if late["count"] else ""
    yield f"struck {struck['calls']} calls: {struck['answered']} answered{slow}, {struck['given_up']} given up"
    yield f"wasted attempts {section['wasted_attempts']}"
    yield from waits_lines(section["waits"])
