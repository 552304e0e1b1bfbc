"""What the user asked, as the request that each dialect wants: path, body and a few words for the log."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from typing import Any, TypeAlias

from qfkit.client.exceptions import ConfigurationError
from qfkit.protocol.dialects import TEXT_GENERATION_CHAT, TEXT_GENERATION_STREAM, V1_PREFIX, InferenceDialect
from qfkit.protocol.messages import Json, Message, last_user_text, user_message
from qfkit.protocol.models import MODELS, by_name
from qfkit.protocol.tokens import estimate, estimate_messages

Prompt: TypeAlias = str | Sequence[Message]

V2_CHAT = "/v2/chat/completions"
#: Parameters that the verbs set themselves -> what to write instead.
_OWN = {
    "stream": "call client.stream(...) for a stream and client.chat(...) for a whole answer",
    "messages": "pass the messages as the first argument",
}


#: text_generation sends events to who accepts them, else JSON lines (design notes 4). v1 and v2 stream whatever is
#: accepted; they get what the official Python SDK sends (8.5).
_ACCEPT_STREAM = {"text_generation": "text/event-stream", "v1": "*/*", "v2": "*/*"}


@dataclass(frozen=True, slots=True)
class Call:
    """One thing the user asked for, ready to be signed and sent as often as it takes.

    Attributes:
        dialect: the API family.
        path: where it goes, percent-encoded, without the host.
        body: the exact bytes of the JSON.
        accept: the ``Accept`` header.
        model: the model asked for, None where the service has but one.
        stream: a stream is asked for.
        prompt: what the user wrote last, for the log, which cuts it.
        operation: what is asked for: ``chat``, ``embeddings``, ``rerank`` or ``tokenizer``.
        weigh: estimates its tokens, for whoever limits them; it takes as long as the text does.
    """

    dialect: InferenceDialect
    path: str
    body: bytes
    accept: str
    model: str | None
    stream: bool
    prompt: str = field(repr=False)
    operation: str = "chat"
    weigh: Callable[[], int] = field(default=lambda: 0, repr=False, compare=False)

    @property
    def limited_as(self) -> str:
        """What the service limits it by: its model; and a tokenizer's limits are not those of the model's chat."""
        return f"{self.operation} {self.model or ''}"


def chat_call(
    dialect: InferenceDialect,
    prompt: Prompt,
    *,
    model: str,
    system: str | None,
    params: Mapping[str, Any],
    stream: bool,
) -> Call:
    """A chat request.

    A system prompt, given as ``system`` or as a first message with that role, goes where the dialect keeps it: a
    message of its own in v2, the ``system`` field in v1. text_generation documents no place for one, so there it is
    put in front of the first user message, with an empty line in between. So one call means the same in all three.

    Args:
        dialect: the API family.
        prompt: what the user says, or the messages so far.
        model: v2: its id. v1: its name, or a path such as ``/chat/my_service`` below the API's prefix. text_generation
            has no choice of model, and none is sent.
        system: instructions for the model.
        params: further fields of the body, as the dialect names them; None values are left out.
        stream: ask for a stream.

    Raises:
        ConfigurationError: the arguments make no request; the message says which and what to do.
    """
    for name, advice in _OWN.items():
        if name in params:
            raise ConfigurationError(f"{name}= is not a parameter of a chat: {advice}")
    messages, system = _split_system(as_messages(prompt), system)
    path, body, used = _SHAPES[dialect](messages, system, model, stream)
    body.update((name, value) for name, value in params.items() if value is not None)
    return Call(
        dialect=dialect,
        path=path,
        body=_encode(body),
        accept=_ACCEPT_STREAM[dialect] if stream else "application/json",
        model=used,
        stream=stream,
        prompt=last_user_text(messages),
        weigh=lambda: estimate_messages(messages) + estimate(system or ""),
    )


def operation_call(
    dialect: InferenceDialect, operation: str, path: str, body: Json, *, model: str | None, texts: Sequence[str]
) -> Call:
    """Any other request that is answered whole; ``texts`` are what the user gave, one or more.

    Raises:
        ConfigurationError: the body cannot be written as JSON.
    """
    return Call(
        dialect=dialect,
        path=path,
        body=_encode(body),
        accept="application/json",
        model=model,
        stream=False,
        prompt=texts[0],
        operation=operation,
        weigh=lambda: sum(map(estimate, texts)),
    )


def as_messages(prompt: Prompt) -> list[Json]:
    """The messages of a prompt; a text is one of the user's."""
    if isinstance(prompt, str):
        return [user_message(prompt)]
    given: object = prompt
    if isinstance(given, Sequence) and all(isinstance(message, Mapping) for message in given):
        return [dict(message) for message in given]
    raise ConfigurationError(
        "a prompt is a string, or a list of messages such as [{'role': 'user', 'content': '你好'}]; "
        f"got {type(prompt).__name__}"
    )


