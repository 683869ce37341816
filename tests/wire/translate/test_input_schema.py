"""Schemas of Gemini clients' functions as the Messages API takes them."""

import json
from copy import deepcopy
from typing import Any

import pytest
from antigravity_healing.wire.json.value import JsonText, dump
from antigravity_healing.wire.translate.common import UntranslatableError
from antigravity_healing.wire.translate.to_anthropic.property_names import PropertyNames
from antigravity_healing.wire.translate.to_anthropic.schema import input_schema
from hypothesis import assume, event, example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft4Validator, Draft7Validator, Draft202012Validator
from jsonschema.protocols import Validator

from tests.support.anthropic_schema import check_input_schema
from tests.support.examples import examples

steady = settings(deadline=None, derandomize=True, max_examples=examples(60))
LONG = "x" * 70


def clean(schema: Any) -> dict[str, Any]:
    before = deepcopy(schema)
    made = input_schema(schema, "tools[0]", PropertyNames(schema))
    assert schema == before
    check_input_schema(made)
    assert dump(input_schema(made, "tools[0]", PropertyNames(made))) == dump(made)
    return made


def properties(schema: Any) -> dict[str, Any]:
    found: dict[str, Any] = clean({"type": "object", "properties": {"p": schema}})["properties"]["p"]
    return found


TEXT, NUMBER = {"type": "string"}, {"type": "number"}
CLEAN: dict[str, Any] = {
    "$schema": "http://json-schema.org/draft-07/schema#",
    "properties": {
        "a": {"anyOf": [TEXT, {"type": "null"}], "default": None},
        "b": {"prefixItems": [TEXT], "items": False},
        "c": {"oneOf": [{"$ref": "#/$defs/C"}, {"not": {"const": 1}}], "x-own": {"properties": {"of them": None}}},
        "d": {"type": "string", "pattern": "^a+$", "format": "uri", "enum": [], "minLength": 1},
        "e": {"$ref": "#"},
    },
    "type": "object",
    "required": ["a"],
    "additionalProperties": False,
    "if": {"required": ["b"]},
    "then": {"required": ["c"]},
    "$defs": {"C": {"type": ["integer", "null"], "exclusiveMinimum": 1, "multipleOf": 0.5}},
}


@pytest.mark.parametrize("schema", [CLEAN, {"type": "object"}, {"type": "object", "additionalProperties": TEXT}])
def test_what_is_clean_stays_as_it_is_to_the_byte(schema: Any) -> None:
    assert dump(clean(schema)) == dump(schema)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({"items": [NUMBER, TEXT]}, {"prefixItems": [NUMBER, TEXT]}),
        ({"items": [NUMBER], "additionalItems": False}, {"prefixItems": [NUMBER], "items": False}),
        ({"items": [], "additionalItems": TEXT}, {"items": TEXT}),
        ({"minimum": 3, "exclusiveMinimum": True}, {"exclusiveMinimum": 3}),
        ({"maximum": 3, "exclusiveMaximum": True}, {"exclusiveMaximum": 3}),
        ({"maximum": 3, "exclusiveMaximum": False}, {"maximum": 3}),
        ({"exclusiveMinimum": True}, {}),
        ({"required": ["a", "a", 4, "b"]}, {"required": ["a", "b"]}),
        ({"required": None, "properties": None, "title": None}, {}),
        ({"type": "any"}, {}),
        ({"type": ["STRING", "null", "string"]}, {"type": ["string", "null"]}),
        ({"type": "Int"}, {"type": "integer"}),
        ({"type": "file", "description": "D."}, {"description": 'D.\n\n{type: "file"}'}),
        ({"enum": None, "anyOf": [], "allOf": {}, "items": None, "minLength": "1", "uniqueItems": "yes"}, {}),
        ({"examples": "x", "$ref": 5, "multipleOf": 0}, {"examples": ["x"]}),
        ({"type": "string", "pattern": r"\p{L}"}, {"type": "string", "description": '{pattern: "\\\\p{L}"}'}),
        ({"properties": {"a": None, "b": True}}, {"properties": {"a": {}, "b": True}}),
    ],
)
def test_what_other_drafts_and_clients_write_is_written_as_draft_2020_does(given: Any, expected: Any) -> None:
    assert properties(given) == expected


def test_a_property_that_says_itself_that_it_is_required_is_so_of_its_object() -> None:
    schema = {
        "type": "object",
        "properties": {"a": {**TEXT, "required": True}, "b": {**TEXT, "required": False}, "c": {"required": True}},
        "required": ["c"],
    }
    assert clean(schema) == {
        "type": "object",
        "properties": {"a": TEXT, "b": TEXT, "c": {}},
        "required": ["c", "a"],
    }


