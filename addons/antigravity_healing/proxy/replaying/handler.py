"""The handler of a replayed flow, which stands for its client's connection."""

import asyncio
import logging
from typing import Any

from mitmproxy import ctx, http
from mitmproxy.addons.clientplayback import ReplayHandler
from mitmproxy.proxy import commands, server

from antigravity_healing.proxy.connections.transports import close_transport
from antigravity_healing.proxy.internals.http_layer import HttpErrorHook, HttpResponseHook


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

    def log(self, message: str, level: int = logging.INFO, exc_info: Any = None) -> None:
        """Say it as what is said of any connection: who wants none of that on the terminal means this, too."""
        server.logger.log(level, "[replay] %s", message, exc_info=exc_info)

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
