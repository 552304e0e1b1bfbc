"""The report as a table for a terminal. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from loadtests.reporting import words
from loadtests.reporting.report import QUANTILES
from loadtests.reporting.words import Data

_COLUMNS = ("mean", *QUANTILES)
_FEW = ("mean", "p50", "p95", "p99")


def render(report: Data) -> str:
    """The report for a terminal, without a line break at its end."""
    blocks = [list(_block(report, name, data)) for name, data in report["scenarios"].items()]
    if not blocks:
        blocks = [[f"Nothing was sent to {report['host']}."]]
    blocks += [list(_trust(report)), list(_sections(report)), list(_slos(report))]
    blocks += [[f"Note: {note}" for note in words.notes_of(report)], list(words.ending_lines(report))]
    return "\n\n".join("\n".join(block) for block in blocks if block)


def _block(report: Data, name: str, data: Data) -> Iterator[str]:
    yield words.headline(report, name)
    yield ""
    lines = {
        "calls": words.calls_line(data),
        "requests": words.requests_line(data),
        "QPS": words.qps_line(data),
        "goodput": words.goodput_line(data),
        "tokens": words.tokens_line(data),
        "late": words.late_line(data),
    }
    yield from (f"{title:<8}  {line}" for title, line in lines.items() if line)
    for index, line in enumerate(words.waits_lines(data)):
        yield f"{'' if index else 'waits':<8}  {line}"
    if data["failures"]:
        yield ""
        head = ("HTTP", "code", "phase", "calls", "attempts", "failure")
        yield from table(head, [words.failure_cells(row) for row in data["failures"]], left={2, 5})
    if data["milliseconds"]:
        yield ""
        yield from _durations(data)
    if data.get("variants"):
        yield ""
        yield from _variants(data)


def _durations(data: Data) -> Iterator[str]:
    rows = [
        (title, row, words.meaning(name))
        for name, title in words.TITLES.items()
        if (row := data["milliseconds"].get(name))
    ]
    cells = [
        (title, str(row["count"]), *(words.figure(row.get(column)) for column in _COLUMNS), what)
        for title, row, what in rows
    ]
    yield from table(("milliseconds", "count", *_COLUMNS, ""), cells, left={0, len(_COLUMNS) + 2})


def _variants(data: Data) -> Iterator[str]:
    """Durations as other tools compute them, under their names: a figure can be held against theirs."""
    cells = [
        (name, str(row["count"]), *(words.figure(row.get(column)) for column in _FEW), row["definition"])
        for name, row in data["variants"].items()
    ]
    yield from table(("as other tools have it", "count", *_FEW, ""), cells, left={0, len(_FEW) + 2})


def _trust(report: Data) -> Iterator[str]:
    lines = {"reconciled": words.reconciliation_line(report), "calibrated": words.calibration_line(report)}
    yield from (f"{title:<10}  {line}" for title, line in lines.items() if line)


def _sections(report: Data) -> Iterator[str]:
    """What scenarios of their own kind found, in their own words."""
    for name in words.SECTIONS:
        yield from words.section_lines(name, report.get(name))


def _slos(report: Data) -> Iterator[str]:
    results = report.get("slos") or ()
    if results:
        several = len(report["scenarios"]) > 1
        rows = [
            (words.slo_mark(one), one["slo"], (one["scenario"] or "") if several else "", one["why"]) for one in results
        ]
        yield from table(("SLO", "", "", ""), rows, left={0, 1, 2, 3})


def table(head: Sequence[str], rows: Sequence[Sequence[str]], *, left: set[int]) -> Iterator[str]:
    """Columns under their heads; those in ``left`` start at the left, all others end at the right; empty ones go."""
    columns = list(zip(head, *rows, strict=True))
    widths = [max(map(len, column)) for column in columns]
    for row in (head, *rows):
        cells = (
            cell.ljust(width) if index in left else cell.rjust(width)
            for index, (cell, width) in enumerate(zip(row, widths, strict=True))
            if width
        )
        if line := "  ".join(cells).rstrip():
            yield line
