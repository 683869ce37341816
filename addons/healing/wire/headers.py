"""HTTP headers as pairs of bytes, in their order, as mitmproxy keeps them too."""

from collections.abc import Container, Iterable

Headers = tuple[tuple[bytes, bytes], ...]

HOP_BY_HOP = frozenset(
    (
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    )
)
"""Headers that are about one connection (RFC 9110, section 7.6.1) and never forwarded."""


def get(headers: Iterable[tuple[bytes, bytes]], name: str) -> str | None:
    """The first value of a header, None if it is not there; the name in lower case."""
    wanted = name.encode()
    for key, value in headers:
        if key.lower() == wanted:
            return value.decode("utf-8", "replace")
    return None


def without(headers: Iterable[tuple[bytes, bytes]], names: Container[bytes]) -> Headers:
    """The headers but for those whose name, in lower case, is among `names`."""
    return tuple((key, value) for key, value in headers if key.lower() not in names)


def by_name(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The headers by their names in lower case; of a name that comes twice, the last."""
    return {key.lower().decode("ascii", "replace"): value.decode("utf-8", "replace") for key, value in headers}
