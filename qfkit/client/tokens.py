"""A token that many threads share: fetched by one of them when needed, replaced once when the service refuses it."""

from __future__ import annotations

import copy
import threading
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass
from hashlib import blake2b
from typing import Protocol

from qfkit.client.exceptions import ConnectionFailed, QianfanError
from qfkit.clock import Clock

#: A token this close to its end is replaced beforehand: as many seconds as the Go SDK allows (wire reference 1.2)...
_MARGIN = 60.0
#: ...but no larger share of its life.
_MARGIN_SHARE = 0.1


@dataclass(frozen=True, slots=True, repr=False)
class Token:
    """A token and the seconds it lives, None when unknown."""

    value: str
    lifetime: float | None = None


class TokenSource(Protocol):
    """Where an auth scheme gets its token."""

    def get(self) -> str:
        """The token to send now."""
        ...

    def discard(self, value: str) -> bool:
        """Drop a token that the service refused. Returns whether another can be had."""
        ...


class ReadyToken:
    """A token that the user gave, without keys to get another."""

    def __init__(self, value: str) -> None:
        self._value = value

    def get(self) -> str:
        """The token."""
        return self._value

    def discard(self, value: str) -> bool:  # noqa: ARG002 - as `TokenSource`
        """Always False: there is no other."""
        return False


class TokenCache:
    """The token of one set of keys, which any number of clients may share.

    Args:
        clock: tells the token's age.
        ready: a token to begin with, of unknown lifetime.
    """

    def __init__(self, clock: Clock, ready: str | None = None) -> None:
        self._clock = clock
        self._lock = threading.Lock()
        self._value = ready
        self._expires: float | None = None  # on the monotonic clock
        self._flight: Future[str] | None = None

    def get(self, fetch: Callable[[], Token]) -> str:
        """The current token, fetched first if there is none or it is about to expire.

        While one thread fetches, others wait for its result and share it, be it a token or a failure.

        Args:
            fetch: gets a new one from the service.

        Raises:
            QianfanError: the fetch failed.
        """
        with self._lock:
            if self._value is not None and (self._expires is None or self._clock.monotonic() < self._expires):
                return self._value
            under_way, self._flight = self._flight, self._flight or Future()
            flight = self._flight
        if under_way is None:
            return self._fly(flight, fetch)
        error = under_way.exception()
        if error is None:
            return under_way.result()
        raise copy.copy(error)  # each caller notes its own attempts on its own exception

    def discard(self, value: str) -> None:
        """Drop a token that the service refused; one that another thread has put in its place stays."""
        with self._lock:
            if self._value == value:
                self._value = None

    def _fly(self, flight: Future[str], fetch: Callable[[], Token]) -> str:
        try:
            token = fetch()
        except BaseException as error:
            with self._lock:
                self._flight = None
            interrupted = ConnectionFailed("the thread that was fetching a token was interrupted")
            flight.set_exception(copy.copy(error) if isinstance(error, QianfanError) else interrupted)
            raise
        with self._lock:
            self._flight = None
            self._value, self._expires = token.value, self._deadline(token.lifetime)
        flight.set_result(token.value)
        return token.value

    def _deadline(self, lifetime: float | None) -> float | None:
        if lifetime is None:
            return None
        return self._clock.monotonic() + lifetime - min(_MARGIN, lifetime * _MARGIN_SHARE)


class BoughtToken:
    """A token bought with keys, kept where other clients with the same keys find it."""

    def __init__(self, cache: TokenCache, fetch: Callable[[], Token]) -> None:
        self._cache = cache
        self._fetch = fetch

    def get(self) -> str:
        """The current token; as `TokenCache.get`."""
        return self._cache.get(self._fetch)

    def discard(self, value: str) -> bool:
        """Drop it. Always True: another can be bought."""
        self._cache.discard(value)
        return True


class SharedTokens:
    """Tokens for all clients that are given this object: those with the same keys buy one token, not one each.

    ``tokens = SharedTokens()``, then ``Client(..., tokens=tokens)`` for each of them. Safe for any number of threads.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._caches: dict[str, TokenCache] = {}

    def __repr__(self) -> str:
        return f"<SharedTokens of {len(self._caches)} sets of keys>"

    def cache(self, clock: Clock, ready: str | None, *who: str) -> TokenCache:
        """The cache of whoever buys tokens with ``who``: scheme, host and keys, of which only a digest is kept."""
        name = blake2b("\0".join((*who, ready or "")).encode("utf-8", "surrogatepass")).hexdigest()
        with self._lock:
            cache = self._caches.get(name)
            if cache is None:
                cache = self._caches[name] = TokenCache(clock, ready)
            return cache
