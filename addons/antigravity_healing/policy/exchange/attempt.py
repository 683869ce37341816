"""One request sent upstream for an exchange: what it asks, and what came of it."""

from dataclasses import dataclass, field, replace
from enum import Enum, auto
from typing import Any, Protocol

from antigravity_healing.policy.journal.records import AttemptFacts
from antigravity_healing.policy.judging.body_form import Form
from antigravity_healing.policy.judging.failures import Failure, FailureClass, one_line
from antigravity_healing.policy.judging.gate import Gate
from antigravity_healing.policy.judging.intake import Intake
from antigravity_healing.policy.judging.written import Rewriting
from antigravity_healing.policy.routing.accounts import Account, Use
from antigravity_healing.policy.routing.request import UpstreamRequest
from antigravity_healing.policy.signing.repairs import Prepared
from antigravity_healing.wire.errors.parsing import UpstreamError
from antigravity_healing.wire.http.headers import Headers
from antigravity_healing.wire.json.value import dump
from antigravity_healing.wire.usage import AnswerTally

# Upstream says until when it is not to be asked, which is worth telling.
_FREE_LATER = (FailureClass.QUOTA, FailureClass.RATE_LIMITED)


class Cleaning(Protocol):
    """Takes the secrets that an attempt carries out of a body that comes in pieces."""

    def feed(self, data: bytes, *, last: bool = False) -> bytes:
        """What can be passed on now; with `last`, all that is left."""


class Redactor(Protocol):
    """Takes the secrets that an attempt carries out of what upstream says: upstreams repeat keys in their errors."""

    def redact(self, data: bytes) -> bytes:
        """The data without the secrets."""

    def piecewise(self) -> Cleaning:
        """What does the same for a body, from its beginning on."""


class NoSecrets:
    """The redactor of an attempt that carries none."""

    def redact(self, data: bytes) -> bytes:
        """The data as it is."""
        return data

    def piecewise(self) -> "NoSecrets":
        """Itself."""
        return self

    def feed(self, data: bytes, *, last: bool = False) -> bytes:
        """The data as it is."""
        return data


class AttemptState(Enum):
    """How far an attempt has come. It only goes on from one to the next."""

    PREPARING = auto()
    """What it asks is being made, or its upstream has not been told."""
    SENT = auto()
    """Upstream has been asked."""
    DELIVERING = auto()
    """The client gets its answer, and no other."""


class UpstreamEnd(Enum):
    """How upstream's side of an attempt came to be over."""

    BY_ITSELF = auto()
    ABORTED = auto()
    """The exchange ended it."""
    KILLED = auto()
    """A person did, or another addon."""


@dataclass(slots=True)
class Times:
    """When what happened to an attempt, in monotonic seconds; None where it has not.

    left_at: since when nothing here has held it up; before that none of upstream's clocks runs.
    held_at: since when one of its hooks has not come back.
    head_at: its response headers. first_content_at: the first of an answer in its stream.
    commit_at: since when the client gets its stream.
    last_byte_at: anything; progress_at: more than a sign of life.
    """

    left_at: float | None = None
    held_at: float | None = None
    head_at: float | None = None
    first_content_at: float | None = None
    commit_at: float | None = None
    last_byte_at: float = 0.0
    progress_at: float = 0.0

    def skip(self, since: float, now: float) -> None:
        """Nothing between these two times was upstream's: its clocks did not run."""
        pause = now - since
        if self.left_at is not None:
            self.left_at = min(now, self.left_at + pause)
        self.last_byte_at = min(now, self.last_byte_at + pause)
        self.progress_at = min(now, self.progress_at + pause)


