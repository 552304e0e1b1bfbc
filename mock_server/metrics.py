"""What the mock counts, for Prometheus: cheap to count on the way of a request, put into shape when it is scraped."""

from __future__ import annotations

import threading
from bisect import bisect_left
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import accumulate
from operator import sub
from typing import TYPE_CHECKING, NamedTuple

from mock_server.delivery import Reply
from mock_server.journal import Entry

if TYPE_CHECKING:
    from prometheus_client.core import Metric

    from mock_server.state import State

#: Who may have answered, beside a step of a rule, a step of the script, and chaos.
CHECKS = frozenset({"authentication", "default", "method", "qfkit bug", "quota", "routing", "strict", "validation"})

#: Upper bounds of the lateness histogram, seconds.
BUCKETS = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5)


class Answered(NamedTuple):
    """What is counted of an answer; every value comes from a table, so there are never many."""

    dialect: str
    operation: str
    status: int
    code: int | str | None
    answered_by: str
    scheme: str | None
    verdict: str | None
    outcome: str


class Tally:
    """Counters of one mock, exact for any number of threads."""

    __slots__ = ("_answers", "_lateness", "_lateness_sum", "_lock", "_open")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._answers: dict[tuple[str, str, int, int | str | None, str, str | None, str | None, str], int] = {}
        self._lateness = [0] * (len(BUCKETS) + 1)
        self._lateness_sum = 0.0
        self._open = 0

    def opened(self) -> None:
        """The delivery of a stream begins."""
        with self._lock:
            self._open += 1

    def ended(self, entry: Entry, reply: Reply, outcome: str) -> None:
        """A delivery is over: its request is counted. To be called once a reply.

        Everything at once and at the end, so that it costs a request one lock and one look-up.
        """
        by, signature = entry.answered_by, entry.signature
        key = (
            entry.dialect,
            entry.operation,
            entry.status,
            entry.error_code,
            by if by in CHECKS else "rule" if entry.rule else _by_prefix(by),
            entry.scheme,
            signature.reason.value if signature is not None else None,
            outcome,
        )
        answers = self._answers
        with self._lock:
            answers[key] = answers.get(key, 0) + 1
        if reply.streamed or reply.timing is not None:
            self._slow(reply)

    def _slow(self, reply: Reply) -> None:
        """Count what only a reply of several writes has."""
        timing = reply.timing
        late = max(0.0, *map(sub, timing.real, timing.scheduled)) if timing is not None and timing.real else None
        with self._lock:
            self._open -= reply.streamed
            if late is not None:
                self._lateness[bisect_left(BUCKETS, late)] += 1
                self._lateness_sum += late

    # Reading

    @property
    def streams_open(self) -> int:
        """Streams whose delivery has begun and not ended."""
        return self._open

    def answers(self) -> dict[Answered, int]:
        """How many deliveries of each kind have ended."""
        with self._lock:
            return {Answered(*key): count for key, count in self._answers.items()}

    def lateness(self) -> tuple[list[tuple[str, int]], float]:
        """Upper bound in seconds -> deliveries whose latest write was at most so late; and the sum of all."""
        with self._lock:
            counts, total = list(self._lateness), self._lateness_sum
        return list(zip([*map(str, BUCKETS), "+Inf"], accumulate(counts), strict=True)), total


def exposition(state: State, accept: str = "") -> tuple[bytes, str]:
    """Everything in the form that Prometheus reads, and its content type.

    Args:
        state: whose numbers.
        accept: the request's ``Accept`` header: it may ask for OpenMetrics.

    Raises:
        ImportError: ``prometheus-client`` is missing (extra ``server``).
    """
    from prometheus_client import CollectorRegistry  # noqa: PLC0415 - an extra
    from prometheus_client.exposition import choose_encoder  # noqa: PLC0415

    registry = CollectorRegistry(auto_describe=False)
    registry.register(_Collector(state))
    encode, content_type = choose_encoder(accept)
    return encode(registry), content_type


class _Collector:
    """Reads the counters when it is asked to."""

    def __init__(self, state: State) -> None:
        self._state = state

    def collect(self) -> Iterator[Metric]:
        """The metrics, in the order of the page."""
        from prometheus_client.core import (  # noqa: PLC0415 - an extra
            CounterMetricFamily,
            GaugeMetricFamily,
            HistogramMetricFamily,
        )

        state, tally = self._state, self._state.tally
        answers = tally.answers()
        requests = CounterMetricFamily(
            "qfkit_requests",
            "Requests whose delivery has ended. answered_by: rule, script, chaos, default, or the check that refused.",
            labels=["dialect", "operation", "status", "code", "answered_by"],
        )
        by_kind = _summed(answers, lambda a: (a.dialect, a.operation, str(a.status), _text(a.code), a.answered_by))
        for labels, count in by_kind.items():
            requests.add_metric(labels, count)
        yield requests
        signatures = CounterMetricFamily("qfkit_signatures", "Verdicts on signatures.", labels=["scheme", "verdict"])
        for labels, count in _summed(
            {a: n for a, n in answers.items() if a.verdict}, lambda a: (_text(a.scheme), _text(a.verdict))
        ).items():
            signatures.add_metric(labels, count)
        yield signatures
        ends = CounterMetricFamily("qfkit_deliveries", "How deliveries ended.", labels=["outcome"])
        for labels, count in _summed(answers, lambda a: (a.outcome,)).items():
            ends.add_metric(labels, count)
        yield ends
        buckets, total = tally.lateness()
        yield HistogramMetricFamily(
            "qfkit_lateness_seconds",
            "By how much the latest write of a delivery of several writes left after its time.",
            buckets=buckets,
            sum_value=total,
        )
        gauges = {
            "qfkit_streams_open": ("Streams on their way.", tally.streams_open),
            "qfkit_journal_entries": ("Requests that the journal remembers now.", len(state.journal.entries())),
            "qfkit_accounts": ("Accounts.", len(state.accounts())),
        }
        for name, (words, value) in gauges.items():
            yield GaugeMetricFamily(name, words, value=value)


def _summed(answers: dict[Answered, int], labels: Callable[[Answered], tuple[str, ...]]) -> Counter[tuple[str, ...]]:
    summed: Counter[tuple[str, ...]] = Counter()
    for answer, count in answers.items():
        summed[labels(answer)] += count
    return summed


def _text(value: int | str | None) -> str:
    return "" if value is None else str(value)


def _by_prefix(answered_by: str | None) -> str:
    return "chaos" if answered_by and answered_by.startswith("chaos") else "script"
