"""Who may use the control API.

It hands out keys and shows what was asked, so: whoever listens for other machines needs a token, and without one only
this machine's own programs are let in. A web page that somebody on this machine has open is not one of them. It gives
itself away by its ``Origin``, and where it has pointed its own name at 127.0.0.1 (DNS rebinding) by the ``Host`` that
its requests then carry.
"""

from __future__ import annotations

import hmac
import ipaddress
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from mock_server.routes.operation import ControlError
from mock_server.settings import ConfigError, Settings

if TYPE_CHECKING:
    from flask import Request

#: A header for the token, for those who cannot set ``Authorization``.
TOKEN_HEADER = "X-Qfkit-Token"  # noqa: S105 - a header's name


def control_guard(settings: Settings, host: str | None) -> None:
    """Refuse to listen where other machines could use the control API without a token.

    Args:
        settings: of the mock.
        host: the address it is to listen on, None for a Unix socket.

    Raises:
        ConfigError: the address is not loopback and the settings have no ``admin_token``.
    """
    if host is not None and not settings.admin_token and not is_loopback(host):
        raise ConfigError(
            f"{host} is not loopback, so other machines could read requests and make keys over the control API: "
            "set admin_token to a secret of your own, or listen on 127.0.0.1"
        )


def is_loopback(host: str) -> bool:
    """Whether a name or address without a port means this machine alone (RFC 6761 6.3, RFC 5735 3, RFC 4291 2.5.3)."""
    name = host.strip("[]").rstrip(".").lower()
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return name == "localhost" or name.endswith(".localhost")


def check(request: Request, settings: Settings) -> None:
    """Let a request in.

    Raises:
        ControlError: 401 without the token that the settings have; 403, where they have none, for a client, a ``Host``
            or an ``Origin`` that is not this machine's.
    """
    if settings.admin_token:
        _check_token(request, settings.admin_token)
        return
    client, origin = request.environ.get("REMOTE_ADDR"), request.headers.get("Origin")
    if client and not is_loopback(client):
        raise ControlError(403, f"{client} is another machine: set admin_token, and send it")
    if (name := _host_of(f"//{request.host}")) is not None and not is_loopback(name):
        raise ControlError(
            403,
            f"Host: {request.host[:80]} is not loopback. A web page whose name was pointed at this machine would come "
            "like this (DNS rebinding). Ask for 127.0.0.1 or localhost, or set admin_token and send it",
        )
    if origin is not None and not is_loopback(_host_of(origin) or "null"):
        raise ControlError(
            403, f"Origin: {origin[:80]}: web pages of others may not use the control API; set admin_token and send it"
        )


def _check_token(request: Request, token: str) -> None:
    kind, _, given = request.headers.get("Authorization", "").partition(" ")
    if kind.lower() != "bearer":
        given = request.headers.get(TOKEN_HEADER, "")
    if not hmac.compare_digest(given.strip().encode(), token.encode()):
        what = "this is not the token" if given else "this server has a token"
        raise ControlError(
            401,
            f"{what}: send 'Authorization: Bearer TOKEN' or '{TOKEN_HEADER}: TOKEN' with its setting admin_token",
            headers=(("WWW-Authenticate", 'Bearer realm="qfkit"'),),
        )


def _host_of(url: str) -> str | None:
    try:
        return urlsplit(url).hostname
    except ValueError:  # such as an IPv6 address without its end
        return ""
