"""What is not a chat: embeddings, ranking, counting tokens. Calls out, typed answers in."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeVar

from qfkit.client.attempts import Attempt
from qfkit.client.caller import Caller, Trip
from qfkit.client.calls import Call, operation_call, v1_endpoint
from qfkit.client.exceptions import ConfigurationError, InvalidReply
from qfkit.client.redaction import redact
from qfkit.client.transport import Answer
from qfkit.protocol.dialects import V1_PREFIX, InferenceDialect
from qfkit.protocol.messages import Json, Usage
from qfkit.protocol.models import by_name
from qfkit.protocol.tokens import estimate

#: Models for calls that name none: the official SDK's own choice for embeddings, and the only reranker (4.4, 4.5).
EMBEDDING_MODEL = "embedding-v1"
RERANK_MODEL = "bce-reranker-base"

#: Texts of one request; models that take fewer say so in their table (3.6).
_MAX_TEXTS = 16
_V2_PATHS = {"embeddings": "/v2/embeddings", "rerank": "/v2/rerank"}
#: Operation -> the kind of its models.
_KINDS = {"embeddings": "embeddings", "rerank": "reranker"}
_TOKENIZER = f"{V1_PREFIX}/tokenizer/erniebot"

T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Embeddings:
    """One vector for each text, in the order of the texts. Has a length, an index, and iterates over the vectors.

    Attributes:
        vectors: the vectors.
        model: that made them.
        usage: tokens that the service counted, over all requests; None when it did not say.
        attempts: the HTTP requests that it took; numbers begin anew with each batch of texts.
        raw: the JSON of each answer, one for each batch.
    """

    vectors: tuple[tuple[float, ...], ...] = field(repr=False)
    model: str
    usage: Usage | None = None
    attempts: tuple[Attempt, ...] = field(default=(), repr=False)
    raw: tuple[Json, ...] = field(default=(), repr=False)

    def __len__(self) -> int:
        return len(self.vectors)

    def __getitem__(self, index: int) -> tuple[float, ...]:
        return self.vectors[index]

    def __iter__(self) -> Iterator[tuple[float, ...]]:
        return iter(self.vectors)


@dataclass(frozen=True, slots=True)
class Ranked:
    """A document and how well it answers the query.

    Attributes:
        index: of the document among those given, from 0.
        score: the higher the better, as the model sees it.
        document: its text.
    """

    index: int
    score: float
    document: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """Documents, the best first. Iterates over its results.

    Attributes:
        results: at most ``top_n`` of them.
        model: that ranked them.
        usage: tokens that the service counted, None when it did not say.
        request_id: the service's id of the request, to quote to its support.
        attempts: the HTTP requests that it took.
        raw: the answer's JSON.
    """

    results: tuple[Ranked, ...]
    model: str
    usage: Usage | None = None
    request_id: str | None = None
    attempts: tuple[Attempt, ...] = field(default=(), repr=False)
    raw: Json = field(default_factory=dict, repr=False)

    def __len__(self) -> int:
        return len(self.results)

    def __iter__(self) -> Iterator[Ranked]:
        return iter(self.results)


@dataclass(frozen=True, slots=True, kw_only=True)
class TokenCount:
    """How many tokens a text has. ``int(count)`` is the number.

    Attributes:
        tokens: the number.
        estimated: nobody counted: it is the official SDK's own estimate (3.8). Enough to plan by, not for a bill.
        model: whose tokens they are, None for an estimate.
        attempts: the HTTP requests that it took, none for an estimate.
    """

    tokens: int
    estimated: bool
    model: str | None = None
    attempts: tuple[Attempt, ...] = field(default=(), repr=False)

    def __int__(self) -> int:
        return self.tokens


def embed(caller: Caller, dialect: InferenceDialect, texts: Sequence[str], model: str | None) -> Embeddings:
    """See `Client.embed`."""
    chosen = model or EMBEDDING_MODEL
    path = _path(dialect, "embeddings", chosen)
    given = _strings("texts", texts)
    known = by_name(chosen)
    size = known.max_items if known is not None and known.max_items else _MAX_TEXTS
    batches = [given[start : start + size] for start in range(0, len(given), size)]
    # All of them are written before any is sent: what cannot be sent costs nothing.
    calls = [_call(dialect, "embeddings", path, {"input": batch}, model=chosen, texts=batch) for batch in batches]
    found = [
        _run(caller, call, partial(_vectors, count=len(batch))) for call, batch in zip(calls, batches, strict=True)
    ]
    return Embeddings(
        vectors=tuple(vector for result in found for vector in result.value),
        model=chosen,
        usage=_sum([result.usage for result in found]),
        attempts=tuple(attempt for result in found for attempt in result.attempts),
        raw=tuple(result.body for result in found),
    )


def rerank(
    caller: Caller,
    dialect: InferenceDialect,
    query: str,
    documents: Sequence[str],
    *,
    top_n: int | None,
    model: str | None,
) -> Ranking:
    """See `Client.rerank`."""
    chosen = model or RERANK_MODEL
    path = _path(dialect, "rerank", chosen)
    if not isinstance(query, str):
        raise ConfigurationError(f"query is a string; got {type(query).__name__}")
    given = _strings("documents", documents)
    body: Json = {"query": query, "documents": given}
    if top_n is not None:
        body["top_n"] = top_n
    call = _call(dialect, "rerank", path, body, model=chosen, texts=[query, *given])
    result = _run(caller, call, lambda answer: _ranked(answer, given))
    return Ranking(
        results=result.value,
        model=chosen,
        usage=result.usage,
        request_id=result.request_id,
        attempts=result.attempts,
        raw=result.body,
    )


def count_tokens(caller: Caller, dialect: InferenceDialect, text: str, model: str) -> TokenCount:
    """See `Client.count_tokens`."""
    if not isinstance(text, str):
        raise ConfigurationError(f"text is a string; got {type(text).__name__}")
    if dialect != "v1" or not text:  # the tokenizer refuses an empty text, which has no tokens anyway
        return TokenCount(tokens=estimate(text), estimated=bool(text))
    body: Json = {"prompt": text}
    if not model.startswith("/"):  # a service of one's own has no name that the tokenizer knows
        body["model"] = model
    call = operation_call(dialect, "tokenizer", _TOKENIZER, body, model=body.get("model"), texts=[text])
    result = _run(caller, call, _counted)
    return TokenCount(tokens=result.value, estimated=False, model=call.model, attempts=result.attempts)


@dataclass(frozen=True, slots=True)
class _Result:
    value: Any
    body: Json
    usage: Usage | None
    request_id: str | None
    attempts: tuple[Attempt, ...]


def _run(caller: Caller, call: Call, parse: Callable[[Json], T]) -> _Result:
    def read(trip: Trip, answer: Answer) -> _Result:
        body = caller.read_json(trip, answer)
        try:
            value = parse(body)
        except (KeyError, TypeError, ValueError, IndexError) as error:
            found = f"{type(error).__name__}: {error}" if not isinstance(error, _Unfit) else str(error)
            said = redact(f"{found}; keys {sorted(body)}", trip.secrets)
            raise InvalidReply(
                f"the {call.dialect} service answered {call.operation} with something else ({said}). "
                f"Check that base_url speaks dialect={call.dialect!r}"
            ) from None
        usage = Usage.read(body.get("usage"))
        log, running = trip.log, trip.running
        if running.request_id is None and isinstance(body.get("id"), str):
            running.request_id = body["id"]
        log.end(running)
        if usage is not None:
            trip.slot.settle(usage.total_tokens)
        attempts = log.attempts()
        trip.lines.success(
            attempts=len(attempts),
            latency=log.elapsed(),
            usage=usage,
            result_length=None,
            latency_headers=trip.headers_after,
            request_id=running.request_id,
        )
        return _Result(value, body, usage, running.request_id, attempts)

    return caller.call(call, read)


class _Unfit(ValueError):
    """JSON that is not the answer that was due; the text says what is wrong with it."""


def _vectors(body: Json, count: int) -> tuple[tuple[float, ...], ...]:
    entries = {_index(entry, count): tuple(map(_number, entry["embedding"])) for entry in body["data"]}
    if len(entries) != count:
        raise _Unfit(f"{len(entries)} vectors for {count} texts")
    return tuple(entries[index] for index in range(count))


def _ranked(body: Json, documents: Sequence[str]) -> tuple[Ranked, ...]:
    found = []
    for entry in body["results"]:
        index = _index(entry, len(documents))
        found.append(Ranked(index, _number(entry["relevance_score"]), documents[index]))
    # The service sorts them (3.6); a gateway that merges may not. Equal scores keep the service's order.
    return tuple(sorted(found, key=lambda ranked: -ranked.score))


def _counted(body: Json) -> int:
    total = body["usage"]["total_tokens"]
    if not isinstance(total, int) or isinstance(total, bool) or total < 0:
        raise _Unfit(f"total_tokens is {total!r}")
    return total


def _index(entry: Mapping[str, Any], count: int) -> int:
    index = entry["index"]
    if not isinstance(index, int) or isinstance(index, bool) or not 0 <= index < count:
        raise _Unfit(f"index {index!r} of {count}")
    return index


def _number(value: object) -> float:
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        raise _Unfit(f"{value!r} is not a number")
    return float(value)


def _path(dialect: InferenceDialect, operation: str, model: str) -> str:
    if dialect == "text_generation":
        raise ConfigurationError(
            f"text_generation has no {operation}: it only chats. Make a client with dialect='v1' (ak and sk, or an IAM "
            "pair) or dialect='v2' (an API key, or an IAM pair) for it"
        )
    if dialect == "v1":
        return V1_PREFIX + v1_endpoint(model, _KINDS[operation])
    known = by_name(model)
    if known is not None and known.kind != _KINDS[operation]:
        raise ConfigurationError(f"{model!r} is a model for {known.kind}, not for {operation}")
    return _V2_PATHS[operation]


def _call(
    dialect: InferenceDialect, operation: str, path: str, body: Json, *, model: str, texts: Sequence[str]
) -> Call:
    if dialect == "v2":
        body = {"model": model, **body}
    return operation_call(dialect, operation, path, body, model=model, texts=texts)


def _strings(name: str, value: Sequence[str]) -> list[str]:
    given: object = value
    if isinstance(given, str):
        raise ConfigurationError(f"{name} is a list of strings; for one write [{name[:-1]}]")
    if not isinstance(given, Sequence) or not all(isinstance(text, str) for text in given):
        raise ConfigurationError(f"{name} is a list of strings; got {type(given).__name__}")
    if not given:
        raise ConfigurationError(f"{name} is empty: there is nothing to ask")
    return list(given)


def _sum(usages: Sequence[Usage | None]) -> Usage | None:
    known = [usage for usage in usages if usage is not None]
    if not known:
        return None
    return Usage(
        sum(usage.prompt_tokens for usage in known),
        sum(usage.completion_tokens for usage in known),
        sum(usage.total_tokens for usage in known),
    )
