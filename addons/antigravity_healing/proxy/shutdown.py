"""The end of the proxy: what is under way may finish, and who has to be cut off is told why."""

import asyncio
import contextlib
import logging
from collections.abc import Callable, Iterator

from mitmproxy import ctx
from mitmproxy.connection import Client
from mitmproxy.proxy import events
from mitmproxy.utils import asyncio_utils

from antigravity_healing.policy.judging.failures import counted
from antigravity_healing.proxy.claiming.governor import Governor
from antigravity_healing.proxy.connections.transports import handler_of
from antigravity_healing.proxy.streams.healing_stream import HealingStream

logger = logging.getLogger(__name__)

_LOOK_EVERY_S = 0.05
_SOON_S = 0.01
TELL_S = 2.0
"""For so long, when the grace is over, clients are told, and what has been sent to them may leave."""
LEAVE_S = 1.0
"""For so long their connections are ended."""


class Shutdown:
    """Puts off mitmproxy's end while answers are under way.

    Signals, commands and other addons end mitmproxy by `master.shutdown()`. That is what is taken over here, once all
    is up and until it ends.
    """

    def __init__(self, governor: Callable[[], Governor | None]) -> None:
        """governor: gives the one of now."""
        self._governor = governor
        self._mitmproxy_shutdown: Callable[[], None] | None = None
        self._at_once = asyncio.Event()
        self._closing: asyncio.Task[None] | None = None

    def running(self) -> None:
        """Take over."""
        if self._mitmproxy_shutdown is None:
            self._mitmproxy_shutdown = ctx.master.shutdown
            ctx.master.shutdown = self._asked  # type: ignore[method-assign]

    def done(self) -> None:
        """Give back what was taken over."""
        if self._mitmproxy_shutdown is not None:
            ctx.master.shutdown = self._mitmproxy_shutdown  # type: ignore[method-assign]
            self._mitmproxy_shutdown = None

    def _asked(self) -> None:
        """mitmproxy is to end. Any thread may call this."""
        ctx.master.event_loop.call_soon_threadsafe(self._begin)

    def _begin(self) -> None:
        if self._closing is not None:
            self._at_once.set()
        elif self._mitmproxy_shutdown is not None:
            self._closing = asyncio_utils.create_task(self._close(), name="antigravity shutdown", keep_ref=True)

    async def _close(self) -> None:
        try:
            governor = self._governor()
            if governor is not None and _has_unfinished(governor):
                await self._let_finish(governor)
            async with asyncio.timeout(LEAVE_S):
                await _disconnect()
        except TimeoutError:
            logger.warning("Shutting down with clients that are still connected")
        finally:
            if self._mitmproxy_shutdown is not None:
                self._mitmproxy_shutdown()

    async def _let_finish(self, governor: Governor) -> None:
        """Let what is under way finish, and tell those whose answer does not."""
        grace_s = governor.config.shutdown.grace
        governor.under_way.closing = True
        answers = counted(len(list(governor.under_way)), "answer")
        logger.info("Shutting down: %s may finish within %g s; a second signal ends at once", answers, grace_s)
        await self._wait(lambda: not _has_unfinished(governor), grace_s, self._at_once)
        governor.under_way.ending_now = True
        # Who can't be told is parted with all the same.
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(TELL_S):
                await _tell(governor)

    @staticmethod
    async def _wait(over: Callable[[], bool], seconds: float, at_once: asyncio.Event) -> None:
        """Wait until something is over, but no longer than so many seconds, and not if it is to be at once."""
        until = asyncio.get_running_loop().time() + seconds
        while not over() and not at_once.is_set() and asyncio.get_running_loop().time() < until:
            await asyncio.sleep(_LOOK_EVERY_S)


def _has_unfinished(governor: Governor) -> bool:
    """Whether an answer is under way, or has not left yet."""
    return any(governor.under_way) or any(map(_is_unsent, governor.under_way.clients))


def _is_unsent(client: Client) -> bool:
    handler = handler_of(client)
    transport = handler.transports.get(client) if handler is not None else None
    writer = transport.writer if transport is not None else None
    return isinstance(writer, asyncio.StreamWriter) and writer.transport.get_write_buffer_size() > 0


async def _tell(governor: Governor) -> None:
    """Have all clients told that wait for an answer, and what they are told leave."""
    while any(_exchanges(governor)) or any(map(_is_unsent, governor.under_way.clients)):
        for stream in _exchanges(governor):
            # The clock that runs for each exchange, ahead of its time.
            if stream.timer is not None and (handler := handler_of(stream.context.client)) is not None:
                await handler.server_event(events.Wakeup(stream.timer))
        await asyncio.sleep(_LOOK_EVERY_S)


async def _disconnect() -> None:
    """End the connections of clients: mitmproxy leaves that to the event loop, which cries out for each of them."""
    connections = ctx.master.addons.get("proxyserver").connections
    for handler in list(connections.values()):
        transport = handler.transports.get(handler.client)
        if transport is not None and transport.handler is not None:
            transport.handler.cancel("the proxy ends")
    while connections:
        await asyncio.sleep(_SOON_S)


def _exchanges(governor: Governor) -> Iterator[HealingStream]:
    return (stream for stream in governor.under_way if isinstance(stream, HealingStream) and stream.running)
