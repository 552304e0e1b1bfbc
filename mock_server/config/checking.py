"""Every mistake in the data of a configuration, not only the first.

msgspec says what a field may be and decides whether a value is that; this walks the structs, so that one mistake does
not hide the next, and words what it finds.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from enum import Enum, EnumMeta
from functools import cache
from math import isfinite
from types import NoneType, UnionType
from typing import Annotated, Any, Literal, NamedTuple, Union, get_args, get_origin

import msgspec

from mock_server.config.problems import Path, Problem, example_of, listed, near
from mock_server.config.scripts import check_chaos, check_rules, check_script

#: What ``holds`` in a field's annotation names -> who checks it.
_HOLDERS: dict[str, Callable[[Any, Path], Iterator[Problem]]] = {
    "script": check_script,
    "rules": check_rules,
    "chaos": check_chaos,
}


#: What other tools call a key -> its name here.
_ELSEWHERE = {
    "api_key": "bearer_token",
    "token": "bearer_token",
    "client_id": "ak",
    "client_secret": "sk",
    "steps": "script",
    "limits": "quota",
}


def problems_of(data: Mapping[str, Any], kind: type[msgspec.Struct]) -> tuple[Problem, ...]:
    """What is wrong with ``data``; when nothing is, ``msgspec.convert(data, kind)`` takes it.

    Args:
        data: settings as plain values: dictionaries, lists, texts, numbers, truth values, None.
        kind: the struct that they become.
    """
    return tuple(_struct(data, kind, (), _homes(kind)))


class About(NamedTuple):
    """What the annotation of a field says.

    Attributes:
        kind: its type, without None and without annotations.
        bounds: the constraints on it.
        optional: whether None is a value too.
        description: what it does.
        example: a value that it may have.
        secret: its values are not shown.
        holds: the name of a checker of its own, where it has one.
    """

    kind: Any
    bounds: msgspec.Meta
    optional: bool
    description: str
    example: Any
    secret: bool
    holds: str | None


@cache
def about(annotation: Any) -> About:
    """What an annotation says of the field that has it."""
    notes: list[msgspec.Meta] = []
    optional = False
    kind = annotation
    while get_origin(kind) in {Annotated, Union, UnionType}:
        if get_origin(kind) is Annotated:
            notes += kind.__metadata__
            kind = kind.__origin__
        else:
            kinds = [each for each in get_args(kind) if each is not NoneType]
            optional = len(kinds) < len(get_args(kind))
            (kind,) = kinds
    extra = {name: value for note in notes for name, value in (note.extra or {}).items()}
    bounds = next((note for note in notes if {note.ge, note.gt, note.le, note.min_length} != {None}), msgspec.Meta())
    return About(
        kind,
        bounds,
        optional,
        next((note.description for note in notes if note.description), ""),
        next((note.examples[0] for note in notes if note.examples), None),
        bool(extra.get("secret")),
        extra.get("holds"),
    )


def says(note: About) -> str:
    """Completes the sentence "NAME is ..."."""
    kind, bounds = note.kind, note.bounds
    if get_origin(kind) is Literal:
        text = "one of " + ", ".join(map(repr, get_args(kind)))
    elif kind in _NOUNS:
        text = _NOUNS[kind] + _range(bounds)
    elif get_origin(kind) is tuple:
        text = "a list of " + ", ".join(map(repr, choices(kind)))
    else:
        text = "a list" if get_origin(kind) is list else "a mapping"
    return text


def choices(kind: Any) -> list[str]:
    """The values of a choice, or of the items of a tuple of choices."""
    if get_origin(kind) is tuple:
        (kind, *_) = get_args(kind)
    if isinstance(kind, EnumMeta):
        members: Mapping[str, Enum] = kind.__members__
        return [each.value for each in members.values()]
    return list(get_args(kind))


_NOUNS = {str: "a text", bool: "true or false", int: "a whole number", float: "a number"}


def _range(bounds: msgspec.Meta) -> str:
    if bounds.gt is not None:
        return f" above {bounds.gt}"
    if bounds.ge is not None:
        return f" from {bounds.ge} to {bounds.le}"
    return ""


@cache
def _homes(kind: type[msgspec.Struct], place: str = "") -> Mapping[str, str]:
    """Every key that a struct below ``kind`` has -> where it stands: ``accounts[].script``."""
    found: dict[str, str] = {}
    for field in _fields(kind).values():
        at = f"{place}{field.name}"
        found.setdefault(field.name, at)
        for struct, inside in _within(about(field.type).kind):
            found = {**_homes(struct, f"{at}{inside}."), **found}
    return found


def _within(kind: Any) -> Iterator[tuple[type[msgspec.Struct], str]]:
    """The struct that a type holds, and how a path reaches into it."""
    inside = {list: ("[]", 0), dict: (".NAME", 1)}.get(get_origin(kind))
    found = kind if inside is None else get_args(kind)[inside[1]]
    if isinstance(found, type) and issubclass(found, msgspec.Struct):
        yield found, inside[0] if inside else ""


@cache
def _fields(kind: type[msgspec.Struct]) -> Mapping[str, msgspec.structs.FieldInfo]:
    # msgspec works the annotations out anew each time, which takes longer than all the checks.
    return {field.name: field for field in msgspec.structs.fields(kind)}


def _struct(data: Any, kind: type[msgspec.Struct], path: Path, homes: Mapping[str, str]) -> Iterator[Problem]:
    fields = _fields(kind)
    if not isinstance(data, Mapping):
        what = f"{path[-1]} is" if path and isinstance(path[-1], str) else "this is to be"
        first = next(iter(fields.values()))
        yield Problem(
            path=path,
            message=f"{what} a mapping of {listed(list(fields), 4)}; got {shown(data)}",
            example=example_of(first.name, about(first.type).example),
        )
        return
    for name, value in data.items():
        if name in fields:
            yield from _value(value, fields[name].type, (*path, name), homes)
            continue
        hint, example = near(name, fields), ""
        if _ELSEWHERE.get(name) in fields:
            hint = f"did you mean {_ELSEWHERE[name]!r}?"
        if hint:
            meant = hint.split("'")[1]
            example = example_of(meant, about(fields[meant].type).example)
        elif name in homes:
            hint = f"it belongs at {homes[name]}"
        else:
            hint = near(name, homes) or f"there are {listed(list(fields), 30)}"
        yield Problem(path=(*path, name), message=f"{name!r} is not a setting", hint=hint, example=example, of_key=True)


def _value(value: Any, annotation: Any, path: Path, homes: Mapping[str, str]) -> Iterator[Problem]:
    note = about(annotation)
    if value is None and note.optional:
        return
    name = next(str(step) for step in reversed(path) if isinstance(step, str))
    example = example_of(name, note.example)
    container = get_origin(note.kind)
    structs = list(_within(note.kind))
    if note.holds and value is not None:
        yield from _HOLDERS[note.holds](value, path)
    elif structs and container is None:
        yield from _struct(value, structs[0][0], path, homes)
    elif structs and container is list and isinstance(value, list):
        for index, each in enumerate(value):
            yield from _struct(each, structs[0][0], (*path, index), homes)
    elif structs and container is dict and isinstance(value, Mapping):
        for key, each in value.items():
            yield from _struct(each, structs[0][0], (*path, key), homes)
    elif container is tuple and isinstance(value, list):
        for index, each in enumerate(value):
            if each not in (good := choices(note.kind)):
                message = f"{name} holds some of {', '.join(map(repr, good))}; got {shown(each)}"
                yield Problem(path=(*path, index), message=message, hint=near(each, good), example=example)
    elif not _fits(value, annotation):
        got = kind_of(value) if note.secret else shown(value)
        message = f"{name} is {says(note)}; got {got}"
        yield Problem(path=path, message=message, hint=_hint(value, note), example=example)


def _fits(value: Any, annotation: Any) -> bool:
    if isinstance(value, float) and not isfinite(value):
        return False
    try:
        msgspec.convert(value, annotation)
    except msgspec.ValidationError:
        return False
    return True


def _hint(value: Any, note: About) -> str:
    """What to do about a value of the wrong kind."""
    if value is None:
        return "nothing stands after the colon: give a value, or leave the key out"
    if get_origin(note.kind) is Literal:
        return near(value, choices(note.kind))
    if note.kind is str and isinstance(value, (bool, int, float)):
        return "put it in quotes"
    if note.kind is bool and str(value).lower() in {"yes", "no", "on", "off", "y", "n"}:
        return "YAML 1.2 has true and false alone"
    if note.kind in {int, float} and isinstance(value, str):
        return _number_hint(value)
    if get_origin(note.kind) in {list, tuple} and not isinstance(value, list):
        return "a list has one item a line, each with a dash and a space before it, or stands in [ ]"
    return ""


def _number_hint(text: str) -> str:
    if text.replace("_", "").replace(",", "").lstrip("+-").isdigit() and not text.isdigit():
        return f"write it with digits alone, {text.replace('_', '').replace(',', '')}"
    try:
        float(text)
    except ValueError:
        return ""
    return "a number has no quotes, and does not come from ${...}, which is always a text"


def kind_of(value: Any) -> str:
    """What a value is, without showing it."""
    names = {dict: "a mapping", list: "a list", str: "a text", bool: "a truth value", NoneType: "nothing"}
    return names.get(type(value), "a number")


def shown(value: Any) -> str:
    """A value for a message; of containers only what they are."""
    if value is None or isinstance(value, (dict, list)):
        return kind_of(value)
    if isinstance(value, bool):
        return str(value).lower()
    text = repr(value)
    return text if len(text) <= 60 else f"{text[:60]}…"
