"""The signature store: what the proxy remembers between requests, each thing under where it stands.

Nothing is found by what it says alone. A thing is kept at one address or several: a row, which stands for a place in
somebody's conversation or for an id that nobody can guess, and a spot in it. Two different things at one address mean
that nothing is known there.
"""

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from antigravity_healing.policy.settings.schema import Signatures
from antigravity_healing.policy.signing.lru_table import LruTable
from antigravity_healing.policy.signing.prefix_check import family_of
from antigravity_healing.wire.json import exact
from antigravity_healing.wire.json.value import canonical, digest, dump, parse

SESSION_LENGTH = 50
SPOTS_OF_A_ROW = 128
"""The newest are kept: there are so many only where one prompt is asked again and again."""
REPAIRS_TTL_S = 30 * 24 * 3600.0
MAX_REPAIRS = 1000
MAX_REPAIRS_BYTES = 8 * 1024 * 1024
"""They are kept in memory, too."""
OWNERS_TTL_S = 90 * 24 * 3600.0
MAX_OWNERS = 10_000
# A repair that is used again within this time is not written down again for it.
_TOUCH_AFTER_S = 3600.0
_UNKNOWN = ""


@dataclass(frozen=True, slots=True)
class Origin:
    """Who minted a signature: the upstream's URL, the model, the account. Another account's may serve as well."""

    upstream: str
    model: str
    account: str

    def row(self, *what: str) -> str:
        """A row of the store for what this upstream and model family made."""
        return digest(self.upstream, family_of(self.model), *what)


class Address(NamedTuple):
    """Where something is kept."""

    row: str
    spot: str


def conversation_key(client: str, session: str) -> str:
    """What a conversation is called in the store and in flows: its session may be somebody's name."""
    return digest(client, session)


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
    """What was signed, shown and repaired. All times are seconds since 1970 and handed in.

    path: the database; None keeps everything in memory.
    """

    def __init__(self, path: Path | None, settings: Signatures) -> None:
        self.settings = settings
        self._table = LruTable(
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
        return self._table.entries

    @property
    def secret(self) -> bytes:
        """A key of this store's own, for digests that nobody else can make."""
        return self._table.secret

    def report(self) -> dict[str, int]:
        """How much is kept, for people."""
        return {"entries": self._table.entries, "bytes": self._table.bytes, "repairs": len(self._repairs or ())}

    def has_repairs(self, now: float) -> bool:
        """Whether any conversation has been repaired."""
        return bool(self._loaded(now))

    def close(self) -> None:
        """Write down what is still to be written."""
        self._table.close()

    # Things.

    def keep(self, addresses: Iterable[tuple[Address, int | None]], value: Any, now: float) -> None:
        """Keep a thing. At each address is all of it, or one item of the list that it is."""
        data = dump(value)
        name = digest(data)
        with self.writing():
            self._table.put(f"thing:{name}", data, now)
            rows: dict[str, dict[str, str]] = {}
            for (row, spot), item in addresses:
                named = name if item is None else f"{name}.{item}"
                if (spots := rows.get(row)) is None:
                    spots = rows[row] = self.spots(row, now)
                known = spots.pop(spot, named)
                spots[spot] = named if known == named else _UNKNOWN
                while len(spots) > SPOTS_OF_A_ROW:
                    del spots[next(iter(spots))]
            for row, spots in rows.items():
                self._table.put(f"row:{row}", dump(spots), now)

    def spots(self, row: str, now: float) -> dict[str, str]:
        """What is kept in a row: by its spot, what `thing` takes."""
        found = self._table.get(f"row:{row}", now)
        return parse(found) if found is not None else {}

    def rows(self, rows: Sequence[str], now: float) -> dict[str, dict[str, str]]:
        """What is kept in each of these rows, those included in which nothing is."""
        found = self._table.get_all([f"row:{row}" for row in rows], now)
        return {row: parse(found[f"row:{row}"]) if f"row:{row}" in found else {} for row in rows}

    def thing(self, name: str, now: float) -> Any:
        """What a row names; None if nothing is known."""
        name, _, item = name.partition(".")
        found = self._table.get(f"thing:{name}", now) if name else None
        if found is None:
            return None
        thing = exact.parse(found)
        return thing[int(item)] if item else thing

    def forget(self, addresses: Iterable[Address], now: float) -> None:
        """What is kept at these addresses is no good."""
        with self.writing():
            for row, spot in addresses:
                spots = self.spots(row, now)
                if spots.pop(spot, None) is not None:
                    self._table.put(f"row:{row}", dump(spots), now)

    def note(self, conversation: str, origin: Origin, minted: Iterable[str], now: float) -> None:
        """Remember what the conversation with this key got: short words for each signed piece."""
        key = f"session:{conversation}"
        found = self._table.get(key, now)
        entries = parse(found) if found is not None else []
        entries += [[now, what, origin.account, origin.model] for what in minted]
        self._table.put(key, dump(entries[-SESSION_LENGTH:]), now)

    def conversation(self, key: str, now: float) -> list[Minted]:
        """What the conversation with this key got lately, and when, in order."""
        found = self._table.get(f"session:{key}", now)
        return [Minted(*entry) for entry in parse(found)] if found is not None else []

    def writing(self) -> AbstractContextManager[None]:
        """A context in which many writes are one."""
        return self._table.writing()

    # Things that lie with one account.

    def owners(self, things: Sequence[str], now: float) -> dict[str, str]:
        """Who has these things, as far as that is known."""
        return {thing: owner for thing, (owner, _) in self._table.owners(things, now - OWNERS_TTL_S).items()}

    def keep_owner(self, things: Sequence[str], owner: str, now: float) -> None:
        """Somebody has these things."""
        known = self._table.owners(things, now - _TOUCH_AFTER_S)
        if new := [thing for thing in things if known.get(thing, ("", 0.0))[0] != owner]:
            self._table.keep_owners(new, owner, now, MAX_OWNERS)

    # Repairs.

    def keep_repair(self, repair: KeptRepair) -> None:
        """From now on this repair belongs to its conversation."""
        repairs, key = self._loaded(repair.made_at), repair.key
        if key in repairs:
            return
        data = repair.dump()
        self._add(key, repair, len(data), repairs)
        self._table.keep_repair(key, data, repair.used_at)
        while len(repairs) > MAX_REPAIRS or self._repairs_bytes > MAX_REPAIRS_BYTES:
            self.forget_repair(next(iter(repairs)), repair.made_at)

    def is_anchor(self, key: str) -> bool:
        """Whether a repair belongs to whatever history has a piece with this key. Asked after `has_repairs`."""
        return key in self._by_anchor

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
                self._table.keep_repair(key, repair.dump(), now)
        return found

    def forget_repair(self, key: str, now: float) -> None:
        """This repair no longer holds."""
        gone = self._loaded(now).pop(key, None)
        self._table.forget_repair(key)
        self._repairs_bytes -= gone.size if gone else 0
        for anchor in gone.anchors if gone else ():
            self._by_anchor[anchor].remove(key)
            if not self._by_anchor[anchor]:
                del self._by_anchor[anchor]

    def _loaded(self, now: float) -> OrderedDict[str, KeptRepair]:
        if self._repairs is None:
            self._repairs = OrderedDict()
            for key, value, used_at in self._table.repairs(now - REPAIRS_TTL_S):
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
