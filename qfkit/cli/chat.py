"""``qfkit chat``: ask one question with the reference client."""

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


@click.command("chat")
@click.argument("prompt")
@click.option("--stream", "streamed", is_flag=True, help="Print the answer as it is written.")
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
@click.option("--base-url", help="Where to ask.  [env: QIANFAN_BASE_URL; for v2 QIANFAN_CONSOLE_API_BASE_URL]")
@click.option("--attempts", type=click.IntRange(1), default=3, show_default=True, help="Requests at most.")
@click.option("--live", is_flag=True, help="Allow calls to Baidu's own hosts, which cost money.")
@click.option("--json", "as_json", is_flag=True, help="Print text, usage, finish_reason and attempts as JSON.")
def command(
    *,
    prompt: str,
    streamed: bool,
    dialect: InferenceDialect | None,
    model: str | None,
    system: str | None,
    temperature: float | None,
    top_p: float | None,
    max_tokens: int | None,
    base_url: str | None,
    attempts: int,
    live: bool,
    as_json: bool,
) -> None:
    """Ask Qianfan, or a mock of it, one question: PROMPT, or standard input for "-".

    Keys come from the environment, under the official SDK's names: QIANFAN_ACCESS_KEY and QIANFAN_SECRET_KEY,
    QIANFAN_AK and QIANFAN_SK, QIANFAN_ACCESS_TOKEN, QIANFAN_BEARER_TOKEN.
    """
    from qfkit.client import Client, ConfigurationError, QianfanError, RetryPolicy

    try:
        client = Client.from_env(
            os.environ, dialect=dialect, base_url=base_url, model=model, retry=RetryPolicy(attempts=attempts)
        )
    except ConfigurationError as error:
        raise click.UsageError(str(error)) from error
    with client:
        if not live:
            _refuse_real_hosts(client)
        params: dict[str, Any] = {
            "temperature": temperature,
            "top_p": top_p,
            _MAX_TOKENS[client.dialect]: max_tokens,
        }
        text = _standard_input() if prompt == "-" else prompt
        try:
            if streamed:
                with client.stream(text, system=system, **params) as stream:
                    _show_stream(stream, as_json=as_json)
            else:
                _show(client.chat(text, system=system, **params), as_json=as_json)
        except QianfanError as error:
            raise click.ClickException(str(error)) from error


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


def _standard_input() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError as error:
        raise click.ClickException(f"standard input is not text in {error.encoding}") from error


def _show(reply: Reply, *, as_json: bool) -> None:
    click.echo(_as_json(reply) if as_json else reply.text)


def _show_stream(stream: Stream, *, as_json: bool) -> None:
    if as_json:
        click.echo(_as_json(stream.reply(), ttft=stream.ttft))
        return
    try:
        for chunk in stream:
            click.echo(chunk.text, nl=False)  # echo flushes
    finally:
        click.echo()


def _as_json(reply: Reply, **more: Any) -> str:
    data = {
        "text": reply.text,
        "reasoning": reply.reasoning,
        "usage": None if reply.usage is None else asdict(reply.usage),
        "finish_reason": reply.finish_reason,
        "tool_calls": reply.tool_calls,
        "id": reply.id,
        "model": reply.model,
        "request_id": reply.request_id,
        "latency": reply.latency,
        **more,
        "attempts": [asdict(attempt) for attempt in reply.attempts],
    }
    return json.dumps(data, ensure_ascii=False)
