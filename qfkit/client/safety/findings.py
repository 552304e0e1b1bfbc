"""What the rules did to one call, without ever saying to what."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Finding:
    """What one rule found of one kind in one place. The text that was found is not in it.

    Attributes:
        rule: the name of the rule: ``Mask``, ``WordList`` …
        kind: what it found: ``mobile``, ``zero_width``, a topic's name …
        action: what it did: ``mask``, ``strip``, ``cut``, ``drop`` or ``change``.
        where: ``messages[0]``, ``system``, ``text`` (of the answer) or ``reasoning``.
        count: how often.
        position: where the first one began, in characters of what the rule was given.
    """

    rule: str
    kind: str
    action: str
    where: str
    count: int
    position: int

    def __str__(self) -> str:
        return f"{self.rule} {self.action} {self.kind} x{self.count} in {self.where}"


class Ledger:
    """Collects the findings of one call. Used by one thread."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[tuple[str, str, str, str], tuple[int, int]] = {}

    def note(self, rule: str, kind: str, action: str, where: str, position: int) -> None:
        """Count one more."""
        key = (rule, kind, action, where)
        count, first = self._found.get(key, (0, position))
        self._found[key] = (count + 1, min(first, position))

    def findings(self) -> tuple[Finding, ...]:
        """All so far, in the order in which they were first made."""
        return tuple(Finding(*key, count, first) for key, (count, first) in self._found.items())


@dataclass(frozen=True, slots=True)
class Place:
    """Where a rule is at work: it notes there what it does.

    Attributes:
        where: as `Finding.where`.
        role: whose text it is: ``user``, ``assistant``, ``system``, ``tool`` …; empty for an answer.
        ledger: where findings are collected.
    """

    where: str
    role: str
    ledger: Ledger

    def note(self, rule: str, kind: str, action: str, position: int) -> None:
        """Say what was done once, and where it began."""
        self.ledger.note(rule, kind, action, self.where, position)
