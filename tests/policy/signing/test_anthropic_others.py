"""Repairs of one conversation, and those that have nothing to do with them."""

from typing import Any

import pytest
from antigravity_healing.wire.errors.signature_refusals import SignatureFault

from tests.policy.signing.desk import Desk, refused
from tests.policy.signing.test_anthropic_repairs import (
    DROP,
    NEW,
    OLD,
    TWO_TURNS,
    assistant,
    body,
    call,
    kinds,
    result,
    text,
    thinking,
    user,
)

EMPTY: dict[str, Any] = {"type": "thinking", "thinking": "", "signature": ""}


def beside(desk: Desk, **changed: str) -> Desk:
    """Another conversation with the same store."""
    return Desk(**{"model": desk.model, "style": desk.style, "client": desk.client, **changed}, store=desk.store)


def is_untouched(desk: Desk, asked: dict[str, Any]) -> bool:
    request = desk.request(asked)
    return request.prepared().body is request.repairs.text


@pytest.mark.parametrize(
    ("fault", "content"),
    [
        (SignatureFault.FINAL, (text("a"), EMPTY)),
        (SignatureFault.LOST, (EMPTY, text("a"))),
        (SignatureFault.BLOCK, (EMPTY, text("a"))),
        (SignatureFault.PREFIX, (EMPTY, text("a"))),
    ],
)
def test_a_repair_of_an_empty_block_stays_in_its_conversation(
    fault: SignatureFault, content: tuple[dict[str, Any], ...]
) -> None:
    desk = Desk(client="one")
    asked = body(user("hi"), assistant(*content), user("go on"))
    request = desk.request(asked)
    assert request.refuse(refused(fault, 1))
    sent = request.accept(text("b"))
    assert sent != asked
    assert desk.request(asked).sent() == sent, "it belongs to its own conversation"
    assert is_untouched(beside(desk, client="another"), asked)
    assert is_untouched(beside(desk, session="another"), asked)
    assert is_untouched(desk, body(user("ho"), assistant(*content), user("go on")))
    assert is_untouched(desk, body(user("hi"), assistant(text("x")), user("hi"), assistant(*content), user("go on")))


def test_thinking_that_a_turn_ends_in_is_only_dropped_where_that_was_refused() -> None:
    desk = Desk()
    refused_turn = assistant(text("a"), thinking("B"))
    other = assistant(text("c"), thinking("D"))
    asked = body(user("one"), refused_turn, user("two"))
    request = desk.request(asked)
    assert request.refuse(refused(SignatureFault.FINAL, 1))
    request.accept(text("c"), thinking("D"))
    longer = body(user("one"), refused_turn, user("two"), other, user("three"))
    sent = desk.request(longer).sent()
    assert sent["messages"][1] == assistant(text("a"))
    assert sent["messages"][3] == other, "nobody refused this one"
    assert is_untouched(desk, body(user("one"), other, user("two")))


def test_what_became_text_is_only_taken_out_where_the_next_model_checks_what_comes_before() -> None:
    desk = Desk(model=OLD)
    request = desk.request(body(*TWO_TURNS, user("three"), model=OLD))
    assert request.refuse(refused(SignatureFault.BLOCK, 1, 0))
    assert request.names == ["text"]
    assert request.accept(text("c"))["messages"][4] == user(text("three"), text("(a note)"))
    longer = (*TWO_TURNS, user("three"), assistant(text("c")), user("four"))
    sent = beside(desk, model=NEW).request(body(*longer)).sent()
    bare = (user("one"), assistant(text("a")), user("two"), assistant(text("b")))
    assert sent == body(*bare, *longer[4:])
    again = desk.request(body(*longer, model=OLD)).sent()
    assert again["messages"][1] == assistant(text("A"), text("a"))
    assert again["messages"][4] == user(text("three"), text("(a note)"))


