"""What the contract tests share beside fixtures."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import pytest

V1 = "/rpc/2.0/ai_custom/v1/wenxinworkshop"
TEXT_GENERATION = "/rpc/2.0/ai_custom/v1/text_generation"
OAUTH_TOKEN = "/oauth/2.0/token"
IAM_TOKEN = "/v1/BCE-BEARER/token"
SERVICE_LIST = "/wenxinworkshop/service/list"

#: From Python 3.12 on: the SDK and its signer read the time in ways that are deprecated.
QUIET = pytest.mark.filterwarnings(
    r"ignore:datetime\.datetime\.utc(now|fromtimestamp)\(\) is deprecated:DeprecationWarning:(qianfan|baidubce)\."
)

#: The SDK's own switch for its limiter, which warms up on an event loop of its own. The second asynchronous call of an
#: object then waits on another loop than it warmed up on, and ends in a RuntimeError, whatever the server does.
NO_LIMITER = {"forcing_disable": True}


def inference(account: Any) -> list[Any]:
    """The account's journal without token and discovery calls."""
    return [entry for entry in account.requests if entry.dialect in {"text_generation", "v1", "v2"}]


def at(account: Any, path: str) -> list[Any]:
    """The account's journal of one path."""
    return [entry for entry in account.requests if entry.path.partition("?")[0] == path]


def ask(text: str) -> list[dict[str, Any]]:
    """A conversation of one question."""
    return [{"role": "user", "content": text}]


async def collected(stream: Any) -> list[Any]:
    """An asynchronous stream to its end."""
    return [event async for event in stream]


#: A wait longer than this, asked for by a client, is one that a user would have to sit out.
LONGEST_NAP = 0.05

#: Packages whose waits count: those of the clients, not those of the server in the same process.
_CLIENT_PACKAGES = ("qianfan", "tenacity", "openai", "urllib3", "requests", "httpx2")


@dataclass
class Naps:
    """Every wait in seconds that a client asked for. Those over `LONGEST_NAP` are recorded and not slept."""

    asked: list[float] = field(default_factory=list)

    def note(self, seconds: float, caller: str) -> float:
        """How long to really sleep when the module ``caller`` asks for ``seconds``."""
        if caller.partition(".")[0] not in _CLIENT_PACKAGES:
            return seconds
        self.asked.append(seconds)
        return seconds if seconds <= LONGEST_NAP else 0.0

    @property
    def long(self) -> list[float]:
        return [seconds for seconds in self.asked if seconds > LONGEST_NAP]
