"""Clients that can't be accepted for lack of open files: asyncio would say so again and again, with a traceback."""

import asyncio
import logging
from collections.abc import Callable
from typing import Any

from mitmproxy import connection

from healing.policy.trouble import Trouble

logger = logging.getLogger(__name__)

_OUT_OF_RESOURCES = "socket.accept() out of system resource"

Handler = Callable[[asyncio.AbstractEventLoop, dict[str, Any]], object]


class Accepting:
    """Says once that no client can be accepted, and once that it is over."""

    def __init__(self) -> None:
        self._trouble = Trouble(logger, "clients wait: none can be accepted: %s", "clients are accepted again")
        self._stock: Handler | None = None

    def running(self) -> None:
        """Listen to what asyncio reports, and hand on all the rest."""
        loop = asyncio.get_running_loop()
        if loop.get_exception_handler() != self._handle:
            self._stock = loop.get_exception_handler()
            loop.set_exception_handler(self._handle)

    def done(self) -> None:
        """Give the place back."""
        loop = asyncio.get_running_loop()
        if loop.get_exception_handler() == self._handle:
            loop.set_exception_handler(self._stock)

    def client_connected(self, client: connection.Client) -> None:
        """A client has been accepted."""
        self._trouble.over()

    def _handle(self, loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
        if context.get("message") == _OUT_OF_RESOURCES:
            self._trouble.met(getattr(context.get("exception"), "strerror", "too little of something"))
        elif self._stock is not None:
            self._stock(loop, context)
        else:
            loop.default_exception_handler(context)
