"""Conversations of many turns with tools, through the real SDKs, against an API that checks every signature."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.conftest import Lane
from tests.e2e.conversations import (
    FEW_PROMPTS,
    PROMPTS,
    Talker,
    edit_last_thinking,
    lose_signatures,
    store_aborted_answer,
    talker,
)
from tests.e2e.harness import Proxy, account, upstream
from tests.e2e.test_modes_helpers import DIALECTS, credential, target
from tests.support import raw
from tests.upstream import Talking, Upstream, anthropic_error, gemini_error, healthy, retry_info
from tests.upstream.judging_anthropic import BETA
from tests.upstream.saying import is_said

type Prompts = tuple[str, ...]
CALLS = 22
"""What the ten turns take: ten last answers and twelve rounds of tools."""

# Each way of asking and each model occur in each test; all of both together in a long run.
pytestmark = pytest.mark.covering(1)
each_model = pytest.mark.parametrize(
    ("lane", "prefix_check"),
    [
        pytest.param("anthropic", False, id="anthropic"),
        pytest.param("anthropic", True, id="anthropic with prefix check"),
        pytest.param("gemini", False, id="gemini"),
    ],
    indirect=["lane"],
)
streaming_or_not = pytest.mark.parametrize("stream", [True, False], ids=["stream", "json"])
few_or_ten = pytest.mark.parametrize(
    "prompts", [FEW_PROMPTS, pytest.param(PROMPTS, marks=pytest.mark.long)], ids=["few turns", "ten turns"]
)


@pytest.fixture
def talking(lane: Lane) -> Iterator[Talking]:
    """The lane's upstream checks signatures."""
    api = Talking()
    lane.upstream.default = api
    yield api
    lane.upstream.default = healthy
    told = lane.proxy.log + lane.proxy.log_file.read_text("utf-8")
    assert api.minted
    assert not any(signature[40:80] in told for signature in api.minted), "a signature is in the log"


def client_of(lane: Lane, stream: bool, prefix_check: bool) -> Talker:
    # Each test is somebody else: all of them say the same.
    key = f"client-of-{lane.model}"
    prefix = lane.model.removesuffix("x")
    return talker(lane.proxy.url, lane.dialect, prefix, stream=stream, prefix_check=prefix_check, key=key)


def talk(client: Talker, prompts: Prompts) -> None:
    for prompt in prompts:
        assert is_said(client.turn(prompt))


@streaming_or_not
@each_model
def test_ten_turns_with_tools_cost_not_one_extra_call(
    lane: Lane, prefix_check: bool, stream: bool, talking: Talking
) -> None:
    client = client_of(lane, stream, prefix_check)
    talk(client, PROMPTS)
    assert talking.refused == []
    assert len(talking.judged) == CALLS


@few_or_ten
@streaming_or_not
@each_model
def test_a_client_that_loses_all_signatures_is_never_refused(
    lane: Lane, prefix_check: bool, stream: bool, talking: Talking, prompts: Prompts
) -> None:
    client = client_of(lane, stream, prefix_check)
    client.spoil = lose_signatures
    talk(client, prompts)
    assert talking.refused == []


def refusals_in_the_middle(
    client: Talker, talking: Talking, prompts: Prompts, mishap: object
) -> tuple[list[str], list[str]]:
    """Half of the turns, the mishap, one turn, and all others: what was refused of the one, and of the others."""
    half = len(prompts) // 2
    talk(client, prompts[:half])
    assert talking.refused == []
    mishap(client.history)  # type: ignore[operator]
    talk(client, prompts[half : half + 1])
    first = talking.refused
    talk(client, prompts[half + 1 :])
    return first, talking.refused[len(first) :]


@few_or_ten
@streaming_or_not
@each_model
@pytest.mark.parametrize("mishap", [lose_signatures, edit_last_thinking, store_aborted_answer])
def test_a_mishap_costs_one_refused_call_at_most_and_no_later_turn_another(
    lane: Lane, prefix_check: bool, stream: bool, talking: Talking, prompts: Prompts, mishap: object
) -> None:
    client = client_of(lane, stream, prefix_check)
    first, later = refusals_in_the_middle(client, talking, prompts, mishap)
    assert len(first) <= 1
    assert later == []


@few_or_ten
@streaming_or_not
@each_model
def test_a_system_prompt_edited_in_the_middle(
    lane: Lane, prefix_check: bool, stream: bool, talking: Talking, prompts: Prompts
) -> None:
    client = client_of(lane, stream, prefix_check)

    def edit(_: object) -> None:
        client.system = "Be very brief."

    first, later = refusals_in_the_middle(client, talking, prompts, edit)
    assert len(first) == (1 if prefix_check else 0)
    assert later == []


@few_or_ten
@streaming_or_not
@each_model
def test_a_model_switched_in_the_middle(
    lane: Lane, prefix_check: bool, stream: bool, talking: Talking, prompts: Prompts
) -> None:
    client = client_of(lane, stream, prefix_check)

    def switch(_: object) -> None:
        client.model = client.model.replace("opus", "sonnet") if prefix_check else client.model + "-other"

    first, later = refusals_in_the_middle(client, talking, prompts, switch)
    assert len(first) <= 1
    assert later == []


