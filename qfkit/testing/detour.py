"""Some hosts lead elsewhere: their names resolve to addresses of this machine, and connections end at doors of ours.

Nobody stops checking certificates: a TLS connection to one of these names is checked against an authority made for the
occasion instead of the public ones, which has signed a certificate for these names and nothing else. The program's own
`ssl.SSLContext` is left as it is, so nothing goes on trusting that authority afterwards.
"""

from __future__ import annotations

import inspect
import os
import ssl
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

from qfkit.testing.network import NETWORK, spelled

#: Hosts that clients of Qianfan have written into them (wire reference 1).
HOSTS = ("aip.baidubce.com", "qianfan.baidubce.com", "iam.bj.baidubce.com")


class Detour:
    """Where some hosts lead.

    Args:
        hosts: their names.
        doors: port that a program asks for -> host and port where it ends up. May be filled later.
        who: names the detour in messages.
    """

    def __init__(self, hosts: Sequence[str], doors: Mapping[int, tuple[str, int]], who: str) -> None:
        self.hosts = tuple(hosts)
        # What a name resolves to is never connected to; it tells the names apart when a connection is asked for, with
        # the port that the program meant (anyio connects to the port it was given, not to one that was resolved).
        self._addresses = {host: f"127.86.66.{number}" for number, host in enumerate(self.hosts, 1)}
        self._names = {address: host for host, address in self._addresses.items()}
        self._doors = doors
        self._who = who

    def address(self, host: str) -> str | None:
        """What one of the names resolves to."""
        return self._addresses.get(host)

    def door(self, host: str, port: int) -> tuple[str, int] | None:
        """Where a connection to one of the names goes.

        Raises:
            ConnectionRefusedError: it is for another port than 443 and 80.
        """
        name = self._names.get(host, host)
        if name not in self._addresses:
            return None
        door = self._doors.get(port)
        if door is None:
            raise ConnectionRefusedError(
                f"{self._who}: {name} is asked for on port {port}; the service, and so what stands in its place, "
                "listens on 443 (https) and 80 (http)"
            )
        return door


@contextmanager
def trusting(names: Sequence[str], pem: str) -> Iterator[None]:
    """Check connections to ``names`` against the authority ``pem``, and go to them directly, until the block ends."""
    with _checked_against(pem, frozenset(names)), _without_proxy(names):
        yield


@contextmanager
def _checked_against(pem: str, names: frozenset[str]) -> Iterator[None]:
    """Check connections to ``names`` against the authority ``pem``; whoever does not check goes on not checking."""

    def stand_in(context: ssl.SSLContext, name: Any) -> ssl.SSLContext | None:
        """The context that checks against our authority; None where the program's own is to be used."""
        if spelled(name) not in names or context.verify_mode == ssl.CERT_NONE or NETWORK.straight:
            return None
        trusting = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        trusting.check_hostname = context.check_hostname
        trusting.verify_mode = context.verify_mode
        trusting.minimum_version = context.minimum_version
        trusting.maximum_version = context.maximum_version
        trusting.load_verify_locations(cadata=pem)
        return trusting

    def patched(real: Any) -> Any:
        signature = inspect.signature(real)

        def wrap(*args: Any, **kwargs: Any) -> Any:
            given = signature.bind(*args, **kwargs)
            trusting = stand_in(given.arguments["self"], given.arguments.get("server_hostname"))
            if trusting is not None:
                given.arguments["self"] = trusting
                given.arguments["session"] = None  # one would belong to the context that it was made with
            return real(*given.args, **given.kwargs)

        return wrap

    with (
        patch.object(ssl.SSLContext, "wrap_socket", patched(ssl.SSLContext.wrap_socket)),
        patch.object(ssl.SSLContext, "wrap_bio", patched(ssl.SSLContext.wrap_bio)),
    ):
        yield


@contextmanager
def _without_proxy(names: Sequence[str]) -> Iterator[None]:
    """Tell the clients of this process to go to ``names`` directly: a proxy would look them up itself."""
    before = os.environ.get("no_proxy") or os.environ.get("NO_PROXY")
    value = ",".join([*([before] if before else []), *names])
    with patch.dict(os.environ, {"no_proxy": value, "NO_PROXY": value}):
        yield
