from typing import Any

import orjson
import pytest
from antigravity_healing.wire.dialect import Dialect
from antigravity_healing.wire.dialects import DIALECTS
from antigravity_healing.wire.operation import Operation
from antigravity_healing.wire.requests.sizes import tokens_of
from antigravity_healing.wire.requests.things import MOST_NAMED, named_in_answer, named_in_events, named_in_request
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.upstream import anthropic_event

steady = settings(deadline=None, derandomize=True)
ANTHROPIC, GEMINI = DIALECTS["anthropic"], DIALECTS["gemini"]
FILE, BOX, BATCH = "file_011CNha8iCJcU1wXNR6q4V8w", "container_011CNha8iCJcU1", "msgbatch_013Zva2CMHLNnXjNJJ"
ASKING, OTHER = Operation("generate"), Operation("other")
URI = "https://generativelanguage.googleapis.com/v1beta/files/abc-123"


def named(dialect: Dialect, value: Any, path: str = "/v1/messages", operation: Operation = ASKING) -> set[str]:
    body = b"" if value is None else orjson.dumps(value)
    return set(named_in_request(dialect, operation, path, {}, body, value))


def says(*blocks: Any, **more: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": list(blocks)}], **more}


def contents(*parts: Any, **more: Any) -> dict[str, Any]:
    return {"contents": [{"role": "user", "parts": list(parts)}], **more}


REQUESTS: dict[str, tuple[Dialect, Any, set[str]]] = {
    "document": (ANTHROPIC, says({"type": "document", "source": {"type": "file", "file_id": FILE}}), {FILE}),
    "container upload": (ANTHROPIC, says({"type": "container_upload", "file_id": FILE}), {FILE}),
    "in a tool's result": (
        ANTHROPIC,
        says({"type": "tool_result", "content": [{"type": "image", "source": {"type": "file", "file_id": FILE}}]}),
        {FILE},
    ),
    "container": (ANTHROPIC, says("hi", container=BOX), {BOX}),
    "container with skills": (
        ANTHROPIC,
        says("hi", container={"id": BOX, "skills": [{"type": "custom", "skill_id": "skill_01AbCdEfGhIj"}]}),
        {BOX, "skill_01AbCdEfGhIj"},
    ),
    "a skill of Anthropic's own": (ANTHROPIC, says("hi", container={"skills": [{"skill_id": "pptx"}]}), set()),
    "in a call": (ANTHROPIC, says({"type": "tool_use", "input": {"file_id": FILE, "container": BOX}}), set()),
    "said": (ANTHROPIC, says({"type": "text", "text": f'{{"file_id": "{FILE}"}}'}), set()),
    "described": (ANTHROPIC, says("hi", tools=[{"input_schema": {"properties": {"file_id": {"const": FILE}}}}]), set()),
    "no id": (ANTHROPIC, says({"type": "document", "source": {"type": "file", "file_id": "my file"}}), set()),
    "fileData": (GEMINI, contents({"fileData": {"fileUri": URI}}), {"files/abc-123"}),
    "file_data": (GEMINI, contents({"file_data": {"file_uri": URI}}), {"files/abc-123"}),
    "a name for a URI": (GEMINI, contents({"fileData": {"fileUri": "files/abc-123"}}), {"files/abc-123"}),
    "of a function's answer": (
        GEMINI,
        contents({"functionResponse": {"response": {"fileUri": "files/no"}, "parts": [{"fileUri": URI}]}}),
        {"files/abc-123"},
    ),
    "cachedContent": (GEMINI, contents(cachedContent="cachedContents/c1"), {"cachedContents/c1"}),
    "Vertex's": (
        GEMINI, contents(cachedContent="projects/p/locations/l/cachedContents/77"), {"cachedContents/77"},
    ),
    "stores": (
        GEMINI,
        contents(tools=[{"fileSearch": {"fileSearchStoreNames": ["fileSearchStores/s1"]}}]),
        {"fileSearchStores/s1"},
    ),
    "a file of the web": (GEMINI, contents({"fileData": {"fileUri": "https://a.example/files/abc"}}), set()),
    "a bucket": (GEMINI, contents({"fileData": {"fileUri": "gs://bucket/files/abc"}}), set()),
    "in a Gemini call": (GEMINI, contents({"functionCall": {"args": {"fileUri": URI}}}), set()),
}  # fmt: skip


@pytest.mark.parametrize("name", REQUESTS)
def test_a_conversation_names_what_the_protocol_says_and_not_what_is_said(name: str) -> None:
    dialect, value, expected = REQUESTS[name]
    assert named(dialect, value) == expected


@pytest.mark.parametrize(
    ("dialect", "path", "expected"),
    [
        (ANTHROPIC, f"/v1/files/{FILE}/content", {FILE}),
        (ANTHROPIC, f"/v1/messages/batches/{BATCH}/results", {BATCH}),
        (ANTHROPIC, "/v1/files", set()),
        (GEMINI, "/v1beta/files/abc-123", {"files/abc-123"}),
        (GEMINI, "/download/v1beta/files/abc-123:download", {"files/abc-123"}),
        (GEMINI, "/v1beta/cachedContents/c1", {"cachedContents/c1"}),
        (GEMINI, "/v1beta/batches/b1:cancel", {"batches/b1"}),
        (GEMINI, "/v1beta/models/veo-3/operations/o1", {"operations/o1"}),
        (GEMINI, "/v1/projects/p/locations/l/cachedContents/77", {"cachedContents/77"}),
        (GEMINI, "/v1beta/files", set()),
        (GEMINI, "/v1beta/models/gemini-x:generateContent", set()),
    ],
)
def test_a_path_names_the_thing_that_it_leads_to(dialect: Dialect, path: str, expected: set[str]) -> None:
    assert named(dialect, None, path, OTHER) == expected


def test_what_is_not_healed_names_things_in_its_body_too() -> None:
    batch: dict[str, Any] = {"requests": [{"custom_id": "a", "params": says({"source": {"file_id": FILE}})}]}
    assert named(ANTHROPIC, batch, "/v1/messages/batches", OTHER) == {FILE}
    batch = {"batch": {"inputConfig": {"fileName": "files/abc-123"}}}
    assert named(GEMINI, batch, "/v1beta/models/m:batchGenerateContent", OTHER) == {"files/abc-123"}
    assert named(GEMINI, {"previous_interaction_id": "v1_x"}, "/v1beta/interactions", OTHER) == {"interactions/v1_x"}


@pytest.mark.parametrize(
    ("dialect", "path", "value", "expected"),
    [
        (ANTHROPIC, "/v1/files", {"id": FILE, "type": "file", "filename": "file_nothing"}, {FILE}),
        (ANTHROPIC, "/v1/files", {"data": [{"id": FILE}, {"id": BATCH}]}, {FILE, BATCH}),
        (ANTHROPIC, "/v1/messages", {"id": "msg_01AbCdEfGhIj", "container": {"id": BOX}}, {BOX}),
        (
            ANTHROPIC,
            "/v1/messages",
            {"content": [{"type": "bash_code_execution_tool_result", "content": {"content": [{"file_id": FILE}]}},
                         {"type": "tool_use", "id": "toolu_01AbCdEfGhIj", "input": {"id": BOX}}]},
            {FILE},
        ),
        (GEMINI, "/upload/v1beta/files", {"file": {"name": "files/abc-123", "uri": URI}}, {"files/abc-123"}),
        (GEMINI, "/v1beta/cachedContents", {"name": "cachedContents/c1", "model": "models/m"}, {"cachedContents/c1"}),
        (GEMINI, "/v1beta/batches/b", {"output": {"responsesFile": "files/out"}}, {"files/out"}),
        (GEMINI, "/v1beta/interactions", {"id": "v1_x", "outputs": []}, {"interactions/v1_x"}),
        (ANTHROPIC, "/v1/files", [None, 1, "x"], set()),
    ],
)  # fmt: skip
def test_an_answer_names_what_lies_with_its_account(
    dialect: Dialect, path: str, value: Any, expected: set[str]
) -> None:
    assert named_in_answer(dialect, path, value) == expected


def test_events_name_what_the_protocol_says_and_not_what_a_model_writes() -> None:
    block = {"type": "bash_code_execution_tool_result", "content": {"content": [{"file_id": FILE}]}}
    start = anthropic_event({"type": "content_block_start", "index": 1, "content_block": block})
    end = anthropic_event({"type": "message_delta", "delta": {"container": {"id": BOX}}})
    assert named_in_events(ANTHROPIC, start + end) == {FILE, BOX}
    for kind, field in (("text_delta", "text"), ("input_json_delta", "partial_json")):
        delta = {"type": kind, field: f'{{"id": "{BOX}", "file_id":"{FILE}"}}'}
        assert (
            named_in_events(ANTHROPIC, anthropic_event({"type": "content_block_delta", "index": 0, "delta": delta}))
            == set()
        )


def test_a_list_of_very_many_things_is_read_so_far() -> None:
    many = {"data": [{"id": f"file_011CNha8iCJ{number:06}"} for number in range(5000)]}
    assert len(named_in_answer(ANTHROPIC, "/v1/files", many)) == MOST_NAMED


values = st.recursive(
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.text(max_size=5) | st.sampled_from([FILE, BOX, URI]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["id", "file_id", "container", "fileUri", "input", "data"]), inner, max_size=3
        )
    ),
)