# The top level.


@pytest.mark.parametrize("keyword", ["anyOf", "oneOf"])
def test_a_union_at_the_top_is_all_properties_and_told_in_words(keyword: str) -> None:
    members = [
        {"type": "object", "properties": {"kind": {"const": "file"}, "path": TEXT}, "required": ["kind", "path"]},
        {"properties": {"kind": {"const": "url"}, "url": TEXT}, "required": ["kind"]},
        {"type": "null"},
    ]
    made = clean({"description": "Where.", keyword: members})
    assert made["properties"] == {
        "kind": {"anyOf": [{"const": "file"}, {"const": "url"}]},
        "path": TEXT,
        "url": TEXT,
    }
    assert made["required"] == ["kind"]
    many = {"anyOf": "at least one", "oneOf": "exactly one"}[keyword]
    told = json.dumps(members[:2], separators=(",", ":")).replace('},{"properties', '}, {"properties')
    assert made["description"] == f"Where.\n\nThe input has to fit {many} of these schemas: {told}"


def test_a_choice_of_what_is_required_leaves_the_properties_as_they_are() -> None:
    inner = {"a": TEXT, "b": NUMBER}
    choice = [{"required": ["a"]}, {"required": ["b"]}]
    made = clean({"type": "object", "properties": inner, "anyOf": choice, "additionalProperties": False})
    assert made.pop("description").endswith('[{"required":["a"]}, {"required":["b"]}]')
    assert made == {"type": "object", "properties": inner, "additionalProperties": False}


def test_what_has_to_fit_all_at_the_top_is_put_together_without_words() -> None:
    parts = [
        {"$ref": "#/$defs/A"},
        {"properties": {"a": {"minLength": 1}, "b": NUMBER}, "required": ["b", "a"]},
    ]
    definitions = {"A": {"type": "object", "properties": {"a": TEXT}, "required": ["a"]}}
    made = clean({"allOf": parts, "$defs": definitions})
    assert made == {
        "type": "object",
        "properties": {"a": {"allOf": [TEXT, {"minLength": 1}]}, "b": NUMBER},
        "required": ["a", "b"],
        "$defs": definitions,
    }


@pytest.mark.parametrize("keyword", ["$defs", "definitions"])
def test_a_reference_at_the_top_is_resolved(keyword: str) -> None:
    node = {"type": "object", "properties": {"next": {"$ref": f"#/{keyword}/Node"}}, "required": ["next"]}
    made = clean(
        {"$ref": f"#/{keyword}/Node", "$schema": "http://json-schema.org/draft-07/schema#", keyword: {"Node": node}}
    )
    assert made == {**node, keyword: {"Node": node}}


def test_an_object_that_may_be_null_is_an_object() -> None:
    assert clean({"type": ["object", "null"], "properties": {"a": TEXT}}) == {
        "type": "object",
        "properties": {"a": TEXT},
    }
    assert clean({"anyOf": [{"type": "object", "properties": {"a": TEXT}}, {"type": "null"}]}) == {
        "type": "object",
        "properties": {"a": TEXT},
    }


def test_what_refers_to_a_top_that_changes_still_means_it_as_it_was() -> None:
    made = clean(
        {"type": ["object", "null"], "properties": {"next": {"$ref": "#"}, "a": {"$ref": "#/properties/next"}}}
    )
    assert made["properties"] == {"next": {"$ref": "#/$defs/input"}, "a": {"$ref": "#/$defs/input/properties/next"}}
    assert made["$defs"]["input"]["type"] == ["object", "null"]


@pytest.mark.parametrize("schema", [{"type": "string"}, {"anyOf": [{"type": "null"}, TEXT]}, {"allOf": [False]}])
def test_what_allows_no_object_is_refused(schema: Any) -> None:
    with pytest.raises(UntranslatableError, match=r"^tools\[0\]: .*have to be an object"):
        clean(schema)


@pytest.mark.parametrize(
    "schema", [{"$ref": "#"}, {"$ref": "#/$defs/A", "$defs": {"A": {"allOf": [{"$ref": "#/$defs/A"}]}}}]
)
def test_a_top_that_is_itself_says_nothing(schema: Any) -> None:
    made = clean(schema)
    assert made["properties"] == {}


def test_a_top_that_is_made_of_very_many_parts_is_refused_before_it_costs_anything() -> None:
    twice = {f"d{n}": {"allOf": [{"$ref": f"#/$defs/d{n + 1}"}] * 2} for n in range(90)}
    with pytest.raises(UntranslatableError, match="too many parts"):
        clean({"$ref": "#/$defs/d0", "$defs": {**twice, "d90": {}}})


# Names.


