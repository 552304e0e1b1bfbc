"""What a verdict may say: a finding, and the table of all its codes."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from qfkit.grading.backoff import Judgement
from qfkit.grading.grouping import Call
from qfkit.grading.limits import Limits
from qfkit.grading.observed import Observation
from qfkit.grading.schedules import Declared

#: ``error`` and ``warning`` make a verdict fail; ``info`` does not.
Severity: TypeAlias = Literal["error", "warning", "info"]

SEVERITIES: tuple[Severity, ...] = ("error", "warning", "info")

#: Lines of evidence that are shown of one finding.
SHOWN = 5


@dataclass(frozen=True, slots=True)
class Evidence:
    """One place where something was seen.

    Attributes:
        text: what, in a line.
        attempts: numbers of the requests in the journal.
        calls: numbers of the calls they belong to.
    """

    text: str
    attempts: tuple[int, ...]
    calls: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Finding:
    """Something about a client that is not as it should be.

    Attributes:
        code: a key of `CODES`.
        severity: see there.
        evidence: where it was seen, in the order of time.
    """

    code: str
    severity: Severity
    evidence: tuple[Evidence, ...]

    @property
    def title(self) -> str:
        """What it means, in a line."""
        return CODES[self.code].title

    @property
    def advice(self) -> str:
        """What to do about it."""
        return CODES[self.code].advice

    @property
    def attempts(self) -> tuple[int, ...]:
        """Numbers of all requests that show it."""
        return tuple(sorted({number for each in self.evidence for number in each.attempts}))

    def render(self) -> str:
        """Headline, evidence and advice, a line each."""
        lines = [f"{self.severity} {self.code}: {self.title}"]
        lines += [f"    {each.text}" for each in self.evidence[:SHOWN]]
        if (more := len(self.evidence) - SHOWN) > 0:
            lines.append(f"    and {more} more")
        return "\n".join([*lines, f"    -> {self.advice}"])

    def to_dict(self) -> dict[str, Any]:
        """As JSON-ready data."""
        return {
            "code": self.code,
            "severity": self.severity,
            "title": self.title,
            "evidence": [
                {"text": each.text, "attempts": list(each.attempts), "calls": list(each.calls)}
                for each in self.evidence
            ],
            "advice": self.advice,
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """All that is known of a client.

    Attributes:
        observed: its requests, in the order of arrival.
        calls: what they belong to.
        limits: where the line is drawn.
        schedule: what the client says of its waits, None for nothing.
        judgement: whether it keeps to that, None where it says nothing or the waits are skipped.
        waits_seen: the waits that the server saw are those of the client; a clock that skips shows none.
        now: Unix seconds on the server's clock, when this was looked at.
    """

    observed: Sequence[Observation]
    calls: Sequence[Call]
    limits: Limits
    schedule: Declared | None = None
    judgement: Judgement | None = None
    waits_seen: bool = True
    now: float = 0.0

    @property
    def sure(self) -> list[Call]:
        """The calls whose attempts are known to be theirs."""
        return [call for call in self.calls if call.certainty != "ambiguous"]

    @property
    def most_attempts(self) -> int:
        """Attempts that the schedule allows a call, 0 where it says nothing."""
        return (self.schedule.attempts or 0) if self.schedule else 0

    def at(self, one: Observation) -> str:
        """A request, with the time since the first one: ``#3 at +1.250 s``."""
        return f"#{one.number} at +{one.began - self.observed[0].began:.3f} s"


