"""The repairs of Anthropic conversations: what each changes, and which answers which refusal."""

from collections.abc import Iterable

from pydantic import BaseModel, ConfigDict, Field

from healing.policy.model_names import has_prefix_check
from healing.policy.repair import anthropic_signed
from healing.policy.repair.anthropic_signed import found_turn, other_signature
from healing.policy.repair.rules import REMOVED, Case, Change, Rule
from healing.wire import anthropic_history as history
from healing.wire.anthropic_history import Block, Body, Layout, Turn
from healing.wire.refusals import SignatureFault


class Note(BaseModel):
    """A note at the end of a user message. at: the message's place; message: its key without the note."""

    model_config = ConfigDict(frozen=True)

    at: int
    message: str
    text: str


class AnthropicChange(Change):
    """A repair of a Messages conversation.

    anchors: keys of thinking blocks, and ids of calls.
    gone, texts: keys of the thinking blocks that are taken out, or become text.
    tails: keys of those that are taken out where a turn ends in them.
    restored: by a turn's anchor, its blocks as they were.
    note: what is told the model about it.
    binding: whether upstream is asked to drop mismatched blocks by itself.
    unthinking: the key of the open tool round in which thinking is off.
    """

    gone: frozenset[str] = frozenset()
    texts: frozenset[str] = frozenset()
    tails: frozenset[str] = frozenset()
    restored: dict[str, Layout] = Field(default_factory=dict)
    note: Note | None = None
    binding: bool = False
    unthinking: str | None = None

    def apply(self, body: Body) -> Body:
        """The body with this change; applied again it changes nothing more."""
        body = history.with_content(body, lambda _, content: self._content(content))
        note = self.note
        if note is not None:
            messages = history.messages_of(body)
            if note.at < len(messages) and history.message_key(messages[note.at]) == note.message:
                body = history.with_note(body, note.at, note.text)
        if self.unthinking is not None:
            body = self._with_thinking_off(body)
        return self._with_binding(body) if self.binding else body

    def _content(self, content: list[Block]) -> list[Block]:
        for anchor in history.turn_anchors(content) if self.restored else ():
            if layout := self.restored.get(anchor):
                content = history.laid_out(content, layout)
                break
        kept = list(content)
        while kept and history.is_thinking(kept[-1]) and history.block_key(kept[-1]) in self.tails:
            kept.pop()
        if self.gone or self.texts:
            kept = [new for block in kept if (new := self._kept(block)) is not None]
        return kept if kept != content else content

    def _kept(self, block: Block) -> Block | None:
        if not history.is_thinking(block):
            return block
        key = history.block_key(block)
        if key in self.gone:
            return None
        if key in self.texts:
            text = str(block.get("thinking") or "").strip()
            return {"type": "text", "text": text} if text else None
        return block

    def _with_thinking_off(self, body: Body) -> Body:
        now = history.open_round(body)
        if now is None or now.key != self.unthinking or history.thinking_type(body) != "enabled":
            return body

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
    keys = _keys(turns)
    return AnthropicChange(anchors=keys, gone=keys, unthinking=_round_without_thinking(case)) if keys else None


def _text(case: Case, turns: Iterable[Turn]) -> AnthropicChange | None:
    """Make the thinking of these turns text, and tell the model so."""
    style = case.settings.style
    suits = style == "text" or (style == "auto" and has_prefix_check(case.origin.model) is False)
    keys = _keys(turns)
    if not suits or not keys:
        return None
    return AnthropicChange(anchors=keys, texts=keys, note=_note(case), unthinking=_round_without_thinking(case))


def _round_without_thinking(case: Case) -> str | None:
    """The open round, which may not begin without thinking where thinking is `enabled`."""
    now = history.open_round(case.body)
    return now.key if now is not None and history.thinking_type(case.body) == "enabled" else None


def _keys(turns: Iterable[Turn]) -> frozenset[str]:
    """The keys of all thinking blocks of these turns."""
    return frozenset(history.block_key(block) for turn in turns for block in history.thinking_of(turn.content))


def _strip_all(case: Case) -> AnthropicChange | None:
    return _strip(case, history.turns_of(case.body))


def _text_all(case: Case) -> AnthropicChange | None:
    return _text(case, history.turns_of(case.body))


def _strip_latest(case: Case) -> AnthropicChange | None:
    return _text(case, _latest(case)) or _strip(case, _latest(case))


