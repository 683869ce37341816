"""What the proxy serves of its own: how it is, and the page."""

from collections.abc import Callable

from healing.monitor.page_files import PageFiles
from healing.proxy.claiming.local_answers import Health
from healing.proxy.claiming.state import State
from healing.proxy.own_pages.pages import ROOT, PageAnswer, PageRequest, Pages


def own_pages(health: Health, state: Callable[[], State | None]) -> Pages:
    """All of it. health: tells how the proxy is. state: gives the proxy's of now; it has one while it serves."""

    def tell_health(_: PageRequest) -> PageAnswer:
        now = state()
        assert now is not None
        return PageAnswer.json(health(now))

    pages = Pages()
    pages.add("GET", "/health", tell_health, shared=True)
    # In reverse mode `/health` may be that of the server which the proxy stands for.
    pages.add("GET", f"{ROOT}/health", tell_health)
    pages.add("GET", f"{ROOT}/*", PageFiles().answer)
    return pages
