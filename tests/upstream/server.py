"""The faulty upstream: a real server in a thread of its own, with a plan for each call."""

from __future__ import annotations

import asyncio
import re
import socket
import ssl
import tempfile
import threading
import time
import traceback
from collections import deque
from collections.abc import Callable, Coroutine
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.support.patience import PATIENCE_S

from .calls import Call, Ended, Request
from .connection import Connection
from .healthy import healthy, refusal
from .http1 import Http1
from .http2 import Http2
from .replies import Play, Reply
from .tls import server_context

PLAN = re.compile(rb"\[plan:([^\[\]]+)\]")
STOP_SECONDS = 10.0


class Upstream:
    """Plays a planned `Reply` for each call, on http(s)://HOST:PORT; to be used with `with`.

    Every method may be called from any thread. Plans and calls are changed under one lock, and each change wakes
    the waiters of `wait_for`.
    """

    def __init__(self, *, tls: bool = False, http2: bool = False, host: str = "127.0.0.1", port: int = 0) -> None:
        """`http2` offers h2 (and http/1.1) by ALPN, so it needs `tls`. `port` 0 is any free one."""
        if http2 and not tls:
            raise ValueError("http2 needs tls: HTTP/2 is chosen by ALPN")
        self.host, self.port = host, port
        self.default: Play = healthy
        """What is played when no plan is left: a reply, or what makes one for a call."""
        self.calls: list[Call] = []
        self.open_connections = 0
        """TCP connections that are open now."""
        self.active = 0
        """Calls that are being answered now."""
        self.on_begin: Callable[[Call], None] = lambda call: None
        """Called in the server's thread for each received call, before its answer."""
        self.on_end: Callable[[Call], None] = lambda call: None
        """Called in the server's thread when the answer to a call has ended."""
        self._tls, self._http2 = tls, http2
        self._context: ssl.SSLContext | None = None
        self._ca_file: Path | None = None
        self._folder: tempfile.TemporaryDirectory[str] | None = None
        self._plans: dict[str, deque[Play]] = {}
        self._plan: deque[Play] = deque()
        self._state = threading.Condition()
        self._connections: set[Connection] = set()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="faulty upstream", daemon=True)
        self._server: asyncio.Server | None = None
        self._reserved: socket.socket | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self._tls else 'http'}://{self.host}:{self.port}"

    @property
    def ca_file(self) -> Path:
        """The PEM file of the CA that clients must trust; only with `tls`."""
        if self._ca_file is None:
            raise AttributeError("an upstream without tls has no ca_file")
        return self._ca_file

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def start(self) -> None:
        """Listens; raises OSError when the port is taken."""
        if self._tls:
            self._folder = tempfile.TemporaryDirectory(prefix="faulty-upstream-")
            self._context, self._ca_file = server_context(Path(self._folder.name), self._http2)
        self._thread.start()
        try:
            self._reserved = self._bind()
            self.accept()
        except OSError:
            self.close()
            raise

    def close(self) -> None:
        """Ends all connections, the thread and the temporary files."""
        if self._thread.is_alive():
            self._run(self._shut())
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(STOP_SECONDS)
        if not self._loop.is_closed() and not self._loop.is_running():
            self._loop.close()
        if self._reserved is not None:
            self._reserved.close()
            self._reserved = None
        if self._folder is not None:
            self._folder.cleanup()
            self._folder = None

    def play(self, *replies: Play, key: str | None = None) -> None:
        """Queues `replies`: without `key` for any calls in order of arrival, with it for the calls whose body
        contains `[plan:KEY]` (the last known one counts). A call with a known key never takes another's reply: when
        its own are used up it gets the default.
        """
        with self._state:
            queue = self._plan if key is None else self._plans.setdefault(key, deque())
            queue.extend(replies)

    def reset(self) -> None:
        """Forgets the calls and the plans; calls in progress go on."""
        with self._state:
            self.calls.clear()
            self._plan.clear()
            self._plans.clear()
            self._state.notify_all()

    @property
    def unplayed(self) -> int:
        """How many queued replies no call has taken yet."""
        with self._state:
            return len(self._plan) + sum(map(len, self._plans.values()))

    def refuse(self) -> None:
        """New connections are refused from now on, and idle ones are closed; calls in progress go on."""
        self._run(self._refuse())

    def accept(self) -> None:
        """Listens again, on the same port."""
        self._run(self._accept())

    def wait_for(self, predicate: Callable[[Upstream], object], timeout: float = PATIENCE_S) -> None:
        """Blocks until `predicate(self)` is true, at most `timeout` seconds; then AssertionError tells all calls."""
        with self._state:
            if not self._state.wait_for(lambda: predicate(self), timeout):
                raise AssertionError(f"not so after {timeout} s. {self.describe()}")

    def describe(self) -> str:
        """The state and the calls, a line each, for people."""
        with self._state:
            head = (
                f"The upstream has {self.open_connections} open connections, {self.active} active calls, "
                f"{self.unplayed} replies left to play and received {len(self.calls)} calls:"
            )
            lines = [f"  {call.describe()}: {call.ended or 'in progress'}, {call.sent} bytes" for call in self.calls]
            return "\n".join([head, *lines])

    # What follows runs in the server's thread.

    def opened(self, connection: Connection) -> None:
        with self._state:
            self._connections.add(connection)
            self.open_connections += 1
            self._state.notify_all()

    def closed(self, connection: Connection) -> None:
        with self._state:
            self._connections.discard(connection)
            self.open_connections -= 1
            self._state.notify_all()

    def begin(self, request: Request) -> tuple[Call, Reply]:
        path, _, query = request.target.partition("?")
        with self._state:
            call = Call(
                index=len(self.calls),
                at=time.monotonic(),
                method=request.method,
                path=path,
                query=query,
                headers={name.lower(): value for name, value in request.header_pairs},
                header_pairs=request.header_pairs,
                body=request.body,
                http_version=request.http_version,
            )
            self.calls.append(call)
            self.active += 1
            refused = refusal(call)
            play = refused if refused is not None else self._next(call)
            self._state.notify_all()
        try:
            reply = play if isinstance(play, Reply) else play(call)
        except Exception:
            # A broken plan must show in the test, not as a hanging client.
            text = f"The plan for this call raised.\n{traceback.format_exc()}"
            reply = Reply(500, {"content-type": "text/plain"}, text.encode(), name="broken plan")
        call.reply = reply
        self.on_begin(call)
        return call, reply

    def changed(self) -> None:
        with self._state:
            self._state.notify_all()

    def end(self, call: Call, ended: Ended) -> None:
        with self._state:
            call.ended, call.ended_at, call.finished = ended, time.monotonic(), ended == "finished"
            self.active -= 1
            self._state.notify_all()
        self.on_end(call)

    def _next(self, call: Call) -> Play:
        for key in reversed(PLAN.findall(call.body)):
            if (plan := self._plans.get(key.decode("utf-8", "replace"))) is not None:
                return plan.popleft() if plan else self.default
        return self._plan.popleft() if self._plan else self.default

    def _run(self, coroutine: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(STOP_SECONDS)

    def _bind(self) -> socket.socket:
        """A socket that holds the port. While it does not listen, connections are refused."""
        sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            sock.bind((self.host, self.port))
        except OSError:
            sock.close()
            raise
        self.port = sock.getsockname()[1]
        return sock

    async def _accept(self) -> None:
        if self._server is None and self._reserved is not None:
            seconds = 1.0 if self._context is not None else None
            self._server = await self._loop.create_server(
                lambda: Opening(self),
                sock=self._reserved,
                ssl=self._context,
                ssl_shutdown_timeout=seconds,
                backlog=512,
            )
            self._reserved = None

    async def _refuse(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
            self._reserved = self._bind()
        for connection in list(self._connections):
            if not connection.busy:
                connection.abandon()

    async def _shut(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for connection in list(self._connections):
            connection.abandon()
        me = asyncio.current_task()
        tasks = [task for task in asyncio.all_tasks() if task is not me]
        await asyncio.wait(tasks, timeout=1) if tasks else await asyncio.sleep(0)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Opening(asyncio.Protocol):
    """Hands a new connection to the protocol that was agreed on."""

    def __init__(self, host: Upstream) -> None:
        self._host = host

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        secured = transport.get_extra_info("ssl_object")
        agreed = secured.selected_alpn_protocol() if secured is not None else None
        connection = Http2(self._host) if agreed == "h2" else Http1(self._host)
        transport.set_protocol(connection)
        connection.connection_made(transport)
