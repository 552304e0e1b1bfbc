"""``qfkit sign``: the string to sign and the signature of a request, and why a given one differs."""

from __future__ import annotations

import json
import secrets
import time
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import click

from qfkit.cli.sign_input import UnreadableRequest, read_curl, read_raw, signed_by
from qfkit.protocol.http import HttpRequest
from qfkit.protocol.signing import (
    HmacForm,
    MalformedAuthorization,
    Reason,
    Verification,
    canonical_request,
    compare,
    explain,
    format_bce_date,
    parse_bce_authorization,
    parse_bce_date,
    sign_bce,
    sign_hmac,
    string_to_sign,
)

HMAC, BCE = "hmac", "bce-auth-v1"


@dataclass(frozen=True, slots=True, kw_only=True)
class _Asked:
    """The request and keys that the command line describes."""

    scheme: str
    access_key: str
    secret_key: str
    method: str
    url: str
    body: bytes
    headers: tuple[tuple[str, str], ...]
    timestamp: int
    nonce: str
    form: HmacForm
    expiration: int

    @property
    def target(self) -> str:
        parts = urlsplit(self.url)
        return f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"

    def all_headers(self) -> dict[str, str]:
        """Those given, and for bce-auth-v1 those that must be there."""
        headers = {name.lower(): value for name, value in self.headers}
        headers.setdefault("host", urlsplit(self.url).netloc)
        if self.scheme == BCE:
            headers.setdefault("content-type", "application/json")
            headers.setdefault("x-bce-date", format_bce_date(self.timestamp))
        return headers

    def request(self, **signed: str) -> HttpRequest:
        """The request as it would arrive, with the headers that sign it."""
        return HttpRequest(
            self.method,
            self.target,
            (*self.all_headers().items(), *signed.items()),
            self.body,
            urlsplit(self.url).scheme or "http",
        )


#: What ``--explain`` comes to without a value; no signature has a blank.
_OF_THE_REQUEST = "of the request"


