"""How long a client waits before it tries again, and how often it does."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from collections import defaultdict
from collections.abc import Iterable, Sequence
from statistics import fmean, median
from typing import NamedTuple

from qfkit.grading.findings import Case, Evidence, Rule
from qfkit.grading.grouping import Call, Gap, gaps_of
from qfkit.grading.limits import Limits

#: Student's t that is exceeded with a probability of 0.001: degrees of freedom -> value, rounded up; of those between
#: two rows, the row before counts.
T_999 = {
    1: 318.31, 2: 22.328, 3: 10.215, 4: 7.174, 5: 5.894, 6: 5.208, 7: 4.786, 8: 4.501, 9: 4.297, 10: 4.144, 12: 3.930,
    15: 3.733, 20: 3.552, 25: 3.451, 30: 3.386, 40: 3.307, 60: 3.232, 120: 3.160, 10**9: 3.091,
}  # fmt: skip

#: Failures over which growth is looked at: later waits may have reached the cap.
_GROWING = 4

#: Share of all retries that has to come at once, to be more than chance.
_HABIT = 0.25

#: Waits are the same: share of the wait, or seconds, whichever is more.
_SAME = (0.02, 0.01)

#: The same, for as many calls: few have to be the more alike, as a jittered client's three may be near by chance.
_EQUAL = {3: (0.005, 0.003), 4: (0.01, 0.01)}

#: Share of the wait that those seconds are at most: of short waits they would be all.
_AT_MOST = 0.05

#: Requests that may have an immediate first retry: urllib3's habit.
_FIRST_AT_ONCE = ("python-requests/", "python-urllib3/")

_BLOCK_ATTEMPTS = 6

#: Waits of a herd differ by this part of the tolerance, however short they are.
_NARROW = 5

#: Calls failed together: within this share of the wait that follows, or within the tolerance.
_TOGETHER = 0.1

#: Waves are looked for at every so many-th part of one: with thousands of clients, not from each of them on.
_STEP = 8


def _undercut(case: Case) -> list[Evidence]:
    found = []
    for call, gap in gaps_of(case.sure):
        asked = gap.before.retry_after
        if asked and gap.seconds is not None and not gap.renewal and gap.seconds < asked - case.limits.tolerance:
            found.append(
                Evidence(
                    f"{case.at(gap.before)}: {gap.before.error} asked to wait {asked:g} s; {case.at(gap.after)} came "
                    f"after {gap.seconds:.3g} s",
                    (gap.before.number, gap.after.number),
                    (call.number,),
                )
            )
    return found


def _backoffs(call: Call) -> list[tuple[Gap, float]]:
    return [(gap, gap.backoff) for gap in call.gaps if gap.backoff is not None]


def _no_backoff(case: Case) -> list[Evidence]:
    waited = [(call, _backoffs(call)) for call in case.sure]
    pooled = [(call, gap, wait) for call, waits in waited for gap, wait in waits]
    at_once = sum(wait < case.limits.instant for *_, wait in pooled)
    if at_once < _HABIT * len(pooled):
        return []  # among thousands of jittered calls some wait for next to nothing twice
    found = [
        _listed(case, call, waits)
        for call, waits in waited
        if len(waits) >= 2 and all(wait < case.limits.instant for _, wait in waits)
    ]
    if found:
        return found
    telling = [each for each in pooled if each[1].failures > 1 or not each[1].after.agent.startswith(_FIRST_AT_ONCE)]
    if len(pooled) < 3 or not telling or any(wait >= case.limits.instant for *_, wait in pooled):
        return []
    return [_listed(case, call, [(gap, wait)]) for call, gap, wait in pooled]


def _listed(case: Case, call: Call, waits: Sequence[tuple[Gap, float]]) -> Evidence:
    numbers = [waits[0][0].before.number, *(gap.after.number for gap, _ in waits)]
    words = ", ".join(f"{wait:.3g} s" for _, wait in waits[:8]) + (", ..." if len(waits) > 8 else "")
    return Evidence(
        f"call {call.number}, from {case.at(waits[0][0].before)}: waited {words}", tuple(numbers), (call.number,)
    )


def _not_growing(case: Case) -> list[Evidence]:
    kept = []
    for call in case.sure:
        waits = [(gap, wait) for gap, wait in _backoffs(call) if gap.failures <= _GROWING]
        if waits := [(gap, wait) for gap, wait in waits if wait >= case.limits.instant]:
            kept.append((call, waits))
    points = [(gap.failures, wait) for _, waits in kept for gap, wait in waits]
    if not _constant(points) and not _flat(points, case.limits.growth):
        return []
    return [_listed(case, call, waits) for call, waits in kept if len(waits) > 1]


def _constant(points: Sequence[tuple[int, float]]) -> bool:
    """All waits are the same, the first one included: the plateau that a cap makes comes later."""
    numbers, waits = {number for number, _ in points}, [wait for _, wait in points]
    if len(waits) < 3 or len(numbers) < 2 or 1 not in numbers:
        return False
    return _same(waits, *_SAME)


def _same(waits: Sequence[float], share: float, seconds: float) -> bool:
    longest = max(waits)
    return longest - min(waits) <= max(share * longest, min(seconds, _AT_MOST * longest))


def _flat(points: Sequence[tuple[int, float]], growth: float) -> bool:
    """Whether the logarithm of the wait grows less than by that of ``growth`` a failure, at the level 0.001."""
    count = len(points)
    if count < 3 or len({number for number, _ in points}) < 2:
        return False
    x, y = [float(number) for number, _ in points], [math.log(wait) for _, wait in points]
    mean_x, mean_y = fmean(x), fmean(y)
    spread = sum((each - mean_x) ** 2 for each in x)
    slope = sum((a - mean_x) * (b - mean_y) for a, b in zip(x, y, strict=True)) / spread
    left = sum((b - mean_y - slope * (a - mean_x)) ** 2 for a, b in zip(x, y, strict=True))
    error = math.sqrt(left / (count - 2) / spread)
    return math.log(growth) - slope > max(error * critical(count - 2), 1e-9)


def critical(freedom: int) -> float:
    """The value that Student's t with so many degrees of freedom (1 or more) exceeds once in a thousand times."""
    return T_999[max(row for row in T_999 if row <= freedom)]


