"""Thinking that fits, against the faulty upstream's own check of what stands before each block."""

from copy import deepcopy
from typing import Any

import pytest
from antigravity_healing.wire.anthropic.prefix import Bond, bond_of_answer, with_thinking_that_fits
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import examples
from tests.upstream.judging_anthropic import Accepted, AnthropicJudge, RefusedError, block_key, signed_by
from tests.upstream.minting import Claims, Signer, family_of, key_of

type Body = dict[str, Any]

MODEL, KEY = "claude-opus-5-5", "a key"
WORDS = st.sampled_from(["Done.", "OK", "hi"])


class Talk:
    """A conversation with an upstream that signs what it thinks, and what was noted of each of its turns."""

    def __init__(self) -> None:
        self.body: Body = {"model": MODEL, "system": "Be brief.", "messages": []}
        self.bonds: dict[str, Bond] = {}
        self._signer = Signer()
        self._judge = AnthropicJudge(self._signer)

    def accepted(self, body: Body) -> Accepted:
        """What upstream makes of a request. Raises RefusedError."""
        return self._judge.judge({}, body, KEY)

    def turn(self, asks: str, says: str, thinks: list[str], lost: frozenset[int] = frozenset()) -> None:
        """One more turn. lost: of which messages no thinking is known just now."""
        self.body["messages"].append({"role": "user", "content": asks})
        sent = with_thinking_that_fits(bare(self.body, lost), self.made)
        accepted = self.accepted(sent)
        blocks: list[Body] = []
        turn, chain = self._signer.new_turn(), accepted.chain
        for number, thought in enumerate(thinks):
            block = {"type": "thinking", "thinking": thought}
            claims = Claims(
                "anthropic", key_of(family_of(MODEL)), key_of(KEY), signed_by(block), accepted.prefix, chain, turn,
                number, len(thinks),
            )  # fmt: skip
            blocks.append({**block, "signature": self._signer.mint(claims)})
            chain = (*chain, block_key(blocks[-1]))
        bond = bond_of_answer(sent)
        self.bonds |= {block["signature"]: bond for block in blocks}
        self.body["messages"].append({"role": "assistant", "content": [*blocks, {"type": "text", "text": says}]})

    def made(self, content: list[Body]) -> Bond | None:
        return next((self.bonds[block["signature"]] for block in content if "signature" in block), None)


def bare(body: Body, lost: frozenset[int]) -> Body:
    """The body without the thinking of these messages."""
    messages = [
        {**each, "content": each["content"][-1:]} if at in lost and each["role"] == "assistant" else each
        for at, each in enumerate(body["messages"])
    ]
    return {**body, "messages": messages}


@st.composite
def talks(draw: st.DrawFn, *, losing: bool = False) -> Talk:
    talk = Talk()
    for number in range(draw(st.integers(1, 5))):
        lost = draw(st.frozensets(st.integers(0, 2 * number))) if losing else frozenset[int]()
        talk.turn(draw(WORDS), draw(WORDS), draw(st.lists(WORDS, max_size=2)), lost)
    return talk


def asked(talk: Talk) -> Body:
    body = deepcopy(talk.body)
    body["messages"].append({"role": "user", "content": "Go on."})
    return body


def thinking_in(body: Body) -> list[list[str]]:
    return [
        [block["signature"] for block in message["content"] if "signature" in block]
        for message in body["messages"]
        if message["role"] == "assistant"
    ]


@given(talks())
@settings(deadline=None, derandomize=True, max_examples=examples(150))
def test_where_nothing_was_changed_nothing_is_taken_out(talk: Talk) -> None:
    body = asked(talk)
    assert with_thinking_that_fits(body, talk.made) is body


@given(talks(losing=True), st.data())
@settings(deadline=None, derandomize=True, max_examples=examples(400))
def test_whatever_was_edited_or_lost_what_is_left_is_accepted(talk: Talk, data: st.DataObject) -> None:
    body = asked(talk)
    for _ in range(data.draw(st.integers(0, 3))):
        _change(body, data)
    before = deepcopy(body)
    sent = with_thinking_that_fits(body, talk.made)
    assert body == before
    talk.accepted(sent)
    for kept, was in zip(thinking_in(sent), thinking_in(body), strict=True):
        assert kept in (was, [])


def _change(body: Body, data: st.DataObject) -> None:
    """One thing that a client does, or that was evicted, so that a turn has lost all of its thinking."""
    messages = body["messages"]
    kinds = ["system", "words", "evicted", "cut", "thought twice"]
    kind = data.draw(st.sampled_from(kinds))
    message = messages[data.draw(st.integers(0, len(messages) - 1))]
    if kind == "system":
        body["system"] = data.draw(WORDS)
    elif kind == "cut" and len(messages) > 2:
        at = 2 * data.draw(st.integers(0, (len(messages) - 1) // 2 - 1))
        del messages[at : at + 2]
    elif message["role"] == "user":
        message["content"] = data.draw(WORDS)
    elif kind == "words":
        message["content"][-1] = {"type": "text", "text": data.draw(WORDS)}
    else:
        message["content"] = message["content"][-1:]


@given(talks(), st.data())
@settings(deadline=None, derandomize=True, max_examples=examples(150))
def test_newer_thinking_stays_where_only_older_is_gone(talk: Talk, data: st.DataObject) -> None:
    body = asked(talk)
    turns = [message for message in body["messages"] if message["role"] == "assistant"]
    gone = data.draw(st.integers(0, len(turns)))
    for message in turns[:gone]:
        message["content"] = message["content"][-1:]
    talk.accepted(body)
    assert thinking_in(body)[gone:] == thinking_in(talk.body)[gone:]
    sent = with_thinking_that_fits(body, talk.made)
    talk.accepted(sent)
    last = thinking_in(sent)[-1:]
    assert last == thinking_in(body)[-1:], "the newest stands behind its own words"


def test_the_upstream_of_these_tests_refuses_what_does_not_fit() -> None:
    talk = Talk()
    for _ in range(3):
        talk.turn("hi", "Done.", ["Hm."])
    body = asked(talk)
    body["messages"][3]["content"] = body["messages"][3]["content"][-1:]
    with pytest.raises(RefusedError) as refused:
        talk.accepted(body)
    assert refused.value.mismatch, "thinking that is gone from in between"
    assert [*map(len, thinking_in(with_thinking_that_fits(body, talk.made)))] == [0, 0, 1]
