"""What the proxy does now, as JSON has it: what needs a hand, the running exchanges, the accounts."""

from collections.abc import Callable, Mapping
from dataclasses import asdict
from typing import Any

from antigravity_healing.monitor.status.account_states import account_reports
from antigravity_healing.monitor.status.account_tallies import AccountTallies, AccountTally
from antigravity_healing.monitor.status.conditions import Condition
from antigravity_healing.monitor.status.health import status_of
from antigravity_healing.policy.exchange.exchange import Exchange
from antigravity_healing.policy.journal.records import SHORT_ID
from antigravity_healing.policy.judging.failures import shortened
from antigravity_healing.proxy.claiming.state import State

_MOST_SHOWN = 500


class Now:
    """Tells what is going on."""

    def __init__(self, conditions: Callable[[], list[Condition]], tallies: AccountTallies) -> None:
        self._conditions = conditions
        self._tallies = tallies

    def __call__(self, state: State) -> dict[str, Any]:
        """At this moment: the same as before where nothing happens. Times are seconds since 1970, durations seconds."""
        now, wall, conditions = state.clock.now(), state.clock.wall(), self._conditions()
        running = sorted(state.live.values(), key=lambda each: -each.age_s(now))
        return {
            "status": status_of(state, conditions),
            "started_at": round(wall - (now - state.started_at)),
            "conditions": [each.told() for each in conditions],
            "begun": state.exchanges,
            "running": len(running),
            "exchanges": [_exchange(each, now) for each in running[:_MOST_SHOWN]],
            "accounts": [
                {**_by_the_clock(report, wall), **_tally(self._tallies.by_name.get(str(report["name"])))}
                for report in account_reports(state)
            ],
            "retries_left": state.budget.left(now),
        }


def _by_the_clock(report: Mapping[str, Any], wall: float) -> dict[str, Any]:
    """An account's report with times in the place of durations, which change from one moment to the next."""
    benches = [
        {"model": each["model"], "until": round(wall + each["seconds_left"]), "reason": each["reason"]}
        for each in report["benches"]
    ]
    return {**report, "benches": benches}


def _exchange(exchange: Exchange, now: float) -> dict[str, Any]:
    phase, request = exchange.phase(now), exchange.request
    attempt = exchange.attempts[-1] if exchange.attempts else None
    return {
        "id": request.id,
        "dialect": request.dialect.name,
        "client": request.owner.client[:SHORT_ID],
        "conversation": request.conversation[:SHORT_ID],
        "model": shortened(request.model),
        "mapped_model": shortened(request.route.model),
        "phase": phase.name,
        "phase_s": round(phase.since_s, 1),
        "ends_s": None if phase.ends_s is None else round(phase.ends_s, 1),
        "why": phase.why,
        "seconds": round(exchange.age_s(now), 1),
        "attempt": attempt.number if attempt else 0,
        "account": attempt.account.name if attempt else "",
        "upstream": attempt.account.upstream_name if attempt else "",
        "bytes": attempt.incoming.received if attempt else 0,
        "failures": [str(each.failure.kind) for each in exchange.attempts if each.failure is not None],
    }


def _tally(tally: AccountTally | None) -> Mapping[str, Any]:
    tally = tally or AccountTally()
    usage = tally.usage
    return {
        "over": tally.attempts,
        "delivered": tally.delivered,
        "failures": dict(tally.failures),
        "tokens": {**asdict(usage), "input": usage.input},
        "cache_read_share": round(usage.cache_read / usage.input, 4) if usage.input else None,
        "windows": [each._asdict() for each in tally.windows],
        "windows_at": tally.windows_at or None,
    }
