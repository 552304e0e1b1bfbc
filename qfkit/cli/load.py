"""``qfkit load``: load tests on Locust, checked before they start and told in one table.

The commands are made of two tables: the scenarios of `loadtests.planning.plan`, and `loadtests.planning.options`.
"""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from importlib import import_module
from typing import Any, cast
from urllib.parse import urlsplit

import click

from loadtests.planning.options import Option, options
from loadtests.planning.plan import SCENARIOS, plan_of
from loadtests.planning.spelling import PlanError

#: Seconds that the host may take to accept the connection that shows it is there.
_PATIENCE = 5.0

#: Subcommands that run no load -> their module; each has a `command`.
OTHERS: dict[str, str] = {"compare": "qfkit.cli.load_compare"}


class _CannotStart(click.ClickException):
    """The test was asked for rightly, but something that it needs is not there."""

    exit_code = 2


class _Scenarios(click.Group):
    """A subcommand for each scenario, with the options that it knows."""

    def list_commands(self, _ctx: click.Context) -> list[str]:
        return [*SCENARIOS, *OTHERS]

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name in OTHERS:
            return cast("click.Command", import_module(OTHERS[name]).command)
        return _command(name) if name in SCENARIOS else None


@click.command("load", cls=_Scenarios)
def command() -> None:
    """Measure a service under load, with the reference client: signed, and without retries.

    Each user sends its next call when the last one has ended; with --rate calls are sent at moments of their own,
    whether or not answers come. When the run time is over, calls under way get up to 30 s to end. Keys come from the
    QIANFAN_* variables; 'qfkit mock' prints those of the mock.

    Ends with exit code 0 when all calls were good, 1 when some failed (unless --allow-failures) or an SLO was missed, 2
    when the test could not be started as asked, 3 when the measurement is not to be trusted, 130 after Ctrl-C.
    """


def _command(scenario: str) -> click.Command:
    def run(**values: Any) -> None:
        _run(scenario, values)

    about = f"{SCENARIOS[scenario]}\n\n'qfkit load --help' says what is measured, and how a run ends."
    return click.Command(
        scenario, callback=run, params=[_parameter(option) for option in options("qfkit", scenario)], help=about
    )


def _parameter(option: Option) -> click.Option:
    kind: click.ParamType[Any] | type = option.kind
    if option.choices:
        kind = click.Choice(option.choices)
    elif option.least is not None or option.above is not None:
        bounds = {"min": option.above, "min_open": True} if option.above is not None else {"min": option.least}
        kind = (click.IntRange if option.kind is int else click.FloatRange)(**bounds)
    shown: bool | str = option.shown or (option.default is not None and option.kind is not bool)
    return click.Option(
        [option.flags, option.name],
        type=None if option.kind is bool else kind,
        is_flag=option.kind is bool,
        default=option.default,
        show_default=shown,
        required=option.name == "host",
        multiple=option.many,
        metavar=option.metavar,
        help=option.help,
    )


def _run(scenario: str, values: dict[str, Any]) -> None:
    if importlib.util.find_spec("locust") is None:
        raise _CannotStart("load tests need Locust, which is not installed: pip install 'qfkit[load]'")
    import msgspec

    from loadtests.planning.prompts import mean_prompt, prompts_of
    from loadtests.sending.session import rehearse
    from qfkit.client import ConfigurationError

    try:
        plan = plan_of(values, scenario=scenario, host=values["host"])
        rehearse(plan)
    except PlanError as error:
        raise click.UsageError(str(error)) from error
    except ConfigurationError as error:
        raise _CannotStart(str(error)) from error
    _knock(plan.traffic.host)
    if plan.traffic.live:
        traffic = plan.traffic
        tokens = mean_prompt(prompts_of(traffic))
        click.echo(traffic.budget.words(host=traffic.host, model=traffic.model, prompt_tokens=tokens), err=True)
    _become(msgspec.json.encode(plan).decode())


def _knock(url: str) -> None:
    """See that somebody listens, before a thousand users find out that nobody does."""
    parts = urlsplit(url)
    port = parts.port or {"http": 80, "https": 443}[parts.scheme]
    try:
        socket.create_connection((parts.hostname or "", port), timeout=_PATIENCE).close()
    except OSError as error:
        raise _CannotStart(
            f"cannot reach {url}: {error.strerror or error}. Is it running? 'qfkit mock' starts a mock and says where"
        ) from error


def _become(plan: str) -> None:
    """Turn into the process that runs the plan, which is given as JSON.

    Not a call: importing Locust patches sockets and locks for gevent, which must happen before anything has imported
    them, so the interpreter must be a fresh one. Not a child either, where the system allows: the same process gets the
    signals, owns the terminal and has the exit code, and none is left behind when it is killed.
    """
    arguments = [sys.executable, "-m", "loadtests.run", plan]
    sys.stdout.flush()
    sys.stderr.flush()
    if os.name == "nt":  # where exec returns to the shell before the program has ended
        raise SystemExit(subprocess.run(arguments, check=False).returncode)  # noqa: S603 - our own module
    os.execv(sys.executable, arguments)  # noqa: S606 - our own module
