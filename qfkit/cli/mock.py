"""``qfkit mock``: the mock standing alone, for any language and for CI."""

from __future__ import annotations

import atexit
import json
import os
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from qfkit.protocol.credentials import ENVIRONMENT, Credentials

if TYPE_CHECKING:
    import ssl

    from mock_server.state import State

#: The port of the official SDK's own test server (wire reference, appendix B).
DEFAULT_PORT = 8866

#: Keys of the default account when the environment names none: fixed, so that they can stand in a CI file. They open
#: nothing but a mock.
DEFAULT_KEYS = Credentials(
    access_key="ALTAKqfkitmockaccesskey00",
    secret_key="qfkitmocksecretkey00000000000000",  # noqa: S106 - of a mock
    ak="qfkitmockapikey000000000",
    sk="qfkitmockappsecret00000000000000",
    bearer_token="bce-v3/ALTAK-qfkitmockapikey00000/0123456789abcdef0123456789abcdef01234567",  # noqa: S106 - of a mock
)

#: Why the mock does not start for other machines without a token.
_UNGUARDED = """{host} is not loopback, so other machines could read keys and requests over the control API.
Give it a token: QFKIT_ADMIN_TOKEN=$(python -c 'import secrets; print(secrets.token_urlsafe())') qfkit mock ...
(or --admin-token, or admin_token in the --config file), or listen on 127.0.0.1"""


@click.command("mock")
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option("--port", type=click.IntRange(0, 65535), default=DEFAULT_PORT, show_default=True, help="0: a free one.")
@click.option("--config", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="YAML file of settings.")
@click.option("--access-key", help="IAM access key of the default account.  [env: QIANFAN_ACCESS_KEY]")
@click.option("--secret-key", help="IAM secret key of the default account.  [env: QIANFAN_SECRET_KEY]")
@click.option("--api-key", help="v2 API key (bearer token) of the default account.  [env: QIANFAN_BEARER_TOKEN]")
@click.option("--auth", type=click.Choice(["strict", "warn", "off"]), help="What happens to bad keys and signatures.")
@click.option("--seed", type=int, help="Made-up answers and ids are the same for the same seed.")
@click.option("--ttft", type=click.FloatRange(0, 3600), help="Seconds to the first token of a stream.")
@click.option("--interval", type=click.FloatRange(0, 3600), help="Seconds between the tokens of a stream.")
@click.option(
    "--quota",
    type=click.Choice(["documented", "none"]),
    help="documented: text_generation has its 100 requests a second.",
)
@click.option(
    "--unmatched",
    type=click.Choice(["answer", "refuse"]),
    help="What meets a request that neither a rule nor the script wants.",
)
@click.option(
    "--admin-token",
    envvar="QFKIT_ADMIN_TOKEN",
    show_envvar=True,
    help="What the control API asks for. Needed off loopback.",
)
@click.option("--watch", is_flag=True, help="Use the --config file again whenever it changes; keep the last good one.")
@click.option("--tls", is_flag=True, help="Speak https, with a certificate of a throw-away authority.")
@click.option("--tls-dir", type=click.Path(file_okay=False, path_type=Path), help="Keep that authority here.")
@click.option("--ready-file", type=click.Path(path_type=Path), help="Write the base URL here once requests are taken.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON line for a program instead of the text.")
def command(
    *,
    host: str,
    port: int,
    config: Path | None,
    access_key: str | None,
    secret_key: str | None,
    api_key: str | None,
    auth: str | None,
    seed: int | None,
    ttft: float | None,
    interval: float | None,
    quota: str | None,
    unmatched: str | None,
    admin_token: str | None,
    watch: bool,
    tls: bool,
    tls_dir: Path | None,
    ready_file: Path | None,
    as_json: bool,
) -> None:
    """Run the mock server until SIGINT or SIGTERM.

    Its default account takes QIANFAN_ACCESS_KEY, QIANFAN_SECRET_KEY, QIANFAN_AK, QIANFAN_SK and QIANFAN_BEARER_TOKEN
    from the environment where they are set, and fixed, documented values where they are not. Where a --config file
    names accounts, its first account is the default one.
    """
    from mock_server.handle import client_environment
    from mock_server.serving.standalone import serve
    from mock_server.settings import ConfigError, build, load
    from mock_server.state import DuplicateCredentials, State
    from mock_server.tls import how_to_trust, trust

    given = {
        "auth": auth,
        "seed": seed,
        "ttft": ttft,
        "interval": interval,
        "quota": quota,
        "unmatched": unmatched,
        "admin_token": admin_token or None,
    }
    overrides: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    try:
        settings = load(config, **overrides) if config else build(overrides)
    except ConfigError as error:
        raise click.ClickException(str(error)) from error
    if watch and config is None:
        raise click.UsageError("--watch looks after a file: name it with --config")
    if not settings.admin_token and _open_to_others(host):
        raise click.UsageError(_UNGUARDED.format(host=host))
    state = State(settings)
    if settings.accounts and (access_key or secret_key or api_key):
        raise click.UsageError(f"{config} names the accounts: put the keys there, or leave its accounts out")
    explicit = {"access_key": access_key, "secret_key": secret_key, "bearer_token": api_key}
    keys = default_keys(explicit, dict(os.environ))

    context = _secured(state, host, tls_dir) if tls or tls_dir else None

    def announce(url: str) -> None:
        environment = client_environment(url, state.default_account.credentials)
        if state.ca_file:
            environment |= trust(state.ca_file)
        if as_json:
            data = {"url": url, "pid": os.getpid(), "account": state.default_account.name, "env": environment}
            click.echo(json.dumps(data))
        else:
            click.echo(welcome(url, state.default_account.credentials, environment))
            if state.ca_file:
                click.echo(how_to_trust(url, state.ca_file))
            if _open_to_others(host):
                click.secho(f"Note: {host} is not loopback: whoever reaches it can use this mock.", fg="yellow")
        if ready_file:
            ready_file.write_text(url + "\n", "utf-8")

    watcher = None
    if watch and config is not None:
        from mock_server.config.watching import Watcher

        watcher = Watcher(state, config, overrides, lambda line: click.echo(line, err=True))
    try:
        serve(state, host, port, keys, announce, watcher=watcher, tls=context)
    except DuplicateCredentials as error:
        raise click.ClickException(f"{config or 'settings'}: {error}") from error
    except OSError as error:
        hint = "another program has it; choose one with --port, or --port 0 for a free one" if port else "see --host"
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror or error}: {hint}") from error


