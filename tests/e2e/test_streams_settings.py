"""Settings of streams, each by its route: soft commit, the clock after commit, and when to commit.

A case of the clocks is mostly waiting, so all of them are played at once, and the tests look at what came of theirs.
"""

from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass

import httpx2
import pytest

from tests.e2e.conftest import Lane
from tests.e2e.streaming import (
    END_MARKER,
    SDK_ERRORS,
    TEXT,
    OwnLanes,
    Seen,
    ask,
    ask_sdk,
    begun,
    reply_of,
    seen,
    seen_broken,
    stream_for,
)
from tests.support.raw import RawResponse
from tests.upstream import (
    Call,
    Reply,
    anthropic_error,
    anthropic_events,
    anthropic_start,
    gemini_chunk,
    gemini_error,
    gemini_event,
    gemini_events,
)

SOFT, IDLE, LONG_IDLE, HELD = 0.2, 0.4, 2.0, 0.9
SETTINGS = f"""
[models]
"*-soft" = {{ peek = {{ soft_commit = {SOFT}, keep_alive = 0.1 }} }}
"*-hard" = {{ peek = {{ soft_commit = false }} }}
"*-idle" = {{ peek = {{ idle = {IDLE} }} }}
"*-beats" = {{ peek = {{ idle = {LONG_IDLE} }} }}
"*-visible" = {{ peek = {{ commit = "first_visible" }} }}
"*-event" = {{ peek = {{ commit = "first_event" }} }}
"""
KEEP_ALIVE = {"anthropic": b'event: ping\ndata: {"type": "ping"}\n\n', "gemini": b"\r\n\r\n"}
BOM = b"\xef\xbb\xbf"
MISTAKE = "max_tokens: must be at least 1"

dialects = pytest.mark.parametrize("dialect", ["anthropic", "gemini"])


def meta(lane: Lane) -> list[bytes]:
    return [anthropic_start()] if lane.dialect == "anthropic" else [gemini_event(gemini_chunk([]))]


def held(lane: Lane) -> Reply:
    """Meta, then nothing new for longer than the soft commit waits, then a cut."""
    return reply_of(lane, [*meta(lane), KEEP_ALIVE[lane.dialect]]).but(gap=HELD, end="cut")


def cut(lane: Lane) -> Reply:
    return reply_of(lane, meta(lane)).but(end="cut")


def refused(lane: Lane) -> Reply:
    """The caller's mistake: never tried again."""
    if lane.dialect == "anthropic":
        return anthropic_error(400, "invalid_request_error", MISTAKE)
    return gemini_error(400, "INVALID_ARGUMENT", MISTAKE)


def failed(lane: Lane) -> Reply:
    """An error that is tried again after about half a second."""
    if lane.dialect == "anthropic":
        return anthropic_error(500, "api_error", "Oops.")
    return gemini_error(500, "INTERNAL", "Oops.")


def late_content(lane: Lane) -> list[bytes]:
    """Meta first, all the rest in one piece."""
    chunks = [*(() if lane.dialect == "anthropic" else meta(lane)), *stream_for(lane).chunks]
    return [chunks[0], b"".join(chunks[1:])]


def with_beats(lane: Lane) -> Reply:
    """Content, heartbeats for longer than the clock runs in all, and the rest."""
    whole = (anthropic_events if lane.dialect == "anthropic" else gemini_events)("Hello world", pieces=3)
    said = len(begun(lane).chunks)
    beats = [KEEP_ALIVE[lane.dialect]] * 10
    return reply_of(lane, [b"".join(whole[:said]), *beats, b"".join(whole[said:])]).but(gap=LONG_IDLE / 9)


@dataclass(frozen=True)
class Case:
    """What upstream plays on a lane of this route, and who asks."""

    route: str
    plays: Callable[[Lane], Sequence[Reply]]
    asks: Callable[[Lane, str], RawResponse | str] = lambda lane, text: ask(lane, text=text)
    only: str = ""


