"""Echo, sequence, corpus, and Python callable."""

from __future__ import annotations

import inspect
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, cast

import msgspec

from mock_server import generate
from mock_server.answers.source import Source, SourceError, Spoken
from mock_server.faults.options import OptionError

if TYPE_CHECKING:
    from mock_server.matching.question import Question

Answerer: TypeAlias = "Callable[[Question], str | Iterable[str] | Mapping[str, Any]]"
"""Returns a text, pieces of a stream, or both with options: ``{"text": ..., "finish_reason": ...}``."""

#: More pieces than an answer can have: a generator that never ends is told from a long one.
_MOST_PIECES = 100_000


@dataclass(frozen=True, slots=True)
class Echo(Source):
    """Says what the user asked last."""

    prefix: str = ""

    def speak(self, question: Question, turn: int) -> Spoken:  # noqa: ARG002 - what every source is given
        """See `Source.speak`."""
        return Spoken(text=self.prefix + question.text)

    def describe(self) -> str:
        """A few words for the journal."""
        return f"echo after {self.prefix!r}" if self.prefix else "echo"


@dataclass(frozen=True, slots=True)
class Sequence(Source):
    """The nth request gets the nth text; after the last comes the first again, or the last stays."""

    texts: tuple[str, ...]
    cycle: bool = False

    def __post_init__(self) -> None:
        if not self.texts:
            raise OptionError("sequence", "sequence is a list of texts, one or more; got none")

    @classmethod
    def of(cls, texts: object, *, cycle: bool = False) -> Sequence:
        """A sequence of these texts.

        Raises:
            OptionError: they are no list of texts.
        """
        if not _texts(texts):
            raise OptionError("sequence", f"sequence is a list of texts, one or more; got {texts!r}")
        return cls(tuple(cast("Iterable[str]", texts)), cycle)

    def speak(self, question: Question, turn: int) -> Spoken:  # noqa: ARG002 - as above
        """See `Source.speak`."""
        count = len(self.texts)
        return Spoken(text=self.texts[turn % count if self.cycle else min(turn, count - 1)])

    def describe(self) -> str:
        """A few words for the journal."""
        return f"sequence of {len(self.texts)}"


ORDERS = ("in turn", "random")


@dataclass(frozen=True, slots=True)
class Corpus(Source):
    """Answers from a file: in turn, at random, or the one whose prompt is nearest to the question.

    Attributes:
        name: of the file.
        answers: one or more.
        prompts: words of the prompt that each answer belongs to; empty where the file has no prompts.
        order: one of `ORDERS`.
    """

    name: str
    answers: tuple[str, ...]
    prompts: tuple[frozenset[str], ...] = ()
    order: str = "in turn"

    @classmethod
    def read(cls, path: str | Path, order: str = "in turn") -> Corpus:
        """A file of lines, each an answer; or of JSON objects, each ``{"prompt": ..., "answer": ...}``.

        Raises:
            OptionError: the file cannot be read, holds no answer, or mixes the two; the message names the line.
        """
        if order not in ORDERS:
            raise OptionError("order", f"order is one of {', '.join(map(repr, ORDERS))}; got {order!r}")
        lines = [
            (number, line) for number, line in enumerate(read_text(path, "corpus").splitlines(), 1) if line.strip()
        ]
        if not lines:
            raise OptionError("corpus", f"{path}: there is no answer in this file: write one a line")
        if not all(line.lstrip().startswith("{") for _, line in lines):
            if Path(path).suffix in {".jsonl", ".ndjson"}:
                number = next(number for number, line in lines if not line.lstrip().startswith("{"))
                raise OptionError("corpus", f'{path}:{number}: not {{"prompt": ..., "answer": ...}}')
            return cls(str(path), tuple([line.strip() for _, line in lines]), order=order)
        pairs = [_pair(path, number, line) for number, line in lines]
        return cls(
            str(path),
            tuple([answer for _, answer in pairs]),
            tuple([generate.features(prompt) for prompt, _ in pairs]),
            order,
        )

    def speak(self, question: Question, turn: int) -> Spoken:
        """See `Source.speak`."""
        notes: tuple[str, ...] = ()
        if self.prompts:
            asked = generate.features(question.text)
            nearness = [generate.likeness(asked, prompt) for prompt in self.prompts]
            best = max(nearness)
            if best > 0:
                return Spoken(text=self.answers[nearness.index(best)])
            notes = (f"no prompt of {self.name} shares a word with the question: answered {self.order}",)
        count = len(self.answers)
        if self.order == "random":
            place = generate.seeded(question.seed, "corpus", self.name, str(turn)).randrange(count)
        else:
            place = turn % count
        return Spoken(text=self.answers[place], notes=notes)

    def describe(self) -> str:
        """A few words for the journal."""
        return f"corpus {Path(self.name).name}"


