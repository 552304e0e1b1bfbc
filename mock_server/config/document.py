"""A YAML file with the line of everything in it.

It is read as YAML 1.2 has it (core schema, https://yaml.org/spec/1.2.2/#103-core-schema): ``on`` and ``off`` are texts,
so that ``on:`` can be a key and ``auth: off`` a value, and ``012`` is twelve.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path as File
from typing import Any

import yaml

from mock_server.config.problems import Path, Problem

_NULLS = frozenset({"", "~", "null", "Null", "NULL"})
_BOOLS = {spelling: word == "true" for word in ("true", "false") for spelling in (word, word.title(), word.upper())}
_INT = re.compile(r"[-+]?[0-9]{1,4000}")
_BASED = {"0o": (re.compile(r"0o[0-7]{1,4000}"), 8), "0x": (re.compile(r"0x[0-9a-fA-F]{1,4000}"), 16)}
_FLOAT = re.compile(r"[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?")
_NO_NUMBERS = {".nan": "nan", ".inf": "inf", "+.inf": "inf", "-.inf": "-inf"}

#: ``${NAME}`` or ``${NAME:-default}``; a second dollar sign before it keeps it as it stands.
_PLACEHOLDER = re.compile(r"\$(\$\{|\{(?P<name>[A-Za-z_][A-Za-z0-9_]*)(?P<other>:-(?P<default>[^}]*))?\})")

#: What PyYAML says -> what to do.
_SYNTAX = {
    "'\\t'": "YAML is indented with spaces, never with tabs",
    "mapping values are not allowed": "a text with ': ' in it goes in quotes; or this line is indented too far",
    "expected <block end>": "this line is indented differently from those it belongs to",
    "could not find expected ':'": "a key is followed by a colon and a space",
    "found unexpected end of stream": "a quote is opened and never closed",
    "expected ',' or ']'": "a list that opens with [ has commas between its items, and ends with ]",
    "expected ',' or '}'": "a mapping that opens with { has commas between its items, and ends with }",
    "found '<stream end>'": "something that was opened with [ or { is not closed",
    "expected the node content": "a value is missing, or one that begins with this character goes in quotes",
    "cannot start any token": "a value that begins with this character goes in quotes",
    "found undefined alias": "a text that begins with * goes in quotes",
    "second document": "one file holds one mapping: remove the line ---",
    "unknown escape character": "in double quotes \\ begins an escape: write \\\\, or use single quotes",
    "expected alphabetic or numeric": "a text that begins with & or * goes in quotes",
}

#: Texts after such a key are not shown.
_SECRET = re.compile(r"((?:\w*(?:key|token|secret)|ak|sk)\w*[\"']?\s*:\s*)\S.*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Document:
    """What a file holds.

    Attributes:
        data: its values; empty where there are problems.
        problems: what is wrong with the file as YAML, in its order.
        root: the nodes, which know their lines.
        secrets: values from the environment -> the placeholder that stands for them.
    """

    data: dict[str, Any]
    problems: tuple[Problem, ...] = ()
    root: yaml.Node | None = None
    secrets: Mapping[str, str] | None = None

    def placed(self, problems: tuple[Problem, ...]) -> tuple[Problem, ...]:
        """The problems with their lines, in the order of the file; what came from the environment is not shown."""
        found = []
        for problem in problems:
            message = problem.message
            for value, placeholder in (self.secrets or {}).items():
                message = message.replace(value, placeholder)
            line, column = self._place(problem)
            found.append(replace(problem, message=message, line=line, column=column))
        return tuple(sorted(found, key=lambda problem: (problem.line, problem.column)))

    def _place(self, problem: Problem) -> tuple[int, int]:
        """Line and column of what is wrong, from 1: the value if it is one word, else its key."""
        node, mark = self.root, None
        for step in problem.path:
            if isinstance(node, yaml.SequenceNode) and isinstance(step, int) and step < len(node.value):
                node = node.value[step]
                mark = node.start_mark
            elif isinstance(node, yaml.MappingNode):
                pair = _pair(node, str(step))
                if pair is None:
                    break
                key, node = pair
                mark = key.start_mark
            else:
                break
        else:
            if isinstance(node, yaml.ScalarNode) and node.value and not problem.of_key:
                mark = node.start_mark
        if mark is None:
            mark = self.root.start_mark if self.root else None
        return (mark.line + 1, mark.column + 1) if mark else (1, 1)


def read(file: File, environ: Mapping[str, str]) -> Document:
    """A file with its values and their lines; what is wrong is among its `Document.problems`.

    Args:
        file: where it is.
        environ: where ``${NAME}`` is looked up.
    """
    try:
        raw = file.read_bytes()
        text = raw.decode("utf-8-sig")
    except OSError as error:
        return Document({}, (Problem(message=f"cannot be read: {error.strerror or error}"),))
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        column = error.start - (raw.rfind(b"\n", 0, error.start) + 1) + 1
        message = f"cannot be read: not UTF-8 (byte {raw[error.start]:#04x})"
        return Document({}, (Problem(message=message, hint="save the file as UTF-8", line=line, column=column),))
    return parse(text, environ)


def parse(text: str, environ: Mapping[str, str]) -> Document:
    """The same of a text."""
    try:
        root = yaml.compose(text, Loader=yaml.BaseLoader)
        if root is None:
            return Document({})
        values = _Values(environ)
        data = values.of(root, ())
    except yaml.YAMLError as error:
        return Document({}, (_syntax(error, text),))
    except RecursionError:
        message = "not a configuration: lists and mappings are nested too deeply"
        return Document({}, (Problem(message=message, line=1, column=1),))
    document = Document({}, root=root, secrets=values.secrets)
    if values.problems:
        return Document({}, document.placed(tuple(values.problems)))
    if data is None:
        return Document({})
    if not isinstance(data, dict):
        problem = Problem(
            message=f"the file holds a mapping of settings; got a {'list' if isinstance(data, list) else 'text'}",
            hint="begin each line with a key and a colon",
            example="auth: strict",
        )
        return Document({}, document.placed((problem,)))
    return replace(document, data=data)


class _Values:
    """Plain values of nodes."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self.problems: list[Problem] = []
        self.secrets: dict[str, str] = {}
        self._environ = environ
        self._made: dict[int, Any] = {}
        self._open: set[int] = set()

    def of(self, node: yaml.Node, path: Path) -> Any:
        """The value of a node; one that is used again by an alias is made once."""
        if id(node) in self._open:
            self.problems.append(Problem(path=path, message="an alias leads back to what holds it"))
            return None
        if id(node) not in self._made:
            self._open.add(id(node))
            self._made[id(node)] = self._make(node, path)
            self._open.discard(id(node))
        return self._made[id(node)]

    def _make(self, node: yaml.Node, path: Path) -> Any:
        if not node.tag.startswith("tag:yaml.org,2002:") or node.tag.rpartition(":")[2] not in {"str", "seq", "map"}:
            message = f"the tag {node.tag.replace('tag:yaml.org,2002:', '!!')} is not used here"
            self.problems.append(Problem(path=path, message=message, hint="remove it, or put the text in quotes"))
            return None
        if isinstance(node, yaml.SequenceNode):
            return [self.of(each, (*path, index)) for index, each in enumerate(node.value)]
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, path)
        assert isinstance(node, yaml.ScalarNode)
        return self._scalar(str(node.value), node.style, path)

    def _mapping(self, node: yaml.MappingNode, path: Path) -> dict[str, Any]:
        own: dict[str, Any] = {}
        merged: dict[str, Any] = {}
        lines: dict[str, int] = {}
        for key, value in node.value:
            if not isinstance(key, yaml.ScalarNode):
                problem = Problem(path=path, message="a key is a text, not a list or a mapping")
                self.problems.append(replace(problem, hint="a value that begins with { or [ goes in quotes"))
                continue
            if _merges(key):
                for each in _sources(value):
                    inherited = self.of(each, (*path, "<<"))
                    if isinstance(inherited, dict):
                        merged = inherited | merged
                    else:
                        self.problems.append(
                            Problem(path=(*path, "<<"), message="<< takes a mapping, or a list of them")
                        )
                continue
            name = key.value
            if name in own:
                message = f"the key {name!r} is given twice, in lines {lines[name]} and {key.start_mark.line + 1}"
                problem = Problem(path=(*path, name), message=message, hint="keep one of them", of_key=True)
                self.problems.append(problem)
            lines[name] = key.start_mark.line + 1
            own[name] = self.of(value, (*path, name))
        return merged | own

    def _scalar(self, text: str, style: str | None, path: Path) -> Any:
        if "${" in text:
            return _PLACEHOLDER.sub(lambda found: self._filled(found, path), text)
        return text if style else _plain(text)

    def _filled(self, found: re.Match[str], path: Path) -> str:
        name = found["name"]
        if name is None:
            return "${"
        value = self._environ.get(name, "")
        if not value and found["other"] is None and name not in self._environ:
            message = f"the environment has no variable {name}"
            hint = f"set it, or give a default: ${{{name}:-...}}"
            self.problems.append(Problem(path=path, message=message, hint=hint))
        value = value or found["default"] or ""
        if len(value) >= 4:  # shorter ones would be found in every other word
            self.secrets[value] = f"${{{name}}}"
        return value


