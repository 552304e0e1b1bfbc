"""``qfkit load``: a load test on Locust, checked before it starts and told in one table."""

from __future__ import annotations

import importlib.util
import os
import socket
import subprocess
import sys
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import click

from qfkit.protocol.dialects import INFERENCE_DIALECTS

if TYPE_CHECKING:
    from qfkit.protocol.dialects import InferenceDialect

#: Seconds that the host may take to accept the connection that shows it is there.
_PATIENCE = 5.0


class _CannotStart(click.ClickException):
    """The test was asked for rightly, but something that it needs is not there."""

    exit_code = 2


@click.command("load")
@click.argument("scenario", type=click.Choice(["qps", "stream"]))
@click.option("--host", required=True, metavar="URL", help="Base URL of the service, such as a mock's.")
@click.option("--users", type=click.IntRange(1), default=10, show_default=True, help="Users at once.")
@click.option(
    "--spawn-rate", type=click.FloatRange(0, min_open=True), help="Users started a second.  [default: all, up to 100]"
)
@click.option("--run-time", default="10s", show_default=True, metavar="TIME", help="As 10s, 1m30s or 2h.")
@click.option("--dialect", type=click.Choice(INFERENCE_DIALECTS), default="text_generation", show_default=True)
@click.option("--model", help="Model to ask, for v1 and v2.  [default: the client's]")
@click.option("--prompt", help="The one text to send.")
@click.option("--prompts", type=click.Path(), metavar="FILE", help="Texts to choose from, one a line, in UTF-8.")
@click.option(
    "--seed", type=int, default=0, show_default=True, help="The same seed asks the same things in the same order."
)
@click.option(
    "--attempts",
    type=click.IntRange(1),
    default=1,
    show_default=True,
    help="Requests of one call at most; 1: no retries.",
)
@click.option("--max-requests", type=click.IntRange(1), help="Budget: stop when this many HTTP requests were sent.")
@click.option("--live", is_flag=True, help="Allow a host that is not this machine; demands --max-requests.")
@click.option("--allow-failures", is_flag=True, help="Failed calls do not make the exit code 1.")
@click.option("--json", "as_json", is_flag=True, help="Print the report as JSON.")
def command(
    *,
    scenario: str,
    host: str,
    users: int,
    spawn_rate: float | None,
    run_time: str,
    dialect: InferenceDialect,
    model: str | None,
    prompt: str | None,
    prompts: str | None,
    seed: int,
    attempts: int,
    max_requests: int | None,
    live: bool,
    allow_failures: bool,
    as_json: bool,
) -> None:
    """Measure a service under load, with the reference client: signed, and without retries.

    \b
    qps     whole answers: calls a second, latency
    stream  streams: time to the first content (TTFT), gaps between tokens (ITL)

    Each user sends its next call when the last one has ended. When the run time is over, calls under way get up to
    30 s to end. Keys come from the QIANFAN_* variables; 'qfkit mock' prints those of the mock.

    Ends with exit code 0 when all calls were good, 1 when some failed (unless --allow-failures), 2 when the test could
    not be started as asked, 3 when no call ended, 130 after Ctrl-C.
    """
    if importlib.util.find_spec("locust") is None:
        raise _CannotStart("load tests need Locust, which is not installed: pip install 'qfkit[load]'")
    import msgspec

    from loadtests.plan import Plan, PlanError, Traffic, seconds_of
    from loadtests.session import rehearse
    from qfkit.client import ConfigurationError

    if prompt is not None and prompts is not None:
        raise click.UsageError("--prompt and --prompts exclude each other: give one text, or a file of them")
    try:
        traffic = Traffic(
            host=host.rstrip("/"),
            dialect=dialect,
            model=model,
            prompt=prompt,
            prompts=prompts,
            seed=seed,
            attempts=attempts,
            live=live,
            max_requests=max_requests,
        )
        plan = Plan(
            scenario="stream" if scenario == "stream" else "qps",
            traffic=traffic,
            users=users,
            spawn_rate=spawn_rate if spawn_rate is not None else min(users, 100),
            run_time=seconds_of(run_time),
            as_json=as_json,
            allow_failures=allow_failures,
        )
        rehearse(traffic)
    except PlanError as error:
        raise click.UsageError(str(error)) from error
    except ConfigurationError as error:
        raise _CannotStart(str(error)) from error
    _knock(traffic.host)
    if live:
        click.echo(f"Live: at most {max_requests} requests go to {traffic.host}.", err=True)
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
