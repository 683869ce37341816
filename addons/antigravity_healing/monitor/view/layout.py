"""Lines for a window that neither wraps nor shows more than so many of them."""

import re
from collections.abc import Iterable, Iterator

COLUMNS = 100
MOST_LINES = 500
"""mitmweb shows 512 before it has to be asked for more."""
MOST_CHARACTERS = 60_000
"""Of a page: at most 200 kB where the most are CJK."""
_LEAST_ROOM = 20
# C0 and C1, what turns the direction of text, what is not seen, halves of surrogate pairs. Not the joiners of emoji.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e0fff]"
)


def plain(text: str) -> str:
    """The text with whatever steers a terminal, or hides something, written as an escape; lines and tabs stay."""
    return _UNSEEN.sub(_escaped, text.replace("\r\n", "\n"))


def plain_line(text: str, longest: int = 200) -> str:
    """The same as one line of at most so many characters."""
    line = " ".join(plain(text[: 4 * longest]).split())
    return line if len(line) <= longest and len(text) <= 4 * longest else line[: longest - 1] + "…"


def _escaped(match: re.Match[str]) -> str:
    code = ord(match[0])
    return chr(0x2400 + code) if code < 0x20 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def wrapped(text: str, indent: str, first: str | None = None) -> Iterator[str]:
    """The lines of a text, wrapped at the last blank that fits. first: how the first begins, instead of the indent."""
    lead = indent if first is None else first
    for line in plain(text).expandtabs(4).split("\n"):
        rest = line.rstrip()
        while True:
            room = max(_LEAST_ROOM, COLUMNS - len(lead))
            if len(rest) <= room:
                break
            cut = rest.rfind(" ", 1, room + 1)
            cut = cut if cut > room // 2 else room
            yield (lead + rest[:cut]).rstrip()
            rest, lead = rest[cut:].removeprefix(" "), indent
        yield (lead + rest).rstrip()
        lead = indent


def fitted(text: str, most: int, indent: str, first: str | None = None) -> list[str]:
    """As `wrapped`, at most so many lines, which are 3 or more: of what is longer the beginning and the end."""
    longest = most * COLUMNS
    if len(text) > 2 * longest:
        head, tail = text[:longest], text[-longest:]
        lines = [*wrapped(head, indent, first), *wrapped(tail, indent)]
        return _middle_left_out(lines, most, indent, f"{len(text):,} characters in all")
    lines = list(wrapped(text, indent, first))
    return lines if len(lines) <= most else _middle_left_out(lines, most, indent, f"{len(lines)} lines in all")


def _middle_left_out(lines: list[str], most: int, indent: str, what: str) -> list[str]:
    behind = (most - 1) // 3
    return [*lines[: most - 1 - behind], f"{indent}… ({what})", *(lines[-behind:] if behind else ())]


class Page:
    """The lines of a page, as many as are shown."""

    def __init__(self, lines: Iterable[str] = ()) -> None:
        self.lines: list[str] = []
        self.left = MOST_LINES
        self._characters = MOST_CHARACTERS
        self._cut = False
        self.add(lines)

    @property
    def full(self) -> bool:
        """Whether nothing more is taken."""
        return self.left <= 0 or self._characters <= 0

    def add(self, lines: Iterable[str]) -> None:
        """Add lines, as long as there is room; of blank ones no two together, and none at the start."""
        for line in lines:
            if self.full:
                self._cut = True
                return
            if not line and not (self.lines and self.lines[-1]):
                continue
            self.lines.append(line)
            self.left -= 1
            self._characters -= len(line) + 1

    @property
    def text(self) -> str:
        """The whole."""
        if self._cut:
            return "\n".join((*self.lines, "… (no more is shown here)")) + "\n"
        return "\n".join(self.lines) + "\n"
