"""What differs between two requests, in lines for people.

Pure: two requests in, lines out. What is long is told by its length and the beginning of its hash, and so is every
signature; what may be a secret is not told at all.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any, Literal
from urllib.parse import unquote_plus

from antigravity_healing.wire.http.headers import Headers
from antigravity_healing.wire.json.value import canonical, parse

LONGEST_VALUE = 60
LONGEST_SUMMARY = 120
MOST_CHANGES = 200
DEEPEST = 60
_LONGEST_ALIGNED = 2000
_HIDDEN = "(hidden)"

_SIGNATURES = frozenset({"signature", "thoughtSignature", "thought_signature", "encrypted_content"})
_SECRET_NAME = re.compile(
    r"(?:^|[-_])(?:key|authorization|cookie|password|secret|token)$|(?:apikey|accesstoken)$", re.IGNORECASE
)
_BARE_KEY = re.compile(r"[A-Za-z_][\w-]*")
# They follow from the address and from the body.
_IMPLIED_HEADERS = frozenset({"host", "content-length"})


@dataclass(frozen=True, slots=True)
class Sent:
    """A request as it was sent.

    origin: scheme, host and port. path: with the query. body: without a content-encoding.
    """

    method: str
    origin: str
    path: str
    headers: Headers
    body: bytes


@dataclass(frozen=True, slots=True)
class Difference:
    """What became of one place in a JSON value. `before` is of no account where it was added, `after` where removed."""

    path: str
    kind: Literal["removed", "changed", "added"]
    before: Any = None
    after: Any = None
    signed: bool = False
    secret: bool = False

    def __str__(self) -> str:
        def in_words(value: Any) -> str:
            return _HIDDEN if self.secret else as_line(value, signed=self.signed)

        match self.kind:
            case "removed":
                return f"{self.path}: removed {in_words(self.before)}"
            case "added":
                return f"{self.path}: added {in_words(self.after)}"
        return f"{self.path}: {in_words(self.before)} → {in_words(self.after)}"


def request_changes(before: Sent, after: Sent) -> list[str]:
    """What changed from one request to another, a line each; none if they are the same."""
    lines = [
        f"{what}: {_printable(old)} → {_printable(new)}"
        for what, old, new in (
            ("method", before.method, after.method),
            ("host", before.origin, after.origin),
            ("path", _safe_path(before.path), _safe_path(after.path)),
        )
        if old != new
    ]
    lines += _header_changes(before.headers, after.headers)
    lines += _body_changes(before.body, after.body)
    if len(lines) > MOST_CHANGES:
        lines = [*lines[:MOST_CHANGES], f"… and {len(lines) - MOST_CHANGES} more"]
    return lines


def json_changes(before: Any, after: Any) -> Iterator[Difference]:
    """What changed from one JSON value to another, by paths such as `messages[3].content[0].signature`.

    A path with what was removed is one of `before`, every other one is of `after`.
    """
    yield from _changes("", before, after, "", 0)


def as_line(value: Any, *, signed: bool = False) -> str:
    """A JSON value in one short line."""
    if isinstance(value, str):
        return _digest(value) if signed or len(value) > LONGEST_VALUE else _quoted(value)
    if isinstance(value, dict | list) and value:
        text = _compact(value, 0)
        return text if len(text) <= LONGEST_SUMMARY else _summary(value)
    return json.dumps(value)


def _changes(path: str, before: Any, after: Any, key: str, depth: int) -> Iterator[Difference]:
    if type(before) is type(after) and depth < DEEPEST and not is_secret_name(key):
        if isinstance(before, dict):
            yield from _member_changes(path, before, after, depth)
            return
        if isinstance(before, list):
            yield from _item_changes(path, before, after, key, depth)
            return
    if canonical(before) != canonical(after):
        yield _change(path, "changed", key, before, after)


def _member_changes(path: str, before: dict[str, Any], after: dict[str, Any], depth: int) -> Iterator[Difference]:
    for key, value in before.items():
        here = _joined(path, key)
        if key in after:
            yield from _changes(here, value, after[key], key, depth + 1)
        else:
            yield _change(here, "removed", key, before=value)
    for key, value in after.items():
        if key not in before:
            yield _change(_joined(path, key), "added", key, after=value)


def _item_changes(path: str, before: list[Any], after: list[Any], key: str, depth: int) -> Iterator[Difference]:
    for old, new in _aligned(before, after):
        if old is None:
            assert new is not None
            yield _change(f"{path}[{new}]", "added", key, after=after[new])
        elif new is None:
            yield _change(f"{path}[{old}]", "removed", key, before=before[old])
        else:
            yield from _changes(f"{path}[{new}]", before[old], after[new], key, depth + 1)


def _aligned(before: list[Any], after: list[Any]) -> Iterator[tuple[int | None, int | None]]:
    """Which item of one list became which of the other; None where it has no counterpart. Equal ones are left out."""
    old, new = ([canonical(item) for item in items] for items in (before, after))
    if max(len(old), len(new)) > _LONGEST_ALIGNED:
        yield from _paired(range(len(old)), range(len(new)))
        return
    for tag, old_from, old_to, new_from, new_to in SequenceMatcher(None, old, new, autojunk=False).get_opcodes():
        if tag != "equal":
            yield from _paired(*_by_shape(before, after, range(old_from, old_to), range(new_from, new_to)))


def _by_shape(
    before: list[Any], after: list[Any], old: range, new: range
) -> tuple[Sequence[int | None], Sequence[int | None]]:
    """Two runs of items, side by side: each with the next one of its shape."""
    if len(old) == len(new):
        return old, new
    left: list[int | None] = []
    right: list[int | None] = []
    at = new.start
    for place in old:
        found = next((other for other in range(at, new.stop) if _shape(before[place]) == _shape(after[other])), None)
        if found is not None:
            left += [None] * (found - at)
            right += range(at, found)
            at = found + 1
        left.append(place)
        right.append(found)
    return left + [None] * (new.stop - at), [*right, *range(at, new.stop)]


def _paired(old: Sequence[int | None], new: Sequence[int | None]) -> Iterator[tuple[int | None, int | None]]:
    for place in range(max(len(old), len(new))):
        yield old[place] if place < len(old) else None, new[place] if place < len(new) else None


def _shape(item: Any) -> object:
    """What tells one block, part or message from another: its type or role, else its members."""
    if isinstance(item, dict):
        return item.get("type") or item.get("role") or tuple(sorted(item))
    return type(item)


def _change(
    path: str, kind: Literal["removed", "changed", "added"], key: str, before: Any = None, after: Any = None
) -> Difference:
    return Difference(path or "the body", kind, before, after, key in _SIGNATURES, is_secret_name(key))


def _header_changes(before: Headers, after: Headers) -> Iterator[str]:
    old, new = _folded(before), _folded(after)
    for name in dict.fromkeys((*old, *new)):
        if name in _IMPLIED_HEADERS or old.get(name) == new.get(name):
            continue
        was, now = (_HIDDEN if is_secret_name(name) else _plain(values.get(name, "")) for values in (old, new))
        if name not in new:
            yield f"header {name}: removed {was}"
        elif name not in old:
            yield f"header {name}: added {now}"
        else:
            yield f"header {name}: {was} → {now}"


def _folded(headers: Headers) -> dict[str, str]:
    """The headers by name in lower case, the values of each joined."""
    found: dict[str, str] = {}
    for name, value in headers:
        key, text = name.decode("ascii", "replace").lower(), value.decode("utf-8", "replace")
        found[key] = f"{found[key]}, {text}" if key in found else text
    return found


def _body_changes(before: bytes, after: bytes) -> Iterator[str]:
    if before == after:
        return
    try:
        old, new = parse(before), parse(after)
    except ValueError:
        yield f"body: {len(before)} bytes → {len(after)} bytes, at least one of them is not JSON"
        return
    changes = [str(change) for change in json_changes(old, new)]
    yield from changes or [f"body: the same JSON, spelt differently ({len(before)} bytes → {len(after)} bytes)"]


def _safe_path(path: str) -> str:
    """The path, without the values of parameters that may be secrets."""
    path, mark, query = path.partition("?")
    params = [
        f"{param.partition('=')[0]}={_HIDDEN}" if is_secret_name(unquote_plus(param.partition("=")[0])) else param
        for param in query.split("&")
    ]
    return path + mark + "&".join(params)


def is_secret_name(name: str) -> bool:
    """Whether what is called so, a header or a parameter, may be a secret."""
    return _SECRET_NAME.search(name) is not None


def _plain(text: str) -> str:
    """A header's value."""
    return _digest(text) if len(text) > LONGEST_SUMMARY else _printable(text)


