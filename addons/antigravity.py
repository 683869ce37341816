"""The healing proxy for LLM APIs, as a mitmproxy addon: `mitmdump -s addons/antigravity.py`."""

from antigravity_healing.monitor.captures.capture import Capture
from antigravity_healing.monitor.captures.replays import Replays
from antigravity_healing.monitor.hand.commands import HandCommands
from antigravity_healing.monitor.hand.doing import Hand
from antigravity_healing.monitor.hand.flow_commands import Commands
from antigravity_healing.monitor.log.first_words import FirstWords
from antigravity_healing.monitor.log.flow_list import FlowList
from antigravity_healing.monitor.log.refused import Refused
from antigravity_healing.monitor.log.terminal import Terminal
from antigravity_healing.monitor.log.writer import Log
from antigravity_healing.monitor.metrics.page import Metrics
from antigravity_healing.monitor.request_log.listener import RequestLog
from antigravity_healing.monitor.serving.routes import Shown, add_pages
from antigravity_healing.monitor.status.account_tallies import AccountTallies
from antigravity_healing.monitor.status.conditions import Conditions
from antigravity_healing.monitor.status.health import Health
from antigravity_healing.monitor.status.now import Now
from antigravity_healing.monitor.tracing.tracing import Tracing
from antigravity_healing.monitor.view.content_view import ContentView
from antigravity_healing.policy.journal.records import Journal
from antigravity_healing.proxy.addon import Antigravity
from antigravity_healing.proxy.claiming.state import State, SystemClock
from antigravity_healing.proxy.connections.accepting import Accepting
from antigravity_healing.proxy.kept_messages import Messages
from antigravity_healing.proxy.own_pages.pages import Pages

_journal = Journal()
_antigravity: Antigravity


def _state() -> State:
    assert _antigravity.governor is not None
    return _antigravity.governor


_conditions = Conditions(_journal, lambda: _antigravity.governor)
_health = Health(_conditions.now)
_pages = Pages()
_antigravity = Antigravity(_journal, _health, _pages)
_hand = Hand(_antigravity)
_now = Now(_conditions.now, AccountTallies(_journal))
_capture = Capture(_antigravity)
_metrics = Metrics(_journal, _antigravity, _capture, _conditions.kinds)
_replays = Replays(_antigravity)
_request_log = RequestLog(_journal, _antigravity)
add_pages(_pages, Shown(_state, _health, _now, _hand, _metrics, _request_log, _capture, _replays))

addons = [
    _antigravity,
    _replays,
    _capture,
    Commands(_antigravity, _capture, _replays),
    HandCommands(_antigravity, _hand, _conditions.now, _request_log),
    Accepting(),
    Messages(_antigravity),
    Log(_journal, _antigravity),
    ContentView(),
    FirstWords(lambda: _antigravity.governor),
    FlowList(),
    _conditions,
    Terminal(_journal),
    Refused(_journal, SystemClock()),
    _request_log,
    Tracing(_journal),
]