@dataclass(slots=True)
class IncomingBody:
    """The body of an attempt's answer, as far as it has come and as far as it has been looked at.

    intake: what has come and has not been looked at. received: bytes that have come.
    cleaning: what takes secrets out of it, once it comes.
    asks_for: what a good answer comes as; form: what it is by its first bytes, None before they have come;
    beginning: what has come before that could be told.
    into_gate: what is about to go into the gate; out_of_gate: what has come out and is about to be sent.
    whole: the body, decoded, where it is not a stream of events (of one that passes unread, as much as is read for
    signatures), and what a stream was put together to; whole_complete: all of it is there, to be judged.
    may_be_over: whether what has come of a whole answer ends as a whole answer does.
    error: what the body of an error says, once all of it has come.
    rewritten: whether `whole` has been made what the client gets; upstream_whole: what it was before.
    """

    intake: Intake = field(default_factory=Intake)
    received: int = 0
    cleaning: Cleaning | None = None
    asks_for: Form | None = None
    form: Form | None = None
    beginning: bytes = b""
    into_gate: bytes = b""
    out_of_gate: bytes = b""
    whole: bytearray = field(default_factory=bytearray)
    whole_complete: bool = False
    may_be_over: bool = False
    error: UpstreamError | None = None
    rewritten: bool = False
    upstream_whole: bytes = b""

    def rewrite(self, body: bytes) -> None:
        """Put what the client gets in the place of what upstream sent."""
        self.upstream_whole, self.whole = bytes(self.whole), bytearray(body)
        self.rewritten = self.whole_complete = True

    def forget(self) -> None:
        """Let go of what upstream said."""
        self.whole, self.upstream_whole, self.into_gate, self.out_of_gate = bytearray(), b"", b"", b""
        self.error = None
        self.intake.drop()


