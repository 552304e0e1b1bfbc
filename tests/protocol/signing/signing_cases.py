"""Seeded requests for the tests of causes, and the tool that breaks other people's signers."""

from __future__ import annotations

import json
import random
import string
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, quote_plus

from qfkit.protocol.http import HttpRequest
from qfkit.protocol.signing import ALL_FORMS, HmacForm, Verification, explain

NOW = 1_714_550_400
WORDS = [
    "你好",
    "今天天气如何？",
    "写一首诗",
    "ernie",
    "a b",
    'say "hi"',
    "C:\\temp",
    "x/y",
    "1<2 & 3>2",
    "第一行\n第二行",
]
ODD = string.ascii_letters + string.digits + " +/%&=?#;:,!'()*~-._@[]{}\"\\你好测试"
HOSTS = ["127.0.0.1:18991", "localhost:8866", "mock.internal:8080", "qianfan.test", "10.0.0.7:80"]
CHAT = "/rpc/2.0/ai_custom/v1/text_generation/chat_completions"
V1_CHAT = "/rpc/2.0/ai_custom/v1/wenxinworkshop/chat/completions_pro"


@dataclass(frozen=True)
class Case:
    """A request with one mistake in it, and what the explanation must not tell.

    Attributes:
        known: the secret that the server has for the access key; None where it has no such key.
        hidden: the secret, and every signature that would be accepted for this request, in hex and in base64.
        judge: how the server comes to its verdict, where that is not ``explain`` alone.
    """

    request: HttpRequest
    known: str | None
    hidden: tuple[str, ...]
    now: float = NOW
    forms: tuple[HmacForm, ...] = ALL_FORMS
    judge: Callable[[Case], Verification] | None = field(default=None, repr=False)

    def verdict(self) -> Verification:
        if self.judge is not None:
            return self.judge(self)
        return explain(self.request, self.known, now=self.now, forms=self.forms)


#: From a random generator to a case; None where the request drawn gives no occasion for the mistake.
Maker = Callable[[random.Random], "Case | None"]


def cases(scheme: str, cause: str, maker: Maker, number: int) -> list[Case]:
    """``number`` cases of one cause, the same in every run."""
    rng = random.Random(f"{scheme}/{cause}")
    found: list[Case] = []
    for _ in range(number * 50):
        case = maker(rng)
        if case is not None:
            found.append(case)
            if len(found) == number:
                return found
    raise AssertionError(f"{scheme} {cause}: {len(found)} cases in {number * 50} draws")


def mutated(source: str, changes: tuple[tuple[str, str], ...], namespace: dict[str, Any]) -> dict[str, Any]:
    """What ``source`` defines once each text has been changed; a text that is not there is a mistake of the test."""
    for old, new in changes:
        assert old in source, f"the signer has no {old!r}"
        source = source.replace(old, new, 1)
    exec(compile(source, "mutated signer", "exec"), namespace)
    return namespace


def key_pair(rng: random.Random) -> tuple[str, str]:
    alphabet = rng.choice(["0123456789abcdef", string.ascii_letters + string.digits])
    secret = "".join(rng.choices(alphabet, k=32))
    return "ALTAK" + "".join(rng.choices(string.ascii_letters + string.digits, k=19)), secret


def words(rng: random.Random, alphabet: str = ODD, most: int = 8) -> str:
    return "".join(rng.choices(alphabet, k=rng.randint(1, most)))


def payload(rng: random.Random) -> dict[str, Any]:
    """A chat request: Chinese, escapes, numbers of each kind, nesting. Keys in an order that sorting changes."""
    messages = [
        {"role": role, "content": rng.choice(WORDS) + words(rng, '你好 世界"\\/<&é😀\t', 4)}
        for role in rng.choices(["user", "assistant"], k=rng.randint(1, 3))
    ]
    value: dict[str, Any] = {"messages": messages, "temperature": rng.choice([0.7, 0.95, 1.0, 0.1])}
    if rng.random() < 0.5:
        value["max_tokens"] = rng.randint(2, 2048)
    if rng.random() < 0.4:
        value["functions"] = [{"name": "f", "parameters": {"type": "object", "properties": {"城市": {"a": [1, None]}}}}]
    value["a"] = rng.choice([True, None, {"z": [], "b": {}}])
    return value


def spelt(value: Any, rng: random.Random, **changes: Any) -> str:
    """JSON as one encoder or another writes it."""
    options = {
        "separators": rng.choice([(", ", ": "), (",", ":")]),
        "ensure_ascii": rng.random() < 0.5,
        "sort_keys": False,
    }
    return json.dumps(value, **(options | changes))


def params(rng: random.Random, least: int = 0, most: int = 4) -> dict[str, str]:
    """A query, decoded. ``authorization`` is left out: whether that key is signed is another question."""
    number = rng.randint(least, most)
    made = {words(rng, most=6): words(rng) for _ in range(number * 2)}
    return {key: value for key, value in list(made.items())[:number] if key.lower() != "authorization"}


def written(query: dict[str, str], rng: random.Random) -> str:
    encode = rng.choice([lambda text: quote(text, safe=""), quote, quote_plus])
    return "&".join(f"{encode(key)}={encode(value)}" for key, value in query.items())


def path(rng: random.Random, usual: str) -> str:
    """The usual endpoint, or one with segments that had to be escaped."""
    if rng.random() < 0.5:
        return usual
    return "/v1/" + "/".join(quote(words(rng, "ab测试 +%", 5), safe="") for _ in range(rng.randint(1, 3)))
