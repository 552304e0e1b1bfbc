"""Short questions merged into one request, and the answers told apart again (tutorial, 7.2).

The questions are numbered, and the model is asked to put each answer between two marks that carry its number and a word
that stands in none of the questions. An answer counts only if its two marks are there exactly once, in order, with no
other mark between them. Whatever else comes, the questions that are left without an answer are asked by themselves: a
merged request is a saving, and never a guess.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from itertools import pairwise

from qfkit.client.batch import Batch
from qfkit.client.exceptions import BadRequestError, ConfigurationError, InputRefused, QianfanError, UnsafeContent
from qfkit.client.history import HistoryLimits
from qfkit.client.replies import Reply
from qfkit.protocol.dialects import MAX_REQUEST_BYTES
from qfkit.protocol.tokens import estimate

#: Questions that share a request at most, unless told otherwise: long answers leave no room for more.
MOST = 10

#: Characters of a question that is still short. Longer ones are asked by themselves.
SHORT = 500

#: Bytes and tokens kept free for instructions, parameters and the JSON around them.
_MARGIN_BYTES, _MARGIN_TOKENS = 2048, 256

#: Failures of a merged request that one of its questions may be to blame for: each is asked by itself then.
_ONE_TO_BLAME = (BadRequestError, InputRefused, UnsafeContent)

_ASKED = """\
下面有{count}个互不相关的问题。请逐一独立回答, 每个答案写在同编号的一对标记之间, 标记原样照抄, 标记之外不要写任何内容。
Answer each question by itself, between the two marks that carry its number. Copy the marks as they are.

{questions}

回答格式 (answer like this):
{form}"""


@dataclass(frozen=True, slots=True)
class Merged:
    """One question and what became of it.

    Attributes:
        question: as it was asked.
        answer: its `Reply`, or the `QianfanError` that it failed with. A reply that was told apart from others has its
            own ``text``; ``usage``, ``raw`` and the rest are of the request that they shared.
        together: how many questions shared the request; 1 for one that was asked by itself.
    """

    question: str
    answer: Reply | QianfanError
    together: int = 1

    @property
    def text(self) -> str:
        """The answer's text.

        Raises:
            QianfanError: what the question failed with.
        """
        if isinstance(self.answer, QianfanError):
            raise self.answer
        return self.answer.text


class Merger:
    """Asks many short questions in few requests.

    Args:
        ask: asks one prompt and returns its reply.
        limits: of one request.
        most: questions that share a request, 1 to 100.
        max_workers: requests at once.

    Raises:
        ConfigurationError: a number is out of its range.
    """

    def __init__(self, ask: Callable[[str], Reply], limits: HistoryLimits, *, most: int, max_workers: int) -> None:
        if type(most) is not int or not 1 <= most <= 100:
            raise ConfigurationError(f"most is how many questions share a request, 1 to 100; got {most!r}")
        self._ask = ask
        self._limits = limits
        self._most = most
        self._max_workers = max_workers

    def run(self, questions: Sequence[str]) -> list[Merged]:
        """Every question with its answer, in order.

        Raises:
            ConfigurationError: a question is no text.
        """
        if isinstance(questions, str) or not all(isinstance(question, str) for question in questions):
            raise ConfigurationError(
                "merge() takes a list of texts, one a question; ask whole conversations with map()"
            )
        groups = list(self._groups(questions))
        found: dict[int, Merged] = {}
        with Batch(
            lambda group: self._ask_together([questions[index] for index in group]), groups, self._max_workers
        ) as batch:
            for group, outcome in zip(groups, batch, strict=True):
                if isinstance(outcome, QianfanError):
                    # Together they failed for a reason that is not one question's: asking each would make it worse.
                    found |= {index: Merged(questions[index], outcome, len(group)) for index in group}
                else:
                    found |= {group[place]: merged for place, merged in outcome.items()}
        alone = [index for index in range(len(questions)) if index not in found]
        with Batch(lambda index: self._ask(questions[index]), alone, self._max_workers) as batch:
            found |= {index: Merged(questions[index], answer) for index, answer in zip(alone, batch, strict=True)}
        return [found[index] for index in range(len(questions))]

    def _groups(self, questions: Sequence[str]) -> Iterator[list[int]]:
        """Which questions go together; those that are in no group go alone."""
        limits = self._limits
        most_bytes = min(limits.body_bytes or MAX_REQUEST_BYTES, MAX_REQUEST_BYTES) - _MARGIN_BYTES
        most_chars = min(limits.chars or most_bytes, limits.message_chars or most_bytes) - len(_ASKED)
        most_tokens = (limits.tokens or 10**9) - _MARGIN_TOKENS
        group: list[int] = []
        used = _Room()
        for index, question in enumerate(questions):
            if len(question) > SHORT:
                continue
            needed = _Room.of(question)
            after = used + needed
            full = after.bytes > most_bytes or after.chars > most_chars or after.tokens > most_tokens
            if group and (full or len(group) == self._most):
                yield from _worthwhile(group)
                group, used = [], _Room()
            group.append(index)
            used += needed
        yield from _worthwhile(group)

    def _ask_together(self, questions: list[str]) -> dict[int, Merged]:
        """The answers that are certain, by the place of their question."""
        word = marker(questions)
        try:
            reply = self._ask(merged_prompt(questions, word))
        except _ONE_TO_BLAME:
            return {}
        texts = split(reply.text, len(questions), word)
        return {
            place: Merged(questions[place], replace(reply, text=text), len(questions)) for place, text in texts.items()
        }


@dataclass(frozen=True, slots=True)
class _Room:
    """What a question takes of a request, its marks and escapes included."""

    chars: int = 0
    tokens: int = 0
    bytes: int = 0

    @classmethod
    def of(cls, question: str) -> _Room:
        # A character takes six bytes of JSON at most, where it is escaped; two marks stand around question and answer.
        return cls(len(question) + 120, estimate(question) + 60, 6 * len(question) + 240)

    def __add__(self, other: _Room) -> _Room:
        return _Room(self.chars + other.chars, self.tokens + other.tokens, self.bytes + other.bytes)


def _worthwhile(group: list[int]) -> Iterator[list[int]]:
    if len(group) > 1:
        yield group


def marker(questions: Sequence[str]) -> str:
    """A word that stands in none of the questions; the same for the same ones, so that a cache finds them again."""
    seed = "\0".join(questions).encode("utf-8", "surrogatepass")
    while True:
        seed = blake2b(seed, digest_size=4).digest()
        word = seed.hex()
        if not any(word in question for question in questions):
            return word


def merged_prompt(questions: Sequence[str], word: str) -> str:
    """The one prompt that asks them all."""
    asked = "\n".join(f"[Q{number}-{word}] {question}" for number, question in enumerate(questions, 1))
    form = "\n".join(f"[A{number}-{word}]…[/A{number}-{word}]" for number in (1, 2))
    return _ASKED.format(count=len(questions), questions=asked, form=form)


def split(text: str, count: int, word: str) -> dict[int, str]:
    """The answers that can be told apart with certainty, by the place of their question, from 0."""
    marks = list(re.finditer(rf"\[(/?)A(\d{{1,3}})-{word}\]", text))
    seen = [(mark[1], int(mark[2])) for mark in marks]
    found = {}
    for opening, closing in pairwise(marks):
        number = int(opening[2])
        if opening[1] or not closing[1] or int(closing[2]) != number or not 1 <= number <= count:
            continue
        if seen.count(("", number)) == seen.count(("/", number)) == 1:
            found[number - 1] = text[opening.end() : closing.start()].strip()
    return {place: answer for place, answer in found.items() if answer}