def _secured(state: State, host: str, directory: Path | None) -> ssl.SSLContext:
    """The certificate to answer with; the state learns where the authority's lies."""
    from mock_server.server import write_pem
    from mock_server.tls import Authority, TlsError

    try:
        authority = Authority(directory)
    except (TlsError, OSError) as error:
        raise click.ClickException(str(error)) from error
    state.ca_file = write_pem(authority.pem)
    atexit.register(Path(state.ca_file).unlink, missing_ok=True)
    return authority.context(host)


def default_keys(explicit: dict[str, str | None], environ: dict[str, str]) -> Credentials:
    """Keys of the default account: options over environment over the documented values.

    One half of a pair alone keeps the documented other half, which ``qfkit mock`` prints.
    """
    chosen = {}
    for field, variable in ENVIRONMENT.items():
        if field != "access_token":
            chosen[field] = explicit.get(field) or environ.get(variable) or getattr(DEFAULT_KEYS, field)
    return Credentials(**chosen)


def welcome(url: str, keys: Credentials, environment: dict[str, str]) -> str:
    """What a person reads when the mock is up: where it is, whose keys it knows, how to point each client at it."""
    exports = "\n".join(f"  export {name}={shlex.quote(value)}" for name, value in environment.items())
    return f"""\
Mock Qianfan at {url}  (stop it with Ctrl-C)

Keys of the default account
  text_generation, v1 by IAM   access key {keys.access_key}
                               secret key {keys.secret_key}
  v1 by OAuth                  API key    {keys.ak}
                               secret key {keys.sk}
  v2                           API key    {keys.bearer_token}

For the official SDK (qianfan), LangChain's QianfanChatEndpoint, openai and qfkit
{exports}
For openai without the environment
  OpenAI(base_url="{url}/v2", api_key="{keys.bearer_token}")
For code that signs X-Bce-Signature headers
  POST {url}/rpc/2.0/ai_custom/v1/text_generation/chat_completions
"""


def _open_to_others(host: str) -> bool:
    if host == "127.0.0.1":
        return False  # not worth the import, which brings Flask
    from mock_server.routes.guard import is_loopback

    return not is_loopback(host)