@click.command("sign")
@click.argument("url", required=False)
@click.option("--scheme", type=click.Choice([HMAC, BCE]), help="[default: hmac, or what a given request has]")
@click.option("--access-key", envvar="QIANFAN_ACCESS_KEY", help="[env: QIANFAN_ACCESS_KEY]")
@click.option("--secret-key", envvar="QIANFAN_SECRET_KEY", required=True, help="[env: QIANFAN_SECRET_KEY]")
@click.option("--method", default="POST", show_default=True)
@click.option("--body", help="The body's exact text.")
@click.option("--body-file", type=click.File("rb"), help="A file with the body's exact bytes; - for standard input.")
@click.option("--header", "headers", multiple=True, metavar="'NAME: VALUE'", help="For bce-auth-v1; may be repeated.")
@click.option("--timestamp", help="Unix seconds, or UTC such as 2024-05-01T08:00:00Z.  [default: now]")
@click.option("--nonce", help="Of the hmac scheme.  [default: random]")
@click.option(
    "--form",
    type=click.Choice([form.value for form in HmacForm]),
    default=HmacForm.B_PATH.value,
    show_default=True,
    help="Of the hmac scheme: B signs the nonce, A does not; the path, or the whole URL.",
)
@click.option("--expiration", type=click.IntRange(0), default=1800, show_default=True, help="Of bce-auth-v1, seconds.")
@click.option(
    "--explain",
    "given",
    is_flag=False,
    flag_value=_OF_THE_REQUEST,
    metavar="[SIGNATURE]",
    help="Say why this signature (or Authorization) differs; without a value, that of --request or --curl.",
)
@click.option(
    "--request", "request_file", type=click.File("rb"), help="Explain a captured HTTP request; - for standard input."
)
@click.option("--curl", metavar="COMMAND", help="Explain the request of a curl command; @FILE reads it from a file.")
@click.option("--now", "at_now", is_flag=True, help="Judge its time stamp too, by this computer's clock.")
@click.option("--given-string", type=click.File("r"), help="With --explain: a file with the string that you signed.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program instead of the text.")
def command(
    *,
    url: str | None,
    scheme: str | None,
    access_key: str | None,
    secret_key: str,
    method: str,
    body: str | None,
    body_file: Any,
    headers: tuple[str, ...],
    timestamp: str | None,
    nonce: str | None,
    form: str,
    expiration: int,
    given: str | None,
    request_file: Any,
    curl: str | None,
    at_now: bool,
    given_string: Any,
    as_json: bool,
) -> None:
    """Print the string to sign and the signature of a request to URL.

    URL is a full one, or a path. With --explain the command compares a signature that you have with the right one,
    names what was done differently, and ends with exit code 1 if it is wrong. A request that you captured, or the curl
    command that sent it, needs no other words: --request or --curl takes all from there but the secret key. It is
    judged as at its own moment, unless --now is given.

    \b
    qfkit sign http://127.0.0.1:8866/rpc/2.0/ai_custom/v1/text_generation/chat_completions \\
        --body '{"messages": [...]}' --timestamp 1714550400 --nonce 12345 --explain 'GhHqN…='

    \b
    qfkit sign --explain --request captured.http
    qfkit sign --explain --curl "curl -X POST https://… -H 'X-Bce-Signature: …' -d '{…}'"
    """
    if request_file is not None or curl is not None:
        if request_file is not None and curl is not None:
            raise click.UsageError("give --request or --curl, not both")
        if url is not None:
            raise click.UsageError(
                f"the request says its own URL: leave {url!r} out, or give neither --request nor --curl"
            )
        if given not in {None, _OF_THE_REQUEST}:
            raise click.UsageError("the request carries its own signature: give --explain without a value")
        words = given_string.read() if given_string else None
        _print_given(request_file or curl, scheme, access_key, secret_key, words, at_now=at_now, as_json=as_json)
        return
    if given == _OF_THE_REQUEST:
        raise click.UsageError("--explain needs the signature, or a request: --request FILE or --curl 'curl ...'")
    if at_now:
        raise click.UsageError("--now goes with --request or --curl")
    if url is None:
        raise click.UsageError("Missing argument 'URL': give it, or --request FILE, or --curl 'curl ...'")
    if access_key is None:
        raise click.UsageError("Missing option '--access-key', or set QIANFAN_ACCESS_KEY")
    if body is not None and body_file is not None:
        raise click.UsageError("give --body or --body-file, not both")
    if given_string is not None and given is None:
        raise click.UsageError("--given-string goes with --explain")
    asked = _Asked(
        scheme=scheme or HMAC,
        access_key=access_key,
        secret_key=secret_key,
        method=method,
        url=url,
        body=body_file.read() if body_file is not None else (body or "").encode(),
        headers=tuple(_header(text) for text in headers),
        timestamp=_timestamp(timestamp),
        nonce=nonce or secrets.token_hex(8),
        form=HmacForm(form),
        expiration=expiration,
    )
    try:
        if given is None:
            _print_signature(asked, as_json=as_json)
        else:
            _print_explanation(asked, given, given_string.read() if given_string else None, as_json=as_json)
    except ValueError as error:
        raise click.UsageError(str(error)) from error


def _header(text: str) -> tuple[str, str]:
    name, colon, value = text.partition(":")
    if not colon or not name.strip():
        raise click.UsageError(f"--header is 'Name: value'; got {text!r}")
    return name.strip(), value.strip()


def _timestamp(text: str | None) -> int:
    if text is None:
        return int(time.time())
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        return int(parse_bce_date(text))
    except ValueError:
        raise click.UsageError(
            f"--timestamp is Unix seconds or UTC such as 2024-05-01T08:00:00Z; got {text!r}"
        ) from None


def _print_signature(asked: _Asked, *, as_json: bool) -> None:
    message, headers = _signed(asked)
    if as_json:
        click.echo(json.dumps({"string_to_sign": message, "headers": headers}, ensure_ascii=False))
        return
    click.secho("String to sign", bold=True)
    click.echo("\n".join(f"  {line}" for line in message.split("\n")))
    click.secho("Headers", bold=True)
    for name, value in headers.items():
        click.echo(f"  {name}: {value}")


