"""A streamGenerateContent stream put together as the one answer that a request without streaming would have got."""

from typing import Any

from antigravity_healing.wire.collecting import LONGEST, NOT_WHOLE, too_long
from antigravity_healing.wire.errors.parsing import find_error
from antigravity_healing.wire.gemini.grounding import GroundingMetadata
from antigravity_healing.wire.json.growing import extend, merge, put, weight
from antigravity_healing.wire.json.value import joined

# What a candidate weighs beside what it says.
_CANDIDATE = 512
# What says where a candidate's answer comes from, or how likely it was: more of it with each chunk, or all so far.
_GROWING = ("citationMetadata", "urlContextMetadata", "logprobsResult")
_PLAIN_PART = {"text", "thought"}


class GeminiParts:
    """The parts of one candidate of a stream as they came, up to about LONGEST bytes: what may be signed."""

    def __init__(self) -> None:
        self.content: list[dict[str, Any]] = []
        self._size = 0

    def take(self, parts: list[dict[str, Any]]) -> None:
        """Take the parts of the next chunk."""
        self._size += weight(parts)
        if self._size <= LONGEST:
            self.content += parts


class GeminiCollector:
    """The GenerateContentResponse of one streamGenerateContent stream.

    longest: about how many bytes of it to keep; an answer that is longer is not collected.
    """

    def __init__(self, longest: int = LONGEST) -> None:
        self._longest = longest
        self._size = 0
        self._candidates: dict[int, _Candidate] = {}
        self._fields: dict[str, Any] = {}
        self._failed = False

    @property
    def content(self) -> list[dict[str, Any]]:
        """The parts of the first candidate, as they came."""
        first = self._candidates.get(0)
        return first.parts if first is not None else []

    @property
    def intact(self) -> bool:
        """Whether the parts are all that has come."""
        return not self._failed

    @property
    def answer(self) -> dict[str, Any] | None:
        """The response; None unless each candidate that began has finished, or the prompt was blocked."""
        candidates = [candidate for _, candidate in sorted(self._candidates.items())]
        feedback = self._fields.get("promptFeedback")
        blocked = isinstance(feedback, dict) and bool(feedback.get("blockReason"))
        finished = bool(candidates) and all(candidate.fields.get("finishReason") for candidate in candidates)
        if self._failed or not (blocked or finished):
            return None
        if not candidates:
            return dict(self._fields)
        return {"candidates": [candidate.whole() for candidate in candidates], **self._fields}

    @property
    def overfull(self) -> bool:
        """Whether more has come than is kept."""
        return self._size > self._longest

    @property
    def flaw(self) -> str:
        """Why a stream that has come to its end is no answer."""
        return f"{NOT_WHOLE}: {too_long(self._longest)}" if self.overfull else NOT_WHOLE

    def take(self, chunk: dict[str, Any]) -> None:
        """Take the next chunk, a GenerateContentResponse. Never raises: an odd one is no reason to lose a stream."""
        if self._failed:
            return
        if find_error(chunk):
            self._failed = True
            return
        for name, value in chunk.items():
            if name == "candidates":
                for candidate in value if isinstance(value, list) else ():
                    if isinstance(candidate, dict) and not self._failed:
                        self._take_candidate(candidate)
            elif name == "usageMetadata":
                self._grow(merge(self._fields, name, value))
            else:
                self._grow(put(self._fields, name, value))

    def _grow(self, size: int) -> None:
        self._size += size
        self._failed = self._failed or self._size > self._longest

    def _take_candidate(self, said: dict[str, Any]) -> None:
        # Zeros are left out on some ways here.
        index = said.get("index", 0)
        index = index if isinstance(index, int) else 0
        if (candidate := self._candidates.get(index)) is None:
            candidate = self._candidates[index] = _Candidate()
            self._grow(_CANDIDATE)
        content = said.get("content")
        parts = content.get("parts") if isinstance(content, dict) else None
        parts = [part for part in parts if isinstance(part, dict)] if isinstance(parts, list) else []
        self._grow(weight(parts))
        if not self._failed:
            candidate.parts += parts
            self._grow(candidate.take(said))


class _Candidate:
    """A candidate that is coming.

    parts: as they came.
    fields: all else that was said of it.
    """

    def __init__(self) -> None:
        self.parts: list[dict[str, Any]] = []
        self.fields: dict[str, Any] = {}
        self._content: dict[str, Any] = {}
        self._grounding = GroundingMetadata()

    def take(self, said: dict[str, Any]) -> int:
        """Take what the next chunk says of it, but for its parts. Gives by how much it grew."""
        grown = 0
        for name, value in said.items():
            if name == "content" and isinstance(value, dict):
                self.fields.setdefault(name, self._content)
                for field, content in value.items():
                    if field != "parts":
                        grown += put(self._content, field, content)
            elif name == "groundingMetadata" and isinstance(value, dict):
                grown += self._grounding.take(value)
                self.fields[name] = self._grounding.found
            elif name in _GROWING and isinstance(value, dict):
                known = self.fields.get(name)
                if not isinstance(known, dict):
                    known = self.fields[name] = {}
                for field, more in value.items():
                    grown += extend(known, field, more)
            elif name != "content":
                grown += put(self.fields, name, value)
        return grown

    def whole(self) -> dict[str, Any]:
        """The candidate as it is in a whole answer."""
        if not self.parts:
            return self.fields
        return {**self.fields, "content": {"parts": joined_parts(self.parts), **self._content}}


def joined_parts(parts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The parts with the pieces of each text in one; those that carry more than text stand as they came."""
    runs: list[tuple[dict[str, Any], list[str]]] = []
    for part in parts:
        text = part.get("text", "")
        if not isinstance(text, str) or not part.keys() <= _PLAIN_PART:
            runs.append((part, []))
        elif text and runs and runs[-1][1] and bool(runs[-1][0].get("thought")) == bool(part.get("thought")):
            runs[-1][1].append(text)
        elif text:
            runs.append((part, [text]))
    # An answer of nothing but empty text says so.
    return [{**part, "text": joined(pieces)} if pieces else part for part, pieces in runs] or parts[:1]
