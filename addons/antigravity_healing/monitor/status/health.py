"""What `GET /health` tells: how the proxy is, without secrets."""

from collections.abc import Callable, Iterable

from antigravity_healing.monitor.status.account_states import account_reports, is_usable
from antigravity_healing.monitor.status.conditions import Condition
from antigravity_healing.proxy.claiming.state import State


class Health:
    """Tells how the proxy is now."""

    def __init__(self, conditions: Callable[[], Iterable[Condition]]) -> None:
        """conditions: gives what is wrong now."""
        self._conditions = conditions

    def __call__(self, state: State) -> dict[str, object]:
        """As JSON has it."""
        now, conditions = state.clock.now(), list(self._conditions())
        return {
            "status": status_of(state, conditions),
            "uptime_seconds": round(now - state.started_at, 1),
            "exchanges": state.exchanges,
            "running": state.running,
            "retries_left": state.budget.left(now),
            "conditions": [each.told() for each in conditions],
            "accounts": account_reports(state),
            "signatures": state.signatures.report() if state.signatures else None,
            "upstreams": {name: upstream.url for name, upstream in state.config.upstreams.items()},
            "routes": {name: target.to or name for name, target in state.config.models.items()},
        }


def status_of(state: State, conditions: Iterable[Condition]) -> str:
    """`ok`; `degraded` where something is wrong; `down` where there are accounts and none of them can be asked."""
    accounts = state.accounts.all
    if accounts and not any(is_usable(state, account) for account in accounts):
        return "down"
    return "degraded" if any(True for _ in conditions) else "ok"
