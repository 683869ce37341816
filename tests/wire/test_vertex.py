"""Vertex AI's form of requests and answers, without a server."""

import json
from typing import Any

import pytest
from antigravity_healing.wire.anthropic.dialect import Anthropic
from antigravity_healing.wire.dialect import Dialect
from antigravity_healing.wire.dialects import DIALECTS
from antigravity_healing.wire.gemini.dialect import Gemini
from antigravity_healing.wire.operation import Operation
from antigravity_healing.wire.vertex import PlainRequest, VertexPlace, location_of, meant, moved, url_of
from hypothesis import given
from hypothesis import strategies as st

FOLDER = "/projects/p/locations/l"
PLACE = VertexPlace("p", "l")
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=5,
)
BODIES = st.dictionaries(st.sampled_from(["messages", "max_tokens", "stream", "system", "é"]), VALUES, max_size=4)


@pytest.mark.parametrize("location", ["global", "us", "eu", "us-east5", "europe-west4"])
def test_a_location_is_known_by_its_url(location: str) -> None:
    assert location_of(url_of(location)) == location


@pytest.mark.parametrize(
    "url", ["https://x-aiplatform.us.rep.googleapis.com", "https://googleapis.com", "http://[::1", ""]
)
def test_what_is_elsewhere_has_no_location(url: str) -> None:
    assert location_of(url) is None


@given(BODIES, st.sampled_from([None, 1, "\t"]), st.booleans())
def test_the_body_of_a_vertex_client_comes_back_to_the_byte(body: dict[str, Any], indent: Any, stream: bool) -> None:
    value = {**body, "anthropic_version": "vertex-2023-10-16"}
    text = json.dumps(value, indent=indent).encode()
    form, operation = Anthropic().vertex, Operation("generate", "claude-x@1", streams=stream)
    plain = form.plain(PlainRequest("/v1/x", text, value), operation)
    assert json.loads(plain.body) == plain.value == {**value, "model": "claude-x@1"}
    sent = form.on_vertex(plain, "", operation, PLACE, model="claude-x@1")
    assert sent.body == text
    method = "streamRawPredict" if stream else "rawPredict"
    assert sent.path == f"/v1{FOLDER}/publishers/anthropic/models/claude-x@1:{method}"


@given(BODIES)
def test_a_plain_body_says_the_version_and_no_model(body: dict[str, Any]) -> None:
    value = {"model": "m", **body}
    plain = PlainRequest("/v1/messages", json.dumps(value).encode(), value)
    sent = Anthropic().vertex.on_vertex(plain, "beta=true", Operation("generate"), PLACE, model="m")
    assert json.loads(sent.body) == {**body, "anthropic_version": "vertex-2023-10-16"}
    assert sent.query == ""


@pytest.mark.parametrize(
    ("header", "said"),
    [("", "vertex-2023-10-16"), ("2023-06-01", "vertex-2023-10-16"), ("2026-10-21", "2026-10-21")],
)
def test_the_version_that_a_client_names_goes_with_it(header: str, said: str) -> None:
    plain = PlainRequest("/v1/messages", b'{"model":"m"}', {"model": "m"})
    sent = Anthropic().vertex.on_vertex(plain, "", Operation("generate"), PLACE, model="m", version=header)
    assert json.loads(sent.body) == {"anthropic_version": said}


@pytest.mark.parametrize(
    ("said", "header"),
    [("vertex-2023-10-16", b"2023-06-01"), ("2026-10-21", b"2026-10-21"), (7, b"2023-06-01")],
)
def test_elsewhere_the_version_is_a_headers(said: object, header: bytes) -> None:
    value = {"anthropic_version": said, "max_tokens": 9}
    body, headers = Anthropic().vertex.elsewhere(json.dumps(value).encode(), value)
    assert (json.loads(body), headers) == ({"max_tokens": 9}, ((b"anthropic-version", header),))


