"""``qfkit journal``: what a running mock saw, on the terminal."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from qfkit.cli.mock import DEFAULT_PORT

_DEFAULT_URL = f"http://127.0.0.1:{DEFAULT_PORT}"

#: Seconds that one look at the journal may wait for something to happen, and entries that it fetches at most.
_WAIT, _PAGE = 20.0, 1000

#: Seconds until it looks again for the answer of a request that had none yet.
_AGAIN = 0.1


@click.command("journal")
@click.option("--url", default=_DEFAULT_URL, show_default=True, help="Of the mock.")
@click.option("--account", help="Only requests of this account.")
@click.option(
    "--filter",
    "filters",
    metavar="NAME=VALUE",
    multiple=True,
    help="Only requests that fit, such as model=ernie-4.0-8k, ok=false, code=18, contains=天气; may be repeated.",
)
@click.option("--limit", type=click.IntRange(1, 10_000), default=100, show_default=True, help="The last so many.")
@click.option("--follow", "-f", is_flag=True, help="Go on with what comes, until Ctrl-C.")
@click.option("--har", type=click.Path(dir_okay=False, path_type=Path), help="Write an HTTP archive (HAR 1.2) here.")
@click.option("--export", type=click.Path(dir_okay=False, path_type=Path), help="Write JSON lines here.")
@click.option("--token", envvar="QFKIT_ADMIN_TOKEN", help="Of the control API.  [env: QFKIT_ADMIN_TOKEN]")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line for a program.")
def command(
    *,
    url: str,
    account: str | None,
    filters: tuple[str, ...],
    limit: int,
    follow: bool,
    har: Path | None,
    export: Path | None,
    token: str | None,
    as_json: bool,
) -> None:
    """Print what a running mock saw: one line a request, and why it was refused where it was.

    \b
    qfkit journal --follow
    qfkit journal --filter ok=false --filter dialect=v1
    qfkit journal --har run.har
    """
    if follow and (har or export):
        raise click.UsageError("--follow prints what comes; write a file of it afterwards, with --har or --export")
    reader = _Reader(url, token, {"account": account} if account else {}, filters)
    if har or export:
        for path, form in ((har, "har"), (export, "jsonl")):
            if path:
                path.write_bytes(reader.get(limit=limit, format=form))
                click.echo(f"wrote {path}")
        return
    shown = 0
    try:
        for entry in reader.follow(limit) if follow else reader.last(limit):
            click.echo(json.dumps(entry, ensure_ascii=False) if as_json else line(entry))
            shown += 1
    except KeyboardInterrupt:
        return
    if not shown and not as_json:
        click.echo("no request fits" if filters or account else "the mock has seen no request yet", err=True)


class _Reader:
    """Reads the journal of a mock over its control API."""

    def __init__(self, url: str, token: str | None, fixed: dict[str, str], filters: tuple[str, ...]) -> None:
        from qfkit.control import ControlAPI

        self._mock = ControlAPI(url, token, patience=_WAIT + 10)
        self._query = dict(fixed)
        for text in filters:
            name, equals, value = text.partition("=")
            if not equals or not name:
                raise click.UsageError(f"--filter is NAME=VALUE, such as ok=false; got {text!r}")
            self._query[name] = value

    def get(self, **more: Any) -> bytes:
        """One page.

        Raises:
            click.ClickException: the mock cannot be reached, or refuses; in its own words.
        """
        from qfkit.control import ControlFailed

        try:
            return self._mock.send("GET", "journal", **{**self._query, **more})
        except ControlFailed as error:
            raise click.ClickException(str(error)) from error

    def entries(self, **more: Any) -> list[dict[str, Any]]:
        """The requests of one page."""
        page: list[dict[str, Any]] = json.loads(self.get(**more))["entries"]
        return page

    def last(self, limit: int) -> Iterator[dict[str, Any]]:
        """The last entries, oldest first."""
        yield from self.entries(limit=limit)

    def follow(self, limit: int) -> Iterator[dict[str, Any]]:
        """The last entries, then what comes."""
        after = 0
        shown: set[int] = set()
        page = list(self.last(limit))
        while True:
            for entry in page:
                if entry["number"] not in shown and not _unanswered(entry):
                    shown.add(entry["number"])
                    yield entry
            # One that has no answer yet is shown when it has; those behind it need not wait for it.
            unanswered = [entry["number"] for entry in page if _unanswered(entry)]
            after = min(unanswered) - 1 if unanswered else max([after, *(entry["number"] for entry in page)])
            if unanswered:
                time.sleep(_AGAIN)
            shown = {number for number in shown if number > after}
            page = self.entries(after=after, wait=_WAIT, limit=_PAGE)


def _unanswered(entry: dict[str, Any]) -> bool:
    """It has no answer yet; a fault without a status line has been answered, and has said so."""
    return entry["status"] == 0 and entry["answered_by"] is None


def line(entry: dict[str, Any]) -> str:
    """One request on one line; a refused one has its reason below."""
    moment = datetime.fromtimestamp(entry["time"]).astimezone()
    code = f" {entry['error_code']}" if entry["error_code"] is not None else ""
    answer = click.style(f"{entry['status']}{code}", fg=_colour(entry))
    took = f" {entry['duration'] * 1000:.0f} ms" if entry["duration"] is not None else ""
    model = f" {entry['model']}" if entry["model"] else ""
    parts = [
        f"{moment:%H:%M:%S}.{moment.microsecond // 1000:03d}",
        f"#{entry['number']}",
        f"[{entry['account'] or 'nobody'}]",
        f"{entry['method']} {entry['target'].partition('?')[0]}{model} →",
        f"{answer} by {entry['answered_by']},",
        f"{entry['ending']}{took}",
    ]
    notes = [f"    {note}" for note in (entry["diagnosis"], *entry["near_misses"]) if note]
    return "\n".join([" ".join(parts), *(click.style(note, dim=True) for note in dict.fromkeys(notes))])


def _colour(entry: dict[str, Any]) -> str:
    if entry["error_code"] is None and 200 <= entry["status"] < 300:
        return "green"
    return "yellow" if entry["status"] in {200, 429} else "red"
