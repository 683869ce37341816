"""How the proxy behaves: the sections of `antigravity.toml` whose keys all have a default."""

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, SecretStr, Strict, field_validator

from healing.policy.settings.secret_sources import parse_source
from healing.policy.settings.values import Override, Seconds, SecondsOrOff, Secret, Text, Wait

type Strategy = Literal["affinity", "round_robin", "least_used"]
type RepairStyle = Literal["auto", "strip", "text"]
type Commit = Literal["first_content", "first_visible", "first_event", "end"]


class Table(BaseModel):
    """A table of the file: with no other keys than these, and never changed."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, hide_input_in_errors=True)


class Retry(Table):
    """What may be spent on an exchange, and how accounts take turns."""

    max_attempts: int = Field(default=3, ge=1, le=10)
    """Attempts per exchange, the first one included; repairs do not count."""
    max_wait: Wait = 30.0
    """Seconds waited between attempts, in all, per exchange."""
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


class Clients(Table):
    """Who may use the proxy, and what it tells them."""

    keys: Annotated[tuple[Secret, ...], Strict(False)] = ()
    """Sources of the keys that let a client in from elsewhere."""
    loopback_only: bool = True
    account_header: bool = True
    """Whether responses carry `X-Account-Email`."""
    hosts: Annotated[tuple[Text, ...], Strict(False)] = ()
    """Names by which clients may call the proxy, beside this machine's own and the listen address."""
    max_body: int = Field(default=128 * 1024 * 1024, ge=1024)
    """Bytes of a request's body at most, as it comes and decoded."""

    @field_validator("keys")
    @classmethod
    def _no_commands(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        # A key is compared while a client waits, with every request: no time to run anything.
        if any(parse_source(key.get_secret_value()).kind == "cmd" for key in keys):
            raise ValueError("a client key can't come from cmd:; use env:NAME, file:PATH or the value itself")
        return keys


class Limits(Table):
    """What anybody, a client, an upstream or a source, may ask of the proxy at most."""

    head_bytes: int = Field(default=64 * 1024, ge=4096)
    """Of the head of a request or an answer: its first line and its headers."""
    line_bytes: int = Field(default=16 * 1024, ge=1024)
    """Of a request's first line."""
    headers: int = Field(default=256, ge=32)
    """How many headers a head may have."""
    head_seconds: Seconds = 60.0
    """From a head's first byte to its last."""
    model_bytes: int = Field(default=256, ge=64)
    """Of a model's name."""
    answer_bytes: int = Field(default=64 * 1024 * 1024, ge=1024 * 1024)
    """Of an answer that is held until it is whole, decoded."""
    event_bytes: int = Field(default=32 * 1024 * 1024, ge=1024 * 1024)
    """Of one event of a stream, decoded."""
    error_bytes: int = Field(default=1024 * 1024, ge=64 * 1024)
    """Of an error's body: what is behind is neither looked at nor passed on."""
    hint_seconds: Seconds = 24 * 3600.0
    """Of a wait that an upstream names, where it names no quota."""
    quota_hint_seconds: Seconds = 7 * 24 * 3600.0
    """The same, where it names the quota that it is about."""
    probe_seconds: Seconds = 15 * 60.0
    """After so long a time one request finds out whether a longer wait is still meant."""
    source_seconds: Seconds = 30.0
    """Of a `cmd:`, with all that it starts, and of reading a `file:`."""
    source_bytes: int = Field(default=64 * 1024, ge=1024)
    """Of what a `cmd:` prints, and of a `file:`."""
    streams: int = Field(default=100, ge=1)
    """How many HTTP/2 streams a connection may have open."""
    resets: int = Field(default=100, ge=1)
    """How many unanswered HTTP/2 streams a client may reset in a minute, on one connection."""
    idle_frames: int = Field(default=1000, ge=100)
    """How many HTTP/2 frames that carry nothing a peer may send in a minute, beside those that answers call for."""
    unread_bytes: int = Field(default=1024 * 1024, ge=64 * 1024)
    """Of an answer that its client does not take; then no more of it is taken from upstream."""
    unread_seconds: Seconds = 300.0
    """After so long a time without taking any of it, the client is taken for gone."""
    log_bytes: int = Field(default=64 * 1024 * 1024, ge=1024 * 1024)
    """Of all log files together."""


class Flows(Table):
    """What is kept of an exchange for mitmproxy's flow list."""

    max_body_bytes: int = Field(default=8 * 1024 * 1024, ge=0)
    """Bytes of a streamed body kept in the flow."""


class CaptureSettings(Table):
    """What is kept of exchanges that failed, in files of the data folder. The newest stay."""

    enabled: bool = True
    max_exchanges: int = Field(default=200, ge=1)
    """In all files together."""
    max_bytes: int = Field(default=64 * 1024 * 1024, ge=64 * 1024)
    """Of all files together."""
    days: int = Field(default=7, ge=1, le=3650)
    """After so many days a file is deleted."""


class Signatures(Table):
    """What is kept of the signatures that answers bring."""

    persist: bool = True
    """Whether a restart keeps them, in a file of the data folder."""
    ttl: Seconds = 7200.0
    """What is not used for so many seconds is forgotten."""
    max_entries: int = Field(default=100_000, ge=100)
    max_bytes: int = Field(default=64 * 1024 * 1024, ge=64 * 1024)


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


class ShutdownSettings(Table):
    """What becomes of answers that are under way when the proxy is to end."""

    grace: Wait = 30.0
    """They may finish within so many seconds."""
