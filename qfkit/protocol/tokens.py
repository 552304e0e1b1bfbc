"""Token estimate without a tokenizer: the official SDK's own formula for its local limiter (wire reference 3.8).

A CJK character weighs 0.625 tokens, a word weighs 1. A word is a longest run of characters that are neither CJK nor
punctuation nor space; "punctuation" and "space" are the SDK's. The real service counts otherwise: good for `usage`
numbers that grow with the text and for token quotas, not for a bill.
"""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Iterable, Mapping

HAN_TOKENS = 0.625
WORD_TOKENS = 1

#: First and last code point of what weighs as a Chinese character. One range, since the SDK has one: it takes a run of
#: extension-A characters, kana or hangul for one word, and an estimate that differs from the SDK's helps nobody.
CJK_RANGES = ((0x4E00, 0x9FFF),)  # [sdk] tokenizer.py, _is_cjk_character

#: First and last code point of what separates words besides the Unicode categories P* and Zs: the ASCII symbols.
SEPARATOR_RANGES = ((33, 47), (58, 64), (91, 96), (123, 126))  # [sdk] tokenizer.py, _is_punctuation
SEPARATORS = frozenset("\t\n\r ")  # [sdk] tokenizer.py, _is_space; other control characters belong to words

_HAN, _SEPARATOR, _WORD = "\n", " ", "w"


class _Shape(dict[int, str]):
    """Code point -> `_HAN`, `_SEPARATOR` or `_WORD`, for `str.translate`; filled as characters turn up."""

    _CAPACITY = 1 << 16  # plenty for any language; keeps a fuzzer from filling memory with all of Unicode

    def __missing__(self, code: int) -> str:
        shape = _shape(code)
        if len(self) < self._CAPACITY:
            self[code] = shape
        return shape


def _shape(code: int) -> str:
    if _within(code, CJK_RANGES):
        return _HAN
    category = unicodedata.category(chr(code))
    if chr(code) in SEPARATORS or _within(code, SEPARATOR_RANGES) or category == "Zs" or category.startswith("P"):
        return _SEPARATOR
    return _WORD


def _within(code: int, ranges: tuple[tuple[int, int], ...]) -> bool:
    return any(first <= code <= last for first, last in ranges)


_SHAPES = _Shape()


def estimate(text: str) -> int:
    """Tokens in ``text``, estimated: rounded up, at least 1 for text that is not empty, 0 for empty text.

    The SDK's ``Tokenizer.count_tokens(text)`` is the same sum rounded down.
    """
    if not text:
        return 0
    shape = text.translate(_SHAPES)
    # Han became white space too, so that split() yields the words and nothing else.
    exact = shape.count(_HAN) * HAN_TOKENS + len(shape.split()) * WORD_TOKENS
    return max(1, math.ceil(exact))


def estimate_messages(messages: Iterable[Mapping[str, object]]) -> int:
    """Tokens in the contents of a v1 or v2 message list: the sum of `estimate` over every text in it.

    ``content`` may be a string, a list of parts of which those with a string ``text`` count (v2), or missing or
    ``None`` (function and tool calls). Roles, names, calls and pictures weigh nothing, as in the SDK's limiter.
    """
    return sum(estimate(text) for message in messages for text in _texts(message.get("content")))


def _texts(content: object) -> Iterable[str]:
    if isinstance(content, str):
        return (content,)
    parts = content if isinstance(content, list) else ()
    return [part["text"] for part in parts if isinstance(part, Mapping) and isinstance(part.get("text"), str)]
