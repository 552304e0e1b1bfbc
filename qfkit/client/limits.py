"""Limits that the client keeps by itself, so that the service need not refuse: requests, tokens, concurrency.

The rules:

* A limit holds in *every* window of its length, not in fixed ones: nobody knows when the service's minute begins (wire
  reference 6). So each start is remembered for as long as its window lasts.
* Who came first goes first. One call at a time stands at the head of the queue, waits until all limits let it pass, and
  only then lets the next one to the head. A start is dated when it happens, not when it was planned, so a thread that
  wakes late cannot make two windows overlap.
* The service may say a lower limit (``X-Ratelimit-Limit-Requests`` and ``-Tokens``, per model and minute). It is taken
  as it is: the whole of it, at any pace within the minute. The official SDK takes nine tenths of it, and a sixth of
  that in each ten seconds, so that a small header makes it crawl. ``Remaining-*`` comes without the time at which it
  starts anew, and other processes draw on it too; what it would tell, a 429 and its ``Retry-After`` tell better.

Why no library: pyrate-limiter and limits answer "may I now?". Neither queues callers in order, corrects a weight
afterwards, or changes a limit while calls wait; and what is left of the work is the few lines of `_Window`.
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from queue import SimpleQueue

from qfkit.client.exceptions import ConfigurationError
from qfkit.clock import SYSTEM_CLOCK, Clock
from qfkit.protocol.dialects import MAX_QPS

#: Seconds that one request may take longer on its way than another: two that start a window apart could else arrive
#: within one, and the later be refused.
_TRANSIT = 0.02
_SECOND = 1.0 + _TRANSIT
_MINUTE = 60.0 + _TRANSIT
#: The shortest wait, in seconds. A difference of two times may round to less than the clock can move by.
_LEAST = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True)
class RateLimits:
    """What one client, or all that share a `Limiter`, may ask for. All are whole numbers, 1 or more; None: no limit.

    Attributes:
        qps: attempts that begin in any second. text_generation documents 100.
        rpm: attempts that begin in any 60 seconds.
        tpm: tokens in any 60 seconds: an estimate of what is sent, replaced by what the service counted once it
            answers. A call that alone is over the limit goes when nothing else is in the window.
        concurrency: attempts under way at once. A stream counts until it ends or is closed.
        adaptive: also keep to what the service says in ``X-Ratelimit-Limit-Requests`` and ``-Tokens``, model by model.

    Raises:
        ConfigurationError: a value is out of its range.
    """

    qps: int | None = None
    rpm: int | None = None
    tpm: int | None = None
    concurrency: int | None = None
    adaptive: bool = True

    def __post_init__(self) -> None:
        for name in ("qps", "rpm", "tpm", "concurrency"):
            value = getattr(self, name)
            if value is not None and (not isinstance(value, int) or isinstance(value, bool) or value < 1):
                raise ConfigurationError(
                    f"RateLimits.{name} is a whole number, 1 or more, or None for no limit; got {value!r}. "
                    "For less than one a second use rpm"
                )

    @classmethod
    def off(cls) -> RateLimits:
        """No limits at all, for a load test: let the service refuse."""
        return cls(adaptive=False)


#: What a client keeps to when nobody says otherwise: only what a document says.
DEFAULT_LIMITS: dict[str, RateLimits] = {"text_generation": RateLimits(qps=MAX_QPS, adaptive=False)}


class Slot:
    """The right to make one attempt.

    Attributes:
        queued: seconds it was waited for.
    """

    __slots__ = ("_held", "_limiter", "_starts", "queued")

    def __init__(
        self,
        queued: float = 0.0,
        limiter: Limiter | None = None,
        starts: tuple[_Start, ...] = (),
        permits: SimpleQueue[None] | None = None,
    ) -> None:
        self.queued = queued
        self._limiter = limiter
        self._starts = starts
        self._held = [] if permits is None else [permits]

    def settle(self, tokens: int) -> None:
        """Put what the service counted in the place of the estimate; 0, which says nothing, changes nothing."""
        if self._limiter is not None and tokens > 0:
            self._limiter.settle(self._starts, tokens)

    def release(self) -> None:
        """The attempt is over. Safe to repeat, from any thread, and from a finalizer: it takes no lock."""
        try:
            permits = self._held.pop()
        except IndexError:
            return
        permits.put(None)


class Limiter:
    """Keeps `RateLimits`, for one client or for all clients that are given it. Safe to share between threads.

    Args:
        limits: what to keep.
        clock: time, and how to wait.
    """

    def __init__(self, limits: RateLimits, clock: Clock = SYSTEM_CLOCK) -> None:
        self.limits = limits
        self._clock = clock
        self._lock = threading.Lock()
        requests = ((limits.qps, _SECOND), (limits.rpm, _MINUTE))
        self._shared = _Gate(
            [_Window(capacity, seconds) for capacity, seconds in requests if capacity is not None],
            [_Window(limits.tpm, _MINUTE)] if limits.tpm is not None else [],
        )
        self._models: dict[str, _Gate] = {}
        self._permits: SimpleQueue[None] | None = None
        if limits.concurrency is not None:
            self._permits = SimpleQueue()
            for _ in range(limits.concurrency):
                self._permits.put(None)

    def acquire(self, model: str, weigh: Callable[[], int]) -> Slot:
        """Wait for one's turn, and until all limits let an attempt begin.

        Args:
            model: whose limits hold, besides the client's.
            weigh: estimates the tokens of the attempt; called if they are limited.
        """
        if self.limits == _OFF:
            return Slot()
        tokens = weigh() if self.limits.tpm is not None or self.limits.adaptive else 0
        began = self._clock.monotonic()
        gates = self._gates(model)
        entered: list[_Gate] = []
        try:
            for gate in gates:
                gate.turn.enter()
                entered.append(gate)
                self._wait(gate, tokens)
            if self._permits is not None:
                self._permits.get()
            now = self._clock.monotonic()
            with self._lock:
                starts = tuple(start for gate in gates for start in gate.begin(tokens, now))
        finally:
            for gate in reversed(entered):
                gate.turn.leave()
        return Slot(now - began, self, starts, self._permits)

    def learn(self, model: str, headers: Mapping[str, str]) -> None:
        """Note the limits that an answer names for ``model``; what cannot be read is passed over."""
        if not self.limits.adaptive:
            return
        gate = self._gates(model)[0]
        for window, name in ((gate.requests[0], "Requests"), (gate.tokens[0], "Tokens")):
            text = headers.get(f"X-Ratelimit-Limit-{name}", "")
            if text.isascii() and text.isdigit() and int(text) > 0:
                with self._lock:
                    window.capacity = int(text)

    def settle(self, starts: tuple[_Start, ...], tokens: int) -> None:
        """See `Slot.settle`."""
        with self._lock:
            for start in starts:
                start.window.reweigh(start, tokens)

    def _gates(self, model: str) -> tuple[_Gate, ...]:
        if not self.limits.adaptive:
            return (self._shared,)
        with self._lock:
            gate = self._models.get(model)
            if gate is None:
                # Without limits until an answer names them, but what begins before that is already counted.
                gate = self._models[model] = _Gate([_Window(None, _MINUTE)], [_Window(None, _MINUTE)])
        return gate, self._shared

    def _wait(self, gate: _Gate, tokens: int) -> None:
        while True:
            with self._lock:  # anew after each wait: limits and weights may have changed
                delay = gate.delay(tokens, self._clock.monotonic())
            if delay <= 0:
                return
            self._clock.sleep(max(delay, _LEAST))


_OFF = RateLimits.off()


def make_limiter(limits: RateLimits | Limiter | None, dialect: str, clock: Clock) -> Limiter:
    """The limiter of a client, from what its user said.

    Raises:
        ConfigurationError: that is neither limits nor a limiter.
    """
    if isinstance(limits, Limiter):
        return limits
    if limits is None:
        limits = DEFAULT_LIMITS.get(dialect, RateLimits.off())
    if not isinstance(limits, RateLimits):
        raise ConfigurationError(f"limits is a RateLimits, a Limiter or None; got {type(limits).__name__}")
    return Limiter(limits, clock)


class _Start:
    """An attempt that began, as one window remembers it."""

    __slots__ = ("time", "weight", "window")

    def __init__(self, time: float, weight: int, window: _Window) -> None:
        self.time = time
        self.weight = weight
        self.window = window


class _Window:
    """At most ``capacity`` in any half-open stretch of ``seconds``. With None it only remembers."""

    __slots__ = ("_seconds", "_starts", "_sum", "capacity")

    def __init__(self, capacity: int | None, seconds: float) -> None:
        self.capacity = capacity
        self._seconds = seconds
        self._starts: deque[_Start] = deque()
        self._sum = 0

    def delay(self, weight: int, now: float) -> float:
        """Seconds until ``weight`` fits, or until the window is empty; 0 when it may begin now."""
        starts, capacity = self._starts, self.capacity
        while starts and starts[0].time + self._seconds <= now:
            self._sum -= starts.popleft().weight
        if capacity is None:
            return 0.0
        excess = self._sum + weight - capacity
        until = now
        for start in starts:
            if excess <= 0:
                break
            excess -= start.weight
            until = start.time + self._seconds
        return until - now

    def begin(self, weight: int, now: float) -> _Start:
        start = _Start(now, weight, self)
        self._starts.append(start)
        self._sum += weight
        return start

    def reweigh(self, start: _Start, weight: int) -> None:
        if self._starts and start.time >= self._starts[0].time:  # else it has left the window
            self._sum += weight - start.weight
            start.weight = weight


class _Gate:
    """A queue, and the windows that its head must fit into."""

    __slots__ = ("requests", "tokens", "turn")

    def __init__(self, requests: list[_Window], tokens: list[_Window]) -> None:
        self.turn = _Turnstile()
        self.requests = requests
        self.tokens = tokens

    def delay(self, tokens: int, now: float) -> float:
        weighed = [(window, 1) for window in self.requests] + [(window, tokens) for window in self.tokens]
        return max((window.delay(weight, now) for window, weight in weighed), default=0.0)

    def begin(self, tokens: int, now: float) -> list[_Start]:
        """Count an attempt everywhere. Returns what may be reweighed later."""
        for window in self.requests:
            window.begin(1, now)
        return [window.begin(tokens, now) for window in self.tokens]


class _Turnstile:
    """A lock that is handed on in the order of asking: those of `threading` promise no order."""

    __slots__ = ("_lock", "_taken", "_waiting")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._taken = False
        self._waiting: deque[threading.Lock] = deque()

    def enter(self) -> None:
        with self._lock:
            if not self._taken:
                self._taken = True
                return
            mine = threading.Lock()
            mine.acquire()
            self._waiting.append(mine)
        try:
            mine.acquire()
        except BaseException:  # KeyboardInterrupt while waiting: nobody may wait for us
            with self._lock:
                still_waiting = mine in self._waiting
                if still_waiting:
                    self._waiting.remove(mine)
            if not still_waiting:
                self.leave()
            raise

    def leave(self) -> None:
        with self._lock:
            if self._waiting:
                self._waiting.popleft().release()
            else:
                self._taken = False
