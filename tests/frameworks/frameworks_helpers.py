"""What the tests of frameworks share: which packages they need, and what the mock was asked."""

from __future__ import annotations

import importlib
import importlib.util
import os
import warnings
from typing import Any

import pytest

from qfkit.testing.guard import guard

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


def needed(*modules: str) -> None:
    """Import these; where one is not installed, skip the module that asks, or fail it where `REQUIRE` is set."""
    missing = [name for name in modules if importlib.util.find_spec(name.partition(".")[0]) is None]
    if missing and os.environ.get(REQUIRE) != "1":
        pytest.skip(f"not installed: {', '.join(missing)}: {INSTALL}", allow_module_level=True)
    with guard(), warnings.catch_warnings():
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
