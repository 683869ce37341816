"""Exchanges under any schedule of faults: the invariants of the design, each asserted on what the client really got."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import pairwise, product
from typing import Any, Literal
from unittest.mock import patch

from antigravity_healing.policy.exchange import answer_reader, delivery
from antigravity_healing.policy.exchange.given import Rules
from antigravity_healing.policy.exchange.retry_table import LONGEST_CHEAP_S, RetryBudget, says_not_here
from antigravity_healing.policy.routing.accounts import Accounts
from antigravity_healing.policy.settings.schema import Commit, Peek, Retry, Signatures
from antigravity_healing.policy.signing.store import SignatureStore
from antigravity_healing.wire.http.sse import SSEDecoder
from antigravity_healing.wire.json.value import dump
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.policy.exchange.stage import (
    DIALECTS,
    JSON,
    SSE,
    WAITED_OUT,
    End,
    FakeClock,
    Mode,
    Played,
    Script,
    Stage,
    accounts_named,
    cool,
)
from tests.support.examples import examples
from tests.support.protocol import (
    AnthropicReport,
    GeminiReport,
    check_anthropic_error,
    check_anthropic_json,
    check_anthropic_stream,
    check_gemini_error,
    check_gemini_json,
    check_gemini_stream,
)
from tests.upstream import (
    HEARTBEAT,
    PING,
    anthropic_end,
    anthropic_error_body,
    anthropic_error_event,
    anthropic_events,
    anthropic_json,
    anthropic_start,
    gemini_chunk,
    gemini_error_body,
    gemini_error_event,
    gemini_event,
    gemini_events,
    gemini_json,
)

steady = settings(deadline=None, derandomize=True)
EPSILON = 1e-6
DialectName = Literal["anthropic", "gemini"]
Kind = Literal["answer", "thinking", "empty", "refusal", "error", "late error", "heartbeats", "garbage"]
KINDS: list[Kind] = ["answer", "thinking", "empty", "refusal", "error", "late error", "heartbeats", "garbage"]
STATUSES = [400, 401, 403, 404, 408, 413, 429, 500, 502, 503, 529]


@dataclass(frozen=True)
class Fault:
    """One attempt, before it is known which one it is and in which dialect.

    what: a status, or what a 200 brings. cut: after which share of the body it ends before its end.
    """

    what: int | Kind | Literal["dead", "signature"]
    end: End | Literal["no_credential", "killed"] = "end"
    cut: float = 1.0
    pauses: tuple[float, ...] = ()
    before_head: float = 0.0
    retry_after: float | None = None


pauses = st.lists(st.sampled_from([0.0, 3.0, 14.0, 119.0, 130.0, 310.0]), max_size=4).map(tuple)
waits_before = st.sampled_from([0.0, 0.0, 0.0, 2.0, 200.0, 400.0])
refusals = st.builds(
    Fault,
    st.sampled_from(STATUSES),
    st.sampled_from(["end", "end", "end", "cut", "hang"]),
    pauses=pauses,
    before_head=waits_before,
    retry_after=st.sampled_from([None, None, 0.5, 2.0, 5.0, 25.0, 100_000.0]),
)
streams = st.builds(
    Fault,
    st.sampled_from(KINDS),
    st.sampled_from(["end", "end", "cut", "hang"]),
    st.one_of(st.just(1.0), st.floats(0, 1)),
    pauses,
    waits_before,
)
signatures = st.builds(Fault, st.just("signature"), st.sampled_from(["end", "end", "cut", "hang"]), pauses=pauses)
dead = st.builds(
    Fault, st.just("dead"), st.sampled_from(["end", "cut", "hang", "no_credential", "killed"]), before_head=waits_before
)
faults = st.one_of(refusals, streams, streams, signatures, dead)
SIGNED = "c2lnbmVk" * 10
HISTORIES: dict[DialectName, Any] = {
    "anthropic": {
        "messages": [
            {"role": "user", "content": "one"},
            {"role": "assistant", "content": [{"type": "thinking", "thinking": "A", "signature": SIGNED}]},
            {"role": "user", "content": "two"},
        ]
    },
    "gemini": {
        "contents": [
            {"role": "user", "parts": [{"text": "one"}]},
            {"role": "model", "parts": [{"functionCall": {"name": "look"}, "thoughtSignature": SIGNED}]},
            {"role": "user", "parts": [{"functionResponse": {"name": "look"}}]},
        ]
    },
}
"""In each there is something to repair, once."""


def tag(number: int) -> str:
    """What attempt `number` answers: tells whose text the client got."""
    return f"<{number}> Hello from attempt {number}"


def error_of(dialect: DialectName, status: int) -> Any:
    if dialect == "gemini":
        names = {408: "DEADLINE_EXCEEDED", 413: "INVALID_ARGUMENT", 502: "UNAVAILABLE", 529: "UNAVAILABLE"}
        return gemini_error_body(status, names.get(status), f"model error {status}")
    kinds = {
        400: "invalid_request_error",
        401: "authentication_error",
        403: "permission_error",
        404: "not_found_error",
        413: "request_too_large",
        429: "rate_limit_error",
        503: "overloaded_error",
        529: "overloaded_error",
    }
    return anthropic_error_body(kinds.get(status, "api_error"), f"model error {status}")


def signature_error(dialect: DialectName) -> Any:
    if dialect == "gemini":
        return gemini_error_body(400, None, "Corrupted thought signature.")
    return anthropic_error_body(
        "invalid_request_error", "messages.1.content.0: Invalid `signature` in `thinking` block"
    )


def sse_body(dialect: DialectName, kind: Kind, number: int) -> bytes:
    anthropic = dialect == "anthropic"
    match kind:
        case "answer":
            events = anthropic_events(tag(number)) if anthropic else gemini_events(tag(number))
        case "thinking":
            thinking = "Hm" * 5
            events = (
                anthropic_events(tag(number), thinking=thinking)
                if anthropic
                else gemini_events(tag(number), thinking=thinking)
            )
        case "empty":
            events = [anthropic_start(), *anthropic_end()] if anthropic else [_gemini_end("STOP")]
        case "refusal":
            events = [anthropic_start(), *anthropic_end("refusal")] if anthropic else [_gemini_end("SAFETY")]
        case "error":
            events = [anthropic_start(), anthropic_error_event()] if anthropic else [gemini_error_event()]
        case "late error":
            events = (
                [*anthropic_events(tag(number))[:4], anthropic_error_event()]
                if anthropic
                else [gemini_events(tag(number))[0], gemini_error_event()]
            )
        case "heartbeats":
            events = [PING] * 5 if anthropic else [HEARTBEAT] * 5
        case "garbage":
            events = [b"<html>502 Bad Gateway</html>"]
    return b"".join(events)


def _gemini_end(reason: str) -> bytes:
    return gemini_event(gemini_chunk([{"text": ""}], finish_reason=reason))


def json_body(dialect: DialectName, kind: Kind, number: int) -> bytes:
    anthropic = dialect == "anthropic"
    match kind:
        case "answer" | "thinking":
            reply = anthropic_json(tag(number)) if anthropic else gemini_json(tag(number))
        case "empty" | "heartbeats":
            reply = anthropic_json("") if anthropic else gemini_json("")
        case "refusal":
            reply = anthropic_json("", stop_reason="refusal") if anthropic else gemini_json("", finish_reason="SAFETY")
        case "error" | "late error":
            return json.dumps(error_of(dialect, 529 if anthropic else 503)).encode()
        case "garbage":
            return b"<html>502 Bad Gateway</html>"
    assert reply.body is not None
    return reply.body


def array_body(kind: Kind, number: int) -> bytes:
    """What Gemini's stream says as one array."""
    body = sse_body("gemini", kind, number)
    if kind == "garbage":
        return body
    events = [event.data for event in SSEDecoder().decode(body) if event.data is not None]
    return b"[" + (b"\n,\n".join(events) if events else b"\r\n" * 5) + b"\n]"


