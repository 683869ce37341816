"""Judging whole answers: what is wrong with a body that came with a good or a bad status."""

from antigravity_healing.policy.judging.failures import Failure, FailureClass, classify
from antigravity_healing.policy.judging.gate import no_answer
from antigravity_healing.wire.dialect import Dialect
from antigravity_healing.wire.errors.parsing import UpstreamError, parse_error, read_error
from antigravity_healing.wire.http.headers import Headers
from antigravity_healing.wire.json import exact
from antigravity_healing.wire.operation import OperationKind
from antigravity_healing.wire.reading import Kind
from antigravity_healing.wire.usage import AnswerTally

_BAD_GATEWAY = 502


def judge_whole(
    dialect: Dialect,
    operation: OperationKind,
    status: int,
    headers: Headers,
    body: bytes,
    *,
    grace_s: float,
    wall_s: float,
    error: UpstreamError | None = None,
    tally: AnswerTally | None = None,
) -> Failure | None:
    """What is wrong with a whole response, None if it is an answer.

    grace_s, wall_s: as in `failures.classify`. error: what the body of an error says, where that is known.
    tally: takes down what it tells of itself.
    """
    if status >= 400:
        return classify(status, headers, error or parse_error(body), grace_s=grace_s, wall_s=wall_s)
    if status >= 300 or operation == "other":
        return None
    if not body:
        return Failure(FailureClass.EMPTY, "200 OK with an empty body")
    try:
        value = exact.parse(body)
    except ValueError:
        return Failure(FailureClass.MALFORMED, "the answer is not JSON")
    if tally is not None and operation == "generate":
        tally.take(value)
    reading = dialect.read_answer(value)
    if reading.kind is Kind.ERROR:
        return classify(None, (), read_error(reading.error), grace_s=grace_s, wall_s=wall_s)
    if operation == "generate" and reading.flaw:
        return Failure(FailureClass.MALFORMED, reading.flaw, _BAD_GATEWAY)
    if operation != "generate":
        return None
    return no_answer(dialect, reading.stop, content=reading.kind is Kind.CONTENT, visible=reading.visible)
