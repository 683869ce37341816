"""The Messages API on Vertex AI (https://docs.anthropic.com/en/api/claude-on-vertex-ai)."""

import re
from typing import Any
from urllib.parse import quote, unquote

from antigravity_healing.wire.http.headers import Headers
from antigravity_healing.wire.json.span import remove_member, replace_member
from antigravity_healing.wire.json.value import dump
from antigravity_healing.wire.operation import Operation
from antigravity_healing.wire.vertex import (
    PlainRequest,
    VertexPlace,
    VertexRequest,
    listed,
    moved,
    name_of,
    newest_first,
    place_in,
)

_VERSION = "anthropic_version"
_FIRST_VERSION = "2023-06-01"
_FIRST_ON_VERTEX = "vertex-2023-10-16"
_COUNT_TOKENS = "count-tokens"
_MODELS = r"/(?:v1|v1beta1)/(?:projects/[^/]+/locations/[^/]+/)?publishers/anthropic/models"
_PREDICT = re.compile(_MODELS + r"/([^/:]+)(?::|%3[aA])(?:streamRawPredict|rawPredict)")
_DESCRIBED = re.compile(_MODELS + r"(?:/([^/:]+))?")
_UNEXPECTED = re.compile(r"Unexpected value\(s\) ([^\n]{1,1000}?) for the `anthropic-beta` header")
_QUOTED = re.compile(r"`([\w.-]{1,100})`")
_EXTRA = re.compile(r"\b([a-z_]{1,50}): Extra inputs are not permitted")
# `claude-haiku-4-5-20251001` is `claude-haiku-4-5@20251001` there.
_DATED = re.compile(r"(?<=\w)-(20\d{6})$")
# Without it only more is sent.
_LEAVE_OUT = frozenset(("context_management",))
_UNKNOWN_DATE = "1970-01-01T00:00:00Z"


class AnthropicOnVertex:
    """The Messages API on Vertex AI: the path names the model, and the body the version."""

    express = False
    version_header = "anthropic-version"

    def operation(self, method: str, path: str) -> Operation | None:
        """What a request in this form asks for, None if it is no endpoint."""
        if method == "POST" and (match := _PREDICT.fullmatch(path)):
            model = unquote(match[1])
            return Operation("count_tokens") if model == _COUNT_TOKENS else Operation("generate", model, streams=None)
        if method == "GET" and (match := _DESCRIBED.fullmatch(path)):
            return Operation("get_model", unquote(match[1])) if match[1] else Operation("list_models")
        return None

    def place_in(self, path: str) -> VertexPlace | None:
        """The project and the location that a path names."""
        return place_in(path) or (VertexPlace("") if _DESCRIBED.fullmatch(path) else None)

    def plain(self, request: PlainRequest, operation: Operation) -> PlainRequest:
        """The body says the model; the version stays in it, so that it comes back as it was."""
        _, body, value = request
        match operation.kind:
            case "generate":
                if not isinstance(value, dict):
                    raise ValueError("it is not a JSON object")
                body = replace_member(body, "model", operation.model, add=True)
                return PlainRequest("/v1/messages", body, {**value, "model": operation.model})
            case "count_tokens":
                return request._replace(path="/v1/messages/count_tokens")
            case "get_model":
                return request._replace(path=f"/v1/models/{quote(operation.model, safe='')}")
        return request._replace(path="/v1/models")

    def elsewhere(self, body: bytes, value: Any) -> tuple[bytes, Headers]:
        """The version is a header's."""
        if not isinstance(value, dict) or _VERSION not in value:
            return body, ()
        said = value[_VERSION]
        is_date = isinstance(said, str) and re.fullmatch(r"\d{4}-\d\d-\d\d", said)
        version = said if is_date else _FIRST_VERSION
        return remove_member(body, _VERSION), ((self.version_header.encode(), version.encode()),)

    def on_vertex(
        self,
        request: PlainRequest,
        query: str,
        operation: Operation,
        place: VertexPlace,
        *,
        model: str,
        version: str = "",
        without: frozenset[str] = frozenset(),
    ) -> VertexRequest:
        """The models of the publisher `anthropic`, whose dates stand behind an @."""
        _, body, value = request
        folder = f"{place.folder}/publishers/anthropic/models"
        model = _DATED.sub(r"@\1", model)
        name = quote(model, safe="@")
        match operation.kind:
            case "generate":
                method = "streamRawPredict" if operation.streams else "rawPredict"
                body = remove_member(_with_version(body, value, version), "model")
                for unknown in without & _LEAVE_OUT:
                    body = remove_member(body, unknown)
                return VertexRequest(f"/v1{folder}/{name}:{method}", "", body)
            case "count_tokens":
                body = replace_member(_with_version(body, value, version), "model", model, add=True)
                return VertexRequest(f"/v1{folder}/{_COUNT_TOKENS}:rawPredict", "", body)
            case "list_models":
                return VertexRequest("/v1beta1/publishers/anthropic/models", "", b"")
            case "get_model":
                return VertexRequest(f"/v1beta1/publishers/anthropic/models/{name}", "", b"")
        return VertexRequest(moved(request.path, place), query, body)

    def refused(self, text: str) -> tuple[str, ...]:
        """Flags that are not known there, and what is of use only with one of them."""
        flags = [flag for match in _UNEXPECTED.finditer(text) for flag in _QUOTED.findall(match[1])]
        return (*flags, *(name for name in _EXTRA.findall(text) if name in _LEAVE_OUT))

    def countable(self, answer: dict[str, Any]) -> list[str]:
        """All of Claude."""
        return newest_first(_id(each) for each in listed(answer) if name_of(each).startswith("claude-"))

    def counting(self, model: str, place: VertexPlace) -> VertexRequest:
        """`count-tokens:rawPredict`."""
        value = {"model": model, "messages": [{"role": "user", "content": "Hi"}]}
        request = PlainRequest("/v1/messages/count_tokens", dump(value), value)
        return self.on_vertex(request, "", Operation("count_tokens"), place, model=model)

    def described(self, operation: Operation, answer: Any) -> Any:
        """`publisherModels` as a page of models."""
        if not isinstance(answer, dict):
            return answer
        if operation.kind == "get_model":
            return _model(answer)
        models = [_model(each) for each in listed(answer)]
        first, last = (models[0]["id"], models[-1]["id"]) if models else (None, None)
        ends = {"has_more": False, "first_id": first, "last_id": last}
        return answer if "data" in answer else {"data": models, **ends}


def _id(described: dict[str, Any]) -> str:
    """The name with its version: that is what can be asked for."""
    name, version = name_of(described), described.get("versionId")
    return f"{name}@{version}" if isinstance(version, str) and version and "@" not in name else name


def _model(described: dict[str, Any]) -> dict[str, Any]:
    name = name_of(described)
    return {"type": "model", "id": _id(described), "display_name": name, "created_at": _UNKNOWN_DATE}


def _with_version(body: bytes, value: Any, version: str) -> bytes:
    """The body with the version of the API that its client means; one that stands there stays."""
    if isinstance(value, dict) and _VERSION in value:
        return body
    said = _FIRST_ON_VERTEX if version in ("", _FIRST_VERSION) else version
    return replace_member(body, _VERSION, said, add=True)
