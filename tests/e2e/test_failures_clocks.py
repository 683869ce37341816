"""Silence, an upstream that is not there, small budgets and a single account: on a proxy that is set up for them."""

import socket
from collections.abc import Callable, Iterator
from itertools import count
from typing import Any

import pytest

from tests.e2e.conftest import Lane
from tests.e2e.failures import Asked, answer, ask, empty, error, overloaded, with_and_without_stream
from tests.e2e.harness import Proxy, account, upstream
from tests.upstream import (
    PING,
    Reply,
    Upstream,
    anthropic_error_event,
    anthropic_heartbeats,
    anthropic_reply,
    anthropic_start,
    gemini_chunk,
    gemini_error_tail,
    gemini_event,
    gemini_heartbeats,
    gemini_reply,
)

CLOCKS = """
[retry]
max_wait = 0.7
spare_retries = 1000000
[peek]
first_byte = 0.7
first_byte_json = 0.7
silence = 0.7
first_content = 1.1
idle = 30.0
[models]
"*-hasty*" = { peek = { first_byte = 0.4, first_byte_json = 0.4 } }
"""
TIMEOUT = "Timeout waiting for first data"
# A little less than the clocks above: they run in the proxy.
FIRST_BYTE_S, FIRST_CONTENT_S = 0.65, 1.05
PLACES = {
    "pair": ("first", "second"),
    "single": ("only",),
    "hasty": ("only",),
    "dead": ("only",),
    "half": ("first", "second"),
}
"""The accounts of a lane of each kind.

`hasty` waits less for a first byte; `dead`: its upstream refuses connections; `half`: that of the first account does.
"""
LANES = 60
both_dialects = pytest.mark.parametrize("dialect", ["anthropic", "gemini"])
type Lanes = Callable[[str, str], Lane]


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lanes]:
    """Makes lanes of a kind and a dialect on one proxy with short clocks."""
    config, numbers = CLOCKS, count()
    with socket.socket() as nobody, Upstream() as server:
        # Bound and not listening: connections are refused, and nobody else gets the port.
        nobody.bind(("127.0.0.1", 0))
        dead = f"http://127.0.0.1:{nobody.getsockname()[1]}"
        for dialect in ("anthropic", "gemini"):
            config += upstream(dialect, dialect, server.url) + upstream(f"dead-{dialect}", dialect, dead)
            for kind, places in PLACES.items():
                for number in range(LANES):
                    for priority, place in enumerate(places):
                        refused = kind == "dead" or (kind == "half" and place == "first")
                        config += account(
                            f"{kind}-{dialect}-{number}-{place}",
                            f"dead-{dialect}" if refused else dialect,
                            models=[f"{dialect}-{kind}{number:02}-*"],
                            priority=priority,
                        )
        with Proxy(tmp_path_factory.mktemp("clocks"), config) as proxy:

            def make(kind: str, dialect: str) -> Lane:
                number = next(numbers)
                server.reset()
                names = [f"{kind}-{dialect}-{number}-{place}" for place in PLACES[kind]]
                return Lane(proxy, server, dialect, f"{dialect}-{kind}{number:02}-x", (names[0], [*names, "nobody"][1]))

            yield make


def start(dialect: str) -> bytes:
    """What comes before any content."""
    return anthropic_start() if dialect == "anthropic" else gemini_event(gemini_chunk([{"text": ""}]))


def stalling(dialect: str, *chunks: bytes) -> Reply:
    """A 200 stream that falls silent after these chunks."""
    return (anthropic_reply if dialect == "anthropic" else gemini_reply)(chunks).but(end="stall")


def assert_left(asked: Asked, *numbers: int) -> None:
    """These calls were left by the proxy, so that upstream does not go on for nobody."""
    assert [asked.calls[number].ended for number in numbers] == ["client left"] * len(numbers)


@both_dialects
@with_and_without_stream
def test_an_upstream_without_a_first_byte_is_left_and_the_other_account_asked(
    lanes: Lanes, dialect: str, stream: bool
) -> None:
    lane = lanes("pair", dialect)
    asked = ask(lane, Reply(before="stall"), answer(lane, stream=stream), stream=stream)
    asked.assert_served("Hello", ["first", "second"])
    assert asked.logged(TIMEOUT) == 1
    assert_left(asked, 0)