SIGN_IN = Reply(headers={"content-type": "text/html"}, body=b"<html>Sign in</html>")
CASES = {
    "healed": Case("soft", lambda lane: [held(lane), stream_for(lane)]),
    "served late": Case("soft", lambda lane: [reply_of(lane, late_content(lane)).but(gap=4 * HELD)]),
    "next headers late": Case("soft", lambda lane: [cut(lane), stream_for(lane).but(delay=HELD)]),
    "next try late": Case("soft", lambda lane: [cut(lane), failed(lane), failed(lane).but(delay=SOFT)]),
    "refused": Case("soft", lambda lane: [held(lane), refused(lane)]),
    "empty": Case("soft", lambda lane: [held(lane), *[stream_for(lane, "")] * 2]),
    "a byte order mark": Case(
        "soft", lambda lane: [held(lane), reply_of(lane, [BOM + stream_for(lane).whole])], only="anthropic"
    ),
    "in the end cut": Case("soft", lambda lane: [held(lane), *[cut(lane)] * 2]),
    "in the end without a body": Case("soft", lambda lane: [held(lane), *[reply_of(lane, [])] * 2]),
    "in the end no stream": Case("soft", lambda lane: [held(lane), *[SIGN_IN] * 2]),
    "in the end overloaded": Case(
        "soft", lambda lane: [held(lane), cut(lane).but(before="close"), Reply(503, {"x-should-retry": "false"})]
    ),
    "healed for the SDK": Case("soft", lambda lane: [held(lane), stream_for(lane)], ask_sdk),
    "refused for the SDK": Case("soft", lambda lane: [held(lane), refused(lane)], ask_sdk),
    "turned off": Case("hard", lambda lane: [held(lane), refused(lane)]),
    "whole": Case(
        "soft", lambda lane: [refused(lane).but(delay=HELD)], lambda lane, text: ask(lane, stream=False, text=text)
    ),
    "an array": Case(
        "soft",
        lambda lane: [refused(lane).but(delay=HELD)],
        lambda lane, text: ask(lane, sse=False, text=text),
        only="gemini",
    ),
    "stalled": Case("idle", lambda lane: [begun(lane).but(end="stall")]),
    "stalled for the SDK": Case("idle", lambda lane: [begun(lane).but(end="stall")], ask_sdk),
    "alive": Case("beats", lambda lane: [with_beats(lane)]),
    "never closed": Case("idle", lambda lane: [stream_for(lane).but(end="stall")]),
    "stopped, never closed": Case(
        "idle", lambda lane: [reply_of(lane, anthropic_events("Hello")[:-1]).but(end="stall")], only="anthropic"
    ),
}


@dataclass(frozen=True)
class Played:
    """What came of a case."""

    lane: Lane
    answer: Future[RawResponse | str]
    calls: list[Call]

    @property
    def response(self) -> RawResponse:
        """The raw client's response."""
        found = self.answer.result()
        assert isinstance(found, RawResponse)
        return found

    def softly(self, rest: bytes | None = None) -> Seen:
        """What the client saw: 200 at the soft commit, keep-alives, and then, if given, nothing but `rest`."""
        response = self.response
        assert (response.status, response.ended) == (200, "complete")
        assert response.headers_at >= SOFT
        view = seen(self.lane.dialect, response.body)
        assert view.keep_alives >= 1
        if rest is not None:
            beat = KEEP_ALIVE[self.lane.dialect]
            before = response.body.removesuffix(rest)
            assert before + rest == response.body
            assert before == beat * (len(before) // len(beat))
        return view


type All = dict[tuple[str, str], Played]


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLanes]:
    with OwnLanes(tmp_path_factory.mktemp("settings"), SETTINGS, lanes=2 * len(CASES) + 16) as lanes:
        yield lanes


@pytest.fixture(scope="module")
def played(own: OwnLanes) -> All:
    running: dict[tuple[str, str], tuple[Lane, Future[RawResponse | str]]] = {}
    with ThreadPoolExecutor(2 * len(CASES)) as pool:
        for name, case in CASES.items():
            for dialect in [case.only] if case.only else ["anthropic", "gemini"]:
                lane = own.lane(dialect, case.route, reset=False)
                own.upstream.play(*case.plays(lane), key=lane.model)
                running[dialect, name] = (lane, pool.submit(case.asks, lane, f"[plan:{lane.model}]"))
    own.upstream.wait_for(lambda up: up.active == 0)
    return {key: Played(lane, future, lane.calls) for key, (lane, future) in running.items()}


@dialects
def test_after_soft_commit_a_retry_still_heals(played: All, dialect: str) -> None:
    case = played[dialect, "healed"]
    assert case.softly(stream_for(case.lane).whole).text == "Hello"
    assert len(case.calls) == 2


