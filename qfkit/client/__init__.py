"""The reference client of Qianfan. Everything public is named here."""

from qfkit.client.attempts import Attempt
from qfkit.client.batch import Batch
from qfkit.client.budget import RetryBudget
from qfkit.client.cache import Cache, CacheStats, MemoryStore, StoreUnavailable
from qfkit.client.cache_redis import RedisStore
from qfkit.client.client import Client
from qfkit.client.conversation import Conversation
from qfkit.client.exceptions import (
    APIError,
    AuthenticationError,
    BadRequestError,
    ConfigurationError,
    ConnectionFailed,
    InputRefused,
    InvalidReply,
    NotFoundError,
    PermissionDeniedError,
    QianfanError,
    RateLimitError,
    ServerError,
    StreamError,
    StreamTruncated,
    TimeoutExceeded,
    ToolError,
    ToolLoopExceeded,
    TransportError,
    UnsafeContent,
)
from qfkit.client.history import HistoryLimits
from qfkit.client.images import image
from qfkit.client.limits import Limiter, RateLimits
from qfkit.client.limits_redis import RedisLimiter
from qfkit.client.logs import configure_logging
from qfkit.client.merging import Merged
from qfkit.client.operations import Embeddings, Ranked, Ranking, TokenCount
from qfkit.client.providers import KeyFile
from qfkit.client.replies import Reply
from qfkit.client.retry import RetryPolicy
from qfkit.client.safety import (
    Finding,
    Mask,
    MaxLength,
    Pattern,
    Safety,
    ServiceFlags,
    StripControl,
    Topic,
    Topics,
    WordList,
)
from qfkit.client.schemas import Tool
from qfkit.client.streaming import Stream
from qfkit.client.tokens import SharedTokens
from qfkit.client.tools import ToolResult, ToolStep
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
    "configure_logging",
    "image",
]
