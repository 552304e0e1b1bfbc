"""docs/signatures.md: its table holds every cause, in the words of the program."""

from __future__ import annotations

from pathlib import Path

from qfkit.protocol.signing import CAUSES
from qfkit.protocol.signing.search import MAX_TRIES

PAGE = (Path(__file__).parents[3] / "docs" / "signatures.md").read_text("utf-8")


def test_the_table_is_that_of_the_program() -> None:
    rows = [line for line in PAGE.splitlines() if line.startswith("| `")]
    assert rows == [f"| `{cause.name}` | {cause.statement} | {cause.advice} |" for cause in CAUSES.values()]


def test_the_page_tells_the_bound_of_the_search() -> None:
    assert f"up to {MAX_TRIES:,} strings" in PAGE
