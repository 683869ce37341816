"""How the proxy is when it is asked for its metrics."""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from antigravity_healing.monitor.status.account_states import is_usable
from antigravity_healing.policy.exchange.exchange import Exchange
from antigravity_healing.policy.routing.account_health import Health
from antigravity_healing.proxy.claiming.state import State
from antigravity_healing.wire.dialects import DIALECTS

PHASES = {
    "preparing": "connecting",
    "connecting": "connecting",
    "waiting": "waiting",
    "thinking": "hold",
    "held": "hold",
    "back-off": "backoff",
    "streaming": "streaming",
    "idle": "streaming",
}
"""The phases that are counted, by those that people look at."""
_PREFIX = "antigravity_"


@dataclass(frozen=True, slots=True)
class Reading:
    """How the proxy is at one moment.

    accounts: each with its upstream, its name, whether it is available, and until when upstream has forbidden to ask it
    for everything or for a model (seconds since 1970, 0 where it has not).
    phases: how many exchanges are at what, by the client's dialect. retries_left: in the process's budget.
    conditions: how many standing conditions need a hand, by kind. captures: how many have been written.
    taken_up_at: since when the configuration is in use, in seconds since 1970; reload_failed: whether a newer one
    can't be.
    captured, request_log: the files of each, whose sizes are looked up where that holds up nobody.
    held_bytes: of the clients' request bodies that are held.
    """

    version: str = ""
    mitmproxy: str = ""
    accounts: tuple[tuple[str, str, bool, float], ...] = ()
    phases: Mapping[tuple[str, str], int] | None = None
    retries_left: int = 0
    conditions: Mapping[str, int] | None = None
    captures: int = 0
    taken_up_at: float = 0.0
    reload_failed: bool = False
    captured: tuple[Path, str] | None = None
    request_log: tuple[Path, str] | None = None
    held_bytes: int = 0


class StateCollector(Collector):
    """Tells the last reading; whoever asks for the metrics takes one before.

    The state belongs to the event loop, and the metrics are written in a thread.
    """

    def __init__(self) -> None:
        self.reading: Reading | None = None

    def collect(self) -> Iterator[Metric]:
        """All of it, nothing where there is no reading yet."""
        reading = self.reading
        if reading is None:
            return
        yield _gauge("build_info", "What runs here.", (reading.version, reading.mitmproxy), 1, "version", "mitmproxy")
        yield _phases(reading.phases or {})
        yield from _accounts(reading)
        yield _gauge("retry_budget_remaining", "Retries that the whole process may make now.", (), reading.retries_left)
        yield _gauge("held_bytes", "Size of the request bodies that are held.", (), reading.held_bytes)
        yield _conditions(reading.conditions or {})
        captures = CounterMetricFamily(f"{_PREFIX}captures", "Failed exchanges that were captured.")
        captures.add_metric((), reading.captures)
        yield captures
        yield _gauge("capture_bytes", "Size of the captured exchanges.", (), size_of(reading.captured))
        yield _gauge("request_log_bytes", "Size of the request log.", (), size_of(reading.request_log))
        succeeded = not reading.reload_failed
        yield _gauge(
            "config_last_reload_successful", "Whether the configuration that is there is in use.", (), succeeded
        )
        yield _gauge(
            "config_last_reload_success_timestamp_seconds",
            "Since when the configuration in use is.",
            (),
            reading.taken_up_at,
        )


def phases_of(running: Iterable[Exchange], now: float) -> Counter[tuple[str, str]]:
    """How many of these exchanges are at what, by dialect. now: monotonic seconds."""
    return Counter((exchange.request.dialect.name, PHASES[exchange.phase(now).name]) for exchange in running)


def accounts_of(state: State) -> tuple[tuple[str, str, bool, float], ...]:
    """The accounts as a reading has them."""
    now = state.clock.now()
    ahead_s = state.clock.wall() - now
    return tuple(
        (account.upstream_name, account.name, is_usable(state, account), _cooling_until(health, now, ahead_s))
        for account, health in state.accounts.healths()
    )


def size_of(files: tuple[Path, str] | None) -> int:
    """How many bytes the files in a folder have whose names fit a pattern; 0 where there are none."""
    if files is None:
        return 0
    folder, pattern = files
    total = 0
    try:
        for path in folder.glob(pattern):
            total += path.stat().st_size
    except OSError:
        return total  # one has gone meanwhile, or the folder has
    return total


def _cooling_until(health: Health, now: float, ahead_s: float) -> float:
    return max((found.until + ahead_s for _, found in health.benches(now) if found.hard), default=0.0)


def _gauge(name: str, says: str, labels: tuple[str, ...], value: float, *label_names: str) -> GaugeMetricFamily:
    family = GaugeMetricFamily(_PREFIX + name, says, labels=label_names)
    family.add_metric(labels, float(value))
    return family


def _phases(phases: Mapping[tuple[str, str], int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        f"{_PREFIX}exchanges_in_progress", "Exchanges that run, by what they are at.", labels=("dialect", "phase")
    )
    for dialect in DIALECTS:
        for phase in dict.fromkeys(PHASES.values()):
            family.add_metric((dialect, phase), phases.get((dialect, phase), 0))
    return family


def _accounts(reading: Reading) -> Iterator[GaugeMetricFamily]:
    labels = ("upstream", "account")
    available = GaugeMetricFamily(
        f"{_PREFIX}account_available", "Whether nothing keeps the account from being asked.", labels=labels
    )
    cooling = GaugeMetricFamily(
        f"{_PREFIX}account_cooling_until_timestamp_seconds",
        "Until when upstream has forbidden to ask the account, for all or for a model; 0 if it has not.",
        labels=labels,
    )
    for upstream, account, is_available, until in reading.accounts:
        available.add_metric((upstream, account), is_available)
        cooling.add_metric((upstream, account), until)
    yield from (available, cooling)


def _conditions(conditions: Mapping[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(
        f"{_PREFIX}conditions", "Standing conditions that need a person's hand: what to alert on.", labels=("kind",)
    )
    for kind, count in conditions.items():
        family.add_metric((kind,), count)
    return family
