"""Made-up content: the same seed and request give the same answer, in the prompt's language, of a plausible length."""

from __future__ import annotations

import math
import re
import struct
import zlib
from collections.abc import Iterator, Sequence
from hashlib import blake2b
from itertools import pairwise
from random import Random

_CJK = re.compile(r"[㐀-鿿豈-﫿]")
_WORDS = re.compile(r"[㐀-鿿豈-﫿]|[A-Za-z0-9]+")

_OPENINGS = {
    "zh": (
        "关于“{topic}”,可以从以下几个方面来看。",
        "这是一个很好的问题。“{topic}”涉及的内容不少,下面简要说明。",
        "好的,我来为您解答“{topic}”。",
        "您好!针对“{topic}”,我的建议如下。",
    ),
    "en": (
        'On "{topic}", several points are worth making.',
        'Good question. "{topic}" touches more than one subject; here is a short answer.',
        'Let me help with "{topic}".',
        'Here is how I would approach "{topic}".',
    ),
}
_SENTENCES = {
    "zh": (
        "首先,需要明确目标和适用范围,避免一开始就陷入细节。",
        "其次,建议把问题拆分成几个较小的步骤,逐一解决。",
        "在实践中,数据的质量往往比方法本身更重要。",
        "另外,应当注意边界情况,例如空值、超长输入和异常格式。",
        "如果条件允许,可以先做一个小规模的试验,再决定是否推广。",
        "与此同时,保持良好的记录有助于日后复盘。",
        "需要说明的是,不同场景下的最佳做法可能并不相同。",
        "从长期来看,简单而稳定的方案通常更容易维护。",
        "常见的误区是过早优化,反而增加了复杂度。",
        "最后,请结合自身的实际情况进行调整。",
        "总的来说,循序渐进是比较稳妥的选择。",
        "如果您能提供更多背景信息,我可以给出更具体的建议。",
    ),
    "en": (
        "First, be clear about the goal and its limits before going into detail.",
        "Second, split the problem into smaller steps and solve them one at a time.",
        "In practice the quality of the data matters more than the method.",
        "Watch the edge cases as well, such as empty values, long input and odd formats.",
        "If you can, try it on a small scale before you roll it out.",
        "Keep good notes along the way; they pay for themselves later.",
        "Note that the best practice in one setting may be the wrong one in another.",
        "In the long run, simple and stable solutions are easier to maintain.",
        "A common mistake is to optimise too early and add complexity.",
        "Finally, adapt all of this to your own situation.",
        "On the whole, going step by step is the safer choice.",
        "If you share more background, I can be more specific.",
    ),
}


def seeded(seed: int, *parts: str) -> Random:
    """A source of randomness that depends on the seed and the given texts, and on nothing else."""
    digest = blake2b(digest_size=8, key=seed.to_bytes(16, "big", signed=True))
    for part in parts:
        digest.update(part.encode("utf-8", "surrogatepass") + b"\0")
    return Random(digest.digest())


def language(text: str) -> str:
    """``zh`` when the text holds any Chinese character, else ``en``."""
    return "zh" if _CJK.search(text) else "en"


def answer(prompt: str, random: Random) -> str:
    """Two to six sentences on ``prompt``."""
    tongue = language(prompt)
    topic = " ".join(prompt.split())
    topic = topic if len(topic) <= 30 else f"{topic[:30]}…"
    sentences = random.sample(range(len(_SENTENCES[tongue])), random.randint(1, 5))
    parts = [random.choice(_OPENINGS[tongue]).format(topic=topic)]
    parts += [_SENTENCES[tongue][index] for index in sorted(sentences)]
    return ("" if tongue == "zh" else " ").join(parts)


def pieces(text: str, random: Random) -> list[str]:
    """Cut a text as the service streams it: a few characters or words at a time. Joined, they are the text again."""
    tokens = re.findall(r"\s*[A-Za-z0-9']+|\s*[^A-Za-z0-9'\s]|\s+$", text)
    cut: list[str] = []
    start = 0
    while start < len(tokens):
        size = random.randint(1, 4)
        cut.append("".join(tokens[start : start + size]))
        start += size
    return cut


def embedding(text: str, dims: int) -> list[float]:
    """A vector of length 1 that is near for texts that share words: hashed words and pairs of characters.

    Feature hashing after Weinberger et al., "Feature Hashing for Large Scale Multitask Learning" (ICML 2009): the sign
    is hashed too, so that collisions cancel out on average.
    """
    vector = [0.0] * dims
    for feature in _features(text):
        hashed = int.from_bytes(blake2b(feature.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")
        vector[hashed % dims] += 1.0 if hashed >> 63 else -1.0
    norm = math.sqrt(sum(value * value for value in vector))
    if norm == 0.0:
        vector[0] = norm = 1.0
    return [round(value / norm, 8) for value in vector]


def relevance(query: str, document: str) -> float:
    """How much of the query's words and pairs of characters the document holds, from 0 to 1."""
    wanted = features(query)
    return round(len(wanted & features(document)) / len(wanted), 6) if wanted else 0.0


def features(text: str) -> frozenset[str]:
    """The words of a text, in lower case, and its pairs of neighbouring words; a Chinese character is a word."""
    return frozenset(_features(text))


def likeness(one: frozenset[str], other: frozenset[str]) -> float:
    """How much two texts have in common by their `features`, from 0 to 1: Dice's coefficient."""
    both = len(one) + len(other)
    return 2 * len(one & other) / both if both else 0.0


def _features(text: str) -> Iterator[str]:
    words = _WORDS.findall(text.lower())
    yield from words
    for first, second in pairwise(words):
        yield f"{first} {second}"


def png(width: int, height: int, random: Random) -> bytes:
    """A picture of that size, of two colours, as a valid PNG (RFC 2083) of a few hundred bytes."""
    palette = bytes(random.randrange(256) for _ in range(6))
    row_bytes = (width + 7) // 8
    light, dark = b"\0" + b"\x0f" * row_bytes, b"\0" + b"\xf0" * row_bytes  # filter type 0, then eight pixels a byte
    rows = b"".join(light if (y // 8) % 2 else dark for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 1, 3, 0, 0, 0)  # one bit a pixel, colours from the palette
    chunks: Sequence[tuple[bytes, bytes]] = (
        (b"IHDR", header),
        (b"PLTE", palette),
        (b"IDAT", zlib.compress(rows, 9)),
        (b"IEND", b""),
    )
    body = b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data)) for kind, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body
