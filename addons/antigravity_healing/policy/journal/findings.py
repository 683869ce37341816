"""What a person is told of an exchange: what happened, what was done about it, and what to do. One table for all."""

import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from datetime import datetime
from typing import NamedTuple

from antigravity_healing.policy.journal.records import NOTHING, AttemptFacts, Finding, Outcome, needs_a_hand
from antigravity_healing.policy.judging.failures import FailureClass, counted
from antigravity_healing.policy.settings.schema import RESERVED_ACCOUNT

_RESET = "on the page, or antigravity.account.reset"
_UNSET = re.compile(r"the environment variable (\S+) is not set")
_MOST_LISTED = 8
_DAY_S = 20 * 3600.0
AGAIN = "send it again"


type Attempts = Sequence[AttemptFacts]


class Words(NamedTuple):
    """How a failure class is told.

    what: of an attempt that failed with it. do: after an exchange that failed with it, of all attempts that did, one an
    account. healed: what to do although another attempt served, `nothing` for most.
    """

    what: Callable[[AttemptFacts], str]
    do: Callable[[Attempts], str]
    healed: Callable[[Attempts], str] = lambda _: NOTHING


def clock_time(at: float, now: float) -> str:
    """A time (seconds since 1970) as people read it: `16:40`, with the day where that is not soon."""
    moment = datetime.fromtimestamp(at)
    return moment.strftime("%H:%M") if abs(at - now) < _DAY_S else moment.strftime("%a %d %b %H:%M")


