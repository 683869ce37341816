import json
from typing import Any

import pytest
from antigravity_healing.wire.gemini.dialect import Gemini
from antigravity_healing.wire.gemini.reader import GeminiReader
from antigravity_healing.wire.http.sse import SSEDecoder, SSEEvent
from antigravity_healing.wire.operation import Operation
from antigravity_healing.wire.reading import EmptyStop, Kind, Reading
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.protocol import check_gemini_error, check_gemini_stream
from tests.support.recorded import Exchange, recorded_params

DIALECT = Gemini()
steady = settings(deadline=None, derandomize=True)


def events_of(stream: bytes) -> list[SSEEvent]:
    decoder = SSEDecoder()
    return decoder.decode(stream) + decoder.flush()


def event_of(data: Any) -> SSEEvent:
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    (event,) = events_of(b"data: " + text + b"\r\n\r\n")
    return event


def read(data: Any) -> Reading:
    return GeminiReader().read(event_of(data))


def candidate(*parts: Any, index: int = 0, **more: Any) -> dict[str, Any]:
    return {"content": {"parts": list(parts), "role": "model"}, "index": index, **more}


def chunk(*parts: Any, **more: Any) -> dict[str, Any]:
    return {"candidates": [candidate(*parts, **more)], "usageMetadata": {"promptTokenCount": 3}}


UNAVAILABLE = {"error": {"code": 503, "message": "The model is overloaded.", "status": "UNAVAILABLE"}}

KINDS: list[tuple[Any, Kind, bool]] = [
    ({"usageMetadata": {"promptTokenCount": 3}, "modelVersion": "m", "responseId": "r"}, Kind.META, False),
    ({"candidates": []}, Kind.META, False),
    ({}, Kind.META, False),
    ({"candidates": [{"index": 0}]}, Kind.META, False),
    ({"candidates": [{"content": {"role": "model"}}]}, Kind.META, False),
    (chunk(), Kind.META, False),
    (chunk({}), Kind.META, False),
    (chunk({"text": ""}), Kind.META, False),
    (chunk({"text": "", "thought": True}), Kind.META, False),
    (chunk({"text": "", "thoughtSignature": "EsoG"}), Kind.META, False),
    (chunk({"text": "", "thought_signature": "EsoG"}), Kind.META, False),
    (chunk({"thoughtSignature": "EsoG"}), Kind.META, False),
    (chunk({"text": "Hi"}), Kind.CONTENT, True),
    (chunk({"text": "\n"}), Kind.CONTENT, True),
    (chunk({"text": "Hm", "thought": True}), Kind.CONTENT, False),
    (chunk({"text": "Hm", "thought": True}, {"text": "Hi"}), Kind.CONTENT, True),
    (chunk({"text": ""}, {"text": "Hi", "thoughtSignature": "EsoG"}), Kind.CONTENT, True),
    (chunk({"functionCall": {"name": "f", "args": {}}}), Kind.CONTENT, True),
    (chunk({"functionCall": {"name": "f"}, "thoughtSignature": "EsoG"}), Kind.CONTENT, True),
    (chunk({"inlineData": {"mimeType": "image/png", "data": "iVBO"}}), Kind.CONTENT, True),
    (chunk({"executableCode": {"language": "PYTHON", "code": "1"}}), Kind.CONTENT, True),
    (chunk({"codeExecutionResult": {"outcome": "OUTCOME_OK"}}), Kind.CONTENT, True),
    (chunk({"neverHeardOf": 1}), Kind.CONTENT, True),
    (chunk({"text": "", "neverHeardOf": 1}), Kind.CONTENT, True),
    ({"candidates": [candidate(), candidate({"text": "Hi"}, index=1)]}, Kind.CONTENT, True),
    (chunk({"text": "Hi"}, finishReason="STOP"), Kind.CONTENT, True),
    (chunk(finishReason="STOP"), Kind.TERMINAL, False),
    ({"candidates": [{"finishReason": "SAFETY", "index": 0}]}, Kind.TERMINAL, False),
    (chunk({"text": ""}, finishReason="MAX_TOKENS"), Kind.TERMINAL, False),
    ({"promptFeedback": {"blockReason": "PROHIBITED_CONTENT"}}, Kind.TERMINAL, False),
    ({"promptFeedback": {"safetyRatings": []}}, Kind.META, False),
    (UNAVAILABLE, Kind.ERROR, False),
    ([UNAVAILABLE], Kind.ERROR, False),
    (b"{not json", Kind.MALFORMED, False),
    (b"<html>502 Bad Gateway</html>", Kind.MALFORMED, False),
]


