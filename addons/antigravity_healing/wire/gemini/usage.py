"""Which tokens a Gemini answer has cost."""

from typing import Any

from antigravity_healing.wire.usage import Counts, Usage

_NAMES = frozenset((
    "promptTokenCount", "toolUsePromptTokenCount", "cachedContentTokenCount", "candidatesTokenCount",
    "thoughtsTokenCount",
))  # fmt: skip


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
