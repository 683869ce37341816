"""Clients take turns: what a crowd of them asks for at once is not done in one turn of the event loop."""

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator
from contextlib import nullcontext
from contextvars import ContextVar
from time import perf_counter
from typing import cast
from weakref import WeakKeyDictionary, ref

from mitmproxy.connection import Address, Connection
from mitmproxy.flow import Flow
from mitmproxy.hooks import UpdateHook
from mitmproxy.proxy import commands, events
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator, Layer
from mitmproxy.proxy.mode_servers import ProxyConnectionHandler

from antigravity_healing.proxy.connections.unresolved import name_unresolved
from antigravity_healing.proxy.internals.listeners import EVERYBODY

TURN_S = 0.005
"""How long a turn of the loop may do what can wait; then what is under way elsewhere goes on first."""


class NextTurn(commands.RequestWakeup):
    """Wakes its layer in a later turn of the loop, when there is time in one."""

    def __init__(self) -> None:
        super().__init__(0.0)


# Whatever the task begins has it too, and may outlive the connection.
_read_here: ContextVar[ref[Connection]] = ContextVar("the connection that this task reads")
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
        if not self._line.locked() and self.has_time():
            return
        async with self._line:
            while not self.has_time():
                await asyncio.sleep(0)

    def has_time(self) -> bool:
        """Whether there is time left in this turn."""
        if self._began is None:
            self._began = self._clock()
            asyncio.get_running_loop().call_soon(self._end_turn)
        return self._clock() - self._began < TURN_S

    def _end_turn(self) -> None:
        self._began = None


class _Piece(Layer):
    """Stands for a layer until all that it does about an event is done."""

    def __init__(self, context: Context, doing: Iterator[commands.Command], turns: Turns) -> None:
        super().__init__(context)
        context.layers.remove(self)
        self.over = False
        self._doing, self._turns = doing, turns

    def handle_event(self, event: events.Event) -> CommandGenerator[None]:
        """Do as much as there is time for in this turn."""
        for command in self._doing:
            yield command
            if not self._turns.has_time():
                return
        self.over = True

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        raise AssertionError


class TurnTaking(ProxyConnectionHandler):
    """Handles the connections of a client as mitmproxy does, and lets others have their turns meanwhile."""

    turns: Turns
    in_order: asyncio.Lock
    """Held while the layers have an event: what it sets off may take several turns."""
    is_counted: Callable[[Address], bool]
    """Whether our own layers see to how many connections to an address there are: mitmproxy makes no more than five."""
    resolved: set[str]
    """The names of such addresses that have been resolved so far, for any client."""

    @classmethod
    def adopt(
        cls, plain: ProxyConnectionHandler, turns: Turns, is_counted: Callable[[Address], bool], resolved: set[str]
    ) -> None:
        """Make a handler one of these."""
        plain.__class__ = cls
        assert isinstance(plain, TurnTaking)
        plain.turns = turns
        plain.in_order = asyncio.Lock()
        plain.is_counted = is_counted
        plain.resolved = resolved

    async def open_connection(self, command: commands.OpenConnection) -> None:
        """Make a connection, and keep it while it lasts; of one that could not be made, keep nothing."""
        address = command.connection.address
        if address is not None and self.is_counted(address):
            self.max_conns[address] = cast(asyncio.Semaphore, nullcontext())
        try:
            await super().open_connection(command)
        finally:
            self._forget_unmade(command.connection)

    def close_connection(self, connection: Connection, half_close: bool = False) -> None:
        """Close a connection, also one that is still being made."""
        super().close_connection(connection, half_close)
        if not half_close:
            self._forget_unmade(connection)

    def _forget_unmade(self, connection: Connection) -> None:
        io = self.transports.get(connection)
        if io is not None and io.writer is None:
            del self.transports[connection]

    async def hook_task(self, hook: commands.StartHook) -> None:
        """Run a layer's hook: it stands at the beginning of each piece of work."""
        await self.turns.take()
        await super().hook_task(hook)

    async def handle_hook(self, hook: commands.StartHook) -> None:
        """Call those who listen to a hook, and then those who want to know of changed flows."""
        with self.timeout_watchdog.disarm():
            (data,) = hook.args()
            await EVERYBODY.call(hook.name, data)
            if isinstance(data, Flow):
                await EVERYBODY.call(UpdateHook.name, [data])
                await data.wait_for_resume()

    async def handle_connection(self, connection: Connection) -> None:
        """Read a connection. While a client waited to be let in it may have sent all, and left.

        mitmproxy does not know the task that reads it before that has waited for the first time.
        """
        _read_here.set(ref(connection))
        if connection is self.client:
            await _unhurt(asyncio.sleep(0))
        await super().handle_connection(connection)

    async def wakeup(self, request: commands.RequestWakeup) -> None:
        """Wake a layer later on. With the client's end mitmproxy ends what sleeps, but not what begins to after it."""
        if self.client in self.transports:
            await super().wakeup(request)

    async def server_event(self, event: events.Event) -> None:
        """Let the layers have an event, one after the other.

        mitmproxy reckons with no cancelling here, as it never waits: who is cancelled would not even say that the
        connection is at its end, and the layers would keep all that runs on it for ever.
        """
        if isinstance(event, events.OpenConnectionCompleted):
            address = event.command.connection.address
            counted = address is not None and self.is_counted(address)
            name_unresolved(event, self.resolved if counted else None)
        if isinstance(event, events.ConnectionClosed):
            await in_spite_of_cancelling(self._piecewise(event))
        elif _can_wait(event) or self.in_order.locked():
            await in_spite_of_cancelling(self._whole(event))
        else:
            await self._whole(event)

    async def _whole(self, event: events.Event) -> None:
        """Do all that an event sets off in one turn."""
        async with self.in_order:
            if _can_wait(event):
                await self.turns.take()
            await super().server_event(event)

    async def _piecewise(self, event: events.Event) -> None:
        """Do what an event sets off, which may be very much for one client of many, in several turns."""
        async with self.in_order:
            layer = self.layer
            piece = self.layer = _Piece(layer.context, layer.handle_event(event), self.turns)
            try:
                while not piece.over:
                    await self.turns.take()
                    await super().server_event(event)
            finally:
                self.layer = layer

    async def drain_writers(self) -> None:
        """Between two reads. There may be more to read at once, several times over, without any pause between."""
        await super().drain_writers()  # type: ignore[no-untyped-call]
        here = _read_here.get(None)
        connection = here() if here is not None else None
        while connection is not None and (stopped := _stopped.get(connection)) is not None:
            await stopped.wait()
        await asyncio.sleep(0)


def _can_wait(event: events.Event) -> bool:
    """Whether it is about what had to wait anyway, or asked for a later turn."""
    if isinstance(event, events.Wakeup):
        return isinstance(event.command, NextTurn)
    return isinstance(event, events.HookCompleted | events.OpenConnectionCompleted)


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