@dataclass(slots=True, eq=False)
class Attempt:
    """An attempt's request, what has been seen of its response, and how it ended.

    asked: what is asked of upstream; prepared: the same with what was repaired. started_at: monotonic seconds.
    state: how far it has come. upstream_end: how upstream's side ended; None as long as it has not.
    passes_unread: whether its answer goes to the client as it comes, judged by its status alone.
    incoming: the body of its answer, as far as that has come.
    progress_seen: how much of the gate's progress is known.
    tries: how many attempts of the exchange count against its budget up to this one: repairs do not.
    use: what its account is told with at its end.
    renew: whether the account's credential is to be asked for anew.
    tally: takes down what its answer tells of itself.
    redactor: knows the secrets that this attempt carries.
    work_running: whether something that takes time is being made of what has come; nothing else may touch that then.
    writer: makes what the client gets, where that is not what upstream sends.
    failure_told: whether the journal knows that it failed for good.
    verdict: what followed, in words. over_at: when all of it was over for us, in monotonic seconds.
    body_end: how its body ended, as `Exchange.body_ended` was told; None as long as it has not.
    account_settled: whether its account has been told.
    meta: what is kept of it in its flow: JSON-serialisable, without secrets.
    """

    number: int
    account: Account
    model: str
    asked: UpstreamRequest
    started_at: float
    renew: bool = False
    prepared: Prepared = field(init=False)
    tally: AnswerTally = field(init=False)
    max_tokens: int | None = field(init=False)
    tries: int = 1
    redactor: Redactor = field(default_factory=NoSecrets)
    use: Use | None = None
    status: int | None = None
    headers: Headers = ()
    times: Times = field(default_factory=Times)
    progress_seen: int = 0
    gate: Gate | None = None
    passes_unread: bool = False
    incoming: IncomingBody = field(default_factory=IncomingBody)
    work_running: bool = False
    writer: Rewriting | None = None
    failure_told: bool = False
    verdict: str = ""
    over_at: float | None = None
    state: AttemptState = AttemptState.PREPARING
    upstream_end: UpstreamEnd | None = None
    body_end: str | None = None
    account_settled: bool = False
    failure: Failure | None = None
    meta: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.prepared = Prepared(self.asked.body)
        self.tally = self.asked.dialect.answer_tally()
        self.max_tokens = self.asked.dialect.longest_answer(self.asked.value)

    @property
    def body(self) -> bytes:
        """What it sends."""
        return self.prepared.body

    @property
    def sent(self) -> bool:
        """Whether upstream has been asked."""
        return self.state is not AttemptState.PREPARING

    @property
    def delivering(self) -> bool:
        """Whether the client gets this attempt's answer."""
        return self.state is AttemptState.DELIVERING

    @property
    def ended(self) -> bool:
        """Whether upstream's side is over."""
        return self.upstream_end is not None

    @property
    def aborted(self) -> bool:
        """Whether that is so because the exchange ended it."""
        return self.upstream_end is UpstreamEnd.ABORTED

    @property
    def killed(self) -> bool:
        """Whether that is so because a person did, or another addon."""
        return self.upstream_end is UpstreamEnd.KILLED

    def has_ended(self, how: UpstreamEnd) -> None:
        """Upstream's side is over; one that has ended by itself can still be killed."""
        if self.upstream_end is None or (self.upstream_end is UpstreamEnd.BY_ITSELF and how is UpstreamEnd.KILLED):
            self.upstream_end = how

    @property
    def path(self) -> str:
        """With the upstream's prefix and the query, without credentials."""
        asked = self.asked
        target = self.prepared.target or asked.path + (f"?{asked.query}" if asked.query else "")
        return self.account.upstream.whole(target)

    @property
    def committed(self) -> bool:
        """Whether bytes of this attempt have been let through to the client."""
        return self.passes_unread or (self.gate is not None and self.gate.committed)

    @property
    def still_to_read(self) -> bool:
        """Whether there is still something to make of what has come."""
        return self.work_running or self.incoming.intake.waiting

    def blame(self, failure: Failure) -> Failure:
        """Remember why it failed, in words without secrets."""
        detail = self.redactor.redact(failure.detail.encode()).decode("utf-8", "replace")
        self.failure = replace(failure, detail=detail)
        return self.failure

    def clean(self, data: bytes, *, last: bool = False) -> bytes:
        """The next piece of the plain body without secrets; what may be the beginning of one waits for the next."""
        if self.incoming.cleaning is None:
            self.incoming.cleaning = self.redactor.piecewise()
        return self.incoming.cleaning.feed(data, last=last)

    def collect(self) -> bool:
        """Put together what a stream has said as one answer. False where it is none."""
        answer = self.writer.answer if self.writer is not None else None
        if answer is not None:
            self.rewrite(answer)
        return answer is not None

    def seed(self, exchange_id: str) -> str:
        """What makes ids of this attempt's answer unique."""
        return f"{exchange_id}:{self.number}:{self.started_at}"

    def rewrite(self, value: Any) -> None:
        """Put what the client gets in the place of what upstream sent."""
        self.incoming.rewrite(self.redactor.redact(dump(value)))

    def forget(self) -> None:
        """Let go of what upstream said: the exchange is over, but garbage is only collected now and then."""
        self.incoming.forget()

    def facts(self, now: float, ahead_s: float) -> AttemptFacts:
        """What is known of it by now. ahead_s: how far the seconds since 1970 are ahead of the monotonic ones."""

        def since_start(at: float | None) -> float | None:
            return None if at is None else at - self.started_at

        source, failure = self.account.source, self.failure
        waits_s = failure.wait_s if failure is not None and failure.kind in _FREE_LATER else None
        over_at = now if self.over_at is None else self.over_at
        return AttemptFacts(
            self.number,
            self.account.name,
            self.account.upstream_name,
            one_line(self.model),
            self.started_at + ahead_s,
            place="" if source is None else source.place,
            url=self.account.upstream.url,
            status=self.status,
            failure=None if failure is None else failure.kind,
            detail="" if failure is None else failure.detail,
            verdict=self.verdict,
            free_at=None if waits_s is None else over_at + ahead_s + waits_s,
            first_byte_s=since_start(self.times.head_at),
            first_content_s=since_start(self.times.first_content_at),
            last_byte_s=since_start(self.times.last_byte_at or None),
            over_s=since_start(self.over_at),
            bytes=self.incoming.received,
            usage=self.tally.usage,
            windows=() if self.over_at is None else self.asked.dialect.rate_limits.windows(self.headers),
            repaired=tuple(self.prepared.repaired),
            delivered=self.delivering,
            commit_s=since_start(self.times.commit_at),
            dialect=self.asked.dialect.name,
            streams=self.asked.streams,
            max_tokens=self.max_tokens,
            response_id=self.tally.response_id,
            finish_reasons=self.tally.finish_reasons,
            key_from="" if failure is None else self.account.key_from,
        )
