"""``qfkit chat --file``: prompts from a file, several at a time, each result a line of JSON as soon as it is there."""

from __future__ import annotations

import contextlib
import io
import json
import sys
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from hashlib import blake2b
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import click

from qfkit.cli.chat import INTERRUPTED, reply_data, standard_input
from qfkit.cli.chat_progress import progress
from qfkit.cli.chat_results import Results, answered, key_of
from qfkit.client import Batch, Client, QianfanError

if TYPE_CHECKING:
    from qfkit.client.calls import Prompt

#: Members of a line that are no parameters of a chat here.
_NOT_HERE = {"stream", "resume", "safety", "cache", "self"}


@dataclass(frozen=True, slots=True)
class Asked:
    """One prompt of the file.

    Attributes:
        index: 0 for the first prompt; empty lines do not count.
        id: what the file calls it, None where it does not.
        prompt: a text, or messages.
        params: of the call.
        digest: of all that the answer depends on: dialect, prompt and parameters.
    """

    index: int
    id: str | int | None
    prompt: Prompt
    params: Mapping[str, Any] = field(repr=False)
    digest: str

    @property
    def key(self) -> str:
        """What it is recognized by in another run."""
        return key_of(self.id, self.digest)


def ask_file(
    client: Client, file: str, out: str | None, common: Mapping[str, Any], *, resume: bool, max_workers: int
) -> int:
    """Ask all prompts of ``file``; returns the exit status.

    Raises:
        UsageError: a line is no prompt, or ``out`` is there already, or is no file of results. Nothing was asked.
        ClickException: a file cannot be read or written.
    """
    given = {name: value for name, value in common.items() if value is not None}
    path = None if out is None else Path(out)
    try:
        lines = _lines(file)

        def prompts() -> Iterator[Asked]:
            return read_prompts(lines, client.dialect, given)

        total = sum(1 for _ in prompts())  # finds a line that is wrong before anything is asked
        if path is not None and not resume and path.is_file() and path.stat().st_size:
            raise click.UsageError(f"{out} has results already: go on with them with --resume, or name another file")
        had = answered(path) if path is not None and resume else Counter()
        done = total - sum(1 for _ in unanswered(prompts(), had))
        # Results that go to the terminal show by themselves how far it is.
        with _opened(path) as target, progress(total, done, io.StringIO() if path is None else sys.stderr) as advance:
            results = Results(target, done, advance)
            stopped = _ask(client, unanswered(prompts(), had), results, max_workers)
    except UnicodeDecodeError as error:
        raise click.ClickException(f"{file} is not text in UTF-8: {error.reason} at byte {error.start}") from error
    except BrokenPipeError:
        raise  # nobody reads standard output any more; click ends quietly
    except OSError as error:
        raise click.ClickException(f"{error.filename or out or 'standard output'}: {error.strerror}") from error
    if stopped:
        on = f"Go on with --out {out} --resume." if out is not None else "With --out RESULTS.jsonl it could go on."
        click.echo(f"stopped: {results.done} of {total} answered, {results.failed} failed. {on}", err=True)
        return INTERRUPTED
    if results.failed:
        again = f", and --resume asks them again: {out}" if out is not None else ""
        click.echo(f'{results.failed} of {total} failed: "error" says why{again}', err=True)
    return 1 if results.failed else 0


def _ask(client: Client, prompts: Iterator[Asked], results: Results, max_workers: int) -> bool:
    """Ask them all; True when Ctrl-C stopped it. What is under way then is left, and not waited for."""
    try:
        with Batch(lambda asked: results.write(_result(client, asked)), prompts, max_workers) as batch:
            for _ in batch:
                pass
    except KeyboardInterrupt:
        return True
    finally:
        results.close()
    return False


