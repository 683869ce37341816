"""What a model's name tells of how it treats signatures (facts of November 2026; see `has_prefix_check`)."""

import re

_SUFFIX = re.compile(r"(?:@[\w.-]+|-latest|-\d{8}|-\d{3})$")
_CLAUDE = re.compile(r"\b(opus|sonnet|haiku|fable|mythos)-(\d{1,2})(?:[-.](\d{1,2}))?(?![\d.])")
_OLD_CLAUDE = re.compile(r"\bclaude-3(?:[-.]\d)?-(?:opus|sonnet|haiku)\b")
_GEMINI = re.compile(r"\bgemini-(\d{1,2})(?:\.(\d{1,2}))?")


def family_of(model: str) -> str:
    """The model without what only names one of its releases: signatures of all of them are the same."""
    name = model.removeprefix("models/")
    while (shorter := _SUFFIX.sub("", name)) != name:
        name = shorter
    return name


def has_prefix_check(model: str) -> bool | None:
    """Whether a Claude model checks what comes before each thinking block; None for a name that does not tell.

    Fable and Mythos 5.1 and later; Opus, Sonnet and Haiku 5.5 and later.
    """
    match = _CLAUDE.search(model)
    if match is None:
        return False if _OLD_CLAUDE.search(model) else None
    version = int(match.group(2)), int(match.group(3) or 0)
    return version >= ((5, 1) if match.group(1) in ("fable", "mythos") else (5, 5))


def takes_stand_in(model: str) -> bool:
    """Whether a Gemini model takes the documented stand-in for a missing signature: from 3 on, as far as names tell."""
    match = _GEMINI.search(model)
    return match is None or int(match.group(1)) >= 3
