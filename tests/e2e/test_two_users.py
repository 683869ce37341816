"""Two users with one store who say the same side by side: neither ever gets what was made for the other."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import pytest

from tests.e2e.conftest import Lane
from tests.e2e.conversations import (
    AnthropicTalker,
    GeminiTalker,
    Talker,
    edit_last_thinking,
    lose_signatures,
    store_aborted_answer,
    talker,
)
from tests.e2e.crossed import CrossedLanes
from tests.e2e.sharing import CALLS, KINDS, PROMPTS, USERS, Kind, side_by_side
from tests.upstream import Talking, healthy

# Each way of asking and each model occur in each test; all of both together in a long run.
pytestmark = pytest.mark.covering(1)
native = pytest.mark.parametrize(
    ("lane", "prefix_check"),
    [
        pytest.param("anthropic", False, id="anthropic"),
        pytest.param("anthropic", True, id="anthropic with prefix check"),
        pytest.param("gemini", False, id="gemini"),
    ],
    indirect=["lane"],
)
crossed = pytest.mark.parametrize(
    ("client", "route", "call_ids"),
    [
        pytest.param("anthropic", "pro", True, id="anthropic client"),
        pytest.param("anthropic", "pro", False, id="anthropic client, calls without ids"),
        pytest.param("gemini", "sonnet-4-5", True, id="gemini client"),
        pytest.param("gemini", "opus-5-5", True, id="gemini client, prefix check"),
    ],
)
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=list(KINDS))
good_or_not = pytest.mark.parametrize(
    "spoil", [None, lose_signatures], ids=["good client", "client without signatures"]
)
streaming_or_not = pytest.mark.parametrize("stream", [True, False], ids=["stream", "json"])


@pytest.fixture(scope="module")
def lanes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CrossedLanes]:
    """One proxy for all translated conversations of this file."""
    with CrossedLanes(tmp_path_factory.mktemp("crossed"), lanes=60, routes=("pro", "opus-5-5", "sonnet-4-5")) as made:
        yield made


def two(lane: Lane, kind: Kind, *, stream: bool, prefix_check: bool = False) -> dict[str, Talker]:
    """Two clients on one model."""
    made: dict[str, Talker] = {}
    for user in USERS:
        key = kind.key(user, lane.model)
        if not lane.spoken:
            prefix = lane.model.removesuffix("x")
            made[user] = talker(lane.proxy.url, lane.dialect, prefix, stream=stream, prefix_check=prefix_check, key=key)
        elif lane.dialect == "gemini":
            made[user] = GeminiTalker(lane.proxy.url, lane.model, stream, key=key)
        else:
            thinking = {"type": "enabled", "budget_tokens": 2000}
            made[user] = AnthropicTalker(lane.proxy.url, lane.model, stream, thinking, key=key)
    return made


def talk(
    lane: Lane, talking: Talking, kind: Kind, clients: dict[str, Talker], prompts: Sequence[str] = PROMPTS
) -> None:
    lane.upstream.default = talking
    try:
        side_by_side(talking, {user: (client, kind.prompts(user, prompts)) for user, client in clients.items()})
    finally:
        lane.upstream.default = healthy


@each_kind
@good_or_not
@streaming_or_not
@native
def test_nothing_of_the_other_is_in_a_request_and_nothing_is_refused(
    lane: Lane, prefix_check: bool, stream: bool, spoil: Callable[[Any], None] | None, kind: Kind
) -> None:
    talking, clients = kind.talking(), two(lane, kind, stream=stream, prefix_check=prefix_check)
    for client in clients.values():
        client.spoil = spoil or client.spoil
    talk(lane, talking, kind, clients)
    assert talking.strangers == []
    assert talking.refused == []
    assert len(talking.judged) == len(USERS) * CALLS


@each_kind
@good_or_not
@crossed
def test_nothing_of_the_other_is_in_a_translated_request_and_nothing_is_refused(
    lanes: CrossedLanes, client: str, route: str, call_ids: bool, spoil: Callable[[Any], None] | None, kind: Kind
) -> None:
    lane = lanes.lane(client, route)
    talking, clients = kind.talking(call_ids=call_ids), two(lane, kind, stream=True)
    for each in clients.values():
        each.spoil = spoil or each.spoil
    talk(lane, talking, kind, clients)
    assert talking.strangers == []
    assert talking.refused == []
    assert len(talking.judged) == len(USERS) * CALLS


@pytest.mark.parametrize("mishap", [lose_signatures, edit_last_thinking, store_aborted_answer])
@native
def test_a_mishap_of_one_is_nothing_to_the_other(lane: Lane, prefix_check: bool, mishap: Any) -> None:
    kind = Kind()
    talking, clients = kind.talking(), two(lane, kind, stream=True, prefix_check=prefix_check)
    talk(lane, talking, kind, clients, PROMPTS[:2])
    before = len(talking.judged)
    mishap(clients["one"].history)
    talk(lane, talking, kind, clients, PROMPTS[2:])
    refused = [user for (user, _), text in zip(talking.asked[before:], talking.judged[before:], strict=True) if text]
    assert refused in ([], ["one"])
    assert talking.strangers == []
