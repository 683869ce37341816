"""What a request for Anthropic's models becomes on Vertex AI."""

import json
from typing import Any

import pytest
from antigravity_healing.wire.anthropic.vertex import AnthropicOnVertex
from antigravity_healing.wire.operation import Operation
from antigravity_healing.wire.vertex import PlainRequest, VertexPlace, VertexRequest

FOLDER = "/projects/p/locations/global"


def on_vertex(kind: Any, model: str, *, without: frozenset[str] = frozenset(), **more: object) -> VertexRequest:
    value = {"model": model, "max_tokens": 9, "messages": [], **more}
    request = PlainRequest("/v1/messages", json.dumps(value).encode(), value)
    operation = Operation(kind, model, streams=True)
    place = VertexPlace("p", "global")
    return AnthropicOnVertex().on_vertex(request, "", operation, place, model=model, without=without)


@pytest.mark.parametrize(
    ("model", "there"),
    [
        ("claude-haiku-4-5-20251001", "claude-haiku-4-5@20251001"),
        ("claude-haiku-4-5@20251001", "claude-haiku-4-5@20251001"),
        ("claude-opus-4-7", "claude-opus-4-7"),
        ("claude-x-12345678", "claude-x-12345678"),
        ("claude-20251001-latest", "claude-20251001-latest"),
    ],
)
def test_the_date_of_a_model_stands_behind_an_at_sign(model: str, there: str) -> None:
    folder = f"/v1{FOLDER}/publishers/anthropic/models"
    assert on_vertex("generate", model).path == f"{folder}/{there}:streamRawPredict"
    counted = on_vertex("count_tokens", model)
    assert counted.path == f"{folder}/count-tokens:rawPredict"
    assert json.loads(counted.body)["model"] == there


def test_what_is_left_out_changes_the_body_only() -> None:
    before = on_vertex("generate", "claude-x", context_management={"edits": []})
    after = on_vertex(
        "generate", "claude-x", context_management={"edits": []}, without=frozenset(("context_management", "b-1"))
    )
    assert after.path == before.path
    assert "context_management" in json.loads(before.body)
    assert "context_management" not in json.loads(after.body)
