"""``qfkit load compare``: did it get slower, and how sure is that?"""

from __future__ import annotations

import importlib.util
import json
import re
import sys
from pathlib import Path

import click

_TOLERANCE = re.compile(r"(\d+(?:\.\d+)?)\s*(%?)")


def _share(_context: click.Context, _parameter: click.Parameter, value: str) -> float:
    found = _TOLERANCE.fullmatch(value.strip())
    share = float(found[1]) / (100 if found[2] else 1) if found else 1.0
    if not 0 <= share < 1:
        raise click.BadParameter(f"{value!r} is no share below all: write it as 5% or 0.05")
    return share


@click.command("compare")
@click.argument("a", type=click.Path(path_type=Path))
@click.argument("b", type=click.Path(path_type=Path))
@click.option(
    "--tolerance", default="5%", show_default=True, metavar="SHARE", callback=_share, help="Slower by this is allowed."
)
@click.option(
    "--baseline",
    type=click.Path(path_type=Path),
    multiple=True,
    metavar="FILE",
    help="A further run of the same thing as A. With two or more, B must stand out from how much they differ.",
)
@click.option("--seed", type=int, default=0, show_default=True, help="Of the draws; the same seed says the same.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program instead of the text.")
def command(*, a: Path, b: Path, tolerance: float, baseline: tuple[Path, ...], seed: int, as_json: bool) -> None:
    """Hold the report B against the report A: differences with their confidence, for CI.

    \b
    qfkit load stream --host ... --report-json before.json
    qfkit load stream --host ... --report-json after.json
    qfkit load compare before.json after.json

    A and B are files of --report-json, --json or --html-report. Percentiles, errors, goodput and throughput are
    compared; docs/load-testing.md says how, and what the figures cannot tell.

    Ends with exit code 0 when nothing got worse by more than the tolerance beyond chance, 1 when something did, 2 when
    the reports cannot be compared, 3 when one of them is not to be trusted, or holds too few calls to tell.
    """
    for package in ("numpy", "scipy"):
        if importlib.util.find_spec(package) is None:
            raise click.UsageError(f"comparing needs {package}, which is not installed: pip install 'qfkit[grading]'")
    from loadtests.judging.compare import NotComparable, compare, read

    try:
        others = [read(file) for file in baseline]
        found = compare(read(a), read(b), baselines=others, tolerance=tolerance, seed=seed)
    except NotComparable as error:
        raise click.UsageError(str(error)) from error
    click.echo(json.dumps(found.to_dict(), ensure_ascii=False, indent=2) if as_json else found.render())
    sys.exit(found.code)
