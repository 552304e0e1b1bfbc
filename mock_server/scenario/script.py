"""A script: steps taken one after the other, each exactly as often as it was queued.

A step is taken under the account's lock, so ``times=k`` meets exactly k requests however many threads ask.
"""

from __future__ import annotations

import threading
from collections import deque
from dataclasses import dataclass

from mock_server.scenario.steps import DEFAULT, Action, Answer


@dataclass(frozen=True, slots=True)
class Taken:
    """The step that a request met: what to do, and its name for the journal."""

    action: Action
    name: str


class Script:
    """Steps in the order they were queued. Safe for any number of threads."""

    __slots__ = ("_lock", "_steps")

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._steps: deque[tuple[Action, int, int]] = deque()  # action, times in all, times left

    def add(self, action: Action, times: int = 1) -> None:
        """Queue ``action`` for the next ``times`` requests (1 or more) that no earlier step takes.

        Raises:
            ValueError: ``times`` is not a whole number of 1 or more.
        """
        if type(times) is not int or times < 1:
            raise ValueError(f"times is how many requests meet this step: a whole number from 1; got {times!r}")
        with self._lock:
            self._steps.append((action, times, times))

    def take(self) -> Taken:
        """The action for one request; each step is given out exactly as often as it was queued."""
        with self._lock:
            if not self._steps:
                return Taken(DEFAULT, "default")
            action, times, left = self._steps[0]
            if left == 1:
                self._steps.popleft()
            else:
                self._steps[0] = (action, times, left - 1)
        count = f" ({times - left + 1} of {times})" if times > 1 else ""
        if isinstance(action, Answer):
            action = action.at_turn(times - left)
        return Taken(action, f"{action.describe()}{count}")

    def waiting(self) -> list[str]:
        """Steps that no request has met yet, in words."""
        with self._lock:
            return [f"{action.describe()} x{left}" for action, _, left in self._steps]

    def clear(self) -> None:
        """Forget every step."""
        with self._lock:
            self._steps.clear()
