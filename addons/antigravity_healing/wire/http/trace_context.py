"""W3C Trace Context: the headers by which a program says which of its spans a request is part of."""

import re

FIELDS = frozenset((b"traceparent", b"tracestate", b"baggage"))
"""Where requests say so, in lower case: between a client and whoever looks after it, and no business of an upstream."""
_ZEROS = re.compile("0+")
_FORM = re.compile("([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


def trace_parent(value: str) -> str:
    """What a `traceparent` says, as version 00 writes it; "" where it is none."""
    found = _FORM.fullmatch(value.strip())
    if found is None or found[1] == "ff" or (found[1] == "00" and found[5] is not None):
        return ""
    if _ZEROS.fullmatch(found[2]) or _ZEROS.fullmatch(found[3]):
        return ""
    return f"00-{found[2]}-{found[3]}-{found[4]}"
