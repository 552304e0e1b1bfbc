"""What came of the calls: counts and histograms that many processes fill and one adds up. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

from loadtests.measuring.measures import Histogram
from loadtests.measuring.samples import Attempted, Sample
from loadtests.measuring.timeline import Timeline
from loadtests.measuring.variants import VARIANTS

#: The durations of a call, in the order they are shown. ``latency`` is to the end of the answer. All but ``failed`` are
#: of good calls only; all but ``latency`` and ``failed`` of streams.
DURATIONS = (
    "latency",
    "headers",
    "first_byte",
    "first_chunk",
    "first_reasoning",
    "ttft",
    "itl",
    "tpot",
    "e2e",
    "end",
    "failed",
)
#: Those that a `Sample` has under the same name.
_MEMBERS = ("headers", "first_byte", "first_chunk", "first_reasoning", "ttft", "tpot", "e2e", "end")


class Failure(NamedTuple):
    """What a failure is counted under.

    Attributes:
        status: HTTP status, None when no answer came. v1 reports most errors under 200.
        code: the service's code, None when it gave none.
        what: without a code, what happened: the name of the client's exception.
        phase: how far the answer had come; see `loadtests.measuring.samples.Phase`.
    """

    status: int | None
    code: int | str | None
    what: str = ""
    phase: str = ""

    @classmethod
    def of(cls, attempt: Attempted) -> Failure:
        """What a failed attempt is counted under."""
        return cls(attempt.status, attempt.code, attempt.what, attempt.phase)

    def __str__(self) -> str:
        parts = (
            "no answer" if self.status is None else f"HTTP {self.status}",
            "" if self.code is None else f"code {self.code}",
            self.what,
        )
        return ", ".join(part for part in parts if part)


#: A call that failed before its first request.
_UNSENT = Failure(None, None, "nothing was sent")


def _order(failure: Failure) -> tuple[int, str, str, str]:
    return failure.status or 0, str(failure.code), failure.what, failure.phase


@dataclass(slots=True)
class Tally:
    """What came of the calls of one scenario.

    A *call* is one thing the user asked for, an *attempt* one inference request of it; *requests* are all that went to
    the network, those for tokens included, and are what a server's journal counts.

    Attributes:
        ok, failed: calls that ended.
        cut_off: calls that the end of the run interrupted; neither good nor bad, but their requests were sent.
        good: calls that met every SLO that speaks of single calls.
        warmup_calls, warmup_requests: calls made before measuring began, cut off or not, and the requests that they
            sent. They are in no other figure.
        requests: HTTP requests sent.
        token_requests: those of them that fetched a token.
        chunks: chunks with content.
        prompt_tokens, output_tokens: of good calls.
        tokens_server, tokens_estimated: good calls whose tokens the server counted, and whose were estimated.
        first, last: Unix time in seconds of the first start and of the last end of a call; None before that.
        call_failures, attempt_failures: how many calls, and how many attempts, failed in which way.
        durations: by the names in `DURATIONS`.
        variants: what other tools call these durations, by the names in `loadtests.measuring.variants.VARIANTS`.
        late: between the intended and the actual sending, of an open model.
        rates: output tokens a second of each good call, to its last content, or to its end when it is no stream.
        waits: number of an attempt, from 2 on -> what was slept before it.
        timeline: what happened when.
    """

    ok: int = 0
    failed: int = 0
    cut_off: int = 0
    good: int = 0
    warmup_calls: int = 0
    warmup_requests: int = 0
    requests: int = 0
    token_requests: int = 0
    chunks: int = 0
    prompt_tokens: int = 0
    output_tokens: int = 0
    tokens_server: int = 0
    tokens_estimated: int = 0
    first: float | None = None
    last: float | None = None
    call_failures: Counter[Failure] = field(default_factory=Counter)
    attempt_failures: Counter[Failure] = field(default_factory=Counter)
    durations: dict[str, Histogram] = field(default_factory=lambda: {name: Histogram() for name in DURATIONS})
    variants: dict[str, Histogram] = field(default_factory=dict)
    late: Histogram = field(default_factory=Histogram)
    rates: Histogram = field(default_factory=Histogram)
    waits: dict[int, Histogram] = field(default_factory=dict)
    timeline: Timeline = field(default_factory=Timeline)

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

    def add(self, sample: Sample, *, good: bool | None = None) -> None:
        """Count one call.

        Args:
            sample: the call.
            good: whether it met every SLO that speaks of single calls. None: it did if it ended well.
        """
        if sample.warmup:
            self.warmup_calls += 1
            self.warmup_requests += sample.requests
            return
        self.requests += sample.requests
        self.token_requests += sample.token_requests
        timeline = self.timeline
        if sample.planned is not None:
            timeline.at(sample.planned).planned += 1
            self.late.add(sample.late or 0.0)
        timeline.at(sample.began).sent += 1
        self._attempts(sample)
        if sample.outcome == "cut_off":
            self.cut_off += 1
            return
        self._span(sample.reference, sample.ended)
        took = sample.end or 0.0
        cell = timeline.at(sample.ended)
        if sample.outcome == "failed":
            self.failed += 1
            cell.failed += 1
            last = sample.failure
            self.call_failures[_UNSENT if last is None else Failure.of(last)] += 1
            self.durations["failed"].add(took)
            return
        self.ok += 1
        cell.ok += 1
        if good is None or good:
            self.good += 1
            cell.good += 1
        self.durations["latency"].add(took)
        cell.latency.add(took)
        if sample.ttft is not None:
            cell.ttft.add(sample.ttft)
        self._tokens(sample)
        if sample.kind == "stream":
            self._stream(sample)

    def _attempts(self, sample: Sample) -> None:
        for number, attempt in enumerate(sample.attempts, 1):
            cell = self.timeline.at(attempt.at)
            cell.attempts += 1
            if attempt.ok:
                cell.admitted += 1
            elif attempt.phase or attempt.code is not None or attempt.what:
                self.attempt_failures[Failure.of(attempt)] += 1
            if number > 1:
                _at(self.waits, number).add(attempt.waited)

    def _stream(self, sample: Sample) -> None:
        durations = self.durations
        self.chunks += len(sample.contents)
        for name in _MEMBERS:
            value = getattr(sample, name)
            if value is not None:
                durations[name].add(value)
        gaps = durations["itl"]
        for gap in sample.itl:
            gaps.add(gap)
        if sample.contents:
            for name, variant in VARIANTS.items():
                for seconds in variant.of(sample):
                    _at(self.variants, name).add(seconds)

    def _tokens(self, sample: Sample) -> None:
        self.prompt_tokens += sample.prompt_tokens or 0
        if sample.output_tokens is None:
            return
        self.output_tokens += sample.output_tokens
        if sample.tokens_from == "server":
            self.tokens_server += 1
        else:
            self.tokens_estimated += 1
        took = sample.e2e or sample.end
        if took:
            self.rates.add(sample.output_tokens / took)

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
        self.late.merge(other.late)
        self.rates.merge(other.rates)
        for number, histogram in other.waits.items():
            _at(self.waits, number).merge(histogram)
        for name, histogram in other.variants.items():
            _at(self.variants, name).merge(histogram)
        self.timeline.merge(other.timeline)

    def to_dict(self) -> dict[str, Any]:
        """As data, for another process."""
        return {
            **{name: getattr(self, name) for name in (*_COUNTS, "first", "last")},
            "call_failures": [[*failure, count] for failure, count in self.call_failures.items()],
            "attempt_failures": [[*failure, count] for failure, count in self.attempt_failures.items()],
            "durations": {name: histogram.to_dict() for name, histogram in self.durations.items() if histogram.count},
            "variants": {name: histogram.to_dict() for name, histogram in self.variants.items()},
            "late": self.late.to_dict(),
            "rates": self.rates.to_dict(),
            "waits": [[number, histogram.to_dict()] for number, histogram in self.waits.items()],
            "timeline": self.timeline.to_dict(),
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Tally:
        """What `to_dict` gave."""
        tally = cls(**{name: data[name] for name in (*_COUNTS, "first", "last")})
        for kind in ("call_failures", "attempt_failures"):
            getattr(tally, kind).update({Failure(*failure): count for *failure, count in data[kind]})
        for name, histogram in data["durations"].items():
            tally.durations[name] = Histogram.from_dict(histogram)
        tally.variants = {name: Histogram.from_dict(histogram) for name, histogram in data["variants"].items()}
        tally.late = Histogram.from_dict(data["late"])
        tally.rates = Histogram.from_dict(data["rates"])
        tally.waits = {number: Histogram.from_dict(histogram) for number, histogram in data["waits"]}
        tally.timeline = Timeline.from_dict(data["timeline"])
        return tally

    def _span(self, first: float, last: float) -> None:
        self.first = first if self.first is None else min(self.first, first)
        self.last = last if self.last is None else max(self.last, last)


_K = TypeVar("_K")


def _at(histograms: dict[_K, Histogram], key: _K) -> Histogram:
    found = histograms.get(key)
    if found is None:
        found = histograms[key] = Histogram()
    return found


_COUNTS = (
    "ok",
    "failed",
    "cut_off",
    "good",
    "warmup_calls",
    "warmup_requests",
    "requests",
    "token_requests",
    "chunks",
    "prompt_tokens",
    "output_tokens",
    "tokens_server",
    "tokens_estimated",
)

#: Judges a call for goodput: whether it met every SLO that speaks of single calls.
Met = Callable[[Sample], bool]


@dataclass(slots=True)
class Ledger:
    """Everything that was measured.

    Attributes:
        tallies: by scenario.
        generators: name of each process that made load -> the share of one core it used, from 0 to about 1. Near 1, the
            generator itself was the limit, and its queueing is in every duration.
        lost: processes whose last figures never came.
        samples: raw calls, when they are kept.
        planned: calls that were to be sent: arrivals of an open model, and calls that users of a closed one began.
        unsent: arrivals that were not sent, because as many calls as may be were under way.
        notes: what a reader must know of a process that made load.
        probes: requests of the calibration, which are in no other count.
        calibration: errors of this tool's own clock; see `loadtests.trusting.calibrate`.
        sent: HTTP requests that went out, as the gate counted them: what ``requests`` of all tallies must come to.
    """

    tallies: dict[str, Tally] = field(default_factory=dict)
    generators: dict[str, float] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    planned: int = 0
    unsent: int = 0
    sent: int = 0
    notes: list[str] = field(default_factory=list)
    probes: int = 0
    calibration: dict[str, Histogram] = field(default_factory=dict)

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
    def recorded(self) -> int:
        """Calls that were handed in, those of the warm-up and those that were cut off included."""
        return sum(it.calls + it.cut_off + it.warmup_calls for it in self.tallies.values())

    @property
    def requests(self) -> int:
        """HTTP requests of all calls that were handed in."""
        return sum(it.requests + it.warmup_requests for it in self.tallies.values())

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
        self.samples += other.samples
        self.planned += other.planned
        self.unsent += other.unsent
        self.sent += other.sent
        self.notes += [note for note in other.notes if note not in self.notes]
        self.probes += other.probes
        for name, histogram in other.calibration.items():
            _at(self.calibration, name).merge(histogram)

    def to_dict(self) -> dict[str, Any]:
        """As data, for another process."""
        return {
            "tallies": {scenario: tally.to_dict() for scenario, tally in self.tallies.items()},
            "generators": dict(self.generators),
            "lost": list(self.lost),
            "samples": [sample.to_dict() for sample in self.samples],
            "planned": self.planned,
            "unsent": self.unsent,
            "sent": self.sent,
            "notes": list(self.notes),
            "probes": self.probes,
            "calibration": {name: histogram.to_dict() for name, histogram in self.calibration.items()},
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Ledger:
        """What `to_dict` gave."""
        tallies = {scenario: Tally.from_dict(tally) for scenario, tally in data["tallies"].items()}
        samples = [Sample.from_dict(sample) for sample in data["samples"]]
        counts = {name: data[name] for name in ("planned", "unsent", "sent", "probes")}
        ledger = cls(tallies, dict(data["generators"]), list(data["lost"]), samples, **counts)
        ledger.notes = list(data["notes"])
        ledger.calibration = {name: Histogram.from_dict(histogram) for name, histogram in data["calibration"].items()}
        return ledger
