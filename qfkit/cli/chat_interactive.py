"""``qfkit chat -i``: a talk at the terminal, or from a pipe."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Callable, Sequence
from difflib import get_close_matches
from typing import Any

import click

from qfkit.cli.chat import INTERRUPTED, show_stream
from qfkit.client import Client, ConfigurationError, Conversation, QianfanError

_HINT = "/help lists the commands; Ctrl-C ends an answer, Ctrl-D the talk."


class _Quit(Exception):
    """The user wants to go."""


class Talk:
    """Reads questions, streams answers, obeys commands.

    Answers go to standard output, everything else to standard error: what a pipe reads is the answers.
    """

    def __init__(self, client: Client, system: str | None, params: dict[str, Any]) -> None:
        self._client = client
        self._params = {name: value for name, value in params.items() if value is not None}
        self._conversation: Conversation = client.conversation(system=system, **self._params)
        self._person = sys.stdin.isatty()
        self._failed = False

    def run(self, first: str | None, images: Sequence[str]) -> int:
        """Talk until the end of the input; returns the exit status.

        A person at a terminal has seen what failed; of a pipe, one failure makes it 1.

        Args:
            first: the first question, None to wait for it.
            images: pictures that go with the first question.
        """
        if self._person:
            with contextlib.suppress(ImportError):
                import readline  # noqa: F401 - input() then has a history and can be edited
            click.echo(f"{self._client.dialect}: {_HINT}", err=True)
        pictures = list(images)
        with contextlib.suppress(_Quit, EOFError):
            while True:
                try:
                    line = (first if first is not None else self._read()).strip()
                    first = None
                except KeyboardInterrupt:
                    if not self._person:
                        return INTERRUPTED
                    click.echo(f"\n{_HINT}", err=True)
                    continue
                if line.startswith("/") and not line.startswith("//"):
                    self._obey(line)
                elif line:
                    self._say(line.removeprefix("/") if line.startswith("//") else line, pictures)
                    pictures = []
        return 1 if self._failed and not self._person else 0

    def _read(self) -> str:
        """One line.

        Raises:
            EOFError: there are no more.
        """
        if self._person:
            return input("> ")
        line = sys.stdin.readline()
        if not line:
            raise EOFError
        return line

    def _say(self, text: str, images: Sequence[str]) -> None:
        stream = None
        try:
            stream = self._conversation.stream(text, images=images)
            show_stream(stream)
        except KeyboardInterrupt:
            self._tell("stopped; the question and what came of its answer are not remembered")
        except QianfanError as error:
            self._fail(str(error))
        finally:
            if stream is not None:
                stream.close()

    def _obey(self, line: str) -> None:
        name, _, rest = line.partition(" ")
        command = _COMMANDS.get(name)
        if command is None:
            near = get_close_matches(name, _COMMANDS, n=1)
            self._fail(
                f"there is no {name}{f': did you mean {near[0]}?' if near else '; /help lists what there is'} "
                "To say something that begins with /, write //"
            )
            return
        try:
            command[1](self, rest.strip())
        except ConfigurationError as error:
            self._fail(str(error))
        except OSError as error:
            self._fail(f"{error.filename}: {error.strerror}")

    def _undo(self, _rest: str) -> None:
        gone = self._conversation.undo()
        self._tell(f"{len(self._conversation)} turns left" if gone else "there is nothing to undo")

    def _clear(self, _rest: str) -> None:
        self._conversation.clear()
        self._tell("forgotten; the system prompt stays")

    def _save(self, path: str) -> None:
        if not path:
            raise ConfigurationError("name a file: /save talk.json")
        self._conversation.save(path)
        self._tell(f"{len(self._conversation)} turns saved to {path}")

    def _load(self, path: str) -> None:
        if not path:
            raise ConfigurationError("name a file: /load talk.json")
        self._conversation = self._client.conversation(load=path, **self._params)
        self._tell(f"{len(self._conversation)} turns loaded from {path}")

    def _system(self, text: str) -> None:
        if text:
            self._conversation.system = text
        self._tell(f"system prompt: {self._conversation.system or 'none'}")

    def _help(self, _rest: str) -> None:
        self._tell("\n".join(f"{name + ' ' + words:<14} {what}" for name, (words, _, what) in _COMMANDS.items()))
        self._tell(_HINT)

    def _quit(self, _rest: str) -> None:
        raise _Quit

    @staticmethod
    def _tell(text: str) -> None:
        click.echo(text, err=True)

    def _fail(self, text: str) -> None:
        self._failed = True
        self._tell(f"Error: {text}")


#: Name -> what follows it, what does it, what /help says.
_COMMANDS: dict[str, tuple[str, Callable[[Talk, str], None], str]] = {
    "/undo": ("", Talk._undo, "take the last question and its answer back"),
    "/clear": ("", Talk._clear, "forget all that was said"),
    "/save": ("FILE", Talk._save, "keep the talk in a file"),
    "/load": ("FILE", Talk._load, "go on with a talk that was kept"),
    "/system": ("[TEXT]", Talk._system, "show, or change, the instructions for the model"),
    "/help": ("", Talk._help, "this list"),
    "/quit": ("", Talk._quit, "end; so does Ctrl-D"),
}
