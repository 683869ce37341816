"""Clients take turns: what a crowd of them asks for at once is not done in one turn of the event loop."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine
from contextvars import ContextVar
from time import perf_counter
from weakref import WeakKeyDictionary

from mitmproxy.connection import Connection
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.mode_servers import ProxyConnectionHandler

TURN_S = 0.005
"""How long a turn of the loop may do what can wait; then what is under way elsewhere goes on first."""


class NextTurn(commands.RequestWakeup):
    """Wakes its layer in a later turn of the loop, when there is time in one."""

    def __init__(self) -> None:
        super().__init__(0.0)


_read_here: ContextVar[Connection] = ContextVar("the connection that this task reads")
_stopped: WeakKeyDictionary[Connection, asyncio.Event] = WeakKeyDictionary()


def stop_reading(connection: Connection) -> None:
    """Take nothing more of what comes on a connection; its peer soon has to wait."""
    _stopped.setdefault(connection, asyncio.Event())


def read_on(connection: Connection) -> None:
    """Take again what comes."""
    if (stopped := _stopped.pop(connection, None)) is not None:
        stopped.set()


class Turns:
    """How much of a turn of the loop has gone to what can wait: clients that come, leave, or begin something.

    clock: gives seconds.
    """

    def __init__(self, clock: Callable[[], float] = perf_counter) -> None:
        self._clock = clock
        self._began: float | None = None
        self._line = asyncio.Lock()

    async def take(self) -> None:
        """Go on in this turn if there is time in it, else in a later one, in the order of asking."""
        if not self._line.locked() and self._has_time():
            return
        async with self._line:
            while not self._has_time():
                await asyncio.sleep(0)

    def _has_time(self) -> bool:
        if self._began is None:
            self._began = self._clock()
            asyncio.get_running_loop().call_soon(self._end)
        return self._clock() - self._began < TURN_S

    def _end(self) -> None:
        self._began = None


class TurnTaking(ProxyConnectionHandler):
    """Handles the connections of a client as mitmproxy does, and lets others have their turns meanwhile."""

    turns: Turns

    @classmethod
    def adopt(cls, plain: ProxyConnectionHandler, turns: Turns) -> None:
        """Make a handler one of these."""
        plain.__class__ = cls
        assert isinstance(plain, TurnTaking)
        plain.turns = turns

    async def hook_task(self, hook: commands.StartHook) -> None:
        """Run a layer's hook: it stands at the beginning of each piece of work."""
        await self.turns.take()
        await super().hook_task(hook)

    async def handle_connection(self, connection: Connection) -> None:
        """Read a connection. While a client waited to be let in it may have sent all, and left.

        mitmproxy does not know the task that reads it before that has waited for the first time.
        """
        _read_here.set(connection)
        if connection is self.client:
            await _unhurt(asyncio.sleep(0))
        await super().handle_connection(connection)

    async def wakeup(self, request: commands.RequestWakeup) -> None:
        """Wake a layer later on. With the client's end mitmproxy ends what sleeps, but not what begins to after it."""
        if self.client in self.transports:
            await super().wakeup(request)

    async def server_event(self, event: events.Event) -> None:
        """Let the layers have an event. What is under way does not wait here, but what asked for a later turn does.

        So does the end of a connection. Layers that are never told of it keep all that runs on it for ever.
        """
        if isinstance(event, events.ConnectionClosed):
            await in_spite_of_cancelling(self._later(event))
        elif isinstance(event, events.Wakeup) and isinstance(event.command, NextTurn):
            await self._later(event)
        else:
            await super().server_event(event)

    async def _later(self, event: events.Event) -> None:
        await self.turns.take()
        await super().server_event(event)

    async def drain_writers(self) -> None:
        """Between two reads. There may be more to read at once, several times over, without any pause between."""
        await super().drain_writers()  # type: ignore[no-untyped-call]
        connection = _read_here.get(None)
        while connection is not None and (stopped := _stopped.get(connection)) is not None:
            await stopped.wait()
        await asyncio.sleep(0)


async def in_spite_of_cancelling(work: Coroutine[None, None, None]) -> None:
    """Do all of a piece of work. What cancels the task meanwhile, several times even, is felt when it waits next."""
    doing = asyncio.ensure_future(work)
    cancelled: asyncio.CancelledError | None = None
    while not doing.done():
        try:
            await asyncio.wait([doing])
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        _cancel_later(cancelled)
    doing.result()


async def _unhurt(waiting: Awaitable[None]) -> None:
    """Wait. What cancels the task meanwhile is felt when it waits next, where mitmproxy reckons with it."""
    try:
        await waiting
    except asyncio.CancelledError as cancelled:
        _cancel_later(cancelled)


def _cancel_later(cancelled: asyncio.CancelledError) -> None:
    task = asyncio.current_task()
    assert task is not None
    task.cancel(*cancelled.args)
