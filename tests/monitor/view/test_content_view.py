"""The content view shows any flow, whatever is in it, and does little for it."""

from typing import Any

import pytest
from antigravity_healing.monitor.view.content_view import LLMExchange, dialect_of, register
from antigravity_healing.wire.json.value import dump
from hypothesis import given, settings
from hypothesis import strategies as st
from mitmproxy import contentviews, http
from mitmproxy import flow as flows
from mitmproxy.contentviews import Metadata
from mitmproxy.contentviews._registry import ContentviewRegistry

from tests.monitor.view.pages import ANTHROPIC, GEMINI, PATHS, asked, flow_of, page
from tests.support.examples import examples
from tests.support.work import calls_made
from tests.upstream import anthropic_stream, gemini_stream

steady = settings(deadline=None, derandomize=True, max_examples=examples(80))
each_dialect = pytest.mark.parametrize("name", PATHS)
STREAMS: dict[str, Any] = {"anthropic": anthropic_stream, "gemini": gemini_stream}
HOSTILE = "a\x1b[2J\u202eb\ud800\u2028c\U000e0041\x9b31m"

names = st.sampled_from([
    "role", "outcome", "attempts", "finding", "what", "do", "at", "duration_s", "waited_s", "attempt", "account",
    "status", "failure", "detail", "verdict", "usage", "output", "time_to_first_byte_s", "repaired", "asked",
    "messages", "contents", "content", "parts", "text", "type", "system", "tools", "candidates", "error",
])  # fmt: skip
values: st.SearchStrategy[Any] = st.recursive(
    st.text(max_size=6) | st.sampled_from([None, True, -1, 0, 0.5, 1e300, float("nan"), "exchange", "attempt", HOSTILE])
    | st.sampled_from(["healed", "failed", "text", "message_start", "tool_use"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(names, inner, max_size=6),
    max_leaves=20,
)  # fmt: skip
stories = st.none() | st.dictionaries(names, values, max_size=8)
bodies = st.binary(max_size=60) | values.map(dump) | st.builds(lambda value: b"data: " + dump(value) + b"\n\n", values)
paths = st.sampled_from([*PATHS.values(), "/v1/messages/count_tokens", "/gateway/v1/messages", "/v1/files", "/", "?"])


def is_fit(text: str) -> bool:
    """Whether mitmweb shows it as it is meant: no more and no wider than that, and nothing that is not seen."""
    lines = text.split("\n")
    return (
        len(lines) <= 512
        and max(map(len, lines)) <= 100
        and len(text.encode()) <= 200_000
        and not set(text) & set("\x1b\u202e\u2028\x9b\U000e0041")
    )


@steady
@given(paths, bodies, bodies, stories)
def test_any_flow_has_a_page(path: str, body: bytes, answer: bytes, story: dict[str, Any] | None) -> None:
    flow = flow_of(path, body, answer, story)
    for text in (page(flow, "request"), page(flow, "response")):
        assert is_fit(text), text


@each_dialect
@steady
@given(st.data())
def test_any_conversation_has_a_page(name: str, data: st.DataObject) -> None:
    list_name = {"anthropic": "messages", "gemini": "contents"}[name]
    value = {
        **data.draw(st.dictionaries(names, values, max_size=4)),
        list_name: data.draw(st.lists(values, max_size=5)),
    }
    assert is_fit(asked(value, PATHS[name]))


@pytest.mark.parametrize("metadata", [Metadata(), Metadata(http_message=http.Response.make(200))])
def test_what_belongs_to_no_flow_is_shown_as_it_is(metadata: Metadata) -> None:
    view = LLMExchange()
    assert view.render_priority(b"hello", metadata) < 0
    assert view.prettify(b"hello", metadata) == "hello\n"


@each_dialect
def test_exchanges_come_before_other_views_and_nothing_else_does(name: str) -> None:
    def priority(flow: http.HTTPFlow) -> float:
        return LLMExchange().render_priority(b"", Metadata(flow=flow, http_message=flow.request))

    assert priority(flow_of(PATHS[name])) == 2
    assert priority(flow_of("/gateway" + PATHS[name])) == 2
    assert priority(flow_of("/anything", story={"role": "attempt"})) == 2
    assert priority(flow_of("/anything")) < 0
    assert priority(flow_of("/v1/models")) < 0


@pytest.mark.parametrize("folders", [1, 4000])
def test_priority_depends_on_no_body_and_on_no_length(folders: int) -> None:
    flow = flow_of("/folder" * folders, b"{" * 3_000_000)
    metadata = Metadata(flow=flow, http_message=flow.request)
    assert calls_made(lambda: LLMExchange().render_priority(b"{" * 3_000_000, metadata)) < 300


def test_attempt_that_was_translated_shows_its_own_dialect() -> None:
    story = {"role": "attempt", "dialect": "anthropic"}
    dialect = dialect_of(flow_of(GEMINI, story=story))
    assert dialect is not None
    assert dialect.name == "gemini"


def test_the_same_body_is_read_once() -> None:
    view = LLMExchange()
    flow = flow_of(ANTHROPIC, dump({"messages": [{"role": "user", "content": "word " * 2000}] * 60}))
    first = calls_made(lambda: page(flow, view=view))
    again = calls_made(lambda: page(flow, view=view))
    assert again < first / 2
    for number in range(100):
        page(flow_of(ANTHROPIC, b"%d" % number), view=view)
    assert len(view._pages) <= 32


def test_the_same_body_of_another_side_or_dialect_is_read_anew() -> None:
    view = LLMExchange()
    body = b'{"messages":[{"role":"user","content":"Hi"}]}'
    assert "[1/1] user" in page(flow_of(ANTHROPIC, body), view=view)
    assert "[1/1] user" not in page(flow_of(ANTHROPIC, b"", body), "response", view)
    assert "[1/1] user" not in page(flow_of(GEMINI, body), view=view)


@each_dialect
def test_flow_that_is_none_of_ours_shows_the_conversation(name: str) -> None:
    text = page(flow_of(PATHS[name], b"{}", STREAMS[name]("Hello there").whole), "response")
    assert text.startswith("stop")
    assert "Hello there" in text


def test_why_there_is_no_body_is_told() -> None:
    flow = flow_of(ANTHROPIC, b"{}", b"", {"role": "exchange", "outcome": "clean"})
    assert "It has no body." in page(flow, "response")
    assert flow.response is not None
    flow.response.headers["content-length"] = "12"
    assert "not kept" in page(flow, "response")
    flow.response.stream = True
    assert "not kept" in page(flow, "response")
    flow.live = True
    assert "still coming" in page(flow, "response")


def test_request_tells_of_an_answer_that_has_no_page() -> None:
    flow = flow_of(ANTHROPIC, b"{}", None, {"role": "exchange"})
    flow.error = flows.Error("the client left")
    assert "broke     the client left\nanswer    none has come" in page(flow)
    flow = flow_of(ANTHROPIC, b"{}", b"{}", {"role": "exchange"})
    assert "answer" not in page(flow)
    assert flow.response is not None
    flow.response.data.content = None
    del flow.response.headers["content-length"]
    assert "answer    200; It has no body." in page(flow)


def test_body_of_which_the_beginning_was_kept_says_so() -> None:
    stream = STREAMS["anthropic"]("Hello there").whole[:-40]
    story = {"role": "exchange", "body_truncated": True}
    assert "only the beginning of this body was kept" in page(flow_of(ANTHROPIC, b"{}", stream, story), "response")
    assert "only the beginning" not in page(flow_of(ANTHROPIC, b"{}", stream, {"role": "exchange"}), "response")


def test_what_models_and_clients_write_steers_nothing() -> None:
    text = asked({
        HOSTILE: HOSTILE,
        "system": HOSTILE,
        "tools": [{"name": HOSTILE}],
        "messages": [
            {"role": HOSTILE, "content": [{"type": HOSTILE}, {"type": "text", "text": HOSTILE}]},
            {"role": "assistant", "content": [{"type": "tool_use", "name": HOSTILE, "input": {HOSTILE: HOSTILE}}]},
        ],
    })  # fmt: skip
    assert is_fit(text)
    assert "a␛[2J\\u202eb\\ud800\\u2028c\\U000e0041\\u009b31m" in text


def test_other_bodies_of_ours_are_shown_as_json_or_as_they_are() -> None:
    story = {"role": "exchange"}
    assert '"input_tokens": 3' in page(flow_of(ANTHROPIC, b"{}", b'{"input_tokens":3}', story), "response")
    assert page(flow_of("/v1/files", b"\xff\x00" * 400, story=story)).endswith("(800 bytes)\n")


MANY: list[Any] = [[n, {"n": [n]}] for n in range(20_000)]


@pytest.mark.parametrize(
    ("path", "side", "body"),
    [
        (ANTHROPIC, "request", dump({"thinking": MANY, "messages": []})),
        (ANTHROPIC, "request", dump({"messages": [{"role": "user", "content": [{"type": "odd", "n": MANY}]}]})),
        (ANTHROPIC, "request", dump({"messages": [{"role": "user", "content": MANY}]})),
        (ANTHROPIC, "request", dump({"messages": MANY})),
        (ANTHROPIC, "request", dump({"system": MANY, "tools": MANY})),
        (GEMINI, "request", dump({"contents": [{"parts": MANY}], "tools": MANY})),
        (ANTHROPIC, "response", b"data: {}\n\n" * 100_000),
        (ANTHROPIC, "response", b":\n\n" * 90_000),
        (ANTHROPIC, "response", b"data\r\r" * 100_000),
        (GEMINI, "response", b"[" + b"{}," * 100_000 + b"{}]"),
        (GEMINI, "response", dump([{"candidates": MANY}])),
        (GEMINI, "response", dump([{"candidates": [{"content": {"parts": [{"text": "a"}] * 20_000}}]}])),
        (ANTHROPIC, "response", dump({"error": MANY})),
    ],
)
def test_work_is_bounded_whatever_is_said(path: str, side: Any, body: bytes) -> None:
    flow = flow_of(path, body, body)
    shown = []
    assert calls_made(lambda: shown.append(page(flow, side))) < 250_000
    assert is_fit(shown[0])


def test_view_is_registered_once(monkeypatch: pytest.MonkeyPatch) -> None:
    registry = ContentviewRegistry()
    monkeypatch.setattr(contentviews, "registry", registry)
    register()
    first = registry["llm exchange"]
    register()
    assert registry["llm exchange"] is first
