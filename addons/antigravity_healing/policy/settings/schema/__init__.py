"""What may stand in `antigravity.toml`, a file for each kind of section."""

from antigravity_healing.policy.settings.schema.accounts import (
    RESERVED_ACCOUNT,
    AccountSettings,
    RouteSettings,
    split_target,
)
from antigravity_healing.policy.settings.schema.config import BUILT_IN, FILE_NAME, Config
from antigravity_healing.policy.settings.schema.keeping import CaptureSettings, Flows, RequestLogSettings, Signatures
from antigravity_healing.policy.settings.schema.limits import Clients, Limits, ShutdownSettings
from antigravity_healing.policy.settings.schema.retrying import Commit, Peek, PeekOverrides, Repair, Retry, Translate
from antigravity_healing.policy.settings.schema.upstreams import Upstream

__all__ = [
    "BUILT_IN",
    "FILE_NAME",
    "RESERVED_ACCOUNT",
    "AccountSettings",
    "CaptureSettings",
    "Clients",
    "Commit",
    "Config",
    "Flows",
    "Limits",
    "Peek",
    "PeekOverrides",
    "Repair",
    "RequestLogSettings",
    "Retry",
    "RouteSettings",
    "ShutdownSettings",
    "Signatures",
    "Translate",
    "Upstream",
    "split_target",
]
