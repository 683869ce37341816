"""The repairs of Anthropic conversations: what each changes, and which answers which refusal."""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

from antigravity_healing.policy.settings import schema
from antigravity_healing.policy.signing import anthropic_signed
from antigravity_healing.policy.signing.anthropic_signed import found_turn
from antigravity_healing.policy.signing.anthropic_view import AnthropicView
from antigravity_healing.policy.signing.by_place import Known
from antigravity_healing.policy.signing.rules import REMOVED, Change, RepairRule
from antigravity_healing.policy.signing.rules import Case as AnyCase
from antigravity_healing.wire.anthropic import history
from antigravity_healing.wire.anthropic.history import Block, Body, Layout, Turn
from antigravity_healing.wire.errors.signature_refusals import SignatureFault

type Case = AnyCase[AnthropicView]


class Note(BaseModel):
    """A note at the end of a user message. at: the message's place; message: its key without the note."""

    model_config = ConfigDict(frozen=True)

    at: int
    message: str
    text: str


class AnthropicChange(Change[AnthropicView]):
    """A repair of a Messages conversation.

    anchors: keys of thinking blocks, of turns and of tool rounds.
    gone, texts: keys of the thinking blocks that are taken out, or become text where the model takes that.
    tails: keys of those that are taken out where a turn ends in them.
    restored: by a turn's key, its blocks as they were.
    notes: what is told the model about it.
    binding: whether upstream is asked to drop mismatched blocks by itself.
    unthinking: keys of the open tool rounds in which thinking is off.
    """

    gone: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()
    tails: frozenset[str] = frozenset()
    restored: dict[str, Layout] = Field(default_factory=dict)
    notes: tuple[Note, ...] = ()
    binding: bool = False
    unthinking: frozenset[str] = frozenset()

    def apply(self, body: Body, view: AnthropicView) -> Body:
        """The body with this change; applied again it changes nothing more."""
        body = history.with_content(body, lambda place, content: self._content(Turn(place, content), view))
        messages = history.messages_of(body)
        for note in self.notes if view.as_text else ():
            if note.at < len(messages) and view.message_key(note.at, messages[note.at]) == note.message:
                body = history.with_note(body, note.at, note.text)
        if self.unthinking:
            body = self._with_thinking_off(body, view)
        return self._with_binding(body) if self.binding else body

    def _content(self, turn: Turn, view: AnthropicView) -> list[Block]:
        content = turn.content
        for key in view.turn_keys(turn) if self.restored else ():
            if layout := self.restored.get(key):
                laid_out = history.laid_out(content, layout)
                content = laid_out if laid_out != content else content
                break
        kept = list(content)
        while kept and history.is_thinking(kept[-1]) and view.key(kept[-1]) in self.tails:
            kept.pop()
        if self.gone or self.texts:
            kept = [new for block in kept if (new := self._kept(block, view)) is not None]
        return kept if kept != content else content

    def _kept(self, block: Block, view: AnthropicView) -> Block | None:
        if not history.is_thinking(block):
            return block
        key = view.key(block)
        if key in self.gone:
            return None
        if key in self.texts:
            text = str(block.get("thinking") or "").strip() if view.as_text else ""
            return {"type": "text", "text": text} if text else None
        return block

    def _with_thinking_off(self, body: Body, view: AnthropicView) -> Body:
        now = history.open_round(body)
        if now is None or view.round_key(now) not in self.unthinking or history.thinking_type(body) != "enabled":
            return body
        if any(turn.place == now.calls and history.is_thinking(turn.content[0]) for turn in history.turns_of(body)):
            return body  # it begins as it has to

        def outside_of_round(place: int, content: list[Block]) -> list[Block]:
            if place < now.start or not history.thinking_of(content):
                return content
            return history.without_thinking(content)

        return history.without_thinking_setting(history.with_content(body, outside_of_round))

    @staticmethod
    def _with_binding(body: Body) -> Body:
        if not _may_bind(body):
            return body
        setting = body.get("thinking") or {"type": "adaptive"}
        return {**body, "thinking": {**setting, "block_binding": history.DROP_BLOCK}}


def _strip(case: Case, turns: Iterable[Turn]) -> AnthropicChange | None:
    """Take all thinking out of these turns."""
    turns = list(turns)
    keys = case.view.keys(turns)
    if not keys:
        return None
    suspects = case.view.suspects(case.body, turns)
    return AnthropicChange(anchors=suspects, gone=keys, unthinking=_round_without_thinking(case))


def _text(case: Case, turns: Iterable[Turn]) -> AnthropicChange | None:
    """Make the thinking of these turns text, and tell the model so."""
    turns = list(turns)
    keys = case.view.keys(turns)
    if not case.view.as_text or not keys:
        return None
    suspects = case.view.suspects(case.body, turns)
    off = _round_without_thinking(case)
    return AnthropicChange(anchors=suspects, texts=keys, notes=_notes(case), unthinking=off)


def _round_without_thinking(case: Case) -> frozenset[str]:
    """The open round, which may not begin without thinking where thinking is `enabled`."""
    now = history.open_round(case.body)
    opened = now is not None and history.thinking_type(case.body) == "enabled"
    return frozenset((case.view.round_key(now),)) if now is not None and opened else frozenset()


def _strip_all(case: Case) -> AnthropicChange | None:
    return _strip(case, history.turns_of(case.body))


