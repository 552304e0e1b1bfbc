"""The part of the pytest plugin that tells the results of conformance suites: a table, and JSON on request."""

from __future__ import annotations

import importlib.metadata
import json
import platform
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import pytest

#: Name of the property under which a test carries its case; pytest-xdist brings it along.
PROPERTY = "qianfan_conformance"

#: Category of pytest's reports -> what became of the case.
_RESULTS = {"passed": "passed", "failed": "failed", "error": "failed", "xfailed": "deviates", "skipped": "n/a"}

#: What became of a case, in the order of the table.
RESULTS = ("passed", "failed", "deviates", "n/a")

_OPTION, _INI = "--qianfan-conformance-json", "qianfan_conformance_json"


def pytest_addoption(parser: pytest.Parser) -> None:
    """Add the option for JSON."""
    text = "write the results of conformance suites to this file, as JSON"
    parser.getgroup("qianfan", "qfkit: mock Qianfan").addoption(
        _OPTION, default=None, metavar="FILE", help=f"{text} (ini: {_INI})"
    )
    parser.addini(_INI, f"{text} (command line: {_OPTION})", default="")


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(call: pytest.CallInfo[None]) -> Generator[None, Any, None]:
    """Tell a failed case in its own words, without the code of the suite around them."""
    outcome = yield
    report = outcome.get_result()
    told = getattr(call.excinfo.value, "told", None) if call.excinfo is not None else None
    if report.failed and told is not None:
        report.longrepr = told


def records(reporter: Any) -> Iterator[dict[str, Any]]:
    """What became of every case that was played, in any worker."""
    for category, result in _RESULTS.items():
        for report in reporter.stats.get(category, []):
            for name, record in getattr(report, "user_properties", ()):
                if name == PROPERTY and (report.when == "call" or category == "error"):
                    complaints = record.get("complaints") or ([_first_line(report)] if result == "failed" else [])
                    yield {**record, "result": result, "complaints": complaints}


def _first_line(report: Any) -> str:
    """Why a test failed that did not fail for its case: its fixtures, or a deviation that is gone."""
    crash = getattr(report.longrepr, "reprcrash", None)
    return str(crash.message if crash is not None else report.longrepr).partition("\n")[0]


def summary(found: list[dict[str, Any]]) -> dict[str, Any]:
    """The results as JSON has them: versions, and for each suite its counts and cases."""
    suites: dict[tuple[str, str], dict[str, Any]] = {}
    for record in found:
        key = (record["module"], record["suite"])
        suite = suites.setdefault(
            key,
            {
                "suite": record["suite"],
                "module": record["module"],
                "dialect": record["dialect"],
                "packages": {name: _version(name) for name in record["packages"]},
                "note": record["note"],
                "counts": dict.fromkeys(RESULTS, 0),
                "cases": [],
            },
        )
        suite["counts"][record["result"]] += 1
        said = {"reason": record["message"]} if record["message"] else {}
        if complaints := record.get("complaints"):
            said["complaints"] = complaints
        suite["cases"].append({"name": record["case"], "level": record["level"], "result": record["result"], **said})
    for suite in suites.values():
        suite["cases"].sort(key=lambda case: case["name"])
    return {
        "qfkit": _version("qfkit"),
        "python": platform.python_version(),
        "suites": [suites[key] for key in sorted(suites)],
    }


def _version(package: str) -> str | None:
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Show a table for each suite, and write the JSON."""
    found = list(records(terminalreporter))
    given = config.getoption(_OPTION)
    path = given if given is not None else config.getini(_INI)
    data = summary(found)
    if found:
        terminalreporter.section("conformance of clients of Qianfan")
        for suite in data["suites"]:
            terminalreporter.write_line("\n".join(table(suite)))
    if path:
        Path(path).write_text(json.dumps(data, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
        terminalreporter.write_line(f"conformance results written to {path}")


def table(suite: dict[str, Any]) -> list[str]:
    """The lines of one suite's table."""
    versions = ", ".join(f"{name} {version}" for name, version in suite["packages"].items())
    lines = [f"{suite['suite']} ({'; '.join(filter(None, (suite['dialect'], versions)))})"]
    areas: dict[str, dict[str, int]] = {}
    for case in suite["cases"]:
        counts = areas.setdefault(case["name"].partition("/")[0], dict.fromkeys(RESULTS, 0))
        counts[case["result"]] += 1
    lines.append(f"  {'area':<14}{'cases':>6}" + "".join(f"{name:>10}" for name in RESULTS))
    for area, counts in [*areas.items(), ("all", suite["counts"])]:
        cells = "".join(f"{counts[name] or '-':>10}" for name in RESULTS)
        lines.append(f"  {area:<14}{sum(counts.values()):>6}{cells}")
    for word in ("failed", "deviates"):
        for case in suite["cases"]:
            if case["result"] == word:
                why = case.get("reason") if word == "deviates" else "; ".join(case.get("complaints", ()))
                lines.append(f"  {word}: {case['name']} ({case['level']}): {' '.join((why or '').split())[:160]}")
    return lines
