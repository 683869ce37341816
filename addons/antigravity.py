"""The healing proxy for LLM APIs, as a mitmproxy addon: `mitmdump -s addons/antigravity.py`."""

from healing.monitor.capture import Capture
from healing.monitor.commands import Commands
from healing.monitor.conditions import Conditions
from healing.monitor.health import Health
from healing.monitor.log import Log
from healing.monitor.refused import Refused
from healing.monitor.replays import Replays
from healing.monitor.terminal import Terminal
from healing.monitor.view.content_view import ContentView
from healing.policy.journal.records import Journal
from healing.proxy.addon import Antigravity
from healing.proxy.claiming.state import SystemClock
from healing.proxy.connections.accepting import Accepting
from healing.proxy.kept_messages import Messages

_journal = Journal()
_antigravity: Antigravity
_conditions = Conditions(_journal, lambda: _antigravity.governor)
_antigravity = Antigravity(_journal, Health(_conditions.now))
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
    ContentView(),
    _conditions,
    Terminal(_journal),
    Refused(_journal, SystemClock()),
]
