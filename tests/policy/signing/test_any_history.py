"""Any conversation, any mishap: what the repairs make of it is accepted, is the same again in the next turn, and
differs from what the client sent in nothing but what may differ."""

import json
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any

from antigravity_healing.policy.judging.failures import FailureClass, classify
from antigravity_healing.policy.signing.repairs import MAX_REPAIRS, REPAIRERS
from antigravity_healing.wire.anthropic.history import EMPTY_TURN
from antigravity_healing.wire.errors.parsing import parse_error
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from tests.policy.signing.desk import NOW, Desk, Request, account
from tests.support.examples import examples
from tests.upstream import Talking
from tests.upstream.histories import reply_to

type Body = dict[str, Any]
THINKING = ("thinking", "redacted_thinking")
SIGNATURES = ("thoughtSignature", "thought_signature")
NOTE = {"type": "text", "text": "(a note)"}
steady = settings(deadline=None, derandomize=True, max_examples=examples(120))
turns = st.lists(
    st.tuples(st.integers(0, 2), st.integers(1, 2), st.sampled_from(["", "[silent]", "[redacted]"])),
    min_size=1,
    max_size=4,
)


@dataclass
class Api:
    """The API that checks signatures, asked without a server. key: who asks."""

    dialect: str
    model: str
    key: str = "a key that nobody else has"
    talking: Talking = field(default_factory=Talking)

    def ask(self, body: bytes, betas: tuple[str, ...] = ()) -> tuple[int, bytes]:
        """Status and body of the answer."""
        path = "/v1/messages" if self.dialect == "anthropic" else f"/v1beta/models/{self.model}:generateContent"
        reply = reply_to(self.talking, path, body, key=self.key, beta=",".join(betas))
        return reply.status, reply.whole


