"""JSON pointers in references of schemas."""

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote, unquote

_ROOT = "#"


def steps_of(target: str) -> list[str] | None:
    """The steps from the root to what a reference means; None for one that is no pointer into its own schema."""
    if target == _ROOT:
        return []
    if not target.startswith("#/"):
        return None
    return [unquote(step).replace("~1", "/").replace("~0", "~") for step in target.removeprefix("#/").split("/")]


def pointer(steps: Iterable[str]) -> str:
    """The reference that leads these steps from the root."""
    return "/".join((_ROOT, *map(_written, steps)))


def _written(step: str) -> str:
    return quote(step.replace("~", "~0").replace("/", "~1"), safe="~$", errors="surrogatepass")


def member(node: Any, step: str) -> Any:
    """What lies one step from a node; None if nothing does."""
    if isinstance(node, dict):
        return node.get(step)
    if isinstance(node, list) and step.isascii() and step.isdigit() and int(step[:9]) < len(node):
        return node[int(step[:9])]
    return None


def at(root: Any, steps: Iterable[str]) -> Any:
    """What lies so many steps from the root; None if nothing does."""
    for step in steps:
        root = member(root, step)
    return root
