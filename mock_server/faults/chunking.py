"""How a text is cut into the pieces of a stream; joined, they are the text again."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

from mock_server.faults.options import Rule
from qfkit.protocol.tokens import HAN_TOKENS

_HAN = "\u4e00-\u9fff"


@cache
def _word() -> re.Pattern[str]:
    # A word keeps the space before it, as tokenizers have it; a Chinese character is a word of its own and keeps the
    # punctuation after it.
    return re.compile(rf"\s*(?:[{_HAN}][^\w\s]*|[^\s{_HAN}]+)|\s+\Z")


@cache
def _run() -> re.Pattern[str]:
    return re.compile(rf"\W*(?:(?P<han>[{_HAN}]+)|[^\W{_HAN}]+)")


def characters(text: str) -> Iterator[str]:
    """Each code point."""
    return iter(text)


def words(text: str) -> Iterator[str]:
    """Each word with the space before it; each Chinese character with the punctuation after it."""
    return (found[0] for found in _word().finditer(text))


def tokens(text: str) -> Iterator[str]:
    """About as many pieces as `usage.completion_tokens` counts: a word is one, eight Chinese characters are five."""
    held, end = "", 0
    for found in _run().finditer(text):
        end = found.end()
        start = found.start("han") if found["han"] else end
        lead = text[found.start() : start]
        whole = [done for done in range(1, end - start) if int(done * HAN_TOKENS) > int((done - 1) * HAN_TOKENS)]
        cuts = [start, *(start + done for done in whole)]
        for first, last in zip(cuts, [*cuts[1:], end], strict=True):
            if held:
                yield held
            held, lead = lead + text[first:last], ""
    if rest := held + text[end:]:
        yield rest


CHUNKINGS: dict[str, Callable[[str], Iterator[str]]] = {"character": characters, "token": tokens, "word": words}


def chunk(text: str, by: str | int) -> tuple[str, ...]:
    """A text cut up.

    Args:
        text: any text; the empty one has no pieces.
        by: ``character``, ``token``, ``word``, or a number of characters, from 1.
    """
    if isinstance(by, int):
        return tuple(text[start : start + by] for start in range(0, len(text), by))
    return tuple(CHUNKINGS[by](text))


def chunking() -> Rule:
    """The values of ``by``, or None."""

    def convert(value: Any) -> str | int | None:
        if value is None or value in CHUNKINGS:
            return value  # type: ignore[no-any-return]
        if type(value) is not int:
            raise TypeError
        if value < 1:
            raise ValueError
        return value

    schema = {"anyOf": [{"enum": [*CHUNKINGS, None]}, {"type": "integer", "minimum": 1}]}
    return Rule("one of " + ", ".join(map(repr, CHUNKINGS)) + ", a number of characters, or None", convert, schema)
