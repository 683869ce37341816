"""Who may come in, and what anybody may ask of the proxy at most: `[clients]`, `[limits]`, `[shutdown]`."""

import ipaddress
import re
from typing import Annotated

from pydantic import Field, SecretStr, Strict, field_validator

from antigravity_healing.policy.settings.schema.table import Table
from antigravity_healing.policy.settings.source_notation import parse_source
from antigravity_healing.policy.settings.values import Seconds, Secret, Text, Wait


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

    @field_validator("hosts")
    @classmethod
    def _names_alone(cls, hosts: tuple[str, ...]) -> tuple[str, ...]:
        if not all(re.fullmatch(r"[^/:\s]+", host) or _is_ipv6(host) for host in hosts):
            raise ValueError('takes names alone, like "proxy.lan": without http:// and without a port')
        return hosts

    @field_validator("keys")
    @classmethod
    def _no_commands(cls, keys: tuple[SecretStr, ...]) -> tuple[SecretStr, ...]:
        # A key is compared while a client waits, with every request: no time to run anything.
        if any(parse_source(key.get_secret_value()).kind in ("cmd", "adc") for key in keys):
            raise ValueError("a client key can't come from cmd: or adc:; use env:NAME, file:PATH or the value itself")
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
    held_bytes: int = Field(default=1024 * 1024 * 1024, ge=1024 * 1024)
    """Of all request bodies that are held, together."""
    answer_bytes: int = Field(default=64 * 1024 * 1024, ge=1024 * 1024)
    """Of an answer that is held until it is whole, decoded."""
    event_bytes: int = Field(default=32 * 1024 * 1024, ge=1024 * 1024)
    """Of one event of a stream, decoded."""
    message_bytes: int = Field(default=8 * 1024 * 1024, ge=64 * 1024)
    """Of one message of a WebSocket."""
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


class ShutdownSettings(Table):
    """What becomes of answers that are under way when the proxy is to end."""

    grace: Wait = 30.0
    """They may finish within so many seconds."""


def _is_ipv6(host: str) -> bool:
    try:
        ipaddress.IPv6Address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return False
    return True
