"""``qfkit errors``: what an error code means, and what to do about it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import asdict
from typing import Any

import click

from qfkit.protocol.dialects import INFERENCE_DIALECTS
from qfkit.protocol.errors import (
    DIALECTS,
    ERRORS,
    RETRIERS,
    ErrorSpec,
    UnknownErrorCode,
    envelope,
    find,
    is_error_status,
    translate,
    with_status,
)

_REQUEST_ID = "as-xxxxxxxxxx"


@click.command("errors")
@click.argument("code", required=False)
@click.option("--dialect", type=click.Choice(DIALECTS), help="Only this API family; a code of another is translated.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON for a program instead of the text.")
def command(*, code: str | None, dialect: str | None, as_json: bool) -> None:
    """List the errors of Qianfan, or explain CODE.

    CODE is a number (18, 336003), a name (rpm_rate_limit_exceeded, QPSLimitReached) or an HTTP status (429).
    """
    if code is None:
        listed = [spec for spec in ERRORS if dialect in {None, spec.dialect}]
        click.echo(_json([asdict(spec) for spec in listed]) if as_json else _list(listed))
        return
    try:
        specs = _asked(code, dialect)
    except UnknownErrorCode as error:
        raise click.UsageError(str(error)) from error
    if as_json:
        click.echo(_json([_data(spec) for spec in specs]))
        return
    click.echo("\n\n".join(map(_explain, specs)))
    if is_error_status(code) and (others := [spec for spec in _sent_with(code, dialect) if spec not in specs]):
        click.echo(f"\nOther errors sent with HTTP {code.strip()}:\n\n{_list(others)}")


def _asked(code: str, dialect: str | None) -> list[ErrorSpec]:
    """The rows of a code; those that a dialect would answer with, for a bare HTTP status or a code of another one."""
    if dialect is not None:
        own = [spec for spec in find(code) if spec.dialect == dialect]
        return own or [translate(code, dialect)]
    return list(find(code)) or [translate(code, each) for each in INFERENCE_DIALECTS]


def _sent_with(status: str, dialect: str | None) -> list[ErrorSpec]:
    return [spec for spec in with_status(int(status)) if dialect in {None, spec.dialect}]


def _kin(spec: ErrorSpec) -> dict[str, ErrorSpec]:
    """What the other inference dialects answer with when this failure is scripted for them."""
    if spec not in ERRORS:  # made up for a dialect by `translate`: no failure of its own
        return {}
    return {each: translate(spec.code, each) for each in INFERENCE_DIALECTS if each != spec.dialect}


def _data(spec: ErrorSpec) -> dict[str, Any]:
    kin = {each: {"code": other.code, "status": other.status} for each, other in _kin(spec).items()}
    return {**asdict(spec), "envelope": envelope(spec, request_id=_REQUEST_ID), "kin": kin}


def _explain(spec: ErrorSpec) -> str:
    name = f" ({spec.name} in the Python SDK)" if spec.name else ""
    guess = f"; guessed: {', '.join(spec.guess)}" if spec.guess else ""
    retried = "in the default retry set of" if spec.retried_by else "in no client's default retry set"
    lines = [
        f"{spec.dialect}  {spec.code}{name}  HTTP {spec.status}",
        f"  {spec.message}",
        "",
        f"  Meaning:  {spec.meaning}",
        f"  Remedy:   {spec.remedy}",
        f"  Retry:    {'yes, after a wait' if spec.retryable else 'no'}; {retried}",
        *(f"            - {RETRIERS[client]}" for client in spec.retried_by),
        f"  Body:     {json.dumps(envelope(spec, request_id=_REQUEST_ID), ensure_ascii=False)}",
        *(f"  Or says:  {text}" for text in spec.other_messages),
        *(
            f"  {f'As {each}:':<9} {other.code}, HTTP {other.status}: {other.message}"
            for each, other in _kin(spec).items()
        ),
        f"  Evidence: {spec.evidence}{guess}",
    ]
    return "\n".join(lines)


def _list(specs: Iterable[ErrorSpec]) -> str:
    head = ("dialect", "code", "HTTP", "retry", "message")
    rows = [
        (spec.dialect, str(spec.code), str(spec.status), "yes" if spec.retryable else "no", spec.message)
        for spec in specs
    ]
    widths = [max(map(len, column)) for column in zip(head, *rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in (head, *rows)
    )


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, indent=2)
