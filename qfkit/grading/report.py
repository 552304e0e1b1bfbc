"""The verdict: what is to be said of a client, from what a server saw of it."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Protocol, TypeAlias, runtime_checkable

from qfkit.grading import answers, identity, waiting
from qfkit.grading.backoff import Judgement, Wait, judge
from qfkit.grading.findings import CODES, Case, Evidence, Finding, Rule, settle
from qfkit.grading.grouping import Call, Certainty, certainty_of, gaps_of, group
from qfkit.grading.limits import Limits, numbers
from qfkit.grading.observed import Observation
from qfkit.grading.schedules import Declared, named, of_backoff
from qfkit.protocol.backoff import Backoff

_RULES: dict[str, Rule] = {**answers.RULES, **identity.RULES, **waiting.RULES}

#: How sure the grouping is -> what that means.
_SURE: dict[Certainty, str] = {
    "explicit": "the client says itself which attempts belong together, or no question was tried twice",
    "likely": "attempts were put together by content and order",
    "ambiguous": "some questions were asked several times at once, so that nobody can tell whose attempts are whose",
}


@runtime_checkable
class Policy(Protocol):
    """What `qfkit.RetryPolicy` shows of itself."""

    @property
    def schedule(self) -> Backoff:
        """Its backoff."""
        ...

    @property
    def attempts(self) -> int:
        """Requests of a call at most."""
        ...


ScheduleLike: TypeAlias = "Declared | Backoff | Policy | str"


def declared(schedule: ScheduleLike | None) -> Declared | None:
    """A declared schedule, from a `RetryPolicy`, a `Backoff`, or a name.

    A name may have options: ``openai``, ``aws-full:base=0.5,cap=8``; see `qfkit.grading.schedules.named`.

    Raises:
        ValueError: there is no such schedule, or it has no such option.
        TypeError: it is none of these.
    """
    if schedule is None or isinstance(schedule, Declared):
        return schedule
    if isinstance(schedule, str):
        name, _, options = schedule.partition(":")
        return named(name.strip(), **numbers(options, "options of a schedule"))
    if isinstance(schedule, Backoff):
        return of_backoff(schedule)
    if isinstance(schedule, Policy):
        return of_backoff(schedule.schedule, schedule.attempts)
    raise TypeError(
        f"schedule is a RetryPolicy, a Backoff, what qfkit.grading.schedules.named returns, or a name such as 'openai' "
        f"or 'aws-full:base=0.5,cap=8'; got {type(schedule).__name__}"
    )


class VerdictFailed(AssertionError):
    """A verdict that is not in order.

    Attributes:
        verdict: all of it.
        findings: those that were not ignored.
    """

    def __init__(self, verdict: Verdict, findings: Sequence[Finding]) -> None:
        super().__init__(_failure(verdict, findings))
        self.verdict = verdict
        self.findings = tuple(findings)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is to be said of a client.

    Attributes:
        findings: errors first, then warnings, then what is for information.
        calls: what the attempts belong to.
        attempts: how many there were, token fetches not counted.
        certainty: how sure it is which attempts belong together, of the least sure call.
        judgement: whether the waits are those of the declared schedule, None where none was declared.
        forgotten: requests that are no longer in the journal, and were not looked at.
    """

    findings: tuple[Finding, ...]
    calls: tuple[Call, ...]
    attempts: int
    certainty: Certainty
    judgement: Judgement | None = None
    forgotten: int = 0

    @property
    def ok(self) -> bool:
        """Nothing but information."""
        return not self.against

    @property
    def against(self) -> tuple[Finding, ...]:
        """Errors and warnings."""
        return tuple(finding for finding in self.findings if finding.severity != "info")

    @property
    def codes(self) -> tuple[str, ...]:
        """The codes of errors and warnings."""
        return tuple(finding.code for finding in self.against)

    def assert_ok(self, ignore: Collection[str] = ()) -> Verdict:
        """See that nothing is wrong, and return the verdict.

        Args:
            ignore: codes that may be found.

        Raises:
            VerdictFailed: an `AssertionError` that shows what was found, where, and what to do.
            ValueError: there is no such code; the message names the nearest.
        """
        __tracebackhide__ = True
        ignored = {ignore} if isinstance(ignore, str) else set(ignore)
        for code in sorted(ignored):
            check_code(code)
        if left := [finding for finding in self.against if finding.code not in ignored]:
            raise VerdictFailed(self, left)
        return self

    def render(self) -> str:
        """The verdict for people."""
        return "\n".join([self._headline(), *(finding.render() for finding in self.findings), *self._beside()])

    def _headline(self) -> str:
        seen = f"{_counted(len(self.calls), 'call')}, {_counted(self.attempts, 'attempt')}"
        if not self.against:
            return f"verdict: ok ({seen})"
        return f"verdict: {', '.join(self.codes)} ({seen})"

    def _beside(self) -> list[str]:
        lines = [f"grouping: {self.certainty}: {_SURE[self.certainty]}"] if self.attempts else []
        if self.forgotten:
            lines.append(
                f"journal: {_counted(self.forgotten, 'request')} had no room in it and were not looked at: raise the "
                "setting journal or journal_bytes"
            )
        if self.judgement is not None:
            lines.append(f"schedule: {self.judgement.answer}: {self.judgement.message}")
        return lines

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data."""
        judgement = self.judgement
        return {
            "ok": self.ok,
            "findings": [finding.to_dict() for finding in self.findings],
            "attempts": self.attempts,
            "certainty": self.certainty,
            "forgotten": self.forgotten,
            "calls": [call.to_dict() for call in self.calls],
            "schedule": None
            if judgement is None
            else {"answer": judgement.answer, "message": judgement.message, "declared": judgement.schedule},
        }


def check_code(code: str) -> None:
    """See that there is such a code.

    Raises:
        ValueError: there is none; the message names the nearest.
    """
    if code not in CODES:
        near = get_close_matches(code, CODES, n=1)
        hint = f"did you mean {near[0]!r}?" if near else f"they are {', '.join(CODES)}"
        raise ValueError(f"no finding has the code {code!r}; {hint}")


def _failure(verdict: Verdict, findings: Sequence[Finding]) -> str:
    codes = ", ".join(f'"{finding.code}"' for finding in findings)
    comma = "," if len(findings) == 1 else ""
    seen = f"{_counted(len(verdict.calls), 'call')} and {_counted(verdict.attempts, 'attempt')}"
    return "\n".join(
        [
            f"{_counted(len(findings), 'finding')} about the client, in {seen}:",
            "",
            *(finding.render() for finding in findings),
            "",
            *verdict._beside(),
            "How to relax:",
            f"    verdict().assert_ok(ignore=({codes}{comma})) lets these pass;",
            "    verdict(limits=Limits(...)) moves the lines; account.noticed() declares that a failure was seen;",
            "    docs/verdicts.md explains each code.",
        ]
    )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def grade(
    observed: Iterable[Observation],
    *,
    schedule: ScheduleLike | None = None,
    noticed: Collection[int] = (),
    limits: Limits | None = None,
    waits_seen: bool = True,
    now: float | None = None,
    forgotten: int = 0,
) -> Verdict:
    """Judge a client by what a server saw of it.

    Args:
        observed: its requests, of one account, in any order.
        schedule: what the client says of its waits; they are then held against it, statistically. See `declared`.
        noticed: numbers of the attempts whose failure the caller has noticed and declared: they end their calls.
        limits: where the line is drawn.
        waits_seen: False where the client's clock skips waits and the server's does not: nothing is then said of them.
        now: Unix seconds on the server's clock; None is when the last of the requests ended.
        forgotten: requests before them that nobody remembers, to be told.

    Raises:
        ValueError: there is no such schedule.
        ImportError: a schedule is to be judged, and scipy is not there: ``pip install 'qfkit[grading]'``.
    """
    chosen, bounds = declared(schedule), limits or Limits()
    seen = tuple(sorted(observed, key=lambda one: (one.began, one.number)))
    calls = group(seen, noticed=noticed, limits=bounds)
    case = Case(
        observed=seen,
        calls=calls,
        limits=bounds,
        schedule=chosen,
        waits_seen=waits_seen,
        now=max((one.ended or one.began for one in seen), default=0.0) if now is None else now,
    )
    if chosen is not None and waits_seen:
        case = replace(case, judgement=_judged(case, chosen))
    found: dict[str, list[Evidence]] = {}
    for code, rule in ({**_RULES, **waiting.ON_WAITS} if waits_seen else _RULES).items():
        kept = case.judgement is not None and case.judgement.answer == "kept"
        if not (kept and code in waiting.SHAPES) and (evidence := rule(case)):
            found[code] = evidence
    attempts = sum(len(call.attempts) for call in calls)
    return Verdict(settle(found), tuple(calls), attempts, certainty_of(calls), case.judgement, forgotten)


def _judged(case: Case, schedule: Declared) -> Judgement:
    waits = [
        Wait(gap.backoff, gap.failures, call.number, gap.after.number)
        for call, gap in gaps_of(case.sure)
        if gap.backoff is not None
    ]
    return judge(waits, schedule, tolerance=case.limits.tolerance)
