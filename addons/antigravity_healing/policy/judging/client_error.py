"""How an upstream's error is told to a client of another dialect: the same class, in the client's words for it."""

import re
from typing import Any, NamedTuple

from antigravity_healing.policy.judging.failures import Failure, FailureClass
from antigravity_healing.wire.dialect import Dialect
from antigravity_healing.wire.errors.parsing import read_error

# What these classes are in each dialect, with whatever status they came.
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
_COUNT = r"(?P<count>\d{1,12})"
_LIMIT = r"(?P<limit>\d{1,12})"
# A prompt with more tokens than the model takes, in all words for it that are known.
_TOO_LONG = tuple(
    re.compile(pattern, re.IGNORECASE)
    for pattern in (
        rf"prompt is too long: {_COUNT} tokens > {_LIMIT} maximum",
        rf"input token count \({_COUNT}\) exceeds the maximum number of tokens allowed \({_LIMIT}\)",
        rf"input token count is {_COUNT} but (?:the )?model only supports up to {_LIMIT}",
        rf"input token count exceeds the maximum number of tokens allowed[ (]{{1,2}}{_LIMIT}",
    )
)


class ClientError(NamedTuple):
    """An error to be written in the client's dialect. wait_s: seconds to wait, None where upstream named none."""

    status: int
    message: str
    wait_s: float | None


def client_error(failure: Failure, error: Any, client: Dialect) -> ClientError:
    """What the client is told of a failure.

    error: what upstream itself said, parsed; None where it said nothing. client: its dialect.
    """
    message = read_error(error).text if error is not None else ""
    if "{" in message:
        # A gateway's wrapping: what stands deepest is what the real upstream said.
        message = message.rpartition("\n")[2]
    if too_long := _too_long(message, client):
        return ClientError(400, too_long, None)
    return ClientError(_STATUS.get(failure.kind, failure.status), message or failure.detail, failure.wait_s)


def _too_long(message: str, client: Dialect) -> str:
    """That a prompt is too long, worded as the client's agents look for it to make it shorter; "" if it is not said."""
    found = next((match for pattern in _TOO_LONG if (match := pattern.search(message))), None)
    if found is None:
        return ""
    return client.too_long(found["limit"], found.groupdict().get("count") or "")
