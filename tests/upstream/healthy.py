"""What a healthy API answers, for both dialects: the upstream's default."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Literal
from urllib.parse import parse_qs, unquote

from . import anthropic, gemini
from .calls import Call
from .replies import Reply

type Dialect = Literal["anthropic", "gemini"]
type Action = Literal["generate", "count", "list", "get", "unknown"]

ANTHROPIC_MODELS = ("claude-opus-4-5", "claude-sonnet-4-5", "claude-haiku-4-5")
GEMINI_MODELS = ("gemini-3-pro-preview", "gemini-2.5-pro", "gemini-2.5-flash")

GEMINI_PATH = re.compile(
    r"/(?:v1|v1beta|v1alpha|v1beta1)/(?:(?:projects/[^/]+/locations/[^/]+/)?publishers/google/)?models"
    r"(?:/(?P<model>[^/:]+)(?::(?P<verb>\w+))?)?"
)
ANTHROPIC_MODEL_PATH = re.compile(r"/v1/models/(?P<model>[^/:]+)")


VERTEX_ANTHROPIC_PATH = re.compile(
    r"/v1/projects/[^/]+/locations/[^/]+/publishers/anthropic/models/(?P<model>[^/:]+):(?P<verb>rawPredict|streamRawPredict)"
)
VERTEX_LIST_PATH = re.compile(r"/v1beta1/publishers/(?P<publisher>google|anthropic)/models(?:/(?P<model>[^/:]+))?")


@dataclass(frozen=True)
class Asked:
    """What a call asks for."""

    dialect: Dialect
    action: Action
    model: str = ""
    stream: bool = False
    sse: bool = True
    """False: a Gemini stream without `alt=sse`, answered with a JSON array."""


def asked(call: Call) -> Asked:
    """Reads path, query and body; what fits no endpoint is "unknown"."""
    if call.path in ("/v1/messages", "/v1/messages/count_tokens") and call.method == "POST":
        body = body_of(call)
        action: Action = "count" if call.path.endswith("count_tokens") else "generate"
        return Asked("anthropic", action, str(body.get("model", "")), body.get("stream") is True)

    if (match := VERTEX_ANTHROPIC_PATH.fullmatch(call.path)) and call.method == "POST":
        if match["model"] == "count-tokens":
            return Asked("anthropic", "count", str(body_of(call).get("model", "")))
        return Asked("anthropic", "generate", unquote(match["model"]), match["verb"] == "streamRawPredict")

    google = any(not credential.startswith(("x-api-key:", "bearer:")) for credential in call.credentials)
    if call.method == "GET" and call.path.startswith("/v1/models") and not google:
        # Both APIs have this path; without a Google key it is the Anthropic one.
        if call.path == "/v1/models":
            return Asked("anthropic", "list")
        if match := ANTHROPIC_MODEL_PATH.fullmatch(call.path):
            return Asked("anthropic", "get", match["model"])

    if match := GEMINI_PATH.fullmatch(call.path):
        model = match["model"] or ""
        match (call.method, match["verb"]):
            case ("GET", None):
                return Asked("gemini", "get" if model else "list", model)
            case ("POST", "generateContent"):
                return Asked("gemini", "generate", model)
            case ("POST", "streamGenerateContent"):
                sse = "sse" in parse_qs(call.query).get("alt", [])
                return Asked("gemini", "generate", model, stream=True, sse=sse)
            case ("POST", "countTokens"):
                return Asked("gemini", "count", model)
    looks_google = google or re.match(r"/(v1beta|v1alpha|v1beta1|upload)/|/v1/(projects|models)/", call.path)
    return Asked("gemini" if looks_google else "anthropic", "unknown")


def body_of(call: Call) -> dict[str, Any]:
    try:
        body = call.json
    except (ValueError, RecursionError):
        return {}
    return body if isinstance(body, dict) else {}


def refusal(call: Call) -> Reply | None:
    """What the real API refuses before it looks any further."""
    if VERTEX_ANTHROPIC_PATH.fullmatch(call.path):
        return refused_on_vertex(call)
    if asked(call).dialect == "gemini" and len(call.credentials) > 1:
        message = "Multiple authentication credentials received. Please pass only one."
        return gemini.gemini_error(400, "INVALID_ARGUMENT", message)
    return None


def refused_on_vertex(call: Call) -> Reply | None:
    """What Vertex AI refuses of a request for a model of Anthropic's."""
    body, counts = body_of(call), "/count-tokens:" in call.path
    if not isinstance(body.get("anthropic_version"), str):
        return anthropic.anthropic_error(400, "invalid_request_error", "anthropic_version: Field required")
    if "model" in body and not counts:
        return anthropic.anthropic_error(400, "invalid_request_error", "model: Extra inputs are not permitted")
    if bool(body.get("stream")) != (":streamRawPredict" in call.path):
        return gemini.gemini_error(400, "INVALID_ARGUMENT", "The stream and the method do not fit together.")
    return None


