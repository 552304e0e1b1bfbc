"""The ``qfkit`` command. Each subcommand is one module, imported when it is asked for."""

from __future__ import annotations

from importlib import import_module
from typing import cast

import click

#: Subcommand -> its module, in the order that ``qfkit --help`` lists them.
COMMANDS = {
    "demo": "qfkit.cli.demo",
    "mock": "qfkit.cli.mock",
    "config": "qfkit.cli.config",
    "journal": "qfkit.cli.journal",
    "grade": "qfkit.cli.grade",
    "chat": "qfkit.cli.chat",
    "sign": "qfkit.cli.sign",
    "errors": "qfkit.cli.errors",
    "load": "qfkit.cli.load",
    "simulate": "qfkit.cli.simulate",
}


class _Commands(click.Group):
    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(COMMANDS)

    def get_command(self, _ctx: click.Context, name: str) -> click.Command | None:
        if name not in COMMANDS:
            return None
        return cast("click.Command", import_module(COMMANDS[name]).command)


@click.command(cls=_Commands, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="qfkit")
def main() -> None:
    """Test anything that calls Baidu Qianfan (ERNIE) without the network, without a bill and without luck."""
