"""Requests of any size and shape: what upstream can be asked it is asked, and its own answer is what comes back."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import orjson
import pytest
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from tests.e2e.harness import Proxy, account, upstream
from tests.e2e.streaming import BROKEN
from tests.support import raw
from tests.support.examples import examples
from tests.support.protocol import check_anthropic_json, check_anthropic_stream, check_gemini_stream
from tests.upstream import (
    Call,
    Reply,
    Upstream,
    anthropic_empty,
    anthropic_error,
    anthropic_event,
    anthropic_json,
    anthropic_stream,
    gemini_error,
    gemini_event,
    gemini_stream,
)

MB = 1024 * 1024
REFUSALS = {
    "anthropic": anthropic_error(400, "invalid_request_error", "That is no request."),
    "gemini": gemini_error(400, None, "That is no request."),
}
PATHS = {"anthropic": "/v1/messages", "gemini": "/v1beta/models/gemini-x:streamGenerateContent?alt=sse"}


@dataclass(frozen=True)
class Open:
    """A proxy whose accounts serve every model."""

    proxy: Proxy
    upstream: Upstream

    def ask(
        self, dialect: str, body: bytes, reply: Reply, headers: dict[str, str] | None = None, *, path: str = ""
    ) -> tuple[raw.RawResponse, list[Call]]:
        """Send a body, and give the answer and the calls."""
        self.upstream.reset()
        self.upstream.play(reply)
        headers = {"content-type": "application/json", **(headers or {})}
        response = raw.request("POST", self.proxy.url + (path or PATHS[dialect]), body, headers, timeout=10)
        return response, list(self.upstream.calls)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    with Upstream() as up:
        config = account("a", "anthropic") + account("g", "gemini")
        config += "".join(upstream(dialect, dialect, up.url) for dialect in ("anthropic", "gemini"))
        with Proxy(tmp_path_factory.mktemp("odd"), config) as proxy:
            yield Open(proxy, up)


def anthropic_body(text: str, **more: Any) -> bytes:
    """A request's body."""
    return orjson.dumps({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": text}], **more})


def test_request_of_30_mb_goes_up_whole_each_time(place: Open) -> None:
    body = anthropic_body("x" * 30 * MB, stream=True)
    place.upstream.reset()
    place.upstream.play(anthropic_empty(), anthropic_stream("read it all"))
    response = raw.request("POST", place.proxy.url + PATHS["anthropic"], body, timeout=60)
    assert check_anthropic_stream(response.body).text == "read it all"
    assert [len(call.body) for call in place.upstream.calls] == [len(body)] * 2
    assert all(call.body == body for call in place.upstream.calls)


def test_event_of_8_mb_arrives_whole(place: Open) -> None:
    reply = anthropic_stream("y" * 8 * MB, pieces=1)
    response, calls = place.ask("anthropic", anthropic_body("long", stream=True), reply)
    assert response.body == reply.whole
    assert len(check_anthropic_stream(response.body).text) == 8 * MB
    assert len(calls) == 1


def test_event_of_8_mb_arrives_whole_in_gemini(place: Open) -> None:
    reply = gemini_stream("y" * 8 * MB, pieces=1)
    response, calls = place.ask("gemini", b"{}", reply)
    assert response.body == reply.whole
    assert len(check_gemini_stream(response.body).text) == 8 * MB
    assert len(calls) == 1


def test_answer_of_20_mb_without_streaming_arrives_whole(place: Open) -> None:
    reply = anthropic_json("z" * 20 * MB)
    response, calls = place.ask("anthropic", anthropic_body("long"), reply)
    assert response.body == reply.whole
    assert len(check_anthropic_json(response.body).text) == 20 * MB
    assert len(calls) == 1


@pytest.mark.parametrize("split", [pytest.param(None, marks=pytest.mark.long), 4096])
def test_10000_tiny_events_arrive_in_their_order(place: Open, split: int | None) -> None:
    story = "".join(chr(ord("a") + number % 26) for number in range(10_000))
    # Split anew, for 10,000 writes of the upstream would be what takes the time.
    reply = anthropic_stream(story, pieces=10_000).but(split=split or 65536)
    response, _ = place.ask("anthropic", anthropic_body("long", stream=True), reply)
    assert response.body == reply.whole
    assert check_anthropic_stream(response.body).text == story


def test_header_of_60_kb_goes_up_and_comes_down(place: Open) -> None:
    long = "h" * 60_000
    reply = anthropic_json("fine")
    reply = Reply(200, {**reply.headers, "x-long": long}, reply.body)
    response, calls = place.ask("anthropic", anthropic_body("hi"), reply, {"x-custom": long})
    assert check_anthropic_json(response.body).text == "fine"
    assert response.header("x-long") == long
    assert [call.headers["x-custom"] for call in calls] == [long]


ODD_BODIES: dict[str, bytes] = {
    "empty": b"",
    "not JSON": b"hello",
    "half of JSON": b'{"model": "m", "mess',
    "invalid UTF-8": b'{"model": "\xff\xfe", "stream": true}',
    "a BOM before it": b'\xef\xbb\xbf{"model": "m", "stream": true}',
    "UTF-16": '{"model": "m", "stream": true}'.encode("utf-16"),
    "a lone surrogate": b'{"model": "\\ud800", "stream": true, "messages": [{"content": "\\udfff"}]}',
    "NaN": b'{"model": "m", "temperature": NaN, "stream": true}',
    "a huge number": b'{"model": "m", "max_tokens": 1' + b"0" * 5000 + b"}",
    "infinity": b'{"model": "m", "temperature": 1e999}',
    "keys given twice": b'{"model": "m", "model": "n", "stream": true, "stream": false}',
    "NUL": b'{"model": "a\\u0000b"}',
    "line ends in the model": b'{"model": "a\\r\\nx-evil: 1\\r\\n\\r\\nboo"}',
    "a long model": b'{"model": "' + b"m" * 256 + b'"}',
    "model in another script": '{"model": "модель 模型 \\ud83d\\ude00"}'.encode(),
    "an array": b"[]",
    "null": b"null",
    "a string": b'"model"',
    "model is a list": b'{"model": ["m"], "stream": true}',
    "model is an object": b'{"model": {"a": 1}}',
    "messages is a string": b'{"model": "m", "messages": "hi", "stream": true}',
    "messages holds anything": b'{"model": "m", "messages": [1, null, [[]], {"role": {}}], "stream": true}',
    "contents is a number": b'{"contents": 7, "systemInstruction": 8}',
    "contents holds anything": b'{"contents": [null, 1, "x", [[]]], "system_instruction": [1]}',
    "stream is a string": b'{"model": "m", "stream": "yes"}',
    "metadata is a list": b'{"model": "m", "metadata": [], "messages": []}',
    "user_id is an object": b'{"model": "m", "metadata": {"user_id": {"a": []}}, "messages": [{}]}',
}
for _depth in (100, 300, 900, 2_000, 100_000):
    _nested = b"[" * _depth + b"]" * _depth
    ODD_BODIES[f"nested {_depth} deep"] = (
        b'{"model": "m", "stream": true, "system": ' + _nested + b', "messages": [' + _nested + b'], "contents": ['
        b'{"parts": ' + _nested + b"}]}"
    )


# What is not read alike by all who read it is not sent with an account's credential.
UNCERTAIN = {"not JSON", "half of JSON", "invalid UTF-8", "a BOM before it", "UTF-16", "a huge number"}
UNCERTAIN |= {"keys given twice", "nested 2000 deep", "nested 100000 deep"}


def is_json(body: bytes) -> bool:
    """Whether a body is JSON in UTF-8."""
    try:
        json.loads(body.decode())
    except ValueError:
        return False
    return True


def assert_refused(response: raw.RawResponse, calls: list[Call]) -> None:
    """The proxy itself has refused a request, and says why."""
    assert calls == []
    assert response.status == 400
    assert "This request is not sent with an account's credential: the body " in response.json()["error"]["message"]


def assert_sent(dialect: str, body: bytes, calls: list[Call]) -> None:
    """The one call had this body, but that it asks for a stream where an object asks for none."""
    [call] = calls
    if dialect == "gemini" or call.body == body:
        assert call.body == body
        return
    asked = json.loads(body)
    assert asked.get("stream") in (None, False)
    assert call.json == {**asked, "stream": True}


@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
@pytest.mark.parametrize("kind", sorted(UNCERTAIN))
def test_body_that_is_not_certain_is_refused(place: Open, dialect: str, kind: str) -> None:
    assert_refused(*place.ask(dialect, ODD_BODIES[kind], REFUSALS[dialect]))


@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
@pytest.mark.parametrize("kind", [kind for kind in ODD_BODIES if kind not in UNCERTAIN])
def test_odd_body_goes_up_as_it_is_and_upstream_answers(place: Open, dialect: str, kind: str) -> None:
    reply = REFUSALS[dialect]
    response, calls = place.ask(dialect, ODD_BODIES[kind], reply)
    assert_sent(dialect, ODD_BODIES[kind], calls)
    assert (response.status, response.body, response.ended) == (400, reply.whole, "complete")
    assert response.header("x-evil") is None


@pytest.mark.parametrize("name", ["a%0d%0ax-evil%3a%201", "a%00b", "a%2fb", "%F0%9F%98%80", "m" * 256])
def test_odd_model_in_the_path_goes_up_as_it_is(place: Open, name: str) -> None:
    path = f"/v1beta/models/{name}:streamGenerateContent"
    response, calls = place.ask("gemini", b"{}", REFUSALS["gemini"], path=path + "?alt=sse")
    assert [call.path for call in calls] == [path]
    assert (response.status, response.body) == (400, REFUSALS["gemini"].whole)
    assert response.header("x-evil") is None


def dumped(value: object) -> bytes:
    """As JSON, whatever the size of its numbers."""
    return json.dumps(value).encode()


KEYS = st.sampled_from(
    ("model", "messages", "stream", "system", "metadata", "user_id", "role", "content", "type", "text", "thinking",
     "signature", "tools", "contents", "parts", "systemInstruction", "generationConfig", "error", "index")
)  # fmt: skip
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"]), max_size=12),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(KEYS, inner, max_size=5),
    max_leaves=20,
)  # fmt: skip
KINDS = ("content_block_delta", "content_block_start", "content_block_stop", "message_delta", "ping", "new_kind")
FUZZ = settings(max_examples=examples(60), deadline=None, phases=[Phase.explicit, Phase.reuse, Phase.generate])


@pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
@FUZZ
@given(body=st.dictionaries(KEYS, VALUES, max_size=8).map(dumped) | VALUES.map(dumped) | st.binary(max_size=60))
def test_any_body_goes_up_as_it_is_unless_it_is_not_certain(place: Open, dialect: str, body: bytes) -> None:
    reply = REFUSALS[dialect]
    response, calls = place.ask(dialect, body, reply)
    if body and not is_json(body):
        assert_refused(response, calls)
        return
    assert_sent(dialect, body, calls)
    assert (response.status, response.body, response.ended) == (400, reply.whole, "complete")


INNER = st.dictionaries(KEYS | st.sampled_from(("stop_reason", "partial_json", "finishReason")), VALUES, max_size=5)
ODD = st.fixed_dictionaries(
    {},
    optional=dict.fromkeys(
        ("delta", "content_block", "index", "usage", "candidates", "promptFeedback", "usageMetadata", "responseId"),
        INNER | VALUES,
    ),
)


@FUZZ
@given(events=st.lists(st.tuples(st.sampled_from(KINDS), ODD), min_size=1, max_size=4))
def test_any_json_in_an_anthropic_stream_breaks_nothing(place: Open, events: list[tuple[str, dict[str, Any]]]) -> None:
    odd = [anthropic_event({**event, "type": kind}) for kind, event in events]
    good = anthropic_stream("a story")
    response, calls = place.ask("anthropic", anthropic_body("hi", stream=True), good.inserted(4, *odd))
    assert (response.status, len(calls)) == (200, 1)
    assert response.ended in ("complete", *BROKEN)
    assert response.body.startswith(b"".join(good.chunks[:4]))


@FUZZ
@given(events=st.lists(ODD, min_size=1, max_size=4))
def test_any_json_in_a_gemini_stream_breaks_nothing(place: Open, events: list[dict[str, Any]]) -> None:
    good = gemini_stream("a story")
    reply = good.inserted(1, *(gemini_event(event) for event in events))
    response, calls = place.ask("gemini", b"{}", reply)
    assert (response.status, len(calls)) == (200, 1)
    assert response.ended in ("complete", *BROKEN)
    assert response.body.startswith(good.chunks[0])