@dataclass
class Conversation:
    """A client that goes through the repairs, and keeps what it likes of the answers."""

    desk: Desk
    api: Api
    body: Body
    refusals: int = 0

    @property
    def history(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = self.body["messages" if self.desk.dialect == "anthropic" else "contents"]
        return found

    def say(self, text: str) -> None:
        said = {"content": text} if self.desk.dialect == "anthropic" else {"parts": [{"text": text}]}
        self.history.append({"role": "user", **said})

    def ask(self) -> tuple[Body, int]:
        """Ask until it is accepted; gives what was sent at last, and how often it was refused."""
        request = self.desk.request(self.body)
        for refused in range(MAX_REPAIRS + 1):
            prepared = request.prepared()
            sent: Body = json.loads(prepared.body)
            check_nothing_else_changed(self.desk.dialect, self.body, sent)
            status, answer = self.api.ask(prepared.body, prepared.betas)
            if status == 200:
                self._accept(request, answer)
                self.refusals += refused
                return sent, refused
            failure = classify(status, (), parse_error(answer), grace_s=2.0, wall_s=NOW)
            assert failure.kind in (FailureClass.SIGNATURE, FailureClass.CALLER), failure
            assert request.refuse(failure, answer), (failure, request.names, sent)
            check_idempotent(request)
        raise AssertionError("too many repairs")

    def go_on(self) -> None:
        """Do what tools are asked for until the answer is whole."""
        while True:
            self.ask()
            if not self.answer_calls():
                return

    def answer_calls(self) -> bool:
        """Whether the last answer called tools; their results are in the history now."""
        last = self.history[-1]
        if self.desk.dialect == "anthropic":
            calls = [block["id"] for block in last["content"] if block["type"] == "tool_use"]
            results = [{"type": "tool_result", "tool_use_id": call, "content": "seen"} for call in calls]
            self.history.extend([{"role": "user", "content": results}] if calls else [])
        else:
            calls = [part["functionCall"]["name"] for part in last["parts"] if "functionCall" in part]
            results = [{"functionResponse": {"name": name, "response": {"output": "seen"}}} for name in calls]
            self.history.extend([{"role": "user", "parts": results}] if calls else [])
        return bool(calls)

    def _accept(self, request: Request, answer: bytes) -> None:
        value = json.loads(answer)
        if self.desk.dialect == "anthropic":
            content = value["content"]
            self.history.append({"role": "assistant", "content": content})
        else:
            content = value["candidates"][0]["content"]["parts"]
            self.history.append({"role": "model", "parts": content})
        request.accept(*deepcopy(content))


def check_idempotent(request: Request) -> None:
    """Applied to what it gave, each change changes nothing more."""
    prepared = request.prepared()
    view = request.repairs._view(account(dialect=request.dialect), NOW)
    body = request.repairs._body(view)
    assert json.loads(prepared.body) == body
    for tried in request.repairs._changes:
        assert tried.change.apply(body, view) == body, tried.name
        assert REPAIRERS[request.dialect].load(json.loads(json.dumps(tried.change.dump()))) == tried.change


def check_nothing_else_changed(dialect: str, before: Body, after: Body) -> None:
    """Beside thinking, signatures, the note and the thinking setting all is as the client sent it."""
    names = {"messages", "thinking", "context_management"} if dialect == "anthropic" else {"contents"}
    assert {k: v for k, v in before.items() if k not in names} == {k: v for k, v in after.items() if k not in names}
    if dialect == "gemini":
        assert [bare(content) for content in before["contents"]] == [bare(content) for content in after["contents"]]
        return
    off = after.get("thinking") != before.get("thinking") and after["thinking"]["type"] == "disabled"
    assert after.get("context_management") == (None if off else before.get("context_management"))
    assert len(before["messages"]) == len(after["messages"])
    for old, new in zip(before["messages"], after["messages"], strict=True):
        assert old["role"] == new["role"]
        thoughts = [block["thinking"].strip() for block in blocks(old) if block.get("thinking")]
        kept = [block for block in blocks(old) if block["type"] not in THINKING]
        left = [block for block in blocks(new) if block["type"] not in THINKING]
        for block in kept:
            left.remove(block)
        assert all(each in (NOTE, EMPTY_TURN) or each["text"] in thoughts for each in left), left
        assert NOTE not in left or new["role"] == "user"
        assert [b for b in blocks(new) if b in kept] == kept or not kept, "the order has changed"


def blocks(message: dict[str, Any]) -> list[dict[str, Any]]:
    content = message["content"]
    return [{"type": "text", "text": content}] if isinstance(content, str) else content


def bare(content: dict[str, Any]) -> dict[str, Any]:
    parts = [{name: value for name, value in part.items() if name not in SIGNATURES} for part in content["parts"]]
    return {**content, "parts": [part for part in parts if part != {"text": ""}]}


# What can go wrong with a history. Each takes a number to choose by, and gives whether there was anything to spoil.


def lose_signature(history: list[dict[str, Any]], which: int) -> bool:
    found = [p for m in history for p in pieces(m) if p.keys() & {"signature", *SIGNATURES}]
    for piece in found[which % len(found) :] if found else ():
        for name in ("signature", *SIGNATURES):
            piece.pop(name, None)
    return bool(found)


def garble_signature(history: list[dict[str, Any]], which: int) -> bool:
    names = ("signature", "data", *SIGNATURES)
    found = [(p, name) for m in history for p in pieces(m) for name in names if name in p and p.get("type") != "text"]
    if found:
        piece, name = found[which % len(found)]
        piece[name] = "Z2FyYmFnZSBvZiB0aGUgcmlnaHQgbGVuZ3RoIGJ1dCBub3RoaW5nIGVsc2U=" * 2
    return bool(found)


def edit_thought(history: list[dict[str, Any]], which: int) -> bool:
    found = [p for m in history for p in pieces(m) if p.get("thinking") or ("functionCall" in p and SIGNATURES[0] in p)]
    if found:
        piece = found[which % len(found)]
        if "thinking" in piece:
            piece["thinking"] += " (shortened)"
        else:
            piece["functionCall"] = {**piece["functionCall"], "args": {"at": -7}}
    return bool(found)


def drop_thinking_of_latest(history: list[dict[str, Any]], which: int) -> bool:
    answers = [m for m in history if m["role"] == "assistant"]
    if not answers or not any(p["type"] in THINKING for p in pieces(answers[-1])):
        return False
    thinking = [p for p in pieces(answers[-1]) if p["type"] in THINKING]
    answers[-1]["content"] = [p for p in pieces(answers[-1]) if p is not thinking[which % len(thinking)]]
    return True


def edit_message(history: list[dict[str, Any]], which: int) -> bool:
    said = [m for m in history if m["role"] == "user" and "[" in str(m.get("content") or m["parts"])]
    message = said[which % len(said)]
    if "content" in message and isinstance(message["content"], str):
        message["content"] = "Edited. " + message["content"]
    return True


def end_in_thinking(history: list[dict[str, Any]], which: int) -> bool:
    answers = [m for m in history if m["role"] == "assistant" and pieces(m)[0]["type"] == "thinking"]
    if answers:
        message = answers[which % len(answers)]
        message["content"] = [*pieces(message), deepcopy(pieces(message)[0])]
    return bool(answers)


def swap_model(history: list[dict[str, Any]], which: int) -> bool:
    return True


def pieces(message: dict[str, Any]) -> list[dict[str, Any]]:
    found = message.get("parts", message.get("content"))
    return found if isinstance(found, list) else []


MISHAPS = [
    lose_signature, garble_signature, edit_thought, drop_thinking_of_latest, edit_message, end_in_thinking, swap_model
]  # fmt: skip
OF_GEMINI = [lose_signature, garble_signature, edit_thought, swap_model]
mishaps = st.lists(st.tuples(st.sampled_from(MISHAPS), st.integers(0, 20)), min_size=1, max_size=2)


def started(dialect: str, model: str, plan: list[tuple[int, int, str]], style: str, thinks: str | None) -> Conversation:
    """A conversation in good health, in the middle of its last turn if that has tools."""
    body: Body = {"messages" if dialect == "anthropic" else "contents": []}
    tools = [{"name": "look", "description": "Looks.", "input_schema": {"type": "object"}}]
    if dialect == "anthropic":
        setting = {"thinking": {"type": thinks}} if thinks else {}
        body = {"model": model, "max_tokens": 100, "system": "Be brief.", "tools": tools, **setting, **body}
        if thinks:
            body["context_management"] = {"edits": [{"type": "clear_thinking_20251015", "keep": "all"}]}
    else:
        body = {"tools": [{"functionDeclarations": tools}], **body}
    talk = Conversation(Desk(dialect, model, style), Api(dialect, model), body)
    for number, (steps, parallel, mark) in enumerate(plan):
        talk.say(f"Turn {number}. [steps:{steps}][parallel:{parallel}]{mark}")
        if number < len(plan) - 1:
            talk.go_on()
    talk.ask()
    if not talk.answer_calls():
        talk.say("And then? [steps:1]")
    assert talk.refusals == 0
    return talk


def check_healing(talk: Conversation, *, most: int) -> None:
    """It is accepted, and every later request has the same repairs and passes at once."""
    length = len(talk.history)
    sent, refused = talk.ask()
    assert refused <= most
    key = "messages" if talk.desk.dialect == "anthropic" else "contents"
    for number in range(3):
        if not talk.answer_calls():
            talk.say(f"More, {number}. [steps:1]")
        again, refused = talk.ask()
        assert refused == 0
        same_round = again.get("thinking") == sent.get("thinking")
        assert again[key][:length] == sent[key] or not same_round, "the repair is not the same again"


@steady
@given(
    turns,
    st.sampled_from([("claude-sonnet-4-5", "enabled"), ("claude-opus-4-6", "adaptive"), ("claude-opus-5-5", "adaptive"),
                     ("claude-opus-5-5", None), ("claude-fable-5-2", "adaptive")]),
    st.sampled_from(["auto", "strip"]),
    mishaps,
    st.sampled_from(["kept", "wiped"]),
)  # fmt: skip
def test_any_anthropic_history_is_healed_once_and_for_all(
    plan: list[tuple[int, int, str]],
    model: tuple[str, str | None],
    style: str,
    broken: list[tuple[Any, int]],
    store: str,
) -> None:
    talk = started("anthropic", model[0], plan, style, model[1])
    spoil(talk, broken, store)
    check_healing(talk, most=1 + len(broken))


@steady
@given(
    turns,
    st.sampled_from(["gemini-3-pro-preview", "gemini-2.5-pro", "gemini-4"]),
    st.lists(st.tuples(st.sampled_from(OF_GEMINI), st.integers(0, 20)), min_size=1, max_size=2),
    st.sampled_from(["kept", "wiped"]),
)
def test_any_gemini_history_is_healed_once_and_for_all(
    plan: list[tuple[int, int, str]], model: str, broken: list[tuple[Any, int]], store: str
) -> None:
    talk = started("gemini", model, plan, "auto", None)
    spoil(talk, broken, store)
    check_healing(talk, most=len(broken))


def spoil(talk: Conversation, broken: list[tuple[Any, int]], store: str) -> None:
    """What happens to the conversation between two requests."""
    if store == "wiped":
        talk.desk.store = Desk().store
    for mishap, which in broken:
        assume(mishap(talk.history, which))
        if mishap is swap_model:
            other = {"claude-sonnet-4-5": "claude-sonnet-4-6", "claude-opus-5-5": "claude-sonnet-5-5"}
            talk.desk.model = other.get(talk.desk.model, talk.desk.model + "-other")
            talk.api.model = talk.desk.model
            if talk.desk.dialect == "anthropic":
                talk.body["model"] = talk.desk.model
