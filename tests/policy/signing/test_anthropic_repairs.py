import json
from typing import Any

import pytest
from antigravity_healing.wire.anthropic.history import BINDING_BETA, EMPTY_TURN
from antigravity_healing.wire.errors.signature_refusals import SignatureFault

from tests.policy.signing.desk import Desk, other_refusal, refused

OLD, NEW = "claude-sonnet-4-5", "claude-sonnet-5-5"
DROP = {"prefix_mismatch_behavior": "drop_block"}


def signature(name: str) -> str:
    return f"c2lnbmF0dXJlLW9m-{name}-".ljust(60, "x")


def thinking(text: str, name: str | None = None) -> dict[str, Any]:
    return {"type": "thinking", "thinking": text, "signature": signature(name or text)}


def text(said: str) -> dict[str, Any]:
    return {"type": "text", "text": said}


def call(number: int) -> dict[str, Any]:
    return {"type": "tool_use", "id": f"toolu_{number}", "name": "look", "input": {"at": number}}


def result(number: int) -> dict[str, Any]:
    return {"type": "tool_result", "tool_use_id": f"toolu_{number}", "content": "seen"}


def user(*blocks: dict[str, Any] | str) -> dict[str, Any]:
    return {"role": "user", "content": blocks[0] if isinstance(blocks[0], str) else list(blocks)}


def assistant(*blocks: dict[str, Any]) -> dict[str, Any]:
    return {"role": "assistant", "content": list(blocks)}


def body(*messages: dict[str, Any], thinks: str | None = "adaptive", model: str = NEW) -> dict[str, Any]:
    setting = {"thinking": {"type": thinks}} if thinks else {}
    return {"model": model, "max_tokens": 100, "system": "Be brief.", **setting, "messages": list(messages)}


TWO_TURNS = (user("one"), assistant(thinking("A"), text("a")), user("two"), assistant(thinking("B"), text("b")))


def kinds(sent: dict[str, Any]) -> list[list[str]]:
    """The types of the blocks of each assistant message."""
    return [[block["type"] for block in m["content"]] for m in sent["messages"] if m["role"] == "assistant"]


def test_what_needs_no_repair_is_sent_to_the_byte() -> None:
    request = Desk().request(body(*TWO_TURNS, user("three")))
    assert request.prepared().body is request.repairs.text
    assert request.prepared().betas == ()


def test_a_prefix_mismatch_is_left_to_upstream_to_drop() -> None:
    request = Desk().request(body(*TWO_TURNS, user("three")))
    assert request.refuse(refused(SignatureFault.PREFIX, 1, 0))
    assert request.names == ["drop_block"]
    assert request.prepared().betas == (BINDING_BETA,)
    expected = body(*TWO_TURNS, user("three"))
    expected["thinking"]["block_binding"] = DROP
    assert request.sent() == expected


@pytest.mark.parametrize("thinks", [None, "enabled", "adaptive"])
def test_drop_block_goes_with_every_setting_that_takes_it(thinks: str | None) -> None:
    request = Desk().request(body(*TWO_TURNS, user("three"), thinks=thinks))
    assert request.refuse(refused(SignatureFault.PREFIX))
    assert request.sent()["thinking"] == {"type": thinks or "adaptive", "block_binding": DROP}


@pytest.mark.parametrize("thinks", ["disabled", "between_tools"])
def test_where_it_can_not_be_asked_for_the_thinking_goes(thinks: str) -> None:
    request = Desk().request(body(*TWO_TURNS, user("three"), thinks=thinks))
    assert request.refuse(refused(SignatureFault.PREFIX))
    assert (request.names, kinds(request.sent())) == (["strip"], [["text"], ["text"]])
    assert request.sent()["thinking"] == {"type": thinks}


def test_a_client_that_asks_for_another_binding_is_left_its_own() -> None:
    asked = body(*TWO_TURNS, user("three"))
    asked["thinking"]["block_binding"] = {"prefix_mismatch_behavior": "error"}
    request = Desk().request(asked)
    assert request.refuse(refused(SignatureFault.PREFIX))
    assert request.names == ["strip"]
    assert request.sent()["thinking"] == asked["thinking"]


