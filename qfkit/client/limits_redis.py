"""Limits that several processes keep together, over Redis.

The windows are the moving windows of the `limits` library, which are exact; tokens are counted in thousandths of their
limit, rounded up, since each unit is an entry of a list in Redis. Concurrency is a set of leases, each of which ends by
itself, so that a process that dies gives back what it held.

Who is next is settled within each process, in the order of asking, by the `Limiter` that this one is; between processes
it is whoever asks first once there is room.
"""

from __future__ import annotations

import logging
import threading
import uuid
from collections.abc import Callable
from queue import SimpleQueue
from typing import TYPE_CHECKING, Any

from qfkit.client.exceptions import ConfigurationError
from qfkit.client.limits import Limiter, RateLimits, Slot
from qfkit.clock import SYSTEM_CLOCK, Clock

if TYPE_CHECKING:
    from redis import Redis

logger = logging.getLogger("qfkit.client")

#: Seconds after which a lease of the concurrency ends by itself: longer than any answer takes.
LEASE_SECONDS = 900.0

#: Seconds between two looks at limits that others share, at least and at most.
_SOONEST, _LATEST = 0.005, 1.0

#: Seconds for which a Redis that failed is left alone; each process keeps to the limits by itself meanwhile.
_PAUSE = 5.0

#: Entries that a minute of tokens may have in Redis.
_UNITS = 1000

#: Take a lease if there are fewer than so many; those that have ended are dropped first. Redis' own clock counts.
_LEASE = """
local now = redis.call('TIME')
local moment = now[1] + now[2] / 1000000
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', moment)
if redis.call('ZCARD', KEYS[1]) >= tonumber(ARGV[1]) then return 0 end
redis.call('ZADD', KEYS[1], moment + tonumber(ARGV[2]), ARGV[3])
redis.call('PEXPIRE', KEYS[1], math.ceil(tonumber(ARGV[2]) * 1000))
return 1
"""


