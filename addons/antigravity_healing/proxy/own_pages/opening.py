"""Whether a connection is for the proxy's own pages, by the first bytes that come on it."""

import re
from collections.abc import Callable
from enum import Enum

from antigravity_healing.proxy.claiming.own_paths import is_own

_METHODS = (b"GET ", b"HEAD ", b"POST ")
_SCHEME = b"http://"
_AUTHORITY = re.compile(rb"[^/?# \r\n]*")
_PATH_END = re.compile(rb"[? \r\n]")
_HOST_PORT = re.compile(r"(\[[^\[\]@]*\]|[^:@\[\]]+)(?::([0-9]{1,5})?)?")
_PORT = 80
_LONGEST_AUTHORITY = 300


class Opening(Enum):
    """What a connection is for. UNDECIDED: what has come may still become either."""

    OWN = "own"
    OTHER = "other"
    UNDECIDED = "undecided"


def look(came: bytes, paths: tuple[bytes, ...], names_proxy: Callable[[bytes], bool]) -> Opening:
    """What the first bytes of a connection say.

    paths: which of the own paths are served here. names_proxy: whether a target's `host:port` is that of the proxy.
    """
    for method in _METHODS:
        if came.startswith(method):
            return _of_target(came[len(method) :], paths, names_proxy)
        if method.startswith(came):
            return Opening.UNDECIDED
    return Opening.OTHER


def split_authority(authority: bytes) -> tuple[str, int]:
    """The host, "" if it is none, and the port that a target names."""
    found = _HOST_PORT.fullmatch(authority.decode("latin-1"))
    if found is None:
        return "", _PORT
    return found[1].strip("[]"), int(found[2] or _PORT)


def _of_target(target: bytes, paths: tuple[bytes, ...], names_proxy: Callable[[bytes], bool]) -> Opening:
    if target.startswith(b"/"):
        return _of_path(target, paths)
    scheme = target[: len(_SCHEME)].lower()
    if scheme != _SCHEME:
        return Opening.UNDECIDED if _SCHEME.startswith(scheme) else Opening.OTHER
    rest = target[len(_SCHEME) :]
    found = _AUTHORITY.match(rest)
    authority = found[0] if found else b""
    if len(authority) > _LONGEST_AUTHORITY:
        return Opening.OTHER
    path = rest[len(authority) :]
    if (by_path := _of_path(path, paths)) is Opening.OTHER:
        return Opening.OTHER
    # Where the name ends is known with the first byte behind it.
    return by_path if not path or names_proxy(authority) else Opening.OTHER


def _of_path(path: bytes, paths: tuple[bytes, ...]) -> Opening:
    end = _PATH_END.search(path)
    if end is not None:
        return Opening.OWN if end[0] in (b" ", b"?") and is_own(path[: end.start()], paths) else Opening.OTHER
    if any(own.startswith(path) for own in paths) or is_own(path, paths):
        return Opening.UNDECIDED
    return Opening.OTHER
