"""Whole requests, as path and body: those that the service takes, and those that it refuses, with the refusal."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from qfkit.protocol.dialects import (
    INFERENCE_DIALECTS,
    MAX_PROMPT_CHARS,
    MAX_REQUEST_BYTES,
    TEXT_GENERATION_CHAT,
    TEXT_GENERATION_STREAM,
    V1_PREFIX,
    Field,
    InferenceDialect,
)
from qfkit.protocol.http import HeaderItems, HttpRequest
from qfkit.protocol.messages import Json
from qfkit.protocol.models import MODELS, Model
from qfkit.protocol.tokens import HAN_TOKENS
from qfkit.protocol.validation import Problem, problem_of
from qfkit.testing.strategies.conversations import conversations, invalid_conversations
from qfkit.testing.strategies.fields import LEFT_OUT, Spoiled, fields_of, one_at_random, spoiled, values
from qfkit.testing.strategies.invalid import Invalid
from qfkit.testing.strategies.options import DEFAULT_MODEL, any_options, consistent, known_model, optional_fields

#: v2 operation -> its path; v1 operations that need no model -> theirs.
_V2_PATHS = {
    "chat": "/v2/chat/completions",
    "embeddings": "/v2/embeddings",
    "rerank": "/v2/rerank",
    "images": "/v2/images/generations",
}
_V1_PATHS = {
    "plugins": f"{V1_PREFIX}/erniebot/plugins",
    "plugin": f"{V1_PREFIX}/plugin/0/",
    "tokenizer": f"{V1_PREFIX}/tokenizer/erniebot",
}
#: Operation -> the kind of model that serves it.
_KINDS = {"rerank": "reranker", "images": "text2image"}


@dataclass(frozen=True, slots=True)
class Request:
    """A request before it is signed.

    Attributes:
        dialect: the API family.
        operation: what it asks for, such as ``chat``.
        path: where to.
        body: its JSON.
        stream: the answer is asked for as a stream, by the path or by the body.
        raw: the bytes of the body, None for those of ``body``.
    """

    dialect: str
    operation: str
    path: str
    body: Json
    stream: bool = False
    raw: bytes | None = None

    @property
    def content(self) -> bytes:
        """The body as bytes, in UTF-8."""
        return json.dumps(self.body, ensure_ascii=False).encode() if self.raw is None else self.raw

    def http(self, headers: HeaderItems = ()) -> HttpRequest:
        """The request as plain values, as signers and `mock_server.core.handle` take it."""
        return HttpRequest("POST", self.path, (("Content-Type", "application/json"), *headers), self.content)


def requests(
    dialect: InferenceDialect | None = None,
    operation: str = "chat",
    *,
    model: str | None = None,
    stream: bool | None = None,
    max_turns: int = 3,
) -> SearchStrategy[Request]:
    """Requests that the service takes. Shrinks to the least that the operation needs: for a chat, one question.

    Args:
        dialect: ``text_generation``, ``v1`` or ``v2``; None for any.
        operation: a key of `qfkit.protocol.dialects.FIELDS` with the dialect.
        model: which model is asked; None for ernie-3.5-8k, or the first of the table that serves the operation.
        stream: the answer is asked for as a stream; None for either, where the operation has streams.
        max_turns: most questions of a conversation.

    Raises:
        ValueError: there is no such operation, or no such model.
    """
    if dialect is None:
        return st.one_of(
            [requests(each, operation, model=model, stream=stream, max_turns=max_turns) for each in INFERENCE_DIALECTS]
        )
    row = _model(dialect, operation, model)
    rows = fields_of(dialect, operation, row)
    needed = {field.name: values(field) for field in rows if field.required and field.name not in {"messages", "model"}}
    names = {field.name for field in rows}
    if "model" in names and row is not None:
        needed["model"] = st.just(row.name)
    if "messages" in names:
        needed["messages"] = conversations(dialect, max_turns=max_turns)
    streams = dialect == "text_generation" or "stream" in names
    if stream and not streams:
        raise ValueError(f"{dialect} {operation} has no streams")
    wanted = (st.booleans() if stream is None else st.just(stream)) if streams else st.just(False)
    more = any_options(optional_fields(dialect, operation, row))

    def made(body: Json, extra: Json, streamed: bool) -> Request:
        flag = {"stream": True} if streamed and "stream" in names else {}
        return Request(
            dialect,
            operation,
            _path(dialect, operation, row, streamed=streamed),
            consistent(body | flag | extra),
            streamed,
        )

    return st.builds(made, st.fixed_dictionaries(needed), more, wanted)


def invalid_requests(
    dialect: InferenceDialect | None = None, operation: str = "chat", *, model: str | None = None
) -> SearchStrategy[Invalid[Request]]:
    """Requests with one thing wrong, each with the refusal that the service gives.

    A body that is no JSON or no object, a field that is missing or out of its range, a conversation that breaks a rule,
    an input that is too long. Shrinks to an empty body.

    Args:
        dialect: ``text_generation``, ``v1`` or ``v2``; None for any.
        operation: as in `requests`.
        model: as in `requests`.

    Raises:
        ValueError: there is no such operation, or no such model.
    """
    if dialect is None:
        return st.one_of([invalid_requests(each, operation, model=model) for each in INFERENCE_DIALECTS])
    row = _model(dialect, operation, model)
    good = requests(dialect, operation, model=model, max_turns=2)
    flaws: list[SearchStrategy[Invalid[Request]]] = [
        _with_bytes(dialect, good, _NO_JSON, problem_of(dialect, "json"), "the body is no JSON"),
        _with_bytes(dialect, good, _NO_OBJECT, problem_of(dialect, "type"), "the body is no object"),
    ]
    rows = fields_of(dialect, operation, row)
    flaws += [
        _with_field(dialect, good, flaw)
        for field in rows
        if field.name not in LEFT_OUT
        for flaw in spoiled(dialect, field)
    ]
    for field in rows:
        if field.name != "messages":
            continue
        flaws.append(
            st.builds(
                lambda request, talk: talk.within(lambda said: _having(request, "messages", said)),
                good,
                invalid_conversations(dialect, max_turns=2),
            )
        )
        flaws += [_with_field(dialect, good, flaw) for flaw in _too_long(dialect, field, row)]
    return one_at_random(flaws)


_NO_JSON = st.sampled_from([b"", b"{", b"a=1", b'{"a": NaN}', b"{'a': 1}", b"\xff", b"{}x"])
_NO_OBJECT = st.sampled_from([b"[]", b"null", b"1", b'"text"', b"true"])


def _having(request: Request, name: str, value: Any) -> Request:
    rest = {each: kept for each, kept in request.body.items() if each != name}
    return replace(request, body=rest if value is ... else rest | {name: value})


def _with_bytes(
    dialect: str, good: SearchStrategy[Request], drawn: SearchStrategy[bytes], problem: Problem, why: str
) -> SearchStrategy[Invalid[Request]]:
    return st.builds(lambda request, raw: Invalid(replace(request, raw=raw), dialect, problem, why), good, drawn)


def _with_field(dialect: str, good: SearchStrategy[Request], flaw: Spoiled) -> SearchStrategy[Invalid[Request]]:
    return st.builds(
        lambda request, value: Invalid(_having(request, flaw.field.name, value), dialect, flaw.problem, flaw.why),
        good,
        flaw.values,
    )


def _too_long(dialect: str, messages: Field, model: Model | None) -> Iterator[Spoiled]:
    """Conversations beyond the limits of the dialect or the model, by a little."""
    if dialect == "text_generation":
        turn = [{"role": "user", "content": "长" * (MAX_PROMPT_CHARS - 1)}, {"role": "assistant", "content": "0"}]
        talk = st.integers(3, 4).map(lambda turns: [*(turn * turns), {"role": "user", "content": "0"}])
        problem = problem_of(dialect, "size", limit=MAX_REQUEST_BYTES)
        yield Spoiled(messages, talk, problem, f"the body has more than {MAX_REQUEST_BYTES} bytes")
        return
    chars, tokens = (None, None) if model is None else (model.max_chars, model.max_tokens)
    if chars is not None:
        problem = problem_of(dialect, "chars", field="messages", limit=chars)
        yield Spoiled(messages, _one_of(chars), problem, f"there are more than {chars} characters")
    least = 0 if tokens is None else int(tokens / HAN_TOKENS) + 1
    if least and (chars is None or least + _BEYOND <= chars):
        problem = problem_of(dialect, "tokens", field="messages")
        yield Spoiled(messages, _one_of(least), problem, f"there are more than {tokens} tokens")


#: Characters by which a text is too long, at most.
_BEYOND = 9


def _one_of(count: int) -> SearchStrategy[list[Json]]:
    """A question of a few more Chinese characters than that."""
    return st.integers(1, _BEYOND).map(lambda more: [{"role": "user", "content": "长" * (count + more)}])


def _model(dialect: str, operation: str, name: str | None) -> Model | None:
    """The model that is asked, None where nobody chooses one."""
    if dialect == "text_generation" or (dialect == "v1" and operation in _V1_PATHS):
        return None
    if name is not None:
        return known_model(name)
    if operation == "chat":
        return known_model(DEFAULT_MODEL)
    kind = _KINDS.get(operation, operation)
    return next((model for model in MODELS if model.kind == kind and dialect in model.dialects), None)


def _path(dialect: str, operation: str, model: Model | None, *, streamed: bool) -> str:
    if dialect == "text_generation":
        return TEXT_GENERATION_STREAM if streamed else TEXT_GENERATION_CHAT
    if dialect == "v2":
        return _V2_PATHS[operation]
    if model is not None:
        return f"{V1_PREFIX}{model.endpoint}"
    return _V1_PATHS[operation]
