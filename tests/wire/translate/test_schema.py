from copy import deepcopy
from typing import Any

import pytest
from healing.wire.translate.common import UntranslatableError
from healing.wire.translate.schema import gemini_schema
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.gemini_request import SCHEMA_KEYWORDS, subschemas

steady = settings(deadline=None, derandomize=True, max_examples=150)
KEYWORDS = [
    *sorted(SCHEMA_KEYWORDS),
    "const",
    "default",
    "pattern",
    "allOf",
    "definitions",
    "not",
    "minLength",
    "$schema",
]
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.sampled_from(["object", "#/$defs/a", "a", "string"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*KEYWORDS, "a"]), inner, max_size=4),
    max_leaves=20,
)
SCHEMAS = st.dictionaries(st.sampled_from(KEYWORDS), VALUES, max_size=5)


def clean(schema: dict[str, Any]) -> dict[str, Any]:
    return gemini_schema(schema, "tools.0.input_schema")


def test_what_is_taken_stays_as_it_is() -> None:
    schema = {
        "$id": "x",
        "type": "object",
        "title": "T",
        "description": "D",
        "properties": {
            "a": {"type": ["string", "null"], "format": "date-time", "enum": ["x", 1, None, {"y": 2}]},
            "b": {
                "type": "array",
                "items": {"type": "integer", "minimum": 1, "maximum": 9},
                "minItems": 1,
                "maxItems": 2,
            },
            "c": {"prefixItems": [{"type": "string"}], "type": "array"},
            "d": {"anyOf": [{"type": "string"}, {"type": "null"}]},
            "e": {"oneOf": [{"$ref": "#/$defs/E"}], "$anchor": "e"},
            "f": {"type": "object", "additionalProperties": {"type": "number"}},
        },
        "required": ["a"],
        "additionalProperties": False,
        "$defs": {"E": {"type": "boolean"}},
    }
    assert clean(schema) == schema


def test_what_is_not_taken_goes_out() -> None:
    schema = {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "type": "object",
        "properties": {"a": {"type": "string", "default": "x", "pattern": "^x", "minLength": 1, "maxLength": 2}},
        "patternProperties": {"^x": {"type": "string"}},
        "minProperties": 1,
        "description": None,
    }
    assert clean(schema) == {"type": "object", "properties": {"a": {"type": "string"}}}


@pytest.mark.parametrize("keywords", ["properties", "$defs"])
def test_a_property_or_definition_may_be_named_like_a_keyword(keywords: str) -> None:
    names = ["default", "pattern", "const", "$schema", "properties", "required", "items", "enum", "$ref"]
    schema = {keywords: {name: {"type": "string"} for name in names}}
    assert clean(schema) == schema


@pytest.mark.parametrize("value", ["x", 1, None, False, {"a": 1}])
def test_const_becomes_an_enum_of_one_value(value: Any) -> None:
    assert clean({"const": value, "enum": [value, 2]}) == {"enum": [value]}


@pytest.mark.parametrize("values", [[], None, "x"])
def test_an_enum_without_values_goes_out(values: Any) -> None:
    assert clean({"type": "string", "enum": values}) == {"type": "string"}


def test_required_names_only_properties_that_exist() -> None:
    schema = {"properties": {"a": {}, "b": False}, "required": ["a", "b", "c", 4]}
    assert clean(schema) == {"properties": {"a": {}}, "required": ["a"]}
    assert clean({"type": "object", "required": ["a"]}) == {"type": "object"}


def test_boolean_subschemas_allow_everything_or_go_out() -> None:
    schema = {
        "properties": {"any": True, "none": False},
        "anyOf": [True, False],
        "items": True,
        "additionalProperties": True,
    }
    assert clean(schema) == {"properties": {"any": {}}, "anyOf": [{}], "additionalProperties": True}


def test_what_stands_beside_a_reference_is_kept_around_it() -> None:
    schema = {"properties": {"a": {"$ref": "#/$defs/A", "description": "D"}}, "$defs": {"A": {"type": "string"}}}
    assert clean(schema)["properties"]["a"] == {"description": "D", "anyOf": [{"$ref": "#/$defs/A"}]}


def test_old_definitions_and_their_references_are_renamed_together() -> None:
    schema = {"properties": {"a": {"$ref": "#/definitions/A"}}, "definitions": {"A": {"type": "string"}}}
    assert clean(schema) == {"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"type": "string"}}}


def test_old_tuples_are_written_anew() -> None:
    assert clean({"items": [{"type": "string"}, {}]}) == {"prefixItems": [{"type": "string"}, {}]}


def test_all_of_one_is_kept_as_any_of_one() -> None:
    schema = {"allOf": [{"$ref": "#/$defs/A"}], "description": "D", "$defs": {"A": {}}}
    assert clean(schema) == {"anyOf": [{"$ref": "#/$defs/A"}], "description": "D", "$defs": {"A": {}}}


@pytest.mark.parametrize("target", ["#/$defs/B", "#/allOf/0", "#/properties/a/enum", "#/anyOf/7", "#/$defs/A/0", 5])
def test_a_reference_to_nowhere_goes_out(target: Any) -> None:
    schema = {"properties": {"a": {"enum": ["x"]}, "b": {"$ref": target}}, "$defs": {"A": {}}}
    assert clean(schema)["properties"]["b"] == {}


@pytest.mark.parametrize(
    "target", ["#", "#/$defs/A~1B%20C", "#/properties/a/items", "#/anyOf/0", "#anchor", "https://x/y"]
)
def test_a_reference_to_somewhere_stays(target: str) -> None:
    schema = {
        "properties": {"a": {"items": {"type": "string"}}, "b": {"$ref": target}},
        "anyOf": [{}],
        "$defs": {"A/B C": {}},
    }
    assert clean(schema)["properties"]["b"] == {"$ref": target}


def test_a_schema_nested_too_deeply_is_refused_with_its_place() -> None:
    schema: dict[str, Any] = {"type": "string"}
    for _ in range(400):
        schema = {"type": "array", "items": schema}
    with pytest.raises(UntranslatableError, match=r"^tools\.0\.input_schema: .*nested"):
        clean(schema)


@given(SCHEMAS)
@steady
def test_only_what_is_taken_is_left_of_any_schema_which_itself_stays_as_it_was(schema: dict[str, Any]) -> None:
    before = deepcopy(schema)
    cleaned = clean(schema)
    assert schema == before
    for each in subschemas(cleaned):
        assert each.keys() <= SCHEMA_KEYWORDS
    assert clean(cleaned) == cleaned
