"""Starting mitmproxy's tools by forking a process that has imported them and the addon: a tenth of the work.

What runs is the tool itself, in a process, folder and environment of its own. Only where Python or the loader would do
something else with that environment, or the system is not Linux, the tool has to be started afresh.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import re
import select
import selectors
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import IO, Any

from mitmproxy.options import CONF_BASENAME

from tests.support.authority import made
from tests.support.places import ADDON, ROOT

_ENDED = 255
_MESSAGE_BYTES = 128 * 1024


class Forked:
    """A process that is no child of this one, with what of `subprocess.Popen` its users need. pid: its id."""

    def __init__(self, pid: int, stdout: IO[bytes], ended: int) -> None:
        self.pid = pid
        self.stdout = stdout
        self._ended = ended
        self._status: int | None = None

    def poll(self) -> int | None:
        """Its exit status, negative for a signal; None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(0)
        return self._status

    def wait(self, timeout: float) -> int:
        """Wait for its exit status. Raises TimeoutExpired after so many seconds."""
        if self._status is None:
            if not select.select([self._ended], [], [], timeout)[0]:
                raise subprocess.TimeoutExpired(str(self.pid), timeout)
            # Nothing was written where the process that it was forked from has been ended.
            self._status = int(os.read(self._ended, 16) or _ENDED)
            os.close(self._ended)
        return self._status

    def send_signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        if self.poll() is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def kill(self) -> None:
        """End it at once."""
        self.send_signal(signal.SIGKILL)


def can_fork(command: Sequence[str], env: Mapping[str, str]) -> bool:
    """Whether a tool that is started with this environment finds what a forked one has."""
    shaping = {name: value for name, value in env.items() if name.startswith(("PYTHON", "LD_", "LANG", "LC_"))}
    here = {name: os.environ.get(name) for name in shaping}
    return sys.platform == "linux" and Path(command[0]).name in _TOOLS and shaping == here


def start(command: Sequence[str], folder: Path, env: Mapping[str, str]) -> Forked:
    """Start a tool of this Python's `bin`, with one pipe for all that it prints and nothing to read."""
    reading, writing = os.pipe()
    ended, telling = os.pipe()
    mask = os.umask(0)
    os.umask(mask)
    request = {"command": list(command), "folder": str(folder), "env": dict(env), "umask": mask}
    channel = _preloaded()
    try:
        socket.send_fds(channel, [json.dumps(request).encode()], [writing, telling])
        pid = int(channel.recv(16))
    finally:
        os.close(writing)
        os.close(telling)
    return Forked(pid, open(reading, "rb"), ended)


@cache
def _preloaded() -> socket.socket:
    """The way to this process's own preloaded one, which ends with it."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.e2e.preloaded", str(theirs.fileno()), str(made() / f"{CONF_BASENAME}-ca.pem")],
        cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=[theirs.fileno()],
    )  # fmt: skip
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait(30)

    atexit.register(end)
    return ours


def _preload(authority: Path) -> None:
    sys.path[0] = str(ADDON.parent)
    for name in re.findall(r"^from (\S+) import", ADDON.read_text(), re.MULTILINE):
        importlib.import_module(name)
    importlib.import_module("mitmproxy.tools.dump")
    main = importlib.import_module("mitmproxy.tools.main")
    # To check the numbers of a private key takes longer than all else that a start does.
    certs: Any = importlib.import_module("mitmproxy.certs")
    certs.load_pem_private_key = cache(certs.load_pem_private_key)
    certs.load_pem_private_key(authority.read_bytes(), None)
    _TOOLS.update(mitmdump=main.mitmdump, mitmweb=main.mitmweb)
    # As in a tool that was started by its own name.
    sys.path[0] = str(Path(sys.executable).parent)
    # What is the same in all of them is looked at by no collection, and stays shared.
    gc.collect()
    gc.freeze()


_TOOLS: dict[str, Callable[[], int | None]] = dict.fromkeys(("mitmdump", "mitmweb"), lambda: None)


def _serve(channel: socket.socket) -> int | None:
    """Fork what is asked for and tell how it ended, until nobody can ask. In what was forked: run it."""
    watched = selectors.DefaultSelector()
    watched.register(channel, selectors.EVENT_READ)
    while True:
        for key, _ in watched.select():
            if key.fileobj is not channel:
                pid, telling = key.data
                watched.unregister(key.fileobj)
                os.close(key.fd)
                status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
                with contextlib.suppress(BrokenPipeError):
                    os.write(telling, str(status).encode())
                os.close(telling)
                continue
            message, fds, *_ = socket.recv_fds(channel, _MESSAGE_BYTES, 2)
            if not message:
                # Nobody is left who could end what still runs, or read what it says.
                for left in [other.data[0] for other in watched.get_map().values() if other.data]:
                    os.kill(left, signal.SIGKILL)
                    os.waitpid(left, 0)
                return None
            request = json.loads(message)
            if "mitmweb" in request["command"][0]:
                importlib.import_module("mitmproxy.tools.web.master")
            if pid := os.fork():
                os.close(fds[0])
                watched.register(os.pidfd_open(pid), selectors.EVENT_READ, (pid, fds[1]))
                channel.send(str(pid).encode())
                continue
            for other in list(watched.get_map().values()):
                if other.fileobj is not channel:
                    os.close(other.fd)
                    os.close(other.data[1])
            watched.close()
            channel.close()
            os.close(fds[1])
            return _run(request["command"], request["folder"], request["env"], request["umask"], fds[0])


def _run(command: list[str], folder: str, env: dict[str, str], mask: int, out: int) -> int | None:
    os.dup2(out, 1)
    os.dup2(out, 2)
    os.close(out)
    os.umask(mask)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(env)
    time.tzset()
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.argv[:] = command
    return _TOOLS[Path(command[0]).name]()


if __name__ == "__main__":
    # Ctrl-C reaches all processes of a terminal; this one ends with the one that asks.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _preload(Path(sys.argv[2]))
    sys.exit(_serve(socket.socket(fileno=int(sys.argv[1]))))
