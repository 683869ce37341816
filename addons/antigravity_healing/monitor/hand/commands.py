"""Commands for what a person sees and does by hand: explain, accounts, reset, reload."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace

from mitmproxy import command, exceptions, flow, types

from antigravity_healing.monitor.hand.doing import Hand, NotDoneError
from antigravity_healing.monitor.hand.flow_commands import tell_lines
from antigravity_healing.monitor.request_log.filters import FilterError, filter_in
from antigravity_healing.monitor.request_log.listener import RequestLog
from antigravity_healing.monitor.request_log.printing import as_lines
from antigravity_healing.monitor.request_log.reader import UnreadableError
from antigravity_healing.monitor.status.account_states import account_reports, state_of
from antigravity_healing.monitor.status.conditions import Condition
from antigravity_healing.policy.judging.failures import counted
from antigravity_healing.proxy.addon import Antigravity
from antigravity_healing.proxy.streams.flow_story import name_of, role_of, story_of

_DAY_S = 24 * 3600.0
# All streams wait meanwhile.
_SEARCH_S = 0.1


class HandCommands:
    """The commands. What they find out is what they return, and it is told in the log as well."""

    def __init__(
        self, antigravity: Antigravity, hand: Hand, conditions: Callable[[], list[Condition]], log: RequestLog
    ) -> None:
        """conditions: gives what is wrong now."""
        self._antigravity = antigravity
        self._hand = hand
        self._conditions = conditions
        self._request_log = log

    @command.command("antigravity.explain")
    def explain(self, flows: Sequence[flow.Flow]) -> Sequence[str]:
        """Say of these flows what happened, what was done about it, and what to do."""
        lines = [line for one in flows for line in _explained(one)]
        if not lines:
            raise exceptions.CommandError("neither an exchange nor an attempt of antigravity is among these flows")
        return tell_lines(lines)

    @command.command("antigravity.accounts")
    def accounts(self) -> Sequence[str]:
        """Say how each account is, and what needs a hand."""
        governor = self._antigravity.governor
        if governor is None:
            raise exceptions.CommandError("there is no configuration that can be used")
        wall = governor.clock.wall()
        lines = []
        for report in account_reports(governor):
            attempts = counted(report["attempts"], "attempt")
            lines.append(f"{report['name']} ({report['upstream']}): {state_of(report)}, {attempts}")
        lines = lines or ["there are no accounts: the client's own credentials are used"]
        for condition in self._conditions():
            lines.append(f"{condition.in_words(wall)} | {condition.do}")
        return tell_lines(lines)

    @command.command("antigravity.log")
    def log(self, wanted: str) -> Sequence[str]:
        """Look into the request log, by default of the last day: `outcome=failed account=a since=1h`."""
        now = time.time()
        try:
            asked = filter_in(wanted, now)
            if asked.since is None:
                asked = replace(asked, since=now - _DAY_S)
            page = self._request_log.reader().page(asked, _SEARCH_S)
        except (FilterError, UnreadableError) as error:
            raise exceptions.CommandError(str(error)) from None
        lines = list(as_lines(reversed(page.exchanges)))
        if page.searched_back:
            lines.append(f"{page.searched_back}; after={page.after} goes on from there")
        return tell_lines(lines or ["nothing like that is in the request log"])

    @command.command("antigravity.account.names")
    def account_names(self) -> Sequence[str]:
        """The names of the accounts."""
        governor = self._antigravity.governor
        return [account.name for account in governor.accounts.all] if governor is not None else []

    @command.command("antigravity.account.reset")
    @command.argument("name", type=types.Choice("antigravity.account.names"))
    def reset(self, name: str) -> str:
        """Forget all that keeps an account away: it is asked again at once."""
        return _by_hand(lambda: self._hand.reset(name))

    @command.command("antigravity.reload")
    def reload(self) -> str:
        """Read the configuration anew, without waiting for its change to be seen."""
        return _by_hand(self._hand.reload)


def _by_hand(do: Callable[[], str]) -> str:
    try:
        return do()
    except NotDoneError as error:
        raise exceptions.CommandError(str(error)) from None


def _explained(one: flow.Flow) -> list[str]:
    story = story_of(one)
    finding = story.get("finding")
    if isinstance(finding, dict):
        named = name_of(one)  # type: ignore[arg-type]
        parts = (f"{named}: {finding.get('what')}", finding.get("done"), f"to do: {finding.get('do')}")
        return ["; ".join(str(part) for part in parts if part)]
    if role_of(one) == "attempt":
        came = story.get("detail") or story.get("status") or "no answer yet"
        return [f"{name_of(one)}: {came}; {story.get('verdict', '')}"]  # type: ignore[arg-type]
    return [f"{name_of(one)}: it is still running"] if role_of(one) else []  # type: ignore[arg-type]
