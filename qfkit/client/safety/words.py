"""Word lists of any size, matched in one pass by an Aho-Corasick automaton (pyahocorasick).

In a stream the state of the automaton is carried from piece to piece. Text is let go as soon as no word can begin in it
any more: what is held back is the longest end of the text that is the beginning of a longer word, so never more than
the longest word less one character. What is said is the same for every way of cutting the text into pieces.

Folding is done character by character (NFKC, then case), for that cannot depend on where the text is cut: ``ＶＰＮ``,
``vpn`` and ``ⓋⓅⓃ`` are one word. Words are looked for in composed and in decomposed form.
"""

from __future__ import annotations

import os
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache, partial
from itertools import islice
from pathlib import Path
from typing import Any, Literal

from qfkit.client.exceptions import ConfigurationError
from qfkit.client.safety.findings import Place
from qfkit.client.safety.screens import ACTIONS, MASK, Screen, SentenceScreen, refusal


@lru_cache(maxsize=16384)
def fold_character(character: str) -> str:
    """One character without its width, shape and case; may be several, such as ``kg`` for ``㎏``."""
    return unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", character).casefold())


def fold(text: str) -> str:
    """The same for a text."""
    return text.lower() if text.isascii() else "".join(map(fold_character, text))


@dataclass(frozen=True)
class WordList:
    """Words that an answer must not hold.

    Attributes:
        words: the words, or a path to a file of them: UTF-8, one a line, ``#`` before a remark.
        action: ``raise`` `UnsafeContent`; ``mask`` each find, or several that overlap, as ``***``; ``drop`` the
            sentence that a find stands in (in a stream, sentences are then held back until they end, and a word that
            runs over the end of a sentence is not found).
        fold: full width, half width, capitals and the like make no difference.
        ignore: characters that do not count, in words or between their letters: ``" *-"`` finds ``敏 感-词``.
        name: in findings, the log and `UnsafeContent.rule`.

    Raises:
        ConfigurationError: no words, no such file or action, or the package is missing.
    """

    words: Iterable[str] | os.PathLike[str] = field(repr=False)
    action: Literal["raise", "mask", "drop"] = "raise"
    fold: bool = True
    ignore: str = ""
    name: str = "WordList"
    _automaton: Any = field(init=False, repr=False, compare=False)
    _firsts: frozenset[str] = field(init=False, repr=False, compare=False)
    longest: int = field(init=False, compare=False)

    def __post_init__(self) -> None:
        if self.action not in ACTIONS:
            raise ConfigurationError(f"WordList.action is one of {', '.join(ACTIONS)}; got {self.action!r}")
        try:
            import ahocorasick  # noqa: PLC0415 - an extra
        except ImportError:
            raise ConfigurationError('WordList needs the package pyahocorasick: pip install "qfkit[safety]"') from None
        words = tuple(dict.fromkeys(_read(self.words)))
        forms = sorted({form for word in words for form in self._forms(word) if form})
        if not forms:
            raise ConfigurationError("WordList has no word in it, so it would let everything pass: give at least one")
        automaton = ahocorasick.Automaton()
        for form in forms:
            automaton.add_word(form, len(form))
        automaton.make_automaton()
        setting = partial(object.__setattr__, self)  # frozen for everybody else
        setting("words", words)
        setting("_automaton", automaton)
        setting("_firsts", frozenset(form[0] for form in forms))
        setting("longest", max(map(len, forms)))

    def __len__(self) -> int:
        return len(tuple(self.words))  # type: ignore[arg-type] # a tuple since __post_init__

    def screen(self, place: Place) -> Screen:
        """See `OutputRule.screen`."""
        if self.action == "drop":
            return SentenceScreen(lambda sentence, position: self._judge(sentence, position, place))
        return WordScreen(self, place)

    def reduce(self, character: str) -> str:
        """What a character counts as: itself, folded, or nothing."""
        if character in self.ignore:
            return ""
        return fold_character(character) if self.fold else character

    def holds(self, text: str) -> bool:
        """Whether one of the words is in ``text``."""
        reduced = "".join(map(self.reduce, text))
        return next(self._automaton.iter(reduced), None) is not None

    def is_beginning(self, text: str) -> bool:
        """Whether a word begins with ``text`` and is longer. ``text`` is reduced."""
        automaton = self._automaton
        if text[0] not in self._firsts or not automaton.match(text):
            return False
        return not automaton.exists(text) or len(list(islice(automaton.keys(text), 2))) > 1

    def matches(self) -> Any:
        """A search that goes on where it was, from text to text: ``(index of its last character, length)``."""
        return self._automaton.iter("")

    def _forms(self, word: str) -> Iterable[str]:
        for form in ("NFC", "NFD") if self.fold else (None,):
            yield "".join(map(self.reduce, unicodedata.normalize(form, word) if form else word))

    def _judge(self, sentence: str, position: int, place: Place) -> str:
        if not self.holds(sentence):
            return sentence
        place.note(self.name, "word", "drop", position)
        return ""