def test_where_drop_block_is_not_known_the_thinking_goes() -> None:
    request = Desk().request(body(*TWO_TURNS, user("three")))
    assert request.refuse(refused(SignatureFault.PREFIX, 1, 0))
    assert request.refuse(other_refusal("block_binding: Extra inputs are not permitted"))
    assert request.names == ["drop_block", "strip"]
    assert request.prepared().betas == ()
    assert request.sent() == body(user("one"), assistant(text("a")), user("two"), assistant(text("b")), user("three"))


def test_drop_block_stays_with_the_conversation_until_an_upstream_does_not_know_it() -> None:
    desk = Desk()
    first = desk.request(body(*TWO_TURNS, user("three")))
    assert first.refuse(refused(SignatureFault.PREFIX, 1, 0))
    first.accept(thinking("C"), text("c"))
    longer = body(*TWO_TURNS, user("three"), assistant(thinking("C"), text("c")), user("four"))
    second = desk.request(longer)
    assert second.sent()["thinking"]["block_binding"] == DROP
    answer = b'{"error":{"message":"Unexpected value(s) `x` for the `anthropic-beta` header"}}'
    assert second.refuse(other_refusal(), answer)
    assert second.names == ["strip"]
    second.accept(thinking("D"), text("d"))
    third = desk.request({**longer, "messages": [*longer["messages"], assistant(thinking("D"), text("d")), user("5")]})
    assert "block_binding" not in third.sent()["thinking"]
    assert kinds(third.sent()) == [["text"], ["text"], ["text"], ["thinking", "text"]]


def test_an_invalid_signature_is_put_right_from_the_store() -> None:
    desk = Desk()
    desk.request(body(user("one"))).accept(thinking("A"), text("a"))
    request = desk.request(body(user("one"), assistant(thinking("Edited", "A"), text("a")), user("two")))
    assert request.refuse(refused(SignatureFault.BLOCK, 1, 0))
    assert request.names == ["restore"]
    assert request.sent() == body(user("one"), assistant(thinking("A"), text("a")), user("two"))
    request.accept(thinking("B"), text("b"))
    later = desk.request(
        body(
            user("one"),
            assistant(thinking("Edited", "A"), text("a")),
            user("two"),
            assistant(thinking("B"), text("b")),
            user("3"),
        )
    )
    assert later.sent()["messages"][1] == assistant(thinking("A"), text("a")), "the repair belongs to the conversation"


def test_what_the_store_does_not_know_goes() -> None:
    request = Desk().request(body(*TWO_TURNS, user("three")))
    assert request.refuse(refused(SignatureFault.BLOCK, 3, 0))
    assert (request.names, kinds(request.sent())) == (["strip"], [["text"], ["text"]])


def test_blocks_minted_after_the_repair_are_left_alone() -> None:
    desk = Desk()
    first = desk.request(body(*TWO_TURNS, user("three")))
    assert first.refuse(refused(SignatureFault.BLOCK, 3, 0))
    first.accept(thinking("C"), text("c"))
    second = desk.request(body(*TWO_TURNS, user("three"), assistant(thinking("C"), text("c")), user("four")))
    assert kinds(second.sent()) == [["text"], ["text"], ["thinking", "text"]]


def test_a_repair_that_was_not_accepted_is_not_kept() -> None:
    desk = Desk()
    first = desk.request(body(*TWO_TURNS, user("three")))
    assert first.refuse(refused(SignatureFault.BLOCK, 3, 0))
    second = desk.request(body(*TWO_TURNS, user("three")))
    assert second.prepared().body is second.repairs.text


@pytest.mark.parametrize(
    ("model", "style", "name"),
    [
        (OLD, "auto", "text"),
        (NEW, "auto", "strip"),
        ("unknown", "auto", "strip"),
        (OLD, "strip", "strip"),
        (NEW, "text", "text"),
    ],
)
def test_the_style_decides_whether_thinking_becomes_text(model: str, style: str, name: str) -> None:
    request = Desk(model=model, style=style).request(body(*TWO_TURNS, user("three")))
    assert request.refuse(refused(SignatureFault.BLOCK, 1, 0))
    assert request.names == [name]


