"""``qfkit simulate``: retry policies side by side, in a simulated service."""

from __future__ import annotations

import json
import shlex
import sys
from pathlib import Path
from typing import Any

import click

from qfkit.protocol.dialects import INFERENCE_DIALECTS


class _Stopped(click.ClickException):
    """It could be asked for, but not be brought to its end."""

    exit_code = 1


@click.command("simulate")
@click.argument("name", metavar="SCENARIO", type=click.Choice(["quota", "outage", "errors", "contention"]))
@click.option(
    "--policy",
    "-p",
    "policies",
    multiple=True,
    metavar="POLICY",
    help="Such as full:base=0.5,cap=20, openai or LABEL=fixed:base=2; can be repeated.  [default: about ten]",
)
@click.option(
    "--policies", "file", type=click.Path(dir_okay=False, path_type=Path), help="More of them, one a line; # comments."
)
@click.option("--clients", type=click.IntRange(1), help="How many, up to millions.")
@click.option("--calls", type=click.IntRange(1), help="Of each client, one after the other.")
@click.option("--over", type=float, metavar="S", help="Clients begin within so many seconds; 0: all at once.")
@click.option("--rate", type=float, help="Open load: so many calls a second, whatever becomes of the others.")
@click.option("--duration", type=float, metavar="S", help="How long calls begin, with --rate.")
@click.option("--arrivals", type=click.Choice(["even", "poisson"]), help="How they are spaced, with --rate.")
@click.option("--quota", metavar="LIMITS", help="Such as qps=100 or rpm=300,concurrency=5,window=sliding; or none.")
@click.option("--outage", type=float, metavar="S", help="How long the fault lasts.")
@click.option("--outage-at", type=float, metavar="S", help="When it begins.")
@click.option("--fault", type=click.Choice(["error", "hang", "reset"]), help="What requests meet in it.")
@click.option("--timeout", type=float, metavar="S", help="After which a client gives a hanging request up.")
@click.option("--error-rate", type=float, metavar="P", help="Chance of each attempt to fail, 0 to 1.")
@click.option("--hop", type=float, metavar="S", help="On the way there, and again back: mean.")
@click.option("--hop-sd", type=float, metavar="S", help="Its standard deviation.")
@click.option("--answer", type=float, metavar="S", help="From a request's arrival until its answer leaves.")
@click.option("--deadline", type=float, metavar="S", help="An answer that takes longer is not on time.")
@click.option("--dialect", type=click.Choice(INFERENCE_DIALECTS), help="text_generation sends Retry-After.")
@click.option("--seed", type=int, help="The same seed gives the same figures.")
@click.option("--jobs", type=click.IntRange(1), help="Processes.  [default: one a core, where it pays]")
@click.option("--max-attempts", type=click.IntRange(1), help="Stop when a policy makes more.  [default: 20000000]")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program instead of the table.")
@click.option("--html", type=click.Path(dir_okay=False, path_type=Path), help="Write a page with table and chart.")
@click.option("--svg", type=click.Path(dir_okay=False, path_type=Path), help="Write the chart alone.")
def command(
    *,
    name: str,
    policies: tuple[str, ...],
    file: Path | None,
    quota: str | None,
    jobs: int | None,
    max_attempts: int | None,
    as_json: bool,
    html: Path | None,
    svg: Path | None,
    **values: Any,
) -> None:
    """Compare retry policies in a simulated service: nothing is sent, and nobody waits.

    \b
    quota       many clients at once, against one quota        1000 clients, 100 a second
    outage      steady calls, and a fault in the middle        50 a second; 20 s of errors after 30 s
    errors      attempts fail by chance                        10000 clients, 3 in 10 fail
    contention  clients in each other's way, as in the AWS     100 clients, one row
                article on backoff and jitter

    The clients are RetryPolicy itself, or behave as the named library does; the quota is the mock's own.

    \b
    qfkit simulate quota --clients 100000 --quota qps=2000 -p full:attempts=10 -p decorrelated:attempts=10
    qfkit simulate outage --outage 30 --html outage.html

    Policies: none, immediate, fixed, exponential, full, equal, decorrelated and qfkit (the reference client's default)
    take base, factor, cap, attempts, max_total, retry_after_ceiling, budget, reserve; qianfan, openai, urllib3,
    stamina, tenacity-random, tenacity-jitter take attempts and their own options. retry_after=no ignores Retry-After.
    docs/simulation.md explains all of it.
    """
    from qfkit.simulation import TooMuch, WorkerLost, scenario, simulate
    from qfkit.simulation.chart import draw
    from qfkit.simulation.policies import contenders
    from qfkit.simulation.report import page, render
    from qfkit.simulation.run import MOST_ATTEMPTS

    for target in (html, svg):
        if target is not None and not target.absolute().parent.is_dir():
            raise click.UsageError(f"cannot write {target}: there is no directory {target.absolute().parent}")
    changes = {option: value for option, value in values.items() if value is not None}
    try:
        if quota is not None:
            changes["limits"] = _limits(quota)
        situation = scenario(name, **changes)
        named = [*policies, *(_lines(file) if file is not None else [])]
        found = contenders(named) if named or file is not None else None
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    try:
        comparison = simulate(
            situation,
            found,
            jobs=jobs,
            most_attempts=max_attempts or MOST_ATTEMPTS,
            tell=None if as_json else lambda words: click.echo(words, err=True),
        )
    except TooMuch as error:
        raise _Stopped(f"{error} (--max-attempts)") from error
    except WorkerLost as error:
        raise _Stopped(str(error)) from error
    if html is not None:
        html.write_text(page(comparison, shlex.join(["qfkit", *sys.argv[1:]])), "utf-8")
    if svg is not None:
        svg.write_text(draw(comparison), "utf-8")
    if as_json:
        click.echo(json.dumps(comparison.to_dict(), ensure_ascii=False, indent=2))
        return
    click.echo(render(comparison))
    for target in (html, svg):
        if target is not None:
            click.echo(f"\nWritten: {target}")


def _limits(text: str) -> Any:
    """The quota that ``text`` names."""
    from mock_server.quota import RULES, Limits

    values: dict[str, Any] = {}
    if text.strip() == "none":
        return Limits()
    known = [*(rule.field for rule in RULES), "window"]
    for part in text.split(","):
        name, equals, value = (piece.strip() for piece in part.partition("="))
        if name not in known or not equals:
            raise ValueError(
                f"--quota is none, or limits such as qps=100,window=sliding; the names are {', '.join(known)}; "
                f"got {part!r}"
            )
        if name == "tpm":
            raise ValueError("--quota tpm: the calls of a simulation have no text, so tokens are not counted; use rpm")
        values[name] = value if name == "window" or not value.lstrip("-").isdecimal() else int(value)
    return Limits(**values)


def _lines(file: Path) -> list[str]:
    try:
        text = file.read_text("utf-8")
    except OSError as error:
        raise ValueError(f"cannot read --policies {file}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise ValueError(f"--policies {file} is no text in UTF-8: {error}") from error
    lines = [line.partition("#")[0].strip() for line in text.splitlines()]
    found = [line for line in lines if line]
    if not found:
        raise ValueError(f"--policies {file} names no policy: write one a line, such as full:base=0.5")
    return found
