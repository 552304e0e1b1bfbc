"""Whether a value fits a JSON Schema (2020-12), as far as `schema.Maker` makes values: it checks what it has made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from math import isclose
from typing import Any, TypeAlias

Schema: TypeAlias = Mapping[str, Any]
Resolve: TypeAlias = Callable[[str], Any]

_TYPES: dict[str, Callable[[Any], bool]] = {
    "object": lambda value: isinstance(value, Mapping),
    "array": lambda value: isinstance(value, list),
    "string": lambda value: isinstance(value, str),
    "number": lambda value: isinstance(value, (int, float)) and not isinstance(value, bool),
    "integer": lambda value: not isinstance(value, bool) and isinstance(value, (int, float)) and value == int(value),
    "boolean": lambda value: isinstance(value, bool),
    "null": lambda value: value is None,
}


def same(one: Any, other: Any) -> bool:
    """Equal as JSON has it: ``1`` is ``1.0`` and not ``true``."""
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, Mapping) and isinstance(other, Mapping):
        return one.keys() == other.keys() and all(same(value, other[key]) for key, value in one.items())
    return bool(one == other)


def fits(value: Any, schema: Any, resolve: Resolve) -> bool:
    """Whether ``value`` fits ``schema``; ``resolve`` finds what a ``$ref`` means.

    Keywords that are not in the table below, and formats, are taken for met.
    """
    if not isinstance(schema, Mapping):
        return schema is not False
    return all(
        rule(value, schema[key], schema, resolve)
        for kind, rules in _RULES.items()
        if kind is None or _TYPES[kind](value)
        for key, rule in rules.items()
        if key in schema
    )


def _typed(value: Any, wanted: Any, _schema: Schema, _resolve: Resolve) -> bool:
    names = [wanted] if isinstance(wanted, str) else wanted
    return any(_TYPES[name](value) for name in names if name in _TYPES)


def _branches(value: Any, branches: Sequence[Any], resolve: Resolve) -> int:
    return sum(fits(value, each, resolve) for each in branches)


def _properties(value: Mapping[str, Any], properties: Schema, _schema: Schema, resolve: Resolve) -> bool:
    return all(fits(value[name], each, resolve) for name, each in properties.items() if name in value)


def _additional(value: Mapping[str, Any], wanted: Any, schema: Schema, resolve: Resolve) -> bool:
    if schema.get("patternProperties"):
        return True  # which names those are is nothing that is checked here
    return all(fits(each, wanted, resolve) for name, each in value.items() if name not in schema.get("properties", {}))


def _items(value: list[Any], wanted: Any, schema: Schema, resolve: Resolve) -> bool:
    return all(fits(each, wanted, resolve) for each in value[len(schema.get("prefixItems") or ()) :])


def _multiple(value: float, step: float, _schema: Schema, _resolve: Resolve) -> bool:
    return isclose(value / step, round(value / step), rel_tol=1e-12, abs_tol=1e-12)


_Check: TypeAlias = Callable[[Any, Any, Schema, Resolve], bool]

#: Type of value that a keyword looks at, None for any -> keyword -> whether it is met.
_RULES: dict[str | None, dict[str, _Check]] = {
    None: {
        "type": _typed,
        "const": lambda value, wanted, *_: same(value, wanted),
        "enum": lambda value, wanted, *_: any(same(value, each) for each in wanted),
        "$ref": lambda value, reference, _, resolve: fits(value, resolve(reference), resolve),
        "allOf": lambda value, parts, _, resolve: _branches(value, parts, resolve) == len(parts),
        "anyOf": lambda value, parts, _, resolve: _branches(value, parts, resolve) > 0,
        "oneOf": lambda value, parts, _, resolve: _branches(value, parts, resolve) == 1,
        "not": lambda value, part, _, resolve: not fits(value, part, resolve),
    },
    "number": {
        "minimum": lambda value, bound, *_: value >= bound,
        "maximum": lambda value, bound, *_: value <= bound,
        "exclusiveMinimum": lambda value, bound, *_: value > bound,
        "exclusiveMaximum": lambda value, bound, *_: value < bound,
        "multipleOf": _multiple,
    },
    "string": {
        "minLength": lambda value, bound, *_: len(value) >= bound,
        "maxLength": lambda value, bound, *_: len(value) <= bound,
    },
    "array": {
        "minItems": lambda value, bound, *_: len(value) >= bound,
        "maxItems": lambda value, bound, *_: len(value) <= bound,
        "prefixItems": lambda value, parts, _, resolve: all(
            fits(each, part, resolve) for each, part in zip(value, parts, strict=False)
        ),
        "items": _items,
        "uniqueItems": lambda value, wanted, *_: (
            not wanted or not any(same(one, other) for at, one in enumerate(value) for other in value[:at])
        ),
    },
    "object": {
        "required": lambda value, names, *_: all(name in value for name in names),
        "minProperties": lambda value, bound, *_: len(value) >= bound,
        "maxProperties": lambda value, bound, *_: len(value) <= bound,
        "properties": _properties,
        "additionalProperties": _additional,
    },
}