#: A rule looks at a case and says where it found what its code means.
Rule: TypeAlias = Callable[[Case], list[Evidence]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Code:
    """One row of the table.

    Attributes:
        severity: of its findings.
        title: what it means, in a line.
        told: how it is told.
        advice: what to do about it.
        explained_by: codes that say the same more to the point: evidence about calls where one of them was found is
            left out.
    """

    severity: Severity
    title: str
    told: str
    advice: str
    explained_by: tuple[str, ...] = ()


CODES: dict[str, Code] = {
    "not-retried": Code(
        severity="error",
        title="a failure that another attempt may cure was not tried again",
        told="An answer with a retryable error under a real HTTP status, or one that broke off and was no stream, is "
        "the only attempt of its call; and no other call with this error was tried again either. An answer that asks "
        "for a wait beyond `Limits.patience` may be the last.",
        advice="Try again after a wait that grows and is jittered. If giving up is right here, declare it: "
        "account.noticed() once the caller has seen the error.",
    ),
    "body-code-unnoticed": Code(
        severity="error",
        title="an error in the body of an HTTP 200 was not noticed",
        told="As `not-retried`, where the error came under HTTP 200, as v1 sends all of its errors.",
        advice="Look for error_code in the body before anything else: v1 reports errors under HTTP 200, so "
        "raise_for_status() lets them pass.",
    ),
    "permanent-retried": Code(
        severity="error",
        title="an error that no other attempt can cure was tried again",
        told="An attempt follows one that failed with an error that the table does not call retryable. By content, a "
        "request is taken for such an attempt within `Limits.patience`.",
        advice="Try again only what `qfkit errors CODE` calls retryable; report the others to the caller at once.",
        explained_by=("signature-reused",),
    ),
    "retry-after-undercut": Code(
        severity="error",
        title="the service said how long to wait, and the client came back earlier",
        told="The wait is shorter than `Retry-After` (or `Retry-After-Ms`) less `Limits.tolerance`.",
        advice="Read Retry-After, as seconds or as a date, and wait at least as long.",
    ),
    "no-backoff": Code(
        severity="error",
        title="retries came at once, without a wait",
        told="Two or more waits of one call, or three or more of all calls, and none reaches `Limits.instant`; and a "
        "quarter of all waits do not. The "
        "first wait of urllib3 and requests is always 0, so for them a first wait alone says nothing. Waits that "
        "the service asked for do not count.",
        advice="Wait before each retry: twice as long each time, jittered, up to a cap.",
        explained_by=("schedule-broken",),
    ),
    "backoff-not-growing": Code(
        severity="warning",
        title="the waits do not grow from failure to failure",
        told="A regression of the logarithm of the wait on the number of the failure, over the first four failures of "
        "all calls: its slope is less than the logarithm of `Limits.growth` at the level 0.001; or all of three and "
        "more waits are the same. Constant waits show after three, jittered ones need more.",
        advice="Multiply the wait by 2 after each failure, up to a cap: a service that is overloaded needs the room.",
        explained_by=("no-backoff", "layers-stacked", "schedule-broken"),
    ),
    "cap-exceeded": Code(
        severity="warning",
        title="a wait was longer than any caller is patient",
        told="A wait beyond `Limits.cap` that the service did not ask for.",
        advice="Cap the backoff, at 30 s or so, and give up after a few attempts.",
        explained_by=("schedule-broken",),
    ),
    "no-jitter": Code(
        severity="warning",
        title="every call waits exactly as long as the others",
        told="After the same failure, three or more calls waited the same: within 0.5 % or 3 ms, four or more within "
        "1 % or 10 ms; of short waits within 5 %. Not looked at where the declared schedule has no jitter.",
        advice="Draw each wait at random, best from 0 to the longest: clients that fail together must not come back "
        "together.",
        explained_by=("lockstep", "no-backoff", "backoff-not-growing", "layers-stacked", "schedule-broken"),
    ),
    "lockstep": Code(
        severity="error",
        title="clients that failed together came back together",
        told="Of the calls whose same attempt failed at about the same time, within a tenth of the wait or "
        "`Limits.tolerance`, at least `Limits.herd`, and two thirds of those around, waited the same: within "
        "`Limits.herd_share` of the wait, or a fifth of `Limits.tolerance`. Waits that the service asked for do not "
        "count.",
        advice="Draw each wait at random, from a source that every client seeds for itself.",
    ),
    "too-many-attempts": Code(
        severity="warning",
        title="a call was tried more often than can help",
        told="More attempts of one call than `Limits.attempts`, or than the declared schedule has.",
        advice="Stop after 3 to 5 attempts, and say so to the caller.",
        explained_by=("layers-stacked",),
    ),
    "amplification-over-budget": Code(
        severity="warning",
        title="retries multiply the load on a service that fails",
        told="More attempts for each call on average than `Limits.amplification`, over `Limits.amplification_calls` "
        "calls and more.",
        advice="Give all calls of a client one budget of retries (RetryBudget), and fail fast when it is spent.",
        explained_by=("layers-stacked", "too-many-attempts"),
    ),
    "layers-stacked": Code(
        severity="warning",
        title="one retry loop runs inside another",
        told="The client's own count of attempts (`x-stainless-retry-count`) begins again while the same question goes "
        "on; or the waits of a call of six attempts and more repeat themselves in blocks.",
        advice="Let one layer try again and switch the others off, such as OpenAI(max_retries=0): attempts multiply.",
    ),
    "token-not-refreshed": Code(
        severity="error",
        title="the token had ended, and the client did not get a new one",
        told="After 110, 111 or invalid_iam_token the same token came again, or nothing came, from a client that had "
        "fetched a token before.",
        advice="After these codes get a new token and send the request once more, once.",
    ),
    "token-storm": Code(
        severity="warning",
        title="many fetched a token at the same time",
        told="At least `Limits.storm` fetches within a second, for each token that had ended about then.",
        advice="Share one token among threads and processes, and let one of them renew it while the others wait.",
    ),
    "truncated-accepted": Code(
        severity="error",
        title="a stream that broke off was taken for a whole answer",
        told="A stream ended without its end event, or with an error event, and nothing followed.",
        advice="Take a stream for whole only when its end event has come (is_end, finish_reason, [DONE]). A client "
        "that raises an error is right: declare it with account.noticed().",
    ),
    "stream-abandoned": Code(
        severity="warning",
        title="a stream was neither read to its end nor closed",
        told="It is still open `Limits.abandoned` seconds after all of it should have left. Hanging up is closing.",
        advice="Close the response when you stop reading: use it in a with block, or call close().",
    ),
    "retried-after-content": Code(
        severity="warning",
        title="a stream was begun anew after content had been delivered",
        told="A stream broke off after pieces of content, and the same question came again.",
        advice="Try again only before the first piece of content; later, raise an error: a second answer differs from "
        "the first. Where repeating is meant, ignore this code.",
    ),
    "signature-reused": Code(
        severity="error",
        title="signed bytes were sent a second time",
        told="The same time stamp, nonce and signature came again, or the server took the request for a replay.",
        advice="Sign every attempt afresh, with a new nonce and the time of the attempt: the retry loop goes around "
        "the signing.",
    ),
    "timestamp-stale": Code(
        severity="warning",
        title="the time stamp was old when the request arrived",
        told="More than `Limits.stale_signature` seconds between the time signed and the arrival, with what the clocks "
        "differ taken off (the least difference of all requests).",
        advice="Take the time when the attempt is sent, not when the call began.",
        explained_by=("signature-reused",),
    ),
    "forms-mixed": Code(
        severity="warning",
        title="requests of one account are signed in different forms",
        told="Valid hmac signatures matched different strings to sign, such as B/path and A/url.",
        advice="Let one function sign for all; the form B over the path is the safest, as it covers the nonce.",
    ),
    "secret-in-clear": Code(
        severity="error",
        title="a secret key was sent in clear",
        told="A secret of the account stands in the body, the target or the headers, outside the places that are meant "
        "for it. It is masked in the journal.",
        advice="Send the signature or the token, never the secret key; then replace that key, as it has been seen.",
    ),
    "schedule-broken": Code(
        severity="error",
        title="the waits are not those of the declared schedule",
        told="A wait outside of what the schedule allows, or waits that are not spread as it would spread them, at the "
        "level 0.01 (see qfkit.grading.backoff). Waits after `Retry-After` are left out.",
        advice="Compare the client's retry settings with the schedule that the test declares.",
    ),
    "cannot-tell": Code(
        severity="info",
        title="the same question was asked several times at once, so it is not known who tried again",
        told="A request could go on with several open calls. Nothing is said about the waits of these calls.",
        advice="Send X-Qfkit-Call-Id, one value for all attempts of a call, or ask different questions.",
    ),
    "waits-not-seen": Code(
        severity="info",
        title="waits were skipped, so nothing is said about them",
        told="The client backs off on a clock that skips, and the server's clock does not: no wait can be seen.",
        advice="Put both on one virtual clock to have the waits judged.",
    ),
}


def settle(found: dict[str, list[Evidence]]) -> tuple[Finding, ...]:
    """The findings, the causes alone: see `Code.explained_by`. Errors come first."""
    kept = []
    for code, evidence in found.items():
        causes = [each for cause in CODES[code].explained_by for each in found.get(cause, ())]
        calls = {call for each in causes for call in each.calls}
        attempts = {number for each in causes for number in each.attempts}
        left = [each for each in evidence if not _explained(each, calls, attempts)]
        if left:
            kept.append(Finding(code, CODES[code].severity, tuple(left)))
    return tuple(sorted(kept, key=lambda each: SEVERITIES.index(each.severity)))


def _explained(evidence: Evidence, calls: set[int], attempts: set[int]) -> bool:
    if evidence.calls:
        return 2 * len(calls & set(evidence.calls)) >= len(set(evidence.calls))
    return bool(attempts & set(evidence.attempts))
