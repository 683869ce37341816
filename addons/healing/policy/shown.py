"""Gemini's turns as an Anthropic client was shown them: kept by what it was given, so that their parts come back."""

from healing.policy.signatures import Origin, SignatureStore
from healing.wire import anthropic_history as history
from healing.wire.anthropic_history import Block, Body
from healing.wire.translate.common import Piece


class ShownTurns:
    """What the store knows of the turns of one conversation. now: seconds since 1970."""

    def __init__(self, store: SignatureStore, origin: Origin, now: float) -> None:
        self._store = store
        self._origin = origin
        self._now = now

    def pieces(self, asked: Body, content: list[Block]) -> list[Piece] | None:
        """The parts of the turn with these blocks: known by what it answers and says, or by one of its calls."""
        keys = [history.turn_key(asked, content)]
        keys += [str(call["turn"]) for shown in history.call_ids(content) if (call := self._call(shown))]
        for key in dict.fromkeys(keys):
            found = self._store.find("turn", self._origin, ("shown", key), self._now)
            if isinstance(found, list):
                return [Piece(*piece) for piece in found]
        return None

    def signature(self, tool_use_id: str, said: str) -> str:
        """The signature of the call that the client knows by this id, "" if it has none, or said something else."""
        call = self._call(tool_use_id)
        return str(call["signature"]) if call and call["said"] == said else ""

    def _call(self, shown: str) -> dict[str, str] | None:
        found = self._store.find("tool", self._origin, ("shown", shown), self._now)
        return found if isinstance(found, dict) else None

    def keep(self, request: Body, content: list[Block], pieces: list[Piece]) -> None:
        """Keep a turn that answers this request, of which the client got these blocks.

        Of a turn that was cut the client may have fewer blocks than there were parts: its calls are known all the same.
        """
        if not any(piece.signature or piece.kind == "part" for piece in pieces):
            return
        _, asked = (history.spoken(request) or [(0, {})])[-1]
        key = history.turn_key(asked, content)
        with self._store.writing():
            self._store.keep("turn", self._origin, ("shown", key), [list(piece) for piece in pieces], self._now)
            for piece in pieces:
                if piece.kind == "call":
                    call = {"turn": key, "signature": piece.signature, "said": piece.said}
                    self._store.keep("tool", self._origin, ("shown", str(piece.what)), call, self._now)
