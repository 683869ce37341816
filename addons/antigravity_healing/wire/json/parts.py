"""Reading a long JSON text part by part: a single call for all of it would hold up everybody until it is over."""

import json
import re
from collections.abc import Callable, Sequence
from secrets import token_hex
from typing import Any

from antigravity_healing.wire.json.skip import STRING, string_end

type Load = Callable[[bytes], Any]

# Of a part: the slowest, of numbers with thousands of digits, takes some milliseconds.
_PART_BYTES = 64 * 1024
# Without a comma: no value takes so much, but for strings, which are read by themselves.
_LONGEST_PART = 16 * _PART_BYTES
_STRING_BYTES = 2 * _PART_BYTES
# As deep as orjson goes, about.
_DEEPEST = 1000
_SHORT = rb'[^"{}\[\]]{1,64}+|"[^"\\]{0,256}+(?:\\.[^"\\]{0,64}+){0,8}+"'
for _ in range(2):
    # Whether the bracket is the right one is seen by who reads the part.
    _SHORT += rb"|[{\[](?:%b){0,8}+[}\]]" % _SHORT
# Each matches a few megabytes at most.
_TO_BRACKET = re.compile(rb'(?:[^"{}\[\]]{1,2048}+|%b|%b){0,24}+' % (_SHORT, STRING), re.DOTALL)
_TO_COMMA = re.compile(rb'(?:[^",{}\[\]]{1,2048}+|%b){0,24}+' % STRING, re.DOTALL)
# Neither an escape nor a pair of them may be cut in two.
_ESCAPES = re.compile(rb"(?:[^\\]{1,256}+|\\u[dD][89abAB]..\\u....|\\u....|\\.){0,4096}+", re.DOTALL)
_NO_ESCAPES = re.compile(rb"[^\\]{12}")
_CLOSING = {ord("{"): ord("}"), ord("["): ord("]")}
_CLOSINGS = frozenset(_CLOSING.values())
_QUOTE, _COMMA = ord('"'), ord(",")
_CONTAINERS = frozenset((dict, list))


def parse_in_parts(text: bytes | bytearray, load: Load, most: int) -> Any:
    """The value of a JSON text.

    load: what a part of the text is read with, which is an array, an object or a string. It makes lists and dicts, or
    for objects lists of pairs, and raises ValueError for what is no JSON.
    most: how many values it may have. Raises ValueError.
    """
    return _Reading(text, load, most).value()


class _Open:
    """An array or object whose end has not come.

    opened: where it begins. start: where that begins which is not read yet, behind `pieces`.
    made: what has been read of it. values: of its items, those that have been read by themselves.
    """

    __slots__ = ("closing", "made", "opened", "pieces", "size", "start", "values")

    def __init__(self, opened: int, start: int, closing: int) -> None:
        self.opened = opened
        self.start = start
        self.closing = closing
        self.pieces: list[bytes | bytearray] = []
        self.size = 0
        self.made: Any = None
        self.values: list[Any] = []