def _signed(asked: _Asked) -> tuple[str, dict[str, str]]:
    """The string to sign as text, and the headers that carry the signature."""
    if asked.scheme == HMAC:
        signed = sign_hmac(
            access_key=asked.access_key,
            secret_key=asked.secret_key,
            method=asked.method,
            target=asked.target,
            body=asked.body,
            timestamp=asked.timestamp,
            nonce=asked.nonce,
            form=asked.form,
            url=asked.url,
        )
        by_url, with_nonce = asked.form.value.endswith("url"), asked.form.value.startswith("B")
        covered = string_to_sign(
            method=asked.method,
            target=asked.url if by_url else asked.target,
            body=asked.body,
            timestamp=asked.timestamp,
            nonce=asked.nonce if with_nonce else None,
        )
        return covered.decode("utf-8", "replace"), signed
    headers, parts = asked.all_headers(), urlsplit(asked.url)
    params = parse_qsl(parts.query, keep_blank_values=True)
    names = sorted(headers)
    authorization = sign_bce(
        access_key=asked.access_key,
        secret_key=asked.secret_key,
        method=asked.method,
        path=parts.path,
        headers=headers,
        params=params,
        timestamp=asked.timestamp,
        expiration=asked.expiration,
        signed_headers=names,
    )
    message = canonical_request(
        method=asked.method, path=parts.path, headers=headers, params=params, signed_headers=names
    )
    return message, {"Authorization": authorization, **headers}


def _print_explanation(asked: _Asked, given: str, given_string: str | None, *, as_json: bool) -> None:
    _print_verdict(_explained(asked, given), given_string, as_json=as_json)


def _print_verdict(verdict: Verification, given_string: str | None, *, as_json: bool) -> None:
    if given_string is not None and verdict.expected is not None:
        # What the user says was signed is taken at its word: the hypotheses need not be tried.
        verdict = replace(verdict, received=given_string, difference=compare(verdict.expected, given_string))
    click.echo(json.dumps(verdict.to_dict(), ensure_ascii=False) if as_json else verdict.render())
    if not verdict.ok:
        raise click.exceptions.Exit(1)


def _print_given(
    source: Any,
    scheme: str | None,
    access_key: str | None,
    secret_key: str,
    given_string: str | None,
    *,
    at_now: bool,
    as_json: bool,
) -> None:
    """The verdict on a request that is given whole: an open file of it, or a curl command."""
    try:
        request = read_curl(_command(source)) if isinstance(source, str) else read_raw(source.read())
        scheme = scheme or signed_by(request)
    except UnreadableRequest as error:
        raise click.UsageError(str(error)) from error
    moment = time.time() if at_now else _own_moment(request, scheme)
    verdict = _hinted(explain(request, secret_key, now=moment, scheme=scheme), access_key)
    _print_verdict(verdict, given_string, as_json=as_json)


def _command(curl: str) -> str:
    if not curl.startswith("@"):
        return curl
    try:
        with click.open_file(curl[1:], encoding="utf-8") as file:
            return str(file.read())
    except (OSError, UnicodeDecodeError) as error:
        raise UnreadableRequest(f"--curl {curl}: the file cannot be read: {error}") from error


def _own_moment(request: HttpRequest, scheme: str) -> float:
    """When the request says that it was made; now, where that cannot be read."""
    if scheme == BCE:
        try:
            return parse_bce_authorization(request.header("Authorization") or "").issued
        except MalformedAuthorization:
            return time.time()
    text = (request.header("X-Bce-Timestamp") or "").strip()
    if not (text.isascii() and text.isdigit() and len(text) <= 20):
        return time.time()
    moment = float(text)
    while moment > 1e11:  # milliseconds or less: to be told as such, it must not count as a moment far ahead
        moment /= 1000
    return moment


def _explained(asked: _Asked, given: str) -> Verification:
    """The verdict at the moment of signing: a request that you look at later is not wrong for being old."""
    if asked.scheme == HMAC:
        signed = {
            "X-Bce-AccessKey": asked.access_key,
            "X-Bce-Timestamp": str(asked.timestamp),
            "X-Bce-Nonce": asked.nonce,
            "X-Bce-Signature": given,
        }
        return explain(asked.request(**signed), asked.secret_key, now=asked.timestamp, scheme=HMAC)
    try:
        now = parse_bce_authorization(given).issued
    except MalformedAuthorization:
        now = asked.timestamp
    return _hinted(explain(asked.request(authorization=given), asked.secret_key, now=now, scheme=BCE), asked.access_key)


def _hinted(verdict: Verification, access_key: str | None) -> Verification:
    """The verdict, with a word on a request that names another access key than the one whose secret was given."""
    if access_key is None or verdict.access_key in {None, access_key} or verdict.reason is not Reason.MISMATCH:
        return verdict
    hint = f"it names access key {verdict.access_key}, --access-key is {access_key}; "
    return replace(verdict, message=hint + verdict.message)
