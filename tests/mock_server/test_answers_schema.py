"""Made-up values fit schemas whose keywords narrow each other, or are said to be impossible; `jsonschema` judges."""

from __future__ import annotations

from random import Random

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mock_server.answers.fits import fits, same
from mock_server.answers.schema import Maker, Unmet

VALUES = st.one_of(st.integers(-5, 5), st.text("ab", max_size=3), st.booleans(), st.none())
LEAVES = st.one_of(
    st.builds(
        lambda kind, low, wide, step: {"type": kind, "minimum": low, "maximum": low + wide, **step},
        st.sampled_from(["integer", "number"]),
        st.integers(-20, 20),
        st.integers(0, 30),
        st.sampled_from([{}, {"multipleOf": 3}, {"multipleOf": 0.5}]),
    ),
    st.builds(
        lambda low, wide: {"type": "string", "minLength": low, "maxLength": low + wide},
        st.integers(0, 6),
        st.integers(0, 6),
    ),
    VALUES.map(lambda value: {"const": value}),
    st.lists(VALUES, min_size=1, max_size=3).map(lambda values: {"enum": values}),
    st.sampled_from(
        [{"type": "boolean"}, {}, True, {"type": ["null", "string"]}, {"enum": ["a", "bb"], "minLength": 2}]
    ),
)


def _wider(inner):
    objects = st.builds(
        lambda properties, required, more: {"type": "object", "properties": properties, "required": required, **more},
        st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
        st.lists(st.sampled_from("abcd"), max_size=3, unique=True),
        st.sampled_from(
            [
                {},
                {"additionalProperties": False},
                {"additionalProperties": {"type": "integer"}},
                {"minProperties": 2},
                {"maxProperties": 1},
            ]
        ),
    )
    arrays = st.builds(
        lambda items, low, wide, unique: {
            "items": items,
            "minItems": low,
            "maxItems": low + wide,
            "uniqueItems": unique,
        },
        inner,
        st.integers(0, 3),
        st.integers(0, 3),
        st.booleans(),
    )
    mixed = st.builds(
        lambda key, parts: {key: parts},
        st.sampled_from(["anyOf", "oneOf", "allOf", "prefixItems"]),
        st.lists(inner, min_size=1, max_size=3),
    )
    return st.one_of(objects, arrays, mixed)


SCHEMAS = st.recursive(LEAVES, _wider, max_leaves=6)
JSON = st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abcd"), inner))


def valid(value, schema):
    return jsonschema.Draft202012Validator(schema).is_valid(value)


@settings(max_examples=500)
@given(SCHEMAS, st.integers())
def test_what_is_made_fits(schema, seed):
    try:
        value = Maker(schema, Random(seed)).make(schema)
    except Unmet:
        return
    assert valid(value, schema), value


@settings(max_examples=500)
@given(SCHEMAS, JSON)
def test_our_judge_agrees_with_theirs(schema, value):
    assert fits(value, schema, str) == valid(value, schema)


@given(JSON, JSON)
def test_equal_as_json_has_it(one, other):
    assert same(one, other) == valid(one, {"const": other})


@pytest.mark.parametrize(
    "schema",
    [
        {"enum": ["a", "bb"], "minLength": 2},
        {"type": "object", "required": ["d"], "additionalProperties": {"type": "integer"}},
        {"oneOf": [{"const": 1}, {"const": 1}, {"const": 2}]},
        {"type": "array", "items": {"type": "boolean"}, "minItems": 2, "uniqueItems": True},
        {"type": "array", "items": {"type": "string"}, "minItems": 4, "uniqueItems": True},
    ],
)
def test_what_can_be_met_is_met(schema):
    for seed in range(10):
        assert valid(Maker(schema, Random(seed)).make(schema), schema)


@pytest.mark.parametrize(
    "schema",
    [
        {"oneOf": [{}, {}]},
        {"allOf": [{"const": 1}, {"const": 2}]},
        {"type": "array", "items": {"const": 2}, "minItems": 2, "uniqueItems": True},
        {"type": "object", "required": ["a", "b"], "maxProperties": 1},
        {"type": "object", "required": ["d"], "additionalProperties": False},
    ],
)
def test_what_cannot_be_met_is_said(schema):
    with pytest.raises(Unmet):
        Maker(schema, Random(0)).make(schema)
