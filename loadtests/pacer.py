"""Sends the calls of an open load when they are due, whatever has become of those before.

Locust's users cannot: each waits for its answer, so there are never more calls under way than users, and a service that
stalls is asked less. Here a greenlet of its own watches the clock, and hands each call to a user that is idle, or to a
new one. How many calls are under way is bounded by ``max_in_flight`` alone; a call beyond it is not sent, is counted,
and spoils the measurement.
"""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING

import gevent
from locust.exception import StopTest

from loadtests.planning.arrivals import Arrival

if TYPE_CHECKING:
    from loadtests.bench import Bench
    from loadtests.users import QianfanUser

#: Users that are made ready before the first call: making one takes about a millisecond.
_READY = 20
#: Seconds between looks at whether the run has been stopped.
_LOOK = 0.1


class Pacer:
    """The calls that one process sends.

    Args:
        bench: of the process.
        arrivals: number and arrival of each call that this process sends.
        begin: Unix time of the run's beginning.
        limit: calls under way at once.
    """

    def __init__(self, bench: Bench, arrivals: Iterator[tuple[int, Arrival]], *, begin: float, limit: int) -> None:
        self._bench = bench
        self._arrivals = arrivals
        self._begin = begin
        self._limit = limit
        self._seed = bench.plan.traffic.seed
        self._idle: dict[type[QianfanUser], list[QianfanUser]] = {it: [] for it in bench.user_classes}
        self._under_way: set[gevent.Greenlet] = set()
        self._until = math.inf
        self._greenlet: gevent.Greenlet | None = None

    @property
    def in_flight(self) -> int:
        """Calls under way."""
        return len(self._under_way)

    def start(self) -> None:
        """Begin, in a greenlet of its own."""
        self._greenlet = gevent.spawn(self._run)

    def stop(self, grace: float) -> None:
        """Send what was due until now and no more; let calls under way end for ``grace`` seconds, then cut them off."""
        self._until = time.perf_counter()
        if self._greenlet is not None:
            self._greenlet.join()
        gevent.joinall(list(self._under_way), timeout=grace)
        self.cut()
        for user in (user for idle in self._idle.values() for user in idle):
            user.on_stop()
        self._idle.clear()

    def cut(self) -> None:
        """Cut off the calls under way."""
        gevent.killall(list(self._under_way))

    def _run(self) -> None:
        try:
            self._pace()
        except StopTest as error:  # a user cannot be made: Locust's own, which stand by, have failed likewise
            self._bench.give_up(error)

    def _pace(self) -> None:
        ready = min(_READY, self._limit)
        for user_class, idle in self._idle.items():
            idle += [self._new_user(user_class) for _ in range(ready)]
        start = time.perf_counter() + (self._begin - time.time())
        for number, arrival in self._arrivals:
            due = start + arrival.at
            # gevent's timers count from when its loop last woke up, and may fire early: look again.
            while (left := min(due, self._until) - time.perf_counter()) > 0:
                gevent.sleep(min(left, _LOOK))
            if due > self._until:
                return
            self._send(number, arrival, due)

    def _send(self, number: int, arrival: Arrival, due: float) -> None:
        if len(self._under_way) >= self._limit:
            self._bench.recorder.planned(unsent=True)
            return
        self._bench.recorder.planned()
        greenlet = gevent.spawn(self._call, number, arrival, due)
        self._under_way.add(greenlet)
        greenlet.rawlink(self._under_way.discard)

    def _call(self, number: int, arrival: Arrival, due: float) -> None:
        # The choices of a call depend on its number alone: not on how many processes there are, or on who is idle.
        random = Random(f"{self._seed}/call/{number}")
        classes = list(self._bench.user_classes)
        chosen = classes[0] if len(classes) == 1 else random.choices(classes, [it.weight for it in classes])[0]
        idle = self._idle[chosen]
        user = idle.pop() if idle else self._new_user(chosen)
        user.random = random
        try:
            user.measure(due, arrival.prompt)
        finally:
            idle.append(user)

    def _new_user(self, user_class: type[QianfanUser]) -> QianfanUser:
        user = user_class(self._bench.environment)
        user.on_start()
        return user