def _drop_block(case: Case) -> AnthropicChange | None:
    """Let upstream drop what does not match: the provider's own repair, and the only one that loses nothing more."""
    keys = _keys(history.turns_of(case.body))
    if not keys or not _may_bind(case.body):
        return None
    return AnthropicChange(anchors=keys, binding=True)


def _restore(case: Case) -> AnthropicChange | None:
    """Put back the blocks of the turns that are no longer as they were."""
    named = {turn.place for turn in _latest(case)}
    restored = {}
    anchors: set[str] = set()
    for turn in history.turns_of(case.body):
        if turn.place not in named and not history.thinking_of(turn.content):
            continue  # no thinking at all is no fault
        layout, keys = _as_it_was(case, turn), history.turn_anchors(turn.content)
        if keys and layout is not None and history.laid_out(turn.content, layout) != turn.content:
            restored[keys[0]] = layout
            anchors.update(keys)
            named.discard(turn.place)
    if not restored or named:
        return None
    return AnthropicChange(anchors=frozenset(anchors), restored=restored)


def _as_it_was(case: Case, turn: Turn) -> Layout | None:
    """A turn's signed blocks as the store knows them: all of the turn, else each by its text."""
    before = history.answered_by(case.body, turn.place)
    whole = found_turn(case.store, case.origin, before, turn.content, case.now)
    if whole is not None:
        return whole
    blocks = []
    for block in turn.content:
        signature = other_signature(case.store, case.origin, block, case.now)
        blocks.append({**block, "signature": signature} if signature else block)
    return history.layout_of(blocks)


def _thinking_off(case: Case) -> AnthropicChange | None:
    key = _round_without_thinking(case)
    return AnthropicChange(anchors=frozenset({key}), unthinking=key) if key else None


def _drop_last(case: Case) -> AnthropicChange | None:
    """Take out the thinking that a message ends in."""
    keys = set()
    for turn in history.turns_of(case.body):
        if case.position is None or turn.place == case.position.message:
            for block in reversed(turn.content):
                if not history.is_thinking(block):
                    break
                keys.add(history.block_key(block))
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


def _note(case: Case) -> Note | None:
    text = case.settings.note.strip()
    messages = history.messages_of(case.body)
    places = (at for at in range(len(messages) - 1, -1, -1) if messages[at].get("role") == "user")
    at = next(places, None)
    if not text or at is None or not isinstance(messages[at].get("content"), str | list):
        return None
    return Note(at=at, message=history.message_key(messages[at]), text=text)


_RESTORE = Rule("restore", _restore, "Retrying with the blocks put back as they were.")
# Where thinking as text is refused too, it goes.
_STRIP = (Rule("text", _text_all, REMOVED), Rule("strip", _strip_all, REMOVED))
RULES = {
    SignatureFault.PREFIX: (
        Rule("drop_block", _drop_block, "Retrying with upstream asked to drop the blocks that do not match."),
        *_STRIP,
    ),
    SignatureFault.BLOCK: (_RESTORE, *_STRIP),
    SignatureFault.LOST: (_RESTORE, *_STRIP),
    SignatureFault.LATEST: (
        _RESTORE,
        Rule("strip_latest", _strip_latest, f"{REMOVED} (Those of the latest message.)"),
        *_STRIP,
    ),
    SignatureFault.UNOPENED: (
        _RESTORE,
        Rule("thinking_off", _thinking_off, "Retrying with thinking off for the open tool round."),
    ),
    SignatureFault.UNWANTED: _STRIP,
    SignatureFault.FINAL: (
        Rule("drop_last", _drop_last, "Retrying without the thinking that the message ends in."),
        *_STRIP,
    ),
}


class AnthropicRepairer:
    """The Messages API's signatures."""

    rules = RULES

    load = AnthropicChange.load
    restore_lost = staticmethod(anthropic_signed.restore_lost)
    capture = staticmethod(anthropic_signed.capture)
    forget = staticmethod(anthropic_signed.forget)

    def anchors(self, body: Body) -> frozenset[str]:
        """What identifies the pieces of a history."""
        return frozenset(history.anchors_of(body))

    def may_end_unsigned(self, body: Body, model: str) -> bool:
        """Never: this API refuses with a status."""
        return False

    def betas(self, body: Body) -> tuple[str, ...]:
        """The values of `anthropic-beta` that the body needs."""
        thinking = body.get("thinking")
        binds = isinstance(thinking, dict) and thinking.get("block_binding") == history.DROP_BLOCK
        return (history.BINDING_BETA,) if binds else ()
