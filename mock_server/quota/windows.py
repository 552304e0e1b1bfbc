"""How the quotas count. Pure: a counter is told the time and is used under its owner's lock.

Amounts are whole, and so is time: microseconds from 0, which never run backwards. So nothing is lost to rounding, and
"exactly the quota" can be said and tested.

Every counter answers ``wait(now, amount)``: microseconds until ``amount`` fits, 0 when it fits now, None when waiting
does not help; asking takes nothing. ``take`` then counts an amount that was found to fit, or one that was used in any
case. A quota of 0 lets nothing in.

Why not a library: what is wanted is one decision over several quotas with different costs (1 request, n tokens), all or
nothing, on an injected clock, with a correction afterwards. ``limits`` 5.8 (alive, typed) reads ``time.time()`` in its
storages *and* strategies, counts refused hits too (fixed window), takes from one quota at a time, inserts at the front
of a list (moving window), needs a timer thread and costs 2 to 5 microseconds for each quota of a request.
``pyrate-limiter`` 4.5 takes a clock, but its buckets hold an entry for every token, and one weight serves all rates.
``throttled-py`` 3.5 reads ``time.time()`` and knows one quota a key. The counting itself is what follows.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from itertools import accumulate
from types import MappingProxyType
from typing import Final, Literal, Protocol, TypeAlias

Window: TypeAlias = Literal["fixed", "sliding", "bucket"]

SECOND: Final = 1_000_000
MINUTE: Final = 60 * SECOND
DAY: Final = 86_400 * SECOND

#: Where the day of a daily quota begins: this far ahead of UTC's, that is at midnight in China [guess].
DAY_SHIFT: Final = 8 * 3600 * SECOND

#: What a concurrency quota says of its wait: nobody knows when another answer will end [guess].
CONCURRENCY_WAIT: Final = SECOND


class Counter(Protocol):
    """One quota's memory."""

    def wait(self, now: int, amount: int) -> int | None:
        """Microseconds until ``amount`` fits: 0 is now, None is never."""
        ...

    def take(self, now: int, amount: int) -> None:
        """Count ``amount``."""
        ...

    def used(self, now: int) -> int:
        """How much is counted against the quota now; above it when more was used than was asked for."""
        ...


class Refundable(Counter, Protocol):
    """A counter over a stretch of time."""

    def refund(self, now: int, taken: int, amount: int) -> None:
        """Give back ``amount`` of what was taken at the moment ``taken``, as far as it still counts."""
        ...


class FixedWindow:
    """At most ``limit`` in each window; a window begins with the first amount taken after the last one ended.

    Documented: a quota that is used up is refreshed "after 0 to 60 s" (wire reference 6), so it is no sliding window.
    Whether the service's windows follow the first request or the minutes of a clock is not known [guess]; those of a
    clock would let a test pass or fail by the second in which it runs.
    """

    __slots__ = ("_end", "_limit", "_period", "_used")

    def __init__(self, limit: int, period: int) -> None:
        self._limit = limit
        self._period = period
        self._end = 0
        self._used = 0

    def wait(self, now: int, amount: int) -> int | None:
        """See `Counter`."""
        if amount > self._limit or not self._limit:
            return None
        if now >= self._end or self._used + amount <= self._limit:
            return 0
        return self._end - now

    def take(self, now: int, amount: int) -> None:
        """See `Counter`."""
        if now >= self._end:
            self._end, self._used = now + self._period, 0
        self._used += amount

    def refund(self, now: int, taken: int, amount: int) -> None:  # noqa: ARG002 - what has ended is counted no more
        """See `Refundable`."""
        if taken >= self._end - self._period:
            self._used -= amount

    def used(self, now: int) -> int:
        """See `Counter`."""
        return 0 if now >= self._end else self._used


