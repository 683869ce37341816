"""The faults of upstreams, met by clients of another dialect: healed unseen, or told in the client's own words."""

import json
from collections.abc import Callable, Container, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import product
from typing import Any

import pytest

from tests.e2e.conftest import Lane
from tests.e2e.crossed import CROSSED, CrossedLanes, each_client
from tests.e2e.failures import (
    Asked,
    Plans,
    answer,
    ask,
    empty,
    error,
    overloaded,
    request_of,
    with_and_without_stream,
)
from tests.e2e.streaming import reply_of, seen_broken
from tests.support import raw
from tests.upstream import (
    HEARTBEAT,
    PING,
    Reply,
    anthropic_error,
    anthropic_error_event,
    anthropic_events,
    anthropic_start,
    error_info,
    gemini_chunk,
    gemini_error,
    gemini_error_event,
    gemini_error_tail,
    gemini_event,
    gemini_events,
    gemini_stream,
    retry_info,
)

# Short, but many are asked at once: none may run out for those that get their answer as fast as they can.
CLOCKS = "[peek]\nfirst_byte = 6\nsilence = 6\nfirst_content = 8\nidle = 6\n"


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrossedLanes]:
    """One proxy for all tests of this file."""
    with CrossedLanes(tmp_path_factory.mktemp("crossed"), CLOCKS, lanes=200) as made:
        yield made


def start(lane: Lane) -> bytes:
    """What comes before any content."""
    if lane.upstream_dialect == "anthropic":
        return anthropic_start() + PING
    return gemini_event(gemini_chunk([{"text": ""}]))


def in_stream(lane: Lane, code: int, message: str = "It went wrong.") -> bytes:
    """An error inside a stream."""
    if lane.upstream_dialect == "gemini":
        return gemini_error_event(code, None, message)
    kind = {503: "overloaded_error", 500: "api_error", 400: "invalid_request_error", 401: "authentication_error"}[code]
    return anthropic_error_event(kind, message)


def limited(lane: Lane, seconds: float) -> Reply:
    """A rate limit with a hint."""
    if lane.upstream_dialect == "gemini":
        return gemini_error(429, None, "Slow down.", details=[retry_info(f"{seconds}s")])
    return anthropic_error(429, "rate_limit_error", "Slow down.", headers={"retry-after": str(seconds)})


def heartbeats(lane: Lane) -> Reply:
    """Nothing but signs of life, for ever."""
    beat = PING if lane.upstream_dialect == "anthropic" else HEARTBEAT
    return reply_of(lane, [start(lane)]).but(end="stall", heartbeat=beat)


def middle(lane: Lane) -> list[bytes]:
    """The start of a stream that has said something."""
    if lane.upstream_dialect == "anthropic":
        return anthropic_events("Hello world", pieces=3)[:4]
    return gemini_events("Hello world", pieces=3)[:2]


Fault = Callable[[Lane], Reply]
SAME, OTHER = ["first", "first"], ["first", "second"]
BEFORE_CONTENT: dict[str, tuple[Fault, list[str]]] = {
    "0 tokens": (empty, OTHER),
    "no byte": (lambda lane: reply_of(lane, []), OTHER),
    "closed before headers": (lambda lane: Reply(before="close"), SAME),
    "reset before headers": (lambda lane: Reply(before="reset"), SAME),
    "no headers": (lambda lane: Reply(before="stall"), OTHER),
    "cut after the start": (lambda lane: reply_of(lane, [start(lane)]).but(end="cut"), OTHER),
    "ended after the start": (lambda lane: reply_of(lane, [start(lane)]), OTHER),
    "silence after the start": (lambda lane: reply_of(lane, [start(lane)]).but(end="stall"), OTHER),
    "heartbeats for ever": (heartbeats, OTHER),
    "no JSON": (lambda lane: reply_of(lane, [start(lane), b"data: {oops\n\n"]), OTHER),
    "a page": (lambda lane: Reply(200, {"content-type": "text/html"}, b"<html>Welcome</html>"), OTHER),
    "overloaded in the stream": (lambda lane: reply_of(lane, [start(lane), in_stream(lane, 503)]), SAME),
    "an error in the stream": (lambda lane: reply_of(lane, [start(lane), in_stream(lane, 500)]), OTHER),
    "an error as first event": (lambda lane: reply_of(lane, [in_stream(lane, 401)]), OTHER),
    "an error with status 200": (
        lambda lane: Reply(200, error(lane, 500).headers, error(lane, 500).body), OTHER
    ),
    "overloaded": (overloaded, SAME),
    "500": (lambda lane: error(lane, 500), OTHER),
    "401": (lambda lane: error(lane, 401), OTHER),
    "402": (lambda lane: error(lane, 402), OTHER),
    "403": (lambda lane: error(lane, 403), OTHER),
    "404": (lambda lane: error(lane, 404, "model: no such model"), OTHER),
    "429 short": (lambda lane: limited(lane, 0.2), SAME),
    "429 long": (lambda lane: limited(lane, 300), OTHER),
}  # fmt: skip


