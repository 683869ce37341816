"""What an API says of its rate limits in headers of its own, beside what all APIs say in `retry-after`."""

from typing import NamedTuple, Protocol

from antigravity_healing.wire.http.headers import Headers


class Rejection(NamedTuple):
    """The quota of a plan that is used up.

    name: as upstream calls it, "" where it does not. wait_s: seconds until it is new, None where nothing says.
    whole_account: whether it is the account's own and not one model's.
    """

    name: str
    wait_s: float | None
    whole_account: bool


class Window(NamedTuple):
    """How much of a quota is used, as an ordinary answer tells.

    name: as upstream calls it. used: a share, 1.0 for all of it. resets_at: seconds since 1970, None where it is not
    told.
    """

    name: str
    used: float
    resets_at: float | None


class RateLimits(Protocol):
    """Reads an API's own headers; wall_s is now, in seconds since 1970."""

    def rejected_plan(self, headers: Headers, wall_s: float) -> Rejection | None:
        """The quota of a plan that is used up, None if none is."""

    def reset_s(self, headers: Headers) -> float | None:
        """When the last of the limits that are used up is new, in seconds since 1970; None if none is used up."""

    def input_tokens(self, headers: Headers) -> int | None:
        """How many tokens may be sent in a minute, None if nothing is said."""

    def windows(self, headers: Headers) -> tuple[Window, ...]:
        """How much of which quota is used, for people; () where nothing is said."""


class NoRateLimits:
    """An API that has no such headers."""

    def rejected_plan(self, headers: Headers, wall_s: float) -> Rejection | None:
        """None."""
        return None

    def reset_s(self, headers: Headers) -> float | None:
        """None."""
        return None

    def input_tokens(self, headers: Headers) -> int | None:
        """None."""
        return None

    def windows(self, headers: Headers) -> tuple[Window, ...]:
        """None."""
        return ()
