"""What a client made of the answers it got: errors tried again or not, streams that broke off."""

from __future__ import annotations

from collections.abc import Iterator

from qfkit.grading.findings import Case, Evidence, Rule
from qfkit.grading.grouping import Call, gaps_of

#: Verdicts on a signature after which signing afresh does help.
_SIGN_AGAIN = frozenset({"replayed", "expired", "clock_skew"})


def _unretried(case: Case) -> Iterator[Call]:
    """Calls of one attempt that another might have cured, of a sort that the client never tries again."""
    retried = {(gap.before.dialect, gap.before.code) for _, gap in gaps_of(case.calls)}
    retried |= {(call.follows.last.dialect, call.follows.last.code) for call in case.calls if call.follows}
    for call in case.sure:
        last = call.last
        patient = last.retry_after is None or last.retry_after <= case.limits.patience
        whole = last.fate == "broken" and not last.streamed
        alone = call.tries == 1 and (last.dialect, last.code) not in retried
        if alone and (last.fate == "retryable" or whole) and patient and not call.noticed:
            yield call


def _not_retried(case: Case) -> list[Evidence]:
    return [
        _once(case, call) for call in _unretried(case) if call.last.code is None or not 200 <= call.last.status < 300
    ]


def _body_code_unnoticed(case: Case) -> list[Evidence]:
    return [
        _once(case, call) for call in _unretried(case) if call.last.code is not None and 200 <= call.last.status < 300
    ]


def _once(case: Case, call: Call) -> Evidence:
    text = f"{case.at(call.last)}: {call.last.error}, and no attempt after it"
    return Evidence(text, (call.last.number,), (call.number,))


def _permanent_retried(case: Case) -> list[Evidence]:
    return [
        Evidence(
            f"{case.at(gap.before)}: {gap.before.error}, which no retry cures; tried again as {case.at(gap.after)}",
            (gap.before.number, gap.after.number),
            (call.number,),
        )
        for call, gap in gaps_of(case.sure)
        if gap.before.fate == "permanent"
        and not (gap.before.signed is not None and gap.before.signed.reason in _SIGN_AGAIN)
    ]


def _truncated_accepted(case: Case) -> list[Evidence]:
    return [
        Evidence(f"{case.at(call.last)}: {call.last.error}, and nothing followed", (call.last.number,), (call.number,))
        for call in case.sure
        if call.last.fate == "broken"
        and call.last.streamed
        and not call.noticed
        and sum(attempt.fate == "broken" for attempt in call.attempts) == 1
    ]


def _retried_after_content(case: Case) -> list[Evidence]:
    return [
        Evidence(
            f"{case.at(gap.before)}: {gap.before.error}; asked anew as {case.at(gap.after)}",
            (gap.before.number, gap.after.number),
            (call.number,),
        )
        for call, gap in gaps_of(case.sure)
        if gap.before.fate == "broken" and gap.before.streamed and gap.before.pieces
    ]


def _stream_abandoned(case: Case) -> list[Evidence]:
    return [
        Evidence(
            f"{case.at(one)}: all of it should have left after {one.due - one.began:.3g} s, and it is still open "
            f"{case.now - one.due:.3g} s later",
            (one.number,),
        )
        for one in case.observed
        if one.outcome == "pending" and one.due is not None and case.now - one.due > case.limits.abandoned
    ]


#: Code -> how it is found.
RULES: dict[str, Rule] = {
    "not-retried": _not_retried,
    "body-code-unnoticed": _body_code_unnoticed,
    "permanent-retried": _permanent_retried,
    "truncated-accepted": _truncated_accepted,
    "retried-after-content": _retried_after_content,
    "stream-abandoned": _stream_abandoned,
}