def _pair(path: str | Path, number: int, line: str) -> tuple[str, str]:
    try:
        pair = msgspec.json.decode(line)
    except msgspec.DecodeError as error:
        raise OptionError("corpus", f"{path}:{number}: not JSON: {error}") from error
    if not (isinstance(pair.get("prompt"), str) and isinstance(pair.get("answer"), str)):
        raise OptionError("corpus", f'{path}:{number}: not {{"prompt": ..., "answer": ...}}; got {line[:80]!r}')
    return pair["prompt"], pair["answer"]


def read_text(path: str | Path, option: str) -> str:
    """A file's text.

    Raises:
        OptionError: it cannot be read.
    """
    try:
        return Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise OptionError(option, f"{path}: cannot be read from {Path.cwd()}: {error}") from error


@dataclass(frozen=True, slots=True)
class Computed(Source):
    """Whatever a Python callable returns."""

    answerer: Answerer

    @property
    def blocking(self) -> bool:
        """Always: nobody knows what it does."""
        return True

    def __post_init__(self) -> None:
        if inspect.iscoroutinefunction(self.answerer):
            raise TypeError(f"{self._name} is a coroutine function: give a plain one, it runs in a thread of its own")
        try:
            inspect.signature(self.answerer).bind(None)
        except ValueError:
            return  # a built-in that does not say what it takes
        except TypeError as error:
            raise TypeError(f"{self._name} has to take one argument, the question: {error}") from error

    @property
    def _name(self) -> str:
        name = getattr(self.answerer, "__qualname__", type(self.answerer).__qualname__)
        code = self._code
        return f"{name} ({code.co_filename}:{code.co_firstlineno})" if code else name

    @property
    def _code(self) -> Any:
        called = inspect.unwrap(self.answerer)
        return getattr(called, "__code__", None) or getattr(type(called).__call__, "__code__", None)

    def speak(self, question: Question, turn: int) -> Spoken:  # noqa: ARG002 - as above
        """See `Source.speak`."""
        try:
            said = self.answerer(question)
            if not isinstance(said, (str, bytes, Mapping)) and isinstance(said, Iterable):
                said = tuple(islice(said, _MOST_PIECES + 1))  # may be a generator, and raise here
        except Exception as error:
            raise SourceError(f"{self._name} raised {type(error).__name__}: {error}{self._at(error)}") from error
        if isinstance(said, str):
            return Spoken(text=said)
        if isinstance(said, tuple) and said and all(isinstance(piece, str) for piece in said):
            if len(said) > _MOST_PIECES:
                raise SourceError(f"{self._name} returned over {_MOST_PIECES} pieces: does it ever end?")
            return Spoken(pieces=said)
        if isinstance(said, Mapping) and all(isinstance(name, str) for name in said):
            options = {name: value for name, value in said.items() if name not in {"text", "pieces"}}
            text, pieces = said.get("text"), said.get("pieces")
            if (text is None or isinstance(text, str)) and (pieces is None or _texts(pieces)):
                return Spoken(text=text, pieces=None if pieces is None else tuple(pieces), options=options)
        raise SourceError(
            f"{self._name} returned {_short(said)}: it returns a text, a list of texts or a generator of them (the "
            "pieces of a stream), or {'text': ..., 'finish_reason': ...} with any option of reply()"
        )

    def _at(self, error: Exception) -> str:
        """Where in the callable's own file it was raised, unless that goes without saying."""
        code = self._code
        if code is None:
            return ""
        own = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == code.co_filename]
        return f" (line {own[-1].lineno}: {own[-1].line})" if own else ""

    def describe(self) -> str:
        """A few words for the journal."""
        return f"call {self._name}"


def _texts(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(each, str) for each in value)


def _short(value: object, limit: int = 60) -> str:
    shown = repr(value)
    return shown if len(shown) <= limit else f"{shown[:limit]}…"
