import base64
import json
from typing import Any

import pytest
from antigravity_healing.wire.errors.signature_refusals import SignatureFault
from antigravity_healing.wire.gemini.history import STAND_IN

from tests.policy.signing.desk import Desk, refused

MODEL = "gemini-3-pro-preview"


def signature(name: str) -> str:
    return base64.b64encode(f"signature of {name}".ljust(60, "?").encode()).decode()


def call(name: str, signed: str | None = None, **more: Any) -> dict[str, Any]:
    part: dict[str, Any] = {"functionCall": {"name": name, "args": {"at": 1}, **more}}
    return {**part, "thoughtSignature": signature(signed)} if signed else part


def response(name: str) -> dict[str, Any]:
    return {"functionResponse": {"name": name, "response": {"output": "seen"}}}


def user(*parts: dict[str, Any] | str) -> dict[str, Any]:
    return {"role": "user", "parts": [{"text": part} if isinstance(part, str) else part for part in parts]}


def model(*parts: dict[str, Any]) -> dict[str, Any]:
    return {"role": "model", "parts": list(parts)}


def body(*contents: dict[str, Any]) -> dict[str, Any]:
    return {"contents": list(contents), "tools": [{"functionDeclarations": []}]}


def desk(name: str = MODEL) -> Desk:
    return Desk("gemini", name)


def signatures(sent: dict[str, Any]) -> list[list[str | None]]:
    """The signatures of each content of the model, part by part."""
    contents = [content for content in sent["contents"] if content["role"] == "model"]
    return [[part.get("thoughtSignature") for part in content["parts"]] for content in contents]


ROUND = (user("one"), model(call("look", "look"), call("smell")), user(response("look"), response("smell")))


def test_what_needs_no_repair_is_sent_to_the_byte() -> None:
    request = desk().request(body(*ROUND))
    assert request.prepared().body is request.repairs.text


def test_lost_signatures_come_back_onto_the_first_call_of_a_turn_only() -> None:
    gemini = desk()
    gemini.request(body(user("one"))).accept(call("look", "look"), call("look"))
    request = gemini.request(
        body(user("one"), model(call("look"), call("look")), user(response("look"), response("look")))
    )
    assert signatures(request.sent()) == [[signature("look"), None]]


def test_a_signature_comes_back_onto_exactly_its_call() -> None:
    gemini = desk()
    gemini.request(body(user("one"))).accept(call("look", "look", id="c1"))
    for other in (call("smell", id="c1"), {"functionCall": {"name": "look", "args": {"at": 2}, "id": "c1"}}):
        asked = body(user("one"), model(other), user(response("look")))
        assert gemini.request(asked).sent() == asked
    lost_id = body(user("one"), model(call("look")), user(response("look")))
    assert signatures(gemini.request(lost_id).sent()) == [[signature("look")]]


def test_a_text_gets_its_signature_back() -> None:
    gemini = desk()
    gemini.request(body(user("one"))).accept(
        {"text": "Hel"}, {"text": "lo"}, {"text": "", "thoughtSignature": signature("t")}
    )
    merged = body(user("one"), model({"text": "Hello"}), user("two"))
    assert signatures(gemini.request(merged).sent()) == [[signature("t")]]
    other = body(user("one"), model({"text": "Hello!"}), user("two"))
    assert gemini.request(other).sent() == other


def test_the_spelling_of_the_client_is_kept() -> None:
    gemini = desk()
    gemini.request(body(user("one"))).accept(call("look", "look"))
    snake = {"function_call": {"name": "look", "args": {"at": 1}}}
    sent = gemini.request(body(user("one"), model(snake), user({"function_response": {"name": "look"}}))).sent()
    assert sent["contents"][1]["parts"] == [{**snake, "thought_signature": signature("look")}]


def test_a_missing_signature_that_nobody_knows_gets_the_stand_in() -> None:
    old = (user("zero"), model(call("old")), user(response("old")), model({"text": "so"}))
    asked = body(*old, user("one"), model(call("look"), call("smell")), user(response("look"), response("smell")))
    request = desk().request(asked)
    assert request.refuse(refused(SignatureFault.CALL_UNSIGNED))
    assert request.names == ["stand_in"]
    assert signatures(request.sent()) == [[None], [None], [STAND_IN, None]]


def test_the_stand_in_stays_with_the_conversation_also_when_the_turn_is_over() -> None:
    gemini = desk()
    history = [user("one"), model(call("look")), user(response("look"))]
    request = gemini.request(body(*history))
    assert request.refuse(refused(SignatureFault.CALL_UNSIGNED))
    request.accept(call("smell", "smell"))
    history += [model(call("smell", "smell")), user(response("smell"))]
    later = gemini.request(body(*history))
    assert signatures(later.sent()) == [[STAND_IN], [signature("smell")]]
    later.accept({"text": "done"})
    over = gemini.request(body(*history, model({"text": "done"}), user("two")))
    assert signatures(over.sent()) == [[STAND_IN], [signature("smell")], [None]]