GEMINI_ONLY: dict[str, Reply] = {
    "malformed call": gemini_stream("", finish_reason="MALFORMED_FUNCTION_CALL"),
    "a raw tail": Reply(200, gemini_stream().headers, chunks=[gemini_error_tail(500, None, "It went wrong.")]),
}
IN_THE_MIDDLE: dict[str, tuple[Fault, list[str]]] = {
    "cut": (lambda lane: reply_of(lane, middle(lane)).but(end="cut"), OTHER),
    "reset": (lambda lane: reply_of(lane, middle(lane)).but(end="reset"), OTHER),
    "ended": (lambda lane: reply_of(lane, middle(lane)), OTHER),
    "silence": (lambda lane: reply_of(lane, middle(lane)).but(end="stall"), OTHER),
    "overloaded": (lambda lane: reply_of(lane, [*middle(lane), in_stream(lane, 503)]), SAME),
    "an error": (lambda lane: reply_of(lane, [*middle(lane), in_stream(lane, 500)]), OTHER),
    "no JSON": (lambda lane: reply_of(lane, [*middle(lane), b"data: {oops\n\n"]), OTHER),
}
FINAL = {"x-should-retry": "false"}
# By the status: the reply, how often it is met, and what each client is told.
ERRORS: dict[str, tuple[Fault, int, tuple[int, str], tuple[int, str]]] = {
    "400": (lambda lane: error(lane, 400), 1, (400, "invalid_request_error"), (400, "INVALID_ARGUMENT")),
    "404": (lambda lane: error(lane, 404), 1, (404, "not_found_error"), (404, "NOT_FOUND")),
    "429": (lambda lane: limited(lane, 300), 2, (429, "rate_limit_error"), (429, "RESOURCE_EXHAUSTED")),
    "busy": (
        lambda lane: error(lane, overloaded(lane).status, headers=FINAL),
        1,
        (529, "overloaded_error"),
        (503, "UNAVAILABLE"),
    ),
    "500": (lambda lane: error(lane, 500, headers=FINAL), 1, (500, "api_error"), (500, "INTERNAL")),
    "402": (lambda lane: error(lane, 402), 2, (402, "billing_error"), (402, "RESOURCE_EXHAUSTED")),
    "403": (lambda lane: error(lane, 403), 2, (403, "permission_error"), (403, "PERMISSION_DENIED")),
}


type Key = tuple[str, str, bool, str]


class Everything:
    """All requests of this file whose answers take their time, made at once; each test looks at one of them.

    looked_at: the kinds, clients, ways of asking and names that tests look at.
    """

    def __init__(self, lanes: CrossedLanes, pool: ThreadPoolExecutor, looked_at: Container[Key]) -> None:
        self._lanes, self._pool, self._looked_at = lanes, pool, looked_at
        self._plans = Plans()
        self._asked: dict[Key, Future[Asked]] = {}
        lanes.upstream.default = self._plans
        for client, stream in product(CROSSED, (True, False)):
            for name, (fault, _) in BEFORE_CONTENT.items():
                self._ask("before", client, stream, name, fault, answer)
            for name, (make, times, *_) in ERRORS.items():
                self._ask("error", client, stream, name, *[make] * times)
            for name, (fault, _) in IN_THE_MIDDLE.items():
                self._ask("middle", client, stream, name, fault, *([] if stream else [answer]))

    def _ask(self, kind: str, client: str, stream: bool, name: str, *plan: Fault) -> None:
        if (kind, client, stream, name) not in self._looked_at:
            return
        lane = self._lanes.lane(client, reset=False)
        replies = [make(lane) for make in plan]
        asked = self._pool.submit(lambda: ask(lane, *replies, stream=stream, plans=self._plans))
        self._asked[kind, client, stream, name] = asked

    def of(self, kind: str, client: str, stream: bool, name: str) -> Asked:
        """What became of one."""
        return self._asked[kind, client, stream, name].result(60)


@pytest.fixture(scope="module")
def everything(request: pytest.FixtureRequest, lanes: CrossedLanes) -> Iterator[Everything]:
    """All that is waited for together."""
    looked_at: set[Key] = set()
    for item in request.session.items:
        if isinstance(item, pytest.Function) and item.obj in KIND_OF:
            kind, streams = KIND_OF[item.obj]
            case: dict[str, Any] = item.callspec.params
            name = case["fault"] if "fault" in case else case["name"]
            looked_at.add((kind, case["client"], case.get("stream", streams), name))
    with ThreadPoolExecutor(16) as pool:
        yield Everything(lanes, pool, looked_at)


@with_and_without_stream
@each_client
@pytest.mark.parametrize("fault", BEFORE_CONTENT)
def test_a_fault_before_content_is_healed_unseen(everything: Everything, client: str, stream: bool, fault: str) -> None:
    everything.of("before", client, stream, fault).assert_served("Hello", BEFORE_CONTENT[fault][1])