def _read(words: object) -> Iterable[str]:
    if isinstance(words, os.PathLike):
        try:
            lines = Path(words).read_text("utf-8-sig").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise ConfigurationError(f"WordList cannot read {os.fspath(words)!r} as UTF-8: {error}") from None
        return (line.strip() for line in lines if line.strip() and not line.lstrip().startswith("#"))
    if isinstance(words, (str, bytes)) or not isinstance(words, Iterable):
        raise ConfigurationError(
            f"WordList takes a list of words or a Path of a file; got {type(words).__name__}: write [word], "
            "or Path(file)"
        )
    found = tuple(words)
    if wrong := next((it for it in found if not isinstance(it, str)), None):
        raise ConfigurationError(f"the words of a WordList are strings; one is {type(wrong).__name__}")
    return found


class WordScreen:
    """Masks words, or refuses at the first one. Positions count the characters of the answer."""

    __slots__ = (
        "_came",
        "_found",
        "_masked",
        "_place",
        "_reduced",
        "_reduced_came",
        "_search",
        "_tail",
        "_where",
        "_words",
    )

    def __init__(self, words: WordList, place: Place) -> None:
        self._words = words
        self._place = place
        self._search = words.matches()
        self._came = 0  # characters, all told
        self._tail = ""  # the last of them, not said yet
        self._reduced_came = 0  # the same, of what they count as
        self._reduced = ""  # what the tail counts as …
        self._where: list[int] = []  # … and the position of the character that each of it comes from
        self._found: list[tuple[int, int]] = []  # words that are not said yet, from and to
        self._masked = 0  # up to here a mask was said for

    def feed(self, text: str) -> str:
        """See `Screen.feed`."""
        reduced: list[str] = []
        for position, character in enumerate(text, self._came):
            part = self._words.reduce(character)
            reduced.append(part)
            self._where += [position] * len(part)
        piece = "".join(reduced)
        self._tail += text
        self._came += len(text)
        self._reduced += piece
        self._reduced_came += len(piece)
        if piece:
            self._search.set(piece)
            self._look()
        held = self._held()
        return self._say(self._where[-held] if held else self._came)

    def finish(self) -> str:
        """See `Screen.finish`."""
        said = self._say(self._came)
        self._search, self._reduced_came = self._words.matches(), 0  # what may follow, follows something else
        return said

    def _look(self) -> None:
        begin = self._reduced_came - len(self._reduced)
        start = self._came - len(self._tail)
        for last, length in self._search:
            first = last - length + 1 - begin
            span = (self._where[first], self._where[last - begin] + 1)
            if self._words.action == "raise":
                found = self._tail[span[0] - start : span[1] - start]
                said = self._say(span[0])
                raise refusal(self._words.name, "word", found, self._place, position=span[0], text=said)
            self._found.append(span)

    def _held(self) -> int:
        """How much of what was reduced may be the beginning of a word."""
        most = min(self._words.longest - 1, len(self._reduced))
        return next((n for n in range(most, 0, -1) if self._words.is_beginning(self._reduced[-n:])), 0)

    def _say(self, end: int) -> str:
        """Everything before position ``end``, masked."""
        start = self._came - len(self._tail)
        at, said = start, []
        rest = []
        for first, stop in sorted(self._found):
            if first >= end:
                rest.append((first, stop))
                continue
            if first >= self._masked:  # else it overlaps the one before, and is covered by that one's mask
                said += [self._tail[max(at, self._masked) - start : first - start], MASK]
                self._place.note(self._words.name, "word", "mask", first)
            self._masked = max(self._masked, stop)
            at = max(at, self._masked)
        said.append(self._tail[max(at, self._masked) - start : end - start] if max(at, self._masked) < end else "")
        self._found = rest
        self._tail = self._tail[end - start :]
        gone = next((index for index, position in enumerate(self._where) if position >= end), len(self._where))
        self._where = self._where[gone:]
        self._reduced = self._reduced[gone:]
        return "".join(said)
