"""What a Gemini model's name tells of what the model takes (facts of November 2026)."""

from typing import NamedTuple

from antigravity_healing.wire.requests.model_versions import gemini_version, is_gemma

# A name without a version (`gemini-flash-latest`, a tuned model's) is most likely one of the newest of this line.
_NEWEST_OF_LINE_3 = (3, 8)
# No setting of thinking, no media in responses, short answers.
_LIKE_GEMMA = (2, 0)
_FIRST_THAT_THINKS = (2, 5)
_FIRST_FLASH_WITHOUT_MINIMAL = (3, 7)


class Budgets(NamedTuple):
    """The values that `thinkingBudget` may have. off: the one that thinks least; least, most: of thinking."""

    off: int
    least: int
    most: int


class GeminiModel(NamedTuple):
    """What a model takes.

    budgets: of `thinkingBudget`, None if it has none.
    levels: of `thinkingLevel`, the lowest first; empty if it has none. A model without both does not think.
    samples: whether `temperature`, `topP` and `topK` change anything.
    continues: whether it goes on with a turn of its own that ends the conversation.
    mixes_tools: whether built-in tools may stand beside functions.
    media_in_responses: whether a function's response may have parts.
    longest_answer: the highest `maxOutputTokens` of one request, None if it goes on in further ones.
    """

    budgets: Budgets | None
    levels: tuple[str, ...]
    samples: bool
    continues: bool
    mixes_tools: bool
    media_in_responses: bool
    longest_answer: int | None


def gemini_model(name: str) -> GeminiModel:
    """What the model of this name takes; names that tell nothing count as the newest of line 3, Gemma as 2.0."""
    version = _LIKE_GEMMA if is_gemma(name) else gemini_version(name) or _NEWEST_OF_LINE_3
    return GeminiModel(
        budgets=_budgets(name) if _FIRST_THAT_THINKS <= version < (3, 0) else None,
        levels=_levels(name, version) if version >= (3, 0) else (),
        samples=version < (4, 0),
        continues=version < (4, 0),
        mixes_tools=version >= (3, 0),
        media_in_responses=version >= (3, 0),
        longest_answer=None if version >= (4, 0) else 65_536 if version >= _FIRST_THAT_THINKS else 8_192,
    )


def _budgets(name: str) -> Budgets:
    if "flash-lite" in name:
        return Budgets(0, 512, 24_576)
    if "flash" in name:
        return Budgets(0, 1, 24_576)
    return Budgets(128, 128, 32_768)


def _levels(name: str, version: tuple[int, int]) -> tuple[str, ...]:
    if "flash" in name and version < _FIRST_FLASH_WITHOUT_MINIMAL:
        return ("minimal", "low", "medium", "high")
    if version == (3, 0):
        return ("low", "high")
    return ("low", "medium", "high")