def test_thinking_as_text_has_no_label_and_tells_the_model_in_the_last_user_turn() -> None:
    desk = Desk(model=OLD)
    blocks = (thinking(" A \n"), {"type": "redacted_thinking", "data": "x"}, thinking(""), text("a"))
    asked = body(user("one"), assistant(*blocks), user("two"))
    request = desk.request(asked)
    assert request.refuse(refused(SignatureFault.BLOCK, 1, 0))
    sent = request.accept(text("b"))
    assert sent["messages"][1] == assistant(text("A"), text("a"))
    assert sent["messages"][2] == user(text("two"), text("(a note)"))
    # The cache mark that a client moves from turn to turn does not make another message of it.
    marked = {"type": "text", "text": "two", "cache_control": {"type": "ephemeral"}}
    later = desk.request(body(user("one"), assistant(*blocks), user(marked), assistant(text("b")), user("three")))
    assert later.sent()["messages"][2] == user(marked, text("(a note)"))
    assert later.sent()["messages"][4] == user("three")


def test_without_a_note_none_is_added() -> None:
    request = Desk(model=OLD, note=" ").request(body(*TWO_TURNS, user("three")))
    assert request.refuse(refused(SignatureFault.BLOCK, 1, 0))
    assert request.sent()["messages"][4] == user("three")


def test_a_turn_of_which_nothing_is_left_gets_a_short_text() -> None:
    request = Desk().request(body(user("one"), assistant(thinking("A")), user("two")))
    assert request.refuse(refused(SignatureFault.BLOCK, 1, 0))
    assert request.sent()["messages"][1] == assistant(EMPTY_TURN)


def test_lost_signatures_come_back_before_anything_is_sent() -> None:
    desk = Desk()
    desk.request(body(user("one"))).accept(thinking("A"), thinking("", "omitted"), text("a"))
    bare = [{"type": "thinking", "thinking": "A"}, {"type": "thinking", "thinking": "", "signature": ""}, text("a")]
    request = desk.request(body(user("one"), assistant(*bare), user("two")))
    assert request.sent() == body(
        user("one"), assistant(thinking("A"), thinking("", "omitted"), text("a")), user("two")
    )


def test_a_lost_signature_comes_back_where_it_stood_and_nowhere_else() -> None:
    desk = Desk()
    desk.request(body(user("one"))).accept(thinking("A"), thinking("", "omitted"), text("a"))
    bare = [{"type": "thinking", "thinking": said} for said in ("A", "B", "")]
    sent = desk.request(body(user("one"), assistant(*bare, text("changed")), user("two"))).sent()
    assert sent["messages"][1]["content"] == [thinking("A"), bare[1], thinking("", "omitted"), text("changed")]
    elsewhere = body(user("changed"), assistant(*bare, text("a")), user("two"))
    assert desk.request(elsewhere).sent() == elsewhere
    somebody_else = Desk(store=desk.store, client="somebody else")
    asked = body(user("one"), assistant(*bare, text("a")), user("two"))
    assert somebody_else.request(asked).sent() == asked


def test_two_omitted_blocks_get_each_its_own_signature() -> None:
    desk = Desk()
    desk.request(body(user("one"))).accept(thinking("", "first"), thinking("", "second"), text("a"))
    bare = {"type": "thinking", "thinking": ""}
    for kept, lost in (((bare, bare), ("first", "second")), ((thinking("", "first"), bare), ("first", "second"))):
        sent = desk.request(body(user("one"), assistant(*kept, text("a")), user("two"))).sent()
        assert sent["messages"][1]["content"] == [*(thinking("", name) for name in lost), text("a")]


def test_what_another_model_signed_does_not_come_back() -> None:
    desk = Desk(model=OLD)
    desk.request(body(user("one"))).accept(thinking("A"), text("a"))
    asked = body(user("one"), assistant({"type": "thinking", "thinking": "A"}, text("a")), user("two"))
    assert Desk(model=NEW, store=desk.store).request(asked).sent() == asked
    assert Desk(model=f"{OLD}-20250929", store=desk.store).request(asked).sent() != asked


