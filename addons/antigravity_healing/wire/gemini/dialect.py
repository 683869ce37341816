"""The Gemini API and its Vertex form (https://ai.google.dev/api/generate-content)."""

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import quote, unquote

from antigravity_healing.wire.dialect import (
    ClientVariables,
    CredentialPlaces,
    GenAI,
    LateEnd,
    Streamed,
    ThingIds,
    VertexVariables,
)
from antigravity_healing.wire.errors.parsing import STATUS_OF_GOOGLE_STATUS, read_error
from antigravity_healing.wire.gemini.collector import GeminiCollector
from antigravity_healing.wire.gemini.conversation import GeminiConversation
from antigravity_healing.wire.gemini.history import wants_pieces
from antigravity_healing.wire.gemini.paths import LIST_PATH, METHODS, MODEL_PATH_LIKE, model_path
from antigravity_healing.wire.gemini.reader import BROKEN_STOPS, PLAIN_STOPS, UNSIGNED_STOP, GeminiReader
from antigravity_healing.wire.gemini.usage import GeminiTally
from antigravity_healing.wire.gemini.vertex import GeminiOnVertex
from antigravity_healing.wire.http.sse import SSEEvent
from antigravity_healing.wire.json.value import dump
from antigravity_healing.wire.operation import Operation
from antigravity_healing.wire.rate_limits import NoRateLimits
from antigravity_healing.wire.reading import EmptyStop, Kind, Reading
from antigravity_healing.wire.requests.opening import opening_key
from antigravity_healing.wire.usage import count_in
from antigravity_healing.wire.vertex import meant

