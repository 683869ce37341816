"""Saved flows: a client's flow and each attempt's, and what they tell."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from antigravity_healing.policy.journal.written import TAGS
from mitmproxy import flowfilter, http

from tests.e2e.harness import Proxy, upstream
from tests.e2e.test_modes_helpers import (
    DIALECTS,
    ask,
    empty,
    error,
    pairs_of_accounts,
    read_stream,
    saved_flows,
    split_roles,
    story,
    stream,
)
from tests.support import raw
from tests.upstream import Reply, Upstream, anthropic_error_event, anthropic_json, anthropic_stream

LIMIT = 3000
LONG_TEXT = "word " * 2 * LIMIT

# What is asked, in the order in which the flows are looked at; the number is that of the lane.
HEALED, FAILED, CLEAN, BROKE, WAITED, LONG, JSON, GEMINI, LEFT, EMPTY = range(10)

type Saved = dict[str, tuple[http.HTTPFlow, list[http.HTTPFlow]]]


@pytest.fixture(scope="module")
def answers() -> dict[int, raw.RawResponse]:
    """What the client got, by the number of the lane."""
    return {}


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory, answers: dict[int, raw.RawResponse]) -> Iterator[Saved]:
    """The flows of one run, by the client's model: its own and those of its attempts."""
    folder: Path = tmp_path_factory.mktemp("saved")
    config = "".join(pairs_of_accounts(dialect, 10) for dialect in DIALECTS)
    config += f'[flows]\nmax_body_bytes = {LIMIT}\n[models]\n"asked-{HEALED}" = "lane{HEALED}-real"\n'
    bad_key = error("anthropic", 401, "invalid x-api-key")
    plans: dict[int, list[Reply]] = {
        HEALED: [empty("anthropic"), stream("anthropic", "Healed")],
        FAILED: [bad_key, bad_key],
        CLEAN: [stream("anthropic", "Clean")],
        BROKE: [anthropic_stream("Broken").first(3, "normal").inserted(3, anthropic_error_event())],
        WAITED: [error("anthropic", 500, "Internal"), stream("anthropic", "After a wait")],
        LONG: [anthropic_stream(LONG_TEXT, pieces=20)],
        JSON: [error("anthropic", 401, "invalid x-api-key"), anthropic_json("Healed")],
        GEMINI: [empty("gemini"), stream("gemini", "Healed")],
        LEFT: [stream("anthropic").but(before="stall")],
        EMPTY: [empty("anthropic")] * 3,
    }
    with Upstream() as server:
        config += "".join(upstream(dialect, dialect, server.url) for dialect in DIALECTS)
        with Proxy(folder, config, args=["-w", str(folder / "flows")]) as proxy:
            for number, plan in plans.items():
                server.reset()
                server.play(*plan)
                dialect = "gemini" if number == GEMINI else "anthropic"
                model = f"asked-{HEALED}" if number == HEALED else f"lane{number}-x"
                if number == LEFT:
                    leave(proxy, server, model)
                else:
                    answers[number] = ask(proxy.url, dialect, model, stream=number != JSON)
        yield {story(flow)["model"]: (flow, attempts) for flow, attempts in split_roles(saved_flows(folder / "flows"))}


def leave(proxy: Proxy, server: Upstream, model: str) -> None:
    """Ask, and leave before the answer."""
    connection = raw.RawConnection(proxy.url)
    body = {"model": model, "stream": True, "max_tokens": 1, "messages": [{"role": "user", "content": "hi"}]}
    connection.send("POST", f"{proxy.url}/v1/messages", body)
    server.wait_for(lambda upstream: upstream.calls)
    connection.close()
    proxy.wait_for_log("the client left")


def lane(saved: Saved, number: int) -> tuple[http.HTTPFlow, list[http.HTTPFlow]]:
    return saved[f"asked-{HEALED}" if number == HEALED else f"lane{number}-x"]


@pytest.mark.parametrize(
    ("number", "count"),
    [(HEALED, 2), (FAILED, 2), (CLEAN, 1), (BROKE, 1), (WAITED, 2), (LONG, 1), (JSON, 2), (GEMINI, 2), (EMPTY, 3)],
)
def test_each_attempt_is_a_flow_of_its_own_beside_the_clients(saved: Saved, number: int, count: int) -> None:
    flow, attempts = lane(saved, number)
    assert [story(attempt)["attempt"] for attempt in attempts] == list(range(1, count + 1))
    assert len({flow.id, *(attempt.id for attempt in attempts)}) == count + 1
    assert story(flow)["attempts"] == [story(attempt) for attempt in attempts]
    assert {attempt.request.path.partition("?")[0] for attempt in attempts} == {flow.request.path.partition("?")[0]}
    assert all(attempt.response is not None for attempt in attempts)


def test_an_attempts_story_is_complete(saved: Saved) -> None:
    _, (first, second) = lane(saved, HEALED)
    told = story(first)
    assert told["role"] == "attempt"
    assert (told["account"], told["mapped_model"], told["status"]) == ("anthropic-0-first", "lane0-real", 200)
    assert told["failure"] == "empty"
    assert "0 tokens" in told["detail"]
    assert "anthropic-0-second" in told["verdict"]
    assert told["time_to_first_content_s"] is None
    assert 0 <= told["time_to_first_byte_s"] <= told["duration_s"]
    assert first.response is not None
    assert told["bytes"] == len(first.response.content or b"")
    told = story(second)
    assert (told["account"], told["failure"], told["detail"], told["verdict"]) == (
        "anthropic-0-second", None, None, "deliver",
    )  # fmt: skip
    assert 0 <= told["time_to_first_byte_s"] <= told["time_to_first_content_s"] <= told["duration_s"]
    assert told["bytes"] > 0


