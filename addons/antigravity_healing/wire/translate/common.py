"""What the translation to Gemini and that to Anthropic share: names, ids, and how a turn was shown to a client."""

import base64
import binascii
import re
from collections.abc import Iterable
from typing import Any, Protocol

from antigravity_healing.wire.json.value import digest

type Body = dict[str, Any]
type Block = dict[str, Any]
type Part = dict[str, Any]

_TOOL_USE_ID = re.compile(r"toolu_[0-9a-f]{16}(?:([rb])_([A-Za-z0-9_-]+))?")
# In which Gemini's models see the functions that a request declares; they say it now and then.
_NAMESPACE = re.compile(r"\Adefault_api[.:]")
_PLAIN_ID = re.compile(r"[A-Za-z0-9_-]{1,64}")


class UntranslatableError(ValueError):
    """The dialect of upstream has no place for something. The message names it, where it is, and what would do."""


class History(Protocol):
    """What is known of the turns that this client was given as translations of upstream's."""

    def turn(self, index: int, content: list[Body]) -> list[Body] | None:
        """Upstream's own turn, which the client was shown as these blocks or parts; None if it is not known.

        index: of the message or content in which they end.
        """

    def call(self, shown: str) -> Body | None:
        """Upstream's own call that the client knows by this id; None if it is not known."""


class NoHistory:
    """Nothing is known."""

    def turn(self, index: int, content: list[Body]) -> list[Body] | None:
        """Not known."""
        return None

    def call(self, shown: str) -> Body | None:
        """Not known."""
        return None


NO_HISTORY = NoHistory()


class AnswerTranslator(Protocol):
    """Makes the client's events of upstream's, each as soon as it comes."""

    @property
    def broken(self) -> str:
        """Why what came can't be told as a good answer, "" if it can."""

    @property
    def continuation(self) -> str:
        """The token with which upstream has to be asked to go on, "" where its answer is complete."""

    def go_on(self) -> None:
        """What follows is the answer to the request with that token."""

    def take(self, event: Body) -> list[Body]:
        """The client's events that this event of upstream makes."""

    def end(self) -> list[Body]:
        """The client's events that end the answer, unless they have been given."""


def tool_use_id(unique: str, own: str) -> str:
    """An id for an Anthropic client: unique by `unique`, and leading back to Gemini's own id ("": it gave none)."""
    head = "toolu_" + digest(unique)[:16]
    if not own:
        return head
    if _PLAIN_ID.fullmatch(own):
        return f"{head}r_{own}"
    return f"{head}b_{base64.urlsafe_b64encode(own.encode('utf-8', 'surrogatepass')).decode().rstrip('=')}"


def own_id(shown: str) -> str:
    """Gemini's own id of the call that a client knows by this id, "" if it gave none."""
    match = _TOOL_USE_ID.fullmatch(shown)
    if match is None or match.group(1) is None:
        return ""
    if match.group(1) == "r":
        return match.group(2)
    encoded = match.group(2)
    try:
        return base64.urlsafe_b64decode(encoded + "=" * (-len(encoded) % 4)).decode("utf-8", "surrogatepass")
    except (binascii.Error, UnicodeDecodeError):
        return ""


class ToolNames:
    """The names of a request's tools, there and back: a name that upstream would not take becomes one that it does.

    legal: what the whole of a name has to match. longest: its characters at most.
    """

    def __init__(self, names: Iterable[str], legal: re.Pattern[str], longest: int) -> None:
        self._legal = legal
        self._longest = longest
        # Only the tools that the request declares can be called, so only they have to be led back.
        self._back = {self.there(name): name for name in names}

    def there(self, name: str) -> str:
        """The name that upstream takes: always the same for the same name, another for another."""
        if self._legal.fullmatch(name):
            return name
        mark = "_" + digest(name)[:8]
        plain = re.sub(r"[^A-Za-z0-9_]", "_", name)
        if not plain or not (plain[0].isascii() and (plain[0].isalpha() or plain[0] == "_")):
            plain = "_" + plain
        return plain[: self._longest - len(mark)] + mark

    def back(self, name: str) -> str:
        """The client's own name for the tool that upstream calls so."""
        if name in self._back:
            return self._back[name]
        return self._back.get(_NAMESPACE.sub("", name), name)


GEMINI_TOOL_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.:-]{0,63}")
ANTHROPIC_TOOL_NAME = re.compile(r"[A-Za-z0-9_-]{1,128}")


def gemini_tool_names(names: Iterable[str] = ()) -> ToolNames:
    """The names of these tools at Gemini, and back."""
    return ToolNames(names, GEMINI_TOOL_NAME, 64)


def anthropic_tool_names(names: Iterable[str] = ()) -> ToolNames:
    """The names of these tools at Anthropic, and back."""
    return ToolNames(names, ANTHROPIC_TOOL_NAME, 128)


IMAGE_OF_SUFFIX = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}
"""The types of images that the Anthropic and the Gemini API take, by how the names of their files end."""

# Budgets of thinking below these are of that level.
_LEVEL_BELOW = ((4_096, "low"), (16_384, "medium"))


def level_of_budget(tokens: float) -> str:
    """The level of thinking that such a budget stands for."""
    return next((name for below, name in _LEVEL_BELOW if tokens < below), "high")
