"""Everything that the service itself serves: a few lines between Flask and the core, for every path and method."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast
from urllib.parse import quote

from flask import Blueprint, Response, current_app, request

from mock_server.core import handle
from mock_server.delivery import Reply
from mock_server.state import State
from qfkit.clock import Clock
from qfkit.protocol.http import HttpRequest

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
    """A reply as a Flask response; its pieces wait for their time in the server's thread."""
    if reply.streamed:
        return Response(_pieces(reply, clock), reply.status, reply.headers)
    if reply.on_end:
        reply.on_end(reply.ending)
    return Response(reply.content, reply.status, reply.headers)


def _pieces(reply: Reply, clock: Clock) -> Iterator[bytes]:
    start = clock.monotonic()
    outcome = "hung up"
    try:
        for write in reply.body:
            clock.sleep(start + write.at - clock.monotonic())
            yield write.data
        outcome = reply.ending
        if outcome != "complete":
            raise ScriptedCut("the script cuts the answer here")
    finally:
        if reply.on_end:
            reply.on_end(outcome)
