"""However a good configuration is spoilt, it is a `ConfigError` with a line, or still good."""

from __future__ import annotations

import copy
from contextlib import suppress
from pathlib import Path
from typing import Any

import jsonschema
import yaml
from config_mistakes import MISTAKES
from hypothesis import given
from hypothesis import strategies as st

import mock_server.config
from mock_server.config.applying import set_up
from mock_server.config.checking import problems_of
from mock_server.config.document import parse
from mock_server.config.schema import schema_of
from mock_server.settings import ConfigError, Settings, build
from mock_server.state import State

ROOT = Path(__file__).resolve().parents[2]
EXAMPLE = Path(mock_server.config.__file__).with_name("example.yaml")
GOOD_FILES = [EXAMPLE, *sorted((ROOT / "docs" / "examples").rglob("*.yaml"))]
SCHEMA = jsonschema.Draft202012Validator(schema_of(Settings))

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=5), inner, max_size=2),
    max_leaves=4,
)


def good() -> dict[str, Any]:
    return parse(EXAMPLE.read_text("utf-8"), {}).data


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """The paths of all values below ``value``."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    return [found for key, each in pairs for found in ((*path, key), *places(each, (*path, key)))]


@st.composite
def spoilt(draw: st.DrawFn) -> dict[str, Any]:
    data = good()
    for _ in range(draw(st.integers(1, 3))):
        *outer, last = draw(st.sampled_from(places(data) or [("seed",)]))
        holder = data
        for step in outer:
            holder = holder[step]
        match draw(st.sampled_from(["rename", "replace", "remove", "repeat"])):
            case "rename" if isinstance(holder, dict):
                name = draw(
                    st.sampled_from([f"{last}s", last[1:], last.upper(), "on", "zzz", ""]) | st.text(max_size=6)
                )
                holder[name] = holder.pop(last, None)
            case "replace":
                holder[last] = draw(JSON)
            case "repeat" if isinstance(holder, list):
                holder.append(copy.deepcopy(holder[last]))
            case _:
                del holder[last]
    return data


@given(spoilt())
def test_a_spoilt_configuration_has_problems_with_places_or_is_good(data: dict[str, Any]) -> None:
    found = problems_of(data, Settings)
    # As JSON, which is YAML; allow_unicode would keep characters that YAML does not have.
    document = parse(yaml.safe_dump(data), {})
    for problem in document.placed(found):
        assert problem.line is not None
        assert problem.line >= 1
        assert problem.message
        assert "\n" not in problem.render("mock.yaml")
    if not found:
        assert SCHEMA.is_valid(data), "the schema never refuses what the loader takes"
        with suppress(ConfigError):  # two accounts of one name: that is told when all are read
            set_up(State(build(data)))


@given(st.text(max_size=40) | st.binary(max_size=40).map(lambda raw: raw.decode("latin-1")))
def test_any_text_is_a_document_or_a_problem(text: str) -> None:
    document = parse(text, {})
    for problem in document.problems:
        assert problem.line is not None
        assert 1 <= problem.line <= len(text.splitlines()) + 1


@given(st.data())
def test_any_cut_or_change_of_the_text_is_a_document_or_a_problem(draw: st.DataObject) -> None:
    text = EXAMPLE.read_text("utf-8")
    at = draw.draw(st.integers(0, len(text)))
    changed = (
        text[:at]
        + draw.draw(st.sampled_from(["", "\t", "[", "{", '"', ": ", "- ", "&a", "*a", "!x", "\x00"]))
        + text[at + 1 :]
    )
    document = parse(changed, {})
    if not document.problems:
        problems_of(document.data, Settings)


def test_the_schema_sees_what_a_schema_can_see() -> None:
    for mistake in MISTAKES:
        if not mistake.schema:
            continue
        data = yaml.load(mistake.text, Loader=yaml.BaseLoader) and parse(mistake.text, {}).data
        assert not SCHEMA.is_valid(data), mistake.text


def test_the_schema_and_the_loader_take_every_good_file() -> None:
    assert GOOD_FILES
    for file in GOOD_FILES:
        document = parse(file.read_text("utf-8"), {})
        assert not document.problems, file
        SCHEMA.validate(document.data)
        build(document.data)


def test_the_schema_is_one() -> None:
    jsonschema.Draft202012Validator.check_schema(SCHEMA.schema)
