"""docs/conformance.md is about these cases and these versions; `make conformance` makes it anew."""

from __future__ import annotations

import importlib.metadata
import json
from pathlib import Path
from typing import Any

import pytest

from qfkit.testing.conformance import CASES, markdown

DOCS = Path(__file__).parents[2] / "docs"
KEPT: dict[str, Any] = json.loads((DOCS / "conformance.json").read_text("utf-8"))
SUITES = {suite["suite"]: suite for suite in KEPT["suites"]}
STALE = "run `make conformance` and commit what it writes"

#: Those that another environment plays: their versions are not ours.
ELSEWHERE = {"TestLangChainOpenAI", "TestLangChainQianfan"}


def test_every_client_is_there() -> None:
    assert set(SUITES) == {
        "TestReferenceTextGeneration",
        "TestReferenceLines",
        "TestReferenceV1",
        "TestReferenceV2",
        "TestOpenAI",
        "TestOfficialV1",
        "TestOfficialV1Signed",
        "TestOfficialV2",
        *ELSEWHERE,
    }


@pytest.mark.parametrize("name", sorted(SUITES))
def test_every_case_was_played(name: str) -> None:
    suite = SUITES[name]
    wanted = {case.name for case in CASES if suite["dialect"] in case.dialects}
    if name == "TestReferenceLines":
        wanted = {case.name for case in CASES if case.streamed and suite["dialect"] in case.dialects}
    names = [each for reasons in suite["results"].values() for listed in reasons.values() for each in listed]
    assert sorted(names) == sorted(wanted), STALE
    assert suite["results"]["failed"] == {}, "what fails is explained, as a deviation"
    assert "" not in suite["results"]["deviates"]


@pytest.mark.parametrize("name", sorted(set(SUITES) - ELSEWHERE))
def test_these_are_the_versions_that_are_here(name: str) -> None:
    for package, version in SUITES[name]["packages"].items():
        assert importlib.metadata.version(package) == version, STALE


def test_the_reference_client_fails_nothing() -> None:
    for name, suite in SUITES.items():
        if name.startswith("TestReference"):
            assert suite["results"]["deviates"] == {}


def test_a_run_is_told_without_what_differs_from_run_to_run() -> None:
    run = {
        "qfkit": "1",
        "python": "3.11",
        "suites": [
            {
                "suite": "TestIt",
                "module": "test_it",
                "dialect": "v2",
                "packages": {"it": "1.0"},
                "note": "It is new.",
                "counts": {},
                "cases": [
                    {"name": "lines/crlf", "level": "required", "result": "passed"},
                    {"name": "cuts/no-end-event", "level": "required", "result": "failed", "complaints": ["port 4711"]},
                    {"name": "fields/bom", "level": "recommended", "result": "deviates", "reason": "it keeps | it"},
                ],
            }
        ],
    }
    merged = markdown.merged([run])
    assert merged["suites"][0]["results"] == {
        "passed": {"": ["lines/crlf"]},
        "failed": {"": ["cuts/no-end-event"]},
        "deviates": {"it keeps | it": ["fields/bom"]},
        "n/a": {},
    }
    text = markdown.results_of(merged)
    assert "4711" not in text
    assert "| `TestIt` | v2 | it 1.0 | 1 | 1 | 1 | 0 | 1 |" in text
    assert "| [fields](#fields) | 0 of 1 |" in text
    assert "it 1.0, v2. It is new." in text
    assert "| not explained | **`cuts/no-end-event`** |" in text
    assert "| it keeps &#124; it | `fields/bom` |" in text
