"""Is this request one that the service accepts, and if not, in which words does it refuse?

Walks the field table of ``dialects`` and the message rules of the wire reference (3.2, 4.1) in the order of its section
5.1: JSON, types, message rules, ranges, characters, tokens. Stops at the first problem, as the service does.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

import msgspec

from qfkit.protocol.dialects import FIELDS, MAX_PROMPT_CHARS, MAX_REQUEST_BYTES, V2_ROLES, Field
from qfkit.protocol.messages import Json, content_text
from qfkit.protocol.models import Model
from qfkit.protocol.tokens import estimate


@dataclass(frozen=True, slots=True)
class Problem:
    """Why a request is refused.

    Attributes:
        code: the dialect's own error code.
        message: the dialect's own words.
        field: the JSON field at fault, where there is one.
    """

    code: int | str
    message: str
    field: str | None = None


#: What can be wrong -> the code of each dialect. Codes of ranges, of missing fields and of roles in v1 are guesses
#: (wire reference 5.1 and appendix C.3); those of text_generation follow from its four statuses.
CODES: Final[dict[str, dict[str, int | str]]] = {
    "v1": {
        "json": 336002,
        "type": 336001,
        "missing": 336003,
        "messages": 336006,
        "content": 336003,
        "range": 336003,
        "chars": 336007,
        "tokens": 336103,
        "documents": 336221,
    },
    "v2": {
        "json": "malformed_json",
        "type": "invalid_argument",
        "missing": "invalid_argument",
        "messages": "invalid_argument",
        "content": "invalid_messages",
        "range": "invalid_argument",
        "chars": "characters_too_long",
        "tokens": "tokens_too_long",
        "documents": "invalid_argument",
    },
    "text_generation": dict.fromkeys(
        ("json", "type", "missing", "messages", "content", "range", "chars", "tokens", "documents", "size"), 400
    ),
}

#: The service's words, live where the wire reference has them (5.1, 5.2), in their pattern where it has not.
TEXTS: Final[dict[str, str]] = {
    "json": "Invalid JSON",
    "v2 json": "Invalid Argument",
    "type": "Invalid Argument",
    "model": "you must provide a model parameter",
    "v2 messages": "messages cannot be empty",
    "messages": "messages can not be empty",
    "missing": "the {name} field is required",
    "odd": "the length of messages must be an odd number",
    "even role": "the role of message with even index in the messages must be user or function",
    "odd role": "the role of message with odd index in the messages must be assistant",
    "first role": "the role of the first message in the messages must be user",
    "v2 role": f"the role must be one of the following: {','.join(V2_ROLES)}",
    "tool_call_id": "the tool_call_id of a tool message is required",
    "content": "message content can not be empty",
    "name": "the name of a function message can not be empty",
    "range": "parameter check failed, {name} range is {interval}",
    "choice": "parameter check failed, {name} must be one of {choices}",
    "length": "parameter check failed, the length of {name} must be at most {limit}",
    "empty item": "the items of {name} can not be empty",
    "documents": "max number of documents is 64",
    "chars": "the max input characters is {limit}",
    "tokens": "Prompt tokens too long",
    "size": "the max size of a request is {limit} bytes",
}

_KINDS: Final[dict[str, tuple[type, ...]]] = {
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
    "array": (list,),
    "object": (dict,),
    "strings": (list,),
    "text_or_strings": (str, list),
}


def decode_object(dialect: str, body: bytes) -> Json | Problem:
    """The body as a JSON object, or the problem with it. Strict RFC 8259: no NaN, no comments, UTF-8 only."""
    try:
        value = msgspec.json.decode(body)
    except (msgspec.DecodeError, ValueError, RecursionError):
        return problem_of(dialect, "json")
    if not isinstance(value, dict):
        return problem_of(dialect, "type")
    return value


def validate(dialect: str, operation: str, body: Json, *, model: Model | None = None, size: int = 0) -> Problem | None:
    """The first thing wrong with a request, or None.

    Args:
        dialect: ``text_generation``, ``v1`` or ``v2``.
        operation: a name from ``dialects.Route``.
        body: the decoded JSON object.
        model: whose limits apply, when known.
        size: bytes of the body as sent, for the limit of 32 KB of text_generation.
    """
    if dialect == "text_generation" and size > MAX_REQUEST_BYTES:
        return problem_of(dialect, "size", limit=MAX_REQUEST_BYTES)
    fields = FIELDS.get((dialect, operation), ())
    for field in fields:
        if problem := _check_type(dialect, field, body.get(field.name)):
            return problem
    if "messages" in body and (problem := _check_messages(dialect, body["messages"])):
        return problem
    for field in fields:
        if problem := _check_range(dialect, field, body.get(field.name), model):
            return problem
    return _check_lengths(dialect, body, model)


def problem_of(
    dialect: str, kind: str, text: str | None = None, *, field: str | None = None, **values: object
) -> Problem:
    """The refusal as a dialect says it.

    Args:
        dialect: ``text_generation``, ``v1`` or ``v2``.
        kind: what is wrong, a key of `CODES`.
        text: which words, a key of `TEXTS`; None for those of ``kind``.
        field: the JSON field at fault.
        values: what the words have places for.
    """
    template = TEXTS.get(f"{dialect} {text or kind}") or TEXTS[text or kind]
    return Problem(CODES[dialect][kind], template.format(name=field, **values), field)


def _check_type(dialect: str, field: Field, value: object) -> Problem | None:
    if value is None and not field.required:
        return None
    if value is None or (value == "" and field.required):
        text = field.name if field.name in {"model", "messages"} else "missing"
        return problem_of(dialect, "missing", text, field=field.name)
    wanted = _KINDS[field.kind]
    if not isinstance(value, wanted) or (isinstance(value, bool) and bool not in wanted):
        return problem_of(dialect, "type", field=field.name)
    if isinstance(value, list) and field.kind in {"strings", "text_or_strings"}:
        if not all(isinstance(item, str) for item in value):
            return problem_of(dialect, "type", field=field.name)
        if field.required and not value:
            return problem_of(dialect, "missing", "missing", field=field.name)
    return None


def _check_messages(dialect: str, messages: list[Any]) -> Problem | None:
    if not messages:
        return problem_of(dialect, "messages", "messages", field="messages")
    if not all(isinstance(message, dict) for message in messages):
        return problem_of(dialect, "type", field="messages")
    check = _v2_message if dialect == "v2" else _v1_message
    if dialect != "v2" and len(messages) % 2 == 0:
        return problem_of(dialect, "messages", "odd", field="messages")
    for index, message in enumerate(messages):
        if problem := check(dialect, index, message):
            return problem
    if dialect != "v2" and not content_text(messages[-1].get("content")).strip():
        return problem_of(dialect, "content", "content", field="messages")
    return None


def _v1_message(dialect: str, index: int, message: Mapping[str, Any]) -> Problem | None:
    role, content = message.get("role"), message.get("content")
    if index == 0 and role == "function":
        return problem_of(dialect, "messages", "first role", field="messages")
    if index % 2 == 0 and role not in ("user", "function"):
        return problem_of(dialect, "messages", "even role", field="messages")
    if index % 2 == 1 and role != "assistant":
        return problem_of(dialect, "messages", "odd role", field="messages")
    if content is not None and not isinstance(content, str):
        return problem_of(dialect, "type", field="messages")
    if not content and not (role == "assistant" and message.get("function_call")):
        return problem_of(dialect, "content", "content", field="messages")
    if role == "function" and not message.get("name"):
        return problem_of(dialect, "content", "name", field="messages")
    return None


def _v2_message(dialect: str, _index: int, message: Mapping[str, Any]) -> Problem | None:
    role, content = message.get("role"), message.get("content")
    if not isinstance(role, str) or role not in V2_ROLES:
        return problem_of(dialect, "messages", "v2 role", field="messages")
    if content is not None and not isinstance(content, (str, list)):
        return problem_of(dialect, "type", field="messages")
    if isinstance(content, list) and not all(isinstance(part, dict) and "type" in part for part in content):
        return problem_of(dialect, "type", field="messages")
    if role == "tool" and not message.get("tool_call_id"):
        return problem_of(dialect, "content", "tool_call_id", field="messages")
    if not content and not (role == "assistant" and message.get("tool_calls")):
        return problem_of(dialect, "content", "content", field="messages")
    return None


def _check_range(dialect: str, field: Field, value: Any, model: Model | None) -> Problem | None:
    if value is None:
        return None
    field = _with_model_bounds(dialect, field, model)
    if field.kind in {"integer", "number"}:
        return _check_number(dialect, field, value)
    if field.choices and value not in field.choices:
        return problem_of(dialect, "range", "choice", field=field.name, choices=",".join(field.choices))
    if field.max_items is not None and isinstance(value, list) and len(value) > field.max_items:
        if field.name == "documents":
            return problem_of(dialect, "documents", field=field.name)
        return problem_of(dialect, "range", "length", field=field.name, limit=field.max_items)
    texts = value if isinstance(value, list) else [value] if isinstance(value, str) else []
    if field.max_chars is not None and any(len(text) > field.max_chars for text in texts):
        return problem_of(dialect, "range", "length", field=field.name, limit=field.max_chars)
    if field.required and field.kind != "array" and any(not text.strip() for text in texts):
        return problem_of(dialect, "missing", "empty item" if isinstance(value, list) else "missing", field=field.name)
    return None


def _check_number(dialect: str, field: Field, value: float) -> Problem | None:
    below = field.low is not None and (value < field.low or (field.low_open and value == field.low))
    above = field.high is not None and value > field.high
    if below or above:
        return problem_of(dialect, "range", field=field.name, interval=field.interval)
    return None


def _with_model_bounds(dialect: str, field: Field, model: Model | None) -> Field:
    """The field with the bounds that the model's own row sets instead of the dialect's."""
    if model is None:
        return field
    if field.name in {"max_output_tokens", "max_completion_tokens"}:
        low, high = model.output_range(dialect)
        return replace(field, low=low, high=high)
    if field.name == "input" and model.max_items is not None:
        return replace(field, max_items=model.max_items)
    return field


def _check_lengths(dialect: str, body: Json, model: Model | None) -> Problem | None:
    """Characters and tokens of the whole conversation, or of each text of an embedding."""
    if dialect == "text_generation":
        return _check_text_generation_lengths(body)
    if model is None or (model.max_chars is None and model.max_tokens is None):
        return None
    field, texts = _counted_texts(body)
    for text in texts:
        if model.max_chars is not None and len(text) > model.max_chars:
            return problem_of(dialect, "chars", field=field, limit=model.max_chars)
        # A token is a character or more: only what is long in characters can be too long in tokens, and counting the
        # tokens of every short prompt would cost each request for nothing.
        if model.max_tokens is not None and len(text) > model.max_tokens and estimate(text) > model.max_tokens:
            return problem_of(dialect, "tokens", field=field)
    return None


def _check_text_generation_lengths(body: Json) -> Problem | None:
    for message in body.get("messages") or []:
        if len(content_text(message.get("content"))) >= MAX_PROMPT_CHARS:
            return problem_of("text_generation", "chars", field="messages", limit=MAX_PROMPT_CHARS)
    return None


def _counted_texts(body: Json) -> tuple[str, list[str]]:
    if "messages" in body:
        return "messages", ["\n".join(content_text(message.get("content")) for message in body["messages"])]
    for field in ("input", "prompt"):
        value = body.get(field)
        if value is not None:
            return field, value if isinstance(value, list) else [value]
    return "", []
