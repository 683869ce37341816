"""Each text that refuses signatures leads to a repair, however it is wrapped; what only looks like one does not."""

import base64
import json
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from typing import Any

import pytest
from antigravity_healing.wire.errors.signature_refusals import SignatureFault

from tests.e2e.conftest import Lane
from tests.e2e.test_modes_helpers import credential, read_stream, target
from tests.support import raw
from tests.support.covering import covering
from tests.support.refusals import LOOKALIKES, SIGNATURES, forms
from tests.upstream import Reply, anthropic_stream, gemini_stream

each_or_all = pytest.mark.parametrize("together", [1, pytest.param(2, marks=pytest.mark.long)], ids=["each", "all"])


def wrapped(texts: Sequence[str], together: int) -> Iterator[tuple[int, int, Any]]:
    """Numbers of texts and wrappings, and the one in the other.

    together: with 2 each text is in each wrapping, with 1 each text and each wrapping is there: what is understood of
    which is seen without a proxy.
    """
    pairs = list(product(range(len(texts)), range(len(forms("")))))
    for index in covering([(str(number), str(wrapping)) for number, wrapping in pairs], together):
        number, wrapping = pairs[index]
        yield number, wrapping, forms(texts[number])[wrapping]


def of_gemini(fault: SignatureFault) -> bool:
    return fault in (SignatureFault.CALL_UNSIGNED, SignatureFault.CALL_CORRUPTED)


def conversation(dialect: str, model: str, fault: SignatureFault, key: str) -> dict[str, Any]:
    """A history in which there is something to repair for this fault."""
    # Each conversation has blocks of its own: a repair belongs to the blocks that it was made for.
    question, signature = f"[plan:{key}]", base64.b64encode(f"signed for {key}".ljust(60).encode()).decode()
    if dialect == "gemini":
        call: dict[str, Any] = {"functionCall": {"name": "look", "args": {"for": key}}}
        signed = {**call, "thoughtSignature": signature} if fault is SignatureFault.CALL_CORRUPTED else call
        answer = {"functionResponse": {"name": "look", "response": {"output": "seen"}}}
        turns = (("user", {"text": question}), ("model", signed), ("user", answer))
        return {"contents": [{"role": role, "parts": [part]} for role, part in turns]}
    thinking = {"type": "thinking", "thinking": f"Hm, {key}.", "signature": signature}
    call = {"type": "tool_use", "id": f"toolu_{key}", "name": "look", "input": {}}
    content = [call, thinking] if fault is SignatureFault.FINAL else [thinking, call]
    setting = "disabled" if fault is SignatureFault.UNWANTED else "enabled"
    if fault is SignatureFault.UNOPENED:
        content = [call]
    messages = [
        {"role": "user", "content": question},
        {"role": "assistant", "content": content},
        {"role": "user", "content": [{"type": "tool_result", "tool_use_id": f"toolu_{key}", "content": "seen"}]},
    ]
    return {"model": model, "max_tokens": 9, "stream": True, "thinking": {"type": setting}, "messages": messages}


def ask(lane: Lane, fault: SignatureFault, key: str) -> raw.RawResponse:
    body = conversation(lane.dialect, lane.model, fault, key)
    return raw.request("POST", lane.proxy.url + target(lane.dialect, lane.model), body, credential(lane.dialect))


def refusal(status: int, form: Any) -> Reply:
    return Reply(status, {"content-type": "application/json"}, json.dumps(form).encode())


@pytest.mark.covering(1)
@each_or_all
@pytest.mark.parametrize("status", [400, 429])
@pytest.mark.parametrize("lane", ["anthropic", "gemini"], indirect=True)
def test_each_text_in_each_wrapping_is_repaired(lane: Lane, status: int, together: int) -> None:
    answer = anthropic_stream("Healed") if lane.dialect == "anthropic" else gemini_stream("Healed")
    known = [(fault, text) for fault, text in SIGNATURES if of_gemini(fault) == (lane.dialect == "gemini")]
    asked = []
    for number, wrapping, form in wrapped([text for _, text in known], together):
        key = f"{lane.model}-{status}-{number}-{wrapping}"
        lane.upstream.play(refusal(status, form), answer, key=key)
        asked.append((known[number][0], key))
    with ThreadPoolExecutor(24) as pool:
        responses = list(pool.map(lambda each: ask(lane, *each), asked))
    for (_, key), response in zip(asked, responses, strict=True):
        assert response.status == 200, (key, response.body)
        assert read_stream(lane.dialect, response.body) == "Healed"
        assert response.header("x-healing-outcome") == "healed"
        assert sum(f"[plan:{key}]".encode() in call.body for call in lane.calls) == 2, key
    lane.proxy.wait_for(lambda: sum("delivered, healed" in line for line in lane.log) >= len(asked), "the log")
    assert sum("Unexpected thinking signature error" in line for line in lane.log) == len(asked)


@pytest.mark.covering(1)
@each_or_all
@pytest.mark.parametrize("status", [400, 422])
@pytest.mark.parametrize("lane", ["anthropic", "gemini"], indirect=True)
def test_a_lookalike_passes_unchanged_after_one_call(lane: Lane, status: int, together: int) -> None:
    asked = []
    for number, wrapping, form in wrapped([text for text in LOOKALIKES if "API key not valid" not in text], together):
        # Without a status or type of its own such an error says what its HTTP status says.
        key, reply = f"{lane.model}-{status}-{number}-{wrapping}", refusal(status, form)
        lane.upstream.play(reply, key=key)
        asked.append((key, reply))
    fault = SignatureFault.CALL_CORRUPTED if lane.dialect == "gemini" else SignatureFault.BLOCK
    with ThreadPoolExecutor(24) as pool:
        responses = list(pool.map(lambda each: ask(lane, fault, each[0]), asked))
    for (key, reply), response in zip(asked, responses, strict=True):
        assert (response.status, response.body) == (status, reply.body), key
        assert sum(f"[plan:{key}]".encode() in call.body for call in lane.calls) == 1, key
