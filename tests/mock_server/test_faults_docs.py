"""docs/faults.md says what the tables say, and its examples run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mock_server.faults.options import Options, rows
from mock_server.faults.stream import GROUPS, Delivery
from mock_server.faults.whole import FAULTS, Fault

DOCS = Path(__file__).resolve().parents[2] / "docs"
EXAMPLES = sorted((DOCS / "examples" / "faults").glob("*.py"))


@pytest.fixture(scope="module")
def page() -> str:
    return (DOCS / "faults.md").read_text("utf-8")


def table(options: type[Options], leave_out: frozenset[str] = frozenset()) -> str:
    """The table of a class of options as it has to stand in the page."""
    lines = ["| option | is | default | what it does |", "|---|---|---|---|"]
    lines += [
        f"| `{name}` | {says} | `{default}` | {doc} |"
        for name, says, default, doc in rows(options)
        if name not in leave_out
    ]
    return "\n".join(lines) + "\n"


@pytest.mark.parametrize("title", GROUPS)
def test_every_option_of_a_stream_is_documented(page: str, title: str) -> None:
    section = page.partition(f"### {title}\n")[2].partition("\n### ")[0]
    wanted = table(GROUPS[title])
    assert wanted in section, f"docs/faults.md, section {title!r}, has to hold this table:\n{wanted}"


def test_the_groups_hold_every_option() -> None:
    grouped = [row[0] for options in GROUPS.values() for row in rows(options)]
    assert sorted(grouped) == sorted(row[0] for row in rows(Delivery))


def summary(fault: type[Fault]) -> str:
    """A fault's row in the list of faults."""
    also = ", ".join(f"`{name}`" for name in fault.also) or "-"
    doc = " ".join((fault.__doc__ or "").split())
    return f"| [`{fault.kind}`](#{fault.kind}) | {doc.rstrip('.')} | {also} |\n"


@pytest.mark.parametrize("kind", FAULTS)
def test_every_fault_is_documented(page: str, kind: str) -> None:
    fault = FAULTS[kind]
    assert summary(fault) in page, f"docs/faults.md has to hold this row:\n{summary(fault)}"
    section = page.partition(f"### {kind}\n")[2].partition("\n### ")[0]
    shared = frozenset() if kind == "close" else frozenset({"delay", "text"})
    wanted = table(fault, shared)
    assert wanted in section or wanted.count("\n") == 2, f"section {kind!r} has to hold this table:\n{wanted}"


def test_every_example_is_mentioned(page: str) -> None:
    for example in EXAMPLES:
        assert f"(examples/faults/{example.name})" in page


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_runs(example: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", str(example)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1", "NO_PROXY": "127.0.0.1", "PYTHONIOENCODING": "utf-8"},
    )
    assert done.returncode == 0, done.stderr