class _Reading:
    def __init__(self, text: bytes | bytearray, load: Load, most: int) -> None:
        self._text = text
        self._load = load
        self._most = most
        self._count = 0
        # Nobody can have written this.
        self._mark = token_hex(8)
        # The whole is read as if it were the only item of an array.
        self._open = [_Open(0, 0, ord("]"))]

    def value(self) -> Any:
        text, open_ = self._text, self._open
        at, end = 0, len(text)
        while True:
            inner = open_[-1]
            size = inner.size + at - inner.start
            if size > _LONGEST_PART:
                raise ValueError(f"neither a comma nor an end before byte {at}")
            is_long = size >= _PART_BYTES
            match = (_TO_COMMA if is_long else _TO_BRACKET).match(text, at)
            assert match is not None
            at = match.end()
            if at == end:
                return self._whole()
            found = text[at]
            if found == _QUOTE:
                at = self._behind_string(at)
                continue
            if found in _CLOSING:
                if len(open_) > _DEEPEST:
                    raise ValueError("nested too deeply")
                open_.append(_Open(at, at + 1, _CLOSING[found]))
            elif found in _CLOSINGS:
                self._close(at)
            elif found == _COMMA and is_long:
                self._read(inner, at, last=False)
            else:
                continue
            at += 1

    def _whole(self) -> Any:
        [whole, *unfinished] = self._open
        if unfinished:
            raise ValueError("it has no end")
        values = self._read(whole, len(self._text), last=True)
        if len(values) != 1:
            raise ValueError("it is not one value")
        return values[0]

    def _close(self, at: int) -> None:
        """The innermost ends here. A short one is read with what stands around it."""
        inner = self._open.pop()
        if inner.closing != self._text[at] or not self._open:
            raise ValueError(f"nothing that ends so has begun before byte {at}")
        if inner.made is not None or inner.pieces or at - inner.opened >= _PART_BYTES:
            self._put(self._read(inner, at, last=True), inner.opened, at + 1)

    def _behind_string(self, at: int) -> int:
        """Where a string ends that is longer than most."""
        end = string_end(self._text, at)
        if end - at >= _PART_BYTES:
            self._put(self._string(at + 1, end - 1), at, end)
        return end

    def _string(self, at: int, end: int) -> str:
        pieces = []
        while at < end:
            cut = self._cut(at, end)
            pieces.append(self._loaded(b'"%b"' % bytes(self._text[at:cut]), at))
            at = cut
        return "".join(pieces)

    def _cut(self, at: int, end: int) -> int:
        """Where the text of a string can be cut, a part of it behind `at`."""
        text = self._text
        if end - at <= _STRING_BYTES:
            return end
        found = _NO_ESCAPES.search(text, at + _STRING_BYTES, min(end, at + _STRING_BYTES + 1024))
        found = found or _ESCAPES.match(text, at, end)
        assert found is not None
        cut = found.end()
        while at < cut < end and text[cut] & 0xC0 == 0x80:  # in the middle of a character
            cut -= 1
        if cut == at:
            raise ValueError(f"no text at byte {at}")
        return cut

    def _put(self, value: Any, start: int, end: int) -> None:
        """Put a value in the place of its text, in what is open now."""
        around = self._open[-1]
        before, mark = self._text[around.start : start], b'"%b%d"' % (self._mark.encode(), len(around.values))
        around.pieces += (before, mark)
        around.size += len(before) + len(mark)
        around.values.append(value)
        around.start = end

    def _read(self, container: _Open, at: int, *, last: bool) -> Any:
        """Read what has come of a container before this place. Gives all that has been read of it."""
        pieces = (*container.pieces, self._text[container.start : at])
        part = (b"{%b}" if container.closing == ord("}") else b"[%b]") % b"".join(pieces)
        found = self._loaded(part, container.start)
        if not found and not (last and container.made is None):
            raise ValueError(f"nothing between commas before byte {at}")
        self._add(found)
        if container.values:
            self._resolve(found, container.values)
        if container.made is None:
            container.made = found
        elif isinstance(found, dict):
            container.made.update(found)
        else:
            container.made.extend(found)
        container.pieces, container.values, container.size, container.start = [], [], 0, at + 1
        return container.made

    def _loaded(self, part: bytes, at: int) -> Any:
        try:
            return self._load(part)
        except json.JSONDecodeError as error:
            raise ValueError(f"{error.msg} behind byte {at}") from None

    def _add(self, found: Any) -> None:
        level: list[Any] = [found]
        while level:
            self._count += sum(map(len, level))
            inside: list[Any] = [item for item in level if type(item) is not dict]
            inside += map(dict.values, [item for item in level if type(item) is dict])
            level = [each for items in inside for each in items if type(each) in _CONTAINERS]
        if self._count > self._most:
            raise ValueError(f"it has more than {self._most:,} values")

    def _resolve(self, found: Any, values: Sequence[Any]) -> None:
        """Put what has been read by itself into its places."""
        mark = self._mark

        def own(item: Any) -> Any:
            return values[int(item[len(mark) :])] if type(item) is str and item.startswith(mark) else item

        if isinstance(found, dict):
            names = list(found)
            found.update([(name, own(item)) for name, item in found.items()])
        else:
            names = [item[0] for item in found if type(item) is tuple]
            found[:] = [(item[0], own(item[1])) if type(item) is tuple else own(item) for item in found]
        if any(name.startswith(mark) for name in names):
            raise ValueError("a member has a very long name")