@steady
@given(values, st.sampled_from([ANTHROPIC, GEMINI]))
def test_whatever_a_body_says_only_ids_are_found_and_nothing_is_raised(value: Any, dialect: Dialect) -> None:
    possible = {FILE, BOX} if dialect is ANTHROPIC else {"files/abc-123"}
    assert named(dialect, value, "/v1/x", OTHER) <= possible
    assert named_in_answer(dialect, "/v1/x", value) <= possible
    assert tokens_of(orjson.dumps(value), value) >= 0


def test_a_requests_size_is_told_by_its_text_and_not_by_its_pictures() -> None:
    text = says({"type": "text", "text": "x" * 40_000})
    image = says({"type": "image", "source": {"type": "base64", "data": "A" * 400_000}}, {"text": "x" * 4000})
    inline = contents({"inlineData": {"mimeType": "image/png", "data": "A" * 400_000}}, {"text": "x" * 4000})
    assert 10_000 <= tokens_of(orjson.dumps(text), text) <= 10_050
    for value in (image, inline):
        assert 1000 <= tokens_of(orjson.dumps(value), value) <= 1050
    cached = says({"type": "text", "text": "x" * 40_000, "cache_control": {"type": "ephemeral"}})
    assert tokens_of(orjson.dumps(cached), cached) == 0
