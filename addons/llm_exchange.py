"""The content view `LLM exchange` alone, to read saved flows: `mitmweb -s addons/llm_exchange.py -r FILE`."""

from antigravity_healing.monitor.view.content_view import register


def load(loader: object) -> None:
    """Add the view, also beside the proxy that has it already: no addon's name may come twice."""
    register()