@dialects
def test_after_soft_commit_the_first_try_can_still_serve_and_its_meta_comes_too(played: All, dialect: str) -> None:
    case = played[dialect, "served late"]
    assert case.softly(b"".join(late_content(case.lane))).text == "Hello"
    assert len(case.calls) == 1


@dialects
def test_keep_alives_go_on_while_the_next_try_has_not_even_headers(played: All, dialect: str) -> None:
    case = played[dialect, "next headers late"]
    assert case.softly(stream_for(case.lane).whole).ended == "complete"
    assert len(case.calls) == 2


@dialects
def test_keep_alives_go_on_while_the_next_try_is_waited_for(played: All, dialect: str) -> None:
    case = played[dialect, "next try late"]
    view = case.softly()
    assert (view.ended, view.error and view.error["message"]) == ("error", "Oops.")
    assert len(case.calls) == 3


@dialects
def test_after_soft_commit_upstreams_own_error_is_told_in_the_stream(played: All, dialect: str) -> None:
    case = played[dialect, "refused"]
    view = case.softly()
    assert (view.ended, view.text) == ("error", "")
    assert view.error is not None
    assert view.error["message"] == MISTAKE
    assert (view.error.get("type"), view.error.get("code")) in (("invalid_request_error", None), (None, 400))
    assert len(case.calls) == 2


@pytest.mark.parametrize("how", ["cut", "without a body", "no stream", "overloaded"])
@dialects
def test_after_soft_commit_a_final_failure_is_told_in_the_stream(played: All, dialect: str, how: str) -> None:
    case = played[dialect, f"in the end {how}"]
    view = case.softly()
    assert (view.ended, view.text, view.stop) == ("error", "", None)
    assert len(case.calls) == 3


@dialects
def test_after_soft_commit_an_answer_of_no_tokens_is_delivered_in_the_end(played: All, dialect: str) -> None:
    case = played[dialect, "empty"]
    view = case.softly(stream_for(case.lane, "").whole)
    assert (view.ended, view.text) == ("complete", "")
    assert len(case.calls) == 3


def test_a_byte_order_mark_after_soft_commit_is_no_harm(played: All) -> None:
    case = played["anthropic", "a byte order mark"]
    assert case.softly(stream_for(case.lane).whole).ended == "complete"


@dialects
def test_the_sdk_reads_a_softly_committed_stream(played: All, dialect: str) -> None:
    case = played[dialect, "healed for the SDK"]
    assert case.answer.result() == "Hello"
    assert len(case.calls) == 2


@dialects
def test_the_sdk_raises_on_a_failure_after_soft_commit(played: All, dialect: str) -> None:
    with pytest.raises(SDK_ERRORS, match=MISTAKE):
        played[dialect, "refused for the SDK"].answer.result()


@dialects
def test_without_soft_commit_a_failure_after_any_time_of_holding_has_its_status(played: All, dialect: str) -> None:
    case = played[dialect, "turned off"]
    assert (case.response.status, case.response.body) == (400, refused(case.lane).whole)
    assert case.response.headers_at >= HELD
    assert len(case.calls) == 2


@pytest.mark.parametrize(("dialect", "what"), [("anthropic", "whole"), ("gemini", "whole"), ("gemini", "an array")])
def test_what_is_no_stream_of_events_has_no_place_for_a_sign_of_life(played: All, dialect: str, what: str) -> None:
    case = played[dialect, what]
    assert (case.response.status, case.response.body) == (400, refused(case.lane).whole)


@dialects
def test_a_stall_after_commit_is_told_and_upstream_is_left(played: All, dialect: str) -> None:
    case = played[dialect, "stalled"]
    response = case.response
    assert response.ended_at >= IDLE
    assert response.body.startswith(begun(case.lane).whole)
    view = seen_broken(dialect, response)
    assert view.text == TEXT
    assert view.error is None if dialect == "anthropic" else view.error is not None and view.error["code"] == 504
    assert [call.ended for call in case.calls] == ["client left"]


@dialects
def test_the_sdk_raises_on_a_stall_after_commit(played: All, dialect: str) -> None:
    with pytest.raises((httpx2.TransportError, *SDK_ERRORS)):
        played[dialect, "stalled for the SDK"].answer.result()


