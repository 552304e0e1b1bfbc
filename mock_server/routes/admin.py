"""The control API: every operation of the table as a Flask route, and every refusal as JSON that teaches.

The operations themselves stand in ``admin_*``; each is a call of what Python offers too.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any, cast

import msgspec
from flask import Blueprint, Response, current_app, request
from werkzeug.routing import Map, Rule

from mock_server.faults.options import nearest
from mock_server.routes import (
    admin_accounts,
    admin_journal,
    admin_quota,
    admin_scenario,
    admin_server,
    admin_verdict,
)
from mock_server.routes.guard import check
from mock_server.routes.operation import PREFIX, Call, ControlError, Operation, decode, refusal
from mock_server.state import DuplicateCredentials, State, UnknownAccount

logger = logging.getLogger("qfkit.mock")

#: Every operation, in the order of the documentation.
OPERATIONS: tuple[Operation, ...] = (
    *admin_accounts.OPERATIONS,
    *admin_scenario.OPERATIONS,
    *admin_quota.OPERATIONS,
    *admin_journal.OPERATIONS,
    *admin_verdict.OPERATIONS,
    *admin_server.OPERATIONS,
)

#: What operations raise -> the status that it means.
_REFUSALS: dict[type[Exception], int] = {
    UnknownAccount: 404,
    DuplicateCredentials: 409,
}

#: Blueprints that serve something under `PREFIX`.
_HERE = frozenset({"admin", "dashboard"})

admin = Blueprint("admin", __name__)


def _rule(path: str) -> str:
    return f"{PREFIX}{path}".replace("{", "<").replace("}", ">")


#: The same paths once more, to tell which methods one has.
_PATHS = Map(
    [Rule(_rule(row.path), methods=[row.method], endpoint=row.name) for row in OPERATIONS], merge_slashes=False
)


def respond(row: Operation, names: dict[str, str]) -> Response:
    """Do what a row of the table says, for the current request."""
    try:
        state = cast("State", current_app.extensions["qfkit"])
        if not row.open:
            check(request, state.settings)
        call = Call(state, request.host_url.rstrip("/"), names, _query(row), _body(row))
        return _answer(row, row.view(call))
    except ControlError as error:
        return _refuse(error)
    except tuple(_REFUSALS) as error:
        return _refuse(ControlError(_REFUSALS[type(error)], str(error)))
    except Exception as error:
        logger.exception("qfkit bug in %s", row.name)
        return _refuse(ControlError(500, f"a bug in qfkit, please report it: {type(error).__name__}: {error}"))


def _query(row: Operation) -> Any:
    given = request.args.to_dict(flat=False)
    known = row.query.__struct_fields__ if row.query else ()
    for name, values in given.items():
        if name not in known:
            hint = nearest(name, known) if known else "it has none"
            raise ControlError(400, f"{row.method} {PREFIX}{row.path} has no parameter {name!r}; {hint}", path=name)
        if len(values) > 1:
            raise ControlError(400, f"{name} is given {len(values)} times: give it once", path=name)
    if row.query is None:
        return None
    try:
        return msgspec.convert({name: values[0] for name, values in given.items()}, row.query, strict=False)
    except msgspec.ValidationError as error:
        raise refusal(error, row.query) from error


def _body(row: Operation) -> Any:
    if row.body is None:
        return None
    return decode(request.get_data() or b"{}", row.body)


def _answer(row: Operation, result: Any) -> Response:
    if not isinstance(result, Response):
        content = b"" if row.status == 204 else msgspec.json.encode(result)
        result = Response(content, row.status, mimetype="application/json")
        if row.status == 204:
            del result.headers["Content-Type"]
    return _guarded(result)


def _refuse(error: ControlError) -> Response:
    response = Response(msgspec.json.encode(error.body()), error.status, mimetype="application/json")
    for name, value in error.headers:
        response.headers[name] = value
    return _guarded(response)


def _guarded(response: Response) -> Response:
    response.headers.setdefault("Cache-Control", "no-store")
    response.headers["X-Content-Type-Options"] = "nosniff"
    return response


def _view(row: Operation) -> Callable[..., Response]:
    return lambda **names: respond(row, names)


for _row in OPERATIONS:
    admin.add_url_rule(_rule(_row.path), _row.name, _view(_row), methods=[_row.method], provide_automatic_options=False)
_metrics = next(row for row in OPERATIONS if row.view is admin_server.metrics)
admin.add_url_rule("/metrics", "page_of_metrics", _view(_metrics), methods=["GET"], provide_automatic_options=False)


@admin.before_app_request
def only_operations() -> Response | None:
    """Under `PREFIX` there are operations and the page; what is neither is not the service's business either."""
    if not request.path.startswith(f"{PREFIX}/") or request.blueprint in _HERE:
        return None
    path, method = request.path[:100], request.method[:20]
    if methods := sorted(_PATHS.bind("").allowed_methods(request.path)):
        allow = ", ".join(methods)
        return _refuse(ControlError(405, f"{method} is not for {path}: use {allow}", headers=(("Allow", allow),)))
    paths = sorted({f"{PREFIX}{row.path}" for row in OPERATIONS})
    hint = nearest(path, paths)
    return _refuse(ControlError(404, f"nothing is at {path}; {hint}; all are in {PREFIX}/openapi.json"))