def test_a_rejected_signature_is_deleted_and_never_put_back() -> None:
    desk = Desk()
    desk.request(body(user("one"))).accept(thinking("A"), text("a"))
    request = desk.request(body(user("one"), assistant(thinking("A"), text("a")), user("two")))
    assert request.refuse(refused(SignatureFault.BLOCK, 1, 0))
    assert request.names == ["strip"]
    bare = body(user("one"), assistant({"type": "thinking", "thinking": "A"}, text("a")), user("other"))
    assert desk.request(bare).sent() == bare


def test_the_latest_message_is_put_back_as_it_was() -> None:
    desk = Desk()
    whole = (thinking("A"), thinking("B"), text("a"), call(1))
    desk.request(body(user("one"))).accept(*whole)
    for broken in (whole[1:], (whole[1], whole[0], *whole[2:]), whole[2:]):
        request = desk.request(body(user("one"), assistant(*broken), user(result(1))))
        assert request.refuse(refused(SignatureFault.LATEST, 1, 0))
        assert request.names == ["restore"]
        assert request.sent() == body(user("one"), assistant(*whole), user(result(1)))


def test_an_unknown_latest_message_loses_its_thinking_and_only_if_that_is_not_enough_the_others_do() -> None:
    request = Desk().request(body(*TWO_TURNS, user("three")))
    assert request.refuse(refused(SignatureFault.LATEST, 3, 0))
    assert (request.names, kinds(request.sent())) == (["strip_latest"], [["thinking", "text"], ["text"]])
    assert request.refuse(refused(SignatureFault.LATEST, 1, 0))
    assert (request.names[1:], kinds(request.sent())) == (["strip"], [["text"], ["text"]])


def test_an_open_round_that_lost_its_thinking_gets_it_back() -> None:
    desk = Desk(model=OLD)
    desk.request(body(user("one"), thinks="enabled")).accept(thinking("A"), call(1))
    request = desk.request(body(user("one"), assistant(call(1)), user(result(1)), thinks="enabled"))
    assert request.refuse(refused(SignatureFault.UNOPENED, 1, 0))
    assert request.names == ["restore"]
    assert kinds(request.sent()) == [["thinking", "tool_use"]]


def test_thinking_is_off_for_an_open_round_that_can_not_be_put_right_and_on_again_after_it() -> None:
    desk = Desk(model=OLD)
    round_ = (user("one"), assistant(call(1)), user(result(1)))
    request = desk.request(body(*round_, thinks="enabled"))
    assert request.refuse(refused(SignatureFault.UNOPENED, 1, 0))
    assert request.accept(call(2)) == {**body(*round_), "thinking": {"type": "disabled"}}
    goes_on = (*round_, assistant(call(2)), user(result(2)))
    assert desk.request(body(*goes_on, thinks="enabled")).sent()["thinking"] == {"type": "disabled"}
    over = body(*goes_on, assistant(text("done")), user("next"), thinks="enabled")
    assert desk.request(over).sent() == over


@pytest.mark.parametrize("style", ["strip", "text"])
def test_an_open_round_stripped_of_thinking_is_not_asked_to_begin_with_it(style: str) -> None:
    asked = body(user("one"), assistant(thinking("A"), call(1)), user(result(1)), thinks="enabled")
    request = Desk(model=OLD, style=style).request(asked)
    assert request.refuse(refused(SignatureFault.BLOCK, 1, 0))
    assert request.sent()["thinking"] == {"type": "disabled"}
    assert "thinking" not in kinds(request.sent())[0]


def test_thinking_that_ends_a_message_is_dropped_and_nothing_else() -> None:
    asked = body(user("one"), assistant(thinking("A"), text("a"), thinking("B"), thinking("C")), user("two"))
    request = Desk().request(asked)
    assert request.refuse(refused(SignatureFault.FINAL, 1))
    assert request.names == ["drop_last"]
    assert request.sent() == body(user("one"), assistant(thinking("A"), text("a")), user("two"))


def test_thinking_is_stripped_where_it_is_not_wanted() -> None:
    asked = body(user("one"), assistant(thinking("A"), call(1)), user(result(1)), thinks="disabled")
    request = Desk().request(asked)
    assert request.refuse(refused(SignatureFault.UNWANTED))
    assert (request.names, kinds(request.sent())) == (["strip"], [["tool_use"]])


