"""The signature store: what signed what, so that a signature a client lost comes back onto exactly its own piece.

Three layers, as users know them, each bound to exactly what was signed, by whom, in its key:
- tool: a function call → its signature, or the turn in which it was made;
- family: a signed text → its signature; a turn → its signed blocks;
- session: a conversation → what it got, and when.
"""

from collections import OrderedDict
from collections.abc import Iterable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, NamedTuple

from healing.policy.config import Signatures
from healing.policy.model_names import family_of
from healing.policy.vault import Vault
from healing.wire.jsonvalue import canonical, digest, dump, parse

SHORTEST = 50
"""Characters of the shortest signature that is taken for a real one."""
SESSION_LENGTH = 50
REPAIRS_TTL_S = 30 * 24 * 3600.0
MAX_REPAIRS = 1000
MAX_REPAIRS_BYTES = 8 * 1024 * 1024
"""They are kept in memory, too."""
# A repair that is used again within this time is not written down again for it.
_TOUCH_AFTER_S = 3600.0

Layer = Literal["tool", "family", "turn"]


@dataclass(frozen=True, slots=True)
class Origin:
    """Who minted a signature: the upstream's URL, the model, the account. Another account's may serve as well."""

    upstream: str
    model: str
    account: str

    def key(self, layer: Layer, *what: str) -> str:
        """The store's key for what this upstream and model family signed."""
        return f"{layer}:{digest(self.upstream, family_of(self.model), *what)}"


def conversation_key(session: str) -> str:
    """What a conversation is called in the store and in flows: its session may be somebody's name."""
    return digest(session)


class Minted(NamedTuple):
    """One thing that a conversation got. at: seconds since 1970."""

    at: float
    what: str
    account: str
    model: str


@dataclass(slots=True)
class KeptRepair:
    """A repair that belongs to its conversation from now on.

    name: the rule that made it. change: what it changes, as JSON.
    anchors: keys of pieces of the histories that it belongs to.
    made_at, used_at: seconds since 1970. size: about how many bytes it takes.
    """

    dialect: str
    name: str
    change: dict[str, Any]
    anchors: frozenset[str]
    made_at: float
    used_at: float
    size: int = 0

    @property
    def key(self) -> str:
        """What identifies it."""
        return digest(self.dialect, canonical(self.change))

    def dump(self) -> bytes:
        """All of it but its use, as JSON."""
        kept = {"dialect": self.dialect, "name": self.name, "change": self.change, "anchors": sorted(self.anchors)}
        return dump({**kept, "made_at": self.made_at})


