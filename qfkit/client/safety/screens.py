"""How an output rule looks at an answer: piece by piece, as it comes. A whole answer is one piece.

A screen is fed text and gives back what may be said of it, now or later; whatever the pieces, what it says in the end
is the same. It holds back no more than it must.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol, TypeAlias

from qfkit.client.exceptions import UnsafeContent
from qfkit.client.safety.findings import Place

MASK: Final = "***"
ACTIONS: Final = ("raise", "mask", "drop")

#: What ends a sentence, with what may follow such an end and still belongs to it.
_ENDS: Final = frozenset("。！？!?；;\n")
_CLOSERS: Final = frozenset("”’』」）)\"'")
#: A sentence longer than this, in characters, is cut here: a stream must not be held up for ever.
LONGEST_SENTENCE: Final = 2000


class Screen(Protocol):
    """One rule at work on one text."""

    def feed(self, text: str) -> str:
        """What may be said, now that ``text`` has come too.

        Raises:
            UnsafeContent: the rule does not let the answer pass; ``text`` is what may still be said before.
        """
        ...

    def finish(self) -> str:
        """What was held back; nothing more comes. Raises as `feed`."""
        ...


class OutputRule(Protocol):
    """A rule for answers. Your own may be one of these, or any function from a sentence to what is said instead."""

    def screen(self, place: Place) -> Screen:
        """Begin to look at a text."""
        ...


def shown(found: str) -> str:
    """What was found, as it may be written down: its first character and as many stars as were there, 8 at most."""
    return found[:1] + "*" * min(len(found) - 1, 8) if len(found) > 1 else "*"


def refusal(rule: str, kind: str, found: str, place: Place, *, position: int, text: str) -> UnsafeContent:
    """The exception for what a rule does not let pass."""
    found = shown(found)
    return UnsafeContent(
        f"the answer is held back by {rule}: {kind} ({found}) in its {place.where} at character {position}. What came "
        "before it is in .text; action='mask' or 'drop' lets the rest through",
        rule=rule,
        kind=kind,
        found=found,
        text=text,
        where=place.where,
        position=position,
    )


#: What becomes of a sentence: given it and its position, what is said instead. It raises `UnsafeContent` to refuse.
Judge: TypeAlias = Callable[[str, int], str]


class SentenceScreen:
    """Looks at whole sentences: holds each back until it has ended.

    A sentence ends with ``。！？!?；;``, a newline, or a full stop before white space; closing quotes and brackets, and
    further such ends, still belong to it. It ends after 2000 characters in any case.

    Args:
        judge: what becomes of a sentence.
        whole: take the answer for one sentence, which ends when nothing more comes.
    """

    __slots__ = ("_ending", "_held", "_judge", "_position", "_whole")

    def __init__(self, judge: Judge, *, whole: bool = False) -> None:
        self._judge = judge
        self._whole = whole
        self._held: list[str] = []
        self._ending = False
        self._position = 0  # of what is held

    def feed(self, text: str) -> str:
        """See `Screen.feed`."""
        if self._whole:
            self._held.append(text)
            return ""
        said: list[str] = []
        for character in text:
            begins = self._ending and character not in _ENDS and character not in _CLOSERS
            if begins or len(self._held) >= LONGEST_SENTENCE:
                self._cut(said)
            ends = character in _ENDS or (character.isspace() and self._held[-1:] == ["."])
            self._ending = self._ending or ends
            self._held.append(character)
        return "".join(said)

    def finish(self) -> str:
        """See `Screen.finish`."""
        said: list[str] = []
        if self._held:
            self._cut(said)
        return "".join(said)

    def _cut(self, said: list[str]) -> None:
        sentence = "".join(self._held)
        self._held.clear()
        self._ending = False
        try:
            said.append(self._judge(sentence, self._position))
        except UnsafeContent as error:
            error.text = "".join(said)  # what of this piece is safe
            raise
        self._position += len(sentence)


class Chain:
    """Screens in a row, each fed with what the one before says; the last puts values back.

    Args:
        screens: in order.
        where: ``text`` or ``reasoning``.
    """

    __slots__ = ("_said", "_screens", "_where")

    def __init__(self, screens: Iterable[Screen], where: str) -> None:
        self._screens = tuple(screens)
        self._where = where
        self._said: list[str] = []

    @property
    def said(self) -> str:
        """All that may be said so far."""
        self._said = ["".join(self._said)]
        return self._said[0]

    def feed(self, text: str) -> str:
        """What may be said now.

        Raises:
            UnsafeContent: a rule refuses; ``text`` is all that may be said, of earlier pieces too.
        """
        return self.add(self._pass(0, text, last=False))

    def finish(self) -> str:
        """What was held back; raises as `feed`."""
        return self.add(self._pass(0, "", last=True))

    def add(self, text: str) -> str:
        """Say ``text``, past all rules."""
        self._said.append(text)
        return text

    def _pass(self, first: int, text: str, *, last: bool) -> str:
        for index in range(first, len(self._screens)):
            screen, said = self._screens[index], ""
            try:
                said = screen.feed(text)
                text = said + screen.finish() if last else said
            except UnsafeContent as error:
                # What was safe before the find must pass the rules that follow; one of them may refuse earlier still.
                error.text = self.said + self._pass(index + 1, said + error.text, last=True)
                error.where = self._where
                raise
        return text


def function_screen(rule: Callable[[str], Any], place: Place) -> Screen:
    """A screen of a plain function, from a sentence to what is said instead."""
    name = getattr(rule, "__name__", type(rule).__name__)

    def judge(sentence: str, position: int) -> str:
        said = rule(sentence)
        if not isinstance(said, str):
            raise TypeError(f"the output rule {name} returns {type(said).__name__}, where a string is due")
        if said != sentence:
            place.note(name, "custom", "change", position)
        return said

    return SentenceScreen(judge)
