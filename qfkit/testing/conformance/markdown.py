"""Cases and results as Markdown: what ``docs/conformance.md`` is made of, and a team may put beside its own client."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from qfkit.protocol.dialects import INFERENCE_DIALECTS
from qfkit.testing.conformance.case import AREAS, Case
from qfkit.testing.conformance.hooks import RESULTS
from qfkit.testing.conformance.judging import expectation
from qfkit.testing.conformance.table import CASES

#: What became of cases that a client fails, known or not.
_NOT_PASSED = ("failed", "deviates")


def merged(results: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Several runs as one, without what differs from run to run.

    Args:
        results: what ``--qianfan-conformance-json`` wrote.
    """
    runs = list(results)
    suites = [
        {
            **{name: suite[name] for name in ("suite", "dialect", "packages", "note")},
            "results": {result: _grouped(suite["cases"], result) for result in RESULTS},
        }
        for run in runs
        for suite in run["suites"]
    ]
    return {"python": sorted({run["python"] for run in runs}), "suites": suites}


def _grouped(cases: Iterable[Mapping[str, Any]], result: str) -> dict[str, list[str]]:
    """Reason -> the names of the cases that ended so."""
    found: dict[str, list[str]] = {}
    for case in cases:
        if case["result"] == result:
            found.setdefault(case.get("reason", ""), []).append(case["name"])
    return found


def results_of(data: Mapping[str, Any]) -> str:
    """Who passed what.

    Args:
        data: of `merged`.
    """
    suites = data["suites"]
    required = {case.name for case in CASES if case.level == "required"}
    parts = [
        _table(
            ("client", "dialect", "versions", *RESULTS, "required cases failed"),
            (
                (
                    f"`{suite['suite']}`",
                    suite["dialect"],
                    _versions(suite),
                    *(str(len(_names(suite, result))) for result in RESULTS),
                    str(len([name for name in _names(suite, *_NOT_PASSED) if name in required])),
                )
                for suite in suites
            ),
        ),
        f"Python {', '.join(data['python'])}. By area, passed of those that apply:",
        _table(
            ("area", *(f"`{suite['suite']}`" for suite in suites)),
            ((f"[{area}](#{area})", *(_share(suite, area) for suite in suites)) for area in AREAS),
        ),
    ]
    for suite in suites:
        failed = [(why, names) for result in _NOT_PASSED for why, names in suite["results"][result].items()]
        if failed or suite["note"]:
            parts += [f"### {suite['suite']}", f"{_versions(suite)}, {suite['dialect']}. {suite['note']}".strip()]
        if failed:
            rows = ((_literal(why) or "not explained", _marked(names, required)) for why, names in failed)
            parts.append(_table(("what it does instead", "cases (**required**)"), rows))
    return "\n\n".join(parts)


def cases() -> str:
    """Every case, by area."""
    parts = []
    for area, words in AREAS.items():
        rows = [_row(case) for case in CASES if case.area == area]
        parts += [f"### {area}", f"{words[0].upper()}{words[1:]}.", _table(_HEAD, rows)]
    return "\n\n".join(parts)


_HEAD = ("case", "what happens", "a sound client", "why", "dialects")


def _row(case: Case) -> tuple[str, ...]:
    name = case.name.partition("/")[2]
    return (
        f"**`{name}`**" if case.level == "required" else f"`{name}`",
        _literal(case.what),
        _literal(expectation(case.expected, exact=False)),
        _literal(case.why),
        "all" if case.dialects == INFERENCE_DIALECTS else ", ".join(case.dialects),
    )


def _marked(names: Iterable[str], required: set[str]) -> str:
    return ", ".join(f"**`{name}`**" if name in required else f"`{name}`" for name in names)


def _names(suite: Mapping[str, Any], *results: str) -> list[str]:
    return [name for result in results for names in suite["results"][result].values() for name in names]


def _share(suite: Mapping[str, Any], area: str) -> str:
    passed, failed = (
        len([name for name in _names(suite, *results) if name.partition("/")[0] == area])
        for results in (("passed",), _NOT_PASSED)
    )
    return f"{passed} of {passed + failed}" if passed + failed else "-"


def _versions(suite: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {version}" for name, version in suite["packages"].items())


def _literal(text: str) -> str:
    """No Markdown in what is to be read as it stands; backticks stay."""
    shown = text.replace("\\", "\\\\").replace("|", "&#124;").replace("<", "&lt;").replace("*", "\\*")
    return shown.replace("\n", " ")


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