class RedisLimiter(Limiter):
    """Keeps `RateLimits` for all processes that name the same Redis and the same ``name``.

    ``Client(..., limits=RedisLimiter("redis://localhost", RateLimits(qps=100)))``. When Redis cannot be reached, each
    process keeps to the same limits by itself, says so in the log, and tries again some seconds later: an outage of
    Redis makes nobody wait for it.

    Args:
        url: of the Redis server.
        limits: what all of them keep to together. Limits learnt from the service (``adaptive``) stay each process's.
        name: of the limits; processes with other names do not share them.
        clock: how to wait.

    Raises:
        ConfigurationError: redis or limits is not installed, or the URL is none.
    """

    def __init__(self, url: str, limits: RateLimits, *, name: str = "qfkit", clock: Clock = SYSTEM_CLOCK) -> None:
        super().__init__(limits, clock)
        try:
            import redis  # noqa: PLC0415 - optional
            from limits import RateLimitItemPerMinute, RateLimitItemPerSecond  # noqa: PLC0415
            from limits.storage import RedisStorage  # noqa: PLC0415
            from limits.strategies import MovingWindowRateLimiter  # noqa: PLC0415
        except ImportError:
            raise ConfigurationError("limits that processes share need redis: pip install 'qfkit[redis]'") from None
        try:
            self._redis: Redis = redis.Redis.from_url(url, socket_timeout=2.0, socket_connect_timeout=2.0)
            storage = RedisStorage(url, connection_pool=self._redis.connection_pool, key_prefix=name)
        except (ValueError, redis.RedisError) as error:
            raise ConfigurationError(
                f"a Redis URL is redis://host:port/number; {type(error).__name__}: {error}"
            ) from None
        self._broken: tuple[type[Exception], ...] = (redis.RedisError, OSError)
        self._name = name
        self._down_until = 0.0
        self._moving = MovingWindowRateLimiter(storage)
        self._windows: list[tuple[Any, str]] = []
        self._unit = 1
        if limits.qps is not None:
            self._windows.append((RateLimitItemPerSecond(limits.qps, namespace=name), "qps"))
        if limits.rpm is not None:
            self._windows.append((RateLimitItemPerMinute(limits.rpm, namespace=name), "rpm"))
        if limits.tpm is not None:
            self._unit = -(-limits.tpm // _UNITS)
            self._windows.append((RateLimitItemPerMinute(limits.tpm // self._unit, namespace=name), "tpm"))
        self._lease = self._redis.register_script(_LEASE)
        self._returned: SimpleQueue[str] = SimpleQueue()
        self._returner: threading.Thread | None = None

    def __repr__(self) -> str:
        return f"RedisLimiter({self._name!r}, {self.limits!r})"

    def acquire(self, model: str, weigh: Callable[[], int]) -> Slot:
        """Wait for one's turn in this process, then until all processes together have room."""
        slot = super().acquire(model, weigh)
        began = self._clock.monotonic()
        if began < self._down_until:
            return slot
        try:
            tokens = weigh() if self.limits.tpm is not None else 0
            self._wait_for_all(tokens)
            lease = self._take_lease()
        except self._broken as error:
            self._down_until = self._clock.monotonic() + _PAUSE
            logger.warning(
                "Redis limits %r cannot be shared (%s): this process keeps to them by itself for %g s",
                self._name,
                type(error).__name__,
                _PAUSE,
            )
            return slot
        except BaseException:
            slot.release()
            raise
        slot.queued += self._clock.monotonic() - began
        return slot if lease is None else _Leased(slot, lease, self._returned)

    def _wait_for_all(self, tokens: int) -> None:
        while True:
            delay = 0.0
            for item, kind in self._windows:
                cost = self._cost(item, kind, tokens)
                if not self._moving.test(item, kind, cost=cost):
                    reset = self._moving.get_window_stats(item, kind).reset_time
                    delay = max(delay, reset - self._clock.time(), _SOONEST)
            if not delay and self._hit(tokens):
                return
            self._clock.sleep(min(max(delay, _SOONEST), _LATEST))

    def _hit(self, tokens: int) -> bool:
        """Count the request everywhere; False when another process was faster somewhere."""
        done = [self._moving.hit(item, kind, cost=self._cost(item, kind, tokens)) for item, kind in self._windows]
        return all(done)

    def _cost(self, item: Any, kind: str, tokens: int) -> int:
        if kind != "tpm":
            return 1
        # One that is over the limit alone goes when nothing else is in the window, as in a process.
        return max(1, min(-(-tokens // self._unit), int(item.amount)))

    def _take_lease(self) -> str | None:
        if self.limits.concurrency is None:
            return None
        if self._returner is None:
            self._returner = threading.Thread(target=self._give_back, name="qfkit-leases", daemon=True)
            self._returner.start()
        lease = uuid.uuid4().hex
        while not self._lease(keys=[f"{self._name}:concurrency"], args=[self.limits.concurrency, LEASE_SECONDS, lease]):
            self._clock.sleep(_SOONEST)
        return lease

    def _give_back(self) -> None:
        """Give back what was released: in a thread, since a finalizer may release and must not wait for a network."""
        while True:
            lease = self._returned.get()
            try:
                self._redis.zrem(f"{self._name}:concurrency", lease)
            except self._broken as error:  # the lease ends by itself
                logger.warning("a lease of Redis limits %r was not given back: %s", self._name, type(error).__name__)


class _Leased(Slot):
    """A slot that also holds a lease."""

    __slots__ = ("_lease", "_returned", "_slot")

    def __init__(self, slot: Slot, lease: str, returned: SimpleQueue[str]) -> None:
        super().__init__(slot.queued)
        self._slot = slot
        self._lease = [lease]
        self._returned = returned

    def settle(self, tokens: int) -> None:
        """See `Slot.settle`; of the shared window the estimate stays."""
        self._slot.settle(tokens)

    def release(self) -> None:
        """See `Slot.release`."""
        self._slot.release()
        try:
            lease = self._lease.pop()
        except IndexError:
            return
        self._returned.put(lease)