def test_an_exchanges_story_is_complete(saved: Saved) -> None:
    flow, attempts = lane(saved, HEALED)
    told = story(flow)
    assert (told["role"], told["outcome"], told["dialect"]) == ("exchange", "healed", "anthropic")
    assert (told["model"], told["mapped_model"]) == ("asked-0", "lane0-real")
    assert told["exchange"] == story(attempts[0])["exchange"]
    assert told["waited_s"] == 0
    assert told["duration_s"] >= sum(story(attempt)["duration_s"] for attempt in attempts) - 0.01


def test_a_wait_is_told(saved: Saved) -> None:
    flow, (first, _) = lane(saved, WAITED)
    # 0.5 s less the jitter's fifth.
    assert story(flow)["waited_s"] >= 0.4
    assert story(flow)["duration_s"] >= 0.4
    assert story(first)["failure"] == "transient"
    assert story(first)["status"] == 500
    assert "0." in story(first)["verdict"]


def test_an_attempts_request_is_what_upstream_got(saved: Saved) -> None:
    flow, attempts = lane(saved, HEALED)
    for attempt in attempts:
        assert b'"lane0-real"' in (attempt.request.content or b"")
        assert attempt.request.headers["accept-encoding"] == "identity"
    assert b'"asked-0"' in (flow.request.content or b"")


@pytest.mark.parametrize(
    ("number", "outcome", "marker"),
    [
        (HEALED, "healed", True),
        (GEMINI, "healed", True),
        (JSON, "healed", True),
        (FAILED, "failed", True),
        (BROKE, "failed", True),
        (EMPTY, "failed", True),
        (CLEAN, "clean", False),
        (LONG, "clean", False),
    ],
)
def test_a_clients_flow_is_marked_and_commented_when_something_happened(
    saved: Saved, number: int, outcome: str, marker: bool
) -> None:
    flow, attempts = lane(saved, number)
    assert story(flow)["outcome"] == outcome
    assert bool(flow.marked) == bool(flow.comment) == marker
    if marker:
        assert outcome in flow.comment
        assert story(attempts[0])["detail"] in flow.comment


def test_healed_and_failed_have_different_marks(saved: Saved) -> None:
    assert lane(saved, HEALED)[0].marked != lane(saved, FAILED)[0].marked


@pytest.mark.parametrize("number", [HEALED, FAILED, CLEAN, BROKE, WAITED, JSON, GEMINI, EMPTY])
def test_the_bodies_of_both_are_kept(saved: Saved, answers: dict[int, raw.RawResponse], number: int) -> None:
    flow, attempts = lane(saved, number)
    assert flow.response is not None
    assert flow.response.content == answers[number].body
    assert flow.response.status_code == answers[number].status
    # Nothing but a failure after commit is changed on the way from the attempt that served.
    if number != BROKE:
        assert attempts[-1].response is not None
        assert attempts[-1].response.content == answers[number].body
    assert "body_truncated" not in story(flow)


def test_a_long_streamed_body_is_kept_up_to_the_limit(saved: Saved, answers: dict[int, raw.RawResponse]) -> None:
    assert read_stream("anthropic", answers[LONG].body) == LONG_TEXT
    flow, [attempt] = lane(saved, LONG)
    for kept in (flow, attempt):
        assert kept.response is not None
        assert kept.response.raw_content == answers[LONG].body[:LIMIT]
        assert story(kept)["body_truncated"] is True
    assert story(attempt)["bytes"] == len(answers[LONG].body)


def test_a_failure_after_commit_is_told_in_both_flows(saved: Saved) -> None:
    flow, [attempt] = lane(saved, BROKE)
    assert story(flow)["outcome"] == "failed"
    assert story(attempt)["failure"] == "overloaded"
    assert story(attempt)["time_to_first_content_s"] is not None
    assert "duration_s" in story(attempt)


def test_an_exchange_whose_client_left_is_told(saved: Saved) -> None:
    flow, attempts = lane(saved, LEFT)
    assert story(flow)["outcome"] == "client_left"
    assert flow.error is not None
    assert [story(attempt)["verdict"] for attempt in attempts] == ["the client left"]


def test_flows_say_in_their_tags_what_people_filter_by(saved: Saved) -> None:
    flow, attempts = lane(saved, HEALED)
    assert flow.metadata[TAGS].startswith(f"exchange id={story(flow)['exchange']} outcome=healed model=lane")
    assert "class=empty" in flow.metadata[TAGS]
    assert all(f"account={attempt['account']}" in flow.metadata[TAGS] for attempt in story(flow)["attempts"])
    assert flowfilter.match("~meta outcome=healed & ! ~meta 'tags: attempt'", flow)
    for attempt in attempts:
        assert flowfilter.match("~meta 'tags: attempt'", attempt)
        assert not attempt.marked
    assert attempts[0].comment.startswith("↳ 1 anthropic-0-")
    assert ": empty · 200 OK but 0 tokens" in attempts[0].comment
    assert attempts[1].comment.endswith(": answered")
