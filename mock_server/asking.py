"""What a request asks: its body read, checked, and made ready to be answered.

All of it follows from the path and the bytes of the body, so it is remembered for bodies that come again: a load test
asks the same few things over and over, and would measure our parser.
"""

from __future__ import annotations

from functools import lru_cache

import msgspec

from qfkit.protocol.dialects import FIELDS, Route
from qfkit.protocol.messages import Json, content_text, last_user_text
from qfkit.protocol.models import Model, by_endpoint, by_name
from qfkit.protocol.tokens import estimate
from qfkit.protocol.validation import Problem, decode_object, validate

#: Bodies up to this size, in bytes, are remembered, and so many of them.
_REMEMBERED_BYTES, _REMEMBERED = 8192, 2048

#: v1 operations at which any name may be a service of the user's own (3.1).
_OPEN_FAMILIES = frozenset({"chat", "completions", "plugin", "plugins", "tokenizer"})

#: v2 operation -> the kind of model that serves it.
_KINDS = {"chat": "chat", "embeddings": "embeddings", "rerank": "reranker", "images": "text2image"}

#: (dialect, operation) -> the names of its fields.
_FIELDS = {key: frozenset(field.name for field in fields) for key, fields in FIELDS.items()}


class Asked(msgspec.Struct, frozen=True, kw_only=True, eq=False):
    """A request's body as far as it could be read.

    Shared by all requests with the same bytes: nobody changes it, and two are the same when they are one.

    Attributes:
        body: the JSON, without fields that the operation ignores; empty where there is none.
        model: the model asked for, None where it is not in the table.
        model_name: as the request names it.
        streamed: the answer is asked for as a stream; never decided by ``Accept`` (8.5).
        texts: the text of each message.
        prompt: what the user asked last.
        tokens: of everything that is asked.
        unknown: why the service would not know the model, None when it does.
        problem: why the service refuses the body, None when it does not.
        remembered: the body is one of those that are kept, so that what follows from it may be kept as well.
    """

    body: Json = {}
    model: Model | None = None
    model_name: str | None = None
    streamed: bool = False
    texts: tuple[str, ...] = ()
    prompt: str = ""
    tokens: int = 0
    unknown: str | None = None
    problem: Problem | None = None
    remembered: bool = False


def read(route: Route, body: bytes, *, any_model: bool) -> Asked:
    """Read a body in the order in which the service finds fault: path, JSON, model, fields.

    Args:
        route: what the path means.
        body: the bytes of the content.
        any_model: accept v2 models that the table does not hold.
    """
    return _remembered(route, body, any_model) if len(body) <= _REMEMBERED_BYTES else _read(route, body, any_model)


def _read(route: Route, body: bytes, any_model: bool) -> Asked:
    model = name = unknown = None
    if route.endpoint is not None:
        model = by_endpoint(route.endpoint)
        name = model.name if model else route.endpoint.rstrip("/").rpartition("/")[2]
        if model is None and route.operation not in _OPEN_FAMILIES:
            return Asked(model_name=name, unknown=f"v1 has no endpoint {route.endpoint}")
    if route.methods == ("GET",):
        return Asked()
    data = decode_object(route.dialect, body)
    if isinstance(data, Problem):
        return Asked(model=model, model_name=name, problem=data)
    if "messages" in data and "messages" not in _FIELDS[route.dialect, route.operation]:
        del data["messages"]  # unknown fields are ignored [guess], and this one would be taken for ours
    if route.dialect == "v2":
        model, name, unknown = _v2_model(route, data, any_model)
    # text_generation has a path for its streams, the other dialects a member of the body.
    streamed = route.stream if route.dialect == "text_generation" else data.get("stream") is True
    if unknown:
        return Asked(body=data, model_name=name, streamed=streamed, unknown=unknown)
    if problem := validate(route.dialect, route.operation, data, model=model, size=len(body)):
        return Asked(body=data, model=model, model_name=name, streamed=streamed, problem=problem)
    texts = tuple([content_text(message.get("content")) for message in data.get("messages") or ()])
    return Asked(
        body=data,
        model=model,
        model_name=name,
        streamed=streamed,
        texts=texts,
        prompt=last_user_text(data["messages"]) if texts else str(data.get("prompt") or data.get("query") or ""),
        tokens=sum(map(estimate, [*texts, *_other_texts(route, data)])),
        remembered=len(body) <= _REMEMBERED_BYTES,
    )


_remembered = lru_cache(maxsize=_REMEMBERED)(_read)


def _v2_model(route: Route, body: Json, any_model: bool) -> tuple[Model | None, str | None, str | None]:
    """The model that a v2 body names, its name, and why the service would not know it, or not for this."""
    name = body.get("model")
    if not isinstance(name, str) or not name:
        return None, None, None  # validation says what is wrong with it
    model = by_name(name)
    if any_model:
        return model, name, None
    if model is None or "v2" not in model.dialects:
        return (
            None,
            name,
            (
                f"the mock knows no model {name[:60]!r} (the service answers 401 to those); "
                "start it with models='any' (YAML: models: any) to accept every name"
            ),
        )
    fits = model.kind == _KINDS[route.operation]
    return model, name, None if fits else f"{model.name} is for {model.kind}, not for {route.operation}"


def _other_texts(route: Route, body: Json) -> list[str]:
    """What is asked outside of messages, in fields that the operation has: others may hold anything."""
    texts: list[str] = []
    for name in ("system", "prompt", "query", "input", "documents"):
        if (value := body.get(name)) is not None and name in _FIELDS[route.dialect, route.operation]:
            texts += value if isinstance(value, list) else [value]
    return texts
