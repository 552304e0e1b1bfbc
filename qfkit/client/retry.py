"""When to try again and how long to wait: a policy that is a plain value, and the loop (tenacity's) that follows it."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from random import Random
from typing import Literal, TypeAlias, TypeVar

import tenacity

from qfkit.client.attempts import AttemptLog
from qfkit.client.budget import Purse, RetryBudget
from qfkit.client.exceptions import APIError, ConfigurationError, QianfanError, raise_if
from qfkit.clock import Clock
from qfkit.protocol.backoff import JITTERS, Backoff, Jitter

T = TypeVar("T")

#: What ends a call that failed: an error that no attempt cures, or a limit of the policy.
Cause: TypeAlias = Literal["permanent", "attempts", "retry_after_ceiling", "max_total", "budget"]


@dataclass(frozen=True, slots=True)
class Decision:
    """What a policy says after a failure: wait so many seconds and try again, or give up because of ``reason``.

    Attributes:
        wait: seconds, None to give up.
        reason: why, for people.
        cause: what made it give up, for counting; None where it did not.
    """

    wait: float | None
    reason: str
    cause: Cause | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RetryPolicy:
    """How often a call is tried, and how long it waits in between.

    Tried again: connections that fail and timeouts, and every answer that the error table calls retryable, by its
    code (v1 reports overload under HTTP 200) or, for a code that the table does not know, by status: 408, 429 and 5xx.
    Never tried again: an error that another attempt cannot cure. Inference calls change nothing on the server, so
    sending one twice is safe.

    The wait after failure n is drawn from 0 to ``min(cap, base * factor**(n - 1))``. When the service says how long
    to wait (``Retry-After``), that is the wait, to the letter.

    A policy is a plain value without state, so one may serve a client, a load test and a simulation alike.

    Attributes:
        attempts: requests of one call at most, the first included; 1 never retries. A request that is repeated once
            because its token had expired does not count.
        base: seconds, the longest wait after the first failure.
        factor: what it is multiplied by after each further one, 1 or more.
        cap: seconds, the longest backoff of all.
        jitter: ``full`` draws from all of it, ``equal`` keeps half and draws the rest, ``none`` waits exactly that;
            ``decorrelated`` draws from ``base`` to three times the wait before, up to ``cap`` (see `Backoff`).
        retry_after_ceiling: seconds; when the service asks for a longer wait, the call gives up at once and says so.
        max_total: seconds from the start of the call after which no wait may end; None for no limit.
        budget: how many retries all calls of a client may make together; None for no limit.
        also: error codes and HTTP statuses that are tried again although the error table says they need not be.
        never: those that are not tried again although it says they may be.

    Raises:
        ConfigurationError: a value is out of its range.
    """

    attempts: int = 3
    base: float = 0.5
    factor: float = 2.0
    cap: float = 30.0
    jitter: Jitter = "full"
    retry_after_ceiling: float = 60.0
    max_total: float | None = 180.0
    budget: RetryBudget | None = None
    also: frozenset[int | str] = frozenset()
    never: frozenset[int | str] = frozenset()

    def __post_init__(self) -> None:
        if not _is_number(self.attempts) or self.attempts < 1 or self.attempts % 1:
            raise ConfigurationError(f"RetryPolicy.attempts is a whole number, 1 or more; got {self.attempts!r}")
        if self.jitter not in JITTERS:
            raise ConfigurationError(f"RetryPolicy.jitter is one of {', '.join(JITTERS)}; got {self.jitter!r}")
        for name, low in (("base", 0), ("factor", 1), ("cap", 0), ("retry_after_ceiling", 0), ("max_total", 0)):
            value = getattr(self, name)
            if not (value is None and name == "max_total") and not (_is_number(value) and value >= low):
                raise ConfigurationError(f"RetryPolicy.{name} is a number, {low} or more; got {value!r}")

        if self.budget is not None and not isinstance(self.budget, RetryBudget):
            raise ConfigurationError(f"RetryPolicy.budget is a RetryBudget or None; got {self.budget!r}")
        for name in ("also", "never"):
            value = getattr(self, name)
            if isinstance(value, (str, bytes)) or not all(_is_code(code) for code in value):
                raise ConfigurationError(
                    f"RetryPolicy.{name} is a set of error codes and HTTP statuses, such as {{336100, 502}}; "
                    f"got {value!r}"
                )
            object.__setattr__(self, name, frozenset(value))

    @property
    def schedule(self) -> Backoff:
        """The backoff alone."""
        return Backoff(base=self.base, factor=self.factor, cap=self.cap, jitter=self.jitter)

    def bounds(self, failures: int, previous: float | None = None) -> tuple[float, float]:
        """As `Backoff.bounds`."""
        return self.schedule.bounds(failures, previous)

    def backoff(self, failures: int, random: Random, previous: float | None = None) -> float:
        """As `Backoff.draw`."""
        return self.schedule.draw(failures, random, previous)

    def retries(self, error: QianfanError) -> bool:
        """Whether another attempt may cure ``error``."""
        names = {error.code, error.status} if isinstance(error, APIError) else set()
        return not names & self.never and (error.retryable or bool(names & self.also))

    def decide(
        self,
        error: QianfanError,
        *,
        failures: int,
        elapsed: float,
        random: Random,
        previous: float | None = None,
        purse: Purse | None = None,
    ) -> Decision:
        """What to do after ``error``.

        Args:
            error: what the last attempt failed with.
            failures: attempts of this call that have failed, this one included.
            elapsed: seconds since the call began.
            random: where jitter is drawn.
            previous: the backoff before, in seconds, None if there was none.
            purse: what is left of the budget; a retry is taken out when there shall be one.
        """
        if not self.retries(error):
            return Decision(None, "", "permanent")
        if failures >= self.attempts:
            return Decision(None, f"RetryPolicy.attempts={self.attempts}" if self.attempts > 1 else "", "attempts")
        asked = error.retry_after if isinstance(error, APIError) else None
        if asked is not None and asked > self.retry_after_ceiling:
            return Decision(
                None,
                f"the service asks to wait {asked:g} s, more than RetryPolicy.retry_after_ceiling="
                f"{self.retry_after_ceiling:g}; call again after that, or raise the ceiling",
                "retry_after_ceiling",
            )
        wait, reason = (asked, "retry-after") if asked else (self.backoff(failures, random, previous), "backoff")
        if self.max_total is not None and elapsed + wait > self.max_total:
            return Decision(
                None,
                f"a wait of {wait:.3g} s after {elapsed:.3g} s would pass RetryPolicy.max_total={self.max_total:g}",
                "max_total",
            )
        if purse is not None and not purse.spend():
            return Decision(
                None,
                f"the retry budget of this client is spent ({purse.budget}): too many calls fail for each of them to "
                "be tried again",
                "budget",
            )
        return Decision(wait, reason)


def _is_code(value: object) -> bool:
    return isinstance(value, (int, str)) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def parse_retry_after(headers: Mapping[str, str], *, now: float) -> float | None:
    """Seconds that the service asks to wait, 0 or more; None when it does not say, or not legibly.

    Reads ``Retry-After-Ms`` (milliseconds), then ``Retry-After`` as seconds or as an HTTP date (RFC 9110, 10.2.3). A
    date is taken relative to the answer's own ``Date``, so that a client whose clock is off waits right.

    Args:
        headers: of the answer; names in any case.
        now: Unix time in seconds, used when the answer has no ``Date``.
    """
    milliseconds = _seconds(headers.get("Retry-After-Ms"))
    if milliseconds is not None:
        return milliseconds / 1000
    value = headers.get("Retry-After")
    seconds = _seconds(value)
    if seconds is not None:
        return seconds
    until = _date(value)
    if until is None:
        return None
    sent = _date(headers.get("Date"))
    return max(0.0, until - (now if sent is None else sent))


def _seconds(text: str | None) -> float | None:
    try:
        value = float(text) if text else None
    except ValueError:
        return None
    return None if value is None or math.isnan(value) else max(0.0, value)


def _date(text: str | None) -> float | None:
    try:
        return parsedate_to_datetime(text).timestamp() if text else None
    except (ValueError, OverflowError):
        return None


def run(
    policy: RetryPolicy,
    attempt: Callable[[], T],
    *,
    clock: Clock,
    random: Random,
    log: AttemptLog,
    on_retry: Callable[[QianfanError, float, str], None],
    purse: Purse | None = None,
) -> T:
    """Call ``attempt`` until it returns, fails for good, or the policy gives up; then raise what it failed with last.

    Args:
        policy: says what to do after each failure.
        attempt: sends one request and returns its result.
        clock: sleeps between attempts.
        random: where jitter is drawn.
        log: is told of each wait.
        on_retry: called before each wait with the failure, the seconds and the reason.
        purse: what is left of the policy's budget, None where it has none.
    """
    if purse is not None:
        purse.earn()
    # tenacity is told how long to wait, and shown neither results nor failures: it would keep them in a frame that
    # tracebacks refer back to, and a stream would outlive the loop that dropped it (see `raise_if`).
    results: list[T] = []
    failures: list[QianfanError] = []
    numbers = itertools.count(1)
    backoff: float | None = None

    def step() -> float | None:
        """Make one attempt. Seconds to wait before another, None when there shall be none."""
        nonlocal backoff
        try:
            results.append(attempt())
        except QianfanError as error:
            decision = policy.decide(
                error,
                failures=next(numbers),
                elapsed=log.elapsed(),
                random=random,
                previous=backoff,
                purse=purse,
            )
            if decision.wait is None:
                error.gave_up = decision.reason or None
                failures.append(error)
                return None
            if decision.reason == "backoff":
                backoff = decision.wait
            log.wait(decision.wait, "retry-after" if decision.reason == "retry-after" else "backoff")
            on_retry(error, decision.wait, decision.reason)
            return decision.wait
        return None

    engine = tenacity.Retrying(
        sleep=clock.sleep,
        retry=tenacity.retry_if_result(lambda wait: wait is not None),
        wait=lambda state: state.outcome.result() if state.outcome is not None else 0.0,
        stop=tenacity.stop_never,  # the policy stops, in `step`
    )
    engine(step)
    raise_if(failures.pop() if failures else None)
    return results.pop()
