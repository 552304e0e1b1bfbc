"""Texts that break clients: characters of one to four bytes, line ends, quotes, separators that only look alike."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

#: Each has broken somebody's client: characters of two, three and four bytes and of several code points, line ends that
#: are none in an event stream, what JSON escapes, what looks like an event stream or its end.
TRICKY = (
    *("你好", "é", "😀", "👩‍👩‍👧", "ﬁ", "\u2028", "\u2029", "\x85", "\x0b", "\x1c", "\ufeff", "\0", "\x7f"),
    *("\n", "\r\n", "\r", "\n\n", "\t", " ", '"', "\\", "\\u4f60", "{", "}", "null"),
    *("data: ", "data: [DONE]", "[DONE]", ": ", "event: error", "<b>", "%00", "，", "。"),
)


def texts(*, min_size: int = 1, max_size: int = 40, blank: bool = False) -> SearchStrategy[str]:
    """Texts that JSON can carry: no lone surrogates. Shrinks to ``"0"``, or to ``""`` where that may be.

    Args:
        min_size: fewest characters, from 0.
        max_size: most characters.
        blank: texts of nothing but white space may come, which the service refuses as content.
    """
    plain = st.text(st.characters(exclude_categories=["Cs"]), min_size=min_size, max_size=max_size)
    parts = st.lists(st.sampled_from(TRICKY), min_size=1, max_size=6).map("".join)
    fitting = parts.filter(lambda text: min_size <= len(text) <= max_size) if max_size >= 2 else plain
    both = plain | fitting
    return both if blank else both.filter(lambda text: text == text.strip() or bool(text.strip()))
