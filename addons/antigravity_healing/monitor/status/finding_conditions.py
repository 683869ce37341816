"""Finding out what is wrong now: accounts, credentials, the configuration, this machine."""

from collections.abc import Iterator
from typing import NamedTuple

from antigravity_healing.monitor.status.account_states import is_usable
from antigravity_healing.policy import trouble
from antigravity_healing.policy.journal.findings import WORDS, clock_time
from antigravity_healing.policy.journal.records import NOTHING, AttemptFacts
from antigravity_healing.policy.judging.failures import FailureClass
from antigravity_healing.policy.routing.account_health import Bench
from antigravity_healing.policy.routing.accounts import Account
from antigravity_healing.proxy.claiming.state import State


class Found(NamedTuple):
    """Something that is wrong now.

    until: seconds since 1970, None where nobody knows. account: whose reset would end it, "" where none would.
    """

    kind: str
    about: str
    what: str
    do: str
    until: float | None = None
    account: str = ""


def found_in(state: State) -> Iterator[Found]:
    """What is wrong with the proxy now."""
    if state.config_trouble:
        what = f"the changed configuration can't be used, the old one stays: {state.config_trouble}"
        yield Found("configuration", "", what, "mend the file; it is taken up by itself")
    now, wall = state.clock.now(), state.clock.wall()
    for account, model, bench in state.accounts.benches(now):
        if bench.until > now or _stays(bench):
            yield _of_bench(account, model, bench, now, wall)
    for name, why in state.credential_troubles.items():
        place = next((each.place for each in state.config.accounts if each.name == name), "")
        facts = AttemptFacts(0, name, "", "", wall, place=place or "the configuration", detail=why)
        do = WORDS[FailureClass.LOCAL].do((facts,))
        yield Found("no_key", name, f"account {name} has no key: {why}", do)
    yield from _without_accounts(state)
    for each in trouble.going_on():
        if each.about not in state.credential_troubles:
            yield Found(
                "machine", each.about, each.in_words, each.do or "mend what it says; it is tried again by itself"
            )


def _stays(bench: Bench) -> bool:
    """Whether a person has to mend it: nobody has, before a request has found so."""
    return bench.cause in FailureClass and bench.cause != FailureClass.QUOTA


def _of_bench(account: Account, model: str, bench: Bench, now: float, wall: float) -> Found:
    until = wall + bench.until - now
    about = f"{account.name} {model}".strip()
    if bench.cause not in FailureClass:
        what = f"{account.name} is left alone until {clock_time(until, wall)}: {bench.reason}"
        do = f"{NOTHING}, if it is over then; else look at what it says"
        return Found(bench.cause, about, what, do, until, account.name)
    kind = FailureClass(bench.cause)
    place = account.source.place if account.source is not None else ""
    facts = AttemptFacts(
        0, account.name, account.upstream_name, model, wall, place=place, url=account.upstream.url, failure=kind,
        detail=bench.detail, free_at=until if kind is FailureClass.QUOTA else None, key_from=account.key_from,
    )  # fmt: skip
    words = WORDS[kind]
    do = words.healed((facts,)) if kind is FailureClass.QUOTA else words.do((facts,))
    return Found(str(kind), about, words.what(facts), do, None if _stays(bench) else until, account.name)


def _without_accounts(state: State) -> Iterator[Found]:
    """The upstreams of whose accounts none can be asked."""
    accounts = state.accounts.all
    for name in dict.fromkeys(account.upstream_name for account in accounts):
        there = [account for account in accounts if account.upstream_name == name]
        if not any(is_usable(state, account) for account in there):
            names = ", ".join(account.name for account in there)
            do = "see what is wrong with each, or add an account"
            yield Found("no_account", name, f"no account of {name} is free ({names})", do)