def _plain(text: str) -> Any:
    """The value of a scalar without quotes, by the core schema."""
    if text in _NULLS:
        return None
    if text in _BOOLS:
        return _BOOLS[text]
    if _INT.fullmatch(text):
        return int(text)
    pattern, base = _BASED.get(text[:2], (None, 0))
    if pattern is not None and pattern.fullmatch(text):
        return int(text, base)
    if _FLOAT.fullmatch(text):
        return float(text)
    return float(_NO_NUMBERS[text.lower()]) if text.lower() in _NO_NUMBERS else text


def _merges(key: yaml.Node) -> bool:
    return isinstance(key, yaml.ScalarNode) and key.value == "<<" and not key.style


def _sources(value: yaml.Node) -> list[yaml.Node]:
    """What ``<<`` takes in, the first one winning."""
    return value.value if isinstance(value, yaml.SequenceNode) else [value]


def _pair(node: yaml.MappingNode, name: str) -> tuple[yaml.Node, yaml.Node] | None:
    """Key and value, of the last of that name; those that ``<<`` takes in included."""
    for key, value in reversed(node.value):
        if isinstance(key, yaml.ScalarNode) and key.value == name:
            return key, value
    for key, value in node.value:
        if _merges(key):
            for each in _sources(value):
                if isinstance(each, yaml.MappingNode) and (found := _pair(each, name)):
                    return found
    return None


def _syntax(error: yaml.YAMLError, text: str) -> Problem:
    """What the YAML parser found, with the line's own text and what to do about it."""
    if not isinstance(error, yaml.MarkedYAMLError) or error.problem_mark is None:
        position = getattr(error, "position", 0)
        line, column = text.count("\n", 0, position) + 1, position - text.rfind("\n", 0, position)
        message = f"not YAML: the character {text[position : position + 1]!r} may not stand in it"
        return Problem(message=message, hint="remove it", line=line, column=column)
    mark, said = error.problem_mark, str(error.problem)
    lines = text.splitlines()
    if "another document" in said:
        said = "a second document begins"
    if ("stream" in said or "expected ':'" in said) and error.context_mark is not None:
        mark = error.context_mark  # what is missing at the end is missing where it was opened
    offending = lines[mark.line].strip() if mark.line < len(lines) else ""
    offending = _SECRET.sub(r"\1***", offending)[:60]
    shown = f" in {offending!r}" if offending else ""
    hint = next((what for words, what in _SYNTAX.items() if words in said), "")
    return Problem(message=f"not YAML: {said}{shown}", hint=hint, line=mark.line + 1, column=mark.column + 1)
