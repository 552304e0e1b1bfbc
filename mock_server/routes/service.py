"""Everything that the service itself serves: a few lines between Flask and the core, for every path and method."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from functools import lru_cache, partial
from typing import cast
from urllib.parse import quote

from flask import Blueprint, Response, current_app, request

from mock_server.core import handle
from mock_server.delivery import Reply, wsgi_losses
from mock_server.state import State
from qfkit.clock import Clock
from qfkit.protocol.http import HttpRequest

logger = logging.getLogger("qfkit.mock")

service = Blueprint("service", __name__)

_METHODS = ("GET", "HEAD", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE")


class ScriptedCut(ConnectionAbortedError):
    """The script ends this answer here: WSGI servers take it for a client that went away, and drop the connection."""


@service.route("/", defaults={"_path": ""}, methods=_METHODS)
@service.route("/<path:_path>", methods=_METHODS)
def answer(_path: str) -> Response:
    """Hand the request to the core as plain values, and its reply to Flask."""
    state = cast("State", current_app.extensions["qfkit"])
    return respond(handle(wire_request(), state), state.clock)


def wire_request() -> HttpRequest:
    """The current request as it stood on the wire, as far as WSGI tells."""
    environ = request.environ
    raw = environ.get("RAW_URI") or environ.get("REQUEST_URI")
    if raw is None:  # PEP 3333 has the path decoded only
        path = quote(environ["PATH_INFO"].encode("latin-1"), safe="/:@!$&'()*+,;=~-._")
        raw = f"{path}?{environ['QUERY_STRING']}" if environ.get("QUERY_STRING") else path
    return HttpRequest(request.method, str(raw), tuple(request.headers.items()), request.get_data(), request.scheme)


def respond(reply: Reply, clock: Clock) -> Response:
    """A reply as a Flask response; its pieces wait for their time in the server's thread.

    What WSGI cannot carry of it is logged. A reply without a status line breaks off before its first piece, when most
    servers have sent no head yet.
    """
    for loss in wsgi_losses(reply):
        _log_loss(loss)
    if (
        not reply.streamed
        and len(reply.body) <= 1
        and reply.ending == "complete"
        and not (reply.body and reply.body[0].at)
    ):
        reply.sent = len(reply.content)
        if reply.on_end:
            reply.on_end(reply.ending)
        return Response(reply.content, reply.status, reply.headers)
    response = Response(_pieces(reply, clock), reply.status or 500, reply.headers)
    if reply.on_end:
        response.call_on_close(partial(reply.on_end, "hung up"))  # the first word counts: _pieces may have had it
    return response


@lru_cache(maxsize=256)  # once a text: every paced stream loses its early head
def _log_loss(loss: str) -> None:
    logger.warning("a WSGI server cannot carry this, use the front door: %s", loss)


def _pieces(reply: Reply, clock: Clock) -> Iterator[bytes]:
    if not reply.status:
        raise ScriptedCut("the script answers without a status line")
    start = clock.monotonic()
    for write in reply.body:
        clock.sleep(start + write.at - clock.monotonic())
        if write.data:
            yield write.data
            reply.sent += len(write.data)
    if reply.on_end:
        reply.on_end(reply.ending)
    if reply.ending != "complete":
        raise ScriptedCut("the script cuts the answer here")
