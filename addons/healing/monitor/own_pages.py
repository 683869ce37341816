"""What the proxy serves of its own: how it is, what it does now, what a person can do, and the page."""

from collections.abc import Callable

import orjson

from healing.monitor.hand import Hand, NothingLikeThatError
from healing.monitor.health import Health
from healing.monitor.metrics.page import Metrics, metrics_page
from healing.monitor.now import Now
from healing.monitor.page_files import PageFiles
from healing.proxy.claiming.state import State
from healing.proxy.own_pages.pages import ROOT, Handler, PageAnswer, PageRequest, Pages


def add_pages(pages: Pages, state: Callable[[], State], health: Health, now: Now, hand: Hand, metrics: Metrics) -> None:
    """Serve all of it. state: gives the proxy's of now."""

    def tell_health(_: PageRequest) -> PageAnswer:
        now = state()
        assert now is not None
        return PageAnswer.json(health(now))

    async def tell_metrics(request: PageRequest) -> PageAnswer:
        content_type, body = await metrics_page(metrics, request.headers.get("accept", ""))
        return PageAnswer(200, content_type, body)

    pages.add("GET", "/metrics", tell_metrics)
    pages.add("GET", "/health", tell_health, shared=True)
    # In reverse mode `/health` may be that of the server which the proxy stands for.
    pages.add("GET", f"{ROOT}/health", tell_health)
    pages.add("GET", f"{ROOT}/now", lambda _: PageAnswer.json(now(state())))
    pages.add("POST", f"{ROOT}/account/reset", _done(lambda asked: hand.reset(asked.get("name", ""))))
    pages.add("POST", f"{ROOT}/reload", _done(lambda _: hand.reload()))
    pages.add("GET", f"{ROOT}/*", PageFiles().answer)


def _done(do: Callable[[dict[str, str]], str]) -> Handler:
    """A handler that does something for a person, and says what came of it."""

    def handle(request: PageRequest) -> PageAnswer:
        try:
            asked = orjson.loads(request.body or b"{}")
        except ValueError:
            asked = None
        if not isinstance(asked, dict) or not all(isinstance(value, str) for value in asked.values()):
            return PageAnswer.json({"error": "the body has to be a JSON object of strings"}, 400)
        try:
            return PageAnswer.json({"done": do(asked)})
        except NothingLikeThatError as error:
            return PageAnswer.json({"error": str(error)}, 404)

    return handle
