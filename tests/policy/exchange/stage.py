"""An exchange without a proxy: a clock that is moved by hand, upstreams that follow a script, and a strict client."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from random import Random
from typing import Any, Literal

from antigravity_healing.policy.exchange.actions import Abort, Finish, Leave, Respond, Send, Start, Work
from antigravity_healing.policy.exchange.attempt import Attempt
from antigravity_healing.policy.exchange.exchange import Exchange
from antigravity_healing.policy.exchange.given import Rules, Shared
from antigravity_healing.policy.exchange.retry_table import LOCAL_WAITS_S, RULES, RetryBudget, says_not_here
from antigravity_healing.policy.journal.records import OUTCOMES, Journal, Record
from antigravity_healing.policy.judging.failures import Failure, FailureClass
from antigravity_healing.policy.routing.accounts import Account, Accounts
from antigravity_healing.policy.routing.request import ClientRequest
from antigravity_healing.policy.routing.routes import Route
from antigravity_healing.policy.settings import schema
from antigravity_healing.policy.signing.repairs import MAX_REPAIRS
from antigravity_healing.policy.signing.store import SignatureStore
from antigravity_healing.wire.anthropic.dialect import Anthropic
from antigravity_healing.wire.dialect import Dialect
from antigravity_healing.wire.gemini.dialect import Gemini
from antigravity_healing.wire.http.headers import Headers
from antigravity_healing.wire.json.value import dump
from antigravity_healing.wire.operation import Operation

DIALECTS: dict[str, Dialect] = {"anthropic": Anthropic(), "gemini": Gemini()}
MODEL = "the-model"
WALL_S = 1_795_000_000.0
SSE: Headers = ((b"content-type", b"text/event-stream"),)
JSON: Headers = ((b"content-type", b"application/json"),)

Mode = Literal["sse", "json", "array"]
End = Literal["end", "cut", "hang"]


class FakeClock:
    """Monotonic and wall time, moved by hand."""

    def __init__(self) -> None:
        self.at = 1000.0

    def now(self) -> float:
        return self.at

    def wall(self) -> float:
        return WALL_S + self.at


@dataclass(frozen=True)
class Script:
    """What becomes of one attempt.

    status: None for an attempt that gets no response headers at all.
    body: pieces of the body, and seconds of silence between them.
    end: how it ends after that; `no_credential`, `never_a_credential` and `killed` end it before anything came.
    why: what is said of one that ends without response headers.
    """

    status: int | None = 200
    headers: Headers = SSE
    body: tuple[bytes | float, ...] = ()
    end: End | Literal["no_credential", "never_a_credential", "killed"] = "end"
    before_head: float = 0.0
    why: str = "closed before headers"

    @property
    def whole(self) -> bytes:
        """The body in one piece."""
        return b"".join(piece for piece in self.body if isinstance(piece, bytes))


WAITED_OUT = {
    FailureClass.TRANSPORT,
    FailureClass.TRANSIENT,
    FailureClass.OVERLOADED,
    FailureClass.RATE_LIMITED,
    FailureClass.QUOTA,
}
"""What costs next to nothing, so that a try that fails so need not count as one."""


@dataclass
class Played:
    """What became of one attempt, as upstream and the clock saw it."""

    attempt: Attempt
    script: Script
    started_at: float
    ended_at: float | None = None
    aborted: bool = False


def accounts_named(*names: str, dialect: str = "anthropic") -> list[Account]:
    """Accounts of one upstream."""
    return [Account(name, f"{name}@x.example", dialect, schema.BUILT_IN[dialect]) for name in names]


def cool(accounts: Accounts, name: str, seconds: float, at: float = 1000.0) -> None:
    """Let another request find that this account is out of quota."""
    (account,) = (each for each in accounts.all if each.name == name)
    failure = Failure(FailureClass.QUOTA, "quota", wait_s=seconds)
    accounts.end_use(accounts.begin_use(account, MODEL, at), failure, at)


def request_in(dialect: str, mode: Mode = "sse", session: str = "session", value: Any = None) -> ClientRequest:
    """A request for an answer; `value` is what its body says."""
    operation = Operation("generate", MODEL, mode != "json", sse=mode == "sse")
    route = Route(None, MODEL, None)
    streams = mode != "json"
    verb = "streamGenerateContent" if streams else "generateContent"
    path = "/v1/messages" if dialect == "anthropic" else f"/v1beta/models/{MODEL}:{verb}"
    query = "alt=sse" if mode == "sse" else ""
    value = {} if value is None else value
    return ClientRequest(
        "e1", DIALECTS[dialect], operation, "POST", path, query, dump(value), MODEL, streams, route, session, value
    )


@dataclass
class Stage:
    """Plays one exchange and insists on what must hold at every step.

    script_for: what the attempt with this number does.
    """

    script_for: Callable[[int], Script]
    dialect: str = "anthropic"
    mode: Mode = "sse"
    accounts: Accounts = field(default_factory=Accounts)
    """Without any: two at an upstream of the client's dialect."""
    budget: RetryBudget = field(default_factory=RetryBudget)
    rules: Rules = field(default_factory=Rules)
    clock: FakeClock = field(default_factory=FakeClock)
    seed: int = 0
    leave_at: float | None = None
    """When the client leaves, in seconds from the start."""
    meanwhile: Callable[[], None] = lambda: None
    """What others do when a wait begins."""
    value: Any = None
    """What the request's body says."""
    signatures: SignatureStore | None = None

    def __post_init__(self) -> None:
        if not self.accounts.all:
            self.accounts = Accounts(accounts_named("a", "b", dialect=self.dialect))
        self.records: list[Record] = []
        self.played: list[Played] = []
        self.respond: Respond | None = None
        self.responded_at: float | None = None
        self.finish: Finish | None = None
        self.finished_at: float | None = None
        self.sent: list[tuple[float, bytes]] = []
        self.sent_before_commit = b""
        self.waits: list[tuple[float, float]] = []
        self.left = False
        self.works = 0
        journal = Journal()
        journal.listen(self.records.append)
        self.exchange = Exchange(
            request_in(self.dialect, self.mode, value=self.value),
            self.accounts.all,
            self.rules,
            Shared(self.accounts, self.budget, journal, self.clock, Random(self.seed), self.signatures),
        )

    # What can be asked afterwards.

    @property
    def body(self) -> bytes:
        """What the client got."""
        return b"".join(data for _, data in self.sent)

    @property
    def attempts(self) -> int:
        return len(self.played)

    @property
    def names(self) -> list[str]:
        """The accounts, attempt by attempt."""
        return [played.attempt.account.name for played in self.played]

    @property
    def waited_s(self) -> float:
        """Seconds in which nothing was under way upstream."""
        return sum(end - start for start, end in self.waits)

    def header(self, name: str) -> str | None:
        """A header of the answer."""
        assert self.respond is not None
        found = [value.decode() for key, value in self.respond.headers if key.decode().lower() == name.lower()]
        assert len(found) <= 1
        return found[0] if found else None

    def steps(self) -> list[str]:
        """What the journal was told, in order."""
        return [record.step for record in self.records]

    # Playing.

    def play(self) -> "Stage":
        """Play to the end."""
        started_at = self.clock.at
        self.leaves_at = None if self.leave_at is None else started_at + self.leave_at
        self.exchange.start()
        self._carry_out()
        for _ in range(2000):
            if self.exchange.outcome:
                break
            open_now = [played for played in self.played if played.ended_at is None]
            assert len(open_now) <= 1, "two attempts at once"
            if open_now:
                self._play_attempt(open_now[0])
            else:
                since = self.clock.at
                self.meanwhile()
                # Keep-alives fall due in between.
                while not self.exchange.outcome and all(played.ended_at is not None for played in self.played):
                    self._pass_time(None)
                self.waits.append((since, self.clock.at))
        assert self.exchange.outcome, "the exchange never ends"
        self._check_end()
        return self

    def _play_attempt(self, played: Played) -> None:
        script, attempt = played.script, played.attempt
        for step in self._events(script):
            if isinstance(step, float | int):
                self._pass_time(step)
            elif step == "hang":
                while played.ended_at is None and not self.exchange.outcome:
                    self._pass_time(None)
            else:
                if step in ("end", "cut", "no_credential", "never_a_credential", "killed"):
                    played.ended_at = self.clock.at
                self._tell(attempt, script, step)
            self._carry_out()
            if played.ended_at is not None or self.exchange.outcome:
                break

    @staticmethod
    def _events(script: Script) -> Iterable[bytes | float | str]:
        if script.end in ("no_credential", "never_a_credential", "killed"):
            return [script.before_head, script.end]
        if script.status is None:
            return [script.before_head, script.end]
        return [script.before_head, "head", *script.body, script.end]

    def _tell(self, attempt: Attempt, script: Script, step: bytes | str) -> None:
        match step:
            case bytes():
                half = len(step) // 2
                for piece in (step[:half], step[half:]):
                    self.exchange.data(attempt, piece)
                self.exchange.read_data()
            case "head":
                assert script.status is not None
                self.exchange.head(attempt, script.status, script.headers)
            case "end":
                self.exchange.body_ended(attempt, script.why if script.status is None else "")
            case "cut":
                self.exchange.body_ended(attempt, "connection reset")
            case "no_credential" | "never_a_credential":
                lasting = script.end == "never_a_credential"
                self.exchange.no_credential(attempt, "its command printed nothing", lasting=lasting)
            case "killed":
                self.exchange.killed(attempt)

    def _pass_time(self, seconds: float | None) -> None:
        """Let time pass, with all that falls due; without a number, until the next thing that does."""
        until = None if seconds is None else self.clock.at + seconds
        while not self.exchange.outcome:
            due = self.exchange.deadline
            times = [at for at in (due, until, self.leaves_at) if at is not None]
            assert times, "nothing is under way, and nothing is waited for"
            at = min(times)
            self.clock.at = max(self.clock.at, at)
            if at == self.leaves_at:
                self.left = True
                self.exchange.client_left()
            elif at == due:
                before = self._progress
                self.exchange.wakeup()
                self.exchange.read_data()
                self._carry_out()
                assert self._progress != before or self.exchange.outcome, "woken in vain"
            self._carry_out()
            if until is None or self.clock.at >= until or any(p.ended_at == self.clock.at for p in self.played):
                return

    @property
    def _progress(self) -> tuple[object, ...]:
        """What each wakeup has to change: an attempt is made, the next thing falls due, or more of a body is read."""
        read = sum(len(played.attempt.incoming.whole) for played in self.played)
        waiting = [
            played.attempt.incoming.intake._pending_bytes + len(played.attempt.incoming.intake._left)
            for played in self.played
        ]
        return len(self.played), self.exchange.deadline, read, waiting

    # What must hold.

    def _carry_out(self) -> None:
        assert not self.exchange.crashed, "a bug in the exchange"
        while self.exchange.actions:
            action = self.exchange.actions.popleft()
            assert self.finish is None, f"{action} after the end"
            match action:
                case Work():
                    self._work(action)
                case Start(attempt):
                    self._start(attempt)
                case Abort(attempt):
                    (played,) = (each for each in self.played if each.attempt is attempt)
                    assert played.ended_at is None, "aborted what was over"
                    played.ended_at, played.aborted = self.clock.at, True
                case Leave(attempt):
                    (played,) = (each for each in self.played if each.attempt is attempt)
                    assert played.ended_at is None, "left what was over"
                    played.ended_at = self.clock.at
                case Respond():
                    assert self.respond is None, "a second answer"
                    self.respond, self.responded_at = action, self.clock.at
                case Send(data):
                    assert self.respond is not None, "a body before its head"
                    assert data
                    self.sent.append((self.clock.at, data))
                    if not self._committed:
                        self.sent_before_commit += data
                case Finish():
                    assert self.respond is not None, "an end without an answer"
                    self.finish, self.finished_at = action, self.clock.at

    def _work(self, work: Work) -> None:
        """Do what takes time; meanwhile nothing falls due, and what is over by itself is not over yet."""
        assert not self.exchange.outcome or not work.attempt.work_running
        self.works += 1
        found, failure = None, None
        try:
            found = work.work()
        except Exception as error:
            failure = error
        self.exchange.worked(work, found, failure)

    @property
    def _committed(self) -> bool:
        return any(record.step in ("commit", "gave_up") for record in self.records)

    def _start(self, attempt: Attempt) -> None:
        assert not self.left, "an attempt after the client left"
        assert all(played.ended_at is not None for played in self.played), "two attempts at once"
        assert attempt.number == len(self.played) + 1
        assert attempt.tries <= self.rules.retry.max_attempts, "too many attempts"
        before = [failure for played in self.played if (failure := played.attempt.failure)]
        unsent = [failure for failure in before if failure.kind is FailureClass.LOCAL]
        keyless = sum(failure.status == 401 for failure in unsent)
        assert keyless <= len(self.accounts.all) + len(LOCAL_WAITS_S), "too many attempts that are not sent"
        refused = sum(failure.kind in RULES and says_not_here(failure) for failure in before)
        most_free = len(unsent) + min(refused, len(self.accounts.all))
        if self.rules.retry.max_wait:
            most_free += sum(failure.kind in WAITED_OUT for failure in before)
        assert attempt.number - attempt.tries - most_free <= MAX_REPAIRS, "too many attempts that do not count"
        self.played.append(Played(attempt, self.script_for(attempt.number), self.clock.at))
        self.exchange.on_its_way(attempt, self.clock.at)

    def _check_end(self) -> None:
        exchange = self.exchange
        assert not any(attempt.gate and attempt.gate._passes_unseen for attempt in exchange.attempts), (
            "a bug in the gate"
        )
        assert exchange.outcome in OUTCOMES[:4]
        assert exchange.deadline is None
        assert not exchange.actions
        assert all(played.ended_at is not None for played in self.played), "an attempt goes on without its exchange"
        assert all(each["active"] == 0 for each in self.accounts.report(self.clock.at)), "an account is still in use"
        assert exchange.meta["outcome"] == exchange.outcome
        assert len(exchange.meta["attempts"]) == self.attempts
        if not self.left:
            assert self.respond is not None
            assert self.finish is not None
        self._check_late_events()

    def _check_late_events(self) -> None:
        """What still comes from an aborted attempt changes nothing."""
        for played in self.played:
            if played.aborted:
                self.exchange.head(played.attempt, 200, SSE)
                self.exchange.data(played.attempt, b"data: late\n\n")
                self.exchange.read_data()
                self.exchange.body_ended(played.attempt, "reset")
        self.exchange.client_left()
        assert not self.exchange.actions
        assert self.exchange.deadline is None


def play(scripts: Sequence[Script], **stage: object) -> Stage:
    """Play an exchange whose attempts follow these scripts; the last one goes on for ever."""
    return Stage(lambda number: scripts[min(number, len(scripts)) - 1], **stage).play()  # type: ignore[arg-type]
