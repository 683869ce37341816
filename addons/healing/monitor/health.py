"""What `GET /health` tells: how the proxy is, without secrets."""

from healing.proxy.claiming.state import State


def health(state: State) -> dict[str, object]:
    """How the proxy is now."""
    now = state.clock.now()
    return {
        "status": "ok",
        "uptime_seconds": round(now - state.started_at, 1),
        "exchanges": state.exchanges,
        "running": state.running,
        "retries_left": state.budget.left(now),
        "accounts": state.accounts.report(now),
        "signatures": state.signatures.report() if state.signatures else None,
        "upstreams": {name: upstream.url for name, upstream in state.config.upstreams.items()},
        "routes": {name: target.to or name for name, target in state.config.models.items()},
    }