@each_client
@pytest.mark.parametrize("fault", IN_THE_MIDDLE)
def test_a_fault_in_the_middle_is_told_as_an_error_of_the_clients_dialect(
    everything: Everything, client: str, fault: str
) -> None:
    asked = everything.of("middle", client, True, fault)
    said = fault in ("overloaded", "an error")
    if client == "gemini" or not said:
        assert seen_broken(client, asked.response).text == "Hello wo"
    report = asked.report(allow_cut=not said)
    assert (report.ended, report.text) == ("error" if client == "gemini" or said else "cut", "Hello wo")
    if fault == "overloaded":
        assert report.error == (
            {"type": "overloaded_error", "message": "It went wrong."}
            if client == "anthropic"
            else {"code": 503, "message": "It went wrong.", "status": "UNAVAILABLE"}
        )
    assert asked.accounts == ["first"]


@each_client
@pytest.mark.parametrize("fault", IN_THE_MIDDLE)
def test_a_fault_in_the_middle_is_healed_for_a_client_that_does_not_stream(
    everything: Everything, client: str, fault: str
) -> None:
    everything.of("middle", client, False, fault).assert_served("Hello", IN_THE_MIDDLE[fault][1])


@with_and_without_stream
@each_client
@pytest.mark.parametrize("name", ERRORS)
def test_the_last_error_is_told_in_the_clients_dialect_with_its_class_its_words_and_its_wait(
    everything: Everything, client: str, stream: bool, name: str
) -> None:
    make, _, anthropics, googles = ERRORS[name]
    asked = everything.of("error", client, stream, name)
    shown = asked.error()
    told = shown["type"] if client == "anthropic" else shown["status"]
    assert (asked.status, told) == (anthropics if client == "anthropic" else googles)
    assert shown["message"] == json.loads(make(asked.lane).whole)["error"]["message"]
    assert asked.response.header("x-healing-outcome") == "failed"
    assert asked.response.header("x-mapped-model") == asked.lane.upstream_model
    if name == "429":
        assert float(asked.response.header("retry-after") or 0) == pytest.approx(300, abs=1)


@with_and_without_stream
@pytest.mark.parametrize("fault", GEMINI_ONLY)
def test_a_fault_that_only_gemini_has_is_healed_unseen(lanes: CrossedLanes, stream: bool, fault: str) -> None:
    lane = lanes.lane("anthropic")
    asked = ask(lane, GEMINI_ONLY[fault], answer(lane, "Hello"), stream=stream)
    asked.assert_served("Hello", OTHER)


def test_an_invalid_key_that_gemini_calls_a_400_is_an_authentication_error(lanes: CrossedLanes) -> None:
    lane = lanes.lane("anthropic")
    details = [error_info("API_KEY_INVALID")]
    reply = gemini_error(400, "INVALID_ARGUMENT", "API key not valid. Please pass a valid API key.", details=details)
    asked = ask(lane, reply, reply)
    assert (asked.status, asked.error()["type"]) == (401, "authentication_error")


@each_client
def test_when_every_try_is_empty_the_client_gets_an_empty_answer_of_its_own_dialect(
    lanes: CrossedLanes, client: str
) -> None:
    for stream in (True, False):
        lane = lanes.lane(client)
        asked = ask(lane, empty(lane), empty(lane), empty(lane), stream=stream)
        assert asked.report().text == ""
        assert asked.response.header("x-healing-attempts") == "3"


def test_a_malformed_call_after_content_is_an_error_and_is_retried_where_it_can_be(lanes: CrossedLanes) -> None:
    broken = gemini_stream("Hello wo", finish_reason="MALFORMED_FUNCTION_CALL")
    asked = ask(lanes.lane("anthropic"), broken)
    assert seen_broken("anthropic", asked.response).text == "Hello wo"
    assert asked.logged("MALFORMED_FUNCTION_CALL")
    lane = lanes.lane("anthropic")
    asked = ask(lane, broken, answer(lane, "Hello"), stream=False)
    asked.assert_served("Hello", OTHER)


@each_client
def test_a_client_that_leaves_ends_the_call_upstream(lanes: CrossedLanes, client: str) -> None:

    lane = lanes.lane(client)
    lane.upstream.play(reply_of(lane, middle(lane)).but(end="stall"))
    target, body = request_of(lane, lane.model, stream=True)
    raw.request("POST", lane.proxy.url + target, body, read=lambda got: b"Hel" in got)
    lane.upstream.wait_for(lambda _: lane.calls and lane.calls[-1].ended == "client left")


@with_and_without_stream
def test_an_error_with_an_odd_body_is_told_too(lanes: CrossedLanes, stream: bool) -> None:
    lane = lanes.lane("gemini")
    odd: Any = Reply(400, {"content-type": "text/plain"}, b"no way")
    asked = ask(lane, odd, stream=stream)
    assert asked.status == 400
    assert "no way" in asked.error()["message"]


# What each test that looks at one of everything looks at: the kind, and whether it streams where no parameter says so.
KIND_OF: dict[Callable[..., None], tuple[str, bool]] = {
    test_a_fault_before_content_is_healed_unseen: ("before", True),
    test_a_fault_in_the_middle_is_told_as_an_error_of_the_clients_dialect: ("middle", True),
    test_a_fault_in_the_middle_is_healed_for_a_client_that_does_not_stream: ("middle", False),
    test_the_last_error_is_told_in_the_clients_dialect_with_its_class_its_words_and_its_wait: ("error", True),
}
