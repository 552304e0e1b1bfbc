"""Answers kept for questions that come again.

The rules:

* The key is a hash over everything that changes the answer, and over no key, token or signature. Whether the answer is
  wanted whole or as a stream changes nothing: either fills the cache for both.
* Identical questions asked whole at the same time are asked once: the first asks, the others wait and share what it
  gets, be it an answer or a failure. Streams replay what is there and store what they read to the end, but neither wait
  nor are waited for: the pace of a stream is its reader's, who may stop.
* What is stored is JSON, decoded for each reader: nobody can change what another gets.
* A store that fails costs time, never the answer: the question is asked.
* An answer that the service flagged, or after which it wants the conversation dropped, is not kept.
"""

from __future__ import annotations

import copy
import hashlib
import json
import logging
import math
import threading
from collections import OrderedDict
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass, replace
from typing import Protocol

from qfkit.client.calls import Call
from qfkit.client.exceptions import ConfigurationError, QianfanError
from qfkit.client.replay import Entry, decode, encode
from qfkit.client.replies import Reply
from qfkit.clock import SYSTEM_CLOCK, Clock
from qfkit.protocol.dialects import TEXT_GENERATION_CHAT, TEXT_GENERATION_STREAM

logger = logging.getLogger("qfkit.cache")

#: Seconds that an answer may be kept, at least and at most: 30 minutes and 24 hours, the tutorial's own advice.
SHORTEST_TTL = 30 * 60
LONGEST_TTL = 24 * 60 * 60

#: Fields of a request that say how the answer is delivered, not what it is.
_DELIVERY = ("stream", "stream_options")


class StoreUnavailable(Exception):
    """A store cannot do what it was asked now. The message holds no secret."""


class Store(Protocol):
    """Where a `Cache` keeps its entries. Used from many threads at once."""

    def get(self, key: str) -> bytes | None:
        """What was stored under ``key`` and has not expired, else None.

        Raises:
            StoreUnavailable: nobody knows.
        """
        ...

    def set(self, key: str, value: bytes, ttl: float) -> None:
        """Keep ``value`` for ``ttl`` seconds.

        Raises:
            StoreUnavailable: it was perhaps not kept.
        """
        ...


class MemoryStore:
    """Keeps entries in this process; when it is full, the one that was not used for longest goes.

    Why no library: cachetools' TTLCache needs the same lock around it, and is one more package in the base install for
    what the few lines below do.

    Args:
        max_entries: 1 or more.
        clock: tells the age of entries.
    """

    def __init__(self, max_entries: int = 1024, clock: Clock = SYSTEM_CLOCK) -> None:
        if max_entries < 1:
            raise ConfigurationError(f"MemoryStore.max_entries is a whole number, 1 or more; got {max_entries!r}")
        self._most = max_entries
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: OrderedDict[str, tuple[float, bytes]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._entries)

    def get(self, key: str) -> bytes | None:
        """See `Store.get`."""
        with self._lock:
            expires, value = self._entries.get(key, (-math.inf, b""))
            if expires <= self._clock.monotonic():
                self._entries.pop(key, None)
                return None
            self._entries.move_to_end(key)
            return value

    def set(self, key: str, value: bytes, ttl: float) -> None:
        """See `Store.set`."""
        with self._lock:
            self._entries[key] = (self._clock.monotonic() + ttl, value)
            self._entries.move_to_end(key)
            while len(self._entries) > self._most:
                self._entries.popitem(last=False)


@dataclass(frozen=True, slots=True)
class CacheStats:
    """What a cache did so far.

    Attributes:
        hits: questions answered from the store.
        misses: questions that had to be asked.
        joined: questions that waited for an identical one, and shared what it got.
        stored: answers kept.
        errors: times that the store could not be read or written.
    """

    hits: int = 0
    misses: int = 0
    joined: int = 0
    stored: int = 0
    errors: int = 0

    @property
    def hit_rate(self) -> float:
        """Share of questions that cost no request of their own, 0 to 1; 0 before the first question."""
        saved = self.hits + self.joined
        return saved / (saved + self.misses) if saved + self.misses else 0.0


