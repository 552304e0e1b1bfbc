"""One decision over all quotas of a request: let in by all of them, or by none."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Final, TypeAlias

from mock_server.quota.limits import RULES, Limits, Remaining, Rule
from mock_server.quota.windows import MINUTE, SECOND, WINDOWS, Counter, Day, Gauge, Refundable, Total
from qfkit.clock import SYSTEM_CLOCK, Clock

_PERIODS: Final[Mapping[str, int]] = MappingProxyType({"second": SECOND, "minute": MINUTE})
_MILLISECOND: Final = SECOND // 1000


class Granted:
    """A request that was let in. ``remaining`` is what its quotas had left after that."""

    __slots__ = ("_open", "_quota", "_taken", "_tokens", "_unsettled", "remaining")

    def __init__(self, quota: Quota | None, remaining: Remaining, taken: int, tokens: int) -> None:
        self.remaining = remaining
        self._quota = quota
        self._taken = taken
        self._tokens = tokens
        self._open = self._unsettled = quota is not None

    def settle(self, tokens: int) -> None:
        """Count what the request really used, in place of what was taken when it was let in.

        What was used beyond that counts in the window of this moment. What was taken too much is given back as long as
        its window lasts; a bucket gives nothing back. The first call counts.

        Args:
            tokens: input and output, from 0.

        Raises:
            ValueError: ``tokens`` is negative.
        """
        if self._quota is not None:
            self._quota._settle(self, tokens)

    def release(self) -> None:
        """The delivery of the answer has ended, in whatever way. The first call counts."""
        if self._quota is not None:
            self._quota._release(self)


@dataclass(frozen=True, slots=True)
class Refused:
    """A request that was not let in.

    Attributes:
        quota: which quota refused, a field of `Limits`.
        kind: its kind of error; `error_code` has the dialect's code for it.
        retry_after: seconds, in whole milliseconds, after which the same request would be let in if nobody came
            between; None when waiting does not help. Of a concurrency quota nobody knows it: 1 [guess].
        reason: one line for the journal, with every quota that refused.
        remaining: what was left.
    """

    quota: str
    kind: str
    retry_after: float | None
    reason: str
    remaining: Remaining


Admission: TypeAlias = Granted | Refused

#: The admission of every request that nothing limits; to settle and release it does nothing.
UNLIMITED: Final = Granted(None, Remaining(), 0, 0)


class Quota:
    """The quotas of one account for one model. Every operation is atomic: any number of threads may call it.

    A request costs the same however many came before it and however many accounts there are.

    Args:
        limits: what is allowed.
        clock: tells the time.
        note: said beside each refusal.
    """

    __slots__ = (
        "_clock",
        "_gauge",
        "_latest",
        "_lock",
        "_meters",
        "_note",
        "_origin",
        "_rpm",
        "_tpm",
        "_wall_origin",
        "limits",
    )

    def __init__(self, limits: Limits, clock: Clock = SYSTEM_CLOCK, note: str = "") -> None:
        self.limits = limits
        self._note = note
        self._clock = clock
        self._lock = threading.Lock()
        self._origin, self._wall_origin = clock.monotonic(), round(clock.time() * SECOND)
        self._latest = 0
        self._gauge: Gauge | None = None
        self._rpm: Counter | None = None
        self._tpm: Refundable | None = None
        self._meters = tuple(
            (rule, self._counter(rule, limit)) for rule in RULES if (limit := getattr(limits, rule.field)) is not None
        )

    @property
    def counts_tokens(self) -> bool:
        """Whether `admit` looks at the tokens; where it does not, nobody need count them."""
        return self._tpm is not None

    def admit(self, tokens: int = 0) -> Admission:
        """Let a request in and count it with every quota, or refuse it and count it with none.

        Of one that was let in, `Granted.release` must be called when the delivery of its answer has ended.

        Args:
            tokens: of the prompt, from 0.
        """
        if not self._meters:
            return UNLIMITED
        tpm = self._tpm
        with self._lock:
            now = self._now()
            for _, counter in self._meters:
                if counter.wait(now, tokens if counter is tpm else 1) != 0:
                    break
            else:
                for _, counter in self._meters:
                    counter.take(now, tokens if counter is tpm else 1)
                return Granted(self, self._remaining(now), now, tokens)
            refusals = [
                (rule, wait, counter.used(now))
                for rule, counter in self._meters
                if (wait := counter.wait(now, tokens if counter is tpm else 1)) != 0
            ]
            remaining = self._remaining(now)
        return self._refused(refusals, tokens, remaining)

    def remaining(self) -> Remaining:
        """RPM and TPM, and what is left of them now."""
        with self._lock:
            return self._remaining(self._now())

    def used(self) -> dict[str, int]:
        """Limit -> what is counted against it now: for ``tpm`` maybe more than the limit, see `Granted.settle`."""
        with self._lock:
            now = self._now()
            return {rule.field: counter.used(now) for rule, counter in self._meters}

    def _counter(self, rule: Rule, limit: int) -> Counter:
        if rule.field == "total":
            return Total(limit)
        if rule.field == "daily":
            return Day(limit, self._wall)
        if rule.field == "concurrency":
            self._gauge = Gauge(limit)
            return self._gauge
        window = WINDOWS[self.limits.window](limit, _PERIODS[rule.span])
        if rule.field == "rpm":
            self._rpm = window
        elif rule.field == "tpm":
            self._tpm = window
        return window

    def _now(self) -> int:
        now = round((self._clock.monotonic() - self._origin) * SECOND)
        if now < self._latest:
            # A test's virtual time has been taken away: go on from where it was, or its requests would count for hours.
            self._origin -= (self._latest - now) / SECOND
            now = self._latest
        self._latest = now
        return now

    def _wall(self, now: int) -> int:
        """Unix time: of the two clocks the one that is ahead.

        The wall clock stands still when a test skips waits, the monotonic one when a computer sleeps.
        """
        return max(round(self._clock.time() * SECOND), self._wall_origin + now)

    def _remaining(self, now: int) -> Remaining:
        rpm, tpm = self.limits.rpm, self.limits.tpm
        return Remaining(
            rpm,
            tpm,
            None if rpm is None or self._rpm is None else max(0, rpm - self._rpm.used(now)),
            None if tpm is None or self._tpm is None else max(0, tpm - self._tpm.used(now)),
        )

    def _refused(self, refusals: list[tuple[Rule, int | None, int]], tokens: int, remaining: Remaining) -> Refused:
        first = refusals[0][0]
        waits = [wait for _, wait, _ in refusals if wait is not None]
        # Rounded up: whoever waits for exactly as long must find it open.
        retry_after = -(-max(waits) // _MILLISECOND) / 1000 if len(waits) == len(refusals) else None
        reason = "; ".join(self._reason(rule, wait, used, tokens) for rule, wait, used in refusals) + self._note
        return Refused(first.field, first.kind, retry_after, reason, remaining)

    def _reason(self, rule: Rule, wait: int | None, used: int, tokens: int) -> str:
        limit = getattr(self.limits, rule.field)
        text = _REASONS.get(rule.field) or _REASONS[self.limits.window]
        if not limit:
            text = _NOTHING
        elif wait is None and rule.field == "tpm":
            text = _TOO_LARGE
        return f"{rule.label} {limit}: " + text.format(
            used=used,
            left=max(0, limit - used),
            counts=rule.counts,
            span=rule.span,
            this=f" and this request has {tokens}" if rule.field == "tpm" else "",
            tokens=tokens,
            name=rule.field,
            wait=_words(wait or 0),
        )

    def _settle(self, granted: Granted, tokens: int) -> None:
        if tokens < 0:
            raise ValueError(f"tokens are counted from 0; got {tokens}")
        if self._tpm is None:
            return
        with self._lock:
            if not granted._unsettled:
                return
            granted._unsettled = False
            more = tokens - granted._tokens
            if more > 0:
                self._tpm.take(self._now(), more)
            elif more < 0:
                self._tpm.refund(self._now(), granted._taken, -more)

    def _release(self, granted: Granted) -> None:
        if self._gauge is None:
            return
        with self._lock:
            if granted._open:
                granted._open = False
                self._gauge.leave()


#: Field or window -> what is the matter.
_REASONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "total": "all requests that there are have been let in; raise total, or reset the account",
        "daily": "{used} requests today, the next day begins in {wait}, at midnight in China",
        "concurrency": "{used} answers are still on their way; wait until one of them has ended",
        "fixed": "{used} {counts} in this {span}{this}, the next window begins in {wait}",
        "sliding": "{used} {counts} in the last {span}{this}, it fits in {wait}",
        "bucket": "{left} {counts} in the bucket{this}, it fits in {wait}",
    }
)
_TOO_LARGE: Final = "this request alone has {tokens} tokens and never fits; shorten it, or raise tpm"
_NOTHING: Final = "nothing is let in; raise {name}, or leave it out for no limit"


def _words(wait: int) -> str:
    """Microseconds for people: ``12.3 s``, ``3 h 12 min``."""
    minutes = -(-wait // MINUTE)
    if minutes <= 2:
        return f"{wait / SECOND:.3g} s"
    return f"{minutes // 60} h {minutes % 60} min" if minutes >= 60 else f"{minutes} min"
