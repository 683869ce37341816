"""Gemini's turns as an Anthropic client was shown them."""

from typing import Any

import pytest
from healing.policy.config import Signatures
from healing.policy.failures import Failure, FailureClass
from healing.policy.repair.gemini import with_stand_ins
from healing.policy.shown import ShownTurns
from healing.policy.signatures import Origin, SignatureStore
from healing.policy.told import told_error
from healing.wire.gemini_history import STAND_IN, said_by, signature_of
from healing.wire.translate.common import Piece
from healing.wire.translate.to_gemini import to_gemini

SIGNATURE = "c2lnbmVk" * 10
CALL = {"name": "look", "args": {"at": 1}}
ASKED = {"messages": [{"role": "user", "content": "Look."}]}
PIECES = [Piece("text", 5), Piece("call", "toolu_1", SIGNATURE, said=said_by(CALL))]
MODEL = "gemini-3-pro-preview"


@pytest.fixture
def shown() -> ShownTurns:
    store = SignatureStore(None, Signatures())
    turns = ShownTurns(store, Origin("https://up", MODEL, "a"), 1000.0)
    turns.keep(ASKED, [{"type": "text", "text": "Hello"}, tool_use({"at": 1})], PIECES)
    return turns


def tool_use(given: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "id": "toolu_1", "name": "look", "input": given}


def call_part(shown: ShownTurns, *content: dict[str, Any]) -> dict[str, Any]:
    """The call as it goes to Gemini, of a turn with these blocks."""
    result = {"type": "tool_result", "tool_use_id": "toolu_1", "content": "seen"}
    messages = [*ASKED["messages"], {"role": "assistant", "content": [*content]}, {"role": "user", "content": [result]}]
    body = with_stand_ins(to_gemini({"max_tokens": 9, "messages": messages}, MODEL, shown), MODEL)
    part: dict[str, Any] = body["contents"][1]["parts"][-1]
    return part


@pytest.mark.parametrize("text", ["Hello", "Hello, changed by the client"])
def test_a_call_gets_its_own_signature_however_the_text_before_it_was_changed(shown: ShownTurns, text: str) -> None:
    part = call_part(shown, {"type": "text", "text": text}, tool_use({"at": 1}))
    assert signature_of(part) == SIGNATURE


@pytest.mark.parametrize("text", ["Hello", "Hello, changed by the client"])
def test_a_call_that_the_client_changed_gets_the_stand_in(shown: ShownTurns, text: str) -> None:
    part = call_part(shown, {"type": "text", "text": text}, tool_use({"at": 2}))
    assert part["functionCall"]["args"] == {"at": 2}
    assert signature_of(part) == STAND_IN


def test_an_overload_is_told_as_one_whatever_its_status_was() -> None:
    assert told_error(Failure(FailureClass.OVERLOADED, "busy", 200), None).status == 529
