"""The reference client of Qianfan. Everything public is named here."""

from qfkit.client.attempts import Attempt
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
from qfkit.client.replies import Reply
from qfkit.client.retry import RetryPolicy
from qfkit.client.streaming import Stream
from qfkit.protocol.credentials import Credentials
from qfkit.protocol.messages import Chunk, Usage

__all__ = [
    "APIError",
    "Attempt",
    "AuthenticationError",
    "BadRequestError",
    "Chunk",
    "Client",
    "ConfigurationError",
    "ConnectionFailed",
    "Credentials",
    "InvalidReply",
    "NotFoundError",
    "PermissionDeniedError",
    "QianfanError",
    "RateLimitError",
    "Reply",
    "RetryPolicy",
    "ServerError",
    "Stream",
    "StreamError",
    "StreamTruncated",
    "TimeoutExceeded",
    "TransportError",
    "Usage",
]