@pytest.mark.parametrize(("data", "kind", "visible"), KINDS)
def test_the_kind_of_each_event(data: Any, kind: Kind, visible: bool) -> None:
    reading = read(data)
    assert (reading.kind, reading.visible) == (kind, visible)


@pytest.mark.parametrize("raw", [b": hello\r\n\r\n", b"\r\n\r\n", b"data:\r\n\r\n", b"data: [DONE]\r\n\r\n", b"\n"])
def test_what_says_nothing_is_a_heartbeat(raw: bytes) -> None:
    (event,) = events_of(raw)
    assert GeminiReader().read(event).kind is Kind.HEARTBEAT


def test_content_and_finish_reason_in_one_event_are_both_told() -> None:
    assert read(chunk({"text": "Hi"}, finishReason="MAX_TOKENS")) == Reading(Kind.CONTENT, True, "MAX_TOKENS")
    assert read({"promptFeedback": {"blockReason": "SAFETY"}}).stop == "SAFETY"


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("end", [b"", b"\r\n", b"\r\n\r\n"])
@pytest.mark.parametrize("wrapped", [False, True])
def test_a_raw_error_without_data_is_an_error(indent: int | None, end: bytes, wrapped: bool) -> None:
    body: Any = [UNAVAILABLE] if wrapped else UNAVAILABLE
    text = json.dumps(body, indent=indent).replace("\n", "\r\n").encode()
    *_, event = events_of(b"data: {}\r\n\r\n" + text + end)
    reading = GeminiReader().read(event)
    assert reading.kind is Kind.ERROR
    assert reading.error == UNAVAILABLE


def test_a_raw_error_right_behind_a_data_line_is_an_error() -> None:
    # Without the blank line between them they are one block for a decoder.
    (event,) = events_of(b"data: {}\r\n" + json.dumps(UNAVAILABLE).encode() + b"\r\n\r\n")
    assert GeminiReader().read(event).kind is Kind.ERROR


def test_an_unknown_field_beside_data_is_ignored_as_the_standard_says() -> None:
    (event,) = events_of(b"x-trace: 7\r\ndata: " + json.dumps(chunk({"text": "Hi"})).encode() + b"\r\n\r\n")
    assert GeminiReader().read(event).kind is Kind.CONTENT


def test_a_stream_has_stopped_when_each_candidate_has() -> None:
    reader = GeminiReader()
    reader.read(event_of({"candidates": [candidate({"text": "a"}), candidate({"text": "b"}, index=1)]}))
    reader.read(event_of(chunk(finishReason="STOP")))
    stopped_between = reader.stopped
    reader.read(event_of(chunk(index=1, finishReason="MAX_TOKENS")))
    assert not stopped_between
    assert reader.stopped
    assert reader.ended
    assert not reader.closed


def test_a_blocked_prompt_has_stopped() -> None:
    reader = GeminiReader()
    reader.read(event_of({"promptFeedback": {"blockReason": "SAFETY"}}))
    assert reader.stopped


def test_usage_behind_the_finish_reason_changes_nothing() -> None:
    reader = GeminiReader()
    reader.read(event_of(chunk({"text": "Hi"}, finishReason="STOP")))
    assert reader.read(event_of({"usageMetadata": {"totalTokenCount": 9}})).kind is Kind.META
    assert reader.stopped


@pytest.mark.parametrize(
    "recorded", recorded_params(lambda exchange: exchange.is_stream and exchange.dialect == "gemini")
)
def test_a_recorded_stream_is_understood_to_its_end(recorded: Exchange) -> None:
    reader = GeminiReader()
    kinds, cleaned = [], b""
    for event in events_of(recorded.response_body):
        reading = reader.read(event)
        kinds.append(reading.kind)
        cleaned += DIALECT.clean(event, reading)
    assert cleaned == recorded.response_body
    assert reader.stopped
    assert Kind.CONTENT in kinds
    assert not {Kind.ERROR, Kind.MALFORMED}.intersection(kinds)


