"""What requests and answers of any dialect say, in shapes for people who read them."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

MOST_PARTS = 1000
"""Parts of a turn that are told one by one: far more than any has."""
PartKind = Literal["text", "thinking", "call", "result", "data", "other"]


class Part(NamedTuple):
    """A piece of a turn.

    text: what it says; of data, where it lies; of a call, its arguments where they are not to be read.
    name: of a tool; of data, its media type; of what is none of these, its type.
    id: which call it is, or answers. value: a call's arguments, a result that is no text, or what is not known.
    size: bytes of data, of what can't be read. failed: whether a result tells of a failure. parts: those of a result.
    """

    kind: PartKind
    text: str = ""
    name: str = ""
    id: str = ""
    value: Any = None
    size: int = 0
    failed: bool = False
    parts: Sequence["Part"] = ()


class Turn(NamedTuple):
    """What one side says at once."""

    role: str
    parts: Sequence[Part]


class Asked(NamedTuple):
    """What a request says beside its turns. tools: their names."""

    system: Sequence[Part] = ()
    tools: Sequence[str] = ()
    settings: Mapping[str, Any] = {}


class Answer(NamedTuple):
    """An answer, as far as it has come.

    turns: one for each candidate. stop: why it stopped, "" where that has not been said.
    usage: counts by the API's own names. error: the error that it brought, None for none.
    """

    turns: Sequence[Turn] = ()
    stop: str = ""
    model: str = ""
    usage: Mapping[str, Any] = {}
    error: Any = None


class AnswerReader(Protocol):
    """Puts an answer together for reading, also one that is cut, or of which the middle is missing."""

    @property
    def answer(self) -> Answer:
        """The answer as far as it has come."""

    def take(self, event: Mapping[str, Any]) -> None:
        """Take what the next event says; never raises."""


class Conversation(Protocol):
    """How a dialect says what is talked about. Nothing in here raises, whatever it is given."""

    @property
    def turns_in(self) -> str:
        """The member of a request's body that is the list of its turns; "" where none is."""

    def turn(self, item: Any) -> Turn:
        """An item of that list."""

    def asked(self, body: Mapping[str, Any]) -> Asked:
        """What a request says beside its turns. body: without them, and maybe without other members."""

    def answer_reader(self) -> AnswerReader:
        """A reader for a new answer."""


class NoAnswerReader:
    """Of an API whose answers are not known."""

    answer = Answer()

    def take(self, event: Mapping[str, Any]) -> None:
        """Nothing is known of it."""


class NoConversation:
    """Of an API of which nobody knows what it says."""

    turns_in = ""

    def turn(self, item: Any) -> Turn:
        """Nothing that is known."""
        return Turn("", [Part("other", value=item)])

    def asked(self, body: Mapping[str, Any]) -> Asked:
        """All that it says."""
        return Asked(settings=body)

    def answer_reader(self) -> NoAnswerReader:
        """One that reads nothing."""
        return NoAnswerReader()


def texts(value: Any) -> str:
    """A string, "" for anything else."""
    return value if isinstance(value, str) else ""


def data_part(kind: Any, encoded: Any) -> Part:
    """Data that stands in base64."""
    return Part("data", name=texts(kind), size=len(texts(encoded)) * 3 // 4)


def parts_of(items: Any, part_of: Callable[[Any], Part]) -> list[Part]:
    """The parts of a content: a text alone, one part, or a list of such."""
    if isinstance(items, str):
        return [Part("text", items)] if items else []
    if not isinstance(items, list):
        return [] if items is None else [part_of(items)]
    parts = [part_of(item) for item in items[:MOST_PARTS]]
    if len(items) > MOST_PARTS:
        parts.append(Part("other", value=f"{len(items) - MOST_PARTS:,} more"))
    return parts


def names_of(items: Any, *members: str) -> list[str]:
    """What these objects are called, by the first of these members that they have."""
    found = []
    for item in items if isinstance(items, list) else ():
        fields = item if isinstance(item, dict) else {}
        found.append(next((name for member in members if (name := texts(fields.get(member)))), "?"))
    return found
