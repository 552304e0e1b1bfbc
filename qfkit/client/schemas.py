"""A Python function as a model sees it: name, description, and a JSON Schema of its arguments."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final, TypeAlias, get_type_hints

import msgspec

from qfkit.client.exceptions import ConfigurationError
from qfkit.protocol.messages import Json

ToolFunction: TypeAlias = Callable[..., Any]

#: What both ends take as a function's name (OpenAI's rule, which v2 follows).
_NAME: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_KINDS: Final = (inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY)
_DEFS: Final = "#/$defs/"


@dataclass(frozen=True, slots=True)
class Tool:
    """A function that a model may call.

    Attributes:
        name: the function's own.
        description: the first paragraph of its docstring.
        parameters: JSON Schema of its arguments, an object.
        function: what is called.
        arguments: the type that arguments are checked against.
    """

    name: str
    description: str
    parameters: Json
    function: ToolFunction
    arguments: type[msgspec.Struct]

    @classmethod
    def of(cls, function: ToolFunction) -> Tool:
        """The tool that a function is.

        The schema is made from the annotations: ``str``, ``int``, ``float``, ``bool``, ``Literal``, ``list``, ``dict``,
        ``Optional``, enums, dataclasses, ``TypedDict`` and whatever else msgspec knows. What the docstring says of an
        argument, in Google's or Sphinx's way, becomes its description.

        Raises:
            ConfigurationError: it cannot be called so; names the argument at fault.
        """
        name: object = getattr(function, "__name__", None)
        if not isinstance(name, str):
            raise ConfigurationError(f"a tool is a Python function; got {type(function).__name__}")
        if not _NAME.fullmatch(name):
            raise ConfigurationError(
                f"a tool's name has 1 to 64 letters, digits, _ and -; got {name!r}. Write a def with a name of its own"
            )
        if inspect.iscoroutinefunction(function):
            raise ConfigurationError(f"{name} is async; a tool is called without an event loop: wrap it in a def")
        document = inspect.getdoc(function) or ""
        arguments = _arguments(function, name, _argument_notes(document))
        try:
            schema = msgspec.json.schema(arguments)
        except TypeError as error:
            raise ConfigurationError(
                f"no JSON Schema can be made of the arguments of {name}: {str(error).splitlines()[-1].strip()}"
            ) from error
        return cls(name, _summary(document), _inlined(schema, name), function, arguments)

    def call(self, arguments: object) -> Any:
        """Check the arguments, then call.

        Raises:
            msgspec.ValidationError: they do not fit the annotations; names the place.
        """
        given = msgspec.convert(arguments, self.arguments)
        return self.function(**{name: getattr(given, name) for name in self.arguments.__struct_fields__})


def _arguments(function: ToolFunction, name: str, notes: Mapping[str, str]) -> type[msgspec.Struct]:
    try:
        hints = get_type_hints(function, include_extras=True)
    except (NameError, TypeError) as error:
        raise ConfigurationError(
            f"the annotations of {name} cannot be read: {error}. Define or import their types at the top of the module"
        ) from error
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = []
    for parameter in inspect.signature(function).parameters.values():
        where = f"{name}({parameter})"
        if parameter.kind not in _KINDS:
            raise ConfigurationError(f"{where}: a model gives arguments by name, so it needs a named parameter here")
        if parameter.name not in hints:
            raise ConfigurationError(
                f"{where}: annotate it, as in {parameter.name}: str, so that a model knows its type"
            )
        hint = hints[parameter.name]
        if parameter.name in notes:
            hint = Annotated[hint, msgspec.Meta(description=notes[parameter.name])]
        if parameter.default is inspect.Parameter.empty:
            fields.append((parameter.name, hint))
        else:
            fields.append((parameter.name, hint, _default(parameter.default)))
    try:
        return msgspec.defstruct(name, fields, kw_only=True, forbid_unknown_fields=True)
    except TypeError as error:
        raise ConfigurationError(f"the arguments of {name} cannot be described: {error}") from error


def _default(value: Any) -> Any:
    if isinstance(value, (list, dict, set)):
        return msgspec.field(default_factory=value.copy)
    return value


def _inlined(schema: Json, name: str) -> Json:
    """The schema without ``$ref``: not every model that takes tools follows references."""
    definitions: Mapping[str, Json] = schema.get("$defs", {})

    def inline(node: Any, inside: tuple[str, ...]) -> Any:
        if isinstance(node, list):
            return [inline(item, inside) for item in node]
        if not isinstance(node, dict):
            return node
        reference = node.get("$ref")
        if not isinstance(reference, str) or not reference.startswith(_DEFS):
            return {key: inline(value, inside) for key, value in node.items()}
        target = reference.removeprefix(_DEFS)
        if target in inside:
            raise ConfigurationError(
                f"the arguments of {name} hold {target} within {target} without end, which cannot be shown to a model "
                "in full: flatten it"
            )
        rest = {key: inline(value, inside) for key, value in node.items() if key != "$ref"}
        return {**inline(definitions[target], (*inside, target)), **rest}

    found: Json = inline({key: value for key, value in schema.items() if key != "$defs"}, ())
    found.pop("title", None)  # the function's name again
    return found


def _summary(document: str) -> str:
    return " ".join(document.split("\n\n", 1)[0].split())


_GOOGLE: Final = re.compile(r"^(\s+)(\*{0,2}\w+)(?:\s*\([^)]*\))?\s*:\s*(.*)$")
_SPHINX: Final = re.compile(r"^:param\s+(?:[^:]*\s)?(\w+)\s*:\s*(.*)$")
_SECTION: Final = re.compile(r"^(Args|Arguments|Parameters)\s*:\s*$")


def _argument_notes(document: str) -> dict[str, str]:
    """What a docstring says of each argument: a section ``Args:`` of ``name: text``, or lines ``:param name: text``."""
    notes: dict[str, str] = {}
    current: str | None = None
    indent: int | None = None  # of the names in an Args section; None outside of one
    inside = False
    for line in document.splitlines():
        if _SECTION.match(line):
            inside, indent, current = True, None, None
        elif found := _SPHINX.match(line):
            inside, current = False, found[1]
            notes[current] = found[2].strip()
        elif not line.strip() or (inside and not line.startswith((" ", "\t"))):
            inside, current = inside and not line.strip(), None
        elif inside and (entry := _GOOGLE.match(line)) and indent in (None, len(entry[1])):
            indent, current = len(entry[1]), entry[2].lstrip("*")
            notes[current] = entry[3].strip()
        elif current is not None and line.startswith((" ", "\t")):
            notes[current] = f"{notes[current]} {line.strip()}".strip()
    return notes
