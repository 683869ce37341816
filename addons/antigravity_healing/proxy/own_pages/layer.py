"""The layer that serves the proxy's own pages on a connection."""

import asyncio
import inspect
import logging
from collections.abc import Awaitable
from dataclasses import dataclass, field
from urllib.parse import parse_qsl

import h11
from mitmproxy import http
from mitmproxy.connection import ConnectionState
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.context import Context
from mitmproxy.proxy.layer import CommandGenerator

from antigravity_healing.policy.judging.failures import shortened
from antigravity_healing.proxy.claiming.own_paths import OWN_PATHS, is_own
from antigravity_healing.proxy.claiming.state import State
from antigravity_healing.proxy.connections.heads import HeadClock, HeadRefusal
from antigravity_healing.proxy.connections.lingering import LastWords, Lingering
from antigravity_healing.proxy.connections.transports import transport_of
from antigravity_healing.proxy.connections.turns import NextTurn, read_on, stop_reading
from antigravity_healing.proxy.guarding import refusals
from antigravity_healing.proxy.own_pages import entrance, words
from antigravity_healing.proxy.own_pages.connections import PageConnections
from antigravity_healing.proxy.own_pages.http1 import OwnHttp1
from antigravity_healing.proxy.own_pages.pages import MOST_BYTES, Handler, PageAnswer, PageRequest, Pages, Route
from antigravity_healing.proxy.streams.own_hooks import AntigravityAwaitHook

logger = logging.getLogger(__name__)

IDLE_S = 75.0
"""For so long a connection is kept on which nothing is asked."""
UNREAD_S = 30.0
"""For so long a client may take nothing of its answer."""
HANDLER_S = 30.0
"""For so long a handler may take."""
_LOOK_EVERY_S = 0.1


@dataclass
class Served:
    """What all connections for own pages share. state: the proxy's, whose door judges who asks."""

    pages: Pages
    state: State
    connections: PageConnections = field(default_factory=PageConnections)