@dialects
def test_heartbeats_after_commit_are_a_sign_of_life(played: All, dialect: str) -> None:
    case = played[dialect, "alive"]
    assert case.response.body == with_beats(case.lane).whole
    assert case.response.ended_at >= LONG_IDLE
    view = seen(dialect, case.response.body)
    assert (view.ended, view.text, view.keep_alives) == ("complete", "Hello world", 10)
    assert len(case.calls) == 1


@dialects
def test_a_stream_that_has_said_all_and_stays_open_ends_well(played: All, dialect: str) -> None:
    case = played[dialect, "never closed"]
    assert (case.response.ended, case.response.body) == ("complete", stream_for(case.lane).whole)
    assert [call.ended for call in case.calls] == ["client left"]


def test_a_stop_reason_and_then_silence_gets_the_bare_end(played: All) -> None:
    case = played["anthropic", "stopped, never closed"]
    assert case.response.body == b"".join(anthropic_events("Hello")[:-1]) + END_MARKER
    assert len(case.calls) == 1


def thought(lane: Lane) -> list[bytes]:
    """Thinking that says something, and nothing behind it."""
    if lane.dialect == "anthropic":
        return anthropic_events("", thinking="Hmm, well.")[:-2]
    return gemini_events("", thinking="Hmm, well.", finish_reason=None)


@dialects
def test_first_visible_holds_thinking(own: OwnLanes, dialect: str) -> None:
    lane = own.lane(dialect, "visible")
    good = stream_for(lane)
    lane.upstream.play(reply_of(lane, thought(lane)).but(end="cut"), good)
    assert ask(lane).body == good.whole
    assert len(lane.calls) == 2


def test_first_visible_holds_redacted_thinking(own: OwnLanes) -> None:
    lane = own.lane("anthropic", "visible")
    good = stream_for(lane)
    lane.upstream.play(reply_of(lane, anthropic_events("", redacted="Emw=")[:3]).but(end="cut"), good)
    assert ask(lane).body == good.whole
    assert len(lane.calls) == 2


@pytest.mark.parametrize("visible", ["text", "a tool call"])
@dialects
def test_first_visible_commits_at_text_or_a_tool_call_and_sends_the_thinking_too(
    own: OwnLanes, dialect: str, visible: str
) -> None:
    lane = own.lane(dialect, "visible")
    text, tool = ("x", None) if visible == "text" else ("", ("now", {"zone": "UTC"}))
    if dialect == "anthropic":
        chunks = anthropic_events(text, thinking="Hmm, well.", tool=tool, pieces=1)[:-3]
    else:
        chunks = gemini_events(text, thinking="Hmm, well.", tool=tool, finish_reason=None)
    lane.upstream.play(reply_of(lane, chunks).but(end="stall"), reply_of(lane, chunks).but(end="cut"))
    whole = b"".join(chunks)
    assert ask(lane, read=len(whole)).body == whole
    response = ask(lane)
    assert response.body.startswith(whole)
    seen_broken(dialect, response)
    assert len(lane.calls) == 2


@dialects
def test_first_visible_delivers_an_answer_of_thinking_alone_when_no_try_is_left(own: OwnLanes, dialect: str) -> None:
    lane = own.lane(dialect, "visible")
    stop = gemini_event(gemini_chunk([], finish_reason="STOP"))
    reply = reply_of(lane, [*thought(lane), *(anthropic_events("")[-2:] if dialect == "anthropic" else [stop])])
    lane.upstream.play(reply, reply, reply)
    response = ask(lane)
    assert (response.body, response.header("x-healing-outcome")) == (reply.whole, "failed")
    assert len(lane.calls) == 3


@dialects
def test_first_event_commits_at_meta(own: OwnLanes, dialect: str) -> None:
    lane = own.lane(dialect, "event")
    chunks = meta(lane)
    lane.upstream.play(reply_of(lane, chunks).but(end="stall"), reply_of(lane, chunks).but(end="cut"))
    whole = b"".join(chunks)
    assert ask(lane, read=len(whole)).body == whole
    response = ask(lane)
    assert response.body.startswith(whole)
    seen_broken(dialect, response)
    assert len(lane.calls) == 2


@dialects
def test_first_event_still_heals_what_has_no_event(own: OwnLanes, dialect: str) -> None:
    lane = own.lane(dialect, "event")
    good = stream_for(lane)
    lane.upstream.play(reply_of(lane, [KEEP_ALIVE[dialect]]).but(end="cut"), reply_of(lane, []), good)
    assert ask(lane).body == good.whole
    assert len(lane.calls) == 3
