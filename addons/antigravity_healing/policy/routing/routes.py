"""Routes: from the model a client names to the upstream and model that serve it."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from antigravity_healing.policy.settings.schema import Config, PeekOverrides, split_target


@dataclass(frozen=True)
class Route:
    """Where a model name leads."""

    pattern: str | None
    """The name or pattern of `[models]` that matched; None: none did."""
    model: str
    """What to ask upstream for."""
    upstream: str | None
    """The upstream's name; None: the mapping names none, so the client's dialect decides."""
    peek: PeekOverrides = field(default_factory=PeekOverrides)


class Routes:
    """The mapping of `[models]`."""

    def __init__(self, config: Config) -> None:
        def route(pattern: str) -> Route:
            target = config.models[pattern]
            # Without `to` the client's name is put in by `resolve`.
            upstream, model = split_target(target.to, config.upstreams) if target.to else (None, "")
            return Route(pattern, model, upstream, target.peek)

        self._exact = {name: route(name) for name in config.models if "*" not in name}
        # The most literal pattern comes first; the sort is stable, so a tie stays in the order of the file.
        patterns = sorted((p for p in config.models if "*" in p), key=_literals, reverse=True)
        self._patterns = [route(pattern) for pattern in patterns]

    def resolve(self, name: str) -> Route:
        """The route for a client's model name: exact, else the most literal pattern, else the name unchanged."""
        found = self._exact.get(name) or next((r for r in self._patterns if matches(r.pattern or "", name)), None)
        if found is None:
            return Route(None, name, None)
        return found if found.model else Route(found.pattern, name, found.upstream, found.peek)

    def upstreams(self) -> set[str]:
        """The upstreams that routes lead to by name."""
        return {route.upstream for route in (*self._exact.values(), *self._patterns) if route.upstream}

    def names(self) -> list[str]:
        """The names configured that are no patterns, in the order of the file."""
        return list(self._exact)


def matches(pattern: str, name: str) -> bool:
    """Whether `name` fits `pattern`, in which `*` stands for any run of characters, also none. Case counts."""
    # Not a regular expression: clients choose the name, and many stars would let them make it backtrack for ever.
    first, *rest = pattern.split("*")
    if not rest:
        return pattern == name
    *middle, last = rest
    at, end = len(first), len(name) - len(last)
    if at > end or not name.startswith(first) or not name.endswith(last):
        return False
    for part in middle:
        at = name.find(part, at, end)
        if at < 0:
            return False
        at += len(part)
    return True


def any_matches(patterns: Iterable[str], name: str) -> bool:
    """Whether `name` fits any of these patterns."""
    return any(matches(pattern, name) for pattern in patterns)


def _literals(pattern: str) -> int:
    return len(pattern) - pattern.count("*")
