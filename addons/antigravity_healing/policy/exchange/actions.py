"""What an exchange asks to be done."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from antigravity_healing.policy.exchange.attempt import Attempt
from antigravity_healing.wire.http.encoding import PIECE_BYTES
from antigravity_healing.wire.http.headers import Headers

LONG_BYTES = 2 * PIECE_BYTES
"""What so many bytes say at once is found out beside everything else."""


@dataclass(frozen=True, slots=True)
class Start:
    """Send this attempt upstream."""

    attempt: Attempt


@dataclass(frozen=True, slots=True)
class Abort:
    """End this attempt's upstream call at once."""

    attempt: Attempt
    why: str


@dataclass(frozen=True, slots=True)
class Leave:
    """This attempt has said all. Its upstream call ends by itself, or is ended soon: its connection can be kept."""

    attempt: Attempt
    why: str


@dataclass(frozen=True, slots=True)
class Respond:
    """Begin the answer to the client."""

    status: int
    headers: Headers
    streams: bool


@dataclass(slots=True)
class Send:
    """More of the answer's body."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Finish:
    """The answer is complete; `broken` says why its connection has to be broken instead, after `pause_s` seconds.

    reset: whether the connection is to be reset, where it is its own.
    """

    broken: str = ""
    pause_s: float = 0.0
    reset: bool = False


@dataclass(frozen=True, slots=True, eq=False)
class Work:
    """Do this work beside everything else, as it takes time; then tell `Exchange.worked` what came of it.

    What is to be done after it waits for it. attempt: whose answer it is about.
    then: takes what the work gives, if the attempt still counts.
    """

    attempt: Attempt
    work: Callable[[], Any]
    then: Callable[[Any], None]


Action = Start | Abort | Leave | Respond | Send | Finish | Work