@pytest.mark.parametrize(
    ("method", "path", "query", "expected"),
    [
        ("POST", "/v1/models/m:streamGenerateContent", {"alt": "sse"}, Operation("generate", "m", True, True)),
        ("POST", "/v1beta/models/m:streamGenerateContent", {}, Operation("generate", "m", True, False)),
        ("POST", "/v1alpha/models/m:streamGenerateContent", {"alt": "json"}, Operation("generate", "m", True, False)),
        (
            "POST",
            "/v1beta/models/gemini-2.5-pro:countTokens",
            {},
            Operation("count_tokens", "gemini-2.5-pro", False, False),
        ),
        ("GET", "/v1beta/models", {}, Operation("list_models")),
        ("GET", "/v1beta/models/m", {}, Operation("get_model", "m")),
        (
            "POST",
            "/v1/projects/p/locations/global/publishers/google/models/m:streamGenerateContent",
            {"alt": "sse"},
            Operation("generate", "m", True, True),
        ),
        (
            "POST",
            "/v1beta1/projects/p/locations/us-east1/publishers/google/models/m:generateContent",
            {},
            Operation("generate", "m", False, False),
        ),
        ("POST", "/v1beta/models/m%3AgenerateContent", {}, Operation("generate", "m", False, False)),
        ("POST", "/v1beta/models/m%3acountTokens", {}, Operation("count_tokens", "m", False, False)),
        ("POST", "/v1beta/models/m:7b:generateContent", {}, Operation("generate", "m:7b", False, False)),
        ("GET", "/v1beta/models/m%3A7b", {}, Operation("get_model", "m:7b")),
        ("POST", "/v1beta/models/m%3AembedContent", {}, None),
        ("POST", "/v1beta/models/:generateContent", {}, None),
        ("POST", "/v1beta/models/m:embedContent", {}, None),
        ("GET", "/v1beta/models/m:generateContent", {}, None),
        ("POST", "/v1beta/models/m", {}, None),
        ("POST", "/v2/models/m:generateContent", {}, None),
        ("POST", "/v1/messages", {}, None),
        ("POST", "/x/v1/models/m:generateContent", {}, None),
    ],
)
def test_the_endpoints(method: str, path: str, query: dict[str, str], expected: Operation | None) -> None:
    assert DIALECT.operation(method, path, query) == expected


@pytest.mark.parametrize(
    ("path", "endpoint"),
    [
        ("/v1beta/models/m:generatecontent", "/v1beta/models/MODEL:generateContent"),
        ("/v1/models/a/b:streamgeneratecontent", "/v1/models/MODEL:streamGenerateContent"),
        ("/v1beta1/publishers/google/models/m:counttokens", "/v1beta1/publishers/google/models/MODEL:countTokens"),
        ("/v1beta/models/m:embedcontent", ""),
        ("/v1beta/tunedmodels/m:generatecontent", ""),
        ("/v1beta/models", ""),
        ("/v1/messages", ""),
    ],
)
def test_what_a_lenient_server_may_take_for_an_endpoint(path: str, endpoint: str) -> None:
    assert DIALECT.endpoint_like(path) == endpoint


def test_an_encoded_colon_stays_as_it_is() -> None:
    operation = Operation("generate", "m", False, False)
    assert DIALECT.with_model("/v1/models/m%3AgenerateContent", b"", operation, "n o") == (
        "/v1/models/n%20o%3AgenerateContent",
        b"",
    )
    streamed = DIALECT.streamed("/v1/models/m%3AgenerateContent", "", b"{}", {})
    assert streamed is not None
    assert (streamed.path, streamed.query) == ("/v1/models/m%3AstreamGenerateContent", "alt=sse")


def test_other_requests_are_claimed_by_their_path_or_a_google_header() -> None:
    assert DIALECT.claims("/v1beta/files", {}, {})
    assert DIALECT.claims("/upload/v1beta/files", {}, {})
    assert DIALECT.claims("/v1/cachedContents", {"x-goog-api-key": "k"}, {})
    assert DIALECT.claims("/v1/cachedContents", {}, {"key": "k"})
    assert not DIALECT.claims("/v1/cachedContents", {}, {})
    assert not DIALECT.claims("/favicon.ico", {}, {})


