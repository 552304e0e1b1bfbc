"""The server itself: its health, settings, time and numbers."""

from __future__ import annotations

from datetime import datetime, timezone
from typing import Any

import msgspec
from flask import Response, request

from mock_server.config.checking import about
from mock_server.metrics import exposition
from mock_server.routes.operation import Call, ControlError, Operation
from qfkit.protocol.credentials import mask


class Health(msgspec.Struct, kw_only=True):
    """Requests are answered."""

    status: str


class Now(msgspec.Struct, kw_only=True):
    """The server's time, which time stamps and quotas go by: Unix seconds, and the same in UTC."""

    time: float
    utc: str


def health(_call: Call) -> Health:
    """Say that requests are answered."""
    return Health(status="ok")


def openapi(_call: Call) -> Response:
    """This document: OpenAPI 3.1."""
    from mock_server.openapi import document  # noqa: PLC0415 - which is made from this table, among others

    return Response(msgspec.json.encode(document()), mimetype="application/json")


def get_settings(call: Call) -> dict[str, Any]:
    """Show the settings that the server was started with, secrets masked."""
    shown: dict[str, Any] = _masked(call.state.settings)
    return shown


def get_clock(call: Call) -> Now:
    """Tell the server's time."""
    now = call.state.clock.time()
    return Now(time=now, utc=datetime.fromtimestamp(now, timezone.utc).isoformat(timespec="milliseconds"))


def reset(call: Call) -> None:
    """Forget the scenarios, the journals and what quotas have counted, of all accounts; the accounts stay."""
    for account in call.state.accounts():
        call.handle_of(account).reset()
    call.state.journal.clear()


def metrics(call: Call) -> Response:
    """Numbers for Prometheus. Also at ``/metrics``."""
    try:
        text, content_type = exposition(call.state, request.headers.get("Accept", ""))
    except ImportError as error:
        raise ControlError(501, "metrics need prometheus-client: pip install 'qfkit[server]'") from error
    return Response(text, content_type=content_type)


def _masked(value: Any) -> Any:
    """Settings as JSON-ready data; what their annotations call secret is masked, but for public access keys."""
    if isinstance(value, msgspec.Struct):
        return {
            field.name: mask(held)
            if (held := getattr(value, field.name)) and field.name != "access_key" and about(field.type).secret
            else _masked(held)
            for field in msgspec.structs.fields(value)
        }
    if isinstance(value, (list, tuple)):
        return [_masked(each) for each in value]
    if isinstance(value, dict):
        return {name: _masked(held) for name, held in value.items()}
    return value


_TAG = "server"

OPERATIONS = (
    Operation(method="GET", path="/health", view=health, tag=_TAG, answer=Health, open=True),
    Operation(method="GET", path="/openapi.json", view=openapi, tag=_TAG, answer=dict[str, Any], open=True),
    Operation(
        method="GET",
        path="/settings",
        view=get_settings,
        tag=_TAG,
        answer=dict[str, Any],
        python="State.settings",
    ),
    Operation(method="GET", path="/clock", view=get_clock, tag=_TAG, answer=Now, python="State.clock"),
    Operation(method="POST", path="/reset", view=reset, tag=_TAG, status=204, python="AccountHandle.reset"),
    Operation(
        method="GET",
        path="/metrics",
        view=metrics,
        tag=_TAG,
        media=("text/plain",),
        errors=(501,),
        python="metrics.exposition",
    ),
)
