"""What an SLO may speak of, as tables: durations, statistics, rates, shares, and where a report holds them. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import ceil, fsum
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

if TYPE_CHECKING:
    from loadtests.measuring.samples import Sample

#: ``duration`` is held in milliseconds, ``seconds`` in seconds, ``rate`` per second, ``share`` from 0 to 1.
Unit: TypeAlias = Literal["duration", "seconds", "rate", "share", "count", "ratio", "word"]

Report: TypeAlias = Mapping[str, Any]


class Duration(NamedTuple):
    """A duration of which a report has percentiles.

    Attributes:
        meaning: from where to where.
        streams: only streams have it.
    """

    meaning: str
    streams: bool = True


DURATIONS: dict[str, Duration] = {
    "latency": Duration("sent to end of answer", streams=False),
    "headers": Duration("sent to head of answer"),
    "first_byte": Duration("sent to first bytes of the body"),
    "first_chunk": Duration("sent to first event of the stream"),
    "first_reasoning": Duration("sent to first reasoning"),
    "ttft": Duration("sent to first content"),
    "itl": Duration("each gap between content chunks"),
    "tpot": Duration("mean gap of each call"),
    "e2e": Duration("sent to last content"),
    "end": Duration("sent to end of the stream"),
    "failed": Duration("sent to failure", streams=False),
    "late": Duration("intended to actual sending", streams=False),
}


def _of(name: str) -> Callable[[Sample], list[float]]:
    def values(sample: Sample) -> list[float]:
        value = getattr(sample, name)
        return [] if value is None else [value]

    return values


#: Duration -> the values in seconds that one call has of it.
CALL_VALUES: dict[str, Callable[[Sample], list[float]]] = {
    "latency": _of("end"),
    **{
        name: _of(name)
        for name in ("headers", "first_byte", "first_chunk", "first_reasoning", "ttft", "tpot", "e2e", "end")
    },
    "itl": lambda sample: sample.itl,
}


def _rank(share: float) -> Callable[[Sequence[float]], float]:
    """The nearest rank, as `loadtests.measuring.measures.Histogram.quantiles` has it."""
    return lambda values: values[max(1, ceil(round(share * len(values), 9))) - 1]


#: Statistic -> what it is of values in ascending order.
STATISTICS: dict[str, Callable[[Sequence[float]], float]] = {
    "min": lambda values: values[0],
    "mean": lambda values: fsum(values) / len(values),
    "p50": _rank(0.5),
    "p90": _rank(0.9),
    "p95": _rank(0.95),
    "p99": _rank(0.99),
    "p99.9": _rank(0.999),
    "max": lambda values: values[-1],
}

#: Statistics of the tail, the one furthest out last: what nearly every call must keep.
TAIL = ("p90", "p95", "p99", "p99.9", "max")

#: Of fewer values than this, the statistic is simply the largest.
ENOUGH = {"p90": 10, "p95": 20, "p99": 100, "p99.9": 1000}


class Measure(NamedTuple):
    """What is no duration.

    Attributes:
        unit: of its limits.
        meaning: in words.
        read: from a scenario's data and the part of it that is asked for (a code); None when it was not measured.
        of_run: it is one figure of the whole run; ``read`` then gets the report.
        comparable: another rate may be asked for as a part of it.
        generator: a busy load generator makes it look worse than it is.
        only: scenarios of ``qfkit load`` that measure it; empty for all.
    """

    unit: Unit
    meaning: str
    read: Callable[[Report, str], float | str | None]
    of_run: bool = False
    comparable: bool = False
    generator: bool = False
    only: tuple[str, ...] = ()


def offered(data: Report) -> float | None:
    """Calls a second that were meant to be sent: of an open model as planned, else as they were begun."""
    seconds = data["seconds"]
    planned = sum(row.get("planned") or 0 for row in data.get("timeline", ()))
    return (planned or data["calls"] + data["cut_off"]) / seconds if seconds else None


def _errors(data: Report, which: str) -> float | None:
    if not data["calls"]:
        return None
    if not which:
        return float(data["failed"] / data["calls"])
    rows = [row for row in data["failures"] if which in {str(row["status"]), str(row["code"])}]
    return float(sum(row["calls"] for row in rows) / data["calls"])


def _verdict(report: Report, _which: str) -> str | None:
    verdict = report.get("verdict")
    return None if verdict is None else "pass" if verdict.get("ok") else "fail"


def _member(*path: str) -> Callable[[Report, str], float | None]:
    def read(data: Report, _which: str) -> float | None:
        found: Any = data
        for name in path:
            found = found.get(name) if isinstance(found, Mapping) else None
        return found if isinstance(found, (int, float)) else None

    return read


MEASURES: dict[str, Measure] = {
    "goodput": Measure("rate", "calls that met every SLO for single calls", _member("goodput", "rate"), generator=True),
    "qps": Measure("rate", "calls that ended", _member("qps"), comparable=True, generator=True),
    "ok_qps": Measure("rate", "calls that ended well", _member("ok_qps"), comparable=True, generator=True),
    "offered": Measure("rate", "calls that were meant to be sent", lambda data, _: offered(data), comparable=True),
    "tokens": Measure("rate", "output tokens of all calls", _member("tokens", "per_second"), generator=True),
    "errors": Measure("share", "calls that failed; errors.CODE: with this HTTP status or code", _errors),
    "calls": Measure("count", "calls that ended", _member("calls")),
    "cut_off": Measure("count", "calls that the end of the run interrupted", _member("cut_off")),
    "amplification": Measure("ratio", "attempts for each call", _member("amplification")),
    "cpu": Measure(
        "share",
        "of a core, used by the busiest load generator",
        lambda report, _: max(report["generators"].values(), default=None),
        of_run=True,
    ),
    "recovery": Measure(
        "seconds",
        "from the end of an outage to 95 % of the goodput before it",
        _member("outage", "recovery_seconds"),
        of_run=True,
        only=("outage",),
    ),
    "storm": Measure(
        "rate",
        "attempts in the worst second of an outage",
        _member("outage", "storm_peak"),
        of_run=True,
        only=("outage",),
    ),
    "wasted": Measure(
        "count",
        "attempts that an outage could only refuse",
        _member("outage", "wasted_attempts"),
        of_run=True,
        only=("outage",),
    ),
    "ceiling": Measure(
        "rate", "highest rate that kept the SLOs", _member("ceiling", "ceiling_rate"), of_run=True, only=("ceiling",)
    ),
    "verdict": Measure(
        "word",
        "pass or fail: what qfkit.grading says of the client",
        _verdict,
        of_run=True,
        only=("backoff", "outage"),
    ),
}

#: Measures of which a part may be asked for, as ``errors.429``.
SHARES_OF = frozenset({"errors"})
