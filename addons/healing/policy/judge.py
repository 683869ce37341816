"""Judging whole answers: what is wrong with a body that came with a good or a bad status."""

from healing.policy.failures import Failure, FailureClass, classify
from healing.policy.peek import empty_failure
from healing.wire import exact
from healing.wire.dialect import Dialect, Kind, OperationKind
from healing.wire.errors import parse_error, read_error
from healing.wire.headers import Headers


def judge_whole(
    dialect: Dialect,
    operation: OperationKind,
    status: int,
    headers: Headers,
    body: bytes,
    *,
    grace_s: float,
    wall_s: float,
) -> Failure | None:
    """What is wrong with a whole response, None if it is an answer. The last two as in `failures.classify`."""
    if status >= 400:
        return classify(status, headers, parse_error(body), grace_s=grace_s, wall_s=wall_s)
    if status >= 300:
        return None
    if not body:
        return Failure(FailureClass.EMPTY, "200 OK with an empty body")
    try:
        value = exact.parse(body)
    except ValueError:
        return Failure(FailureClass.MALFORMED, "the answer is not JSON")
    reading = dialect.read_answer(value)
    if reading.kind is Kind.ERROR:
        return classify(None, (), read_error(reading.error), grace_s=grace_s, wall_s=wall_s)
    if operation == "generate" and reading.flaw:
        return Failure(FailureClass.MALFORMED, reading.flaw)
    if operation != "generate" or reading.kind is Kind.CONTENT:
        return None
    return empty_failure(dialect, reading.stop)