@few_or_ten
@streaming_or_not
@each_model
def test_an_account_rotated_in_the_middle(
    lane: Lane, prefix_check: bool, stream: bool, talking: Talking, prompts: Prompts
) -> None:
    client = client_of(lane, stream, prefix_check)

    def rotate(_: object) -> None:
        if lane.dialect == "anthropic":
            limited = anthropic_error(429, "rate_limit_error", "Slow down.", headers={"retry-after": "3600"})
        else:
            limited = gemini_error(429, None, "Slow down.", details=[retry_info("3600s")])
        # In the middle of a tool round, where signatures count.
        lane.upstream.play(talking, limited)

    first, later = refusals_in_the_middle(client, talking, prompts, rotate)
    assert len({lane.account_of(call) for call in lane.upstream.calls}) == 2
    # Gemini's signatures are good for the key that they were made for; the Messages API drops what it can't use.
    assert len(first) == (1 if lane.dialect == "gemini" else 0)
    assert later == []


@few_or_ten
def test_a_restart_keeps_the_store_and_without_it_there_is_one_refusal(tmp_path: Path, prompts: Prompts) -> None:
    with Upstream() as server:
        talking = Talking()
        server.default = talking
        config = "".join(account(dialect, dialect) + upstream(dialect, dialect, server.url) for dialect in DIALECTS)
        config += "[retry]\nspare_retries = 1000000\n"
        clients = [
            talker(
                "",
                dialect,
                f"{dialect}-",
                stream=stream,
                prefix_check=prefix_check,
                key=f"client-{dialect}-{prefix_check}-{stream}",
            )
            for dialect, prefix_check in (("anthropic", False), ("anthropic", True), ("gemini", False))
            for stream in (True, False)
        ]
        for client in clients:
            client.spoil = lose_signatures
        half = len(prompts) // 2
        for folder, some, most in (("a", prompts[:half], 0), ("a", prompts[half:-2], 0), ("b", prompts[-2:], 1)):
            # A new folder is a new store.
            with Proxy(tmp_path / folder, config) as proxy:
                for client in clients:
                    client.point_at(proxy.url)
                    before = len(talking.refused)
                    talk(client, some)
                    refused = talking.refused[before:]
                    assert len(refused) <= most, (folder, client, refused)


CALL = {"functionCall": {"name": "look", "args": {"at": 1}}}
SEEN = {"functionResponse": {"name": "look", "response": {"output": "seen"}}}
TOOLS = [{"functionDeclarations": [{"name": "look"}]}]


def in_a_round(*parts: dict[str, Any], question: str = "Look.") -> dict[str, Any]:
    """A Gemini request in the middle of a tool round that began with these parts."""
    turns = (("user", [{"text": f"{question} [steps:2]"}]), ("model", list(parts)), ("user", [SEEN]))
    return {"contents": [{"role": role, "parts": each} for role, each in turns], "tools": TOOLS}


@pytest.mark.parametrize("lane", ["gemini"], indirect=True)
@streaming_or_not
def test_an_answer_that_ends_for_a_missing_signature_is_healed(lane: Lane, stream: bool) -> None:
    talking = Talking(missing_as_finish=True)
    lane.upstream.default = talking
    try:
        path = target("gemini", lane.model, stream=stream)
        # What has been repaired once is sent right at once: each conversation begins in its own way.
        asked = in_a_round(CALL, question=f"Look, {lane.model}.")
        response = raw.request("POST", lane.proxy.url + path, asked, credential("gemini"))
    finally:
        lane.upstream.default = healthy
    assert response.header("x-healing-outcome") == "healed"
    assert len(talking.refused) == 1
    assert b"functionCall" in response.body


@pytest.mark.parametrize("lane", ["gemini"], indirect=True)
def test_signatures_of_an_array_that_streams_are_kept_too(lane: Lane, talking: Talking) -> None:
    path = f"/v1beta/models/{lane.model}:streamGenerateContent"
    first = {"contents": [{"role": "user", "parts": [{"text": "Look. [steps:2]"}]}], "tools": TOOLS}
    response = raw.request("POST", lane.proxy.url + path, first, credential("gemini"))
    parts = [part for chunk in json.loads(response.body) for part in chunk["candidates"][0]["content"]["parts"]]
    [call] = [part for part in parts if "functionCall" in part]
    signature = call.pop("thoughtSignature")
    raw.request("POST", lane.proxy.url + path, in_a_round(call), credential("gemini"))
    assert talking.refused == []
    assert lane.calls[-1].json["contents"][1]["parts"] == [{**call, "thoughtSignature": signature}]


@pytest.mark.parametrize("own", [None, "context-management-2025-06-27", f"a,{BETA}"])
def test_the_betas_that_a_client_asks_for_stay_and_the_needed_one_is_added_once(
    lane: Lane, talking: Talking, own: str | None
) -> None:
    model = lane.model.removesuffix("x") + "opus-5-5"
    headers = {**credential("anthropic"), **({"anthropic-beta": own} if own else {})}
    question = {"role": "user", "content": f"Hello, {lane.model}."}
    first = {"model": model, "max_tokens": 9, "messages": [question]}
    url = lane.proxy.url + target("anthropic", model)
    content = raw.request("POST", url, first, headers).json()["content"]
    turns = [question, {"role": "assistant", "content": content}, {"role": "user", "content": "And?"}]
    edited = {**first, "system": "Edited.", "messages": turns}
    response = raw.request("POST", url, edited, headers)
    assert (response.status, len(talking.refused)) == (200, 1)
    assert response.json()["input_transformations"], "what upstream dropped is passed on"
    sent = lane.upstream.calls[-1].headers["anthropic-beta"].split(",")
    assert [beta for beta in sent if beta != BETA] == [
        beta for beta in (own or "").split(",") if beta not in ("", BETA)
    ]
    assert sent.count(BETA) == 1
