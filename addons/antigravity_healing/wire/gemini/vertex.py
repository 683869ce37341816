"""The Gemini API on Vertex AI."""

import re
from operator import is_
from typing import Any
from urllib.parse import quote

from antigravity_healing.wire.gemini.paths import LIST_PATH, model_path
from antigravity_healing.wire.http.headers import Headers
from antigravity_healing.wire.json.span import respell
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

_ELSEWHERE = re.compile(r"/(?:v1|v1beta|v1alpha)(/cachedContents(?:/.*)?)")
_CALLS = ("functionCall", "function_call", "functionResponse", "function_response")
_OF_A_CALL = re.compile(r"function_?(?:call|response)", re.IGNORECASE)
_UNKNOWN = re.compile(r"""Unknown name \\?"(?P<name>\w+)\\?" at '(?P<where>[^']{0,200})'""")
# What the SDK, too, knows as fields of the Gemini API alone: what they say is not for the model.
_LEAVE_OUT = frozenset(("partMetadata", "willContinue", "enableEnhancedCivicAnswers", "store"))
_NO_TEXT = re.compile(r"embedding|image|tts|live|audio|robotics|computer-use")
_COUNTED = ("contents", "systemInstruction", "system_instruction", "tools", "generationConfig", "generation_config")


class GeminiOnVertex:
    """The Gemini API on Vertex AI: other paths, and fields that are optional elsewhere."""

    express = True
    version_header = ""

    def place_in(self, path: str) -> VertexPlace | None:
        """The project and the location that a path names; no project in that of express mode."""
        if (place := place_in(path)) is not None:
            return place
        return VertexPlace("") if "/publishers/google/models" in path else None

    def plain(self, request: PlainRequest, operation: Operation) -> PlainRequest:
        """Only the path is another one; v1beta1 is there what v1beta is elsewhere."""
        version = "v1" if request.path.startswith("/v1/") else "v1beta"
        if operation.kind == "list_models":
            return request._replace(path=f"/{version}/models")
        named = model_path(request.path)
        return request._replace(path="".join(named._replace(folder=f"/{version}/models/"))) if named else request

    def elsewhere(self, body: bytes, value: Any) -> tuple[bytes, Headers]:
        """The body is the same."""
        return body, ()

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
        """The models of the publisher `google`; contents have to say whose they are, and counts name no request."""
        path, (_, body, value) = self._path(request.path, operation, place), request
        if isinstance(value, dict) and operation.kind in ("generate", "count_tokens"):
            asked = _unwrapped(value) if operation.kind == "count_tokens" else value
            fitting = _left_out(_with_roles(asked), without)
            body = respell(body, value, fitting) if asked is value else dump(fitting)
        return VertexRequest(path, query, body)

    def refused(self, text: str) -> tuple[str, ...]:
        """Fields of the Gemini API that say nothing to the model."""
        names = (name for match in _UNKNOWN.finditer(text) if (name := _field(match["name"], match["where"])))
        return tuple(dict.fromkeys(names))

    @staticmethod
    def _path(path: str, operation: Operation, place: VertexPlace) -> str:
        version = "v1" if path.startswith("/v1/") else "v1beta1"
        if operation.kind in ("list_models", "get_model"):
            # What is described is the publisher's, and lies in no project; the list is in this version only.
            version, place = "v1beta1", VertexPlace("")
        folder = f"/{version}{place.folder}/publishers/google/models"
        if LIST_PATH.fullmatch(path):
            return folder
        if (named := model_path(path)) is not None:
            return "".join(named._replace(folder=f"{folder}/"))
        if place.project and (match := _ELSEWHERE.fullmatch(path)):
            return f"/{version}{place.folder}{match[1]}"
        return moved(path, place)

    def countable(self, answer: dict[str, Any]) -> list[str]:
        """The models that write text."""
        names = map(name_of, listed(answer))
        return newest_first(name for name in names if name.startswith("gemini-") and not _NO_TEXT.search(name))

    def counting(self, model: str, place: VertexPlace) -> VertexRequest:
        """`:countTokens`."""
        body = dump({"contents": [{"role": "user", "parts": [{"text": "Hi"}]}]})
        return VertexRequest(
            f"/v1{place.folder}/publishers/google/models/{quote(model, safe='')}:countTokens", "", body
        )

    def described(self, operation: Operation, answer: Any) -> Any:
        """`publisherModels` as `models`."""
        if not isinstance(answer, dict):
            return answer
        if operation.kind == "get_model":
            return _model(answer)
        models = [_model(each) for each in listed(answer)]
        more = {"nextPageToken": answer["nextPageToken"]} if "nextPageToken" in answer else {}
        return answer if "models" in answer else {"models": models, **more}


def _model(described: dict[str, Any]) -> dict[str, Any]:
    name = name_of(described)
    version = {"version": described["versionId"]} if "versionId" in described else {}
    methods = ["generateContent", "countTokens"]
    return {"name": f"models/{name}", **version, "displayName": name, "supportedGenerationMethods": methods}


def _field(name: str, where: str) -> str:
    """The field that a refusal names, if it can be left out; its name as it is here."""
    name = _camel(name)
    if name == "id" and _OF_A_CALL.search(where):
        return name
    return name if name in _LEAVE_OUT else ""


def _camel(name: str) -> str:
    head, *rest = name.split("_")
    return head + "".join(word[:1].upper() + word[1:] for word in rest)


def _left_out(value: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    """The body without these fields, in either spelling."""
    if not names:
        return value
    value = {name: each for name, each in value.items() if _camel(name) not in names}
    for name in ("generationConfig", "generation_config"):
        if isinstance(config := value.get(name), dict):
            value[name] = _without(config, names)
    if isinstance(contents := value.get("contents"), list):
        value["contents"] = [_content_without(content, names) for content in contents]
    return value


def _content_without(content: Any, names: frozenset[str]) -> Any:
    parts = content.get("parts") if isinstance(content, dict) else None
    if not isinstance(parts, list):
        return content
    fitting = [_part_without(part, names) if isinstance(part, dict) else part for part in parts]
    return content if all(map(is_, fitting, parts)) else {**content, "parts": fitting}


def _part_without(part: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    part = _without(part, names)
    for name in _CALLS:
        if isinstance(call := part.get(name), dict) and (fitting := _without(call, names)) is not call:
            part = {**part, name: fitting}
    return part


def _without(value: dict[str, Any], names: frozenset[str]) -> dict[str, Any]:
    """The object without these members; itself where it has none."""
    if not any(_camel(name) in names for name in value):
        return value
    return {name: each for name, each in value.items() if _camel(name) not in names}


def _with_roles(value: dict[str, Any]) -> dict[str, Any]:
    """The body with a role in each content: what says none is the user's."""
    contents = value.get("contents")
    several = contents if isinstance(contents, list) else [contents]
    if all(not isinstance(content, dict) or content.get("role") for content in several):
        return value
    said = [
        {**content, "role": "user"} if isinstance(content, dict) and not content.get("role") else content
        for content in several
    ]
    return {**value, "contents": said if isinstance(contents, list) else said[0]}


def _unwrapped(value: dict[str, Any]) -> dict[str, Any]:
    """The body of a request to count tokens, which elsewhere may be about a whole request to generate."""
    request = value.get("generateContentRequest", value.get("generate_content_request"))
    return {name: request[name] for name in _COUNTED if name in request} if isinstance(request, dict) else value
