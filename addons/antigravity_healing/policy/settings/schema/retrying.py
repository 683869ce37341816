"""What is done so that an answer comes: `[retry]`, `[peek]`, `[repair]`, `[translate]`."""

from typing import Literal

from pydantic import Field

from antigravity_healing.policy.settings.schema.table import Table
from antigravity_healing.policy.settings.values import Override, Seconds, SecondsOrOff, Wait

type Strategy = Literal["affinity", "round_robin", "least_used"]


type Commit = Literal["first_content", "first_visible", "first_event", "end"]


type RepairStyle = Literal["auto", "strip", "text"]


class Retry(Table):
    """What may be spent on an exchange, and how accounts take turns."""

    max_attempts: int = Field(default=3, ge=1, le=10)
    """Attempts per exchange that fail after upstream has worked for them, the first one included. Repairs do not
    count, and, unless `max_wait` is 0, neither do those that upstream, or the way to it, has turned away at once."""
    max_wait: Wait = 30.0
    """Seconds waited between attempts, in all, per exchange: what is turned away at once is tried for so long."""
    grace: Wait = 2.0
    """A rate limit of at most so many seconds is waited for on the same account."""
    strategy: Strategy = "affinity"
    upgrade: bool = True
    """Whether a request for a whole answer is sent as one for a stream, so that a cut anywhere in it can be healed."""
    spare_retries: int = Field(default=20, ge=0)
    """Retries that the whole process may make a minute beside one for every two requests."""


class PeekOverrides(Table):
    """What a route changes of `Peek`. None: not given; False: turned off."""

    first_byte: Override = None
    silence: Override = None
    first_content: Override = None
    idle: Override = None
    progress: Override = None
    soft_commit: Override = None
    first_byte_json: Seconds | None = None
    keep_alive: Seconds | None = None
    commit: Commit | None = None


class Peek(Table):
    """The clocks of an attempt, in seconds (None: off), and when to commit."""

    first_byte: SecondsOrOff = 300.0
    """To the response headers of a stream."""
    silence: SecondsOrOff = 120.0
    """Without any byte before commit, for a dialect that pings."""
    first_content: SecondsOrOff = 600.0
    """To the first content; reset by nothing."""
    idle: SecondsOrOff = 300.0
    """Without any byte after commit."""
    progress: SecondsOrOff = 600.0
    """Without anything but signs of life after commit."""
    soft_commit: SecondsOrOff = 15.0
    """Of holding before the client gets the headers and keep-alives."""
    first_byte_json: Seconds = 600.0
    """To the response headers of a request that does not stream."""
    keep_alive: Seconds = 10.0
    """Between two keep-alives."""
    commit: Commit = "first_content"

    def merged(self, overrides: PeekOverrides) -> "Peek":
        """These settings with what `overrides` gives put in their place."""
        given = {key: value for key, value in overrides if value is not None}
        if not given:
            return self
        return self.model_copy(update={key: None if value is False else value for key, value in given.items()})


class Repair(Table):
    """How a conversation is repaired that upstream refuses for its signatures."""

    style: RepairStyle = "auto"
    """What becomes of thinking that has to go: `strip` takes it out, `text` makes it text; `auto` is `text` for models
    that are known not to check what comes before a block, else `strip`."""
    note: str = "(Note: thinking of earlier turns is shown above as plain text. Please go on from there.)"
    """What is added to the last user turn where thinking became text; may be empty."""


class Translate(Table):
    """How a request is translated for an upstream that does not speak the client's dialect."""

    max_tokens: int | None = Field(default=None, ge=1)
    """What an Anthropic upstream is asked for where a Gemini client sets no limit; None: as much as the model can."""
