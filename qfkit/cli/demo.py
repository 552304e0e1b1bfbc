"""``qfkit demo``: the whole idea in a minute, each step checked as it is shown."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from mock_server import AccountHandle, MockServer
    from qfkit import Client


class Disappointed(Exception):
    """A step did not show what it promised."""


@click.command("demo")
@click.option("--load/--no-load", default=True, show_default=True, help="End with a short Locust run.")
def command(*, load: bool) -> None:
    """Watch it work: sign, stream, fail and retry, explain a wrong signature, measure.

    Everything runs in this process and on a free port of 127.0.0.1; nothing is left running. Ends with exit code 1 if
    any step does not show what it promises.
    """
    from mock_server import MockServer
    from qfkit import Client

    started = time.perf_counter()
    disappointed = []
    with MockServer(seed=7, ttft=0.25, interval=0.02, quota="none") as server:
        account = server.account(name="demo")
        click.echo(f"A mock Qianfan listens on {server.url}, in this very process.")
        steps: list[tuple[str, Callable[[AccountHandle, Client], None]]] = [
            ("A signed chat call, verified by the mock", _signed_chat),
            ("A stream, arriving token by token", _stream),
            ("An error of the service, met and retried with backoff", _retries),
            ("A wrong signature, refused with the reason", _wrong_signature),
        ]
        with Client(base_url=server.url, credentials=account.credentials) as client:
            for number, (title, step) in enumerate(steps, 1):
                click.secho(f"\n{number}. {title}", bold=True)
                disappointed += _play(title, lambda step=step: step(account, client))  # type: ignore[misc]
        if load:
            title = "A short Locust run: calls a second and time to first token"
            click.secho(f"\n{len(steps) + 1}. {title}", bold=True)
            disappointed += _play(title, lambda: _load(server))
    seconds = time.perf_counter() - started
    if disappointed:
        raise click.ClickException(f"{len(disappointed)} step(s) fell short of the promise: {'; '.join(disappointed)}")
    click.secho(f"\nAll of it worked, in {seconds:.1f} s. Next: 'qfkit mock' for a server of your own.", fg="green")


def _play(title: str, step: Callable[[], None]) -> list[str]:
    try:
        step()
    except Disappointed as error:
        click.secho(f"   This is not what was promised: {error}", fg="red")
        return [title]
    return []


def _expect(truth: bool, otherwise: str) -> None:
    if not truth:
        raise Disappointed(otherwise)


def _say(text: str) -> None:
    click.echo("\n".join(f"   {line}" for line in text.splitlines()))


def _signed_chat(account: AccountHandle, client: Client) -> None:
    prompt = "用一句话介绍杭州"
    account.reply("杭州是一座以西湖闻名的江南名城。")
    reply = client.chat(prompt, temperature=0.7)
    seen = account.requests[-1]
    _say(f"The client asks   {prompt}")
    _say(f"The mock answers  {reply.text}")
    _expect(seen.signature is not None and seen.signature.ok, f"the signature was not verified: {seen}")
    assert seen.signature is not None
    _say(f"Its journal says  {seen}")
    _say(f"                  signature verified: HMAC-SHA256, form {seen.signature.form}")
    _expect(reply.text.startswith("杭州"), "the scripted answer did not arrive")


def _stream(account: AccountHandle, client: Client) -> None:
    pieces = ["水光", "潋滟", "晴方好,", "山色", "空蒙", "雨亦奇。"]
    account.stream(pieces, ttft=0.3, interval=0.12)
    start = time.perf_counter()
    arrived: list[float] = []
    text = ""
    click.echo("   ", nl=False)
    for chunk in client.stream("背两句写西湖的诗"):
        if chunk.text:
            arrived.append(time.perf_counter() - start)
            text += chunk.text
            click.echo(chunk.text, nl=False)
            sys.stdout.flush()
    click.echo()
    _say(f"First token after {arrived[0] * 1000:.0f} ms, then one every {_mean_gap(arrived) * 1000:.0f} ms")
    _say("(the script said 300 ms, then one every 120 ms)")
    _expect(text == "".join(pieces), f"the pieces do not add up: {text!r}")
    _expect(arrived[0] >= 0.29 and _mean_gap(arrived) >= 0.1, "the tokens came faster than the script says")


def _mean_gap(times: list[float]) -> float:
    return (times[-1] - times[0]) / max(1, len(times) - 1)


def _retries(account: AccountHandle, client: Client) -> None:
    account.fail(429, retry_after=1).then.fail(500).then.reply("好了。")
    _say("The script: 429 with 'Retry-After: 1', then 500, then an answer.")
    reply = client.chat("你好")
    for attempt in reply.attempts:
        waited = f"waited {attempt.waited:.2f} s ({attempt.wait_reason}), then " if attempt.waited else ""
        _say(f"Attempt {attempt.number}: {waited}status {attempt.status}")
    _expect([attempt.status for attempt in reply.attempts] == [429, 500, 200], "the attempts are not 429, 500, 200")
    _expect(reply.attempts[1].waited >= 1.0, "Retry-After was not honoured")
    nonces = {entry.header("X-Bce-Nonce") for entry in account.requests[-3:]}
    _expect(len(nonces) == 3, "an attempt was sent with an old signature")
    _say("Each attempt was signed afresh: three nonces in the journal.")


def _wrong_signature(account: AccountHandle, _client: Client) -> None:
    import requests

    from qfkit.protocol.dialects import TEXT_GENERATION_CHAT
    from qfkit.protocol.signing import sign_hmac

    keys = account.credentials
    assert keys.access_key is not None
    assert keys.secret_key is not None
    signed = b'{"messages":[{"role":"user","content":"hi"}]}'
    sent = b'{"messages": [{"role": "user", "content": "hi"}]}'
    headers = sign_hmac(
        access_key=keys.access_key,
        secret_key=keys.secret_key,
        method="POST",
        target=TEXT_GENERATION_CHAT,
        body=signed,
        timestamp=int(time.time()),
        nonce="demo",
    )
    _say("A client signs its body, then lets its HTTP library write the JSON anew: same data, other bytes.")
    answer = requests.post(
        account.url + TEXT_GENERATION_CHAT,
        data=sent,
        headers=headers | {"Content-Type": "application/json"},
        timeout=10,
    )
    _say(f"The service says  {answer.status_code} {answer.text}")
    verdict = account.requests[-1].signature
    _expect(answer.status_code == 401 and verdict is not None and not verdict.ok, "it was let in")
    assert verdict is not None
    _say("The mock adds, in its journal:")
    click.echo("\n".join(f"      {line}" for line in verdict.render().splitlines()))
    _expect(verdict.cause is not None and "body" in verdict.cause, f"the cause was named {verdict.cause!r}")


def _load(server: MockServer) -> None:
    account = server.account(name="load")
    _say("20 users ask for streams, for 5 s. The mock is told: 250 ms to the first token, then one every 20 ms.")
    run = subprocess.run(  # noqa: S603 - our own command, with arguments of our own
        [
            *(sys.executable, "-m", "qfkit", "load", "stream"),
            *("--host", server.url, "--users", "20", "--run-time", "5s"),
        ],
        env=os.environ | account.env(),
        check=False,
        capture_output=True,
        text=True,
    )
    _say(run.stdout.strip())
    if run.returncode != 0:
        _say(run.stderr.strip())
    _expect(run.returncode == 0, f"the load run ended with exit code {run.returncode}")
    _expect(len(account.requests) > 0, "the mock saw none of its requests")
