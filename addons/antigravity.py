"""The healing proxy for LLM APIs, as a mitmproxy addon: `mitmdump -s addons/antigravity.py`."""

from healing.monitor.capture import Capture
from healing.monitor.commands import Commands
from healing.monitor.health import health
from healing.monitor.log import Log
from healing.monitor.metrics.page import Metrics
from healing.monitor.replays import Replays
from healing.monitor.tracing.tracing import Tracing
from healing.policy.journal.records import Journal
from healing.proxy.addon import Antigravity
from healing.proxy.connections.accepting import Accepting
from healing.proxy.kept_messages import Messages

_journal = Journal()
_antigravity = Antigravity(_journal, health)
_capture = Capture(_antigravity)
_replays = Replays(_antigravity)

addons = [
    _antigravity,
    _replays,
    _capture,
    Commands(_antigravity, _capture, _replays),
    Accepting(),
    Messages(_antigravity),
    Log(_journal, _antigravity),
    Metrics(_journal, _antigravity, _capture),
    Tracing(_journal),
]
