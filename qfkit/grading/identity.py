"""How a client proves who it is: tokens, signatures, secrets."""

from __future__ import annotations

import math
from collections import defaultdict
from itertools import groupby

from qfkit.grading.findings import Case, Evidence, Rule
from qfkit.grading.grouping import gaps_of
from qfkit.grading.observed import Observation

#: Seconds within which fetches are a storm.
_STORM_SECONDS = 1.0

#: How the server's note on a secret begins.
SECRET_NOTE = "secret-in-clear"  # noqa: S105 - a name


def _token_not_refreshed(case: Case) -> list[Evidence]:
    found = [
        Evidence(
            f"{case.at(gap.before)}: {gap.before.error}; {case.at(gap.after)} came with the same token",
            (gap.before.number, gap.after.number),
            (call.number,),
        )
        for call, gap in gaps_of(case.sure)
        if gap.renewal and gap.after.token is not None and gap.before.token == gap.after.token
    ]
    fetches = [one.began for one in case.observed if one.token_fetch]
    latest = max(fetches, default=math.inf)  # who never fetched one was given a token, and cannot get another
    for call in case.sure:
        last = call.last
        if last.fate == "stale" and not call.noticed and len(call.attempts) == 1 and latest < last.began:
            text = f"{case.at(last)}: {last.error}, and no token was fetched after it"
            found.append(Evidence(text, (last.number,), (call.number,)))
    return found


def _token_storm(case: Case) -> list[Evidence]:
    stale = [one for one in case.observed if one.fate == "stale"]
    fetches = [one for one in case.observed if one.token_fetch and stale and one.began >= stale[0].began]
    found: list[Evidence] = []
    start = 0
    while start < len(fetches):
        first = fetches[start]
        burst = [one for one in fetches[start:] if one.began - first.began <= _STORM_SECONDS]
        near = (first.began - _STORM_SECONDS, burst[-1].began)
        expiries = len({one.token for one in stale if near[0] <= one.began <= near[1]})
        if len(burst) >= max(1.0, case.limits.storm * max(1, expiries)):
            text = f"{len(burst)} fetches within {burst[-1].began - first.began:.3g} s, from {case.at(first)} on"
            found.append(Evidence(text, tuple(one.number for one in burst)))
            start += len(burst)
        else:
            start += 1
    return found


def _signature_reused(case: Case) -> list[Evidence]:
    calls = {attempt.number: call.number for call in case.calls for attempt in call.attempts}
    seen: dict[tuple[object, ...], Observation] = {}
    found = []
    for one in case.observed:
        signed = one.signed
        if signed is None or not signed.nonce:
            continue
        key = (signed.timestamp, signed.nonce, signed.mark)
        first = seen.setdefault(key, one)
        if first is one and signed.reason != "replayed":
            continue
        what = f"signed as {case.at(first)} was" if first is not one else "the server had seen this signature before"
        numbers = tuple(sorted({first.number, one.number}))
        involved = tuple(sorted({calls[number] for number in numbers if number in calls}))
        found.append(Evidence(f"{case.at(one)}: {what}", numbers, involved))
    return found


def _timestamp_stale(case: Case) -> list[Evidence]:
    # Only hmac: a bce-auth-v1 signature says itself how long it is good for.
    aged = [
        (one.began - one.signed.timestamp, one)
        for one in case.observed
        if one.scheme == "hmac" and one.signed is not None and one.signed.timestamp is not None
    ]
    least = min((age for age, _ in aged), default=0.0)
    calls = {attempt.number: call.number for call in case.calls for attempt in call.attempts}
    return [
        Evidence(
            f"{case.at(one)}: signed {age - least:.0f} s before it arrived",
            (one.number,),
            (calls[one.number],) if one.number in calls else (),
        )
        for age, one in aged
        if age - least > case.limits.stale_signature
    ]


def _forms_mixed(case: Case) -> list[Evidence]:
    forms: defaultdict[str, list[Observation]] = defaultdict(list)
    for one in case.observed:
        if one.scheme == "hmac" and one.signed is not None and one.signed.form and one.signed.reason == "ok":
            forms[one.signed.form].append(one)
    if len(forms) < 2:
        return []
    return [
        Evidence(f"form {form}: {len(found)} requests, first {case.at(found[0])}", (found[0].number,))
        for form, found in forms.items()
    ]


def _secret_in_clear(case: Case) -> list[Evidence]:
    noted = ((one, finding) for one in case.observed for finding in one.findings if finding.startswith(SECRET_NOTE))
    return [
        Evidence(f"{case.at(one)}: {' and '.join(note.partition(': ')[2] for _, note in notes)}", (one.number,))
        for one, notes in groupby(noted, key=lambda pair: pair[0])
    ]


#: Code -> how it is found.
RULES: dict[str, Rule] = {
    "token-not-refreshed": _token_not_refreshed,
    "token-storm": _token_storm,
    "signature-reused": _signature_reused,
    "timestamp-stale": _timestamp_stale,
    "forms-mixed": _forms_mixed,
    "secret-in-clear": _secret_in_clear,
}