def test_the_stand_in_is_not_for_older_models() -> None:
    request = desk("gemini-2.5-pro").request(body(user("one"), model(call("look")), user(response("look"))))
    assert not request.refuse(refused(SignatureFault.CALL_UNSIGNED))


def test_the_models_neighbouring_contents_are_one_turn() -> None:
    split = (user("one"), model(call("look")), model(call("smell")), user(response("look"), response("smell")))
    request = desk().request(body(*split))
    assert request.refuse(refused(SignatureFault.CALL_UNSIGNED))
    assert signatures(request.sent()) == [[STAND_IN], [None]]


def test_a_corrupted_signature_is_replaced_by_the_one_that_the_store_has() -> None:
    gemini = desk()
    gemini.request(body(user("one"))).accept(call("look", "look"))
    request = gemini.request(body(user("one"), model(call("look", "garbage")), user(response("look"))))
    assert request.refuse(refused(SignatureFault.CALL_CORRUPTED))
    assert request.names == ["restore"]
    assert signatures(request.sent()) == [[signature("look")]]


def test_signatures_that_are_no_good_go_and_the_current_turn_gets_stand_ins() -> None:
    gemini = desk()
    signed_text = model({"text": "so"}, {"text": "", "thoughtSignature": signature("t")})
    asked = [user("zero"), model(call("old", "old")), user(response("old")), signed_text, *ROUND]
    gemini.request(body(user("one"))).accept(call("look", "look"))
    request = gemini.request(body(*asked))
    assert request.refuse(refused(SignatureFault.CALL_CORRUPTED))
    assert request.names == ["strip"], "what the store has was refused just now"
    sent = request.accept(call("go", "go"))
    assert signatures(sent) == [[None], [None], [STAND_IN, None]]
    assert sent["contents"][3] == model({"text": "so"}), "a part that only held a signature goes with it"
    later = gemini.request(body(*asked, model(call("go", "go")), user(response("go"))))
    assert signatures(later.sent()) == [[None], [None], [STAND_IN, None], [signature("go")]]


def test_a_content_of_which_nothing_is_left_keeps_a_part() -> None:
    asked = body(user("one"), model({"text": "", "thoughtSignature": signature("t")}), user("two"))
    request = desk().request(asked)
    assert request.refuse(refused(SignatureFault.CALL_CORRUPTED))
    [part] = request.sent()["contents"][1]["parts"]
    assert part["text"]


def test_signatures_are_compared_as_what_they_decode_to() -> None:
    gemini = desk()
    raw = bytes(range(200, 256)) * 2
    standard, urlsafe = base64.b64encode(raw).decode(), base64.urlsafe_b64encode(raw).decode().rstrip("=")
    gemini.request(body(user("one"))).accept({**call("look"), "thoughtSignature": standard})
    asked = body(user("one"), model({**call("look"), "thoughtSignature": urlsafe}), user(response("look")))
    request = gemini.request(asked)
    assert request.refuse(refused(SignatureFault.CALL_CORRUPTED))
    assert request.names == ["strip"], "the store has no other one"


def test_short_signatures_are_not_taken_for_real_ones() -> None:
    gemini = desk()
    gemini.request(body(user("one"))).accept({**call("look"), "thoughtSignature": STAND_IN})
    asked = body(user("one"), model(call("look")), user(response("look")))
    assert gemini.request(asked).sent() == asked


@pytest.mark.parametrize(
    "odd",
    [
        None, [], "text", {}, {"contents": None}, {"contents": [None, 5]}, {"contents": "hi"},
        {"contents": [{"role": "model", "parts": [None, 5]}]},
        {"contents": [{"role": "model", "parts": [{"functionCall": None, "thoughtSignature": 5}]}]},
        {"contents": [{"role": "model", "parts": [{"functionCall": {"name": {}, "args": "x", "id": 5}}]}]},
        {"contents": {"role": "user", "parts": [{"text": "hi"}]}},
        {"contents": [{"role": "model", "parts": [{"text": "x", "thoughtSignature": "not base64 \u00e9 %"}]}]},
    ],
)  # fmt: skip
@pytest.mark.parametrize("fault", list(SignatureFault))
def test_odd_bodies_do_no_harm(odd: Any, fault: SignatureFault) -> None:
    request = desk().request(odd)
    assert json.loads(request.prepared().body) == odd
    while request.refuse(refused(fault)):
        request.sent()
    request.accept({"functionCall": {"name": None}, "thoughtSignature": "x" * 60}, {"text": None})
