"""The healing proxy for LLM APIs, as a mitmproxy addon: `mitmdump -s addons/antigravity.py`."""

from healing.monitor.commands import Commands
from healing.monitor.log import Log
from healing.policy.exchange.journal import Journal
from healing.proxy.accepting import Accepting
from healing.proxy.addon import Healing
from healing.proxy.capture import Capture
from healing.proxy.messages import Messages
from healing.proxy.replays import Replays

_journal = Journal()
_healing = Healing(_journal)
_capture = Capture(_healing)
_replays = Replays(_healing)

addons = [
    _healing,
    _replays,
    _capture,
    Commands(_healing, _capture, _replays),
    Accepting(),
    Messages(_healing),
    Log(_journal, _healing),
]
