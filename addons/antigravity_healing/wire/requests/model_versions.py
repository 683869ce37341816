"""The versions in models' names."""

import re

type Version = tuple[int, int]

_CLAUDE = re.compile(r"\b(opus|sonnet|haiku|fable|mythos)-(\d{1,2})(?:[-.](\d{1,2}))?(?![\d.])")
_OLD_CLAUDE = re.compile(r"\bclaude-(\d)(?:[-.](\d))?-(opus|sonnet|haiku)\b")
_GEMMA = re.compile(r"\bgemma-?\d", re.IGNORECASE)
_GEMINI = re.compile(r"\bgemini-(\d{1,2})(?:\.(\d{1,2}))?(?![\d.])")


def claude_version(name: str) -> tuple[str, Version] | None:
    """The line of a Claude model and its version, None for a name that does not tell."""
    if match := _CLAUDE.search(name):
        return match.group(1), (int(match.group(2)), int(match.group(3) or 0))
    if match := _OLD_CLAUDE.search(name):
        return match.group(3), (int(match.group(1)), int(match.group(2) or 0))
    return None


def is_gemma(name: str) -> bool:
    """Whether a model is one of the open ones that the Gemini API serves too."""
    return _GEMMA.search(name) is not None


def gemini_version(name: str) -> Version | None:
    """The version of a Gemini model, None for a name that does not tell."""
    match = _GEMINI.search(name)
    return (int(match.group(1)), int(match.group(2) or 0)) if match else None