@both_dialects
def test_an_upstream_that_sends_nothing_but_headers_is_left(lanes: Lanes, dialect: str) -> None:
    lane = lanes("pair", dialect)
    asked = ask(lane, stalling(dialect), answer(lane))
    asked.assert_served("Hello", ["first", "second"])
    assert asked.logged(TIMEOUT) == 1
    assert_left(asked, 0)


@both_dialects
def test_a_stream_that_falls_silent_before_content_is_left(lanes: Lanes, dialect: str) -> None:
    """Gemini thinks in silence, so only the clock for the first content counts there."""
    lane = lanes("pair", dialect)
    asked = ask(lane, stalling(dialect, start(dialect)), answer(lane))
    asked.assert_served("Hello", ["first", "second"])
    assert asked.logged(TIMEOUT) == 1
    assert_left(asked, 0)


@both_dialects
def test_heartbeats_do_not_reset_the_clock_for_the_first_content(lanes: Lanes, dialect: str) -> None:
    lane = lanes("pair", dialect)
    beats = anthropic_heartbeats() if dialect == "anthropic" else gemini_heartbeats()
    asked = ask(lane, beats, answer(lane))
    asked.assert_served("Hello", ["first", "second"])
    assert asked.logged(TIMEOUT) == 1
    assert_left(asked, 0)
    assert asked.calls[0].sent > 10 * len(beats.heartbeat or b"")


@both_dialects
def test_empty_events_do_not_reset_the_clock_for_the_first_content(lanes: Lanes, dialect: str) -> None:
    lane = lanes("pair", dialect)
    beat = PING + b": comment\n\n" if dialect == "anthropic" else start(dialect)
    beats = stalling(dialect, start(dialect)).but(heartbeat=beat, heartbeat_gap=0.1)
    asked = ask(lane, beats, answer(lane))
    asked.assert_served("Hello", ["first", "second"])
    assert_left(asked, 0)


@both_dialects
def test_heartbeats_for_ever_on_the_last_try_end_too(lanes: Lanes, dialect: str) -> None:
    lane = lanes("pair", dialect)
    beats = anthropic_heartbeats() if dialect == "anthropic" else gemini_heartbeats()
    asked = ask(lane, empty(lane), empty(lane), beats)
    assert asked.status == 504
    assert asked.error()
    assert_left(asked, 2)


@both_dialects
@with_and_without_stream
def test_an_upstream_that_never_answers_ends_in_a_timeout_of_the_clients_dialect(
    lanes: Lanes, dialect: str, stream: bool
) -> None:
    lane = lanes("hasty", dialect)
    asked = ask(lane, *[Reply(before="stall")] * 3, stream=stream)
    asked.assert_failed(["first", "first", "first"])
    assert asked.status == 504
    assert TIMEOUT in asked.error()["message"]
    assert_left(asked, 0, 1, 2)


@both_dialects
@with_and_without_stream
def test_a_refused_connection_is_tried_twice_and_then_on_the_other_account(
    lanes: Lanes, dialect: str, stream: bool
) -> None:
    lane = lanes("half", dialect)
    asked = ask(lane, answer(lane, stream=stream), stream=stream)
    assert asked.report().text == "Hello"
    assert asked.accounts == ["second"]
    assert asked.response.header("x-healing-attempts") == "3"
    assert asked.response.header("x-healing-outcome") == "healed"
    assert [lane.accounts[0] in line for line in asked.retry_lines()] == [True, True]


@both_dialects
@with_and_without_stream
def test_an_upstream_that_refuses_every_connection_ends_in_an_error_of_the_clients_dialect(
    lanes: Lanes, dialect: str, stream: bool
) -> None:
    lane = lanes("dead", dialect)
    asked = ask(lane, stream=stream)
    assert asked.calls == []
    assert 500 <= asked.status < 600
    assert lane.accounts[0] in asked.error()["message"]
    assert asked.response.header("x-healing-attempts") == "3"
    assert asked.response.header("x-healing-outcome") == "failed"
    assert asked.retries == 2


@both_dialects
def test_a_wait_that_is_more_than_may_be_waited_in_all_is_not_begun(lanes: Lanes, dialect: str) -> None:
    lane = lanes("pair", dialect)
    busy = error(lane, overloaded(lane).status, "Overloaded", headers={"retry-after": "1"})
    asked = ask(lane, busy)
    asked.assert_delivered(busy, ["first"])


