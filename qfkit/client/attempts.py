"""What a call did: one record for each HTTP request it made."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal, TypeAlias

from qfkit.clock import Clock

if TYPE_CHECKING:
    from qfkit.client.exceptions import QianfanError

WaitReason: TypeAlias = Literal["backoff", "retry-after", "token-refresh", "resume"]


@dataclass(frozen=True, slots=True)
class Attempt:
    """One HTTP request of a call.

    Attributes:
        number: 1 for the first.
        started: seconds from the start of the call until this request began.
        elapsed: seconds it took: to the end of the answer, or to its failure.
        status: HTTP status, None when no answer came.
        code: the service's error code, None when the answer was good or none came.
        error: one line on what went wrong, None when nothing did. Never contains a secret.
        request_id: the service's id of this request, where it gave one.
        waited: seconds slept before it, 0 for the first.
        wait_reason: what set that wait: our own ``backoff``, the service's ``retry-after``, or ``token-refresh`` (sent
            again, without a wait, with a fresh token or with other keys), or ``resume`` (a stream that broke off goes
            on). None for the first.
        queued: seconds it was held back by the client's own `RateLimits` before it began.
    """

    number: int
    started: float
    elapsed: float
    status: int | None = None
    code: int | str | None = None
    error: str | None = None
    request_id: str | None = None
    waited: float = 0.0
    wait_reason: WaitReason | None = None
    queued: float = 0.0


class Running:
    """An attempt under way: filled in as things become known."""

    __slots__ = (
        "code",
        "ended",
        "error",
        "number",
        "queued",
        "request_id",
        "started",
        "status",
        "wait_reason",
        "waited",
    )

    def __init__(
        self, number: int, started: float, waited: float, wait_reason: WaitReason | None, queued: float
    ) -> None:
        self.number = number
        self.started = started
        self.ended: float | None = None
        self.status: int | None = None
        self.code: int | str | None = None
        self.error: str | None = None
        self.request_id: str | None = None
        self.waited = waited
        self.wait_reason = wait_reason
        self.queued = queued


class AttemptLog:
    """The attempts of one call, in order. Used by one thread at a time."""

    __slots__ = ("_clock", "_reason", "_running", "_waited", "began")

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._running: list[Running] = []
        self._waited = 0.0
        self._reason: WaitReason | None = None
        #: The clock's monotonic time when the call began.
        self.began = clock.monotonic()

    def now(self) -> float:
        """The clock's monotonic time."""
        return self._clock.monotonic()

    def elapsed(self) -> float:
        """Seconds since the call began."""
        return self._clock.monotonic() - self.began

    @property
    def refreshed(self) -> bool:
        """The token was replaced during this call."""
        return any(running.wait_reason == "token-refresh" for running in self._running)

    def wait(self, seconds: float, reason: WaitReason) -> None:
        """Say that the next attempt comes after sleeping ``seconds``, and why."""
        self._waited, self._reason = seconds, reason

    def start(self, queued: float = 0.0) -> Running:
        """Begin the next attempt, after ``queued`` seconds in which our own limits held it back."""
        running = Running(len(self._running) + 1, self.elapsed(), self._waited, self._reason, queued)
        self._running.append(running)
        self._waited, self._reason = 0.0, None
        return running

    def end(self, running: Running, error: QianfanError | None = None) -> None:
        """Close an attempt, with what went wrong if anything did."""
        running.ended = self.elapsed()
        if error is not None:
            running.error = error.summary
            running.code = getattr(error, "code", None)
            running.request_id = getattr(error, "request_id", None) or running.request_id

    def attempts(self) -> tuple[Attempt, ...]:
        """The attempts so far; one still under way has taken as long as it has until now."""
        return tuple(
            Attempt(
                number=it.number,
                started=it.started,
                elapsed=(self.elapsed() if it.ended is None else it.ended) - it.started,
                status=it.status,
                code=it.code,
                error=it.error,
                request_id=it.request_id,
                waited=it.waited,
                wait_reason=it.wait_reason,
                queued=it.queued,
            )
            for it in self._running
        )


def resumed(
    before: tuple[Attempt, ...], after: tuple[Attempt, ...], *, later: float, waited: float
) -> tuple[Attempt, ...]:
    """All attempts of a stream that went on: those ``before``, and those of the call that took it up.

    Args:
        before: attempts so far.
        after: attempts of the new call, counted and timed from its own beginning.
        later: seconds between the beginnings of the two calls.
        waited: seconds slept before the new call.
    """
    moved = [replace(it, number=it.number + len(before), started=it.started + later) for it in after]
    moved[:1] = [replace(it, waited=waited, wait_reason="resume") for it in moved[:1]]
    return (*before, *moved)
