"""A script: steps taken one after the other, each exactly as often as it was queued.

A step is taken under a lock, so ``times=k`` meets exactly k requests however many threads ask. A loop is a step of its
own: when a request comes to it, everything before it starts again. Loops may follow on loops: ``a, loop 2, b, loop 2``
is a a b a a b.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

from mock_server.scenario.steps import DEFAULT, Action, Answer, Times


@dataclass(frozen=True, slots=True)
class Taken:
    """What a request met.

    Attributes:
        action: what to do.
        name: the step in words, for the journal.
        enter: the state that the account is in from now on, None to stay in the one it is in.
        rule: short name of the rule whose step it is.
        near_misses: where no step was met though there are rules: what kept the nearest from it, a line each.
    """

    action: Action
    name: str
    enter: str | None = None
    rule: str | None = None
    near_misses: tuple[str, ...] = ()


#: What a request meets that no step wants.
UNSCRIPTED = Taken(DEFAULT, "default")


@dataclass(frozen=True, slots=True)
class Waiting:
    """A step that waits for requests.

    Attributes:
        step: in words, and how many requests may still meet it: ``fail 18 x2``, ``reply '好' for ever``.
        met: how many have met it.
        written_at: file and line of the code that queued it; None where no code of the test did (configuration,
            control API).
    """

    step: str
    met: int = 0
    written_at: tuple[str, int] | None = None

    def __str__(self) -> str:
        return self.step


@dataclass(slots=True, eq=False)
class _Step:
    """A step and how far it is. ``met`` counts this round of the loops around it, ``met_ever`` all rounds."""

    action: Action
    times: Times | None
    enter: str | None
    written_at: tuple[str, int] | None
    met: int = 0
    met_ever: int = 0


@dataclass(slots=True, eq=False)
class _Loop:
    """Back to the beginning. ``rounds`` counts those that are over."""

    times: Times
    written_at: tuple[str, int] | None
    rounds: int = 0


class Script:
    """Steps in the order they were queued. Safe for any number of threads.

    Args:
        lock: guards the steps; scripts that are taken from together share one.
        last_stays: the last step stays for ever if nobody said how many requests meet it; else it is met once.
    """

    __slots__ = ("_at", "_last_stays", "_lock", "_steps", "asks")

    def __init__(self, lock: threading.Lock | None = None, *, last_stays: bool = False) -> None:
        self._lock = lock or threading.Lock()
        self._steps: list[_Step | _Loop] = []
        self._at = 0
        self._last_stays = last_stays
        #: A step looks at the question.
        self.asks = False

    # Writing

    def add(
        self,
        action: Action,
        times: Times | None = None,
        enter: str | None = None,
        written_at: tuple[str, int] | None = None,
    ) -> None:
        """Queue ``action`` for the next requests that no earlier step takes.

        Args:
            action: what it does.
            times: how many requests meet it, from 1, or ``"forever"``; None is 1, unless the script's last step stays.
            enter: the state that the account is in once the last of them has met it; of a step that stays for ever,
                once any of them has.
            written_at: file and line of the code that queues it.

        Raises:
            ValueError: ``times`` or ``enter`` is none, or a step before it stays for ever.
        """
        step = _Step(action, _checked(times), None if enter is None else state_name(enter), written_at)
        with self._lock:
            self._check_reach(action.describe())
            self._steps.append(step)
            self.asks = self.asks or getattr(action, "source", None) is not None

    def loop(self, times: Times = "forever", written_at: tuple[str, int] | None = None) -> None:
        """Play all steps so far again when they are through, ``times`` times in all.

        Raises:
            ValueError: ``times`` is neither a whole number from 1 nor ``"forever"``, or there is no step yet.
        """
        _checked(times)
        with self._lock:
            self._check_reach("loop")
            if not self._steps:
                raise ValueError("a loop repeats the steps before it, and there are none: write it after them")
            self._steps.append(_Loop(times, written_at))

    def enter(self, state: str) -> None:
        """Enter ``state`` after the step that was queued last, as with `add`.

        Raises:
            ValueError: there is no such step, or ``state`` is no name.
        """
        state_name(state)
        with self._lock:
            if not self._steps or isinstance(last := self._steps[-1], _Loop):
                raise ValueError("enter() belongs behind a step: reply('ok').enter('down')")
            last.enter = state

    def _check_reach(self, what: str) -> None:
        for each in self._steps:
            if each.times == "forever":
                before = "loop" if isinstance(each, _Loop) else each.action.describe()
                raise ValueError(
                    f"no request could ever meet {what!r}: {before!r} before it goes on for ever; "
                    "reset() forgets a script, and on() makes a rule that goes before it"
                )

    # Taking

    def take(self) -> Taken:
        """The action for one request; each step is given out exactly as often as it was queued."""
        with self._lock:
            return self.next() or UNSCRIPTED

    def next(self) -> Taken | None:
        """As `take`, for those who hold the lock; None when no step is waiting."""
        step = self._current()
        if step is None:
            return None
        turn = step.met_ever
        step.met += 1
        step.met_ever += 1
        times = self._times(step)
        last = times is None or step.met == times
        count = "" if times == 1 else f" ({step.met} of {times})" if times else f" (no. {step.met})"
        action = step.action.at_turn(turn) if isinstance(step.action, Answer) else step.action
        return Taken(action, f"{action.describe()}{count}", step.enter if last else None)

    @property
    def over(self) -> bool:
        """No step is waiting. For those who hold the lock."""
        return self._current() is None

    @property
    def endless(self) -> bool:
        """There will always be a step, as long as nobody adds one."""
        last = self._steps[-1] if self._steps else None
        return last is not None and (last.times == "forever" or (last.times is None and self._last_stays))

    def _current(self) -> _Step | None:
        """The step that the next request meets; moves on past those that are through."""
        while self._at < len(self._steps):
            each = self._steps[self._at]
            if isinstance(each, _Loop):
                self._go_round(each)
                continue
            times = self._times(each)
            if times is None or each.met < times:
                return each
            self._at += 1
        return None

    def _go_round(self, loop: _Loop) -> None:
        if loop.times != "forever" and loop.rounds + 1 >= loop.times:
            self._at += 1
            return
        loop.rounds += 1
        for each in self._steps[: self._at]:
            if isinstance(each, _Loop):
                each.rounds = 0
            else:
                each.met = 0
        self._at = 0

    def _times(self, step: _Step) -> int | None:
        """How many requests meet the step in one round; None for ever."""
        if step.times is None:
            return None if self._last_stays and step is self._steps[-1] else 1
        return None if step.times == "forever" else step.times

    # Reading

    @property
    def met(self) -> int:
        """How many requests met a step."""
        with self._lock:
            return sum(each.met_ever for each in self._steps if isinstance(each, _Step))

    def waiting(self) -> list[str]:
        """Steps that wait for a request, in words, and how many requests may meet them.

        What stays or comes again for ever is listed until it was met once.
        """
        return [each.step for each in self.waiting_steps()]

    def waiting_steps(self) -> list[Waiting]:
        """As `waiting`, with where each was written."""
        with self._lock:
            self._current()
            found = (self._waits(each, index) for index, each in enumerate(self._steps) if index >= self._at)
            return [each for each in found if each is not None]

    def unmet(self) -> list[str]:
        """Steps that no request has met, in words."""
        with self._lock:
            return [each.action.describe() for each in self._steps if isinstance(each, _Step) and not each.met_ever]

    def _waits(self, each: _Step | _Loop, index: int) -> Waiting | None:
        if isinstance(each, _Loop):
            left = 0 if each.times == "forever" else each.times - each.rounds - 1
            return Waiting(f"loop x{left}", each.rounds, each.written_at) if left else None
        times = self._times(each)
        again = times is None or any(
            later.times == "forever" for later in self._steps[index:] if isinstance(later, _Loop)
        )
        if again and each.met_ever:
            return None
        left_words = "for ever" if times is None else f"x{times - each.met}"
        return Waiting(f"{each.action.describe()} {left_words}", each.met, each.written_at)

    def written(self) -> list[str]:
        """All steps in words, those that are through too."""
        with self._lock:
            return [
                f"loop {each.times}"
                if isinstance(each, _Loop)
                else each.action.describe()
                + (f" x{times}" if (times := self._times(each)) else " for ever")
                + (f", then {each.enter!r}" if each.enter else "")
                for each in self._steps
            ]

    def clear(self) -> None:
        """Forget every step."""
        with self._lock:
            self._steps.clear()
            self._at = 0
            self.asks = False


def state_name(name: object) -> str:
    """The name of a state, checked.

    Raises:
        ValueError: it is no text, or an empty one.
    """
    if not isinstance(name, str) or not name:
        raise ValueError(f"a state is a name such as 'down', not empty; got {name!r}")
    return name


def _checked(times: Times | None) -> Times | None:
    if times is None or times == "forever" or (type(times) is int and times >= 1):
        return times
    raise ValueError(f"times is how many requests meet this step: a whole number from 1, or 'forever'; got {times!r}")