def test_the_model_is_the_paths() -> None:
    operation = DIALECT.operation("POST", "/v1beta/models/gemini-3-pro:generateContent", {})
    assert operation is not None
    assert DIALECT.model_of(operation, {"model": "other"}) == "gemini-3-pro"


@pytest.mark.parametrize(
    ("path", "changed"),
    [
        ("/v1beta/models/m:streamGenerateContent", "/v1beta/models/new-1.5:streamGenerateContent"),
        ("/v1/models/m", "/v1/models/new-1.5"),
        ("/v1alpha/models/models-models:countTokens", "/v1alpha/models/new-1.5:countTokens"),
        (
            "/v1/projects/m/locations/m/publishers/google/models/m:generateContent",
            "/v1/projects/m/locations/m/publishers/google/models/new-1.5:generateContent",
        ),
    ],
)
def test_another_model_changes_the_path_and_nothing_else(path: str, changed: str) -> None:
    body = b'{"contents": [ ],"model" : "m"}'
    assert DIALECT.with_model(path, body, Operation("generate", "m"), "new-1.5") == (changed, body)


def test_a_path_without_a_model_can_not_name_another() -> None:
    with pytest.raises(ValueError, match="names no model"):
        DIALECT.with_model("/v1beta/files", b"", Operation("other"), "x")


def test_the_session_is_the_beginning_of_the_conversation() -> None:
    first = {"role": "user", "parts": [{"text": "Hello"}]}
    body: dict[str, Any] = {"systemInstruction": {"parts": [{"text": "Be nice"}]}, "contents": [first]}
    later = {**body, "contents": [first, {"role": "model", "parts": []}, first]}
    assert DIALECT.session_of(body) == DIALECT.session_of(later)
    snake = {"system_instruction": body["systemInstruction"], "contents": [first]}
    assert DIALECT.session_of(body) == DIALECT.session_of(snake)
    assert DIALECT.session_of(body) != DIALECT.session_of({"contents": [first]})
    assert DIALECT.session_of({"contents": []}) is None
    assert DIALECT.session_of(None) is None


ANSWERS = [
    "MAX_TOKENS", "SAFETY", "RECITATION", "LANGUAGE", "OTHER", "BLOCKLIST", "PROHIBITED_CONTENT", "SPII",
    "IMAGE_SAFETY", "IMAGE_PROHIBITED_CONTENT", "IMAGE_RECITATION", "IMAGE_OTHER", "NO_IMAGE", "TOO_MANY_TOOL_CALLS",
    "ESCALATION", "PUP_LIMITED_DISABLED", "CONTINUATION", "MODEL_ARMOR", "NEVER_HEARD_OF"
]  # fmt: skip


@pytest.mark.parametrize(
    ("stop", "meaning"),
    [
        ("STOP", EmptyStop.PLAIN),
        ("", EmptyStop.PLAIN),
        ("MALFORMED_FUNCTION_CALL", EmptyStop.MALFORMED),
        ("MALFORMED_RESPONSE", EmptyStop.MALFORMED),
        ("UNEXPECTED_TOOL_CALL", EmptyStop.MALFORMED),
        ("MISSING_THOUGHT_SIGNATURE", EmptyStop.SIGNATURE),
        *((stop, EmptyStop.ANSWER) for stop in ANSWERS),
    ],
)
def test_what_a_finish_reason_means_without_content(stop: str, meaning: EmptyStop) -> None:
    assert DIALECT.empty_stop(stop) is meaning


HI = json.dumps(chunk({"text": "Hi é"}), ensure_ascii=False).encode()


@pytest.mark.parametrize(
    "raw", [b"data: " + HI + b"\r\n\r\n", b"data: " + HI + b"\n\n", b"data:  " + HI + b" \r\n\r\n"]
)
def test_a_plain_event_stays_as_it_is(raw: bytes) -> None:
    (event,) = events_of(raw)
    assert DIALECT.clean(event, Reading(Kind.CONTENT)) == raw


