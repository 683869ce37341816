"""What the proxy serves of its own: how it is, what it does now, what a person can do, and the page."""

import inspect
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import orjson

from antigravity_healing.monitor.captures.capture import Capture
from antigravity_healing.monitor.captures.replays import Replays
from antigravity_healing.monitor.hand.doing import Hand, NotDoneError
from antigravity_healing.monitor.metrics.page import Metrics, metrics_page
from antigravity_healing.monitor.page_data.details import Details
from antigravity_healing.monitor.page_data.kept_flows import KeptFlows
from antigravity_healing.monitor.page_data.logged import Logged
from antigravity_healing.monitor.page_data.replayed import Replayed
from antigravity_healing.monitor.request_log.listener import RequestLog
from antigravity_healing.monitor.serving.files import PageFiles
from antigravity_healing.monitor.status.health import Health
from antigravity_healing.monitor.status.now import Now
from antigravity_healing.proxy.claiming.state import State
from antigravity_healing.proxy.own_pages.pages import ROOT, Handler, PageAnswer, PageRequest, Pages, unless_known


@dataclass(frozen=True, slots=True)
class Shown:
    """Where what is served comes from. state: gives the proxy's of now."""

    state: Callable[[], State]
    health: Health
    now: Now
    hand: Hand
    metrics: Metrics
    log: RequestLog
    capture: Capture
    replays: Replays


def add_pages(pages: Pages, shown: Shown) -> None:
    """Serve all of it."""

    def tell_health(_: PageRequest) -> PageAnswer:
        return PageAnswer.json(shown.health(shown.state()))

    def tell_now(request: PageRequest) -> PageAnswer:
        return unless_known(request, PageAnswer.json(shown.now(shown.state())))

    async def tell_metrics(request: PageRequest) -> PageAnswer:
        content_type, body = await metrics_page(shown.metrics, request.headers.get("accept", ""))
        return PageAnswer(200, content_type, body)

    pages.add("GET", "/metrics", tell_metrics)
    pages.add("GET", "/health", tell_health, shared=True)
    # In reverse mode `/health` may be that of the server which the proxy stands for.
    pages.add("GET", f"{ROOT}/health", tell_health)
    pages.add("GET", f"{ROOT}/now", tell_now)
    pages.add("POST", f"{ROOT}/account/reset", _done(lambda asked: shown.hand.reset(asked.get("name", ""))))
    pages.add("POST", f"{ROOT}/reload", _done(lambda _: shown.hand.reload()))
    _add_page_data(pages, shown)
    pages.add("GET", f"{ROOT}/*", PageFiles().answer)


def _add_page_data(pages: Pages, shown: Shown) -> None:
    logged, kept = Logged(shown.log), KeptFlows(shown.capture)
    details, replayed = Details(logged, kept, shown.state), Replayed(shown.replays, kept)

    async def exchanges(request: PageRequest) -> PageAnswer:
        return unless_known(request, await logged.exchanges(request))

    async def captures(request: PageRequest) -> PageAnswer:
        try:
            found = await kept.captured()
        except OSError as error:
            return PageAnswer.json({"error": f"the captured files can't be read: {error.strerror}"}, 503)
        settings = shown.capture.settings()
        told = {"captures": found, "enabled": settings.enabled, "days": settings.days}
        return unless_known(request, PageAnswer.json(told))

    pages.add("GET", f"{ROOT}/exchanges", exchanges)
    pages.add("GET", f"{ROOT}/hour", logged.hour)
    pages.add("GET", f"{ROOT}/exchange", details.exchange)
    pages.add("GET", f"{ROOT}/flow", details.flow)
    pages.add("GET", f"{ROOT}/captures", captures)
    pages.add("GET", f"{ROOT}/replays", lambda _: PageAnswer.json({"replays": replayed.told()}))
    pages.add("POST", f"{ROOT}/replay", _done(lambda asked: replayed.start(asked.get("id", ""))))


def _done(do: Callable[[dict[str, str]], str | Awaitable[str]]) -> Handler:
    """A handler that does something for a person, and says what came of it."""

    async def handle(request: PageRequest) -> PageAnswer:
        try:
            asked = orjson.loads(request.body or b"{}")
        except ValueError:
            asked = None
        if not isinstance(asked, dict) or not all(isinstance(value, str) for value in asked.values()):
            return PageAnswer.json({"error": "the body has to be a JSON object of strings"}, 400)
        try:
            done = do(asked)
            return PageAnswer.json({"done": await done if inspect.isawaitable(done) else done})
        except NotDoneError as error:
            return PageAnswer.json({"error": str(error)}, error.status)

    return handle
