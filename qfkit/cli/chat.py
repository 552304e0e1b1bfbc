"""``qfkit chat``: ask the service with the reference client, once, in a talk, or a whole file of prompts."""

from __future__ import annotations

import json
import os
import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from qfkit.client import Client, Reply, Stream
    from qfkit.protocol.dialects import InferenceDialect

#: What each dialect calls the longest answer it may give (wire reference 3.2, 4.1; design notes 4).
_MAX_TOKENS = {"text_generation": "max_tokens", "v1": "max_output_tokens", "v2": "max_completion_tokens"}

#: What a shell says of a program that Ctrl-C ended: 128 and the number of the signal.
INTERRUPTED = 130

#: Two options (or the prompt) that do not go together, and why.
_APART = (
    ("file", "prompt", "--file asks the prompts of the file: leave PROMPT out"),
    ("file", "interactive", "--file asks by itself, and -i asks you: give one of them"),
    ("file", "streamed", "--file writes whole answers: leave --stream out"),
    ("file", "as_json", "--file writes JSON lines in any case: leave --json out"),
    ("file", "images", 'with --file, pictures stand in the file: {"prompt": "…", "images": ["cat.png"]}'),
    ("interactive", "as_json", "-i is for reading, --json for programs: give one of them"),
)


@click.command("chat")
@click.argument("prompt", required=False)
@click.option("-i", "--interactive", is_flag=True, help="Talk: answers are streamed, and the talk is remembered.")
@click.option("--stream", "streamed", is_flag=True, help="Print the answer as it is written.")
@click.option("--image", "images", multiple=True, metavar="PATH|URL", help="A picture to look at (v1, v2); repeatable.")
@click.option(
    "--file",
    type=click.Path(exists=True, dir_okay=False, allow_dash=True),
    help='Ask each line: a prompt, or {"id"?, "prompt" or "messages", ...parameters} as JSON lines; "-" reads '
    "standard input.",
)
@click.option(
    "--out", type=click.Path(dir_okay=False), help="--file: where results go, as JSON lines; else standard output."
)
@click.option("--resume", is_flag=True, help="--file: go on with --out: ask only what it has no answer to.")
@click.option(
    "--max-workers", type=click.IntRange(1, 1000), help="--file: prompts asked at once.  [default: 5]", metavar="N"
)
@click.option(
    "--dialect",
    type=click.Choice(["text_generation", "v1", "v2"]),
    help="API family; without it, the one that the keys in the environment are for.",
)
@click.option("--model", help="v1, v2: the model; text_generation has no choice.")
@click.option("--system", help="Instructions for the model.")
@click.option("--temperature", type=float, help="How freely it writes; text_generation takes 0.1 to 1.0.")
@click.option("--top-p", type=float, help="Share of the likeliest words it chooses from.")
@click.option("--max-tokens", type=click.IntRange(1), help="Longest answer, in tokens.")
@click.option("--safety", is_flag=True, help="Mask personal data in what is sent, bound its length, heed the flags.")
@click.option("--base-url", help="Where to ask.  [env: QIANFAN_BASE_URL; for v2 QIANFAN_CONSOLE_API_BASE_URL]")
@click.option("--attempts", type=click.IntRange(1), default=3, show_default=True, help="Requests at most.")
@click.option("--live", is_flag=True, help="Allow calls to Baidu's own hosts, which cost money.")
@click.option("--json", "as_json", is_flag=True, help="Print text, usage, finish_reason and attempts as JSON.")
def command(
    *,
    prompt: str | None,
    interactive: bool,
    streamed: bool,
    images: tuple[str, ...],
    file: str | None,
    out: str | None,
    resume: bool,
    max_workers: int | None,
    dialect: InferenceDialect | None,
    model: str | None,
    system: str | None,
    temperature: float | None,
    top_p: float | None,
    max_tokens: int | None,
    safety: bool,
    base_url: str | None,
    attempts: int,
    live: bool,
    as_json: bool,
) -> None:
    """Ask Qianfan, or a mock of it: PROMPT once ("-" reads it from standard input), a talk (-i), or a file of prompts.

    Keys come from the environment, under the official SDK's names: QIANFAN_ACCESS_KEY and QIANFAN_SECRET_KEY,
    QIANFAN_AK and QIANFAN_SK, QIANFAN_ACCESS_TOKEN, QIANFAN_BEARER_TOKEN.

    Exit status: 0 all answered, 1 something failed, 2 wrong use, 130 stopped by Ctrl-C.
    """
    from qfkit.client import ConfigurationError, QianfanError

    _check_use(click.get_current_context().params)
    client = _connect(
        live=live,
        safety=safety,
        dialect=dialect,
        base_url=base_url,
        model=model,
        attempts=attempts,
    )
    with client:
        params: dict[str, Any] = {
            "temperature": temperature,
            "top_p": top_p,
            _MAX_TOKENS[client.dialect]: max_tokens,
        }
        try:
            if file is not None:
                from qfkit.cli.chat_file import ask_file

                common = {"model": model, "system": system, **params}
                status = ask_file(client, file, out, common, resume=resume, max_workers=max_workers or 5)
            elif interactive:
                from qfkit.cli.chat_interactive import Talk

                status = Talk(client, system, params).run(prompt, images)
            else:
                status = _ask_once(
                    client, prompt or "", {"system": system, "images": images, **params}, streamed, as_json
                )
        except ConfigurationError as error:
            raise click.UsageError(str(error)) from error
        except QianfanError as error:
            raise click.ClickException(str(error)) from error
        except KeyboardInterrupt:
            status = INTERRUPTED
    click.get_current_context().exit(status)