class OwnPagesLayer(layer.Layer):
    """Answers one request after the other: none is looked at while an answer before it has not left.

    So whatever a client does, no more of an answer is kept than that one, and of what it sends no more than two reads.
    """

    def __init__(self, context: Context, served: Served, paths: tuple[bytes, ...] = OWN_PATHS) -> None:
        """paths: which of the own paths are served here."""
        super().__init__(context)
        self.conn = context.client
        self._served = served
        self._paths = paths
        self._http = OwnHttp1(served.state)
        self._clock = HeadClock(served.state)
        self._idle: commands.RequestWakeup | None = None
        self._looking: commands.RequestWakeup | None = None
        self._lingering: Lingering | None = None
        self._left = self._answering = self._closing = False
        self._unsent = 0
        self.used = self._now()

    @property
    def idle(self) -> bool:
        """Whether nothing is being asked or answered."""
        return not (self._http.begun or self._answering or self._looking or self._lingering)

    def drop(self) -> None:
        """End the connection from outside, with what has not left."""
        read_on(self.conn)
        if (transport := transport_of(self)) is not None:
            transport.abort()

    def _handle_event(self, event: events.Event) -> CommandGenerator[None]:
        match event:
            case events.Start():
                self._served.connections.begun(self)
                yield from self._keep(IDLE_S)
            case events.ConnectionClosed():
                self._left = True
                if self._is_gone():
                    self._forget()
                elif self._lingering is not None:
                    yield from self._linger_on(event)
                else:
                    yield from self._go_on()
            case events.DataReceived() if self._lingering is not None:
                yield from self._linger_on(event)
            case events.DataReceived(data=data):
                self._http.receive(data)
                yield from self._go_on()
            case events.Wakeup() if not self._is_gone():
                yield from self._wake(event)

    def _go_on(self) -> CommandGenerator[None]:
        """Take up the next request, if one is whole and the answer before it has left."""
        if self._looking is not None or self._is_gone():
            return
        found = self._http.take()
        if more := self._http.continues():
            yield commands.SendData(self.conn, more)
        if found is None:
            read_on(self.conn)
            if self._left:
                yield from self._close()
            elif self._http.begun:
                yield from self._clock.start()
            return
        self._clock.stop()
        stop_reading(self.conn)
        if isinstance(found, HeadRefusal):
            refused = refusals.refusal(None, found.status, found.message, logged="a head that is not taken")
            yield from self._say(words.in_words(refused, as_text=False), close=True)
        else:
            self._answering = True
            answer, close = yield from self._answer(found)
            self._answering = False
            yield from self._say(answer, close=close)

    def _say(self, answer: PageAnswer, *, close: bool) -> CommandGenerator[None]:
        if self._is_gone():
            return
        try:
            said = self._http.answer(answer, close=close)
        except h11.LocalProtocolError:
            logger.error("An answer of status %s has headers that can't be sent; this is a bug", answer.status)
            said = self._http.answer(words.failed(500, "An internal error of the proxy, which its log tells of."))
        yield commands.SendData(self.conn, said)
        self.used, self._unsent = self._now(), self._waiting_to_leave()
        if self._http.closes:
            yield from self._last_words()
        elif self._unsent or self._http.begun or self._left:
            yield from self._look_in(_LOOK_EVERY_S if self._unsent else 0.0)
        else:
            read_on(self.conn)

    # Who asks for what.

    def _answer(self, request: http.Request) -> CommandGenerator[tuple[PageAnswer, bool]]:
        """The answer to a request, and whether it is the last on this connection."""
        as_text = "text/html" in request.headers.get("accept", "")
        route = self._served.pages.find(request.path.partition("?")[0])
        method = "GET" if request.method == "HEAD" else request.method
        state = self._served.state
        with refusals.asked_by(state.client_at(state.visits.of(self.conn)), request):
            refused = self._refused(request, route, method)
        if refused is not None:
            return words.in_words(refused, as_text=as_text), refused.status_code == 421
        if route is None or method not in route.handlers:
            return words.nothing_there(request, route.handlers if route is not None else (), as_text=as_text), False
        answer = yield from self._handled(request, route.handlers[method])
        return entrance.show_to_page(request, answer) if route.shared else answer, False

    def _refused(self, request: http.Request, route: Route | None, method: str) -> http.Response | None:
        """The answer to who gets nothing here, None for who is let in."""
        if self._is_misdirected(request):
            told = "This connection is for the proxy's own pages. What is for the API goes on another one."
            return refusals.refusal(None, 421, told)
        shared = route is not None and route.shared
        refused = entrance.refusal(request, self.context, self._served.state, shared=shared)
        if refused is None and method == "POST" and route is not None and method in route.handlers:
            refused = entrance.refused_action(request, self.context, self._served.pages.token)
        return refused

    def _handled(self, request: http.Request, handler: Handler) -> CommandGenerator[PageAnswer]:
        """What a handler answers, whatever comes of it."""
        path, _, query = request.path.partition("?")
        asked = PageRequest(
            request.method,
            path,
            dict(parse_qsl(query, keep_blank_values=True)),
            entrance.without_credentials(request),
            request.raw_content or b"",
        )
        try:
            answer = handler(asked)
            if inspect.isawaitable(answer):
                waiting = _Waiting(answer)
                yield AntigravityAwaitHook(waiting.run())
                answer = waiting.outcome()
            if len(answer.body) > MOST_BYTES:
                raise ValueError(f"the answer has {len(answer.body):,} bytes")
            return answer
        except TimeoutError:
            return words.failed(504, f"{shortened(path)} was not answered within {HANDLER_S:g} s.")
        except Exception as error:
            # Not what it says, which may be of anything.
            shown, kind = shortened(path), type(error).__name__
            logger.error("%s %s could not be answered (%s); this is a bug", asked.method, shown, kind)
            return words.failed(500, f"{shown} could not be answered: an internal error of the proxy; its log tells.")

    def _is_misdirected(self, request: http.Request) -> bool:
        if not is_own(request.data.path, self._paths):
            return True
        hosts = self._served.state.config.clients.hosts
        return bool(request.authority) and not entrance.names_proxy(request.data.authority, self.context, hosts)

    # Time, and the end.

    def _wake(self, event: events.Wakeup) -> CommandGenerator[None]:
        if event.command is self._looking:
            self._looking = None
            yield from self._look()
        elif self._lingering is not None:
            yield from self._linger_on(event)
        elif event.command is self._idle:
            self._idle = None
            left_s = self.used + IDLE_S - self._now()
            if self.idle and left_s <= 0:
                yield from self._close()
            else:
                yield from self._keep(left_s if self.idle else IDLE_S)
        elif (yield from self._clock.has_run_out(event)) and self._http.begun:
            refused = refusals.refusal(None, 408, f"The request took more than {self._clock.seconds:g} s.")
            yield from self._say(words.in_words(refused, as_text=False), close=True)

    def _look(self) -> CommandGenerator[None]:
        """See whether the answer has left, and go on if it has."""
        unsent, now = self._waiting_to_leave(), self._now()
        if unsent and unsent == self._unsent and now - self.used >= UNREAD_S:
            self.drop()
        elif unsent:
            self.used = now if unsent != self._unsent else self.used
            self._unsent = unsent
            yield from self._look_in(_LOOK_EVERY_S)
        elif self._closing:
            yield from self._close()
        elif self._lingering is None:
            yield from self._go_on()

    def _look_in(self, seconds: float) -> CommandGenerator[None]:
        if self._looking is None:
            self._looking = commands.RequestWakeup(seconds) if seconds else NextTurn()
            yield self._looking

    def _keep(self, seconds: float) -> CommandGenerator[None]:
        self._idle = commands.RequestWakeup(seconds)
        yield self._idle

    def _last_words(self) -> CommandGenerator[None]:
        """Say that nothing more comes; the connection is closed when the client has taken it, or does not."""
        read_on(self.conn)
        if self._left:
            yield from self._close()
            return
        self._lingering = Lingering(self.conn)
        yield from self._lingering.begin()
        if self._unsent:
            yield from self._look_in(_LOOK_EVERY_S)

    def _linger_on(self, event: events.Event) -> CommandGenerator[None]:
        assert self._lingering is not None
        for command in self._lingering.take_event(event):
            if isinstance(command, commands.CloseConnection) and not isinstance(command, LastWords):
                yield from self._close()
            else:
                yield command

    def _close(self) -> CommandGenerator[None]:
        """Close the connection, when all has left: what is closed before would wait without anybody's looking."""
        self._closing = True
        if self._waiting_to_leave():
            yield from self._look_in(_LOOK_EVERY_S)
        elif not self._is_gone():
            self._forget()
            yield commands.CloseConnection(self.conn)

    def _forget(self) -> None:
        read_on(self.conn)
        self._served.connections.ended(self)

    def _is_gone(self) -> bool:
        return self.conn.state is ConnectionState.CLOSED

    def _waiting_to_leave(self) -> int:
        transport = transport_of(self)
        return transport.get_write_buffer_size() if transport is not None else 0

    def _now(self) -> float:
        return self._served.state.clock.now()


class _Waiting:
    """Waits for what a handler answers."""

    def __init__(self, answer: Awaitable[PageAnswer]) -> None:
        self._answer = answer
        self._found: PageAnswer | Exception = RuntimeError("it was not awaited")

    async def run(self) -> None:
        """Wait, but not for ever."""
        try:
            async with asyncio.timeout(HANDLER_S):
                self._found = await self._answer
        except Exception as error:
            self._found = error

    def outcome(self) -> PageAnswer:
        """What came of it. Raises what the handler raised."""
        if isinstance(self._found, Exception):
            raise self._found
        return self._found
