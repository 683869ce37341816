"""The paths at which the proxy serves pages of its own."""

TREE = b"/antigravity"
HEALTH = b"/health"
METRICS = b"/metrics"
OWN_PATHS = (TREE, HEALTH, METRICS)


def own_paths(*, at_proxy: bool, for_api: bool) -> tuple[bytes, ...]:
    """Which of them are served where the proxy is asked as itself, or stands for a server in reverse mode.

    for_api: whether that is a configured upstream. What else it may be can have a `/health` of its own.
    """
    return OWN_PATHS if at_proxy or for_api else (TREE,)


def is_own(path: bytes, paths: tuple[bytes, ...] = OWN_PATHS) -> bool:
    """Whether a path, with its query or without, is one of these: all below the tree is, of the others only they."""
    path = path.partition(b"?")[0]
    return path in paths or (TREE in paths and path.startswith(TREE + b"/"))