@pytest.mark.parametrize(
    "raw",
    [
        b"data:" + HI + b"\r\n\r\n",
        b": hello\r\ndata: " + HI + b"\r\n\r\n",
        b"event: message\ndata: " + HI + b"\n\n",
        b"data: " + HI + b"\nid: 7\n\n",
        b"data: " + HI,
        b"data: " + HI + b"\r\n",
        b"data: " + HI + b"\r\r",
        b"data: " + HI + b"\r\n\n",
        b"data: " + HI + b"\n\r",
        b"data: " + HI.replace(b", ", b",\ndata: ") + b"\n\n",
        b"\xef\xbb\xbfdata: " + HI + b"\n\n",
    ],
)
def test_an_odd_event_becomes_one_plain_data_line(raw: bytes) -> None:
    (event,) = events_of(raw)
    cleaned = DIALECT.clean(event, GeminiReader().read(event))
    report = check_gemini_stream(cleaned, allow_cut=True)
    assert report.text == "Hi é"
    assert cleaned.endswith((b"\r\n\r\n", b"\n\n"))


@pytest.mark.parametrize(
    "raw", [b": hello\n\n", b"event: ping\ndata:\n\n", b"data: [DONE]\n\n", b"\n", b"\r\n", b"id: 3\n\n"]
)
def test_what_says_nothing_becomes_a_whole_blank_line(raw: bytes) -> None:
    (event,) = events_of(raw)
    assert DIALECT.clean(event, GeminiReader().read(event)) == b"\r\n\r\n"


pieces = st.sampled_from(
    [b"data: " + HI, b"data:" + HI, b"\r\n", b"\n", b"\r\n\r\n", b"\n\n", b"\r", b": c", b"event: x", b"id: 1", b"data",
     b"data: [DONE]", b"data: {}", b"\xef\xbb\xbf"]
)  # fmt: skip


@settings(steady, max_examples=examples(400))
@given(st.lists(pieces, max_size=16).map(b"".join))
def test_whatever_comes_is_borne_by_every_google_sdk(stream: bytes) -> None:
    reader = GeminiReader()
    cleaned = b""
    for event in events_of(stream):
        reading = reader.read(event)
        if reading.kind not in (Kind.MALFORMED, Kind.ERROR):
            cleaned += DIALECT.clean(event, reading)
    check_gemini_stream(cleaned, allow_cut=True)


@pytest.mark.parametrize("status", [*range(400, 420), 422, 499, 500, 501, 502, 503, 504, 520, 529, 599])
def test_an_error_of_our_own_is_one_the_sdks_know(status: int) -> None:
    fitting = DIALECT.fitting_status(status)
    error = check_gemini_error(fitting, DIALECT.error_body(status, "so it is"))
    assert error["message"] == "so it is"
    assert fitting // 100 == status // 100 or status == 408