def _text_all(case: Case) -> AnthropicChange | None:
    return _text(case, history.turns_of(case.body))


def _strip_latest(case: Case) -> AnthropicChange | None:
    return _text(case, _latest(case)) or _strip(case, _latest(case))


def _drop_block(case: Case) -> AnthropicChange | None:
    """Let upstream drop what does not match: the provider's own repair, and the only one that loses nothing more."""
    turns = list(history.turns_of(case.body))
    if not case.view.keys(turns) or not _may_bind(case.body):
        return None
    return AnthropicChange(anchors=case.view.suspects(case.body, turns), binding=True)


def _restore(case: Case) -> AnthropicChange | None:
    """Put back the blocks of the turns that are no longer as they were."""
    named = {turn.place for turn in _latest(case)}
    restored = {}
    anchors: set[str] = set()
    for turn in history.turns_of(case.body):
        if turn.place not in named and not history.thinking_of(turn.content):
            continue  # no thinking at all is no fault
        layout, keys = found_turn(case.view.known, turn), case.view.turn_keys(turn)
        if layout is not None and history.laid_out(turn.content, layout) != turn.content:
            restored[keys[0]] = layout
            anchors.update(keys)
            named.discard(turn.place)
    if not restored or named:
        return None
    return AnthropicChange(anchors=frozenset(anchors), restored=restored)


def _thinking_off(case: Case) -> AnthropicChange | None:
    keys = _round_without_thinking(case)
    return AnthropicChange(anchors=keys, unthinking=keys) if keys else None


def _drop_last(case: Case) -> AnthropicChange | None:
    """Take out the thinking that a message ends in."""
    keys = set()
    for turn in history.turns_of(case.body):
        if case.position is None or turn.place == case.position.message:
            for block in reversed(turn.content):
                if not history.is_thinking(block) or (key := case.view.key(block)) is None:
                    break
                keys.add(key)
    return AnthropicChange(anchors=frozenset(keys), tails=frozenset(keys)) if keys else None


def _latest(case: Case) -> list[Turn]:
    """The turn that upstream named, else the latest one."""
    turns = list(history.turns_of(case.body))
    named = [turn for turn in turns if case.position is not None and turn.place == case.position.message]
    return named or turns[-1:]


def _may_bind(body: Body) -> bool:
    thinking = body.get("thinking")
    if thinking is None:
        return True
    return (
        isinstance(thinking, dict)
        and thinking.get("type") in ("adaptive", "enabled")
        and thinking.get("block_binding") in (None, history.DROP_BLOCK)
    )


def _notes(case: Case) -> tuple[Note, ...]:
    text = case.view.settings.note.strip()
    messages = history.messages_of(case.body)
    places = (at for at in range(len(messages) - 1, -1, -1) if messages[at].get("role") == "user")
    at = next(places, None)
    if not text or at is None or not isinstance(messages[at].get("content"), str | list):
        return ()
    return (Note(at=at, message=case.view.message_key(at, messages[at]), text=text),)


_RESTORE = RepairRule("restore", _restore, "Retrying with the blocks put back as they were.")
# Where thinking as text is refused too, it goes.
_STRIP = (RepairRule("text", _text_all, REMOVED), RepairRule("strip", _strip_all, REMOVED))
RULES = {
    SignatureFault.PREFIX: (
        RepairRule("drop_block", _drop_block, "Retrying with upstream asked to drop the blocks that do not match."),
        *_STRIP,
    ),
    SignatureFault.BLOCK: (_RESTORE, *_STRIP),
    SignatureFault.LOST: (_RESTORE, *_STRIP),
    SignatureFault.LATEST: (
        _RESTORE,
        RepairRule("strip_latest", _strip_latest, f"{REMOVED} (Those of the latest message.)"),
        *_STRIP,
    ),
    SignatureFault.UNOPENED: (
        _RESTORE,
        RepairRule("thinking_off", _thinking_off, "Retrying with thinking off for the open tool round."),
    ),
    SignatureFault.UNWANTED: _STRIP,
    SignatureFault.FINAL: (
        RepairRule("drop_last", _drop_last, "Retrying without the thinking that the message ends in."),
        *_STRIP,
    ),
}


class AnthropicRepairer:
    """The Messages API's signatures."""

    rules = RULES

    load = AnthropicChange.load
    places = staticmethod(history.places_of)
    restore_lost = staticmethod(anthropic_signed.restore_lost)
    capture = staticmethod(anthropic_signed.capture)
    forget = staticmethod(anthropic_signed.forget)

    def view(self, body: Body, known: Known, settings: schema.Repair) -> AnthropicView:
        """A client's request as its repairs see it."""
        return AnthropicView(body, known, settings)

    def anchors(self, body: Body, view: AnthropicView) -> frozenset[str]:
        """The keys of those pieces of a history that repairs are known for, and that are not known to be in order."""
        turns = list(history.turns_of(body))
        keys = {key for turn in turns for key in view.turn_keys(turn)}
        keys.update(view.unsure(body, turns, anchors_only=True))
        if (now := history.open_round(body)) is not None:
            keys.add(view.round_key(now))
        return frozenset(keys)

    def betas(self, body: Body) -> tuple[str, ...]:
        """The values of `anthropic-beta` that the body needs."""
        thinking = body.get("thinking")
        binds = isinstance(thinking, dict) and thinking.get("block_binding") == history.DROP_BLOCK
        return (history.BINDING_BETA,) if binds else ()
