"""What upstreams were found not to take, of what this proxy itself puts into requests."""

import re
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from threading import Lock
from typing import NamedTuple

_MAX_MODELS = 1000
_SAYS_NO = re.compile(
    r"not support|unsupported|unknown name|cannot find field|not (?:available|allowed|permitted)|invalid|\bmust\b"
)


class Feature(NamedTuple):
    """Something that this proxy puts into requests, and that a model may not take.

    words: of a refusal that is about it, in lower case.
    says: what can be left out for it, in the order in which it is tried; for each, how the next try is made, in words
    that go after "retrying...".
    """

    words: re.Pattern[str]
    says: Mapping[str, str]


STREAM = Feature(
    re.compile(
        r"\bstream(?:ing)?\b.{0,60}\b(?:not (?:supported|available|allowed)|unsupported)"
        r"|\b(?:not support|unsupported)\b.{0,40}\bstream(?:ing)?\b"
    ),
    {"stream": "without streaming"},
)
"""That a stream is asked for where the client wants a whole answer."""


def refused_feature(text: str, without: frozenset[str], used: Iterable[Feature]) -> str | None:
    """What a refusal is about and can still be left out, None if it is about something else.

    without: what is left out already. used: what was in the request; the first that is meant counts.
    """
    plain = text.casefold()
    if not _SAYS_NO.search(plain):
        return None
    meant = next((feature for feature in used if feature.words.search(plain)), None)
    return next((name for name in meant.says if name not in without), None) if meant is not None else None


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
