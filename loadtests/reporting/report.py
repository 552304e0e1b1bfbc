"""What was measured, as data: format 2 of the report. Pure.

`docs/load-testing.md` says what each member means; `loadtests.reporting` turns the data into a table and a page.
"""

from __future__ import annotations

import platform
from collections.abc import Iterator, Mapping, Sequence
from importlib import metadata
from typing import Any, NamedTuple

from loadtests.measuring.measures import Histogram
from loadtests.measuring.tally import Failure, Ledger, Tally
from loadtests.measuring.timeline import Cell
from loadtests.measuring.variants import VARIANTS
from qfkit.protocol.errors import find

#: Version of the data's shape: raised when a member changes its meaning.
FORMAT = 2
QUANTILES = {"min": 0.0, "p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999, "max": 1.0}

#: Above this share of a core, a generator's own queueing shows in what it measures.
BUSY = 0.85

#: Significant bits of the cells of ``histograms``: a cell is at most 0.8 % wide.
_CELL_BITS = 8

_TIMED = ("planned", "sent", "admitted", "attempts", "ok", "failed", "good")

#: Members that other parts of a run fill in, and that are None when there was no such part.
SECTIONS = ("calibration", "reconciliation", "verdict", "backoff", "outage", "ceiling", "soak")


class Setting(NamedTuple):
    """What the run was, for the head of the report.

    Attributes:
        host: base URL of the service.
        dialect: API family, or several.
        model: None for the client's default.
        users: how many at once.
        run_time: seconds that were asked for.
        seed: of all choices.
        attempts: requests of one call at most; None for what the client does by itself.
        client: ``qfkit``, ``sdk``, ``openai``, or the path of a factory.
        load: ``{"model": "closed"}``, or an open model with what it needs.
        warmup: seconds at the beginning whose calls are in no figure.
        started: when, in ISO 8601.
        good_slos: the SLOs that a call must meet to count for goodput; empty: it must end well.
    """

    host: str
    dialect: str
    model: str | None
    users: int
    run_time: float | None
    seed: int
    attempts: int | None
    client: str = "qfkit"
    load: Mapping[str, Any] = {"model": "closed"}
    warmup: float = 0.0
    started: str | None = None
    good_slos: Sequence[str] = ()


def build(ledger: Ledger, setting: Setting, **sections: Any) -> dict[str, Any]:
    """The report as JSON-ready data. Durations are in milliseconds, of nearest rank, each with its count.

    Args:
        ledger: what was measured.
        setting: what the run was.
        sections: those of `SECTIONS` that the run has, and ``notes`` and ``limits_reached``, lists of sentences.
    """
    described = setting._asdict()
    good_slos = list(described.pop("good_slos"))
    return {
        "format": FORMAT,
        "qfkit": _version("qfkit"),
        "locust": _version("locust"),
        "python": platform.python_version(),
        **described,
        "load": dict(setting.load),
        "scenarios": {name: _scenario(tally, good_slos) for name, tally in ledger.tallies.items()},
        "generators": {name: round(share, 3) for name, share in ledger.generators.items()},
        "lost_workers": list(ledger.lost),
        **dict.fromkeys(SECTIONS),
        "notes": [],
        "limits_reached": [],
        "slos": [],
        "exit": None,
        **sections,
    }


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _scenario(tally: Tally, good_slos: list[str]) -> dict[str, Any]:
    seconds = tally.seconds
    rows = list(tally.timeline.rows())
    return {
        "calls": tally.calls,
        "ok": tally.ok,
        "failed": tally.failed,
        "cut_off": tally.cut_off,
        "warmup_calls": tally.warmup_calls,
        "requests": tally.requests,
        "attempts": tally.attempts,
        "token_requests": tally.token_requests,
        "amplification": round(tally.attempts / calls, 4) if (calls := tally.calls + tally.cut_off) else None,
        "seconds": round(seconds, 3),
        "qps": _rate(tally.calls, seconds),
        "ok_qps": _rate(tally.ok, seconds),
        "goodput": {
            "good": tally.good,
            "rate": _rate(tally.good, seconds),
            "share": round(tally.good / tally.calls, 5) if tally.calls else None,
            "slos": good_slos,
        },
        "late": _row(tally.late, 1000) if tally.late.count else None,
        "content_chunks": tally.chunks,
        "tokens": {
            "output": tally.output_tokens,
            "prompt": tally.prompt_tokens,
            "per_second": _rate(tally.output_tokens, seconds),
            "per_request": _row(tally.rates, 1) if tally.rates.count else None,
            "source": {"server": tally.tokens_server, "estimated": tally.tokens_estimated},
        },
        "failures": [_failure(tally, failure) for failure in tally.failures()],
        "milliseconds": {name: _row(one, 1000) for name, one in tally.durations.items() if one.count},
        "variants": {
            name: _row(one, 1000) | {"definition": VARIANTS[name].definition}
            for name, one in tally.variants.items()
            if one.count
        },
        "histograms": {
            name: [list(cell) for cell in one.cells(_CELL_BITS)] for name, one in tally.durations.items() if one.count
        },
        "waits": {str(number): _row(one, 1000) for number, one in sorted(tally.waits.items()) if one.count},
        "timeline_start": rows[0][0] if rows else None,
        "timeline_width": tally.timeline.width,
        "timeline": list(_timeline(rows)),
    }


def _rate(count: int, seconds: float) -> float:
    return round(count / seconds, 2) if seconds else 0.0


def _timeline(rows: Sequence[tuple[int, Cell]]) -> Iterator[dict[str, Any]]:
    """Counts and percentiles by time; stretches in which nothing happened are left out."""
    for moment, cell in rows:
        counts = {name: getattr(cell, name) for name in _TIMED}
        medians = _medians("latency", cell.latency) | _medians("ttft", cell.ttft)
        yield {"second": moment - rows[0][0], **counts, **medians}


def _medians(name: str, histogram: Histogram) -> dict[str, float | None]:
    values: list[float] = histogram.quantiles(0.5, 0.95)
    p50, p95 = (round(value * 1000, 3) for value in values) if values else (None, None)
    return {f"{name}_p50": p50, f"{name}_p95": p95}


def _failure(tally: Tally, failure: Failure) -> dict[str, Any]:
    return {
        "status": failure.status,
        "code": failure.code,
        "phase": failure.phase,
        "what": failure.what or _meaning(failure),
        "calls": tally.call_failures[failure],
        "attempts": tally.attempt_failures[failure],
    }


def _meaning(failure: Failure) -> str:
    # The same code may stand in several dialects; its words are near enough in all of them.
    known = find(failure.code) if failure.code is not None else ()
    return known[0].message or known[0].meaning if known else ""


def _row(histogram: Histogram, factor: float) -> dict[str, float | int]:
    """Count, mean and quantiles; ``factor`` turns what the histogram counts in seconds into the unit that is shown."""
    values = histogram.quantiles(*QUANTILES.values())
    mean = histogram.mean
    assert mean is not None
    shown = {name: round(value * factor, 3) for name, value in zip(QUANTILES, values, strict=True)}
    return {"count": histogram.count, "mean": round(mean * factor, 3), **shown}
