"""What the tests of frameworks share: which packages they need, where they may connect, what the mock was asked."""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import ipaddress
import os
import sys
import warnings
from collections.abc import Iterator
from typing import Any

import pytest

INSTALL = "pip install 'qfkit[frameworks]'"
REQUIRE = "QFKIT_REQUIRE_FRAMEWORKS"

# Read by the frameworks when they are imported: nothing is fetched, nothing is reported to their makers.
os.environ.update(
    LITELLM_LOCAL_MODEL_COST_MAP="True",
    LITELLM_LOG="ERROR",
    LANGSMITH_TRACING="false",
    LANGCHAIN_TRACING_V2="false",
)

WEATHER = {
    "type": "function",
    "function": {
        "name": "weather",
        "description": "天气",
        "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
    },
}


class Loopback:
    """While it watches, whoever connects or resolves beyond this machine is stopped, and written down."""

    def __init__(self) -> None:
        self.strays: list[str] = []
        self._watching = 0
        self._hooked = False

    @contextlib.contextmanager
    def watch(self) -> Iterator[None]:
        if not self._hooked:
            # Not before it is needed: a hook cannot be taken out again, and CPython 3.11's settrace, which coverage
            # calls in every new thread, fails when a hook in Python lets another thread in.
            sys.addaudithook(self._heard)
            self._hooked = True
        self._watching += 1
        try:
            yield
        finally:
            self._watching -= 1

    def _heard(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self._watching or event not in {"socket.connect", "socket.getaddrinfo", "socket.gethostbyname"}:
            return
        where = arguments[1] if event == "socket.connect" else arguments[0]
        host = where[0] if isinstance(where, tuple) else where
        if not _is_here(host):
            self.strays.append(f"{event} {where!r}")
            raise OSError(f"a test asked for the network: {event} {where!r}")


def _is_here(host: Any) -> bool:
    if isinstance(host, bytes | bytearray):
        host = bytes(host).decode("latin-1")
    if host in {None, "", "localhost"} or str(host).startswith(("/", "\0")):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


GUARD = Loopback()


def needed(*modules: str) -> None:
    """Import these; where one is not installed, skip the module that asks, or fail it where `REQUIRE` is set."""
    missing = [name for name in modules if importlib.util.find_spec(name.partition(".")[0]) is None]
    if missing and os.environ.get(REQUIRE) != "1":
        pytest.skip(f"not installed: {', '.join(missing)}: {INSTALL}", allow_module_level=True)
    with GUARD.watch(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what their imports deprecate is their makers' business
        for name in modules:
            importlib.import_module(name)


def chats(account: Any) -> list[Any]:
    """The account's journal without token and discovery calls."""
    return [entry for entry in account.requests if entry.dialect in {"v1", "v2"}]


def only(account: Any) -> Any:
    """The one inference request that was made."""
    [entry] = chats(account)
    return entry