def test_each_repair_is_made_once_and_there_are_three_at_most() -> None:
    desk = Desk(model=OLD)
    desk.request(body(user("one"))).accept(thinking("A"), text("a"))
    request = desk.request(body(user("one"), assistant(thinking("Edited", "A"), text("a")), user("two")))
    failure = refused(SignatureFault.BLOCK, 1, 0)
    assert [request.refuse(failure) for _ in range(5)] == [True, True, True, False, False]
    assert request.names == ["restore", "text", "strip"]
    assert request.repairs.count == 3


def test_two_faults_one_after_the_other_are_both_repaired() -> None:
    asked = body(*TWO_TURNS[:3], assistant(thinking("B"), text("b"), thinking("C")), user("three"))
    request = Desk().request(asked)
    assert request.refuse(refused(SignatureFault.FINAL, 3))
    assert request.refuse(refused(SignatureFault.PREFIX, 1, 0))
    assert request.names == ["drop_last", "drop_block"]
    assert kinds(request.sent()) == [["thinking", "text"], ["thinking", "text"]]
    assert request.sent()["thinking"]["block_binding"] == DROP


def test_other_refusals_are_none_of_its_business() -> None:
    request = Desk().request(body(*TWO_TURNS, user("three")))
    assert not request.refuse(other_refusal())
    assert not request.refuse(other_refusal("block_binding: Extra inputs are not permitted"), b"block_binding: extra")


@pytest.mark.parametrize(
    "odd",
    [
        None, [], "text", 5, {}, {"messages": None}, {"messages": [None, 5, "x", {}]},
        {"messages": [{"role": "assistant"}]},
        {"messages": [{"role": "assistant", "content": [None, 5]}, {"role": "user", "content": 7}]},
        {"messages": [{"role": "assistant", "content": [{"type": "thinking"}]}], "thinking": "x"},
        {"messages": [{"role": "assistant", "content": [{"type": "thinking", "thinking": 5, "signature": {}}]}]},
        {"messages": [{"role": "assistant", "content": [{"type": "redacted_thinking", "data": None}]}], "thinking": []},
    ],
)  # fmt: skip
@pytest.mark.parametrize("fault", list(SignatureFault))
def test_odd_bodies_do_no_harm(odd: Any, fault: SignatureFault) -> None:
    request = Desk().request(odd)
    assert json.loads(request.prepared().body) == odd
    while request.refuse(refused(fault, 0, 0)):
        request.sent()
    request.accept({"type": "thinking"}, {"type": "thinking", "thinking": None, "signature": "x" * 60})


def system(said: str) -> dict[str, Any]:
    return {"role": "system", "content": said}


def test_system_messages_in_between_are_no_turns() -> None:
    desk = Desk(model=OLD)
    asked = (user("one"), system("Agents: none."))
    desk.request(body(*asked, thinks="enabled")).accept(thinking("A"), call(1))
    lost = assistant({"type": "thinking", "thinking": "A"}, call(1))
    request = desk.request(body(*asked, lost, user(result(1)), system("Hurry."), thinks="enabled"))
    assert request.sent()["messages"][2] == assistant(thinking("A"), call(1))
    unknown = body(*asked, assistant(call(2)), user(result(2)), system("Hurry."), thinks="enabled")
    request = desk.request(unknown)
    assert request.refuse(refused(SignatureFault.UNOPENED, 2, 0))
    assert request.sent() == {**unknown, "thinking": {"type": "disabled"}}


@pytest.mark.parametrize("more", [[], [{"type": "clear_tool_uses_20250919"}]])
def test_what_clears_thinking_goes_while_thinking_is_off(more: list[dict[str, Any]]) -> None:
    asked = body(user("one"), assistant(call(1)), user(result(1)), thinks="enabled")
    asked["context_management"] = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}, *more]}
    request = Desk(model=OLD).request(asked)
    assert request.refuse(refused(SignatureFault.UNOPENED, 1, 0))
    assert request.sent().get("context_management") == ({"edits": more} if more else None)
