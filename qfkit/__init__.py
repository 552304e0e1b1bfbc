"""Test anything that calls Baidu Qianfan (ERNIE / 文心): mock server, reference client, pytest plugin, load tests.

Everything public of the client is here: ``from qfkit import Client, Credentials, RetryPolicy``. Names are loaded when
they are first used (PEP 562): the pytest plugin imports this package in every test run of every project that has it,
and must not cost them `requests`.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from qfkit.client import (
        APIError,
        Attempt,
        AuthenticationError,
        BadRequestError,
        Batch,
        Cache,
        CacheStats,
        Chunk,
        Client,
        ConfigurationError,
        ConnectionFailed,
        Conversation,
        Credentials,
        Embeddings,
        Finding,
        HistoryLimits,
        InputRefused,
        InvalidReply,
        KeyFile,
        Limiter,
        Mask,
        MaxLength,
        MemoryStore,
        Merged,
        NotFoundError,
        Pattern,
        PermissionDeniedError,
        QianfanError,
        Ranked,
        Ranking,
        RateLimitError,
        RateLimits,
        RedisLimiter,
        RedisStore,
        Reply,
        RetryBudget,
        RetryPolicy,
        Safety,
        ServerError,
        ServiceFlags,
        SharedTokens,
        StoreUnavailable,
        Stream,
        StreamError,
        StreamTruncated,
        StripControl,
        TimeoutExceeded,
        TokenCount,
        Tool,
        ToolError,
        ToolLoopExceeded,
        ToolResult,
        ToolStep,
        Topic,
        Topics,
        TransportError,
        UnsafeContent,
        Usage,
        WordList,
        configure_logging,
        image,
    )

    __version__: str

__all__ = [
    "APIError",
    "Attempt",
    "AuthenticationError",
    "BadRequestError",
    "Batch",
    "Cache",
    "CacheStats",
    "Chunk",
    "Client",
    "ConfigurationError",
    "ConnectionFailed",
    "Conversation",
    "Credentials",
    "Embeddings",
    "Finding",
    "HistoryLimits",
    "InputRefused",
    "InvalidReply",
    "KeyFile",
    "Limiter",
    "Mask",
    "MaxLength",
    "MemoryStore",
    "Merged",
    "NotFoundError",
    "Pattern",
    "PermissionDeniedError",
    "QianfanError",
    "Ranked",
    "Ranking",
    "RateLimitError",
    "RateLimits",
    "RedisLimiter",
    "RedisStore",
    "Reply",
    "RetryBudget",
    "RetryPolicy",
    "Safety",
    "ServerError",
    "ServiceFlags",
    "SharedTokens",
    "StoreUnavailable",
    "Stream",
    "StreamError",
    "StreamTruncated",
    "StripControl",
    "TimeoutExceeded",
    "TokenCount",
    "Tool",
    "ToolError",
    "ToolLoopExceeded",
    "ToolResult",
    "ToolStep",
    "Topic",
    "Topics",
    "TransportError",
    "UnsafeContent",
    "Usage",
    "WordList",
    "__version__",
    "configure_logging",
    "image",
]

#: Names whose home is lighter than the client: they load without `requests`.
_LIGHT = {
    "Chunk": "qfkit.protocol.messages",
    "Credentials": "qfkit.protocol.credentials",
    "Usage": "qfkit.protocol.messages",
}


def __getattr__(name: str) -> Any:
    if name == "__version__":
        value: Any = import_module("importlib.metadata").version("qfkit")
    elif name in __all__:
        value = getattr(import_module(_LIGHT.get(name, "qfkit.client")), name)
    else:
        raise AttributeError(f"module 'qfkit' has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
