"""A cache that processes share: answers in Redis."""

from __future__ import annotations

from typing import TYPE_CHECKING

from qfkit.client.cache import StoreUnavailable
from qfkit.client.exceptions import ConfigurationError
from qfkit.clock import SYSTEM_CLOCK, Clock

if TYPE_CHECKING:
    from redis import Redis

#: Seconds to wait for Redis, to connect and for each answer: it is near, or it is no use as a cache.
_TIMEOUT = 0.25
#: Seconds to leave it alone after a failure, so that an outage costs one time-out a second and not one a question.
_PAUSE = 1.0


class RedisStore:
    """Keeps the entries of a `Cache` in Redis. Needs the extra: ``pip install "qfkit[redis]"``.

    While Redis is down or slow, questions are asked without it; a second after each failure it is tried again.

    Args:
        redis: an address (``redis://localhost:6379/0``, ``rediss://…``, ``unix://…``), which is waited for a quarter of
            a second at most; or a `redis.Redis` of your own, with your own time-outs and retries.
        prefix: of the names of the keys in Redis.
        clock: tells when to try again.

    Raises:
        ConfigurationError: the package redis is missing, or the address is none.
    """

    def __init__(self, redis: str | Redis, *, prefix: str = "qfkit:", clock: Clock = SYSTEM_CLOCK) -> None:
        try:
            from redis import Redis as Client  # noqa: PLC0415 - an extra, and slow to load
            from redis.backoff import NoBackoff  # noqa: PLC0415
            from redis.exceptions import RedisError  # noqa: PLC0415
            from redis.retry import Retry  # noqa: PLC0415
        except ImportError:
            raise ConfigurationError('RedisStore needs the package redis: pip install "qfkit[redis]"') from None
        if isinstance(redis, str):
            try:
                timeouts = {"socket_timeout": _TIMEOUT}
                if not redis.startswith("unix:"):  # which does not know this one
                    timeouts["socket_connect_timeout"] = _TIMEOUT
                # Its own three retries, with waits in between, would hold up a question for seconds.
                redis = Client.from_url(redis, retry=Retry(NoBackoff(), 0), **timeouts)
            except ValueError:  # its text quotes the address, which may hold a password
                raise ConfigurationError(
                    "RedisStore takes an address such as redis://localhost:6379/0 (or rediss://, unix://)"
                ) from None
        self._redis = redis
        self._errors = (RedisError, OSError)
        self._prefix = prefix
        self._clock = clock
        self._rests_until = float("-inf")

    def __repr__(self) -> str:
        return f"RedisStore(prefix={self._prefix!r})"

    def get(self, key: str) -> bytes | None:
        """See `Store.get`."""
        self._check()
        try:
            value = self._redis.get(self._prefix + key)
        except self._errors as error:
            raise self._failure(error) from None
        # A client of the user's own may decode; anything else is no entry, and the cache will see that.
        return value.encode() if isinstance(value, str) else value if isinstance(value, bytes) else None

    def set(self, key: str, value: bytes, ttl: float) -> None:
        """See `Store.set`."""
        self._check()
        try:
            self._redis.set(self._prefix + key, value, px=round(ttl * 1000))
        except self._errors as error:
            raise self._failure(error) from None

    def close(self) -> None:
        """Close the connections. Safe to repeat."""
        self._redis.close()

    def _check(self) -> None:
        if self._clock.monotonic() < self._rests_until:
            raise StoreUnavailable("Redis failed a moment ago")

    def _failure(self, error: Exception) -> StoreUnavailable:
        self._rests_until = self._clock.monotonic() + _PAUSE
        return StoreUnavailable(f"Redis: {type(error).__name__}")  # its text may quote what was sent
