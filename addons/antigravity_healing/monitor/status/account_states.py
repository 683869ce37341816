"""How the accounts are, for people: what keeps them away, and whether they have a key."""

from typing import Any

from antigravity_healing.policy.routing.accounts import Account
from antigravity_healing.proxy.claiming.state import State


def account_reports(state: State) -> list[dict[str, Any]]:
    """How each account is now, as JSON has it, without secrets. no_key: why it has none, None where it has one."""
    troubles = state.credential_troubles
    reports = state.accounts.report(state.clock.now())
    return [{**report, "no_key": troubles.get(str(report["name"]))} for report in reports]


def state_of(report: dict[str, Any]) -> str:
    """An account's report in a word or two."""
    if report["no_key"] is not None:
        return "no key"
    return "free" if report["healthy"] else "left alone"


def is_usable(state: State, account: Account) -> bool:
    """Whether an account can be asked now: nothing keeps it away, and it has a key."""
    return account.name not in state.credential_troubles and state.accounts.free(account, "", state.clock.now())
