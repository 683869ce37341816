"""Upstream's own turns as they came, for a client that was given translations and can't give them back itself."""

from collections.abc import Iterable, Mapping
from typing import Any, Protocol

from antigravity_healing.policy.signing.by_place import TURN, Known
from antigravity_healing.wire.anthropic.prefix import Bond
from antigravity_healing.wire.json.value import dump
from antigravity_healing.wire.requests.places import Place, Spot

type Body = dict[str, Any]

LONGEST_TURN = 1024 * 1024
"""Bytes of the longest turn that is kept."""


class Speech(Protocol):
    """How a client's turns are read."""

    def said_by(self, content: list[Body], /) -> Place:
        """What these blocks or parts say."""

    def call_ids(self, content: list[Body], /) -> list[str]:
        """The ids of the calls among them."""


class TurnsGiven:
    """What the store knows of the turns of one conversation. It is a `History` of the client's request.

    given: by the identity of a turn's content, what was kept of it: for those that were asked for and are known.
    """

    def __init__(self, known: Known, speech: Speech) -> None:
        """known: with the places of the client's own request. speech: of its dialect."""
        self.given: dict[int, dict[str, Any]] = {}
        self._known = known
        self._speech = speech

    def turn(self, index: int, content: list[Body]) -> list[Body] | None:
        """Upstream's own turn, which the client was shown as this content, ending in the message with this index.

        It is known by where it stands, or by one of its calls; what the client has changed is not upstream's any more.
        """
        side = self._known.places.at(index)
        whole = side is not None and index == side.last and not side.parted
        said = side.said if side is not None and whole else self._speech.said_by(content)
        kept = self._known.find(side.place, said.with_(TURN)) if side is not None else None
        for call in () if kept is not None else self._speech.call_ids(content):
            kept = self._known.find_by_id(call, TURN)
            if kept is not None:
                break
        if not isinstance(kept, dict) or kept["said"] != said.loose:
            return None
        own: list[Body] = kept["content"]
        self.given[id(own)] = kept
        return own

    def changed(self, content: list[Body], into: list[Body]) -> list[Body]:
        """What a turn's content has become, which is still that turn."""
        if len(into) == len(content):
            return content
        if (kept := self.given.get(id(content))) is not None:
            self.given[id(into)] = kept
        return into

    def look_up(self, ids: Iterable[str]) -> None:
        """Read at once what is known of all turns of the conversation, and of these calls of it."""
        self._known.look_up(self._known.places.models, ids)

    def bond(self, content: list[Body]) -> Bond | None:
        """What a turn that was given back was bound to; None for another content."""
        kept = self.given.get(id(content))
        return Bond(*kept["bond"]) if kept is not None and "bond" in kept else None

    def call(self, shown: str) -> Body | None:
        """Upstream's own call that the client knows by this id."""
        kept = self._known.find_by_id(shown, TURN)
        item = kept["calls"].get(shown) if isinstance(kept, dict) else None
        own: Body | None = kept["content"][item] if item is not None else None
        return own

    def keep(self, own: list[Body], shown: list[Body], *, whole: bool, calls: Mapping[str, int], after: Body) -> bool:
        """Keep a turn that answers this conversation.

        own: as upstream made it. shown: as the client got it. whole: whether either is all that came; one that is not
        is only known by its calls. calls: by the client's id of each, the place of upstream's own.
        after: what upstream was told before it, as digests. Gives whether it is kept.
        """
        said = self._speech.said_by(shown)
        kept = {"content": own, "said": said.loose if whole else "", "calls": calls, **after}
        if not own or not self._known.places.last_is_users or len(dump(kept)) > LONGEST_TURN:
            return False
        spots: list[tuple[Spot, int | None]] = [(said.with_(TURN), None)] if whole else []
        ids = [(call, TURN, None) for call in self._speech.call_ids(shown)]
        self._known.keep(kept, self._known.places.end, spots, ids)
        return True
