"""The healing proxy for LLM APIs, as a mitmproxy addon: `mitmdump -s addons/antigravity.py`."""

from healing.monitor.log import Log
from healing.policy.journal import Journal
from healing.proxy.addon import Healing

_journal = Journal()

addons = [Healing(_journal), Log(_journal)]
