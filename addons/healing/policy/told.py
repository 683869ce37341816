"""How an upstream's error is told to a client of the other dialect: the same class, in the client's words for it."""

from typing import Any, NamedTuple

from healing.policy.failures import Failure, FailureClass
from healing.wire.errors import read_error

# What these classes are in either dialect, with whatever status they came.
_STATUS = {
    FailureClass.AUTH: 401,
    FailureClass.BILLING: 402,
    FailureClass.FORBIDDEN: 403,
    FailureClass.NO_MODEL: 404,
    FailureClass.QUOTA: 429,
    FailureClass.RATE_LIMITED: 429,
    FailureClass.OVERLOADED: 529,
    FailureClass.SIGNATURE: 400,
}


class ToldError(NamedTuple):
    """An error to be written in the client's dialect. wait_s: seconds to wait, None where upstream named none."""

    status: int
    message: str
    wait_s: float | None


def told_error(failure: Failure, error: Any) -> ToldError:
    """What the client is told of a failure. error: what upstream itself said, parsed; None where it said nothing."""
    message = read_error(error).text if error is not None else ""
    if "{" in message:
        # A gateway's wrapping: what stands deepest is what the real upstream said.
        message = message.rpartition("\n")[2]
    return ToldError(_STATUS.get(failure.kind, failure.status), message or failure.detail, failure.wait_s)