def _check_use(given: dict[str, Any]) -> None:
    for one, other, why in _APART:
        if given[one] and given[other]:
            raise click.UsageError(why)
    if given["file"] is None:
        for name in ("out", "resume", "max_workers"):
            if given[name]:
                raise click.UsageError(f"--{name.replace('_', '-')} goes with --file PROMPTS")
    if given["resume"] and given["out"] is None:
        raise click.UsageError(
            "--resume goes on with the results of an earlier run: name them with --out RESULTS.jsonl"
        )
    if given["interactive"] and given["prompt"] == "-":
        raise click.UsageError("-i reads the whole talk from standard input: leave the - out")
    if given["prompt"] is None and not given["interactive"] and given["file"] is None:
        raise click.UsageError("nothing to ask: give a PROMPT, or -i to talk, or --file PROMPTS")


def _connect(*, live: bool, safety: bool, attempts: int, **given: Any) -> Client:
    from qfkit.client import Client, ConfigurationError, RetryPolicy, Safety

    rules = Safety.default() if safety else None
    try:
        if rules is not None:
            rules.clean("")  # says now, not with each prompt, that the extra is missing
        client = Client.from_env(os.environ, retry=RetryPolicy(attempts=attempts), safety=rules, **given)
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from error
    if not live:
        _refuse_real_hosts(client)
    return client


def _refuse_real_hosts(client: Client) -> None:
    from qfkit.client.credentials import BASE_URL_VARIABLES, is_real_host

    hosts = {BASE_URL_VARIABLES[client.dialect]: client.base_url}
    if client.dialect == "v2":
        hosts[BASE_URL_VARIABLES["iam"]] = client.iam_base_url
    for variable, url in hosts.items():
        if is_real_host(url):
            raise click.UsageError(
                f"this would call {url}, Baidu's own host, where calls cost money. To do so, add --live. To ask a "
                f"mock, start one with `qfkit mock` and set {variable}, or pass --base-url http://127.0.0.1:8866."
            )


def standard_input() -> str:
    """All of it.

    Raises:
        ClickException: it is not text.
    """
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise click.ClickException(f"standard input is not text in {error.encoding}") from error


def reply_data(reply: Reply) -> dict[str, Any]:
    """A reply for programs."""
    return {
        "text": reply.text,
        "reasoning": reply.reasoning,
        "usage": None if reply.usage is None else asdict(reply.usage),
        "finish_reason": reply.finish_reason,
        "tool_calls": reply.tool_calls,
        "id": reply.id,
        "model": reply.model,
        "request_id": reply.request_id,
        "latency": reply.latency,
        "attempts": [asdict(attempt) for attempt in reply.attempts],
    }


def _ask_once(client: Client, prompt: str, params: dict[str, Any], streamed: bool, as_json: bool) -> int:
    text = standard_input() if prompt == "-" else prompt
    if not streamed:
        reply = client.chat(text, **params)
        click.echo(json.dumps(reply_data(reply), ensure_ascii=False) if as_json else reply.text)
        return 0
    with client.stream(text, **params) as stream:
        if as_json:
            data = reply_data(stream.reply())
            click.echo(json.dumps({**data, "ttft": stream.ttft}, ensure_ascii=False))
        else:
            show_stream(stream)
    return 0


def show_stream(stream: Stream) -> None:
    """Print the answer as it comes, and end its line whatever becomes of it."""
    try:
        for chunk in stream:
            click.echo(chunk.text, nl=False)  # echo flushes
    finally:
        click.echo()
