"""What was measured, as data, and the data as a table. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from loadtests.measures import Histogram
from loadtests.tally import Failure, Ledger, Tally
from qfkit.protocol.errors import find

#: Version of the data's shape: raised when a member changes its meaning.
FORMAT = 1
QUANTILES = {"min": 0.0, "p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "max": 1.0}

#: Above this share of a core, a generator's own queueing shows in what it measures.
BUSY = 0.85

#: Name of a duration -> how the table calls it, and what it is.
_TITLES = {
    "latency": ("latency", "sent to end of answer"),
    "headers": ("headers", "sent to head of answer"),
    "first_byte": ("first byte", "sent to first bytes of the body"),
    "first_chunk": ("first chunk", "sent to first event"),
    "first_reasoning": ("reasoning", "sent to first reasoning"),
    "ttft": ("TTFT", "sent to first content"),
    "itl": ("ITL", "each gap between content chunks"),
    "tpot": ("TPOT", "mean gap of each call"),
    "e2e": ("E2E", "sent to last content"),
    "failed": ("failed calls", "sent to failure"),
}


class Setting(NamedTuple):
    """What the run was, for the head of the report."""

    host: str
    dialect: str
    model: str | None
    users: int
    run_time: float | None
    seed: int
    attempts: int


def build(ledger: Ledger, setting: Setting) -> dict[str, Any]:
    """The report as JSON-ready data. Durations are in milliseconds, of nearest rank, each with its count."""
    return {
        "format": FORMAT,
        **setting._asdict(),
        "scenarios": {name: _scenario(tally) for name, tally in ledger.tallies.items()},
        "generators": {name: round(share, 3) for name, share in ledger.generators.items()},
        "lost_workers": list(ledger.lost),
    }


def _scenario(tally: Tally) -> dict[str, Any]:
    seconds = tally.seconds
    return {
        "calls": tally.calls,
        "ok": tally.ok,
        "failed": tally.failed,
        "cut_off": tally.cut_off,
        "requests": tally.requests,
        "attempts": tally.attempts,
        "token_requests": tally.token_requests,
        "seconds": round(seconds, 3),
        "qps": round(tally.calls / seconds, 2) if seconds else 0.0,
        "ok_qps": round(tally.ok / seconds, 2) if seconds else 0.0,
        "content_chunks": tally.chunks,
        "failures": [_failure(tally, failure) for failure in tally.failures()],
        "milliseconds": {name: _durations(histogram) for name, histogram in tally.durations.items() if histogram.count},
    }


def _failure(tally: Tally, failure: Failure) -> dict[str, Any]:
    return {
        "status": failure.status,
        "code": failure.code,
        "what": failure.what or _meaning(failure),
        "calls": tally.call_failures[failure],
        "attempts": tally.attempt_failures[failure],
    }


def _meaning(failure: Failure) -> str:
    # The same code may stand in several dialects; its words are near enough in all of them.
    known = find(failure.code) if failure.code is not None else ()
    return known[0].message or known[0].meaning if known else ""


def _durations(histogram: Histogram) -> dict[str, float | int]:
    values = histogram.quantiles(*QUANTILES.values())
    mean = histogram.mean
    assert mean is not None
    milliseconds = {name: round(value * 1000, 3) for name, value in zip(QUANTILES, values, strict=True)}
    return {"count": histogram.count, "mean": round(mean * 1000, 3), **milliseconds}


def render(report: Mapping[str, Any]) -> str:
    """The report for a terminal, without a line break at its end."""
    blocks = ["\n".join(_block(report, name, data)) for name, data in report["scenarios"].items()]
    notes = [f"Note: {note}" for note in notes_of(report)]
    if not blocks:
        blocks = [f"Nothing was sent to {report['host']}."]
    return "\n\n".join([*blocks, "\n".join(notes)] if notes else blocks)


def notes_of(report: Mapping[str, Any]) -> Iterator[str]:
    """What a reader must know before trusting the figures."""
    for worker in report["lost_workers"]:
        yield f"worker {worker} never sent its last figures: what it measured at the end is missing."
    busy = max(report["generators"].values(), default=0.0)
    if busy >= BUSY:
        yield (
            f"the load generator used {busy:.0%} of a core and was itself a limit: its queueing is in these times. "
            "Take fewer users, or more processes (locust --processes)."
        )
    for name, data in report["scenarios"].items():
        silent = data["ok"] - data["milliseconds"].get("ttft", {"count": 0})["count"]
        if name == "stream" and silent:
            yield f"streams without any content: {silent}. They ended well, and have no TTFT."
        if data["cut_off"]:
            yield f"calls cut off at the end: {data['cut_off']}. They were still under way, and are in no duration."


def _block(report: Mapping[str, Any], name: str, data: Mapping[str, Any]) -> Iterator[str]:
    model = f", {report['model']}" if report["model"] else ""
    retries = f"up to {report['attempts']} attempts a call" if report["attempts"] > 1 else "no retries"
    who = f"{report['users']} users, seed {report['seed']}, {retries}"
    yield f"{name}: {report['dialect']}{model} at {report['host']}, {who}"
    yield ""
    yield (
        f"calls     {data['calls']} in {data['seconds']:.1f} s: {data['ok']} ok, {data['failed']} failed"
        + (f", {data['cut_off']} cut off" if data["cut_off"] else "")
    )
    tokens = f", {data['token_requests']} for tokens" if data["token_requests"] else ""
    yield f"requests  {data['requests']} sent: {data['attempts']} attempts{tokens}"
    good = f", {data['ok_qps']:.1f} of them ok" if data["failed"] else ""
    yield f"QPS       {data['qps']:.1f} calls a second{good}"
    if data["failures"]:
        yield ""
        yield from _table(("HTTP", "code", "calls", "attempts", "failure"), _failure_rows(data["failures"]), left={4})
    if data["milliseconds"]:
        yield ""
        head = ("milliseconds", "count", "mean", *QUANTILES, "")
        rows = [
            (title, str(row["count"]), *(_figure(row[column]) for column in ("mean", *QUANTILES)), what)
            for key, (title, what) in _TITLES.items()
            if (row := data["milliseconds"].get(key))
        ]
        yield from _table(head, rows, left={0, len(head) - 1})


def _failure_rows(failures: Sequence[Mapping[str, Any]]) -> list[tuple[str, ...]]:
    return [
        (
            "-" if row["status"] is None else str(row["status"]),
            "-" if row["code"] is None else str(row["code"]),
            str(row["calls"]),
            str(row["attempts"]),
            row["what"],
        )
        for row in failures
    ]


def _figure(milliseconds: float) -> str:
    """Three digits: what lies below is noise."""
    digits = 0 if milliseconds >= 100 else 1 if milliseconds >= 10 else 2
    return f"{milliseconds:.{digits}f}"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: set[int]) -> Iterator[str]:
    """Columns under their heads; those in ``left`` start at the left, all others end at the right."""
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    for row in (head, *rows):
        columns = enumerate(zip(row, widths, strict=True))
        cells = (cell.ljust(width) if index in left else cell.rjust(width) for index, (cell, width) in columns)
        yield "  ".join(cells).rstrip()
