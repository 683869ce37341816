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


def lowered(headers: Iterable[tuple[bytes, bytes]]) -> Headers:
    """The headers with their names in lower case, as HTTP/2 and HTTP/3 want them."""
    return tuple((key.lower(), value) for key, value in headers)


def with_flags(headers: Headers, name: bytes, flags: Iterable[str]) -> Headers:
    """The headers with these flags in the last list of this name, in lower case, behind those that it has."""
    places = [place for place, (key, _) in enumerate(headers) if key.lower() == name]
    known = {flag for place in places for flag in flags_in(headers[place][1].decode("latin-1"))}
    missing = ",".join(flag for flag in dict.fromkeys(flags) if flag not in known).encode("latin-1", "replace")
    if not missing:
        return headers
    if not places:
        return (*headers, (name, missing))
    key, value = headers[places[-1]]
    joined = value + b"," + missing if value.strip() else missing
    return (*headers[: places[-1]], (key, joined), *headers[places[-1] + 1 :])


def without_flags(headers: Headers, name: bytes, flags: Container[str]) -> Headers:
    """The headers without these flags in the lists of this name, in lower case; a list that had no others goes."""
    kept = []
    for key, value in headers:
        if key.lower() != name:
            kept.append((key, value))
            continue
        before = flags_in(value.decode("latin-1"))
        left = [flag for flag in before if flag not in flags]
        if left:
            kept.append((key, value if left == before else ",".join(left).encode("latin-1")))
    return tuple(kept)


def flags_in(value: str) -> list[str]:
    """The flags of a list, in their order."""
    return [flag for item in value.split(",") if (flag := item.strip())]


def by_name(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """The headers by their names in lower case; of a name that comes twice, the last."""
    return {key.lower().decode("ascii", "replace"): value.decode("utf-8", "replace") for key, value in headers}
