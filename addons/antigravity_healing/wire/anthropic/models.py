"""What a Claude model's name tells of what the model takes (facts of November 2026)."""

from typing import Literal, NamedTuple

from antigravity_healing.wire.requests.model_versions import claude_version

# A name without a version is most likely an alias of the newest.
_NEWEST = ("opus", (5, 5))

_THINKS = (3, 7)
_ADAPTS = (4, 6)
_FIRST_WITH_ALL_EFFORTS = (4, 7)
_THINKS_UNASKED = (5, 0)
_TAKES_ONE_SAMPLING = (4, 1)
_LAST_THAT_SAMPLES = (4, 6)
# Since this version the lines have the same limit at each version.
_SAME_LIMIT = (4, 5)


class ClaudeModel(NamedTuple):
    """What a model takes.

    thinking: the `type` that turns thinking on, None if the model does not think.
    efforts: of `output_config.effort`, the lowest first; empty where thinking has a budget instead.
    disables: whether thinking can be turned off.
    thinks_unasked: whether it thinks where `thinking` is left out.
    samples: whether it takes `temperature`, `top_p` and `top_k`.
    samples_by_both: whether it takes `temperature` and `top_p` together.
    longest_answer: the highest `max_tokens`.
    """

    thinking: Literal["adaptive", "enabled"] | None
    efforts: tuple[str, ...]
    disables: bool
    thinks_unasked: bool
    samples: bool
    samples_by_both: bool
    longest_answer: int


def claude_model(name: str) -> ClaudeModel:
    """What the model of this name takes; names that tell nothing count as the newest."""
    known = claude_version(name)
    line, version = known or _NEWEST
    always_thinks = line in ("fable", "mythos") or (line != "haiku" and version >= (5, 5))
    return ClaudeModel(
        thinking="adaptive" if version >= _ADAPTS else "enabled" if version >= _THINKS else None,
        efforts=_efforts(version),
        disables=not always_thinks,
        thinks_unasked=always_thinks or version >= _THINKS_UNASKED,
        samples=version <= _LAST_THAT_SAMPLES,
        samples_by_both=version < _TAKES_ONE_SAMPLING,
        # Without a name that tells, what each model of the last year takes.
        longest_answer=_longest_answer(line, version) if known else 64_000,
    )


def _efforts(version: tuple[int, int]) -> tuple[str, ...]:
    if version >= _FIRST_WITH_ALL_EFFORTS:
        return ("low", "medium", "high", "xhigh", "max")
    return ("low", "medium", "high", "max") if version >= _ADAPTS else ()


def _longest_answer(line: str, version: tuple[int, int]) -> int:
    if version >= _ADAPTS:
        return 128_000
    if version >= _SAME_LIMIT:
        return 64_000
    if version >= (4, 0):
        return 32_000 if line == "opus" else 64_000
    if version >= _THINKS:
        return 64_000
    return 8_192 if version >= (3, 5) else 4_096