@both_dialects
def test_the_last_wait_takes_the_time_that_is_left(lanes: Lanes, dialect: str) -> None:
    lane = lanes("pair", dialect)
    asked = ask(lane, *[overloaded(lane)] * 2)
    asked.assert_delivered(overloaded(lane), ["first", "first"])
    assert asked.waits[0] >= 0.7


@both_dialects
def test_a_gateways_page_is_delivered_as_it_is_when_no_try_is_left(lanes: Lanes, dialect: str) -> None:
    lane = lanes("pair", dialect)
    page = Reply(502, {"content-type": "text/html"}, b"<html>\r\n<body>502 Bad Gateway</body>\r\n</html>\r\n")
    asked = ask(lane, empty(lane), empty(lane), page)
    asked.assert_delivered(page, ["first", "second", "first"])


@both_dialects
def test_an_error_in_a_stream_on_the_last_try_is_told_with_its_status(lanes: Lanes, dialect: str) -> None:
    lane, message = lanes("pair", dialect), "An internal error has occurred."
    if dialect == "anthropic":
        last = anthropic_reply([start(dialect), anthropic_error_event("api_error", message)])
    else:
        last = gemini_reply([start(dialect), gemini_error_tail(500, None, message)])
    asked = ask(lane, empty(lane), empty(lane), last)
    asked.assert_failed(["first", "second", "first"])
    assert (asked.status, asked.error()["message"]) == (500, message)


@both_dialects
def test_the_waits_of_an_exchange_count_together(lanes: Lanes, dialect: str) -> None:
    lane = lanes("pair", dialect)
    replies = [error(lane, 500, f"Reference {number}.") for number in (1, 2)]
    asked = ask(lane, *replies)
    asked.assert_delivered(replies[1], ["first", "second"])
    assert asked.waits[0] >= 0.4


@both_dialects
def test_a_hint_that_does_not_fit_is_handed_on_intact(lanes: Lanes, dialect: str) -> None:
    lane = lanes("single", dialect)
    limited = error(lane, 429, "Slow down.", headers={"retry-after": "1.5", "x-should-retry": "true"})
    asked = ask(lane, limited)
    asked.assert_delivered(limited, ["first"])


@both_dialects
@with_and_without_stream
def test_a_single_account_with_a_hint_of_days_is_asked_once_and_then_not_at_all(
    lanes: Lanes, dialect: str, stream: bool
) -> None:
    lane = lanes("single", dialect)
    limited = error(lane, 429, "Quota used up.", headers={"retry-after": "391609"})
    asked = ask(lane, limited, stream=stream)
    asked.assert_delivered(limited, ["first"])
    again = ask(lane, stream=stream)
    assert again.calls == []
    assert again.status == 429
    # No quota is named, so more than a day is not believed.
    assert 86_000 < int(again.response.header("retry-after") or 0) <= 86_400
    again.error()


@both_dialects
@pytest.mark.parametrize("status", [401, 403, 404])
def test_a_single_account_that_is_refused_is_asked_again_by_the_next_request(
    lanes: Lanes, dialect: str, status: int
) -> None:
    """The client is owed the real cause, and a key may have been mended."""
    lane = lanes("single", dialect)
    refusal = error(lane, status, "model: not for you")
    for _ in range(2):
        ask(lane, refusal).assert_delivered(refusal, ["first"])
    assert ask(lane, answer(lane)).report().text == "Hello"


@both_dialects
def test_a_single_account_heals_what_needs_no_other(lanes: Lanes, dialect: str) -> None:
    lane = lanes("single", dialect)
    ask(lane, empty(lane), Reply(before="reset"), answer(lane)).assert_served("Hello", ["first"] * 3)
    internal = error(lane, 500, "An internal error has occurred.")
    asked = ask(lane, internal, answer(lane))
    asked.assert_served("Hello", ["first", "first"])
    assert asked.waits[0] >= 0.4


@both_dialects
def test_a_single_account_with_three_failures_in_a_row_is_asked_all_the_same(lanes: Lanes, dialect: str) -> None:
    lane = lanes("single", dialect)
    asked = ask(lane, *[empty(lane, stream=False)] * 3, stream=False)
    asked.assert_delivered(empty(lane, stream=False), ["first"] * 3)
    again: Any = ask(lane, answer(lane, "recovered"))
    again.assert_served("recovered", ["first"])
