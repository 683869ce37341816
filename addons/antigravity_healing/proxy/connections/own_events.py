"""What streams and connections tell each other beside mitmproxy's own events."""

from dataclasses import dataclass

from antigravity_healing.proxy.internals.http_layer import HttpEvent, ResponseProtocolError


@dataclass
class RestUnwanted(HttpEvent):
    """The answer is complete; what is still to come of its request is not wanted."""


@dataclass
class ResetResponse(ResponseProtocolError):  # noqa: N818
    """The answer is broken off, with a reset where its connection is its own and nothing on it waits to be sent."""


@dataclass
class PauseResponse(HttpEvent):
    """Take no more of this stream's response from its upstream: its client does not, or it is being understood."""


@dataclass
class ResumeResponse(HttpEvent):
    """Take more of it again."""
