"""The report as one HTML page that needs nothing else: no script, no network, no other file.

It holds the data, too, as JSON in an element that no browser runs: a program can read it back (`data_of`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined

from loadtests.reporting import figures, words
from loadtests.reporting.report import QUANTILES
from loadtests.reporting.section_figures import of_section
from loadtests.reporting.words import Data

_TEMPLATES = Environment(
    loader=PackageLoader("loadtests.reporting", "templates"),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_COLUMNS = ("mean", *QUANTILES)
_DATA = re.compile(r'<script type="application/json" id="report">(.*?)</script>', re.DOTALL)


def page(report: Data) -> str:
    """The page as text, to be written in UTF-8."""
    scenarios = [
        _scenario(number, name, data, report) for number, (name, data) in enumerate(report["scenarios"].items())
    ]
    sections = [section for name in words.SECTIONS if (section := _section(name, report)) is not None]
    ending = report.get("exit") or {"code": None, "why": "the run has not ended", "reasons": []}
    return _TEMPLATES.get_template("page.html").render(
        report=report,
        names=_names(list(report["scenarios"])),
        ending=ending,
        grade={0: "good", 1: "bad"}.get(ending["code"], "doubt"),
        scenarios=scenarios,
        sections=sections,
        trust=[line for line in (words.reconciliation_line(report), words.calibration_line(report)) if line],
        notes=list(words.notes_of(report)),
        slos=[{**one, "mark": words.slo_mark(one)} for one in report.get("slos") or ()],
        settings=_settings(report),
        columns=_COLUMNS,
        data=_embedded(report),
    )


def _names(scenarios: Sequence[str]) -> str:
    if len(scenarios) > 3:
        return f"{', '.join(scenarios[:2])} and {len(scenarios) - 2} more"
    return ", ".join(scenarios) or "nothing"


def data_of(text: str) -> Any:
    """The report's data out of a page.

    Raises:
        ValueError: it is no such page.
    """
    found = _DATA.search(text)
    if found is None:
        raise ValueError("this page holds no report: it was not written by qfkit load --html-report")
    return json.loads(found[1])


def _embedded(report: Data) -> str:
    """JSON that no text in it can end early."""
    text = json.dumps({name: value for name, value in report.items() if name != "samples"}, ensure_ascii=False)
    return text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")


def _scenario(number: int, name: str, data: Data, report: Data) -> dict[str, Any]:
    lines = {
        "Calls": words.calls_line(data),
        "Requests": words.requests_line(data),
        "QPS": words.qps_line(data),
        "Goodput": words.goodput_line(data),
        "Tokens": words.tokens_line(data),
        "Late": words.late_line(data),
    }
    durations = [
        (words.TITLES[key], row, words.meaning(key)) for key in words.TITLES if (row := data["milliseconds"].get(key))
    ]
    durations += [(key, row, row.get("definition", "")) for key, row in (data.get("variants") or {}).items()]
    return {
        "name": name,
        "headline": words.headline(report, name),
        "tiles": list(_tiles(data)),
        "lines": [(title, line) for title, line in lines.items() if line],
        "durations": [
            (title, row["count"], [words.figure(row.get(column)) for column in _COLUMNS], what)
            for title, row, what in durations
        ],
        "failures": [words.failure_cells(row) for row in data["failures"]],
        "waits": [
            (key, row["count"], [words.figure(row.get(column)) for column in _COLUMNS])
            for key, row in (data.get("waits") or {}).items()
        ],
        "charts": list(figures.of_scenario(f"c{number}", data, report)),
    }


def _tiles(data: Data) -> list[tuple[str, str, str]]:
    """The figures that everybody looks for first: title, figure, unit."""
    durations = data["milliseconds"]
    tiles = [("calls", f"{data['calls']:,}", ""), ("throughput", f"{data['qps']:.1f}", "calls/s")]
    if (goodput := data.get("goodput")) and goodput["slos"] and goodput["share"] is not None:
        tiles.append(("goodput", f"{goodput['rate']:.1f}", f"calls/s, {goodput['share']:.1%}"))
    tiles += [
        (f"{words.TITLES[name]} p95", words.figure(row["p95"]), f"ms (p50 {words.figure(row['p50'])})")
        for name in ("ttft", "itl", "latency")
        if (row := durations.get(name))
    ]
    failed = data["failed"] / data["calls"] if data["calls"] else 0.0
    return [*tiles, ("errors", f"{failed:.2%}", f"{data['failed']:,} calls")]


def _section(name: str, report: Data) -> dict[str, Any] | None:
    found = report.get(name)
    if not found:
        return None
    lines, charts = list(found.get("lines") or ()), list(of_section(name, found))
    return {"name": words.SECTIONS[name], "lines": lines, "charts": charts} if lines or charts else None


def _settings(report: Data) -> list[tuple[str, str]]:
    """What a reader needs to do the same again."""
    named = {
        "service": report["host"],
        "dialect": report["dialect"],
        "model": report["model"],
        "client": report.get("client"),
        "load": words.load_of(report),
        "run time": None if report["run_time"] is None else f"{report['run_time']:g} s",
        "warm-up": f"{report['warmup']:g} s" if report.get("warmup") else None,
        "seed": report["seed"],
        "attempts": f"at most {report['attempts']} a call",
        "started": report.get("started"),
        "load generators": ", ".join(f"{name}: {share:.0%} of a core" for name, share in report["generators"].items()),
        "versions": ", ".join(f"{name} {report[name]}" for name in ("qfkit", "locust", "python") if report.get(name)),
    }
    return [(name, str(value)) for name, value in named.items() if value not in {None, ""}]
