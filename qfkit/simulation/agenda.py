"""What happens when: the events of a simulation in the order of their times, and the clock that they move.

Why not SimPy: a process for each client costs 7.1 microseconds an event and 0.9 KB a client, where this page costs 2.8
and 0.2 KB (300,000 clients of six events, one core of the machine that docs/simulation.md names). With a million
clients that is half of a run's time and most of its memory. The tests hold this page to SimPy, event by event.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from itertools import count
from typing import Any, Final, TypeAlias

#: What an event does, told of whom it is and of one thing more.
Action: TypeAlias = Callable[[int, Any], None]

#: Unix time at which every simulation begins: midnight in China, so that a quota of a day is whole.
EPOCH: Final = 1_767_196_800.0


class Agenda:
    """Events to come. A `qfkit.clock.Clock` whose time is that of the event under way.

    Events of the same moment happen in the order in which they were put down.
    """

    __slots__ = ("_events", "_order", "now")

    def __init__(self) -> None:
        #: Seconds since the beginning.
        self.now = 0.0
        self._events: list[tuple[float, int, Action, int, Any]] = []
        self._order = count()

    def at(self, moment: float, action: Action, subject: int, detail: Any = None) -> None:
        """Put down ``action(subject, detail)`` for ``moment``, in seconds from the beginning, now or later."""
        heapq.heappush(self._events, (moment, next(self._order), action, subject, detail))

    def run(self) -> None:
        """Let everything happen, until nothing is left to come."""
        events, pop = self._events, heapq.heappop
        while events:
            self.now, _, action, subject, detail = pop(events)
            action(subject, detail)

    def monotonic(self) -> float:
        """Seconds since the beginning."""
        return self.now

    def time(self) -> float:
        """Unix time in seconds."""
        return EPOCH + self.now

    def sleep(self, seconds: float) -> None:
        """Not in a simulation: nothing may wait but by `at`.

        Raises:
            RuntimeError: always.
        """
        raise RuntimeError(f"asked to sleep {seconds:g} s, but in a simulation nobody sleeps: put an event down")
