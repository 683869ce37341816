"""mitmproxy's own client replay (`-C`, `replay.client`, the button in mitmweb), healed.

Stock replay builds a plain HTTP layer. So a replayed request of ours is run, as a copy, through a handler with a
healing layer, and its answer is put on the flow: the stock replay then has nothing left to do.
"""

import asyncio
from collections.abc import Callable, Hashable

from mitmproxy import ctx, http
from mitmproxy.addons.clientplayback import ReplayHandler
from mitmproxy.addons.keepserving import KeepServing
from mitmproxy.addons.serverplayback import ServerPlayback
from mitmproxy.connection import Connection
from mitmproxy.proxy import commands
from mitmproxy.proxy.layers.http._hooks import HttpErrorHook, HttpResponseHook
from mitmproxy.proxy.server import ConnectionHandler

from healing.proxy.attempts import METADATA
from healing.proxy.flow_story import before_replay, role_of, story_of
from healing.proxy.governor import Governor
from healing.proxy.layer import HealingLayer

_OF_THE_REQUEST = ("upstream", "client")
"""What of a story does not come of how the request was answered: where it went, and who sent it."""


class QuietReplayHandler(ReplayHandler):
    """Replays one flow, whose own hooks stay silent; those of other flows that come of it do not."""

    async def handle_hook(self, hook: commands.StartHook) -> None:
        """Let every hook through but those of the flow itself; its end is the replay's end."""
        (data,) = hook.args()
        if data is not self.flow:
            await ctx.master.addons.handle_lifecycle(hook)
            if isinstance(data, http.HTTPFlow):
                await data.wait_for_resume()
        elif isinstance(hook, HttpResponseHook | HttpErrorHook):
            self.done.set()

    async def close(self) -> None:
        """Close the upstream connections that are left, and drop the timers."""
        for timer in tuple(self.wakeup_timer):
            timer.cancel()
        handlers = [transport.handler for transport in self.transports.values() if transport.handler]
        for handler in handlers:
            handler.cancel("replay is over")
        if handlers:
            await asyncio.wait(handlers)
        for connection in tuple(self.transports):
            close_transport(self, connection)


def close_transport(handler: ConnectionHandler, connection: Connection) -> None:
    """Close a connection's socket, if it is still open."""
    transport = handler.transports.get(connection)
    if transport is not None and transport.writer is not None and not transport.writer.is_closing():
        transport.writer.close()


class HealingReplayHandler(QuietReplayHandler):
    """Replays one flow through a healing layer."""

    def __init__(self, flow: http.HTTPFlow, governor: Governor) -> None:
        super().__init__(flow, ctx.options)
        self.layer = HealingLayer.adopt(self.layer, governor)


class PatientKeepServing(KeepServing):
    """mitmdump's decision when to end. It forgets replays that run side by side, and would end in their middle."""

    busy: Callable[[], bool]

    @classmethod
    def adopt(cls, plain: KeepServing, busy: Callable[[], bool]) -> None:
        """Teach mitmproxy's own addon to ask this too."""
        plain.__class__ = cls
        assert isinstance(plain, PatientKeepServing)
        plain.busy = busy

    def keepgoing(self) -> bool:
        """Whether there is anything left to do."""
        return super().keepgoing() or self.busy()


class HealingServerPlayback(ServerPlayback):
    """mitmproxy's `-S`, which knows exchanges and attempts apart.

    In reverse mode and behind CONNECT a client's request looks like its own first attempt: it must not get that
    attempt's recorded answer, nor be killed as an extra request, but be healed with the answers to its attempts.
    """

    @classmethod
    def adopt(cls, playback: ServerPlayback) -> None:
        """Teach mitmproxy's own addon, with what it has loaded."""
        playback.__class__ = cls
        playback.recompute_hashes()

    def _hash(self, flow: http.HTTPFlow) -> Hashable:
        return super()._hash(flow), role_of(flow) == "attempt"

    def request(self, f: http.HTTPFlow) -> None:
        """Answer from the recording; a client's request only if it was recorded as one."""
        if self.flowmap and (role_of(f) != "exchange" or self._hash(f) in self.flowmap):
            super().request(f)


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
