"""``qfkit config``: check a configuration, print its schema, print an example."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from mock_server.settings import AccountConfig, Settings


@click.group("config")
def command() -> None:
    """Check a configuration file of the mock, or print its JSON Schema or an example.

    The file is YAML. An editor that knows the schema completes its keys and marks mistakes while you type.
    """


@command.command("check")
@click.argument("file", type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program instead of the text.")
def check(*, file: Path, as_json: bool) -> None:
    """Say what FILE sets up; or, a line each, what is wrong with it, and exit with 1."""
    from mock_server.config.notes import notes_on
    from mock_server.settings import ConfigError, load

    try:
        settings = load(file)
    except ConfigError as error:
        if as_json:
            click.echo(_json({"ok": False, "file": str(file), "problems": [each.to_dict() for each in error.problems]}))
        else:
            count = len(error.problems)
            click.echo(error, err=True)
            click.echo(f"{count} problem{'s' if count > 1 else ''} in {file}", err=True)
        sys.exit(1)
    notes = notes_on(settings)
    if as_json:
        data = {"ok": True, "file": str(file), **summary(settings), "notes": [each.to_dict() for each in notes]}
        click.echo(_json(data))
    else:
        click.echo(told(file, settings))
        for note in notes:
            click.secho(f"Note: {note.render(str(file))}", fg="yellow")


@command.command("schema")
def schema() -> None:
    """Print the JSON Schema of the file."""
    from mock_server.config.schema import schema_text
    from mock_server.settings import Settings

    click.echo(schema_text(Settings), nl=False)


@command.command("example")
def example() -> None:
    """Print a file with a comment on each key, to begin with."""
    import mock_server.config

    click.echo(Path(mock_server.config.__file__).with_name("example.yaml").read_text("utf-8"), nl=False)


def summary(settings: Settings) -> dict[str, Any]:
    """What settings set up, without a secret, as JSON-ready data."""
    import msgspec

    plain = {
        field.name: value
        for field in msgspec.structs.fields(settings)
        if field.name not in {"accounts", "admin_token"} and (value := getattr(settings, field.name)) != field.default
    }
    accounts = [_account(number, config) for number, config in enumerate(settings.accounts, 1)]
    return {"settings": plain, "admin_token": settings.admin_token is not None, "accounts": accounts}


def _account(number: int, config: AccountConfig) -> dict[str, Any]:
    keys = ("access_key", "ak", "bearer_token")
    return {
        "name": config.name or f"account-{number}",
        "keys": [name for name in keys if getattr(config, name) is not None],
        "previous": [name for name in keys if config.previous and getattr(config.previous, name) is not None],
        "quota": config.quota is not None,
        "chaos": config.chaos is not None,
        "rules": len(config.rules),
        "steps": len(config.script) + sum(len(rule.get("script", ())) for rule in config.rules),
    }


def told(file: Path, settings: Settings) -> str:
    """The summary for a person."""
    data = summary(settings)
    written = [f"{name}: {_word(value)}" for name, value in data["settings"].items()]
    written += ["admin_token: set"] if data["admin_token"] else []
    lines = [f"{file} is good.", f"Settings: {', '.join(written) or 'all at their defaults'}"]
    for account in data["accounts"]:
        keys = ", ".join(account["keys"]) or "all generated"
        parts = [f"keys: {keys}", f"rules: {account['rules']}", f"steps: {account['steps']}"]
        parts += [word for word in ("quota", "chaos") if account[word]]
        parts += [f"old keys: {', '.join(account['previous'])}"] if account["previous"] else []
        lines.append(f"Account {account['name']}: {'; '.join(parts)}")
    if not data["accounts"]:
        lines.append("No accounts: one is made, with the documented keys")
    return "\n".join(lines)


def _word(value: Any) -> str:
    return (
        "[" + ", ".join(str(getattr(each, "value", each)) for each in value) + "]"
        if isinstance(value, tuple)
        else str(value)
    )


def _json(data: Any) -> str:
    return json.dumps(data, ensure_ascii=False, indent=2)
