"""A body that is taken in shares loses nothing, and no secret gets through where two shares meet."""

import gzip
from collections import deque
from collections.abc import Callable
from random import Random

import pytest
from antigravity_healing.policy.exchange.actions import Action, Finish, Send
from antigravity_healing.policy.exchange.attempt import Attempt
from antigravity_healing.policy.exchange.pass_through import PassThrough
from antigravity_healing.policy.judging.intake import Intake
from antigravity_healing.proxy.secrets.redaction import Redaction

from tests.policy.exchange.stage import Script, Stage, accounts_named, request_in

KEY = "key-of-a-0123456789"
GZIPPED = ((b"content-type", b"application/json"), (b"content-encoding", b"gzip"))


def body(between: bytes, end: bytes) -> bytes:
    """Some 600 kB with this in so many places that shares end inside of it, and that at the end."""
    random = Random(4)
    return b"".join(random.randbytes(random.randint(1, 10)).hex().encode() + between for _ in range(20_000)) + end


class Sealed(Stage):
    """An exchange whose attempts carry a secret."""

    def _start(self, attempt: Attempt) -> None:
        attempt.redactor = Redaction((KEY,))
        super()._start(attempt)


def through_an_exchange(said: bytes) -> bytes:
    """What a client gets of an error, which is told as it is."""
    stage = Sealed(lambda _: Script(400, GZIPPED, (gzip.compress(said),))).play()
    return stage.body


def through_blind_passing(said: bytes) -> bytes:
    """What it gets once our own code has failed."""
    actions: deque[Action] = deque()
    blind = PassThrough(request_in("anthropic"), actions, begun=False, done=False)
    attempt = blind.ask(accounts_named("a")[0], 0.0)
    attempt.redactor, attempt.incoming.intake = Redaction((KEY,)), Intake("gzip")
    blind.head(attempt, 400, GZIPPED)
    blind.data(attempt, gzip.compress(said))
    blind.body_ended(attempt)
    assert actions[-1] == Finish("")
    return b"".join(action.data for action in actions if isinstance(action, Send))


WAYS = pytest.mark.parametrize("through", [through_an_exchange, through_blind_passing])


@WAYS
def test_what_only_begins_like_a_secret_at_the_end_is_not_lost(through: Callable[[bytes], bytes]) -> None:
    said = body(b" ", KEY[:9].encode())
    assert through(said) == said


@WAYS
def test_no_secret_gets_through_where_two_shares_meet(through: Callable[[bytes], bytes]) -> None:
    assert through(body(KEY.encode(), b"}")) == body(b"[redacted]", b"}")