def test_names_that_are_not_taken_change_everywhere_and_lead_back() -> None:
    schema = {
        "type": "object",
        "properties": {
            "filter[id]": {"type": "array", "items": {"properties": {"@type": TEXT}, "required": ["@type"]}},
            "user name": {"$ref": "#/properties/filter[id]/items"},
            LONG: {"const": {"@type": 1}, "default": {"other key": 1}},
            "": TEXT,
            "fine": TEXT,
        },
        "required": ["user name", "fine"],
        "dependentRequired": {"user name": ["fine", ""]},
    }
    names = PropertyNames(schema)
    made = clean(schema)
    there = names.there
    assert [made["required"], made["dependentRequired"]] == [
        [there("user name"), "fine"],
        {there("user name"): ["fine", there("")]},
    ]
    assert list(made["properties"]) == [there(name) for name in schema["properties"]]
    assert there("fine") == "fine"
    assert there("user name").startswith("user_name_")
    assert made["properties"][there("user name")] == {"$ref": f"#/properties/{there('filter[id]')}/items"}
    assert made["properties"][there(LONG)] == {"const": {there("@type"): 1}, "default": {"other key": 1}}
    value = {"filter[id]": [{"@type": "@type"}], LONG: {"x": {"user name": None}}, "free key": 1, "fine": 2}
    sent = names.value_there(value)
    assert sent == {
        there("filter[id]"): [{there("@type"): "@type"}],
        there(LONG): {"x": {there("user name"): None}},
        "free key": 1,
        "fine": 2,
    }
    assert names.value_back(sent) == value


def test_two_names_never_become_one() -> None:
    first = PropertyNames({"properties": {"a b": {}}}).there("a b")
    names = PropertyNames({"properties": {"a b": {}, first: {}, "a\tb": {}}})
    assert len({names.there(name) for name in ("a b", first, "a\tb")}) == 3
    assert names.there(first) == first


def test_renamed_arguments_are_written_as_they_were() -> None:
    names = PropertyNames({"properties": {"a b": {}}})
    there = names.there("a b")
    text = f'{{ "{there}" : 1.0, "x": [1e400, "\\"{there}\\":"], "{there}": 36893488147419103232}}'
    back = names.value_back(JsonText(json.loads(text), text.encode()))
    assert dump(back).decode() == text.replace(f'"{there}" :', '"a b" :').replace(f', "{there}"', ', "a b"')
    assert dump(names.value_there(back)).decode() == text


def test_what_is_not_renamed_is_the_value_itself() -> None:
    value = {"a": 1}
    assert PropertyNames({"properties": {"a b": {}}}).value_back(value) is value
    assert PropertyNames({"properties": {"a": {}}}).value_there(value) is value


def test_what_is_said_by_patterns_of_names_is_told_where_names_change() -> None:
    rest = {"patternProperties": {"^x ": TEXT}, "additionalProperties": False}
    assert properties(rest) == rest
    made = properties({**rest, "properties": {"x y": {}}})
    assert made.keys() == {"properties", "description"}
    assert "^x " in made["description"]


# Anything.

KEYS = ["a", "b", "filter[id]", "user name", LONG]
PATTERNS = ["^a", "x", "^user ", r"\p{L}"]
KEYWORDS = [
    *("type", "title", "description", "enum", "const", "default", "examples", "properties", "required", "items"),
    *("additionalItems", "prefixItems", "anyOf", "oneOf", "allOf", "not", "if", "then", "else", "$ref", "$defs"),
    *("definitions", "additionalProperties", "patternProperties", "propertyNames", "dependentRequired", "minItems"),
    *("dependentSchemas", "dependencies", "unevaluatedProperties", "unevaluatedItems", "contains", "maxContains"),
    *("exclusiveMinimum", "exclusiveMaximum", "minimum", "maximum", "multipleOf", "pattern", "format", "$id"),
    *("$schema", "$anchor", "$comment", "$dynamicRef", "$recursiveAnchor", "$vocabulary", "uniqueItems", "nullable"),
    *("minLength", "contentSchema", "readOnly", "required"),
]
TARGETS = ["#", "#/$defs/a", "#/properties/a", "#/properties/user name", "#/items/0", "#/anyOf/0", "#/definitions/b"]
WORDS = st.sampled_from(["object", "any", "OBJECT", "null", "string", *TARGETS, *PATTERNS])
GARBAGE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | WORDS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*KEYWORDS, *KEYS]), inner, max_size=4),
    max_leaves=25,
)


