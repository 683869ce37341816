import json
from typing import Any

import pytest
from antigravity_healing.wire.anthropic.dialect import Anthropic
from antigravity_healing.wire.anthropic.reader import AnthropicReader
from antigravity_healing.wire.http.sse import SSEDecoder, SSEEvent
from antigravity_healing.wire.operation import Operation
from antigravity_healing.wire.reading import MOST_OPEN, EmptyStop, Kind, Reading
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.support.protocol import check_anthropic_error, check_anthropic_stream
from tests.support.recorded import Exchange, recorded_params

DIALECT = Anthropic()
steady = settings(deadline=None, derandomize=True)


def events_of(stream: bytes) -> list[SSEEvent]:
    decoder = SSEDecoder()
    return decoder.decode(stream) + decoder.flush()


def event_of(data: Any, name: str = "") -> SSEEvent:
    text = data if isinstance(data, bytes) else json.dumps(data).encode()
    raw = (f"event: {name}\n".encode() if name else b"") + b"data: " + text + b"\n\n"
    (event,) = events_of(raw)
    return event


def read(data: Any) -> Reading:
    return AnthropicReader().read(event_of(data))


def start(**block: Any) -> dict[str, Any]:
    return {"type": "content_block_start", "index": 0, "content_block": block}


def delta(**change: Any) -> dict[str, Any]:
    return {"type": "content_block_delta", "index": 0, "delta": change}


def message_delta(reason: str | None) -> dict[str, Any]:
    return {"type": "message_delta", "delta": {"stop_reason": reason}, "usage": {"output_tokens": 3}}


OVERLOADED = {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}}

KINDS: list[tuple[Any, Kind, bool]] = [
    ({"type": "ping"}, Kind.HEARTBEAT, False),
    ({"type": "message_start", "message": {"content": [], "usage": {"input_tokens": 9}}}, Kind.META, False),
    (start(type="text", text=""), Kind.META, False),
    (start(type="thinking", thinking="", signature=""), Kind.META, False),
    (start(type="tool_use", id="t", name="f", input={}), Kind.META, False),
    (start(type="server_tool_use", id="t", name="web_search", input={}), Kind.META, False),
    (start(type="mcp_tool_use", id="t", name="f", input={}), Kind.META, False),
    (start(type="compaction", content=None), Kind.META, False),
    (start(type="fallback"), Kind.META, False),
    (delta(type="text_delta", text=""), Kind.META, False),
    (delta(type="thinking_delta", thinking=""), Kind.META, False),
    (delta(type="input_json_delta", partial_json=""), Kind.META, False),
    (delta(type="signature_delta", signature="EqQBCgIYAhIk"), Kind.META, False),
    (message_delta(None), Kind.META, False),
    (start(type="text", text="Hi"), Kind.CONTENT, True),
    (start(type="thinking", thinking="Hm"), Kind.CONTENT, False),
    (start(type="redacted_thinking", data="EmwKAh"), Kind.CONTENT, False),
    (start(type="tool_use", id="t", name="f", input={"a": 1}), Kind.CONTENT, True),
    (start(type="web_search_tool_result", tool_use_id="t", content=[{"url": "x"}]), Kind.CONTENT, True),
    (start(type="web_search_tool_result", tool_use_id="t", content=[]), Kind.CONTENT, True),
    (start(type="code_execution_tool_result", tool_use_id="t", content={}), Kind.CONTENT, True),
    (start(type="container_upload", file_id="f"), Kind.CONTENT, True),
    (start(type="never_heard_of"), Kind.CONTENT, True),
    (delta(type="text_delta", text=" "), Kind.CONTENT, True),
    (delta(type="thinking_delta", thinking="Hm"), Kind.CONTENT, False),
    (delta(type="input_json_delta", partial_json="{"), Kind.CONTENT, True),
    (delta(type="citations_delta", citation={"cited_text": "x"}), Kind.CONTENT, True),
    (delta(type="compaction_delta", content="x"), Kind.CONTENT, True),
    (delta(type="never_heard_of"), Kind.CONTENT, True),
    (message_delta("end_turn"), Kind.TERMINAL, False),
    (message_delta("refusal"), Kind.TERMINAL, False),
    ({"type": "message_stop"}, Kind.TERMINAL, False),
    (OVERLOADED, Kind.ERROR, False),
    (b"{not json", Kind.MALFORMED, False),
    (b"<html>502 Bad Gateway</html>", Kind.MALFORMED, False),
    (b'{"type":"ping"', Kind.MALFORMED, False),
]


