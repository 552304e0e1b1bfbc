"""A mock of Baidu Qianfan's inference services that cannot be told from the real ones, and explains itself."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from mock_server.app import create_app
    from mock_server.handle import AccountHandle
    from mock_server.journal import Entry
    from mock_server.server import MockServer
    from mock_server.settings import ConfigError, Settings
    from mock_server.state import State

_HOMES = {
    "AccountHandle": "mock_server.handle",
    "ConfigError": "mock_server.settings",
    "Entry": "mock_server.journal",
    "MockServer": "mock_server.server",
    "Settings": "mock_server.settings",
    "State": "mock_server.state",
    "create_app": "mock_server.app",
}

__all__ = ["AccountHandle", "ConfigError", "Entry", "MockServer", "Settings", "State", "create_app"]


def __getattr__(name: str) -> Any:
    # Lazy (PEP 562): Flask is imported by those who ask for the app, not by every test that starts a mock.
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *__all__])
