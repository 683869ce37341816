"""Whether the head of a message is what HTTP allows (RFC 9110, sections 5.1, 5.5 and 15; RFC 9112, section 3.2).

What is not is read differently by different programs: one thing to who admits a request, another to who serves it.
"""

import re
from collections.abc import Iterable

_NAME = re.compile(rb":?[!#$%&'*+\-.^_`|~0-9A-Za-z]+")
# Tabs are allowed in values, and bytes from 0x80 on, which mean nothing in particular.
_NOT_IN_VALUE = re.compile(rb"[\x00-\x08\x0a-\x1f\x7f]")
_NOT_IN_TARGET = re.compile(rb"[\x00-\x20\x7f]")
_NOT_ASCII = re.compile(rb"[\x80-\xff]")
_WHAT = {0x00: "NUL", 0x0A: "a line feed", 0x0B: "a vertical tab", 0x0D: "a carriage return", 0x20: "a space"}


def headers_flaw(headers: Iterable[tuple[bytes, bytes]]) -> str:
    """What is wrong with the names or values of headers or trailers, in words; "" if nothing is."""
    headers = tuple(headers)
    names, values = b"".join(name for name, _ in headers), b"".join(value for _, value in headers)
    if not _NOT_IN_VALUE.search(values) and _NAME.fullmatch(names) and all(name for name, _ in headers):
        return ""  # one look instead of two for each
    for name, value in headers:
        if not _NAME.fullmatch(name):
            return "the name of a header has a character that is not allowed there"
        if found := _NOT_IN_VALUE.search(value):
            return f"the value of header {name.decode('ascii')[:60]} has {_named(found)} in it"
    return ""


def target_flaw(target: bytes, *, ascii_only: bool = True) -> str:
    """What is wrong with the path and query of a request, in words; "" if nothing is."""
    if found := _NOT_IN_TARGET.search(target) or (ascii_only and _NOT_ASCII.search(target)):
        return f"the path has {_named(found)} in it; write it as %{found[0][0]:02X}"
    return ""


def request_flaw(target: bytes, headers: Iterable[tuple[bytes, bytes]], *, ascii_only: bool = True) -> str:
    """What is wrong with a request's head, in words; "" if nothing is.

    target: path and query. ascii_only: whether they may have no other bytes, as the standard says.
    """
    return target_flaw(target, ascii_only=ascii_only) or headers_flaw(headers)


def answer_flaw(status: int, headers: Iterable[tuple[bytes, bytes]]) -> str:
    """What is wrong with an answer's head, in words; "" if nothing is."""
    if not 100 <= status <= 599:
        return f"there is no status {str(status)[:20]}"
    return headers_flaw(headers)


def _named(found: re.Match[bytes]) -> str:
    byte = found[0][0]
    if byte >= 0x80:
        return f"the byte 0x{byte:02x}, which is not ASCII,"
    return _WHAT.get(byte, f"the control character 0x{byte:02x}")