@given(st.dictionaries(st.sampled_from(KEYWORDS), GARBAGE, max_size=6))
@steady
@example({"type": "object", "minimum": 10**400, "properties": {"\ud800": {"$ref": "#/properties/\ud800"}}})
@example({"anyOf": [{"$ref": "#/anyOf/0"}, {"$ref": "#/anyOf/1"}]})
def test_any_json_becomes_a_schema_that_the_api_takes_or_is_refused_in_words(schema: dict[str, Any]) -> None:
    try:
        clean(schema)
        why = ""
    except UntranslatableError as refused:
        why = str(refused)
        event("refused")
    assert not why or "have to be an object" in why or "too many parts" in why


def scalars() -> st.SearchStrategy[Any]:
    return st.none() | st.booleans() | st.integers(0, 4) | st.sampled_from(["", "a", "x", "user name"])


VALUES = st.recursive(
    scalars(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*KEYS, "c"]), inner, max_size=4),
    max_leaves=8,
)
INPUTS = st.dictionaries(st.sampled_from([*KEYS, "c"]), VALUES, max_size=5)


@st.composite
def schemas(draw: st.DrawFn, draft: str, depth: int = 0) -> Any:
    """A schema of this draft, most of whose members mean something."""
    inner = schemas(draft, depth + 1) if depth < 3 else st.just({})
    several, by_key = st.lists(inner, min_size=1, max_size=2), st.dictionaries(st.sampled_from(KEYS), inner, max_size=3)
    keys = st.lists(st.sampled_from(KEYS), min_size=1, max_size=2, unique=True)
    different = st.lists(VALUES, min_size=1, max_size=3, unique_by=repr)
    numbers, counts = st.integers(0, 3), st.integers(0, 2)
    kinds = st.sampled_from(["object", "object", "array", "string", "integer", "null"])
    members: dict[str, st.SearchStrategy[Any]] = {
        "type": kinds | st.lists(kinds, min_size=1, max_size=3, unique=True),
        "properties": by_key, "required": keys, "items": inner, "anyOf": several, "oneOf": several,
        "allOf": several, "not": inner, "additionalProperties": inner, "enum": different,
        "patternProperties": st.dictionaries(st.sampled_from(PATTERNS[:3]), inner, max_size=1),
        "minimum": numbers, "maximum": numbers, "minItems": counts, "maxProperties": st.integers(1, 3),
        "pattern": st.sampled_from(PATTERNS[:3]),
    }  # fmt: skip
    if draft != "draft4":
        members |= {
            "const": VALUES, "contains": inner, "propertyNames": inner, "exclusiveMinimum": numbers,
            "if": inner, "then": inner, "else": inner,
        }  # fmt: skip
    if draft == "draft2020":
        members |= {
            "prefixItems": several, "maxContains": counts, "dependentRequired": st.dictionaries(keys.map(min), keys),
            "unevaluatedProperties": inner, "dependentSchemas": by_key,
        }  # fmt: skip
    else:
        members |= {"items": inner | several, "additionalItems": inner}
    made: dict[str, Any] = {
        name: draw(members[name]) for name in draw(st.lists(st.sampled_from(sorted(members)), max_size=4, unique=True))
    }
    if draft == "draft4" and "minimum" in made:
        made["exclusiveMinimum"] = draw(st.booleans())
    if depth and not made and draw(st.booleans()):
        definitions = "$defs" if draft == "draft2020" else "definitions"
        return {"$ref": draw(st.sampled_from([f"#/{definitions}/a", f"#/{definitions}/user name"]))}
    if not depth:
        definitions = "$defs" if draft == "draft2020" else "definitions"
        return {**made, definitions: {"a": draw(inner), "user name": draw(inner)}}
    return made


DRAFTS: dict[str, type[Validator]] = {
    "draft4": Draft4Validator,
    "draft7": Draft7Validator,
    "draft2020": Draft202012Validator,
}


def allows(validator: type[Validator], schema: Any, value: Any) -> bool:
    try:
        return validator(schema).is_valid(value)
    except RecursionError:
        # It is made of nothing but itself.
        assume(False)
        raise


@pytest.mark.parametrize("draft", DRAFTS)
@given(data=st.data())
@steady
def test_what_was_allowed_is_allowed_under_its_new_names(draft: str, data: st.DataObject) -> None:
    schema = data.draw(schemas(draft))
    DRAFTS[draft].check_schema(schema)
    try:
        made = clean(schema)
    except UntranslatableError:
        assume(False)
    if "The input has to fit" in made.get("description", ""):
        # A member of a union says nothing of a property that it does not name.
        made = {**made, "properties": dict.fromkeys(made["properties"], True)}
    for value in data.draw(st.lists(INPUTS, min_size=3, max_size=8)):
        if allows(DRAFTS[draft], schema, value):
            event("allowed")
            sent = PropertyNames(schema).value_there(value)
            assert allows(Draft202012Validator, made, sent), (value, made)
            assert PropertyNames(schema).value_back(sent) == value
