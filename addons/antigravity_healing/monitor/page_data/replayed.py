"""Replays that were asked for on the page, and what came of them."""

import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from mitmproxy import ctx, http

from antigravity_healing.monitor.captures.replays import Replays
from antigravity_healing.monitor.hand.doing import NotDoneError
from antigravity_healing.monitor.page_data.kept_flows import KeptFlows
from antigravity_healing.policy.judging.failures import shortened
from antigravity_healing.proxy.streams.flow_story import name_of, outcome_of, story_of

_MOST = 20


@dataclass(slots=True)
class _Replay:
    """flow: as long as it runs; what is over needs no more than its words."""

    flow: http.HTTPFlow | None
    at: float
    before: str
    now: str = ""
    came: str | None = None

    def settle(self) -> None:
        """Take down what came of it, if it is over."""
        if self.flow is not None and not _is_running(self.flow):
            self.now = str(story_of(self.flow).get("exchange", ""))
            self.came = outcome_of(story_of(self.flow), self.flow.response)
            self.flow = None


class Replayed:
    """Starts them, and knows the last of them."""

    def __init__(self, replays: Replays, kept: KeptFlows, wall: Callable[[], float] = time.time) -> None:
        """wall: seconds since 1970."""
        self._replays = replays
        self._kept = kept
        self._wall = wall
        self._last: OrderedDict[str, _Replay] = OrderedDict()

    async def start(self, exchange: str) -> str:
        """Send an exchange again, and say so. Raises NotDoneError where that can't be done."""
        try:
            found = await self._kept.find(exchange)
        except OSError as error:
            raise NotDoneError(f"the captured files can't be read: {error.strerror}", 503) from None
        if found is None:
            raise NotDoneError(f"no request of {shortened(exchange)} is kept: it can't be sent again", 404)
        flow = found.own
        if flow.live or flow.intercepted or _is_running(flow):
            raise NotDoneError(f"{name_of(flow)} is still running", 409)
        before = outcome_of(story_of(flow), flow.response)
        if found.file and (view := ctx.master.addons.get("view")) is not None:
            view.add([one for one in (flow, *found.attempts) if view.get_by_id(one.id) is None])
        self._replays.start([flow])
        if flow.response is not None:
            raise NotDoneError(f"{name_of(flow)} can't be replayed: mitmproxy's log says why", 422)
        for each in self._last.values():
            each.settle()
        self._last[exchange] = _Replay(flow, self._wall(), before)
        self._last.move_to_end(exchange)
        while len(self._last) > _MOST:
            self._last.popitem(last=False)
        return f"{name_of(flow)} is being sent again, through the configuration as it is now"

    def told(self) -> list[dict[str, Any]]:
        """The last of them, the newest first, as JSON has it.

        exchange: what was sent again; now: the exchange that it has become, "" as long as it runs. before, came: the
        outcomes.
        """
        for each in self._last.values():
            each.settle()
        return [
            {
                "exchange": exchange,
                "at": round(each.at, 1),
                "before": each.before,
                "running": each.flow is not None,
                "now": each.now,
                "came": each.came,
            }
            for exchange, each in reversed(self._last.items())
        ]


def _is_running(flow: http.HTTPFlow) -> bool:
    return flow.is_replay == "request" and flow.response is None and flow.error is None
