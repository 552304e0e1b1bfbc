"""``qfkit grade``: the verdict on a client, from a running mock or from its journal."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import click

from qfkit.cli.mock import DEFAULT_PORT

if TYPE_CHECKING:
    from qfkit.control import ControlAPI


_ADVICE = "start one with qfkit mock, give its --url, or judge a --journal"


class _Unusable(click.ClickException):
    """Nothing can be judged: another exit code than that of findings."""

    exit_code = 2


@click.command("grade")
@click.option("--url", default=f"http://127.0.0.1:{DEFAULT_PORT}", show_default=True, help="Where the mock is.")
@click.option("--token", envvar="QFKIT_ADMIN_TOKEN", help="Its admin token, where it has one. [env: QFKIT_ADMIN_TOKEN]")
@click.option(
    "--journal",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A journal as JSON lines instead of a running mock.",
)
@click.option("--account", help="Only the client of this account; without it, of every account that was used.")
@click.option("--schedule", help="What the client says of its waits, such as openai or aws-full:base=0.5,cap=8.")
@click.option("--limits", default="", help="Where the line is drawn, such as cap=60,attempts=5.")
@click.option("--noticed", is_flag=True, help="The caller has seen how its calls ended: giving up was right.")
@click.option("--ignore", multiple=True, metavar="CODE", help="A finding that may be. Can be given several times.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program instead of the text.")
def command(
    *,
    url: str,
    token: str | None,
    journal: Path | None,
    account: str | None,
    schedule: str | None,
    limits: str,
    noticed: bool,
    ignore: tuple[str, ...],
    as_json: bool,
) -> None:
    """Judge a client by what a mock saw of it: retries, waits, streams, tokens, signatures.

    Exits with 0 when nothing is wrong, with 1 when something was found, and with 2 when nothing could be judged.
    docs/verdicts.md explains each finding.
    """
    from qfkit.control import ControlAPI, ControlFailed
    from qfkit.grading import Limits, declared
    from qfkit.grading.report import check_code

    try:
        declared(schedule)
        Limits.parse(limits)
        for code in ignore:
            check_code(code)
    except ValueError as error:
        raise click.UsageError(str(error)) from error
    found = (
        _of_server(ControlAPI(url, token, advice=_ADVICE), account, schedule, limits, noticed=noticed)
        if journal is None
        else _of_file(journal, account, schedule, limits, noticed=noticed)
    )
    try:
        verdicts = dict(found)
    except ControlFailed as error:
        raise _Unusable(str(error)) from error
    if not verdicts:
        unused = f"the account {account!r} has not been used" if account else "no account has been used"
        raise _Unusable(f"{unused}: there is nothing to judge")
    bad = [name for name, verdict in verdicts.items() if _against(verdict, ignore)]
    if as_json:
        click.echo(json.dumps({"ok": not bad, "accounts": verdicts}, ensure_ascii=False, indent=2))
    else:
        click.echo("\n\n".join(f"account {name}: {verdict['text']}" for name, verdict in verdicts.items()))
    sys.exit(1 if bad else 0)


def _against(verdict: Mapping[str, Any], ignore: Iterable[str]) -> list[str]:
    ignored = set(ignore)
    return [
        finding["code"]
        for finding in verdict["findings"]
        if finding["severity"] != "info" and finding["code"] not in ignored
    ]


def _of_file(
    file: Path, account: str | None, schedule: str | None, limits: str, *, noticed: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    from qfkit.grading import Limits, grade, observations

    by_account: dict[str, list[dict[str, Any]]] = {}
    for number, line in enumerate(file.read_text("utf-8").splitlines(), 1):
        if not line.strip():
            continue
        try:
            entry = json.loads(line)
            name = entry["account"]
        except (ValueError, KeyError, TypeError) as error:
            raise _Unusable(
                f"{file}:{number} is no entry of a journal ({type(error).__name__}: {error}): write one with "
                "account.requests.to_jsonl() or GET /__admin/journal?format=jsonl"
            ) from error
        if name is not None and account in {None, name}:
            by_account.setdefault(str(name), []).append(entry)
    for name, entries in by_account.items():
        try:
            seen = observations(entries)
        except ValueError as error:
            raise _Unusable(f"{file}, account {name}: {error}") from error
        try:
            verdict = grade(
                seen,
                schedule=schedule,
                limits=Limits.parse(limits),
                noticed={one.number for one in seen} if noticed else (),
            )
        except ImportError as error:
            raise _Unusable(str(error)) from error
        yield name, {**verdict.to_dict(), "text": verdict.render()}


def _of_server(
    server: ControlAPI, account: str | None, schedule: str | None, limits: str, *, noticed: bool
) -> Iterator[tuple[str, dict[str, Any]]]:
    used = [each["name"] for each in server.get("accounts")["accounts"] if each["requests"]]
    query = {"schedule": schedule, "limits": limits or None, "noticed": "all" if noticed else None}
    for name in used if account is None else [account]:
        yield name, server.get(f"accounts/{quote(name, safe='')}/verdict", **query)
