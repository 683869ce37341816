from copy import deepcopy
from typing import Any

import pytest
from antigravity_healing.wire.translate.common import UntranslatableError
from antigravity_healing.wire.translate.to_gemini.schema import gemini_schema
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.gemini_request import SCHEMA_KEYWORDS, check_circles, subschemas

steady = settings(deadline=None, derandomize=True, max_examples=examples(150))
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
            "a": {"type": ["string", "null"], "format": "date-time", "enum": ["x", 1]},
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


@pytest.mark.parametrize("value", ["x", 1, 1.5])
def test_const_becomes_an_enum_of_one_value(value: Any) -> None:
    assert clean({"const": value, "enum": [value, 2]}) == {"enum": [value]}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"const": None}, {"type": "null"}),
        ({"const": True}, {"type": "boolean", "description": "{enum: [true]}"}),
        ({"type": "object", "enum": [{"a": 1}]}, {"type": "object", "description": '{enum: [{"a":1}]}'}),
        ({"enum": ["a", 1, True]}, {"type": ["string", "number", "boolean"], "description": '{enum: ["a",1,true]}'}),
        (
            {"type": ["string", "null"], "enum": ["a", None]},
            {"type": ["string", "null"], "anyOf": [{"enum": ["a"]}, {"type": "null"}]},
        ),
    ],
)
def test_values_that_are_neither_strings_nor_numbers_are_told_in_words(given: Any, expected: Any) -> None:
    assert clean(given) == expected


def test_what_clients_take_for_schemas_becomes_one() -> None:
    schema = {
        "type": "OBJECT",
        "properties": {
            "a": {"type": "any", "required": True},
            "b": {"type": ["Int", "null"], "exclusiveMinimum": 1, "minItems": "1"},
            "c": {"type": "number", "exclusiveMaximum": True, "maximum": 3, "format": None, "required": False},
        },
        "required": ["b", "b"],
    }
    assert clean(schema) == {
        "type": "object",
        "properties": {
            "a": {},
            "b": {"type": ["integer", "null"], "minimum": 1},
            "c": {"type": "number", "maximum": 3},
        },
        "required": ["b", "a"],
    }


NODE = {"$ref": "#/$defs/Node"}


def node(properties: dict[str, Any], *required: str) -> dict[str, Any]:
    whole = {"type": "object", "properties": properties, **({"required": list(required)} if required else {})}
    return {"type": "object", "properties": {"tree": NODE}, "required": ["tree"], "$defs": {"Node": whole}}


@pytest.mark.parametrize(
    "properties",
    [
        {"name": {}, "next": NODE},
        {"name": {}, "next": {"anyOf": [NODE, {"type": "null"}]}},
        {"name": {}, "next": {"type": "array", "items": NODE}},
        {"name": {}, "next": {"type": "object", "properties": {"of": NODE}, "required": ["of"]}},
    ],
)
def test_what_is_required_in_a_circle_becomes_optional_and_nothing_else(properties: dict[str, Any]) -> None:
    made = clean(node(properties, "name", "next"))
    assert made["required"] == ["tree"]
    whole = made["$defs"]["Node"]
    assert whole["required"] == ["name"]
    assert whole["properties"].keys() == properties.keys()


def test_a_circle_that_goes_by_an_optional_property_stays() -> None:
    schema = node({"name": {}, "next": NODE, "list": {"type": "array", "items": NODE}}, "name")
    assert clean(schema) == schema


def test_a_circle_of_two_is_opened_in_both() -> None:
    one, two = ({"properties": {"to": {"$ref": f"#/$defs/{name}"}}, "required": ["to"]} for name in ("Two", "One"))
    made = clean({"properties": {"a": {"$ref": "#/$defs/One"}}, "required": ["a"], "$defs": {"One": one, "Two": two}})
    assert made["$defs"] == {"One": {"properties": one["properties"]}, "Two": {"properties": two["properties"]}}
    assert made["required"] == ["a"]


KNOTS = st.recursive(
    st.just({"type": "null"}) | st.sampled_from(["#", "#/$defs/a", "#/$defs/b"]).map(lambda to: {"$ref": to}),
    lambda inner: (
        st.builds(lambda item: {"items": item}, inner)
        | st.builds(lambda items: {"anyOf": items}, st.lists(inner, min_size=1, max_size=2))
        | st.builds(
            lambda members, required: {"properties": members, "required": required},
            st.dictionaries(st.sampled_from("xyz"), inner, min_size=1),
            st.lists(st.sampled_from("xyz")),
        )
    ),
    max_leaves=8,
)


@given(KNOTS, KNOTS, KNOTS)
@steady
def test_no_circle_of_required_properties_is_left_of_any_knot(top: Any, a: Any, b: Any) -> None:
    cleaned = clean({"properties": {"x": top}, "required": ["x"], "$defs": {"a": a, "b": b}})
    check_circles(cleaned)
    assert clean(cleaned) == cleaned


def test_a_schema_that_is_nothing_but_itself_is_cut() -> None:
    made = clean({"properties": {"a": {"$ref": "#/$defs/A"}}, "$defs": {"A": {"anyOf": [{"$ref": "#/$defs/A"}]}}})
    assert made["$defs"] == {"A": {"anyOf": [{}]}}


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
    check_circles(cleaned)
    for each in subschemas(cleaned):
        assert each.keys() <= SCHEMA_KEYWORDS
        assert all(
            isinstance(value, str | int | float) and not isinstance(value, bool) for value in each.get("enum", ())
        )
    assert clean(cleaned) == cleaned
