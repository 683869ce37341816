"""What identifies the pieces of an Anthropic conversation's history, for its repairs."""

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property

from antigravity_healing.policy.signing.anthropic_signed import Spots, is_healthy
from antigravity_healing.policy.signing.prefix_check import has_prefix_check
from antigravity_healing.policy.signing.rules import View
from antigravity_healing.wire.anthropic import history
from antigravity_healing.wire.anthropic.history import Block, Body, Round, Turn
from antigravity_healing.wire.json.value import digest
from antigravity_healing.wire.requests.places import is_unguessable


@dataclass(frozen=True)
class AnthropicView(View):
    """A Messages request, and what identifies the pieces of its history."""

    def key(self, block: Block) -> str | None:
        """What identifies a thinking block: its signature, or where it stands; None for one that another put there."""
        return history.block_key(block) or self._keys_of_unsigned.get(id(block))

    def keys(self, turns: Iterable[Turn]) -> frozenset[str]:
        """The keys of all thinking blocks of these turns."""
        blocks = (block for turn in turns for block in history.thinking_of(turn.content))
        return frozenset(key for block in blocks if (key := self.key(block)) is not None)

    def turn_keys(self, turn: Turn) -> list[str]:
        """What identifies a turn with its thinking as it is now: its calls, its signatures, where it stands."""
        blocks = history.thinking_of(turn.content)
        thinking = [key for block in blocks if (key := self.key(block)) is not None]
        side = self.known.places.at(turn.place)
        here = self.known.key(turn.place, "turn", side.said.exact if side else "")
        signed = ["signed"] if any(history.block_key(block) for block in blocks) else []
        return [digest(base, *thinking) for base in (*history.sure_ids(turn.content), *signed, here)]

    def round_key(self, now: Round) -> str:
        """What identifies an open tool round: the id of its first call, or where that stands."""
        return digest("round", now.call) if is_unguessable(now.call) else self.known.key(now.calls, "round")

    def message_key(self, place: int, message: Body) -> str:
        """What identifies a message: where it stands, and what it says."""
        return self.known.key(place, history.message_key(message))

    def suspects(self, body: Body, turns: Iterable[Turn]) -> frozenset[str]:
        """The keys of the thinking of these turns that is not known to be in order; of all of it if all is."""
        turns = list(turns)
        return frozenset(self.unsure(body, turns)) or self.keys(turns)

    def unsure(self, body: Body, turns: Iterable[Turn], *, anchors_only: bool = False) -> Iterator[str]:
        """The keys of the thinking of these turns that is not known to stand where it was made.

        anchors_only: of those that repairs are known for.
        """
        spots = Spots(body)
        for turn in turns:
            keys = {id(block): self.key(block) for block in history.thinking_of(turn.content)}
            wanted = {at: key for at, key in keys.items() if key and (not anchors_only or self._is_anchor(key))}
            side = self.known.places.at(turn.place)
            if not wanted or side is None:
                continue
            for block, spot in spots.among(side, turn.content):
                key = wanted.get(id(block))
                if key is not None and not is_healthy(self.known, side, block, spot):
                    yield key

    @property
    def as_text(self) -> bool:
        """Whether thinking that has to go may become text: where the model checks what it answers, that is refused."""
        style = self.settings.style
        return style == "text" or (style == "auto" and has_prefix_check(self.model) is False)

    def _is_anchor(self, key: str) -> bool:
        return self.known.store.is_anchor(key)

    @cached_property
    def _keys_of_unsigned(self) -> dict[int, str]:
        keys = {}
        for turn in history.turns_of(self.body):
            for number, block in enumerate(history.thinking_of(turn.content)):
                if history.block_key(block) is None:
                    text = str(block.get("thinking") or block.get("data") or "")
                    keys[id(block)] = self.known.key(turn.place, "unsigned", str(number), text)
        return keys