def _result(client: Client, asked: Asked) -> dict[str, Any]:
    head = {"index": asked.index, "id": asked.id, "digest": asked.digest}
    try:
        reply = client.chat(asked.prompt, **asked.params)
    except QianfanError as error:
        return {
            **head,
            "text": None,
            "usage": None,
            "attempts": [asdict(attempt) for attempt in error.attempts],
            "error": {
                "type": type(error).__name__,
                "code": getattr(error, "code", None),
                "status": getattr(error, "status", None),
                "message": str(error),
                "retryable": error.retryable,
            },
        }
    data = reply_data(reply)
    return {**head, "reply_id": data.pop("id"), **data, "error": None}


def unanswered(prompts: Iterator[Asked], had: Mapping[str, int]) -> Iterator[Asked]:
    """The prompts that have no answer yet; the same prompt twice wants two."""
    left = Counter(had)
    for asked in prompts:
        if left[asked.key]:
            left[asked.key] -= 1
        else:
            yield asked


def _lines(file: str) -> Callable[[], Iterator[str]]:
    """Reads the file from its beginning, as often as it is called; standard input is kept."""
    if file == "-":
        text = standard_input()
        return lambda: iter(io.StringIO(text))
    if not Path(file).is_file():  # a pipe can be read but once
        text = Path(file).read_text("utf-8-sig")
        return lambda: iter(io.StringIO(text))

    def read() -> Iterator[str]:
        with Path(file).open(encoding="utf-8-sig") as opened:
            yield from opened

    return read


@contextlib.contextmanager
def _opened(path: Path | None) -> Iterator[BinaryIO]:
    if path is None:
        yield sys.stdout.buffer
        return
    with path.open("ab") as file:
        yield file


def read_prompts(lines: Callable[[], Iterator[str]], dialect: str, common: Mapping[str, Any]) -> Iterator[Asked]:
    """The prompts of a file. It is JSON lines if its first line begins with ``{``; empty lines are passed over.

    Args:
        lines: reads the file.
        dialect: that is spoken.
        common: parameters of all; those of a line win over them.

    Raises:
        UsageError: a line is no prompt; the message names it.
    """
    as_json: bool | None = None
    index = 0
    for number, line in enumerate(lines(), 1):
        text = line.strip()
        if not text:
            continue
        if as_json is None:
            as_json = text.startswith("{")
        identity, prompt, own = _parse(text, number) if as_json else (None, text, {})
        params = {**common, **own}
        basis = json.dumps([dialect, prompt, params], sort_keys=True)
        yield Asked(index, identity, prompt, params, blake2b(basis.encode(), digest_size=16).hexdigest())
        index += 1


def _parse(text: str, number: int) -> tuple[str | int | None, Prompt, dict[str, Any]]:
    try:
        data = json.loads(text)
    except ValueError as error:
        raise _bad(number, f"is no JSON ({error})") from error
    if not isinstance(data, dict):
        raise _bad(number, f"is no JSON object but {type(data).__name__}")
    if ("prompt" in data) == ("messages" in data):
        raise _bad(number, 'has "prompt", a text, or "messages", a list: one of the two')
    identity = data.pop("id", None)
    if isinstance(identity, bool) or not isinstance(identity, (str, int, type(None))):
        raise _bad(number, f'has an "id" that is neither text nor a whole number: {identity!r}')
    if "prompt" in data:
        prompt = data.pop("prompt")
        right = isinstance(prompt, str)
    else:
        prompt = data.pop("messages")
        right = isinstance(prompt, list) and all(isinstance(message, dict) for message in prompt)
    if not right or not prompt:
        raise _bad(number, 'has an empty or a wrong question: "prompt" is a text, "messages" a list of objects')
    if wrong := sorted(_NOT_HERE & data.keys()):
        raise _bad(number, f"has {', '.join(wrong)}, which cannot be set for one prompt")
    return identity, prompt, data


def _bad(number: int, what: str) -> click.UsageError:
    return click.UsageError(
        f"line {number} of the prompts {what}. A file is plain prompts, one a line, or JSON lines such as "
        '{"id": 7, "prompt": "你好", "temperature": 0.5} from its first line to its last'
    )
