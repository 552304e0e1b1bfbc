"""Values of a request's fields, made of the table that the mock checks them by: `qfkit.protocol.dialects.FIELDS`.

What a row cannot say, the inside of arrays and objects, stands in `SHAPES`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeVar

from hypothesis import strategies as st
from hypothesis.strategies import SearchStrategy

from qfkit.protocol.dialects import FIELDS, Field
from qfkit.protocol.messages import Json
from qfkit.protocol.models import Model
from qfkit.protocol.validation import Problem, problem_of
from qfkit.testing.strategies.texts import texts

#: Beyond a bound that the table leaves open, values reach so much further.
_FURTHER: Final = 100
_MOST_ITEMS: Final = 4

_NAMES = st.from_regex(r"\A[a-z][a-z0-9_]{0,11}\Z")
_TYPES: SearchStrategy[Json] = st.sampled_from(
    [{"type": "string"}, {"type": "integer"}, {"type": "boolean"}, {"type": "array", "items": {"type": "string"}}]
)


def _declared(name: str, about: str, properties: Mapping[str, Json]) -> Json:
    parameters = {"type": "object", "properties": dict(properties), "required": sorted(properties)[:1]}
    return {"name": name, "description": about, "parameters": parameters}


_FUNCTION = st.builds(_declared, _NAMES, texts(), st.dictionaries(_NAMES, _TYPES, max_size=2))
_FUNCTIONS = st.lists(_FUNCTION, min_size=1, max_size=2, unique_by=lambda function: function["name"])
_TOOLS = _FUNCTIONS.map(lambda functions: [{"type": "function", "function": function} for function in functions])

#: Field -> what it holds, where its row says no more than array, object or string.
SHAPES: Final[Mapping[str, SearchStrategy[Any]]] = {
    "tools": _TOOLS,
    "functions": _FUNCTIONS,
    "stream_options": st.fixed_dictionaries({"include_usage": st.booleans()}),
    "response_format": st.sampled_from([{"type": "text"}, {"type": "json_object"}]),
    "web_search": st.fixed_dictionaries({"enable": st.booleans()}),
    "history": st.just([]),
    "llm": st.just({}),
    "input_variables": st.dictionaries(_NAMES, texts(), max_size=2),
    "encoding_format": st.just("float"),
    "size": st.sampled_from(["1024x1024", "768x1024", "1024x768"]),
}

#: Field -> the field that it needs beside it; ``stream`` has to be true.
NEEDS: Final[Mapping[str, str]] = {
    "stream_options": "stream",
    "parallel_tool_calls": "tools",
    "min_output_tokens": "max_output_tokens",
}

#: Fields that are not drawn by themselves: what they hold depends on the tools that the request declares.
LEFT_OUT: Final = frozenset({"tool_choice"})


T = TypeVar("T")


def one_at_random(strategies: Sequence[SearchStrategy[T]]) -> SearchStrategy[T]:
    """Each as likely as the others, however many there are; `one_of` would flatten and weigh them anew."""
    return st.integers(0, len(strategies) - 1).flatmap(strategies.__getitem__)


def fields_of(dialect: str, operation: str, model: Model | None = None) -> tuple[Field, ...]:
    """The rows of an operation, with the bounds of the model's own row.

    Raises:
        ValueError: the dialect has no such operation; names those that it has.
    """
    try:
        rows = FIELDS[dialect, operation]
    except KeyError:
        known = ", ".join(name for of, name in FIELDS if of == dialect)
        raise ValueError(f"{dialect} has no operation {operation!r}; it has {known or 'none'}") from None
    if model is None:
        return rows
    bounds = dict(zip(("low", "high"), model.output_range(dialect), strict=True))
    return tuple(
        replace(row, **bounds)  # type: ignore[arg-type]
        if row.name in {"max_output_tokens", "max_completion_tokens"}
        else replace(row, max_items=model.max_items)
        if row.name == "input" and model.max_items is not None
        else row
        for row in rows
    )


def values(field: Field) -> SearchStrategy[Any]:
    """What the field may hold, `null` apart."""
    if field.choices:
        return st.sampled_from(field.choices)
    if field.name in SHAPES:
        return SHAPES[field.name]
    text = texts(max_size=min(field.max_chars or 40, 40))
    listed = st.lists(text, min_size=1, max_size=min(field.max_items or _MOST_ITEMS, _MOST_ITEMS))
    match field.kind:
        case "boolean":
            return st.booleans()
        case "integer":
            least = 0 if field.low is None else int(field.low)
            return st.integers(least, least + _FURTHER if field.high is None else int(field.high))
        case "number":
            low, high = field.low or 0.0, 2.0 if field.high is None else field.high
            return st.floats(low, high, exclude_min=field.low_open, allow_subnormal=False)
        case "string":
            return text
        case "strings":
            return listed
        case "text_or_strings":
            return text | listed
    raise ValueError(f"no strategy for the field {field.name!r}, which is an {field.kind}: give it one in SHAPES")


@dataclass(frozen=True, slots=True)
class Spoiled:
    """A value that a field cannot have.

    Attributes:
        field: which.
        values: draws it; ``...`` leaves the field out.
        problem: the refusal.
        why: what is wrong, in words.
    """

    field: Field
    values: SearchStrategy[Any]
    problem: Problem
    why: str


#: Kind of a field -> values of another type. What looks like the right one comes first.
_WRONG_TYPES: Final[Mapping[str, SearchStrategy[Any]]] = {
    "string": st.sampled_from([0, 1.5, True, ["0"], {"text": "0"}]),
    "boolean": st.sampled_from(["true", 1, 0, []]),
    "integer": st.sampled_from(["1", 1.5, True, [1]]),
    "number": st.sampled_from(["0.5", True, [0.5]]),
    "array": st.sampled_from(["0", 1, True, {"role": "user", "content": "0"}]),
    "object": st.sampled_from(["0", 1, True, [{}]]),
    "strings": st.sampled_from(["0", 1, [1], ["0", None], {"0": "0"}]),
    "text_or_strings": st.sampled_from([1, True, [1], ["0", None], {"0": "0"}]),
}


#: Kind of a field -> what of it may be blank.
_ACCEPTED: Final[Mapping[str, tuple[str, ...]]] = {
    "string": ("string",),
    "strings": ("strings",),
    "text_or_strings": ("string", "strings"),
} | dict.fromkeys(("boolean", "integer", "number", "array", "object"), ())


def spoiled(dialect: str, field: Field) -> Iterator[Spoiled]:
    """Every way in which a value of this field can be wrong, as far as its row says; not what `messages` hold."""
    name = field.name

    def refused(drawn: SearchStrategy[Any], why: str, kind: str, text: str | None = None, **more: object) -> Spoiled:
        return Spoiled(field, drawn, problem_of(dialect, kind, text, field=name, **more), f"{name} {why}")

    if field.required:
        own = name if name in {"model", "messages"} else "missing"
        yield refused(st.sampled_from([..., None]), "is missing", "missing", own)
    yield refused(_WRONG_TYPES[field.kind], f"is no {field.kind}", "type")
    if field.required and name not in {"model", "messages"}:  # a blank model is an unknown one
        if "string" in _ACCEPTED[field.kind]:
            yield refused(st.sampled_from(["", " ", "\n"]), "is blank", "missing", "missing")
        if "strings" in _ACCEPTED[field.kind]:
            yield refused(st.just([]), "is an empty list", "missing", "missing")
            yield refused(st.sampled_from([[" "], ["0", "\t"]]), "has a blank item", "missing", "empty item")
    if field.kind in {"integer", "number"}:
        if (low := field.low) is not None:
            yield refused(_below(field, low), f"is below {low:g}", "range", interval=field.interval)
        if (high := field.high) is not None:
            yield refused(_above(field, high), f"is above {high:g}", "range", interval=field.interval)
    if field.choices:
        other = texts().filter(lambda text: text not in field.choices)
        yield refused(other, "is none of the choices", "range", "choice", choices=",".join(field.choices))
    if (most := field.max_items) is not None:
        long = st.integers(1, 3).map(lambda more: ["0"] * (most + more))
        kind = "documents" if name == "documents" else "range"
        yield refused(long, f"has more than {most} items", kind, None if kind == "documents" else "length", limit=most)
    if (chars := field.max_chars) is not None:
        text = st.integers(1, 9).map(lambda more: "长" * (chars + more))
        drawn = text.map(lambda one: [one]) if field.kind == "strings" else text
        yield refused(drawn, f"is longer than {chars} characters", "range", "length", limit=chars)


def _below(field: Field, low: float) -> SearchStrategy[Any]:
    if field.kind == "integer":
        return st.integers(0, _FURTHER).map(lambda less: int(low) - 1 - less)
    less = st.floats(0.01, _FURTHER).map(lambda distance: low - distance)
    return st.just(low) | less if field.low_open else less


def _above(field: Field, high: float) -> SearchStrategy[Any]:
    if field.kind == "integer":
        return st.integers(0, _FURTHER).map(lambda more: int(high) + 1 + more)
    return st.floats(0.01, _FURTHER).map(lambda distance: high + distance)