@pytest.mark.parametrize(("data", "kind", "visible"), KINDS)
def test_the_kind_of_each_event(data: Any, kind: Kind, visible: bool) -> None:
    reader = AnthropicReader()
    if isinstance(data, dict) and data["type"] == "content_block_delta":
        reader.read(event_of(start(type="text", text="")))
    reading = reader.read(event_of(data) if isinstance(data, dict) else events_of(b"data: " + data + b"\n\n")[0])
    assert (reading.kind, reading.visible) == (kind, visible)


@pytest.mark.parametrize("raw", [b": keep-alive\n\n", b"\n\n", b"event: ping\n\n", b"data:\n\n", b"id: 4\n\n"])
def test_what_says_nothing_is_a_heartbeat(raw: bytes) -> None:
    (event,) = events_of(raw)
    assert AnthropicReader().read(event).kind is Kind.HEARTBEAT


def test_the_events_name_counts_where_the_data_has_no_type() -> None:
    assert AnthropicReader().read(event_of({}, "ping")).kind is Kind.HEARTBEAT
    assert AnthropicReader().read(event_of({"error": OVERLOADED["error"]}, "error")).kind is Kind.ERROR


def test_padding_spaces_in_a_data_line_do_not_matter() -> None:
    assert read(b'  {"type": "ping"}      ').kind is Kind.HEARTBEAT


@pytest.mark.parametrize("block", ["tool_use", "server_tool_use", "mcp_tool_use"])
def test_the_end_of_a_call_without_input_is_content(block: str) -> None:
    reader = AnthropicReader()
    stop = event_of({"type": "content_block_stop", "index": 0})
    assert reader.read(event_of(start(type=block, id="t", name="f", input={}))).kind is Kind.META
    assert reader.read(event_of(delta(type="input_json_delta", partial_json=""))).kind is Kind.META
    reading = reader.read(stop)
    assert (reading.kind, reading.visible) == (Kind.CONTENT, True)


@pytest.mark.parametrize("block", ["text", "thinking", "fallback"])
def test_the_end_of_any_other_empty_block_is_not_content(block: str) -> None:
    reader = AnthropicReader()
    reader.read(event_of(start(type=block)))
    assert reader.read(event_of({"type": "content_block_stop", "index": 0})).kind is Kind.META


def test_the_stop_reason_stops_and_message_stop_ends() -> None:
    reader = AnthropicReader()
    reader.read(event_of(message_delta(None)))
    assert (reader.stopped, reader.ended, reader.closed) == (False, False, False)
    assert reader.read(event_of(message_delta("max_tokens"))).stop == "max_tokens"
    assert (reader.stopped, reader.ended, reader.closed) == (True, False, False)
    reader.read(event_of({"type": "message_stop"}))
    assert (reader.stopped, reader.ended, reader.closed) == (True, True, True)


def test_an_error_without_sse_lines_is_seen() -> None:
    (event,) = events_of(json.dumps(OVERLOADED, indent=1).encode())
    reading = AnthropicReader().read(event)
    assert reading.kind is Kind.ERROR
    assert reading.error == OVERLOADED


@pytest.mark.parametrize(
    "recorded", recorded_params(lambda exchange: exchange.is_stream and exchange.dialect == "anthropic")
)
def test_a_recorded_stream_is_understood_to_its_end(recorded: Exchange) -> None:
    reader = AnthropicReader()
    kinds = []
    for event in events_of(recorded.response_body):
        assert not reader.ended
        reading = reader.read(event)
        assert DIALECT.clean(event, reading) == event.raw
        kinds.append(reading.kind)
    assert reader.stopped
    assert reader.ended
    assert Kind.CONTENT in kinds
    assert not {Kind.ERROR, Kind.MALFORMED}.intersection(kinds)
    assert kinds.index(Kind.META) < kinds.index(Kind.CONTENT) < kinds.index(Kind.TERMINAL)


@pytest.mark.parametrize(
    ("method", "path", "expected"),
    [
        ("POST", "/v1/messages", Operation("generate", streams=None)),
        ("POST", "/v1/messages/count_tokens", Operation("count_tokens")),
        ("GET", "/v1/models", Operation("list_models")),
        ("GET", "/v1/models/claude-opus-5", Operation("get_model", "claude-opus-5")),
        ("GET", "/v1/models/a%2Fb", Operation("get_model", "a/b")),
        ("GET", "/v1/messages", None),
        ("POST", "/v1/messages/batches", None),
        ("POST", "/v1/complete", None),
        ("POST", "/v1beta/models/m:generateContent", None),
        ("POST", "/x/v1/messages", None),
        ("POST", "/v1/messages/", None),
    ],
)
def test_the_endpoints(method: str, path: str, expected: Operation | None) -> None:
    assert DIALECT.operation(method, path, {"beta": "true"}) == expected