def _cap_exceeded(case: Case) -> list[Evidence]:
    return [
        Evidence(
            f"{wait:.0f} s between {case.at(gap.before)} and {case.at(gap.after)}",
            (gap.before.number, gap.after.number),
            (call.number,),
        )
        for call in case.sure
        for gap, wait in _backoffs(call)
        if wait > case.limits.cap
    ]


def _no_jitter(case: Case) -> list[Evidence]:
    if _fixed(case):
        return []
    by_failure: defaultdict[int, list[tuple[Call, Gap, float]]] = defaultdict(list)
    for call in case.sure:
        for gap, wait in _backoffs(call):
            if wait >= case.limits.instant:
                by_failure[gap.failures].append((call, gap, wait))
    found = []
    for failures, rows in sorted(by_failure.items()):
        if len(rows) < min(_EQUAL):
            continue
        waits = [wait for *_, wait in rows]
        if not _same(waits, *_EQUAL[max(count for count in _EQUAL if count <= len(rows))]):
            return []  # they differ somewhere: the others are alike by chance, or at a cap
        shown = ", ".join(f"{wait:.4g}" for wait in waits[:6]) + (", ..." if len(waits) > 6 else "")
        found.append(
            Evidence(
                f"after failure {failures}, {len(rows)} calls waited {shown} s",
                tuple(gap.after.number for _, gap, _ in rows),
                tuple(call.number for call, *_ in rows),
            )
        )
    return found


def _fixed(case: Case) -> bool:
    """The declared schedule has no jitter."""
    if case.schedule is None:
        return False
    draws = [case.schedule.after(failures, None) for failures in (1, 2, 3)]
    return all(draw is None or draw.fixed for draw in draws)


