"""What is kept: `[flows]`, `[capture]`, `[request_log]`, `[signatures]`."""

from pydantic import Field

from antigravity_healing.policy.settings.schema.table import Table
from antigravity_healing.policy.settings.values import Seconds


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


class RequestLogSettings(Table):
    """What is kept of every exchange, without its bodies, in a file of the data folder. The newest stay."""

    enabled: bool = True
    days: int = Field(default=30, ge=1, le=3650)
    """After so many days an exchange is forgotten."""
    rows: int = Field(default=1_000_000, ge=1000)
    """How many exchanges are kept."""
    bytes: int = Field(default=512 * 1024 * 1024, ge=8 * 1024 * 1024)
    """Of the file, with what SQLite keeps beside it."""


class Signatures(Table):
    """What is kept of the signatures that answers bring."""

    persist: bool = True
    """Whether a restart keeps them, in a file of the data folder."""
    ttl: Seconds = 7200.0
    """What is not used for so many seconds is forgotten."""
    max_entries: int = Field(default=100_000, ge=100)
    max_bytes: int = Field(default=64 * 1024 * 1024, ge=64 * 1024)
