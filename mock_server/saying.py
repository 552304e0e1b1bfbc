"""What a request asks, and what is said to it, before any dialect puts it into its own shape."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import msgspec

from mock_server import generate
from mock_server.answers.beside import Beside
from mock_server.answers.source import Source, SourceError
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
    """What a chat answer says, before it is put into a dialect.

    Attributes:
        truncated: it was cut by its length.
        fresh: it was made for this one question, so nothing of it need be remembered.
        notes: what was asked for and could not be met, in words.
    """

    text: str
    pieces: tuple[str, ...]
    beside: Beside
    tool_calls: tuple[Json, ...]
    finish: str
    truncated: bool
    prompt_tokens: int
    completion_tokens: int
    fresh: bool = False
    notes: tuple[str, ...] = ()

    @property
    def reasoning(self) -> str:
        """Thoughts of a reasoning model."""
        return self.beside.reasoning

    def usage(self, share: float = 1.0) -> Json:
        """The usage member; ``share`` is how much of the text has been said, for cumulative counts."""
        completion = -int(-self.completion_tokens * share // 1)
        usage: Json = {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": completion,
            "total_tokens": self.prompt_tokens + completion,
        }
        if (given := self.beside.usage) is not None:
            usage |= {name: value for name, value in given.items() if share >= 1.0 or name != "total_tokens"}
            usage["completion_tokens"] = -int(-usage["completion_tokens"] * share // 1)
            if "total_tokens" not in given or share < 1.0:
                usage["total_tokens"] = usage["prompt_tokens"] + usage["completion_tokens"]
        return usage


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
    """What is said to ``call``, with the tokens it takes.

    Raises:
        SourceError: the answer's source could say nothing, or something that no answer can have.
    """
    dialect, asked, beside = call.route.dialect, call.asked, answer.beside
    text, pieces = answer.text, answer.pieces
    notes: tuple[str, ...] = ()
    if answer.source is not None:
        assert call.question is not None
        spoken = answer.source.speak(call.question, answer.turn)
        text, pieces, notes = spoken.text, spoken.pieces, spoken.notes
        if spoken.options:
            beside = _with(beside, spoken.options, answer.source)
    calls = tuple([_named_call(given, call.request_id, index) for index, given in enumerate(beside.tool_calls)])
    if pieces is not None:
        whole = "".join(pieces)
        words = _Wording(whole, pieces, estimate(whole))
    else:
        said = "" if text is None and calls else text
        word = _remembered if asked.remembered and answer.source is None else _worded
        words = word(asked, call.settings.seed, said, answer.delivery.chunk)
    truncated = words.cut_short if beside.truncated is None else beside.truncated
    finish = _CALL_FINISH[dialect] if calls else "length" if truncated else _PLAIN_FINISH[dialect]
    completion = words.tokens
    if beside.reasoning or calls:
        completion += estimate(beside.reasoning) + sum(estimate(_encode(given).decode()) for given in calls)
    return Said(
        text=words.text,
        pieces=words.pieces,
        beside=beside,
        tool_calls=calls,
        finish=beside.finish_reason or finish,
        truncated=truncated or beside.finish_reason == "length",
        prompt_tokens=max(1, asked.tokens),
        completion_tokens=completion,
        fresh=answer.source is not None,
        notes=notes,
    )


def _with(beside: Beside, options: Mapping[str, Any], source: Source) -> Beside:
    """What the step gives, and above it what its source said."""
    given = {name: getattr(beside, name) for name in beside.given}
    try:
        return Beside.of({**given, **options}, source.describe())
    except (TypeError, ValueError) as error:
        raise SourceError(f"{source.describe()}: {error}") from error


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