def test_what_a_lenient_server_may_take_for_an_endpoint() -> None:
    assert DIALECT.endpoint_like("/v1/messages") == "/v1/messages"
    assert DIALECT.endpoint_like("/v1/messages/count_tokens") == "/v1/messages/count_tokens"
    assert DIALECT.endpoint_like("/v1/messages/batches") == ""


def test_other_requests_are_claimed_by_their_version_header_or_their_path() -> None:
    assert DIALECT.claims("/v1/files", {"anthropic-version": "2026-10-21"}, {})
    assert DIALECT.claims("/v1/messages/batches", {}, {})
    assert not DIALECT.claims("/v1/files", {}, {})
    assert not DIALECT.claims("/v2/files", {"anthropic-version": "2026-10-21"}, {})


@pytest.mark.parametrize("body", [None, [], "x", {}, {"model": None}, {"model": 3}, {"model": ["m"]}])
def test_a_body_that_names_no_model_has_none(body: Any) -> None:
    assert DIALECT.model_of(Operation("generate", streams=None), body) == ""


def test_the_model_is_the_bodys_or_the_paths() -> None:
    assert DIALECT.model_of(Operation("generate", streams=None), {"model": "claude-opus-5"}) == "claude-opus-5"
    assert DIALECT.model_of(Operation("get_model", "claude-opus-5"), None) == "claude-opus-5"


def test_the_session_is_the_user_id_else_the_beginning_of_the_conversation() -> None:
    first = {"role": "user", "content": "Hello"}
    body: dict[str, Any] = {"system": "Be nice", "messages": [first]}
    later = {**body, "messages": [first, {"role": "assistant", "content": "Hi"}, {"role": "user", "content": "More"}]}
    assert DIALECT.session_of({**body, "metadata": {"user_id": "user_7"}}) == "user_7"
    assert DIALECT.session_of(body) == DIALECT.session_of(later) == DIALECT.session_of({**body, "metadata": {}})
    assert DIALECT.session_of(body) != DIALECT.session_of({**body, "system": "Be rude"})
    assert DIALECT.session_of(body) != DIALECT.session_of({**body, "messages": [{"role": "user", "content": "Bye"}]})
    assert DIALECT.session_of({"messages": []}) is None
    assert DIALECT.session_of(None) is None


@pytest.mark.parametrize(
    ("stop", "meaning"),
    [
        ("end_turn", EmptyStop.PLAIN),
        ("", EmptyStop.PLAIN),
        ("tool_use", EmptyStop.MALFORMED),
        *((stop, EmptyStop.ANSWER) for stop in ("refusal", "max_tokens", "pause_turn", "stop_sequence", "compaction")),
        ("model_context_window_exceeded", EmptyStop.ANSWER),
        ("never_heard_of", EmptyStop.ANSWER),
    ],
)
def test_what_a_stop_reason_means_without_content(stop: str, meaning: EmptyStop) -> None:
    assert DIALECT.empty_stop(stop) is meaning


def answer(*content: dict[str, Any], stop: str = "end_turn") -> dict[str, Any]:
    return {"type": "message", "content": list(content), "stop_reason": stop}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (answer({"type": "text", "text": "Hi"}), Kind.CONTENT),
        (answer({"type": "thinking", "thinking": "", "signature": "x"}, {"type": "text", "text": "Hi"}), Kind.CONTENT),
        (answer({"type": "tool_use", "id": "t", "name": "f", "input": {}}, stop="tool_use"), Kind.CONTENT),
        (answer({"type": "redacted_thinking", "data": "x"}), Kind.CONTENT),
        (answer({"type": "never_heard_of"}), Kind.CONTENT),
        (answer(), Kind.TERMINAL),
        (answer({"type": "text", "text": ""}), Kind.TERMINAL),
        (answer({"type": "thinking", "thinking": "", "signature": "x"}), Kind.TERMINAL),
        (OVERLOADED, Kind.ERROR),
        ([OVERLOADED], Kind.ERROR),
        ("text", Kind.MALFORMED),
    ],
)
def test_the_kind_of_a_whole_answer(body: Any, kind: Kind) -> None:
    assert DIALECT.read_answer(body).kind is kind


def test_a_whole_answer_tells_its_stop_reason() -> None:
    assert DIALECT.read_answer(answer(stop="refusal")).stop == "refusal"


