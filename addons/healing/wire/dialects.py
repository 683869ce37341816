"""The dialects that there are."""

from collections.abc import Mapping

from healing.wire.anthropic.dialect import Anthropic
from healing.wire.dialect import Dialect
from healing.wire.gemini.dialect import Gemini

DIALECTS: Mapping[str, Dialect] = {"anthropic": Anthropic(), "gemini": Gemini()}
"""By their names."""
