"""The metrics as they are asked for at `/metrics`."""

import asyncio
from collections.abc import Callable, Collection, Mapping

from mitmproxy import version
from prometheus_client import CollectorRegistry, disable_created_metrics
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from antigravity_healing import own_version
from antigravity_healing.monitor.captures.capture import FOLDER, Capture
from antigravity_healing.monitor.metrics.exchange_metrics import ExchangeMetrics
from antigravity_healing.monitor.metrics.model_names import ModelNames
from antigravity_healing.monitor.metrics.state_metrics import Reading, StateCollector, accounts_of, phases_of
from antigravity_healing.policy.journal.records import Journal
from antigravity_healing.policy.routing.accounts import named_models
from antigravity_healing.policy.settings.schema import Config
from antigravity_healing.proxy.addon import Antigravity

_REQUEST_LOG = "requests.sqlite3*"


class Metrics:
    """Keeps the metrics, and writes them down."""

    def __init__(
        self,
        journal: Journal,
        antigravity: Antigravity,
        capture: Capture,
        conditions: Callable[[], Mapping[str, int]] = dict,
    ) -> None:
        """conditions: gives how many standing conditions need a hand, by kind; the event loop asks."""
        # When a series began is told by its first sample well enough, at half the lines.
        disable_created_metrics()
        self._antigravity = antigravity
        self._capture = capture
        self._conditions = conditions
        self._configured: tuple[Config | None, frozenset[str]] = (None, frozenset())
        self._registry = CollectorRegistry(auto_describe=False)
        self._state = StateCollector()
        self._registry.register(self._state)
        journal.listen(ExchangeMetrics(self._registry, ModelNames(self._configured_models)).take)

    def look(self) -> None:
        """Take a reading of how the proxy is. To be called by the event loop."""
        governor = self._antigravity.governor
        if governor is None:
            return
        home = governor.home
        self._state.reading = Reading(
            own_version(),
            version.VERSION,
            accounts_of(governor),
            phases_of(governor.live.values(), governor.clock.now()),
            governor.budget.left(governor.clock.now()),
            self._conditions(),
            self._capture.written,
            self._antigravity.taken_up_at,
            bool(governor.config_trouble),
            (home / FOLDER, "*.flow") if home is not None else None,
            (home, _REQUEST_LOG) if home is not None else None,
            governor.held_bodies.total,
        )

    def render(self, accept: str) -> tuple[str, bytes]:
        """The content type and the text of all metrics, in the format that an `accept` header asks for.

        Takes milliseconds: to be called in a thread.
        """
        encode, content_type = encoder_for(accept)
        return content_type, encode(self._registry)

    def _configured_models(self) -> Collection[str]:
        governor = self._antigravity.governor
        if governor is not None and governor.config is not self._configured[0]:
            config = governor.config
            listed = (model for account in config.accounts for model in account.models if "*" not in model)
            self._configured = (config, named_models(config).union(listed))
        return self._configured[1]


async def metrics_page(metrics: Metrics, accept: str) -> tuple[str, bytes]:
    """The content type and the body of the answer to `GET /metrics`; no stream waits for it."""
    metrics.look()
    return await asyncio.to_thread(metrics.render, accept)


def encoder_for(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    """What writes metrics in the format that an `accept` header asks for, and the content type; for any header."""
    try:
        encode, content_type = choose_encoder(accept)
    except (TypeError, ValueError):  # a version that is no number
        return choose_encoder("")
    # It repeats the version that is asked for.
    return (encode, content_type) if content_type.isascii() and content_type.isprintable() else choose_encoder("")