_MEANT = re.compile(r"/*+(?:(?P<version>v1|v1beta|v1alpha)/++)*+models(?:/++(?P<model>[^/]+))?/*+")
_OTHER_PATH = re.compile(r"/(?:upload/|download/)?(?:v1beta|v1alpha|v1beta1)/.+|/(?:upload|download)/v1/.+|/v1/.+")
# With two slashes where the base URL ends with one: Google's SDK for JavaScript writes it so.
_LIVE = re.compile(r"//?ws/google\.(?:ai\.generativelanguage|cloud\.aiplatform)\.\w+\.\w+[./]\w+")
_METHOD_OF_LOWER = {method.lower(): method for method in METHODS}
_STATUS_OF_CODE = {
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    402: "RESOURCE_EXHAUSTED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
_BREAK_AFTER_S = 0.15
_THING_FOLDERS = "files|cachedContents|batches|batchPredictionJobs|fileSearchStores|corpora|interactions|operations"

_THINGS = ThingIds(
    id=re.compile(
        r"(?:(?:https?://[^/]{1,200})?/(?:upload/|download/)?v1[a-z0-9]{0,10}/)?"
        r"(?:(?:projects|locations|publishers|models|tunedModels)/[^/]{1,200}/){0,4}"
        rf"((?:{_THING_FOLDERS})/[A-Za-z0-9._-]{{1,200}})"
    ),
    request_signs=(b'ileUri"', b'file_uri"', b'achedContent"', b'ached_content"', b'StoreNames"', b'store_names"'),
    answer_signs=tuple(f"{folder}/".encode() for folder in _THING_FOLDERS.split("|")),
)


class Gemini:
    """The dialect of the Gemini API."""

    name = "gemini"
    label = "Gemini"
    public_url = "https://generativelanguage.googleapis.com"
    base_path = "/v1beta"
    endpoints = "/v1beta/models/MODEL:generateContent, :streamGenerateContent and :countTokens (Gemini, also under /v1)"
    credentials = CredentialPlaces(("x-goog-api-key", "authorization"), ("key", "access_token"))
    variables = ClientVariables(
        ("GEMINI_API_KEY", "GOOGLE_API_KEY"),
        base_url="GOOGLE_GEMINI_BASE_URL",
        vertex=VertexVariables("GOOGLE_GENAI_USE_VERTEXAI", "GOOGLE_CLOUD_PROJECT", "GOOGLE_CLOUD_LOCATION"),
    )
    models_path = "/v1beta/models"
    flag_header = ""
    gen_ai = GenAI("gcp.gemini", "generate_content")
    answer_headers = "x-goog-"
    session_header = ""
    things = _THINGS
    rate_limits = NoRateLimits()
    conversation = GeminiConversation()
    secret_signs = (b'"mcp_server', b'"mcpServers', b"uthConfig", b"uth_config")
    pings = False
    arrays = True
    # The only form that every Google SDK bears: a comment or a lone blank line breaks some.
    keep_alive = b"\r\n\r\n"
    required_headers: tuple[tuple[bytes, bytes], ...] = ()
    logged_empty = "Empty first chunk received"
    end_marker = b""
    vertex = GeminiOnVertex()

    def operation(self, method: str, path: str, query: Mapping[str, str]) -> Operation | None:
        """What a request asks for; None if it is no endpoint."""
        if method == "GET" and LIST_PATH.fullmatch(path):
            return Operation("list_models")
        named = model_path(path)
        if named is None:
            return None
        model, verb = unquote(named.name), named.verb
        if method == "GET" and not verb:
            return Operation("get_model", model)
        if method != "POST" or verb not in METHODS:
            return None
        streams = verb == "streamGenerateContent"
        form = query.get("alt", query.get("$alt", "")).partition(";")[0]
        return Operation(METHODS[verb], model, streams, sse=form == "sse", opaque=form not in ("sse", "json", ""))

    def pointed_at(self, url: str, *, keyless: bool) -> str:
        """The variables that Gemini CLI and the SDKs read."""
        return f"GOOGLE_GEMINI_BASE_URL={url} {'GEMINI_API_KEY=dummy ' if keyless else ''}gemini"

    def endpoint_like(self, path: str) -> str:
        """A method of a model."""
        match = MODEL_PATH_LIKE.fullmatch(path)
        verb = _METHOD_OF_LOWER.get(match[2]) if match else None
        return f"{match[1]}MODEL:{verb}" if match and verb else ""

    def meant(self, method: str, path: str, headers: Mapping[str, str]) -> str:
        """Of several versions the last is the one that the client has written by itself; without one it is v1beta."""
        if on_vertex := meant(path, "google"):
            return on_vertex if on_vertex != path and self.operation(method, on_vertex, {}) else ""
        match = _MEANT.fullmatch(path)
        if not match:
            return ""
        version = match["version"] or ""
        right = f"/{version or 'v1beta'}/models" + (f"/{match['model']}" if match["model"] else "")
        if right == path or self.operation(method, right, {}) is None:
            return ""
        # A list or a model may be asked of another API, unless the version is one of this API alone.
        clear = method == "POST" or version not in ("", "v1") or self.is_native(headers)
        return right if clear else ""

    def is_native(self, headers: Mapping[str, str]) -> bool:
        """Google's clients say who they are in headers of their own."""
        return any(name.startswith("x-goog-") for name in headers)

    def claims(self, path: str, headers: Mapping[str, str], query: Mapping[str, str]) -> bool:
        """Whether another request belongs to this API, by its version path or a Google header."""
        if _LIVE.fullmatch(path):
            return True
        if not _OTHER_PATH.fullmatch(path):
            return False
        return (
            not path.startswith("/v1/")
            or "x-goog-api-key" in headers
            or "x-goog-api-client" in headers
            or "key" in query
        )

    def model_of(self, operation: Operation, body: Any) -> str:
        """The model that is asked for, "" if none."""
        return operation.model

    def with_model(self, path: str, body: bytes, operation: Operation, model: str) -> tuple[str, bytes]:
        """The same request for another model: only the path changes."""
        named = model_path(path)
        if named is None:
            raise ValueError("this path names no model")
        return "".join(named._replace(name=quote(model, safe=""))), body

    def stated_session(self, body: Any) -> str:
        """Always "": this API has no place for it."""
        return ""

    def session_of(self, body: Any) -> str | None:
        """A hash of the system instruction and the first content."""
        contents = body.get("contents") if isinstance(body, dict) else None
        if not contents:
            return None
        first = contents[0] if isinstance(contents, list) else contents
        system = body.get("systemInstruction", body.get("system_instruction"))
        return opening_key(system, first)

    def reader(self, asked: Any = None) -> GeminiReader:
        """A reader for a new stream."""
        return GeminiReader(in_pieces=wants_pieces(asked))

    def read_answer(self, body: Any) -> Reading:
        """Understand a whole GenerateContentResponse."""
        return GeminiReader().read_chunk(body)

    def content_of(self, answer: Any) -> list[dict[str, Any]]:
        """The parts of the first candidate; a stream that is one JSON array is read as its chunks."""
        reader = GeminiReader()
        for chunk in answer if isinstance(answer, list) else [answer]:
            reader.read_chunk(chunk)
        return reader.content

    def longest_answer(self, body: Any) -> int | None:
        """`maxOutputTokens` of the `generationConfig`, in either spelling."""
        config = body.get("generationConfig", body.get("generation_config")) if isinstance(body, dict) else None
        return count_in(config, "maxOutputTokens", "max_output_tokens")

    def answer_tally(self) -> GeminiTally:
        """What takes down what a new answer tells of itself."""
        return GeminiTally()

    def empty_stop(self, stop: str) -> EmptyStop:
        """What a finish reason means without content."""
        if stop in PLAIN_STOPS:
            return EmptyStop.PLAIN
        if stop == UNSIGNED_STOP:
            return EmptyStop.SIGNATURE
        return EmptyStop.MALFORMED if stop in BROKEN_STOPS else EmptyStop.ANSWER

    def broken_stop(self, stop: str) -> bool:
        """Whether the turn is none: a call that can't be read, or that lacks the signature of its thought."""
        return stop in BROKEN_STOPS

    def too_long(self, limit: str, count: str) -> str:
        """The API's own words."""
        counted = f"The input token count ({count})" if count else "The input token count"
        return f"{counted} exceeds the maximum number of tokens allowed ({limit})."

    def clean(self, event: SSEEvent, reading: Reading) -> bytes:
        """The event as it came if it is one plain `data: ` line, else made so: the SDKs bear nothing else."""
        if reading.kind is Kind.HEARTBEAT:
            return self.keep_alive
        if event.data is None:
            return b""
        raw = event.raw
        head = 6 + len(event.data)
        plain = raw.startswith(b"data: ") and raw[6:head] == event.data and raw[head:] in (b"\r\n\r\n", b"\n\n")
        if plain:
            return raw
        return b"data: " + b" ".join(event.data.splitlines()) + b"\r\n\r\n"

    def fitting_status(self, status: int) -> int:
        """The status itself if a Google status has it, else 503 for what a gateway says, 500 or 400 for the others."""
        if status in _STATUS_OF_CODE:
            return status
        return 503 if status in (502, 529) else 500 if status >= 500 or status == 408 else 400

    def error_body(self, status: int, message: str, retry_after_s: float | None = None) -> bytes:
        """`{"error":{"code":…,"message":…,"status":…}}`."""
        status = self.fitting_status(status)
        error: dict[str, Any] = {"code": status, "message": message, "status": _STATUS_OF_CODE[status]}
        if retry_after_s is not None:
            seconds = f"{retry_after_s:.3f}".rstrip("0").rstrip(".")
            info = {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": f"{seconds}s"}
            error["details"] = [info]
        return dump({"error": error})

    def late_error(self, status: int, message: str) -> bytes:
        """The raw error object: the only form that every Google SDK raises on in the middle of a stream."""
        return self.error_body(status, message) + b"\r\n\r\n"

    def cut_off(self, status: int, message: str) -> bytes:
        """The raw error object: Gemini CLI goes on after one, and dies of a connection that merely breaks."""
        return self.late_error(status, message)

    def late_end(self, *, said: bool) -> LateEnd:
        """A reset: behind a regular end some SDKs overlook the object, and Gemini CLI dies of one that merely ends."""
        return LateEnd(broken=True, pause_s=_BREAK_AFTER_S, reset=True)

    def shaped(self, error: Any) -> dict[str, Any]:
        """An upstream's error in this shape, with `error` as the first member: python-genai raises on nothing else."""
        return {"error": _google_error(error)}

    def relayed_error(self, error: Any, event: SSEEvent | None = None) -> bytes:
        """Upstream's error as a raw object."""
        return dump(self.shaped(error)) + b"\r\n\r\n"

    def with_models(self, body: Any, names: list[str]) -> Any:
        """The list with the names put in front, as models of the same shape."""
        if not isinstance(body, dict) or not isinstance(body.get("models"), list):
            return body
        known = {model.get("name") for model in body["models"] if isinstance(model, dict)}
        methods = ["generateContent", "countTokens"]
        added = [
            {"name": f"models/{name}", "displayName": name, "supportedGenerationMethods": methods}
            for name in names
            if f"models/{name}" not in known
        ]
        return {**body, "models": added + body["models"]}

    def model_list(self, names: list[str]) -> Any:
        """A model list with these names and no others."""
        return self.with_models({"models": []}, names)

    def encode(self, event: dict[str, Any]) -> bytes:
        """The event as one `data: ` line: the SDKs bear nothing else."""
        return b"data: " + dump(event) + b"\r\n\r\n"

    def collector(self, longest: int) -> GeminiCollector:
        """A collector for a new stream."""
        return GeminiCollector(longest)

    def events_of(self, answer: Any) -> Iterator[dict[str, Any]]:
        """A whole answer is said like one chunk of a stream; an array is the chunks of one."""
        chunks = answer if isinstance(answer, list) else [answer]
        if not all(isinstance(chunk, dict) for chunk in chunks):
            raise ValueError("no GenerateContentResponse")
        return iter(chunks)

    def streamed(self, path: str, query: str, body: bytes, value: Any) -> Streamed | None:
        """The same request to `streamGenerateContent`.

        None for images and speech, which come in one piece, for a client that wants another form than JSON, and where
        a stream would have its calls in pieces.
        """
        if not isinstance(value, dict):
            raise ValueError("no JSON object")
        if wants_pieces(value):
            return None
        settings = value.get("generationConfig", value.get("generation_config"))
        settings = settings if isinstance(settings, dict) else {}
        modalities = settings.get("responseModalities", settings.get("response_modalities"))
        if isinstance(modalities, list) and any(str(modality).upper() != "TEXT" for modality in modalities):
            return None
        params = [param for param in query.split("&") if param and param != "alt=json"]
        if any(param.partition("=")[0] in ("alt", "$alt") for param in params):
            return None
        named = model_path(path)
        if named is None:
            raise ValueError("this path names no model")
        return Streamed(
            "".join(named._replace(verb="streamGenerateContent")), "&".join([*params, "alt=sse"]), body, value
        )  # fmt: skip


def _google_error(error: Any) -> dict[str, Any]:
    """The error object with the fields that the SDKs read, whatever of them upstream left out."""
    inner = error.get("error") if isinstance(error, dict) else None
    fields = dict(inner) if isinstance(inner, dict) else {}
    read = read_error(error)
    code = fields.pop("code", None)
    if not isinstance(code, int) or not 400 <= code <= 599:
        code = read.status or 500
    message = str(fields.pop("message", "") or read.text or "upstream reported an error without a message")
    status = fields.pop("status", None)
    if status not in STATUS_OF_GOOGLE_STATUS:
        status = _STATUS_OF_CODE.get(code, "UNKNOWN")
    return {"code": code, "message": message, "status": status, **fields}
