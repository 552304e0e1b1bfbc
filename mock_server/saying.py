"""What a request asks, and what is said to it, before any dialect puts it into its own shape."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache

import msgspec

from mock_server import generate
from mock_server.faults.chunking import chunk
from mock_server.quota import Granted
from mock_server.scenario import Answer
from mock_server.settings import Settings
from mock_server.state import Account
from qfkit.protocol.dialects import Route
from qfkit.protocol.http import HttpRequest
from qfkit.protocol.messages import Json, content_text, last_user_text
from qfkit.protocol.models import Model
from qfkit.protocol.tokens import estimate

#: How each dialect says that an answer ended by itself, and that it ended in a call (3.3, 4.2).
_PLAIN_FINISH = {"v1": "normal", "v2": "stop", "text_generation": "stop"}
_CALL_FINISH = {"v1": "function_call", "v2": "tool_calls", "text_generation": "function_call"}

_LIMITS = ("max_output_tokens", "max_completion_tokens", "max_tokens")

_encode = msgspec.json.encode


@dataclass(frozen=True, slots=True)
class Call:
    """A request that was let in and found valid, on its way to an answer."""

    request: HttpRequest
    route: Route
    account: Account
    settings: Settings
    body: Json
    model: Model | None
    request_id: str
    uuid: str
    now: float
    admission: Granted

    @property
    def prompt(self) -> str:
        """What the user asked last."""
        if "messages" in self.body:
            return last_user_text(self.body["messages"])
        return str(self.body.get("prompt") or self.body.get("query") or "")

    @property
    def streamed(self) -> bool:
        """The answer is asked for as a stream; never decided by ``Accept`` (8.5)."""
        return wants_stream(self.route, self.body)

    def base(self, kind: str) -> Json:
        """The members that open every answer."""
        return {"id": self.request_id, "object": kind, "created": int(self.now)}


@dataclass(frozen=True, slots=True)
class Said:
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


def wants_stream(route: Route, body: Json) -> bool:
    """text_generation has a path for its streams, the other dialects a member of the body."""
    return route.stream if route.dialect == "text_generation" else body.get("stream") is True


def prompt_tokens(body: Json) -> int:
    """The tokens of everything that a request asks, whatever its operation."""
    asked = [content_text(message.get("content")) for message in body.get("messages") or ()]
    for name in ("system", "prompt", "query", "input", "documents"):
        value = body.get(name)
        asked += value if isinstance(value, list) else [value] if isinstance(value, str) else []
    return sum(map(estimate, asked))


@dataclass(frozen=True, slots=True)
class _Wording:
    """A text, how a stream cuts it up, and its tokens."""

    text: str
    pieces: tuple[str, ...]
    tokens: int
    cut_short: bool = False


@lru_cache(maxsize=1024)  # a load test asks the same few things over and over, and the wording depends on nothing else
def _wording(
    *, seed: int, model: str, asked: tuple[str, ...], said: str | None, by: str | int | None, limit: int | None
) -> _Wording:
    """What is answered to ``asked``: ``said``, or something made up, which keeps to ``limit`` tokens."""
    random = generate.seeded(seed, model, *asked)
    text = generate.answer(asked[-1], random) if said is None else said
    pieces = tuple(generate.pieces(text, random)) if by is None else chunk(text, by)
    if said is not None or limit is None or estimate(text) <= limit:
        return _Wording(text, pieces, estimate(text))
    pieces = tuple(_within(pieces, limit))
    text = "".join(pieces)
    return _Wording(text, pieces, estimate(text), cut_short=True)


def say(call: Call, answer: Answer) -> Said:
    """What is said to ``call``, with the tokens it takes."""
    dialect, body = call.route.dialect, call.body
    # By what is asked alone, not by how: a client that switches to a stream, or sorts its keys, gets the same answer.
    asked = [content_text(message.get("content")) for message in body["messages"]] if "messages" in body else []
    calls = tuple([_named_call(given, call.request_id, index) for index, given in enumerate(answer.tool_calls)])
    if answer.pieces is not None:
        text = "".join(answer.pieces)
        words = _Wording(text, answer.pieces, estimate(text))
    else:
        words = _wording(
            seed=call.settings.seed,
            model=call.model.name if call.model else "",
            asked=(*asked, call.prompt),
            said="" if answer.text is None and calls else answer.text,
            by=answer.delivery.chunk,
            limit=_output_limit(body),
        )
    finish = _CALL_FINISH[dialect] if calls else "length" if words.cut_short else _PLAIN_FINISH[dialect]
    completion = words.tokens
    if answer.reasoning or calls:
        completion += estimate(answer.reasoning) + sum(estimate(_encode(given).decode()) for given in calls)
    prompt = sum(map(estimate, asked)) if asked else estimate(call.prompt)
    if isinstance(system := body.get("system"), str):
        prompt += estimate(system)
    return Said(
        text=words.text,
        pieces=words.pieces,
        reasoning=answer.reasoning,
        tool_calls=calls,
        finish=answer.finish_reason or finish,
        prompt_tokens=max(1, prompt),
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