def as_events(body: bytes) -> bytes:
    """An array, of which what has come is whole, as the events that it stands for: its error is raw."""
    text = body.rstrip()
    elements = json.loads(text if text.endswith(b"]") else text + b"]") if text else []
    return b"".join((b"" if "error" in each else b"data: ") + dump(each) + b"\r\n\r\n" for each in elements)


def script_of(fault: Fault, number: int, dialect: DialectName, mode: Mode) -> Script:
    if fault.what == "dead":
        end = "cut" if fault.end == "end" else fault.end
        return Script(None, end=end, before_head=fault.before_head)
    if fault.what == "signature":
        body, status, headers = json.dumps(signature_error(dialect)).encode(), 400, JSON
    elif isinstance(fault.what, int):
        body, status, headers = json.dumps(error_of(dialect, fault.what)).encode(), fault.what, JSON
        if fault.retry_after is not None:
            headers = (*JSON, (b"retry-after", f"{fault.retry_after:g}".encode()))
    elif mode == "json":
        body, status, headers = json_body(dialect, fault.what, number), 200, JSON
    elif mode == "array":
        body, status, headers = array_body(fault.what, number), 200, JSON
    else:
        body, status, headers = sse_body(dialect, fault.what, number), 200, SSE
    body = body[: int(len(body) * fault.cut)]
    count = len(fault.pauses) + 1
    edges = [len(body) * at // count for at in range(count + 1)]
    steps: list[bytes | float] = []
    for at, (start, stop) in enumerate(pairwise(edges)):
        steps += ([fault.pauses[at - 1]] if at else []) + ([body[start:stop]] if stop > start else [])
    return Script(status, headers, tuple(steps), fault.end, fault.before_head)


@dataclass(frozen=True)
class World:
    """All that an exchange meets."""

    faults: tuple[Fault, ...]
    dialect: DialectName
    mode: Mode
    accounts: int
    cooling: tuple[float | None, ...]
    retry: Retry
    peek: Peek
    spare: int
    leave_at: float | None
    seed: int


worlds = st.builds(
    lambda dialect_and_mode, **more: World(dialect=dialect_and_mode[0], mode=dialect_and_mode[1], **more),
    dialect_and_mode=st.sampled_from(
        [*product(["anthropic", "gemini"], ["sse", "sse", "sse", "json"]), ("gemini", "array"), ("gemini", "array")]
    ),
    faults=st.lists(faults, min_size=1, max_size=4).map(tuple),
    accounts=st.integers(1, 3),
    cooling=st.lists(st.sampled_from([None, None, None, 4.0, 40.0]), min_size=3, max_size=3).map(tuple),
    retry=st.builds(
        Retry,
        max_attempts=st.integers(1, 4),
        max_wait=st.sampled_from([0.0, 2.0, 30.0, 30.0, 200.0]),
        strategy=st.sampled_from(["affinity", "round_robin", "least_used"]),
    ),
    peek=st.builds(
        Peek,
        commit=st.sampled_from(["first_content", "first_content", "first_visible", "first_event", "end"]),
        soft_commit=st.sampled_from([None, 15.0, 15.0, 1.0]),
    ),
    spare=st.sampled_from([20, 20, 20, 1, 0]),
    leave_at=st.one_of(st.none(), st.none(), st.none(), st.sampled_from([0.0, 1.0, 14.0, 16.0, 250.0, 700.0])),
    seed=st.integers(0, 1000),
)


def staged(world: World) -> Stage:
    names = "abcd"[: world.accounts]
    accounts = Accounts(accounts_named(*names, dialect=world.dialect), world.retry.strategy)
    clock = FakeClock()
    for account, seconds in zip(accounts.all, world.cooling, strict=False):
        if seconds is not None:
            cool(accounts, account.name, seconds, clock.at)

    def script_for(number: int) -> Script:
        fault = world.faults[min(number, len(world.faults)) - 1]
        return script_of(fault, number, world.dialect, world.mode)

    return Stage(
        script_for,
        dialect=world.dialect,
        mode=world.mode,
        accounts=accounts,
        budget=RetryBudget(world.spare),
        rules=Rules(world.retry, world.peek),
        clock=clock,
        seed=world.seed,
        leave_at=world.leave_at,
        value=HISTORIES[world.dialect],
        signatures=SignatureStore(None, Signatures()),
    )


def report_of(world: World, body: bytes, *, allow_cut: bool = False) -> AnthropicReport | GeminiReport:
    if world.dialect == "anthropic":
        return check_anthropic_stream(body, allow_cut=allow_cut)
    return check_gemini_stream(as_events(body) if world.mode == "array" else body, allow_cut=allow_cut)


def repaired_in(played: Stage) -> Iterator[int]:
    """The attempts after which the request was repaired."""
    return (record.attempt.attempt for record in played.records if record.step == "repair" and record.attempt)


def check_records(played: Stage) -> None:
    """Each attempt's own end is told once, and the exchange's last of all, with all of them."""
    over = [record.attempt for record in played.records if record.step == "attempt_over"]
    assert sorted(facts.attempt for facts in over if facts) == list(range(1, len(played.exchange.attempts) + 1))
    last = played.records[-1]
    assert [record.step for record in played.records].count("over") == 1
    assert last.step == "over"
    assert last.end is not None
    assert last.end.outcome == played.exchange.outcome
    assert [facts.attempt for facts in last.end.attempts] == [each.number for each in played.exchange.attempts]
    assert all(facts.over_s is not None for facts in last.end.attempts)
    assert last.end.finding.what
    assert last.end.finding.do
    assert (last.end.status is None) == (played.respond is None)
    assert json.loads(json.dumps(played.exchange.meta))["finding"]["do"] == last.end.finding.do


def check_budgets(world: World, played: Stage) -> None:
    repaired = set(repaired_in(played))
    assert len(repaired) <= 1, "there was one thing to repair"
    sent = [each for each in played.played if each.script.end != "no_credential"]
    # A refusal that says "not this account" uses up no try, once for each.
    refused = [each.attempt for each in sent if each.attempt.failure and says_not_here(each.attempt.failure)]
    elsewhere = {attempt.account.name for attempt in refused}
    most = world.retry.max_attempts + len(repaired) + len(elsewhere)
    assert len([each for each in sent if not world.retry.max_wait or has_cost(each)]) <= most
    # Without a wait each account is asked at most twice more, whatever it fails with.
    at_once = [later for each, later in pairwise(sent) if later.started_at == each.ended_at]
    assert len(at_once) < most + 2 * world.accounts
    assert len(sent) <= most + 2 * world.accounts + len(played.waits)
    failed = [each for each in played.played[:-1] if each in sent and each.attempt.number not in repaired]
    retried_at = [each.ended_at for each in failed if each.ended_at is not None]
    assert all(sum(at - 60 < other <= at for other in retried_at) <= world.spare for at in retried_at)
    assert played.waited_s <= world.retry.max_wait + 0.24 * len(repaired) + EPSILON
    starts = [each.started_at for each in played.played]
    for since, until in played.waits:
        assert until > since or played.left
        assert (played.left and played.clock.at == until) or until in starts, "a wait that led to no attempt"
    if played.played and not played.left:
        assert played.finished_at == played.played[-1].ended_at, "something was waited for after the last attempt"


def has_cost(played: Played) -> bool:
    """Whether upstream may have worked for it, so that there must not be many of them."""
    failure = played.attempt.failure
    assert played.ended_at is not None
    return failure is None or failure.kind not in WAITED_OUT or played.ended_at - played.started_at > LONGEST_CHEAP_S


def check_hints(world: World, played: Stage) -> None:
    for at, each in enumerate(played.played):
        fault = world.faults[min(at + 1, len(world.faults)) - 1]
        if fault.what not in (429, 503, 529) or fault.retry_after is None or fault.end != "end" or each.aborted:
            continue
        for later in played.played[at + 1 :]:
            if later.attempt.account is each.attempt.account:
                assert each.ended_at is not None
                assert later.started_at >= each.ended_at + fault.retry_after - EPSILON, "a hint was undercut"
                break


def check_client(world: World, played: Stage) -> None:
    """What the client got, judged by the strict checkers and by whose words it is."""
    assert played.respond is not None
    keep_alive = DIALECTS[world.dialect].keep_alive
    if not played.respond.streams:
        assert not played.left or not played.body
        assert played.responded_at == played.finished_at
    elif world.mode == "sse":
        assert played.sent_before_commit == keep_alive * (len(played.sent_before_commit) // len(keep_alive))
    else:
        assert played.sent_before_commit.strip() in (b"", b"[")
    outcome, status = played.exchange.outcome, played.respond.status
    if played.left:
        if played.respond.streams:
            report_of(world, played.body, allow_cut=True)
        return
    if played.respond.streams:
        check_stream(world, played)
    elif status >= 400:
        assert outcome == "failed"
        assert played.header("x-healing-outcome") == "failed"
        if world.dialect == "anthropic":
            check_anthropic_error(status, played.body, any_status=True)
        else:
            # Upstream's own comes as it came, ours as clients of an array find it.
            in_array = world.mode == "array" and played.body.startswith(b"[")
            check_gemini_error(status, played.body[1:-1] if in_array else played.body)
    elif outcome != "failed":
        report = check_anthropic_json(played.body) if world.dialect == "anthropic" else check_gemini_json(played.body)
        assert report.text in ("", tag(played.attempts))
        assert played.body == played.played[-1].script.whole


def check_stream(world: World, played: Stage) -> None:
    assert played.finish is not None
    broken = bool(played.finish.broken)
    report = report_of(world, played.body, allow_cut=broken)
    last, outcome = played.played[-1].script, played.exchange.outcome
    assert tag(played.attempts).startswith(report.text), "text that this attempt did not send"
    thoughts = report.thinking if isinstance(report, AnthropicReport) else report.thoughts
    assert ("Hm" * 5).startswith(thoughts)
    if outcome == "failed":
        assert broken or report.ended == "error" or not report.text
    else:
        assert not broken
        assert report.ended == "complete"
        own = last.whole.rstrip(b"\r\n")
        assert (own.removeprefix(b"[") if world.mode == "array" else own) in played.body
        assert report.text == tag(played.attempts) or b"refusal" in own or b"SAFETY" in own


def check_cause(world: World, played: Stage) -> None:
    """When the last attempt brought a whole error, that is what the client is told."""
    if played.left or not played.played:
        return
    last = played.played[-1]
    fault = world.faults[min(played.attempts, len(world.faults)) - 1]
    complete = last.script.end == "end" and not last.aborted
    if not isinstance(fault.what, int) or not complete:
        return
    assert played.respond is not None
    assert played.exchange.outcome == "failed"
    repaired = next(repaired_in(played), None)
    if repaired is not None and fault.what in (400, 413):
        # Refused again, for whatever reason: the repair was in vain, and the first refusal is the cause.
        last = played.played[repaired - 1]
        assert played.body == last.script.whole or played.respond.streams
        return
    if played.respond.streams:
        report = report_of(world, played.body)
        assert report.error == json.loads(last.script.whole)["error"]
    else:
        assert (played.respond.status, played.body) == (fault.what, last.script.whole)


def check_told(played: Stage) -> None:
    """The headers and the journal tell the truth."""
    steps = played.steps()
    assert steps[0] == "received"
    assert steps.count("attempt") == played.attempts
    assert steps.count("retry") + steps.count("repair") <= max(0, played.attempts - (not played.left))
    assert steps.count("commit") <= 1
    assert steps.count("delivered") == (played.exchange.outcome in ("clean", "healed"))
    assert ("client_left" in steps) == played.left == (played.exchange.outcome == "client_left")
    check_records(played)
    if played.respond is None or played.left:
        return
    count = int(played.header("x-healing-attempts") or -1)
    assert count <= played.attempts
    told = played.header("x-healing-outcome")
    assert told in ("clean", "healed", "failed", "pending")
    if told == "pending":
        assert played.respond.streams
    elif count == played.attempts and played.exchange.outcome != "failed":
        assert told == played.exchange.outcome
    if told == "failed":
        assert played.exchange.outcome == "failed"
    if count:
        # The answer told may be that of the first refusal, after all attempts.
        repaired = next(repaired_in(played), count)
        labels = {played.played[number - 1].attempt.account.label for number in (count, repaired)}
        assert played.header("x-account-email") in labels
    if played.exchange.outcome == "clean":
        assert played.attempts == 1
    if played.exchange.outcome == "healed":
        assert played.attempts > 1


@settings(steady, max_examples=examples(300))
@given(worlds)
def test_whatever_happens_the_invariants_hold(world: World) -> None:
    played = staged(world).play()
    check_budgets(world, played)
    check_hints(world, played)
    check_told(played)
    if played.respond is not None:
        check_client(world, played)
        check_cause(world, played)
    # What only the caller can mend is delivered the first time.
    for each, fault in zip(played.played[:-1], world.faults, strict=False):
        assert fault.what not in (400, 413) or fault.end != "end" or each.aborted


healable = st.one_of(
    st.builds(
        Fault, st.sampled_from(["empty", "error", "heartbeats", "garbage"]), st.sampled_from(["end", "cut", "hang"])
    ),
    st.builds(Fault, st.sampled_from([401, 403, 408, 429, 500, 502, 503, 529])),
    st.builds(Fault, st.just("dead"), st.sampled_from(["cut", "hang", "no_credential"])),
)


@settings(steady, max_examples=examples(120))
@given(
    st.lists(healable, max_size=3).map(tuple),
    st.sampled_from([("anthropic", "sse"), ("gemini", "sse"), ("gemini", "array")]),
    st.sampled_from(["first_content", "first_visible"]),
    st.sampled_from([None, 15.0]),
    st.integers(0, 1000),
)
def test_what_fails_before_content_is_healed_and_leaves_no_trace(
    bad: tuple[Fault, ...], form: tuple[DialectName, Mode], commit: Commit, soft_commit: float | None, seed: int
) -> None:
    dialect, mode = form
    peek = Peek(commit=commit, soft_commit=soft_commit)
    retry = Retry(max_attempts=4, max_wait=200.0)
    accounts = len(bad) + 1
    world = World((*bad, Fault("answer")), dialect, mode, accounts, (None,) * 3, retry, peek, 20, None, seed)
    played = staged(world).play()
    assert played.attempts == len(bad) + 1
    assert played.exchange.outcome == ("healed" if bad else "clean")
    keep_alive = DIALECTS[dialect].keep_alive
    answer = played.played[-1].script.whole
    if mode == "array":
        assert json.loads(played.body) == json.loads(answer)
    else:
        assert played.body.replace(keep_alive, b"") == answer.replace(keep_alive, b"")
    if soft_commit is None:
        assert played.body == answer


SPELLS = [Fault(status) for status in (503, 529)] + [
    Fault("dead"),
    Fault(429),
    Fault(429, retry_after=0.5),
    Fault(503, retry_after=2.0),
]


@settings(steady, max_examples=examples(200))
@given(
    st.lists(st.sampled_from(SPELLS), min_size=1, max_size=3),
    st.floats(0, 27),
    st.integers(1, 3),
    st.sampled_from(["anthropic", "gemini"]),
    st.sampled_from(["sse", "json"]),
    st.integers(1, 3),
    st.integers(0, 1000),
)
def test_a_spell_of_what_costs_nothing_is_healed_whatever_the_number_of_tries(
    spell: list[Fault], seconds: float, accounts: int, dialect: DialectName, mode: Mode, tries: int, seed: int
) -> None:
    """With the default `max_wait`, on any number of accounts; each try is turned away at once."""
    clock = FakeClock()
    until = clock.at + seconds

    def script_for(number: int) -> Script:
        fault = spell[number % len(spell)] if clock.at < until else Fault("answer")
        return script_of(fault, number, dialect, mode)

    there = Accounts(accounts_named(*"abc"[:accounts], dialect=dialect))
    rules = Rules(Retry(max_attempts=tries))
    played = Stage(script_for, dialect=dialect, mode=mode, accounts=there, clock=clock, rules=rules, seed=seed).play()
    assert played.exchange.outcome in ("clean", "healed")
    assert played.waited_s <= 30 + EPSILON
    assert played.attempts <= 2 * accounts + 16
    if accounts == 1:
        growing = [until - since for since, until in played.waits]
        assert sum(growing[:2]) <= 6, "the first tries do not come soon"


@settings(steady, max_examples=examples(60))
@given(worlds)
def test_the_same_schedule_is_decided_in_the_same_way(world: World) -> None:
    first, second = staged(world).play(), staged(world).play()
    assert (first.body, first.names, first.waits) == (second.body, second.names, second.waits)


@settings(steady, max_examples=examples(60))
@given(worlds, st.sampled_from(["answer", "thinking"]))
def test_without_a_fault_there_is_one_call_whose_bytes_are_the_answer(world: World, kind: Kind) -> None:
    # However slowly it comes, short of the clocks.
    fine = Fault(kind, pauses=tuple(min(pause, 100.0) for pause in world.faults[0].pauses))
    calm = replace(world, faults=(fine,), cooling=(None, None, None), leave_at=None, peek=Peek(soft_commit=None))
    played = staged(calm).play()
    assert (played.attempts, played.exchange.outcome, played.waits) == (1, "clean", [])
    assert played.body == played.played[0].script.whole


@settings(steady, max_examples=examples(60))
@given(worlds)
def test_what_is_found_out_beside_everything_else_is_the_same(world: World) -> None:
    at_once = staged(world).play()
    with patch.object(answer_reader, "LONG_BYTES", 0), patch.object(delivery, "LONG_BYTES", 0):
        beside = staged(world).play()
    assert beside.works or beside.exchange.outcome in ("failed", "client_left")
    assert (beside.body, beside.respond, beside.finish) == (at_once.body, at_once.respond, at_once.finish)
    assert (beside.names, beside.steps(), beside.left) == (at_once.names, at_once.steps(), at_once.left)
