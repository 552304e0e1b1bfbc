"""What came of the calls: counts and histograms that many processes fill and one adds up. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from loadtests.measures import Histogram, StreamTimer

#: The durations of a call, in the order they are shown. ``latency`` is to the end of the answer, of good calls only.
DURATIONS = ("latency", "headers", "first_chunk", "ttft", "itl", "tpot", "e2e", "failed")


class Failure(NamedTuple):
    """What a failure is counted under.

    Attributes:
        status: HTTP status, None when no answer came. v1 reports most errors under 200.
        code: the service's code, None when it gave none.
        what: without a code, what happened: the name of the client's exception.
    """

    status: int | None
    code: int | str | None
    what: str = ""

    def __str__(self) -> str:
        parts = (
            "no answer" if self.status is None else f"HTTP {self.status}",
            "" if self.code is None else f"code {self.code}",
            self.what,
        )
        return ", ".join(part for part in parts if part)


def _order(failure: Failure) -> tuple[int, str, str]:
    return failure.status or 0, str(failure.code), failure.what


@dataclass(slots=True)
class Tally:
    """What came of the calls of one scenario.

    A *call* is one thing the user asked for, an *attempt* one inference request of it; *requests* are all that went to
    the network, those for tokens included, and are what a server's journal counts.

    Attributes:
        ok, failed: calls that ended.
        cut_off: calls that the end of the run interrupted; neither good nor bad, but their requests were sent.
        requests: HTTP requests sent.
        token_requests: those of them that fetched a token.
        chunks: chunks with content.
        first, last: Unix time in seconds of the first start and of the last end of a call; None before that.
        call_failures, attempt_failures: how many calls, and how many attempts, failed in which way.
        durations: by the names in `DURATIONS`.
    """

    ok: int = 0
    failed: int = 0
    cut_off: int = 0
    requests: int = 0
    token_requests: int = 0
    chunks: int = 0
    first: float | None = None
    last: float | None = None
    call_failures: Counter[Failure] = field(default_factory=Counter)
    attempt_failures: Counter[Failure] = field(default_factory=Counter)
    durations: dict[str, Histogram] = field(default_factory=lambda: {name: Histogram() for name in DURATIONS})

    @property
    def calls(self) -> int:
        """Calls that ended, well or not."""
        return self.ok + self.failed

    @property
    def attempts(self) -> int:
        """Inference requests sent."""
        return self.requests - self.token_requests

    @property
    def seconds(self) -> float:
        """From the start of the first call to the end of the last one."""
        return self.last - self.first if self.first is not None and self.last is not None else 0.0

    def succeeded(self, *, began: float, latency: float, timer: StreamTimer | None = None) -> None:
        """Count a good call.

        Args:
            began: Unix time of its start.
            latency: seconds to the end of its answer.
            timer: its moments, if it was a stream.
        """
        self.ok += 1
        self._span(began, began + latency)
        self.durations["latency"].add(latency)
        if timer is None:
            return
        self.chunks += timer.chunks
        for name in ("headers", "first_chunk", "ttft", "tpot", "e2e"):
            value = getattr(timer, name)
            if value is not None:
                self.durations[name].add(value)
        gaps = self.durations["itl"]
        for gap in timer.itl:
            gaps.add(gap)

    def failed_with(self, failure: Failure, *, began: float, latency: float) -> None:
        """Count a call that failed; arguments as `succeeded`."""
        self.failed += 1
        self._span(began, began + latency)
        self.call_failures[failure] += 1
        self.durations["failed"].add(latency)

    def attempts_failed(self, failures: Iterable[Failure]) -> None:
        """Count what the attempts of a call failed with, be the call good in the end or not."""
        self.attempt_failures.update(failures)

    def sent(self, *, requests: int, token_requests: int) -> None:
        """Count what a call sent."""
        self.requests += requests
        self.token_requests += token_requests

    def interrupted(self) -> None:
        """Count a call that the end of the run cut off."""
        self.cut_off += 1

    def failures(self) -> list[Failure]:
        """Every way in which a call or an attempt failed, in a steady order."""
        return sorted({*self.call_failures, *self.attempt_failures}, key=_order)

    def merge(self, other: Tally) -> None:
        """Add all that ``other`` counted."""
        for name in _COUNTS:
            setattr(self, name, getattr(self, name) + getattr(other, name))
        if other.first is not None and other.last is not None:
            self._span(other.first, other.last)
        self.call_failures.update(other.call_failures)
        self.attempt_failures.update(other.attempt_failures)
        for name, histogram in other.durations.items():
            self.durations[name].merge(histogram)

    def to_dict(self) -> dict[str, Any]:
        """As data, for another process."""
        return {
            **{name: getattr(self, name) for name in (*_COUNTS, "first", "last")},
            "call_failures": [[*failure, count] for failure, count in self.call_failures.items()],
            "attempt_failures": [[*failure, count] for failure, count in self.attempt_failures.items()],
            "durations": {name: histogram.to_dict() for name, histogram in self.durations.items() if histogram.count},
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Tally:
        """What `to_dict` gave."""
        tally = cls(**{name: data[name] for name in (*_COUNTS, "first", "last")})
        for kind in ("call_failures", "attempt_failures"):
            getattr(tally, kind).update({Failure(*failure): count for *failure, count in data[kind]})
        for name, histogram in data["durations"].items():
            tally.durations[name] = Histogram.from_dict(histogram)
        return tally

    def _span(self, first: float, last: float) -> None:
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)


_COUNTS = ("ok", "failed", "cut_off", "requests", "token_requests", "chunks")


@dataclass(slots=True)
class Ledger:
    """Everything that was measured.

    Attributes:
        tallies: by scenario.
        generators: name of each process that made load -> the share of one core it used, from 0 to about 1. Near 1, the
            generator itself was the limit, and its queueing is in every duration.
        lost: processes whose last figures never came.
    """

    tallies: dict[str, Tally] = field(default_factory=dict)
    generators: dict[str, float] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)

    def tally(self, scenario: str) -> Tally:
        """The tally of ``scenario``, made when there is none yet."""
        found = self.tallies.get(scenario)
        if found is None:
            found = self.tallies[scenario] = Tally()
        return found

    @property
    def calls(self) -> int:
        """Calls that ended, of all scenarios."""
        return sum(tally.calls for tally in self.tallies.values())

    @property
    def failed(self) -> int:
        """Calls that failed, of all scenarios."""
        return sum(tally.failed for tally in self.tallies.values())

    def merge(self, other: Ledger) -> None:
        """Add what ``other`` holds. A generator's share is for the whole run so far, so the newest one stands."""
        for scenario, tally in other.tallies.items():
            self.tally(scenario).merge(tally)
        self.generators.update(other.generators)
        self.lost += other.lost

    def to_dict(self) -> dict[str, Any]:
        """As data, for another process."""
        return {
            "tallies": {scenario: tally.to_dict() for scenario, tally in self.tallies.items()},
            "generators": dict(self.generators),
            "lost": list(self.lost),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Ledger:
        """What `to_dict` gave."""
        tallies = {scenario: Tally.from_dict(tally) for scenario, tally in data["tallies"].items()}
        return cls(tallies, dict(data["generators"]), list(data["lost"]))