def _printable(text: str) -> str:
    return text if text.isprintable() else _quoted(text)


def _quoted(text: str) -> str:
    """The text as JSON; nothing in it breaks the line or steers a terminal."""
    quoted = json.dumps(text, ensure_ascii=False)
    return quoted if quoted.isprintable() else "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in quoted)


def _joined(path: str, key: str) -> str:
    if _BARE_KEY.fullmatch(key):
        return f"{path}.{key}" if path else key
    return f"{path}[{as_line(key)}]"


def _digest(text: str) -> str:
    short = hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
    return f"({len(text)} characters, sha256 {short}…)"


def _compact(value: Any, depth: int, key: str = "") -> str:
    if is_secret_name(key):
        return _HIDDEN
    if isinstance(value, str | int | float | None) or not value:
        return as_line(value, signed=key in _SIGNATURES)
    if depth > 4:
        return "…"
    if isinstance(value, dict):
        return (
            "{" + ", ".join(f"{as_line(name)}: {_compact(item, depth + 1, name)}" for name, item in value.items()) + "}"
        )
    return "[" + ", ".join(_compact(item, depth + 1, key) for item in value) + "]"


def _summary(value: Any) -> str:
    """What a long object or array is, without what is in it."""
    size = f"{len(canonical(value))} bytes, sha256 {hashlib.sha256(canonical(value)).hexdigest()[:8]}…"
    if isinstance(value, list):
        return f"[{len(value)} items] ({size})"
    kind = value.get("type") or value.get("role")
    if isinstance(kind, str) and len(kind) <= LONGEST_VALUE:
        return f"{as_line(kind)} with {len(value)} members ({size})"
    return f"{{{len(value)} members}} ({size})"
