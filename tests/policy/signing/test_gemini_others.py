"""Repairs of one conversation with Gemini, and those that have nothing to do with them."""

from typing import Any

import pytest
from antigravity_healing.wire.errors.signature_refusals import SignatureFault
from antigravity_healing.wire.gemini.history import STAND_IN

from tests.policy.signing.desk import Desk, refused
from tests.policy.signing.test_gemini_repairs import (
    MODEL,
    body,
    call,
    desk,
    model,
    response,
    signature,
    signatures,
    user,
)

type Body = dict[str, Any]


def beside(other: Desk, **changed: str) -> Desk:
    """Another conversation with the same store."""
    return Desk("gemini", **{"model": MODEL, "client": other.client, **changed}, store=other.store)


def is_untouched(gemini: Desk, asked: Body) -> bool:
    request = gemini.request(asked)
    return request.prepared().body is request.repairs.text


@pytest.mark.parametrize("stand_in", [STAND_IN, "c2tpcF90aG91Z2h0X3NpZ25hdHVyZV92YWxpZGF0b3I="])
def test_the_stand_in_beside_a_broken_signature_stays_where_it_is(stand_in: str) -> None:
    gemini = desk()
    standing = {**call("look"), "thoughtSignature": stand_in}
    old = (user("zero"), model(standing), user(response("look")), model({"text": "so"}))
    asked = body(*old, user("one"), model(call("smell", "garbage")), user(response("smell")))
    request = gemini.request(asked)
    assert request.refuse(refused(SignatureFault.CALL_CORRUPTED))
    assert request.names == ["strip"]
    sent = request.accept({"text": "done"})
    assert signatures(sent) == [[stand_in], [None], [STAND_IN]]
    assert signatures(gemini.request(asked).sent()) == signatures(sent)
    for other in (beside(gemini), beside(gemini, client="another")):
        assert is_untouched(other, body(user("ho"), model(standing), user(response("look"))))
        assert is_untouched(other, body(*old, user("one")))


def test_a_stripped_call_in_the_current_turn_gets_the_stand_in_at_once() -> None:
    gemini = desk()
    asked = body(user("one"), model(call("look", "garbage"), call("smell")), user(response("look"), response("smell")))
    # The repair was made while the call was in an earlier turn, so no stand-in was needed.
    later = body(*asked["contents"], model({"text": "so"}), user("two"))
    request = gemini.request(later)
    assert request.refuse(refused(SignatureFault.CALL_CORRUPTED))
    assert signatures(request.accept({"text": "done"})) == [[None, None], [None]]
    assert signatures(gemini.request(asked).sent()) == [[STAND_IN, None]]
    assert signatures(beside(gemini, model="gemini-2.5-pro").request(asked).sent()) == [[None, None]]


def test_a_fork_with_healthy_signatures_is_sent_to_the_byte() -> None:
    gemini = desk()
    first = (user("one"),)
    gemini.request(body(*first)).accept(call("look", "look"))
    second = (*first, model(call("look", "look")), user(response("look")))
    gemini.request(body(*second)).accept({"text": "so", "thoughtSignature": signature("so")})
    healthy = (*second, model({"text": "so", "thoughtSignature": signature("so")}))
    request = gemini.request(body(*healthy, user("x"), model(call("smell", "garbage")), user(response("smell"))))
    assert request.refuse(refused(SignatureFault.CALL_CORRUPTED))
    assert request.names == ["strip"]
    assert signatures(request.accept({"text": "done"})) == [[None], [None], [STAND_IN]]
    for session in ("", "another"):
        assert is_untouched(beside(gemini, session=session), body(*healthy, user("two")))
        assert is_untouched(beside(gemini, session=session), body(*second))


def test_what_stood_elsewhere_in_a_refused_fork_is_left_alone_where_it_was_made() -> None:
    gemini = desk()
    gemini.request(body(user("one"))).accept(call("look", "look"))
    turn = (model(call("look", "look")), user(response("look")))
    request = gemini.request(body(user("edited"), *turn))
    assert request.refuse(refused(SignatureFault.CALL_CORRUPTED))
    assert signatures(request.accept({"text": "done"})) == [[STAND_IN]]
    for session in ("", "another"):
        assert is_untouched(beside(gemini, session=session), body(user("one"), *turn))


def test_a_repair_is_not_found_by_what_was_in_order_beside_the_broken_signature() -> None:
    gemini = desk()
    gemini.request(body(user("one"))).accept(call("look", "look"))
    turn = (user("one"), model(call("look", "look")), user(response("look")))
    request = gemini.request(body(*turn, model(call("smell", "garbage")), user(response("smell"))))
    assert request.refuse(refused(SignatureFault.CALL_CORRUPTED))
    request.accept({"text": "done"})
    # Of another model's signatures nothing is known.
    assert is_untouched(beside(gemini, model="gemini-3.8-flash"), body(*turn))


