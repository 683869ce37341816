"""A proxy that can be asked what is alive in it."""

import re
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from tests.e2e.harness import Proxy
from tests.support.patience import PATIENCE_S

PROBE = Path(__file__).with_name("leak_probe.py")
_PORT = re.compile(r"leak probe on port (\d+)")
_TASKS = ("client handler", "client connection handler", "server connection handler", "wakeup timer", "handle_hook")


@dataclass(frozen=True)
class Alive:
    """What is alive in the process. `tasks`, `objects` and `connecting` count by name; `resident` is in bytes."""

    tasks: dict[str, int]
    objects: dict[str, int]
    connecting: dict[str, int]
    running: int
    clients: int
    servers: int
    timers: int
    resident: int


class ProbedProxy(Proxy):
    """A proxy with the leak probe loaded beside the addon."""

    def __init__(self, folder: Path, config: str | None = "", **more: Any) -> None:
        more["args"] = ["-s", str(PROBE), *more.get("args", ())]
        super().__init__(folder, config, **more)

    def alive(self) -> Alive:
        """Collect garbage in the process and ask what is left."""
        self.wait_for(lambda: _PORT.search(self.log), "the leak probe")
        match = _PORT.search(self.log)
        assert match
        with socket.create_connection(("127.0.0.1", int(match[1])), 15) as probe:
            data = b""
            while piece := probe.recv(65536):
                data += piece
        return Alive(**orjson.loads(data))

    def wait_until(self, condition: Callable[[Alive], object], what: str, timeout: float = PATIENCE_S) -> Alive:
        """Ask again and again until a condition on what is alive holds."""
        end = time.monotonic() + timeout
        while not condition(alive := self.alive()):
            if time.monotonic() > end:
                raise AssertionError(f"waited in vain until {what}: {alive}")
            # Not a wait for luck: the condition decides, this only keeps the probe from being the load.
            time.sleep(0.05)
        return alive

    def wait_until_clean(self) -> Alive:
        """Wait until nothing of any exchange or connection is left."""
        return self.wait_until(
            lambda alive: not (alive.running or alive.clients or alive.objects or alive.timers or _busy(alive)),
            "nothing of any exchange is left",
        )


def _busy(alive: Alive) -> bool:
    """Whether a task of a connection or a hook is running."""
    return any(name in alive.tasks for name in _TASKS)
