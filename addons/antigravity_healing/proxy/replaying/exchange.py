"""mitmproxy's own client replay (`-C`, `replay.client`, the button in mitmweb), healed.

Stock replay builds a plain HTTP layer. So a replayed request of ours is run, as a copy, through a handler with a
healing layer, and its answer is put on the flow: the stock replay then has nothing left to do.
"""

from mitmproxy import ctx, http

from antigravity_healing.proxy.claiming.governor import Governor
from antigravity_healing.proxy.internals.flow_backup import before_replay
from antigravity_healing.proxy.replaying.handler import QuietReplayHandler
from antigravity_healing.proxy.streams.flow_story import METADATA, role_of, story_of
from antigravity_healing.proxy.streams.layer import HealingLayer

_OF_THE_REQUEST = ("upstream", "client")
"""What of a story does not come of how the request was answered: where it went, and who sent it."""


class HealingReplayHandler(QuietReplayHandler):
    """Replays one flow through a healing layer."""

    def __init__(self, flow: http.HTTPFlow, governor: Governor) -> None:
        super().__init__(flow, ctx.options)
        self.layer = HealingLayer.adopt(self.layer, governor)


async def replay(flow: http.HTTPFlow, governor: Governor) -> None:
    """Answer a replayed request with what healing makes of it."""
    copy = flow.copy()
    copy.is_replay = "request"
    # What came of it the first time must not be taken for what comes of it now.
    copy.comment = copy.marked = ""
    copy.metadata.pop(METADATA, None)
    if role_of(flow) == "exchange":
        kept = {key: value for key, value in story_of(flow).items() if key in _OF_THE_REQUEST}
        if "upstream" not in kept and not governor.claiming.serves(flow.request):
            # It was refused before it got anywhere: it was meant for the proxy.
            kept["upstream"] = ""
        copy.metadata[METADATA] = {"role": "exchange", **kept}
    handler = HealingReplayHandler(copy, governor)
    try:
        await handler.replay()
    finally:
        await handler.close()
    flow.metadata[METADATA] = copy.metadata.get(METADATA, {})
    flow.comment, flow.marked = copy.comment, copy.marked
    if copy.response is not None:
        flow.response = copy.response
    else:
        reason = copy.error.msg if copy.error else "no answer came"
        flow.response = http.Response.make(502, f"replay failed: {reason}".encode(), {"content-type": "text/plain"})


def keep_as_recorded(flow: http.HTTPFlow) -> None:
    """Give an attempt's flow, which is no client's request, the response that was recorded for it."""
    recorded = before_replay(flow)
    response = recorded.response if recorded else None
    flow.response = response or http.Response.make(
        409, b"an attempt is not replayed by itself: replay its exchange", {"content-type": "text/plain"}
    )