def healthy(call: Call) -> Reply:
    """The answer of an API in good health, with the model that was asked for."""
    if (match := VERTEX_LIST_PATH.fullmatch(call.path)) and call.method == "GET":
        return publisher_models(match["publisher"], match["model"])
    ask = asked(call)
    if ask.action != "unknown" and call.method == "POST" and not body_of(call):
        return not_json(ask)
    if ask.dialect == "anthropic":
        return healthy_anthropic(call, ask)
    return healthy_gemini(call, ask)


def healthy_anthropic(call: Call, ask: Asked) -> Reply:
    match ask.action:
        case "generate" if ask.stream:
            return anthropic.anthropic_stream(model=ask.model)
        case "generate":
            return anthropic.anthropic_json(model=ask.model)
        case "count":
            return document(anthropic.JSON_HEADERS, {"input_tokens": 12})
        case "list":
            models = [anthropic_model(name) for name in ANTHROPIC_MODELS]
            ends = {"has_more": False, "first_id": models[0]["id"], "last_id": models[-1]["id"]}
            return document(anthropic.JSON_HEADERS, {"data": models, **ends})
        case "get":
            return document(anthropic.JSON_HEADERS, anthropic_model(ask.model))
        case "unknown":
            return anthropic.anthropic_error(404, "not_found_error", f"Not found: {call.method} {call.path}")


def healthy_gemini(call: Call, ask: Asked) -> Reply:
    match ask.action:
        case "generate" if ask.stream:
            return gemini.gemini_stream(model=ask.model, sse=ask.sse)
        case "generate":
            return gemini.gemini_json(model=ask.model)
        case "count":
            details = [{"modality": "TEXT", "tokenCount": 12}]
            return document(gemini.JSON_HEADERS, {"totalTokens": 12, "promptTokensDetails": details})
        case "list":
            return document(gemini.JSON_HEADERS, {"models": [gemini_model(name) for name in GEMINI_MODELS]})
        case "get":
            return document(gemini.JSON_HEADERS, gemini_model(ask.model))
        case "unknown":
            return gemini.gemini_error(404, "NOT_FOUND", f"Not found: {call.method} {call.path}")


def not_json(ask: Asked) -> Reply:
    if ask.dialect == "anthropic":
        return anthropic.anthropic_error(400, "invalid_request_error", "The body is not a JSON object.")
    return gemini.gemini_error(400, "INVALID_ARGUMENT", "Invalid JSON payload received.")


def publisher_models(publisher: str, model: str | None) -> Reply:
    """What Vertex AI says of a publisher's models, or of one."""
    names = GEMINI_MODELS if publisher == "google" else ANTHROPIC_MODELS
    models = [
        {"name": f"publishers/{publisher}/models/{name}", "versionId": "default", "launchStage": "GA"}
        for name in ([model] if model else names)
    ]
    return document(gemini.JSON_HEADERS, models[0] if model else {"publisherModels": models})


def document(headers: dict[str, str], value: Any) -> Reply:
    return Reply(headers=headers, body=json.dumps(value).encode(), name="a document")


def anthropic_model(name: str) -> dict[str, Any]:
    return {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"}


def gemini_model(name: str) -> dict[str, Any]:
    return {
        "name": f"models/{name}",
        "version": "001",
        "displayName": name,
        "inputTokenLimit": 1048576,
        "outputTokenLimit": 65536,
        "supportedGenerationMethods": ["generateContent", "countTokens"],
    }
