"""Which models metrics tell by name."""

from collections.abc import Callable, Collection

OTHER = "other"
MOST_NAMED = 50
"""Models beside the configured ones: a client can ask a lenient upstream for any name."""


class ModelNames:
    """Knows the models by name: those of the configuration, and the first that upstreams have answered as."""

    def __init__(self, configured: Callable[[], Collection[str]]) -> None:
        """configured: gives the models that the configuration of now names."""
        self._configured = configured
        self._served: set[tuple[str, str]] = set()

    def label(self, upstream: str, model: str) -> str:
        """What a model is called as which this upstream has answered."""
        if (upstream, model) in self._served or model in self._configured():
            return model
        if not model or len(self._served) >= MOST_NAMED:
            return OTHER
        self._served.add((upstream, model))
        return model