def _lockstep(case: Case) -> list[Evidence]:
    retries: defaultdict[int, list[_Retry]] = defaultdict(list)
    for call in case.calls:  # ambiguous ones too: who is who in a wave does not matter
        for gap, wait in _backoffs(call):
            if wait >= case.limits.instant:
                retries[gap.failures].append(_Retry(gap.before.ended or gap.before.began, wait, call, gap))
    herd = max(2, case.limits.herd)
    found = []
    for failures, rows in sorted(retries.items()):
        rows.sort(key=lambda row: row.failed)
        start = 0
        while start + herd <= len(rows):
            typical = median(row.wait for row in rows[start : start + herd])
            span = max(case.limits.tolerance, _TOGETHER * typical)
            since, until = rows[start].failed, rows[start].failed + span
            wave = rows[start : bisect_right(rows, until, start, key=_failed)]
            same = _densest(wave, case.limits)
            # Held against those before and after too: the few at the edge of a spread crowd are alike by chance.
            around = bisect_right(rows, until + span, key=_failed) - bisect_left(rows, since - span, key=_failed)
            if len(same) < herd or 3 * len(same) < 2 * around:
                start += max(1, len(wave) // _STEP)
                continue
            same.sort(key=lambda row: row.gap.after.began)
            took = same[-1].gap.after.began - same[0].gap.after.began
            found.append(
                Evidence(
                    f"retry {failures} of {len(same)} calls within {took:.3g} s, after waits of {typical:.3g} s, from "
                    f"{case.at(same[0].gap.after)} on",
                    tuple(row.gap.after.number for row in same),
                    tuple(row.call.number for row in same),
                )
            )
            start += len(wave)
    return found


class _Retry(NamedTuple):
    """One retry of a call: when the attempt before it failed, and how long its client waited."""

    failed: float
    wait: float
    call: Call
    gap: Gap


def _failed(retry: _Retry) -> float:
    return retry.failed


def _densest(wave: Sequence[_Retry], limits: Limits) -> list[_Retry]:
    """The most retries of a wave whose waits are the same."""
    rows = sorted(wave, key=lambda row: row.wait)
    waits = [row.wait for row in rows]
    best: list[_Retry] = []
    for start, wait in enumerate(waits):
        width = max(limits.tolerance / _NARROW, limits.herd_share * wait)
        end = bisect_right(waits, wait + width)
        if end - start > len(best):
            best = rows[start:end]
    return best


def _too_many(case: Case) -> list[Evidence]:
    most = max(case.limits.attempts, case.most_attempts)
    return [
        Evidence(
            f"call {call.number}, from {case.at(call.first)}: {call.tries} attempts in "
            f"{call.last.began - call.first.began:.3g} s",
            tuple(attempt.number for attempt in call.attempts),
            (call.number,),
        )
        for call in case.sure
        if call.tries > most
    ]


def _amplified(case: Case) -> list[Evidence]:
    calls, most = case.calls, max(case.limits.amplification, case.most_attempts)
    attempts = sum(call.tries for call in calls)
    if len(calls) < case.limits.amplification_calls or attempts <= most * len(calls):
        return []
    busy = [call for call in calls if call.tries > most]
    text = f"{attempts} attempts for {len(calls)} calls: {attempts / len(calls):.1f} each"
    return [Evidence(text, tuple(call.first.number for call in busy), tuple(call.number for call in busy))]


def _stacked(case: Case) -> list[Evidence]:
    chains = [call for call in case.calls if call.follows and call.tries > 1 and call.follows.tries > 1]
    found = [
        Evidence(
            f"the count of attempts begins again with {case.at(call.first)}, after {call.follows.tries} attempts of "
            f"the same question from {case.at(call.follows.first)} on",
            tuple(attempt.number for attempt in (*call.follows.attempts, *call.attempts)),
            (call.follows.number, call.number),
        )
        for call in chains
        if call.follows
    ]
    if case.waits_seen:
        found += [
            _listed(case, call, _backoffs(call))
            for call in case.sure
            if call.tries >= _BLOCK_ATTEMPTS and _in_blocks([wait for _, wait in _backoffs(call)], case.limits.instant)
        ]
    return found


def _in_blocks(waits: Sequence[float], instant: float) -> bool:
    """Whether waits grow within a block, and begin anew in the next, as those of a loop in a loop do."""
    for length in range(
        3, (len(waits) + 1) // 2 + 1
    ):  # attempts of a block: two waits at least, and one between blocks
        inner = [waits[start : start + length - 1] for start in range(0, len(waits), length)]
        first, *others = [block for block in inner if len(block) == length - 1]
        if not others or first[-1] < instant or first[-1] <= 1.2 * first[0]:
            continue  # without growth there is nothing that begins anew
        if all(_alike(a, b) for block in others for a, b in zip(first, block, strict=True)):
            return True
    return False


def _alike(first: float, second: float) -> bool:
    return abs(first - second) <= max(0.005, 0.02 * max(first, second))


def _schedule_broken(case: Case) -> list[Evidence]:
    judgement = case.judgement
    if judgement is None or judgement.answer != "broken":
        return []
    calls: Iterable[Call] = case.sure
    outside = {wait.attempt for wait in judgement.outside}
    numbers = tuple(sorted(outside)) or tuple(gap.after.number for _, gap in gaps_of(calls) if gap.backoff is not None)
    return [Evidence(judgement.message, numbers, tuple(call.number for call in calls))]


def _waits_not_seen(case: Case) -> list[Evidence]:
    gaps = [(call, gap) for call, gap in gaps_of(case.calls) if not gap.renewal]
    if case.waits_seen or not gaps:
        return []
    numbers = tuple(gap.after.number for _, gap in gaps)
    return [Evidence(f"{len(gaps)} retries", numbers, tuple(sorted({call.number for call, _ in gaps})))]


def _cannot_tell(case: Case) -> list[Evidence]:
    unsure = [call for call in case.calls if call.certainty == "ambiguous"]
    if not any(call.gaps for call in unsure):
        return []
    attempts = tuple(attempt.number for call in unsure for attempt in call.attempts)
    text = f"{len(unsure)} calls of {len(attempts)} requests, from {case.at(unsure[0].first)} on"
    return [Evidence(text, attempts, tuple(call.number for call in unsure))]


#: Codes that only the waits tell: they are found where the server saw them.
ON_WAITS: dict[str, Rule] = {
    "retry-after-undercut": _undercut,
    "no-backoff": _no_backoff,
    "backoff-not-growing": _not_growing,
    "cap-exceeded": _cap_exceeded,
    "no-jitter": _no_jitter,
    "lockstep": _lockstep,
    "schedule-broken": _schedule_broken,
}

#: Codes that say how waits are shaped: a schedule that is declared and kept answers for its shape.
SHAPES = frozenset({"no-backoff", "backoff-not-growing", "cap-exceeded", "no-jitter"})

#: The others.
RULES: dict[str, Rule] = {
    "too-many-attempts": _too_many,
    "amplification-over-budget": _amplified,
    "layers-stacked": _stacked,
    "waits-not-seen": _waits_not_seen,
    "cannot-tell": _cannot_tell,
}