def test_an_error_of_our_own_tells_how_long_to_wait() -> None:
    error = check_gemini_error(429, DIALECT.error_body(429, "later", 12.5))
    assert error["details"] == [{"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "12.5s"}]


@pytest.mark.parametrize("seconds", [0.5, 391_610, 1_000_000, 2_592_000])
def test_a_wait_is_written_in_the_grammar_of_durations(seconds: float) -> None:
    # Not in the form of 1e+06, which is no duration.
    (info,) = json.loads(DIALECT.error_body(429, "later", seconds))["error"]["details"]
    assert info["retryDelay"].removesuffix("s").replace(".", "", 1).isdigit()
    assert float(info["retryDelay"].removesuffix("s")) == pytest.approx(seconds, abs=0.001)


def test_keep_alive_and_late_error_are_valid_in_a_stream() -> None:
    report = check_gemini_stream(DIALECT.keep_alive + DIALECT.late_error(504, "stalled"))
    assert report.keep_alives == 1
    assert report.error == {"code": 504, "message": "stalled", "status": "DEADLINE_EXCEEDED"}


def test_a_relayed_error_keeps_its_fields_and_gets_those_that_the_sdks_need() -> None:
    error = {"error": {"code": 429, "message": "m", "status": "RESOURCE_EXHAUSTED", "details": [{"a": 1}]}}
    assert check_gemini_stream(DIALECT.relayed_error(error)).error == error["error"]
    partial = check_gemini_stream(DIALECT.relayed_error({"error": {"status": "UNAVAILABLE"}})).error
    assert partial is not None
    assert (partial["code"], partial["status"]) == (503, "UNAVAILABLE")


def test_names_are_added_to_a_model_list_once() -> None:
    listed = {"models": [{"name": "models/a"}], "nextPageToken": "t"}
    added = DIALECT.with_models(listed, ["a", "mine"])
    assert [model["name"] for model in added["models"]] == ["models/mine", "models/a"]
    assert added["nextPageToken"] == "t"
    assert DIALECT.with_models({"error": {}}, ["a"]) == {"error": {}}


words = st.sampled_from(
    ["candidates", "content", "parts", "text", "thought", "index", "finishReason", "promptFeedback", "blockReason",
     "error", "code", "status", "message", "contents", "x"]
)  # fmt: skip
anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)
oddly = st.fixed_dictionaries(
    {
        "candidates": st.lists(
            st.fixed_dictionaries({}, optional={"index": anything, "content": anything, "finishReason": anything}),
            max_size=2,
        )
    }
)


@settings(steady, max_examples=examples(300))
@given(anything | oddly)
def test_no_json_makes_the_reader_raise(body: Any) -> None:
    reader = GeminiReader()
    reader.read(event_of(body))
    reader.read(event_of(body))
    DIALECT.read_answer(body)
    DIALECT.session_of(body)
    DIALECT.with_models(body, ["a"])
    assert isinstance(DIALECT.relayed_error(body), bytes)


def test_a_stream_that_opens_candidate_after_candidate_is_malformed_in_the_end() -> None:
    reader = GeminiReader()
    for index in range(100):
        reading = reader.read_chunk({"candidates": [{"index": index, "content": {"parts": [{"text": "x"}]}}]})
        assert reading.kind is Kind.CONTENT
    assert reader.read_chunk({"candidates": [{"index": "one more"}]}).kind is Kind.MALFORMED


NO_CALLS = [
    {"args": {"path": "/x"}},
    {"name": "", "args": {}},
    {"name": "Read", "args": '{"path": "x"}'},
    {"name": "Read", "args": ["x"]},
    {"name": "Read", "willContinue": True},
    {"partialArgs": [{"jsonPath": "$.path", "stringValue": "B"}]},
]
IN_PIECES = {"toolConfig": {"functionCallingConfig": {"streamFunctionCallArguments": True}}}


@pytest.mark.parametrize("call", NO_CALLS)
def test_a_call_that_nobody_can_carry_out_is_malformed(call: dict[str, Any]) -> None:
    for name in ("functionCall", "function_call"):
        body = chunk({"text": "Hm"}, {name: call}, finishReason="STOP")
        for reading in (read(body), DIALECT.read_answer(body)):
            assert reading.kind is Kind.MALFORMED
            assert reading.flaw.startswith("the model called ")


def test_calls_in_pieces_are_content_where_the_request_asks_for_them() -> None:
    snake = {"tool_config": {"function_calling_config": {"stream_function_call_arguments": True}}}
    for asked in (IN_PIECES, snake):
        for call in ({"name": "Read", "willContinue": True}, {"partialArgs": [{"jsonPath": "$.path"}]}, {}):
            assert DIALECT.reader(asked).read(event_of(chunk({"functionCall": call}))).kind is Kind.CONTENT
    others: list[Any] = [{}, None, {"toolConfig": {"functionCallingConfig": None}}, {"toolConfig": []}]
    for other in others:
        reading = DIALECT.reader(other).read(event_of(chunk({"functionCall": {"name": "Read", "willContinue": True}})))
        assert reading.kind is Kind.MALFORMED


def test_a_request_for_calls_in_pieces_is_not_made_one_for_a_stream() -> None:
    path = "/v1beta/models/gemini-3-pro:generateContent"
    assert DIALECT.streamed(path, "", b"{}", {"contents": []}) is not None
    assert DIALECT.streamed(path, "", b"{}", {"contents": [], **IN_PIECES}) is None