class SlidingWindow:
    """At most ``limit`` in any stretch as long as ``period``: a log of what was taken when.

    Each entry comes and goes once. Only to say how long a refused amount waits are further entries looked at: as many
    of the oldest as make room for it.
    """

    __slots__ = ("_limit", "_log", "_next", "_period", "_used")

    def __init__(self, limit: int, period: int) -> None:
        self._limit = limit
        self._period = period
        #: Moment -> what was taken then. Ordered, and quick to lose its oldest entry, which a plain dict is not.
        self._log: OrderedDict[int, int] = OrderedDict()
        #: When the oldest entry goes, or earlier.
        self._next = 0
        self._used = 0

    def wait(self, now: int, amount: int) -> int | None:
        """See `Counter`."""
        if amount > self._limit or not self._limit:
            return None
        self._forget(now)
        over = self._used + amount - self._limit
        if over <= 0:
            return 0
        gone = zip(self._log, accumulate(self._log.values()), strict=True)
        return next(moment for moment, room in gone if room >= over) + self._period - now

    def take(self, now: int, amount: int) -> None:
        """See `Counter`."""
        self._forget(now)
        self._log[now] = self._log.get(now, 0) + amount
        self._used += amount

    def refund(self, now: int, taken: int, amount: int) -> None:
        """See `Refundable`."""
        self._forget(now)
        if taken in self._log:
            self._log[taken] -= amount
            self._used -= amount

    def used(self, now: int) -> int:
        """See `Counter`."""
        self._forget(now)
        return self._used

    def _forget(self, now: int) -> None:
        if now < self._next:
            return
        log, horizon = self._log, now - self._period
        while log and next(iter(log)) <= horizon:
            self._used -= log.popitem(last=False)[1]
        self._next = next(iter(log), now) + self._period


class Bucket:
    """A token bucket: ``limit`` at once, and as much again in each ``period``, evenly.

    It is filled by time alone: what was taken too much is not given back, since a bucket that has been full meanwhile
    would then hand it out a second time.
    """

    __slots__ = ("_at", "_level", "_limit", "_period")

    def __init__(self, limit: int, period: int) -> None:
        self._limit = limit
        self._period = period
        self._at = 0
        #: Content times ``period``, so that what trickles in within a microsecond is a whole number.
        self._level = limit * period

    def wait(self, now: int, amount: int) -> int | None:
        """See `Counter`."""
        if amount > self._limit or not self._limit:
            return None
        lacking = amount * self._period - self._content(now)
        return 0 if lacking <= 0 else -(-lacking // self._limit)

    def take(self, now: int, amount: int) -> None:
        """See `Counter`."""
        self._level = self._content(now) - amount * self._period
        self._at = now

    def refund(self, now: int, taken: int, amount: int) -> None:
        """See `Refundable`: nothing."""

    def used(self, now: int) -> int:
        """See `Counter`."""
        return self._limit - self._content(now) // self._period

    def _content(self, now: int) -> int:
        return min(self._limit * self._period, self._level + (now - self._at) * self._limit)


class Day:
    """At most ``limit`` from midnight to midnight in China; a day never comes back, whatever becomes of the clock."""

    __slots__ = ("_day", "_limit", "_used", "_wall")

    def __init__(self, limit: int, wall: Callable[[int], int]) -> None:
        """``wall`` turns a moment into microseconds since 1970, UTC."""
        self._limit = limit
        self._wall = wall
        self._day = 0
        self._used = 0

    def wait(self, now: int, amount: int) -> int | None:
        """See `Counter`."""
        if amount > self._limit:
            return None
        if self.used(now) + amount <= self._limit:
            return 0
        return (self._day + 1) * DAY - DAY_SHIFT - self._wall(now)

    def take(self, now: int, amount: int) -> None:
        """See `Counter`."""
        self._used = self.used(now) + amount

    def used(self, now: int) -> int:
        """See `Counter`."""
        day = (self._wall(now) + DAY_SHIFT) // DAY
        if day > self._day:
            self._day, self._used = day, 0
        return self._used


class Total:
    """At most ``limit``, ever."""

    __slots__ = ("_limit", "_used")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0

    def wait(self, now: int, amount: int) -> int | None:  # noqa: ARG002 - time changes nothing
        """See `Counter`."""
        return 0 if self._used + amount <= self._limit else None

    def take(self, now: int, amount: int) -> None:  # noqa: ARG002
        """See `Counter`."""
        self._used += amount

    def used(self, now: int) -> int:  # noqa: ARG002
        """See `Counter`."""
        return self._used


class Gauge:
    """At most ``limit`` at the same time."""

    __slots__ = ("_limit", "_used")

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._used = 0

    def wait(self, now: int, amount: int) -> int | None:  # noqa: ARG002 - what takes time is not known here
        """See `Counter`."""
        if amount > self._limit:
            return None
        return 0 if self._used + amount <= self._limit else CONCURRENCY_WAIT

    def take(self, now: int, amount: int) -> None:  # noqa: ARG002
        """See `Counter`."""
        self._used += amount

    def leave(self) -> None:
        """One has ended."""
        self._used -= 1

    def used(self, now: int) -> int:  # noqa: ARG002
        """See `Counter`."""
        return self._used


WINDOWS: Final[Mapping[Window, Callable[[int, int], Refundable]]] = MappingProxyType(
    {"fixed": FixedWindow, "sliding": SlidingWindow, "bucket": Bucket}
)
