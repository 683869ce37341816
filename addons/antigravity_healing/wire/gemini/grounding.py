"""What a Gemini answer is grounded in, as its stream tells it: chunk by chunk, or all so far again and again."""

from typing import Any

from antigravity_healing.wire.json.growing import put, weight
from antigravity_healing.wire.json.value import canonical, digest

# What it weighs to know an item again.
_KEY = 128
_SOURCES, _SUPPORTS, _INDICES = "groundingChunks", "groundingSupports", "groundingChunkIndices"


class GroundingMetadata:
    """A candidate's grounding metadata.

    found: all that has been said so far, as one chunk would have said it.
    """

    def __init__(self) -> None:
        self.found: dict[str, Any] = {}
        self._places: dict[str, dict[str, int]] = {}

    def take(self, said: dict[str, Any]) -> int:
        """Take what the next chunk says; nothing of what is known is lost. Gives by how much it grew."""
        sources = said.get(_SOURCES)
        before = self._sources_known
        places, grown = self._add(_SOURCES, sources) if isinstance(sources, list) else ([], 0)
        for name, value in said.items():
            if name == _SOURCES and isinstance(value, list):
                continue
            if isinstance(value, list):
                moved = [_moved(item, places) for item in value] if name == _SUPPORTS and before else value
                grown += self._add(name, moved)[1]
            elif value != {} or name not in self.found:
                grown += put(self.found, name, value)
        return grown

    @property
    def _sources_known(self) -> bool:
        return bool(self.found.get(_SOURCES))

    def _add(self, name: str, items: list[Any]) -> tuple[list[int], int]:
        """Add the items that have not been said before. Gives the place of each, and by how much the list grew."""
        known = self.found.get(name)
        if not isinstance(known, list):
            known = self.found[name] = []
        places = self._places.setdefault(name, {})
        new: dict[str, int] = {}
        found, grown = [], 0
        for item in items:
            key = _key(item)
            place = places.get(key)
            if place is None:
                place = new[key] = len(known)
                known.append(item)
                grown += weight(item) + _KEY
            found.append(place)
        places |= new
        return found, grown


def _key(item: Any) -> str:
    try:
        return digest(canonical(item))
    except RecursionError:
        return f"nested too deeply: {id(item)}"


def _moved(support: Any, places: list[int]) -> Any:
    """A support whose sources have been put at these places; one that is beyond them counts among all."""
    indices = support.get(_INDICES) if isinstance(support, dict) else None
    if not isinstance(indices, list):
        return support
    moved = [places[at] if isinstance(at, int) and 0 <= at < len(places) else at for at in indices]
    return {**support, _INDICES: moved} if moved != indices else support
