"""What a request asks, and what is said to it, before any dialect puts it into its own shape."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from mock_server import generate
from mock_server.asking import Asked
from mock_server.faults.chunking import chunk
from mock_server.matching import Question
from mock_server.quota import Granted
from mock_server.scenario import Answer
from mock_server.settings import Settings
from mock_server.state import Account
from qfkit.protocol.dialects import Route
from qfkit.protocol.http import HttpRequest
from qfkit.protocol.messages import Json
from qfkit.protocol.tokens import estimate

#: How each dialect says that an answer ended by itself, and that it ended in a call (3.3, 4.2).
_PLAIN_FINISH = {"v1": "normal", "v2": "stop", "text_generation": "stop"}
_CALL_FINISH = {"v1": "function_call", "v2": "tool_calls", "text_generation": "function_call"}

_LIMITS = ("max_output_tokens", "max_completion_tokens", "max_tokens")

_encode = msgspec.json.encode


class Call(msgspec.Struct, frozen=True):
    """A request that was let in and found valid, on its way to an answer."""

    request: HttpRequest
    route: Route
    account: Account
    settings: Settings
    asked: Asked
    request_id: str
    uuid: str
    now: float
    admission: Granted
    question: Question | None = None

    @property
    def body(self) -> Json:
        """The JSON of the request."""
        return self.asked.body

    def base(self, kind: str) -> Json:
        """The members that open every answer."""
        return {"id": self.request_id, "object": kind, "created": int(self.now)}


class Said(msgspec.Struct, frozen=True):
    """What a chat answer says, before it is put into a dialect."""

    text: str
    pieces: tuple[str, ...]
    reasoning: str
    tool_calls: tuple[Json, ...]
    finish: str
    prompt_tokens: int
    completion_tokens: int

    def usage(self, share: float = 1.0) -> Json:
        """The usage member; ``share`` is how much of the text has been said, for cumulative counts."""
        completion = -int(-self.completion_tokens * share // 1)
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": self.prompt_tokens + completion,
        }


@dataclass(frozen=True, slots=True)
class _Wording:
    """A text, how a stream cuts it up, and its tokens."""

    text: str
    pieces: tuple[str, ...]
    tokens: int
    cut_short: bool = False


@lru_cache(maxsize=1024)
def _remembered(asked: Asked, seed: int, said: str | None, by: str | int | None) -> _Wording:
    return _worded(asked, seed, said, by)


def _worded(asked: Asked, seed: int, said: str | None, by: str | int | None) -> _Wording:
    """What is answered to ``asked``: ``said``, or something made up, which keeps to the limit that was asked for.

    By what is asked alone, not by how: who switches to a stream, or sorts the keys, gets the same answer.
    """
    model = asked.model.name if asked.model else ""
    limit = _output_limit(asked.body)
    random = generate.seeded(seed, model, *asked.texts, asked.prompt)
    text = generate.answer(asked.prompt, random) if said is None else said
    pieces = tuple(generate.pieces(text, random)) if by is None else chunk(text, by)
    if said is not None or limit is None or estimate(text) <= limit:
        return _Wording(text, pieces, estimate(text))
    pieces = tuple(_within(pieces, limit))
    text = "".join(pieces)
    return _Wording(text, pieces, estimate(text), cut_short=True)


def say(call: Call, answer: Answer) -> Said:
    """What is said to ``call``, with the tokens it takes."""
    dialect, asked = call.route.dialect, call.asked
    calls = tuple([_named_call(given, call.request_id, index) for index, given in enumerate(answer.tool_calls)])
    if answer.pieces is not None:
        text = "".join(answer.pieces)
        words = _Wording(text, answer.pieces, estimate(text))
    else:
        said = "" if answer.text is None and calls else answer.text
        word = _remembered if asked.remembered else _worded
        words = word(asked, call.settings.seed, said, answer.delivery.chunk)
    finish = _CALL_FINISH[dialect] if calls else "length" if words.cut_short else _PLAIN_FINISH[dialect]
    completion = words.tokens
    if answer.reasoning or calls:
        completion += estimate(answer.reasoning) + sum(estimate(_encode(given).decode()) for given in calls)
    return Said(
        text=words.text,
        pieces=words.pieces,
        reasoning=answer.reasoning,
        tool_calls=calls,
        finish=answer.finish_reason or finish,
        prompt_tokens=max(1, asked.tokens),
        completion_tokens=completion,
    )


def _output_limit(body: Json) -> int | None:
    given = [limit for name in _LIMITS if isinstance(limit := body.get(name), int) and limit is not True]
    return min(given) if given else None


def _within(pieces: tuple[str, ...], limit: int) -> Iterator[str]:
    said = ""
    for piece in pieces:
        said += piece
        if estimate(said) > limit:
            return
        yield piece


def _named_call(given: Json, request_id: str, index: int) -> Json:
    arguments = given.get("arguments", {})
    text = arguments if isinstance(arguments, str) else _encode(arguments).decode()
    return {"id": f"call_{request_id[3:]}{index}", "name": given["name"], "arguments": text}