def span(seconds: float) -> str:
    """So much time, as people say it: `0.4 s`, `45 s`, `3 min`, `1 h 30`, `4 d`."""
    if seconds < 10:
        return f"{seconds:.1f} s"
    if seconds < 120:
        return f"{seconds:.0f} s"
    minutes = round(seconds / 60)
    if minutes < 120:
        return f"{minutes} min"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02}" if hours < 48 else f"{hours // 24} d"


def ordinal(number: int) -> str:
    """`2nd`, `3rd`, `11th`."""
    ending = "th" if 10 <= number % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(number % 10, "th")
    return f"{number}{ending}"


def account_of(attempt: AttemptFacts) -> str:
    """An attempt's account, as people call it."""
    return "the client's own key" if attempt.account == RESERVED_ACCOUNT else attempt.account


def _used_up(attempt: AttemptFacts) -> str:
    until = "" if attempt.free_at is None else f" until {clock_time(attempt.free_at, attempt.at)}"
    return f"{account_of(attempt)} is used up for {attempt.mapped_model or 'this'}{until}: {attempt.detail}"


def _where(attempt: AttemptFacts) -> str:
    return f"while the answer was coming, after {attempt.bytes:,} bytes" if attempt.delivered else "before any content"


def listed(names: Iterable[str], word: str = "and") -> str:
    """These, each once, as people list them: `a, b and c`; of many the first ones."""
    *first, last = dict.fromkeys(names)
    if len(first) >= _MOST_LISTED:
        first, last = first[: _MOST_LISTED - 1], f"{len(first) - _MOST_LISTED + 2} more"
    return f"{', '.join(first)} {word} {last}" if first else last


def _names(attempts: Attempts, word: str = "and") -> str:
    return listed(map(account_of, attempts), word)


def _places(attempts: Attempts) -> str:
    """Where the configuration has their accounts, its file named once."""
    told: list[str] = []
    file = ""
    for place in dict.fromkeys(attempt.place or "the configuration" for attempt in attempts):
        told.append(place.removeprefix(f"{file}, ") if file else place)
        file = place.rpartition(", ")[0]
    return listed(told)


def _is_own(attempts: Attempts) -> bool:
    return all(attempt.account == RESERVED_ACCOUNT for attempt in attempts)


def _them(attempts: Attempts) -> str:
    return "it" if len({attempt.account for attempt in attempts}) < 2 else "them"


def _new_key(attempts: Attempts) -> str:
    """What helps depends on where the key comes from."""
    if _is_own(attempts):
        return "give the client a key that is valid, or an account to the proxy"
    by_kind: dict[str, list[AttemptFacts]] = {}
    for attempt in attempts:
        by_kind.setdefault(attempt.key_from.partition(":")[0], []).append(attempt)
    return "; ".join(_new_key_from(kind, those) for kind, those in by_kind.items())


def _new_key_from(kind: str, attempts: Attempts) -> str:
    sources = listed(attempt.key_from.partition(":")[2] for attempt in attempts)
    reset = f"reset {_names(attempts)} ({_RESET})"
    match kind:
        case "env":
            return f"put a new key into {sources} of the environment ({_places(attempts)}), and start the proxy again"
        case "file":
            return f"put a new key into {sources} ({_places(attempts)}), then {reset}"
        case "cmd":
            return f"see why the command of {_places(attempts)} gives a key that is refused, then {reset}"
        case "adc":
            return f"log in to Google anew, or mend the credentials that {_places(attempts)} means, then {reset}"
    if len(attempts) > 1:
        return f"put new keys into {_places(attempts)}; they are taken up by themselves"
    return f"put a new key into {_places(attempts)}; it is taken up by itself"


def _mend(attempts: Attempts) -> str:
    # Nobody can change the environment of a process that runs.
    unset = [match[1] for attempt in attempts if (match := _UNSET.search(attempt.detail))]
    if unset and len(unset) == len(attempts):
        return f"set {listed(unset)} in the environment ({_places(attempts)}), and start the proxy again"
    where = _places(attempts) if all(attempt.place for attempt in attempts) else "this machine"
    return f"mend what it says ({where}); it is tried again by itself"


def _reset(attempts: Attempts) -> str:
    if _is_own(attempts):
        return "wait, or give the proxy an account that has something left"
    return f"wait, add an account, or reset {_names(attempts, 'or')} if you know better ({_RESET})"


def _credit(attempts: Attempts) -> str:
    return f"add credit to {_names(attempts)}, then reset {_them(attempts)} ({_RESET}), or add another account"


def _permission(attempts: Attempts) -> str:
    return f"give {_names(attempts)} the permission at the provider, then reset {_them(attempts)} ({_RESET})"


def _not_at_fault(attempts: Attempts) -> str:
    upstreams, is_or_are = listed(attempt.upstream for attempt in attempts), "is" if _them(attempts) == "it" else "are"
    return f"check the network, and the url of upstream {upstreams}: {_names(attempts)} {is_or_are} not at fault"


def _its_models(attempts: Attempts) -> str:
    return f"say in {_places(attempts)} by models what the account serves"


def _lost(attempts: Attempts) -> str:
    begun = any(attempt.delivered for attempt in attempts)
    return AGAIN + (": no second answer may follow one that has begun" if begun else "")


WORDS: dict[FailureClass, Words] = {
    FailureClass.EMPTY: Words(
        lambda a: f"{account_of(a)} answered with {a.status or 200} and no content: {a.detail}",
        lambda _: "send it again later, or change the last message or the model: it has nothing to say to this",
    ),
    FailureClass.STALLED: Words(lambda a: f"{account_of(a)} fell silent {_where(a)}: {a.detail}", _lost),
    FailureClass.CUT: Words(lambda a: f"{account_of(a)} broke off {_where(a)}: {a.detail}", _lost),
    FailureClass.MALFORMED: Words(
        lambda a: f"{account_of(a)} sent what is no answer, {_where(a)}: {a.detail}", _lost
    ),
    FailureClass.TRANSPORT: Words(
        lambda a: f"nothing answers at {a.url or a.upstream}: {a.detail}",
        _not_at_fault,
    ),
    FailureClass.LOCAL: Words(
        lambda a: f"this machine could not ask {account_of(a)}: {a.detail}",
        _mend,
        _mend,
    ),
    FailureClass.TRANSIENT: Words(
        lambda a: f"{account_of(a)} had an error of its service: {a.detail}", lambda _: "send it again a little later"
    ),
    FailureClass.OVERLOADED: Words(
        lambda a: f"the service behind {account_of(a)} is overloaded: {a.detail}",
        lambda _: "wait, and send it again: another account would not help",
    ),
    FailureClass.RATE_LIMITED: Words(
        lambda a: f"{account_of(a)} is asked too often: {a.detail}",
        lambda _: "wait, and send it again; add an account if it happens often",
    ),
    FailureClass.QUOTA: Words(_used_up, _reset, lambda _: f"{NOTHING}; add an account if it happens daily"),
    FailureClass.BILLING: Words(lambda a: f"{account_of(a)} has no credit: {a.detail}", _credit, _credit),
    FailureClass.AUTH: Words(lambda a: f"the key of {account_of(a)} is refused: {a.detail}"
        if a.account != RESERVED_ACCOUNT else f"the client's own key is refused: {a.detail}", _new_key, _new_key),
    FailureClass.FORBIDDEN: Words(
        lambda a: f"{account_of(a)} may not do this: {a.detail}", _permission, _permission
    ),
    FailureClass.NOT_THEIRS: Words(
        lambda a: f"what the request names does not lie with {account_of(a)}: {a.detail}",
        lambda _: "have the client upload it again, or ask by the account that it was uploaded with",
    ),
    FailureClass.NO_MODEL: Words(
        lambda a: f"{account_of(a)} does not have the model {a.mapped_model}: {a.detail}",
        lambda attempts: f"check the model's name; {_its_models(attempts)}",
        _its_models,
    ),
    FailureClass.SIGNATURE: Words(
        lambda _: "the conversation held thinking of another model or session",
        lambda _: "start a new conversation: it is refused without that thinking, too; the capture has it",
        lambda _: f"{NOTHING}; one turn's prompt cache was lost",
    ),
    FailureClass.CALLER: Words(
        lambda a: f"upstream says that the request is wrong: {a.detail}",
        lambda _: "the client has to change it; antigravity.diff shows what the proxy changed",
    ),
}  # fmt: skip
"""Every failure class. The README's table is made of it."""


KILLED = Finding("a person, or another addon, killed the attempt in mitmproxy", "the client was told", AGAIN)
SHUT_DOWN = Finding("the proxy was shut down meanwhile", "the client was told", "start it again, then send it again")
BUG = Finding(
    "an error inside the proxy", "upstream's answer went through unseen", "report it, with what the log says (a bug)"
)


_LET_IN = "see what it says; [clients] of the configuration says who may use the proxy"
_AFTER_REFUSAL = {
    401: _LET_IN,
    403: _LET_IN,
    407: _LET_IN,
    408: AGAIN,
    500: BUG.do,
    503: SHUT_DOWN.do,
}
"""What a person does about a refusal, by its status, where its text does not say it."""


def cooling(model: str, now: float, wait_s: float) -> Finding:
    """Nobody could be asked: every account is cooling. now: seconds since 1970. wait_s: until the first is free."""
    at = f"{clock_time(now + wait_s, now)} (in {span(wait_s)})"
    return Finding(
        f"no account is free for {model or 'this'}; the first is at {at}",
        "nobody was asked; the client was told when to come again",
        f"wait, add an account, or reset one if you know better ({_RESET})",
    )


def refused(text: str, status: int) -> Finding:
    """The proxy itself said no, with this status."""
    do = _AFTER_REFUSAL.get(status, "change what it says")
    return Finding(f"the proxy refused it: {text.removesuffix('.')}", "nobody was asked; the client was told", do)


def finding(outcome: Outcome, attempts: Sequence[AttemptFacts], ended_by: str = "") -> Finding:
    """What became of an exchange, as its attempts tell. ended_by: the budget that allowed no other try, in words."""
    match outcome:
        case "clean":
            return Finding(f"{_server(attempts)} answered", do=NOTHING)
        case "healed":
            return _healed(attempts)
        case "client_left":
            return _left(attempts)
        case _:
            return _failed(attempts, ended_by)


def short(attempt: AttemptFacts) -> str:
    """What came of one attempt, in a word or two for a column."""
    if attempt.failure is not None:
        return str(attempt.failure).replace("_", " ")
    return "answered" if attempt.delivered else "running" if attempt.over_s is None else "left"


def _server(attempts: Sequence[AttemptFacts]) -> str:
    return account_of(attempts[-1]) if attempts else "upstream"


def _failures(attempts: Iterable[AttemptFacts]) -> list[AttemptFacts]:
    return [attempt for attempt in attempts if attempt.failure is not None]


def _by_class(failed: Attempts) -> list[tuple[FailureClass, list[AttemptFacts]]]:
    """The failures of each class, the last of each account."""
    found: dict[FailureClass, dict[str, AttemptFacts]] = {}
    for attempt in failed:
        assert attempt.failure is not None
        found.setdefault(attempt.failure, {})[attempt.account] = attempt
    return [(kind, list(by_account.values())) for kind, by_account in found.items()]


def _joined(told: Iterable[str]) -> str:
    """Each once; `nothing` only where nothing else is to be done, and then the one that says the most."""
    each = dict.fromkeys(told)
    return "; ".join(filter(needs_a_hand, each)) or max(each, key=len, default="")


def _what(attempts: Sequence[AttemptFacts]) -> str:
    met = Counter(WORDS[attempt.failure].what(attempt) for attempt in attempts if attempt.failure is not None)
    return "; ".join(told + (f" ({times} times)" if times > 1 else "") for told, times in met.items())


def _healed(attempts: Sequence[AttemptFacts]) -> Finding:
    failed = _failures(attempts)
    if not attempts:
        return Finding("a first try did not serve", "another did", NOTHING)
    last = attempts[-1]
    repaired = f", with its request repaired ({', '.join(last.repaired)})" if last.repaired else ""
    done = f"{account_of(last)} answered on the {ordinal(last.attempt)} try{repaired}"
    do = _joined(WORDS[kind].healed(those) for kind, those in _by_class(failed))
    return Finding(_what(failed) or "a first try did not serve", done, do or NOTHING)


def _left(attempts: Sequence[AttemptFacts]) -> Finding:
    failed = _failures(attempts)
    before = f" after {_what(failed)}" if failed else ""
    begun = any(attempt.delivered for attempt in attempts)
    where = "in the middle of its answer" if begun else "before any of its answer came"
    return Finding(f"the client left {where}{before}", "what ran for it was ended", NOTHING)


def _failed(attempts: Sequence[AttemptFacts], ended_by: str) -> Finding:
    failed = _failures(attempts)
    if not failed:
        return Finding("no answer came", "the client was told", AGAIN)
    last, names = failed[-1], ", ".join(dict.fromkeys(account_of(attempt) for attempt in attempts))
    tries = f"tried {counted(len(attempts), 'time')}, on {names}; the client was told"
    assert last.failure is not None
    # What an earlier account lacks is to be mended as well as what the last one does.
    do = _joined(
        WORDS[kind].do(those) if kind is last.failure else WORDS[kind].healed(those)
        for kind, those in _by_class(failed)
    )
    why = (_why_no_other_try(last), f"no other try, as {ended_by}" if ended_by else "")
    return Finding(_what(failed), "; ".join(each for each in (tries, *why) if each), do)


def _why_no_other_try(attempt: AttemptFacts) -> str:
    """Why none followed an attempt that failed, "" where that is not in how it failed."""
    if attempt.delivered and attempt.first_content_s is not None:
        return "no other try, as content had already reached the client"
    match attempt.failure:
        case FailureClass.CALLER:
            return "no other try, as another account would say the same"
        case FailureClass.OVERLOADED:
            return "no other account, as the service is the same"
    return ""