class Cache:
    """Keeps answers, for one client or for several. Safe to share between threads.

    Args:
        store: where; None for the memory of this process, `RedisStore` to share between processes.
        ttl: seconds that an answer is kept, 1800 (30 minutes) to 86400 (24 hours).
        namespace: part of every key. Clients that share a store share answers if address, question and namespace are
            the same, whoever's keys they use: give each tenant its own.

    Raises:
        ConfigurationError: a value is out of its range.
    """

    def __init__(self, store: Store | None = None, *, ttl: float = 3600.0, namespace: str = "") -> None:
        if not SHORTEST_TTL <= ttl <= LONGEST_TTL:
            raise ConfigurationError(
                f"Cache.ttl is seconds, from {SHORTEST_TTL} (30 minutes) to {LONGEST_TTL} (24 hours); got {ttl!r}"
            )
        self.ttl = float(ttl)
        self._namespace = namespace
        self._store = store if store is not None else MemoryStore()
        self._lock = threading.Lock()
        self._flights: dict[str, Future[bytes | None]] = {}
        self._stats = CacheStats()
        self._down = False

    @property
    def stats(self) -> CacheStats:
        """What it did so far."""
        return self._stats

    def key(self, call: Call, base_url: str, app_id: str | None) -> str:
        """The key of a question: 64 hexadecimal digits. The order of the request's fields does not matter."""
        body = json.loads(call.body)
        asked = {name: body[name] for name in sorted(body) if name not in _DELIVERY}
        path = TEXT_GENERATION_CHAT if call.path == TEXT_GENERATION_STREAM else call.path
        parts = [self._namespace, base_url, app_id, call.dialect, path, asked]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def reply(self, key: str, ask: Callable[[], Reply]) -> Reply:
        """The stored answer, or what ``ask`` returns, which is then stored.

        Raises:
            QianfanError: ``ask`` failed, here or in the thread that asked the same first.
        """
        while True:
            with self._lock:
                under_way = self._flights.get(key)
                flight = self._flights[key] = under_way or Future()
            if under_way is None:
                return self._lead(key, flight, ask)
            error = flight.exception()
            if error is not None:
                self._count(joined=1)
                raise copy.copy(error)  # each caller has an exception of its own
            value = flight.result()
            if value is not None and (entry := decode(key, value)) is not None:
                self._count(joined=1)
                return entry.reply()
            # The one who asked was interrupted, or got what cannot be kept: ask for oneself.

    def lookup(self, key: str) -> Entry | None:
        """What is stored, None when nothing is, or nothing that can be read."""
        value = self._get(key)
        entry = None if value is None else decode(key, value)
        self._count(hits=entry is not None, misses=entry is None)
        return entry

    def store(self, key: str, entry: Entry) -> bytes | None:
        """Keep an answer. Returns what was stored, None for one that is not to be kept."""
        value = encode(key, entry) if entry.keepable else None
        if value is not None:
            self._set(key, value)
        return value

    def _lead(self, key: str, flight: Future[bytes | None], ask: Callable[[], Reply]) -> Reply:
        value: bytes | None = None
        try:
            entry = self.lookup(key)
            if entry is not None:
                value = encode(key, entry)
                reply = entry.reply()
            else:
                reply = ask()
                value = self.store(key, Entry.of(reply))
        except QianfanError as error:
            flight.set_exception(copy.copy(error))
            raise
        else:
            return reply
        finally:
            with self._lock:
                del self._flights[key]
            if not flight.done():
                flight.set_result(value)

    def _get(self, key: str) -> bytes | None:
        try:
            value = self._store.get(key)
        except StoreUnavailable as error:
            self._failed(error)
            return None
        self._works()
        return value

    def _set(self, key: str, value: bytes) -> None:
        try:
            self._store.set(key, value, self.ttl)
        except StoreUnavailable as error:
            self._failed(error)
            return
        self._works()
        self._count(stored=1)

    def _failed(self, error: StoreUnavailable) -> None:
        self._count(errors=1)
        if not self._down:  # one line for an outage, not one for each question
            self._down = True
            logger.warning("the cache is down, questions are asked without it: %s", error)

    def _works(self) -> None:
        if self._down:
            self._down = False
            logger.warning("the cache is back")

    def _count(self, **more: int) -> None:
        with self._lock:
            stats = self._stats
            self._stats = replace(stats, **{name: getattr(stats, name) + value for name, value in more.items()})