@pytest.mark.parametrize(
    ("path", "there"),
    [
        ("/v1/models/m:generateContent", f"/v1{FOLDER}/publishers/google/models/m:generateContent"),
        ("/v1beta/models/m:countTokens", f"/v1beta1{FOLDER}/publishers/google/models/m:countTokens"),
        ("/v1alpha/models/m%2F1:predict", f"/v1beta1{FOLDER}/publishers/google/models/m%2F1:predict"),
        ("/v1beta/cachedContents/7", f"/v1beta1{FOLDER}/cachedContents/7"),
        ("/v1/projects/a/locations/b/cachedContents", f"/v1{FOLDER}/cachedContents"),
        ("/v1beta/files/7", "/v1beta/files/7"),
    ],
)
def test_where_a_gemini_path_is_on_vertex(path: str, there: str) -> None:
    sent = Gemini().vertex.on_vertex(PlainRequest(path, b"", None), "a=b", Operation("other"), PLACE, model="")
    assert (sent.path, sent.query) == (there, "a=b")


@pytest.mark.parametrize("dialect", [Gemini(), Anthropic()], ids=lambda dialect: dialect.name)
def test_the_list_of_a_publishers_models_in_the_apis_form(dialect: Dialect) -> None:
    assert dialect.vertex is not None
    models = [{"name": f"publishers/x/models/{name}", "versionId": "20250929"} for name in ("a", "b")]
    plain = PlainRequest("/v1beta/models", b"", None)
    sent = dialect.vertex.on_vertex(plain, "", Operation("list_models"), PLACE, model="")
    publisher = "google" if dialect.name == "gemini" else "anthropic"
    assert sent.path == f"/v1beta1/publishers/{publisher}/models"
    listed = dialect.vertex.described(Operation("list_models"), {"publisherModels": models, "nextPageToken": "7"})
    added = dialect.with_models(listed, ["mapped"])
    if dialect.name == "gemini":
        assert [model["name"] for model in added["models"]] == ["models/mapped", "models/a", "models/b"]
        assert listed["nextPageToken"] == "7"
    else:
        assert [model["id"] for model in added["data"]] == ["mapped", "a@20250929", "b@20250929"]
        assert (listed["first_id"], listed["last_id"]) == ("a@20250929", "b@20250929")


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("Unknown name \"id\" at 'contents[1].parts[0].function_call': Cannot find field.", ("id",)),
        ("Unknown name \"partMetadata\" at 'contents[1].parts[0]': Cannot find field.", ("partMetadata",)),
        ("Unknown name \"part_metadata\" at 'contents[1].parts[0]': Cannot find field.", ("partMetadata",)),
        ("Unknown name \"id\" at 'tools[0]': Cannot find field.", ()),
        ("Unknown name \"fileSearch\" at 'tools[0]': Cannot find field.", ()),
        ("The id of a function_call is too long.", ()),
    ],
)
def test_what_of_a_refusal_can_be_left_out(text: str, names: tuple[str, ...]) -> None:
    assert Gemini().vertex.refused(text) == names


@pytest.mark.parametrize(("path", "right"), [
    (f"{FOLDER}/publishers/google/models/m:x", f"/v1{FOLDER}/publishers/google/models/m:x"),
    (f"/v1//v1beta1{FOLDER}/publishers/google/models/m:x", f"/v1beta1{FOLDER}/publishers/google/models/m:x"),
    (f"/v1{FOLDER}/publishers/anthropic/models/m:x", ""),
    ("/v1/models/m:x", ""),
])  # fmt: skip
def test_what_is_meant_by_a_path_without_its_version(path: str, right: str) -> None:
    assert meant(path, "google") == right


def test_only_what_lies_in_a_project_is_moved() -> None:
    assert moved("/v1/projects/a/locations/b/x", PLACE) == f"/v1{FOLDER}/x"
    assert moved("/v1/projects/a/locations/b/x", VertexPlace("")) == "/v1/projects/a/locations/b/x"
    assert moved("/v1/files", PLACE) == "/v1/files"


def test_both_apis_are_there() -> None:
    assert all(dialect.vertex is not None for dialect in DIALECTS.values())
