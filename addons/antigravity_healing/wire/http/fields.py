"""What may stand in the head of an HTTP message (RFC 9110, 9112 and 9113), told by what is wrong with one.

Nothing of what the message says is repeated, but for names that are fit to be printed: heads hold secrets.
"""

import re
from collections.abc import Iterable, Sequence
from typing import Literal

type Pairs = Iterable[tuple[bytes, bytes]]
type Part = Literal["request", "response", "trailers"]

_NAME = re.compile(rb"[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
_VALUE = re.compile(rb"[\t\x20-\x7e\x80-\xff]*")
_STATUS_LINE = re.compile(rb"HTTP/1\.[0-9][ \t]+([0-9]+)(?:[ \t][\t\x20-\x7e\x80-\xff]*)?")
_STATUS = re.compile(rb"[1-5][0-9][0-9]")
_TARGET = re.compile(rb"[\x21-\x7e\x80-\xff]+")
_ASCII_TARGET = re.compile(rb"[\x21-\x7e]+")
_PSEUDO: dict[Part, tuple[frozenset[bytes], frozenset[bytes]]] = {
    "request": (frozenset((b":method", b":scheme", b":path")), frozenset((b":authority",))),
    "response": (frozenset((b":status",)), frozenset()),
    "trailers": (frozenset(), frozenset()),
}
"""Of each part, the pseudo-headers that it must have and those that it may have."""
_OF_A_CONNECTION = frozenset((b"connection", b"proxy-connection", b"keep-alive", b"transfer-encoding", b"upgrade"))
_ONLY_ONCE = frozenset((b"content-length", b"host"))

FIELD_OVERHEAD_BYTES = 32
"""What a header counts beside its name and value (RFC 9113, section 6.5.2)."""


def size_of(fields: Pairs) -> int:
    """How many bytes a head counts."""
    return sum(len(name) + len(value) + FIELD_OVERHEAD_BYTES for name, value in fields)


def wrong_status(status: bytes) -> str:
    """What is wrong with a status code, "" for nothing."""
    return "" if _STATUS.fullmatch(status) else "a status code that is not one of 100 to 599"


def wrong_fields(fields: Pairs) -> str:
    """What is wrong with headers or trailers of either HTTP, "" for nothing."""
    for name, value in fields:
        if not _NAME.fullmatch(name):
            return "a header whose name has characters that a name can't have"
        if not _VALUE.fullmatch(value):
            return f"control characters in the value of the header {_shown(name)}"
    return ""


def wrong_response_head(lines: Sequence[bytes], most: int) -> str:
    """What is wrong with the lines of an HTTP/1 response's head, "" for nothing; it may have `most` headers."""
    if not lines or not (status := _STATUS_LINE.fullmatch(lines[0])):
        return "a first line that is not a status line of HTTP/1"
    if wrong := wrong_status(status[1]):
        return wrong
    if len(lines) - 1 > most:
        return f"more than {most} headers"
    for line in lines[1:]:
        if line[:1] in (b" ", b"\t"):
            return "a header that goes on in another line"
        name, colon, value = line.partition(b":")
        if not colon:
            return "a line that is not a header"
        if wrong := wrong_fields(((name, value),)):
            return wrong
    return ""


def wrong_request(method: bytes, target: bytes, fields: Sequence[tuple[bytes, bytes]]) -> str:
    """What is wrong with a request's method, its target and its headers, "" for nothing."""
    if not _NAME.fullmatch(method):
        return "a method with characters that a method can't have"
    if target == b"*" and method != b"OPTIONS":
        return 'the path "*", which only OPTIONS has'
    return wrong_target(target) or wrong_fields(fields) or _twice(fields)


def wrong_target(target: bytes, *, ascii_only: bool = False) -> str:
    """What is wrong with a path and query, "" for nothing.

    ascii_only: whether they may have no other bytes. The standard says so; many programs send and take others.
    """
    if target and not _TARGET.fullmatch(target):
        return "a path with spaces or control characters"
    if target and ascii_only and not _ASCII_TARGET.fullmatch(target):
        return "a path with bytes that are not ASCII, which are written like %C3%BC"
    return ""


def wrong_http2_head(part: Part, fields: Sequence[tuple[bytes, bytes]], most: int) -> str:
    """What is wrong with a block of HTTP/2 headers, "" for nothing; it may have `most` of them."""
    if len(fields) > most:
        return f"more than {most} headers"
    count = next((place for place, (name, _) in enumerate(fields) if not name.startswith(b":")), len(fields))
    pseudo, plain = dict(fields[:count]), fields[count:]
    needed, allowed = _PSEUDO[part]
    if len(pseudo) != count or not needed <= pseudo.keys() or not pseudo.keys() <= needed | allowed:
        return "pseudo-headers that are missing, unknown or given twice"
    wrong = wrong_fields((name[1:], value) for name, value in pseudo.items())
    if not wrong and part == "request":
        wrong = wrong_request(pseudo[b":method"], pseudo[b":path"], ()) or _wrong_target(pseudo, plain)
    if not wrong and part == "response":
        wrong = wrong_status(pseudo[b":status"])
    return wrong or wrong_fields(plain) or _twice(plain) or _of_http1(plain)


def _wrong_target(pseudo: dict[bytes, bytes], plain: Pairs) -> str:
    hosts = {value for name, value in plain if name.lower() == b"host"} | {pseudo.get(b":authority", b"")} - {b""}
    if not pseudo[b":path"]:
        return "an empty path"
    return "" if len(hosts) == 1 else "no host, or more than one"


def _of_http1(fields: Pairs) -> str:
    for name, value in fields:
        if name != name.lower():
            return "a header with upper case letters in its name"
        if name in _OF_A_CONNECTION or (name == b"te" and value.lower() != b"trailers"):
            return f"the header {_shown(name)}, which HTTP/2 does not have"
    return ""


def _twice(fields: Pairs) -> str:
    seen = set()
    for name, _ in fields:
        lower = name.lower()
        if lower in seen:
            return f"the header {_shown(lower)} more than once"
        if lower in _ONLY_ONCE:
            seen.add(lower)
    return ""


def _shown(name: bytes) -> str:
    return name[:40].decode("ascii")
