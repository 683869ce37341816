"""What a model's name tells of how it treats signatures (facts of November 2026; see `has_prefix_check`)."""

import re
from functools import lru_cache

from antigravity_healing.wire.requests.model_versions import claude_version, gemini_version, is_gemma

# Characters of a name that anybody gives a model. The time to find its family grows with their square.
_LONGEST = 256
_SUFFIX = re.compile(r"(?:@[\w.-]+|-latest|-\d{8}|-\d{3})$")


def family_of(model: str) -> str:
    """The model without what only names one of its releases: signatures of all of them are the same."""
    return _family_of(model) if len(model) <= _LONGEST else model


@lru_cache(maxsize=256)
def _family_of(model: str) -> str:
    name = model.removeprefix("models/")
    while (shorter := _SUFFIX.sub("", name)) != name:
        name = shorter
    return name


def has_prefix_check(model: str) -> bool | None:
    """Whether a Claude model checks what comes before each thinking block; None for a name that does not tell.

    Fable and Mythos 5.1 and later; Opus, Sonnet and Haiku 5.5 and later.
    """
    known = claude_version(model)
    if known is None:
        return None
    line, version = known
    return version >= ((5, 1) if line in ("fable", "mythos") else (5, 5))


def takes_stand_in(model: str) -> bool:
    """Whether a model takes the documented stand-in for a missing signature: Gemini from 3 on, as far as names tell."""
    version = gemini_version(model)
    return version >= (3, 0) if version is not None else not is_gemma(model)