def test_a_kept_restore_overwrites_no_other_signature() -> None:
    gemini = desk()
    gemini.request(body(user("one"))).accept(call("look", "look"))
    turn = (model(call("look", "garbage")), user(response("look")))
    request = gemini.request(body(user("one"), *turn))
    assert request.refuse(refused(SignatureFault.CALL_CORRUPTED))
    assert request.names == ["restore"]
    request.accept({"text": "done"})
    assert signatures(gemini.request(body(user("one"), *turn)).sent()) == [[signature("look")]]
    own = body(user("one"), model(call("look", "another")), user(response("look")))
    for other in (gemini, beside(gemini, session="another"), beside(gemini, client="another")):
        assert is_untouched(other, own)


def test_what_was_restored_for_one_is_not_put_into_anothers_call() -> None:
    gemini = desk()
    gemini.request(body(user("one"))).accept(call("look", "look"))
    unsigned = body(user("one"), model(call("look")), user(response("look")))
    assert signatures(gemini.request(unsigned).sent()) == [[signature("look")]]
    assert is_untouched(beside(gemini, client="another"), unsigned)
    assert is_untouched(gemini, body(user("ho"), *unsigned["contents"][1:]))


def test_a_text_signature_that_was_refused_is_forgotten() -> None:
    gemini = desk()
    hello = {"text": "Hello", "thoughtSignature": signature("t")}
    gemini.request(body(user("one"))).accept(hello)
    request = gemini.request(body(user("one"), model(hello), user("two")))
    assert request.refuse(refused(SignatureFault.CALL_CORRUPTED))
    assert signatures(request.sent()) == [[None]]
    unsigned = body(user("one"), model({"text": "Hello"}), user("other"))
    assert gemini.request(unsigned).sent() == unsigned


def test_a_signature_that_was_put_back_and_is_refused_is_taken_off_again() -> None:
    gemini = desk()
    gemini.request(body(user("one"))).accept({"text": "Hello", "thoughtSignature": signature("t")})
    unsigned = body(user("one"), model({"text": "Hello"}), user("two"))
    request = gemini.request(unsigned)
    assert signatures(request.sent()) == [[signature("t")]]
    assert request.refuse(refused(SignatureFault.CALL_CORRUPTED))
    assert request.sent() == unsigned


def test_a_signature_is_not_forgotten_where_another_one_may_be_the_broken_one() -> None:
    gemini = desk()
    gemini.request(body(user("one"))).accept({"text": "Hello", "thoughtSignature": signature("t")})
    hello = model({"text": "Hello", "thoughtSignature": signature("t")})
    request = gemini.request(
        body(user("one"), hello, user("two"), model({"text": "x", "thoughtSignature": signature("bad")}), user("x"))
    )
    assert request.refuse(refused(SignatureFault.CALL_CORRUPTED))
    lost = body(user("one"), model({"text": "Hello"}), user("two"))
    assert signatures(gemini.request(lost).sent()) == [[signature("t")]]


def test_a_repair_that_is_needed_turn_after_turn_is_kept_as_one() -> None:
    gemini = desk()
    history: list[Body] = []
    for number in range(12):
        history += [user(f"{number}"), model(call("look", f"garbage {number}")), user(response("look"))]
        request = gemini.request(body(*history))
        assert request.refuse(refused(SignatureFault.CALL_CORRUPTED))
        assert request.names == ["strip"]
        sent = signatures(request.accept({"text": "done"}))
        assert sent[-1] == [STAND_IN]
        assert gemini.store.report()["repairs"] == 1
        history.append(model({"text": "done"}))


def test_an_answer_that_goes_on_with_the_models_own_words_is_not_kept() -> None:
    gemini = desk()
    gemini.request(body(user("one"), model({"text": "He"}))).accept({"text": "llo", "thoughtSignature": signature("t")})
    assert gemini.store.entries == 0


def test_chunks_that_a_client_keeps_as_contents_are_left_as_they_are() -> None:
    gemini = desk()
    gemini.request(body(user("one"))).accept({"text": "Done."}, {"text": "", "thoughtSignature": signature("t")})
    chunks = [model({"text": "Done."}), model({"text": "", "thoughtSignature": signature("t")})]
    assert is_untouched(gemini, body(user("one"), *chunks, user("two")))
    thought = [model({"text": "Done."}), model({"text": "Hm.", "thought": True})]
    sent = gemini.request(body(user("one"), *thought, user("two"))).sent()
    assert signatures(sent) == [[signature("t")], [None]]
