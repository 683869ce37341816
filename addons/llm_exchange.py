"""The content view `LLM exchange` alone, to read saved flows: `mitmweb -s addons/llm_exchange.py -r FILE`."""

from healing.monitor.view.content_view import ContentView

addons = [ContentView()]
