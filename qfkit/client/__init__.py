"""The reference client of Qianfan. Everything public is named here."""

from qfkit.client.attempts import Attempt
from qfkit.client.batch import Batch
from qfkit.client.budget import RetryBudget
from qfkit.client.cache import Cache, CacheStats, MemoryStore, StoreUnavailable
from qfkit.client.cache_redis import RedisStore
from qfkit.client.client import Client
from qfkit.client.exceptions import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ConnectionFailed,
    InvalidReply,
    NotFoundError,
    PermissionDeniedError,
    QianfanError,
    RateLimitError,
    ServerError,
    StreamError,
    StreamTruncated,
    TimeoutExceeded,
    TransportError,
)
from qfkit.client.limits import Limiter, RateLimits
from qfkit.client.operations import Embeddings, Ranked, Ranking, TokenCount
from qfkit.client.providers import KeyFile
from qfkit.client.replies import Reply
from qfkit.client.retry import RetryPolicy
from qfkit.client.streaming import Stream
from qfkit.client.tokens import SharedTokens
from qfkit.protocol.credentials import Credentials
from qfkit.protocol.messages import Chunk, Usage

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
    "Credentials",
    "Embeddings",
    "InvalidReply",
    "KeyFile",
    "Limiter",
    "MemoryStore",
    "NotFoundError",
    "PermissionDeniedError",
    "QianfanError",
    "Ranked",
    "Ranking",
    "RateLimitError",
    "RateLimits",
    "RedisStore",
    "Reply",
    "RetryBudget",
    "RetryPolicy",
    "ServerError",
    "SharedTokens",
    "StoreUnavailable",
    "Stream",
    "StreamError",
    "StreamTruncated",
    "TimeoutExceeded",
    "TokenCount",
    "TransportError",
    "Usage",
]