def test_only_a_last_event_without_its_blank_line_is_changed() -> None:
    whole, last = events_of(b'event: ping\r\ndata:{"type": "ping"}\r\n\r\nevent: x\ndata: {}')
    assert DIALECT.clean(whole, Reading(Kind.HEARTBEAT)) == whole.raw
    assert DIALECT.clean(last, Reading(Kind.META)) == b"event: x\ndata: {}\n\n"


@pytest.mark.parametrize("status", [*range(400, 420), 422, 499, 500, 501, 502, 503, 504, 520, 529, 599])
def test_an_error_of_our_own_is_one_the_sdks_know(status: int) -> None:
    fitting = DIALECT.fitting_status(status)
    error = check_anthropic_error(fitting, DIALECT.error_body(status, "so it is"))
    assert error["message"] == "so it is"
    assert fitting // 100 == status // 100 or status in (408, 499)


def test_keep_alive_end_and_late_error_are_valid_in_a_stream() -> None:
    begin = (
        b'event: message_start\ndata: {"type":"message_start","message":{"id":"m","type":"message","role":"assistant",'
    )
    begin += b'"model":"x","content":[],"usage":{}}}\n\n'
    stop = b'event: message_delta\ndata: {"type":"message_delta","delta":{"stop_reason":"end_turn"}}\n\n'
    assert check_anthropic_stream(begin + DIALECT.keep_alive + stop + DIALECT.end_marker).ended == "complete"
    report = check_anthropic_stream(begin + DIALECT.keep_alive + DIALECT.late_error(504, "stalled"))
    assert report.error == {"type": "timeout_error", "message": "stalled"}


def test_an_upstreams_error_is_relayed_as_it_came_or_put_into_form() -> None:
    named = event_of(OVERLOADED, "error")
    assert DIALECT.relayed_error(OVERLOADED, named) == named.raw
    (stray,) = events_of(json.dumps(OVERLOADED).encode())
    for event in (event_of(OVERLOADED), stray, None):
        report = check_anthropic_stream(DIALECT.relayed_error(OVERLOADED, event))
        assert report.error == OVERLOADED["error"]


def test_names_are_added_to_a_model_list_once() -> None:
    listed = {"data": [{"type": "model", "id": "a"}], "has_more": False, "first_id": "a", "last_id": "a"}
    added = DIALECT.with_models(listed, ["a", "mine"])
    assert [model["id"] for model in added["data"]] == ["mine", "a"]
    assert (added["first_id"], added["last_id"], added["has_more"]) == ("mine", "a", False)
    assert DIALECT.with_models(listed, ["a"]) == listed
    assert DIALECT.with_models(["x"], ["a"]) == ["x"]


words = st.sampled_from(
    ["type", "index", "delta", "content_block", "error", "stop_reason", "content", "text", "content_block_start",
     "content_block_delta", "content_block_stop", "message_delta", "text_delta", "tool_use", "x"]
)  # fmt: skip
anything: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-5, 5) | words,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(words, inner, max_size=4),
    max_leaves=12,
)
oddly = st.fixed_dictionaries(
    {"type": st.sampled_from(["content_block_start", "content_block_delta", "content_block_stop", "message_delta"])},
    optional={"index": anything, "delta": anything, "content_block": anything},
)


@settings(steady, max_examples=examples(300))
@given(anything | oddly)
def test_no_json_makes_the_reader_raise(body: Any) -> None:
    reader = AnthropicReader()
    reader.read(event_of(body))
    reader.read(event_of(body))
    DIALECT.read_answer(body)
    DIALECT.session_of(body)
    DIALECT.model_of(Operation("generate", streams=None), body)
    DIALECT.with_models(body, ["a"])
    assert isinstance(DIALECT.relayed_error(body), bytes)


def test_a_stream_that_opens_block_after_block_is_malformed_in_the_end() -> None:
    reader = AnthropicReader()

    def kind(event: dict[str, Any]) -> Kind:
        return reader.read(event_of(event)).kind

    call = {"type": "tool_use", "id": "t", "name": "n", "input": {}}
    for index in range(MOST_OPEN):
        assert kind({"type": "content_block_start", "index": index, "content_block": call}) is Kind.META
    # One that is closed makes room.
    assert kind({"type": "content_block_stop", "index": 3}) is Kind.CONTENT
    assert kind({"type": "content_block_start", "index": MOST_OPEN, "content_block": call}) is Kind.META
    assert kind({"type": "content_block_start", "index": -1, "content_block": call}) is Kind.MALFORMED
