"""What is asked: built-in texts in two languages and three lengths, files, and texts made to a length. Pure.

Every choice is drawn from a `random.Random` of the user that asks, so that a seed repeats a run. A prompt carries the
name of the set that it comes from; reports hold the name, never the text.
"""

from __future__ import annotations

import functools
import re
from importlib.resources import files
from itertools import accumulate
from pathlib import Path
from random import Random
from statistics import fmean
from typing import NamedTuple, Protocol

import msgspec

from loadtests.planning.plan import Traffic
from loadtests.planning.spelling import PlanError, weights
from qfkit.protocol.tokens import estimate

#: Characters, roughly, of a built-in prompt: a question; a paragraph to work on; a page.
LENGTHS = ("short", "medium", "long")
LANGUAGES = ("zh", "en")

_RANGE = re.compile(r"(\d+)(?:-(\d+))?")


class Prompt(NamedTuple):
    """A text to send, and the name of the set that it comes from."""

    text: str
    name: str


class Prompts(Protocol):
    """Where prompts come from."""

    def draw(self, random: Random) -> Prompt:
        """The next one."""
        ...


class Chosen:
    """Prompts drawn among given ones, each with a weight."""

    def __init__(self, prompts: list[Prompt], weighed: list[float] | None = None) -> None:
        self._prompts = prompts
        self._sums = None if weighed is None else list(accumulate(weighed))

    def __len__(self) -> int:
        return len(self._prompts)

    def draw(self, random: Random) -> Prompt:
        """One of them."""
        if self._sums is None:
            return random.choice(self._prompts)
        return random.choices(self._prompts, cum_weights=self._sums)[0]


class Generated:
    """Prompts made to a length in tokens, as the estimate counts them, each one different.

    Words of the built-in texts in random order: no cache of a server, for prefixes or whole answers, meets them twice.
    """

    def __init__(self, least: int, most: int, language: str) -> None:
        self._least, self._most = least, most
        self._words = [words for each in _languages(language) for words in _vocabulary(each)]
        self._name = f"{least}-{most} tokens" if most > least else f"{least} tokens"

    def draw(self, random: Random) -> Prompt:
        """A new one."""
        wanted = random.randint(self._least, self._most)
        words: list[str] = []
        have = 0.0
        while have < wanted:
            word, weight = random.choice(self._words)
            words.append(word)
            have += weight
        return Prompt(" ".join(words), self._name)


def prompts_of(traffic: Traffic) -> Prompts:
    """The prompts that a plan asks for, never none.

    Raises:
        PlanError: the file cannot be read or holds none, or two sources are asked for at once.
    """
    given = [name for name in ("prompt", "prompts", "prompt_tokens") if getattr(traffic, name) is not None]
    if len(given) > 1 or (given and traffic.lengths is not None and given != ["prompt_tokens"]):
        flags = [f"--{name.replace('_', '-')}" for name in (*given, *(["lengths"] if traffic.lengths else []))]
        raise PlanError(f"{' and '.join(flags)} exclude each other: prompts come from one place")
    if traffic.prompt is not None:
        if not traffic.prompt.strip():
            raise PlanError("--prompt is empty: give a text, or leave it out for the built-in prompts")
        return Chosen([Prompt(traffic.prompt, "--prompt")])
    if traffic.prompts is not None:
        return Chosen(_read(traffic.prompts))
    if traffic.prompt_tokens is not None:
        return Generated(*_tokens(traffic.prompt_tokens), traffic.language)
    lengths = weights("--lengths", traffic.lengths or "short", LENGTHS)
    return _built_in(traffic.language, lengths)


def _built_in(language: str, lengths: dict[str, float]) -> Chosen:
    prompts: list[Prompt] = []
    weighed: list[float] = []
    for length, weight in lengths.items():
        texts = [(each, text) for each in _languages(language) for text in built_in(each, length)]
        prompts += [Prompt(text, f"{each}-{length}") for each, text in texts]
        weighed += [weight / len(texts)] * len(texts)
    return Chosen(prompts, weighed if len(lengths) > 1 else None)


def _languages(language: str) -> tuple[str, ...]:
    return LANGUAGES if language == "both" else (language,)


@functools.cache
def built_in(language: str, length: str) -> tuple[str, ...]:
    """The built-in texts of a language (``zh``, ``en``) and a length (``short``, ``medium``, ``long``)."""
    text = files(__package__).joinpath(f"{language}-{length}.txt").read_text("utf-8")
    return tuple(
        " ".join(part.split()) if language == "en" else part.replace("\n", "")
        for part in text.split("\n\n")
        if part.strip()
    )


@functools.cache
def _vocabulary(language: str) -> tuple[tuple[str, float], ...]:
    pieces = re.findall(r"[一-鿿]{2}|[A-Za-z]+", " ".join(built_in(language, "long")))
    return tuple((piece, 0.625 * len(piece) if language == "zh" else 1.0) for piece in sorted(set(pieces)))


def _tokens(text: str) -> tuple[int, int]:
    found = _RANGE.fullmatch(text.strip())
    least, most = (int(part or found[1]) for part in found.groups()) if found else (0, 0)
    if not 1 <= least <= most:
        raise PlanError(f"--prompt-tokens {text!r}: write a number of tokens, 200, or a range, 100-500")
    return least, most


def _read(path: str) -> list[Prompt]:
    file = Path(path)
    try:
        lines = file.read_text("utf-8-sig").splitlines()
    except UnicodeDecodeError as error:
        raise PlanError(f"{path} is not UTF-8 (byte {error.start}): save it as UTF-8") from error
    except OSError as error:
        raise PlanError(f"{path} cannot be read: {error.strerror or error}") from error
    read = _from_json if file.suffix.lower() in {".jsonl", ".ndjson"} else _from_text
    prompts = [read(line, f"{path}, line {number}", file.name) for number, line in enumerate(lines, 1) if line.strip()]
    if not prompts:
        raise PlanError(f"{path} holds no prompt: write one a line")
    return prompts


def _from_text(line: str, _where: str, name: str) -> Prompt:
    return Prompt(line.strip(), name)


class _Line(msgspec.Struct):
    prompt: str
    name: str | None = None


def _from_json(line: str, where: str, name: str) -> Prompt:
    try:
        found = msgspec.json.decode(line, type=_Line | str)
    except msgspec.DecodeError as error:
        raise PlanError(f'{where}: a line is a JSON string, or {{"prompt": "...", "name": "..."}} ({error})') from error
    prompt = Prompt(found, name) if isinstance(found, str) else Prompt(found.prompt, found.name or name)
    if not prompt.text.strip():
        raise PlanError(f"{where}: the prompt is empty")
    return prompt


def tokens_of(text: str) -> int:
    """About how many tokens a text has, where the service does not say."""
    return estimate(text)


#: Prompts that are looked at to say how long they are.
_LOOKED_AT = 200

#: By how much an estimate of tokens may fall short of the service's count.
_SHORT = 2.0


def _lengths(prompts: Prompts) -> list[int]:
    random = Random("lengths")
    return [tokens_of(prompts.draw(random).text) for _ in range(_LOOKED_AT)]


def mean_prompt(prompts: Prompts) -> float:
    """Tokens of a prompt on average, estimated."""
    return fmean(_lengths(prompts))


def longest_prompt(prompts: Prompts) -> float:
    """Tokens of a prompt at most: the longest of some, estimated, and as much again for what the estimate lacks."""
    return _SHORT * max(_lengths(prompts))
