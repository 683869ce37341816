"""What a Gemini answer tells of itself: which tokens it has cost, its id, why it stopped."""

from typing import Any

from antigravity_healing.wire.usage import Counts, Usage, short_text

_NAMES = frozenset((
    "promptTokenCount", "toolUsePromptTokenCount", "cachedContentTokenCount", "candidatesTokenCount",
    "thoughtsTokenCount",
))  # fmt: skip
# The API gives eight at most.
_MOST_CANDIDATES = 100


class GeminiUsage:
    """The usage of one answer: running totals in each chunk, of which the last counts."""

    def __init__(self) -> None:
        self._counts = Counts()

    @property
    def usage(self) -> Usage | None:
        """What upstream's own tools found is put before the model like the prompt; thoughts are no candidates'."""
        if not self._counts:
            return None
        counts = self._counts
        prompt = counts["promptTokenCount"] + counts["toolUsePromptTokenCount"]
        cached, thoughts = counts["cachedContentTokenCount"], counts["thoughtsTokenCount"]
        return Usage(
            uncached=max(0, prompt - cached),
            cache_read=cached,
            output=counts["candidatesTokenCount"] + thoughts,
            reasoning=thoughts,
        )

    def take(self, body: Any) -> None:
        """Take what a chunk or a whole answer tells."""
        for answer in body if isinstance(body, list) else (body,):
            if isinstance(answer, dict):
                self._counts.take(answer.get("usageMetadata"), _NAMES)


class GeminiTally(GeminiUsage):
    """What one answer tells of itself, in each chunk."""

    def __init__(self) -> None:
        super().__init__()
        self.response_id = ""
        self._stops: dict[int | str, str] = {}

    @property
    def finish_reasons(self) -> tuple[str, ...]:
        """One for each candidate that has one."""
        return tuple(self._stops.values())

    def take(self, body: Any) -> None:
        """Take what a chunk or a whole answer tells."""
        super().take(body)
        for answer in body if isinstance(body, list) else (body,):
            if isinstance(answer, dict):
                self.response_id = short_text(answer.get("responseId")) or self.response_id
                candidates = answer.get("candidates")
                for candidate in candidates if isinstance(candidates, list) else ():
                    self._take_candidate(candidate)

    def _take_candidate(self, candidate: Any) -> None:
        if not isinstance(candidate, dict) or not (reason := short_text(candidate.get("finishReason"))):
            return
        index = candidate.get("index", 0)
        index = index if isinstance(index, int) else short_text(index)
        if index in self._stops or len(self._stops) < _MOST_CANDIDATES:
            self._stops[index] = reason
