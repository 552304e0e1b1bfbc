"""A rule: which requests it is for, and the script that they meet."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

import msgspec

from mock_server.faults.options import OptionError
from mock_server.matching import Match, Matcher, Mismatch, Question
from mock_server.matching.rules import plain
from mock_server.scenario.data import Loop, Step, step_of
from mock_server.scenario.script import Script, Taken


class RuleData(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """A rule as data: ``{on: {model: ernie-4.0-8k, contains: 天气}, script: [{reply: 晴}]}``.

    Attributes:
        on: matchers by name; none of them is for every request.
        priority: the highest goes first.
        script: steps, as `step_of` reads them.
    """

    on: dict[str, Any] = {}
    priority: int = 0
    script: list[dict[str, Any]] = []


class Rule:
    """One rule. It belongs to the `Scenario` that it is added to, whose lock guards what changes.

    Args:
        matcher: which requests it is for.
        priority: the highest goes first, then the rule that was added first.
        steps: what those requests meet.

    Raises:
        ValueError: a step cannot stand where it is.
    """

    __slots__ = ("_fitted", "_steps", "matcher", "number", "priority", "script")

    def __init__(self, matcher: Matcher, priority: int = 0, steps: tuple[Step | Loop, ...] = ()) -> None:
        if type(priority) is not int:
            raise OptionError("priority", f"priority is a whole number, the highest goes first; got {priority!r}")
        self.matcher = matcher
        self.priority = priority
        self.number = 0
        self._steps = steps
        self._fitted = 0
        self.script = Script(last_stays=True)
        self.attach(threading.Lock(), 0)

    def attach(self, lock: threading.Lock, number: int) -> None:
        """Called by the scenario: the rule is its ``number``-th, and ``lock`` guards it."""
        self.number, self._fitted = number, 0
        self.script = Script(lock, last_stays=True)
        add_steps(self.script, self._steps)

    @property
    def name(self) -> str:
        """Its short name, ``rule 2``."""
        return f"rule {self.number}"

    def __str__(self) -> str:
        return f"{self.name} on({self.matcher.written})"

    @property
    def sure(self) -> bool:
        """Whether it answers whatever fits its conditions, and always will unless it is given other steps."""
        return self.matcher.state is None and self.matcher.call is None and self.script.endless

    # Under the scenario's lock

    def counted(self, state: str) -> bool:
        """Whether a request that fits all the rest fits ``state`` and ``call`` too; it is counted for ``call``."""
        matcher = self.matcher
        if matcher.state is not None and state != matcher.state:
            return False
        self._fitted += 1
        return matcher.call is None or self._fitted in matcher.call

    def next(self) -> Taken | None:
        """What a request that fits meets; None when all steps are used up."""
        taken = self.script.next()
        if taken is None:
            return None
        return Taken(taken.action, f"{self}: {taken.name}", taken.enter, self.name)

    # Near misses

    def missed(self, question: Question, state: str) -> Match:
        """What keeps ``question`` from this rule, the rule's own steps included.

        Raises:
            CallableFailed: the predicate did.
        """
        matcher = self.matcher
        found = matcher.match(question, matcher.call[0] if matcher.call else 1)
        missed = [each for each in found.mismatches if each.field != "state"]
        if matcher.state is not None and state != matcher.state:
            missed.append(Mismatch("state", matcher.state, state, "time"))
        if not missed and matcher.call is not None and self._fitted not in matcher.call:
            missed.append(Mismatch("call", plain(matcher.call), self._fitted, "time"))
        if not missed:
            missed.append(Mismatch("steps", "one that is left", "all used up", "time"))
        return matcher.weigh(missed)

    def to_data(self) -> dict[str, Any]:
        """The rule as JSON-ready data, for listings."""
        return {
            "name": self.name,
            "on": self.matcher.to_data(),
            "priority": self.priority,
            "script": self.script.written(),
            "waiting": self.script.waiting(),
            "met": self.script.met,
        }


def add_steps(script: Script, steps: tuple[Step | Loop, ...]) -> None:
    """Queue steps that were read from data."""
    for step in steps:
        if isinstance(step, Loop):
            script.loop(step.times)
        else:
            script.add(step.action, step.times, step.enter)


def rule_of(data: Mapping[str, Any], where: str = "$") -> Rule:
    """A rule written as data.

    Args:
        data: ``on``, ``priority`` and ``script``, all of them optional.
        where: its path in the document, for messages.

    Raises:
        msgspec.ValidationError: with the path of what is wrong.
    """
    try:
        made = msgspec.convert(dict(data), RuleData)
    except msgspec.ValidationError as error:
        message, _, path = str(error).partition(" - at `$")
        raise msgspec.ValidationError(f"{message} - at `{where}{path.rstrip('`')}`") from error
    if "where" in made.on:
        raise msgspec.ValidationError(
            f"where is a Python function, which data cannot hold: use on(where=...) - at `{where}.on.where`"
        )
    try:
        matcher = Matcher.of(made.on, "on()")
    except OptionError as error:
        path = f"{where}.on.{error.option}" if error.option in made.on else f"{where}.on"
        raise msgspec.ValidationError(f"{error} - at `{path}`") from error
    steps = tuple(step_of(step, f"{where}.script[{index}]") for index, step in enumerate(made.script))
    try:
        return Rule(matcher, made.priority, steps)
    except ValueError as error:
        raise msgspec.ValidationError(f"{error} - at `{where}.script`") from error
