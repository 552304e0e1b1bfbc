"""Making up a value that fits a JSON Schema (2020-12), as far as declared tools use it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import ceil, floor
from random import Random
from typing import Any, TypeAlias

from mock_server.answers.fits import fits, same

Schema: TypeAlias = Mapping[str, Any]

#: Below this depth only what is required is made up, so that a schema that contains itself comes to an end.
_DEEP = 3

#: And this is the end for one that requires itself.
_DEEPEST = 20

#: ``format`` -> a text of it.
_FORMATS: dict[str, str] = {
    "date": "2024-05-01",
    "time": "08:00:00Z",
    "date-time": "2024-05-01T08:00:00Z",
    "duration": "PT1H",
    "email": "someone@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uri-reference": "/path",
    "uuid": "f81d4fae-7dec-41d0-a765-00a0c91e6bf6",
}

#: Keywords that are passed over, and said to be.
_UNSUPPORTED = ("pattern", "not", "if", "patternProperties", "propertyNames", "contains", "dependentSchemas")


#: Stands for a value that could not be made; None is one that could.
_NONE: Any = object()


class Unmet(ValueError):
    """No value fits, or none that can be made up here."""


class Maker:
    """Makes values for one schema.

    Args:
        root: the schema that ``$ref`` points into.
        random: what there is to choose is chosen by it.
    """

    def __init__(self, root: Schema, random: Random) -> None:
        self._root = root
        self._random = random
        #: Keywords that were passed over: what was made may not fit them.
        self.passed_over: set[str] = set()

    def make(self, schema: Any, name: str = "value", depth: int = 0) -> Any:
        """A value that fits ``schema``: it is checked, so what cannot be made is said rather than made wrong.

        Args:
            schema: a part of the root schema.
            name: of the property; texts are made of it.
            depth: how deep it lies.

        Raises:
            Unmet: there is none, or it cannot be found.
        """
        if schema is True or schema == {}:
            return name
        if not isinstance(schema, Mapping):
            raise Unmet(f"{name}: {schema!r} is no schema that a value fits")
        if depth > _DEEPEST:
            raise Unmet(f"{name}: the schema requires itself without end")
        made = self._made(schema, name, depth)
        if not self._fits(made, schema):
            raise Unmet(f"{name}: its keywords contradict each other, or ask for more than is made up here")
        return made

    def _fits(self, value: Any, schema: Any) -> bool:
        return fits(value, schema, lambda reference: self._resolve(reference, "value"))

    def _made(self, schema: Schema, name: str, depth: int) -> Any:
        """A value that was made for ``schema``, and mostly fits it."""
        schema = self._whole(schema, name)
        self.passed_over.update(key for key in _UNSUPPORTED if key in schema)
        if "const" in schema:
            return schema["const"]
        if "enum" in schema:
            fitting = [value for value in schema["enum"] if self._fits(value, schema)]
            if not fitting:
                raise Unmet(f"{name}: " + ("no value of its enum fits the rest" if schema["enum"] else "an empty enum"))
            return self._random.choice(fitting)
        for key in ("anyOf", "oneOf"):
            if branches := schema.get(key):
                return self._branch({k: v for k, v in schema.items() if k != key}, key, branches, name, depth)
        return _KINDS[self._type(schema, name)](self, schema, name, depth)

    def _whole(self, schema: Schema, name: str) -> dict[str, Any]:
        """The schema with its references and ``allOf`` put in."""
        found = dict(schema)
        for _ in range(_DEEPEST):
            if "$ref" in found:
                target = self._resolve(found.pop("$ref"), name)
                found = _merged(dict(target), found)
            elif "allOf" in found:
                for part in found.pop("allOf"):
                    found = _merged(found, part if isinstance(part, Mapping) else {})
            else:
                return found
        raise Unmet(f"{name}: its references go round in circles")

    def _resolve(self, reference: str, name: str) -> Schema:
        target: Any = self._root
        if not str(reference).startswith("#"):
            raise Unmet(f"{name}: {reference!r} points outside of the schema")
        for part in str(reference)[1:].strip("/").split("/"):
            key = part.replace("~1", "/").replace("~0", "~")
            if not key:
                continue
            if not isinstance(target, Mapping) or key not in target:
                raise Unmet(f"{name}: {reference!r} points nowhere")
            target = target[key]
        return target if isinstance(target, Mapping) else {}

    def _branch(self, rest: Schema, key: str, branches: Any, name: str, depth: int) -> Any:
        whole = {**rest, key: branches}
        made = (
            self._try(_merged(dict(rest), branch if isinstance(branch, Mapping) else {}), name, depth)
            for branch in branches
            if branch is not False
        )
        found = next((each for each in made if each is not _NONE and self._fits(each, whole)), _NONE)
        if found is _NONE:
            raise Unmet(f"{name}: none of the branches to choose from can be met")
        return found

    def _try(self, schema: Any, name: str, depth: int) -> Any:
        try:
            return self.make(schema, name, depth + 1)
        except Unmet:
            return _NONE

    @staticmethod
    def _type(schema: Schema, name: str) -> str:
        kind = schema.get("type")
        if isinstance(kind, list):
            kind = next((each for each in kind if each != "null"), "null")
        if kind is None:
            kind = next((type_ for key, type_ in _TYPES_BY_KEY if key in schema), "string")
        if kind not in _KINDS:
            raise Unmet(f"{name}: there is no type {kind!r}")
        return str(kind)

    def _object(self, schema: Schema, name: str, depth: int) -> dict[str, Any]:
        properties = schema.get("properties") or {}
        required = list(schema.get("required") or ())
        names = required if depth >= _DEEP else [*properties, *(each for each in required if each not in properties)]
        other = schema.get("additionalProperties", True)
        made = {each: self.make(properties.get(each, other), each, depth + 1) for each in required}
        optional = [each for each in names if each not in made]
        made |= {each: value for each in optional if (value := self._try(properties[each], each, depth)) is not _NONE}
        spare = 0
        while len(made) < schema.get("minProperties", 0):
            spare += 1
            made.setdefault(f"{name}{spare}", self.make(other, name, depth + 1))
        if len(made) > schema.get("maxProperties", len(made)):
            for each in [each for each in made if each not in required][
                max(0, schema["maxProperties"] - len(required)) :
            ]:
                del made[each]
        return made

    def _array(self, schema: Schema, name: str, depth: int) -> list[Any]:
        first = schema.get("prefixItems") or []
        least = schema.get("minItems", 0)
        wanted = min(max(least, len(first), 1 if depth < _DEEP else 0), schema.get("maxItems", 10**9))
        items = schema.get("items", True)
        if items is False:
            wanted = min(wanted, len(first))
        made: list[Any] = []
        for index in range(wanted):
            part = first[index] if index < len(first) else items
            value = self.make(part, f"{name}{index + 1}" if index else name, depth + 1)
            if schema.get("uniqueItems") and any(same(value, old) for old in made):
                value = self._another(part, made, f"{name}{index + 1}", depth)
                if value is _NONE:
                    break
            made.append(value)
        if len(made) < least:
            raise Unmet(f"{name}: {least} items are wanted, and no more can be made up")
        return made

    def _another(self, schema: Any, made: list[Any], name: str, depth: int) -> Any:
        """A value that is none of those before, or `_NONE`."""
        whole = self._whole(schema, name) if isinstance(schema, Mapping) else {}
        if "enum" in whole:
            tried = list(whole["enum"])
        elif "const" not in whole and self._type(whole, name) in {"integer", "number"}:
            step = whole.get("multipleOf", 1)
            value = self.make(schema, name, depth + 1)
            tried = [value + step * away for away in range(-len(made) - 1, len(made) + 2)]
        elif not whole:
            tried = [name]
        else:
            tried = [self._try(schema, f"{each}{name}", depth) for each in ("", *range(2, 10))]
            tried += [False, True] if self._type(whole, name) == "boolean" else []
        fresh = (each for each in tried if each is not _NONE and not any(same(each, old) for old in made))
        return next((each for each in fresh if self._fits(each, schema)), _NONE)

    def _string(self, schema: Schema, name: str, _depth: int) -> str:
        least, most = schema.get("minLength", 0), schema.get("maxLength")
        text = _FORMATS.get(schema.get("format", ""), name)
        if len(text) < least:
            text = (text or "x") * ceil(least / max(1, len(text)))
            text = text[:least]
        return text if most is None else text[:most]

    def _number(self, schema: Schema, name: str, _depth: int, *, whole: bool = False) -> int | float:
        low, high = schema.get("minimum"), schema.get("maximum")
        above, below = schema.get("exclusiveMinimum"), schema.get("exclusiveMaximum")
        step = schema.get("multipleOf") or (1 if whole else None)
        if whole and isinstance(step, float) and step != int(step):
            step = step * 10**9 if step < 1e-9 else next(step * n for n in range(1, 10**6) if (step * n).is_integer())
        start = max([value for value in (low, above) if value is not None], default=None)
        end = min([value for value in (high, below) if value is not None], default=None)
        if step is not None:
            if start is not None:
                value = ceil(start / step) * step
            else:
                value = step if end is None else floor(end / step) * step
            if above is not None and value <= above:
                value += step
            if below is not None and value >= below:
                value -= step
        else:
            value = _between(start, end)
        value = int(value) if whole or float(value).is_integer() else value
        misfit = (start is not None and value < start) or (end is not None and value > end)
        if misfit or value in (above, below):
            raise Unmet(f"{name}: no number is within its bounds")
        return value

    def _integer(self, schema: Schema, name: str, depth: int) -> int:
        return int(self._number(schema, name, depth, whole=True))

    def _boolean(self, _schema: Schema, _name: str, _depth: int) -> bool:
        return self._random.random() < 0.5

    def _null(self, _schema: Schema, _name: str, _depth: int) -> None:
        return None


_KINDS: dict[str, Callable[[Maker, Schema, str, int], Any]] = {
    "object": Maker._object,
    "array": Maker._array,
    "string": Maker._string,
    "number": Maker._number,
    "integer": Maker._integer,
    "boolean": Maker._boolean,
    "null": Maker._null,
}

#: A keyword that tells the type of a schema that names none.
_TYPES_BY_KEY = (
    ("properties", "object"),
    ("required", "object"),
    ("items", "array"),
    ("prefixItems", "array"),
    ("minimum", "number"),
    ("maximum", "number"),
    ("multipleOf", "number"),
)


def _between(start: float | None, end: float | None) -> float:
    if start is None and end is None:
        return 1
    if start is None:
        assert end is not None
        return end - 1
    return start + 1 if end is None else (start + end) / 2


def _merged(one: dict[str, Any], other: Schema) -> dict[str, Any]:
    """Both schemas at once, as far as their keywords can be put together."""
    merged = {**one, **other}
    for key in ("properties", "$defs", "definitions"):
        if key in one and key in other:
            merged[key] = {**one[key], **other[key]}
    if "required" in one and "required" in other:
        merged["required"] = [*one["required"], *(name for name in other["required"] if name not in one["required"])]
    for key, choose in _TIGHTER.items():
        if key in one and key in other:
            merged[key] = choose(one[key], other[key])
    if "enum" in one and "enum" in other:
        merged["enum"] = [value for value in one["enum"] if value in other["enum"]]
    return merged


_TIGHTER: dict[str, Callable[[Any, Any], Any]] = {
    "minimum": max,
    "exclusiveMinimum": max,
    "minLength": max,
    "minItems": max,
    "maximum": min,
    "exclusiveMaximum": min,
    "maxLength": min,
    "maxItems": min,
}
