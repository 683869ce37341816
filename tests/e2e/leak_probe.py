"""A second addon for mitmproxy: tells whoever connects to its port what is alive in the process, as JSON."""

import asyncio
import gc
import json
import logging
import re
from collections import Counter
from typing import Any

from mitmproxy import ctx
from mitmproxy.addonmanager import Loader

# What belongs to a single exchange, by class name.
WATCHED = (
    "Attempt",
    "AttemptStream",
    "Exchange",
    "Gate",
    "HTTPFlow",
    "HealingStream",
    "Recorder",
    "SSEDecoder",
    "Sink",
)
# What mitmproxy makes for each connection to an upstream.
CONNECTING = ("Context", "Server")
PAGE = 4096


class LeakProbe:
    """Listens on a port of its own, so that asking changes nothing of what is counted."""

    def __init__(self) -> None:
        self._server: asyncio.Server | None = None

    def load(self, loader: Loader) -> None:
        """What is there before the first client is left out of every count, which makes counting quick."""
        gc.collect()
        gc.freeze()

    async def running(self) -> None:
        """Listen, and log the port."""
        self._server = await asyncio.start_server(self._tell, "127.0.0.1", 0)
        logging.getLogger(__name__).info("leak probe on port %d", self._server.sockets[0].getsockname()[1])

    def done(self) -> None:
        """Stop listening."""
        if self._server is not None:
            self._server.close()

    async def _tell(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        gc.collect()
        writer.write(json.dumps(report()).encode())
        await writer.drain()
        writer.close()


def report() -> dict[str, Any]:
    """Tasks, objects and what connections are made of by name, connections, exchanges, and the memory in use."""
    me = asyncio.current_task()
    tasks = Counter(re.sub(r" ?[(\d].*", "", task.get_name()) for task in asyncio.all_tasks() if task is not me)
    objects: Counter[str] = Counter()
    connecting: Counter[str] = Counter()
    for thing in gc.get_objects():
        module = type(thing).__module__
        # The isinstance of a proxy object may run code, the type does not.
        if isinstance(module, str) and module.startswith(("antigravity_healing.", "mitmproxy.http")):
            name = type(thing).__name__
            objects[name] += name in WATCHED
        elif module in ("mitmproxy.connection", "mitmproxy.proxy.context"):
            connecting[type(thing).__name__] += type(thing).__name__ in CONNECTING
    handlers = list(ctx.master.addons.get("proxyserver").connections.values())
    with open("/proc/self/statm") as statm:
        resident = int(statm.read().split()[1]) * PAGE
    return {
        "tasks": tasks,
        "objects": +objects,
        "connecting": +connecting,
        "running": ctx.master.addons.get("antigravity").governor.running,
        "clients": len(handlers),
        "servers": sum(len(handler.transports) - (handler.client in handler.transports) for handler in handlers),
        "timers": sum(len(handler.wakeup_timer) for handler in handlers),
        "resident": resident,
    }


addons = [LeakProbe()]