def _split_system(messages: list[Json], system: str | None) -> tuple[list[Json], str | None]:
    if not messages or messages[0].get("role") != "system":
        return messages, system
    if system is not None:
        raise ConfigurationError("two system prompts: give either system= or a first message with role 'system'")
    content = messages[0].get("content")
    if not isinstance(content, str):
        raise ConfigurationError("the content of a system message is a string")
    return messages[1:], content


def _text_generation(messages: list[Json], system: str | None, _model: str, stream: bool) -> _Shape:
    if system:
        first = next((message for message in messages if message.get("role") == "user"), None)
        if first is None or not isinstance(first.get("content"), str):
            raise ConfigurationError(
                "text_generation has no field for a system prompt, and there is no user message with text to put it in "
                "front of: write it into a message, or use dialect='v1' or 'v2'"
            )
        first["content"] = f"{system}\n\n{first['content']}"
    return TEXT_GENERATION_STREAM if stream else TEXT_GENERATION_CHAT, {"messages": messages}, None


def _v1(messages: list[Json], system: str | None, model: str, stream: bool) -> _Shape:
    body: Json = {"messages": messages}
    if system is not None:
        body["system"] = system
    if stream:
        body["stream"] = True
    return V1_PREFIX + v1_endpoint(model), body, model


def _v2(messages: list[Json], system: str | None, model: str, stream: bool) -> _Shape:
    if system is not None:
        messages = [{"role": "system", "content": system}, *messages]
    body: Json = {"model": model, "messages": messages}
    if stream:
        body |= {"stream": True, "stream_options": {"include_usage": True}}
    return V2_CHAT, body, model


_Shape: TypeAlias = tuple[str, Json, str | None]
_SHAPES: dict[str, Callable[[list[Json], str | None, str, bool], _Shape]] = {
    "text_generation": _text_generation,
    "v1": _v1,
    "v2": _v2,
}


def v1_endpoint(model: str, kind: str = "chat") -> str:
    """Where v1 keeps ``model``, below its prefix; a path is taken as it stands.

    Raises:
        ConfigurationError: v1 has no such model of that kind; the message names the nearest.
    """
    if model.startswith("/"):
        if "?" in model or "#" in model:
            raise ConfigurationError(f"model={model!r} is a path below the API's prefix: without ? and #")
        return model
    known = by_name(model)
    if known is not None and known.endpoint is not None and known.kind == kind:
        return known.endpoint
    names = [entry.name for entry in MODELS if entry.endpoint is not None and entry.kind == kind]
    # There are hundreds for chat; of the other kinds so few that all are worth naming.
    near = get_close_matches(model.lower(), names, n=3) if kind == "chat" else names
    if known is not None and known.kind != kind:
        problem = f"{model!r} is a model for {known.kind}, not for {kind}"
    elif known is not None:
        problem = f"v1 has no endpoint for {model!r}; dialect='v2' has the model"
    else:
        problem = f"v1 knows no model {model!r}"
    nearest = f" Nearest: {', '.join(near)}." if near else ""
    raise ConfigurationError(
        f"{problem}.{nearest} For a service of your own give its path, as in model='/{kind}/my_service'"
    )


def _encode(body: Json) -> bytes:
    try:
        return json.dumps(body, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode()
    except UnicodeEncodeError as error:
        found = f"U+{ord(error.object[error.start]):04X}"
    except (TypeError, ValueError) as error:
        raise ConfigurationError(f"the request cannot be written as JSON: {error}") from error
    raise ConfigurationError(
        f"the request holds half a character, the lone surrogate {found}: it was decoded wrongly before it came here. "
        "Decode it as UTF-8, or with errors='replace'"
    )