def test_a_fork_without_the_edit_is_sent_to_the_byte() -> None:
    desk = Desk()
    desk.request(body(user("one"))).accept(thinking("A"), text("a"))
    desk.request(body(*TWO_TURNS[:3])).accept(thinking("B"), text("b"))
    healthy = body(*TWO_TURNS, user("three"))
    edited = {**healthy, "system": "Be long."}
    request = desk.request(edited)
    assert request.refuse(refused(SignatureFault.PREFIX, 1, 0))
    assert request.names == ["drop_block"]
    request.accept(thinking("C"), text("c"))
    assert desk.request(edited).sent()["thinking"]["block_binding"] == DROP
    for session in ("", "another"):
        assert is_untouched(beside(desk, session=session), healthy)


def test_a_fork_shares_what_was_refused_and_not_what_was_made_after_it() -> None:
    desk = Desk()
    request = desk.request(body(*TWO_TURNS, user("three")))
    assert request.refuse(refused(SignatureFault.BLOCK, 3, 0))
    request.accept(thinking("C"), text("c"))
    fork = body(*TWO_TURNS[:2], user("another"), assistant(thinking("D"), text("d")), user("three"))
    assert kinds(desk.request(fork).sent())[1] == ["thinking", "text"]


def test_a_repair_is_not_found_by_what_was_in_order_beside_the_broken_block() -> None:
    desk = Desk()
    desk.request(body(user("one"))).accept(thinking("A"), text("a"))
    request = desk.request(body(*TWO_TURNS, user("three")))
    assert request.refuse(refused(SignatureFault.BLOCK, 3, 0))
    assert request.names == ["strip"]
    request.accept(text("c"))
    fork = body(*TWO_TURNS[:2], user("another"))
    # Of what another model has thought nothing is known.
    for other in (desk, beside(desk, session="another"), beside(desk, model="claude-opus-5-5")):
        assert is_untouched(other, fork)


def test_a_repair_that_is_needed_turn_after_turn_is_kept_as_one() -> None:
    desk = Desk()
    history: list[dict[str, Any]] = []
    for number in range(12):
        # This client edits what it has thought.
        history += [user(f"{number}"), assistant(thinking("edited", f"{number}"), text("x"))]
        request = desk.request(body(*history, user("go on")))
        assert request.refuse(refused(SignatureFault.BLOCK, 2 * number + 1, 0))
        assert request.names == ["strip"]
        assert kinds(request.accept(text("y"))) == [["text"]] * (number + 1)
        assert desk.store.report()["repairs"] == 1
    assert desk.request(body(*history, user("go on"))).sent()["messages"][1::2] == [assistant(text("x"))] * 12


def test_an_answer_that_goes_on_with_the_clients_words_is_not_kept() -> None:
    desk = Desk()
    desk.request(body(user("one"), assistant(text("He")))).accept(thinking("A"), text("llo"))
    assert desk.store.entries == 0
    lost = body(user("one"), assistant(text("He"), {"type": "thinking", "thinking": "A"}, text("llo")), user("two"))
    assert is_untouched(desk, lost)


def test_omitted_blocks_of_one_turn_never_share_a_signature() -> None:
    desk = Desk()
    blocks = [thinking("", name) for name in ("first", "second", "third")]
    desk.request(body(user("one"))).accept(*blocks, text("a"))
    bare = {"type": "thinking", "thinking": ""}
    for lost in range(1, 8):
        content = [bare if lost >> at & 1 else block for at, block in enumerate(blocks)]
        sent = desk.request(body(user("one"), assistant(*content, text("a")), user("two"))).sent()
        assert sent["messages"][1]["content"] == [*blocks, text("a")]


def test_a_call_that_many_conversations_have_brings_none_of_them_anothers_thinking() -> None:
    first = Desk(client="one")
    first.request(body(user("hi"))).accept(thinking("mine"), call(1))
    lost = body(user("hi"), assistant({"type": "thinking", "thinking": "mine"}, call(1)), user(result(1)))
    for other in (beside(first, client="another"), beside(first)):
        asked = body(user("ho"), *lost["messages"][1:])
        assert is_untouched(other, asked)
        request = other.request(asked)
        assert request.refuse(refused(SignatureFault.LATEST, 1, 0))
        assert request.names == ["strip_latest"]
    assert is_untouched(beside(first, client="another"), lost)
