"""Each cause of a refusal, made over and over by a real signer with one thing changed, is told by its name.

The signers are other people's: the tutorial's for ``hmac``, the official bce-python-sdk's for ``bce-auth-v1``. Each
case is drawn from a seed, so a failure is the same in every run. ``QFKIT_CASES`` sets how many cases a cause gets.
"""

from __future__ import annotations

import json
import os
from collections import Counter
from dataclasses import replace

import pytest
import signing_cases_bce
import signing_cases_hmac
from signing_cases import Case, Maker, cases

from qfkit.protocol.signing import CAUSES, Verification, hypotheses_bce, hypotheses_hmac

CASES = int(os.environ.get("QFKIT_CASES", "100"))
#: Of a hundred cases, how many must be named right.
RIGHT = 99

#: The makers of cases: scheme -> cause -> maker.
MAKERS: dict[str, dict[str, Maker]] = {"hmac": signing_cases_hmac.CAUSES, "bce-auth-v1": signing_cases_bce.CAUSES}
#: Causes of one test: few, so that the tests spread over workers, and enough for a table to be worth reading.
_BATCH = 8
BATCHES = [
    (scheme, names[start : start + _BATCH])
    for scheme, names in ((scheme, list(makers)) for scheme, makers in MAKERS.items())
    for start in range(0, len(names), _BATCH)
]


def told(verdict: Verification) -> str:
    return "\n".join((verdict.message, verdict.render(), json.dumps(verdict.to_dict(), ensure_ascii=False)))


def leaks(case: Case, verdict: Verification) -> list[str]:
    """What the verdict tells of what it must hide. A digest's start is looked for: what holds more of it has that."""
    text = told(verdict)
    return [hidden for hidden in case.hidden if hidden[:12] in text]


def score(scheme: str, cause: str) -> Counter[str | None]:
    """How often each name was given to cases of ``cause``."""
    names: Counter[str | None] = Counter()
    for case in cases(scheme, cause, MAKERS[scheme][cause], CASES):
        verdict = case.verdict()
        assert not verdict.ok, f"{scheme} {cause}: accepted as {verdict.form}: {case.request}"
        assert not leaks(case, verdict), f"{scheme} {cause}: {leaks(case, verdict)} is in {told(verdict)}"
        names[verdict.cause] += 1
    return names


def row(scheme: str, cause: str, names: Counter[str | None]) -> str:
    others = Counter({name: count for name, count in names.items() if name != cause})
    wrong = " ".join(f"{name} x{count}" for name, count in others.most_common(1))
    return f"{scheme:12} {cause:28} {names[cause]:5}/{CASES:<5} {wrong}"


@pytest.mark.parametrize(("scheme", "causes"), BATCHES, ids=[f"{scheme}-{causes[0]}" for scheme, causes in BATCHES])
def test_generated_mistakes_are_named(scheme: str, causes: list[str]) -> None:
    scores = {cause: score(scheme, cause) for cause in causes}
    table = "\n".join(["cause, right of all, most frequent wrong name", *(row(scheme, *s) for s in scores.items())])
    assert all(names[cause] * 100 >= RIGHT * CASES for cause, names in scores.items()), table


def test_every_cause_is_made() -> None:
    made = {cause for makers in MAKERS.values() for cause in makers}
    assert made == set(CAUSES)
    for scheme, table in (("hmac", hypotheses_hmac), ("bce-auth-v1", hypotheses_bce)):
        assert {row.cause for row in table.HYPOTHESES} <= set(MAKERS[scheme])


@pytest.mark.parametrize("scheme", MAKERS)
def test_a_leak_would_be_seen(scheme: str) -> None:
    (case,) = cases(scheme, "wrong-secret", MAKERS[scheme]["wrong-secret"], 1)
    for hidden in case.hidden:
        assert hidden in leaks(case, replace(case.verdict(), message=f"it is {hidden[:12]}"))