class SignatureStore:
    """The three layers, and the repairs. All times are seconds since 1970 and handed in.

    path: the database; None keeps everything in memory.
    """

    def __init__(self, path: Path | None, settings: Signatures) -> None:
        self.settings = settings
        self._vault = Vault(
            path if settings.persist else None,
            ttl_s=settings.ttl,
            max_entries=settings.max_entries,
            max_bytes=settings.max_bytes,
        )
        self._repairs: OrderedDict[str, KeptRepair] | None = None
        self._by_anchor: dict[str, list[str]] = {}
        self._repairs_bytes = 0

    @property
    def entries(self) -> int:
        """How many entries are kept."""
        return self._vault.entries

    def report(self) -> dict[str, int]:
        """How much is kept, for people."""
        return {"entries": self._vault.entries, "bytes": self._vault.bytes, "repairs": len(self._repairs or ())}

    def has_repairs(self, now: float) -> bool:
        """Whether any conversation has been repaired."""
        return bool(self._loaded(now))

    def close(self) -> None:
        """Write down what is still to be written."""
        self._vault.close()

    # Signatures.

    def keep(self, layer: Layer, origin: Origin, what: Iterable[str], value: Any, now: float) -> None:
        """Keep what belongs to a text, a call or a turn."""
        entry = {"value": value, "account": origin.account, "model": origin.model, "at": now}
        self._vault.put(origin.key(layer, *what), dump(entry), now)

    def find(self, layer: Layer, origin: Origin, what: Iterable[str], now: float) -> Any:
        """What belongs to exactly this, minted by this upstream and model family; None if nothing is known."""
        found = self._vault.get(origin.key(layer, *what), now)
        return parse(found)["value"] if found is not None else None

    def forget(self, layer: Layer, origin: Origin, what: Iterable[str]) -> None:
        """Upstream rejected it."""
        self._vault.delete(origin.key(layer, *what))

    def note(self, session: str, origin: Origin, minted: Iterable[str], now: float) -> None:
        """Remember what a conversation got: short words for each signed piece, without their signatures."""
        key = f"session:{conversation_key(session)}"
        found = self._vault.get(key, now)
        entries = parse(found) if found is not None else []
        entries += [[now, what, origin.account, origin.model] for what in minted]
        self._vault.put(key, dump(entries[-SESSION_LENGTH:]), now)

    def conversation(self, key: str, now: float) -> list[Minted]:
        """What the conversation with this key got lately, and when, in order."""
        found = self._vault.get(f"session:{key}", now)
        return [Minted(*entry) for entry in parse(found)] if found is not None else []

    def writing(self) -> AbstractContextManager[None]:
        """A context in which many writes are one."""
        return self._vault.writing()

    # Repairs.

    def keep_repair(self, repair: KeptRepair) -> None:
        """From now on this repair belongs to its conversation."""
        repairs, key = self._loaded(repair.made_at), repair.key
        if key in repairs:
            return
        data = repair.dump()
        self._add(key, repair, len(data), repairs)
        self._vault.keep_repair(key, data, repair.used_at)
        while len(repairs) > MAX_REPAIRS or self._repairs_bytes > MAX_REPAIRS_BYTES:
            self.forget_repair(next(iter(repairs)), repair.made_at)

    def repairs_for(self, dialect: str, anchors: Iterable[str], now: float) -> list[tuple[str, KeptRepair]]:
        """The repairs that belong to a history with these pieces, with their keys, in the order of their making."""
        repairs = self._loaded(now)
        keys = {key for anchor in anchors for key in self._by_anchor.get(anchor, ())}
        found = sorted(
            ((key, repairs[key]) for key in keys if repairs[key].dialect == dialect), key=lambda pair: pair[1].made_at
        )
        for key, repair in found:
            repairs.move_to_end(key)
            if repair.used_at < now - _TOUCH_AFTER_S:
                repair.used_at = now
                self._vault.keep_repair(key, repair.dump(), now)
        return found

    def forget_repair(self, key: str, now: float) -> None:
        """This repair no longer holds."""
        gone = self._loaded(now).pop(key, None)
        self._vault.forget_repair(key)
        self._repairs_bytes -= gone.size if gone else 0
        for anchor in gone.anchors if gone else ():
            self._by_anchor[anchor].remove(key)
            if not self._by_anchor[anchor]:
                del self._by_anchor[anchor]

    def _loaded(self, now: float) -> OrderedDict[str, KeptRepair]:
        if self._repairs is None:
            self._repairs = OrderedDict()
            for key, value, used_at in self._vault.repairs(now - REPAIRS_TTL_S):
                kept = parse(value)
                anchors = frozenset(kept["anchors"])
                name, change = kept["name"], kept["change"]
                repair = KeptRepair(kept["dialect"], name, change, anchors, kept["made_at"], used_at)
                self._add(key, repair, len(value), self._repairs)
        return self._repairs

    def _add(self, key: str, repair: KeptRepair, size: int, repairs: OrderedDict[str, KeptRepair]) -> None:
        repairs[key] = repair
        repair.size = size
        self._repairs_bytes += size
        for anchor in repair.anchors:
            self._by_anchor.setdefault(anchor, []).append(key)
