"""What upstreams were found not to take, of what this proxy itself puts into requests."""

import re
from collections import OrderedDict
from threading import Lock

_MAX_MODELS = 1000
# For each feature the words of a refusal, and what is left out instead, in the order in which it is tried.
_REFUSALS = (
    (re.compile(r"thinking[_ ]?level"), ("thinking_level", "thinking_level_low")),
    (re.compile(r"\bid\b.{0,80}function_?(?:call|response)|function_?(?:call|response).{0,20}\bid\b"), ("call_id",)),
    (re.compile(r"\badaptive\b|\bthinking\.type\b|\beffort\b"), ("thinking",)),
    (
        re.compile(
            r"\bstream(?:ing)?\b.{0,60}\b(?:not (?:supported|available|allowed)|unsupported)"
            r"|\b(?:not support|unsupported)\b.{0,40}\bstream(?:ing)?\b"
        ),
        ("stream",),
    ),
    (re.compile(r"text content blocks must (?:be non-empty|contain non-whitespace)"), ("blank_text",)),
)
_SAYS_NO = re.compile(
    r"not support|unsupported|unknown name|cannot find field|not (?:available|allowed|permitted)|invalid|\bmust\b"
)

SAYS = {
    "thinking_level": "with the lowest thinking level that every model has",
    "thinking_level_low": "without a thinking level",
    "call_id": "without the ids of function calls",
    "thinking": "without the thinking settings",
    "stream": "without streaming",
    "blank_text": "without texts of white space alone",
}
"""How the next try is made, in words that go after "retrying..."."""


def refused_feature(text: str, without: frozenset[str], used: frozenset[str]) -> str | None:
    """The feature that a refusal is about and that can still be left out, None if it is about something else.

    without: what is left out already. used: what was in the request and may be left out.
    """
    plain = text.casefold()
    if not _SAYS_NO.search(plain):
        return None
    for words, features in _REFUSALS:
        if words.search(plain):
            return next((feature for feature in features if feature in used and feature not in without), None)
    return None


class Unsupported:
    """Remembers, by upstream and model, what is left out from then on. Any thread may use it."""

    def __init__(self) -> None:
        self._features: OrderedDict[tuple[str, str], frozenset[str]] = OrderedDict()
        self._lock = Lock()

    def of(self, upstream: str, model: str) -> frozenset[str]:
        """What this model of this upstream (its URL) does not take."""
        return self._features.get((upstream, model), frozenset())

    def add(self, upstream: str, model: str, feature: str) -> None:
        """It does not take this either."""
        with self._lock:
            self._features[upstream, model] = self.of(upstream, model) | {feature}
            # Clients choose the names of models.
            while len(self._features) > _MAX_MODELS:
                self._features.popitem(last=False)
