"""Starting mitmproxy's tools with the addon, and watching what they say."""

import array
import contextlib
import fcntl
import os
import re
import select
import signal
import subprocess
import sys
import termios
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import orjson

from tests.e2e import preloaded
from tests.support import authority, raw
from tests.support.caching import keep_bytecode
from tests.support.patience import PATIENCE_S
from tests.support.places import ADDON

_BROKEN = ("Traceback (most recent call last)", "has crashed", "Unhandled error", "this is a bug", "Addon error")
_LISTENING = re.compile(r"(?<!Web server )listening at \S*?:(\d+)")


class Proxy:
    """A real `mitmdump` (or another of mitmproxy's tools) with the addon, as a context manager.

    config: the text of antigravity.toml; None starts without a file.
    options: values for `--set`. args: more arguments. addon: False leaves the addon out.
    folder: where it runs and where its data goes; each proxy needs one of its own.
    fresh: whether it has to be a Python process of its own from the beginning, not one that had imported all before.
    """

    def __init__(
        self,
        folder: Path,
        config: str | None = "",
        *,
        options: Mapping[str, str] | None = None,
        args: Sequence[str] = (),
        tool: str = "mitmdump",
        addon: bool = True,
        env: Mapping[str, str] | None = None,
        fresh: bool = False,
    ) -> None:
        self.folder = folder
        self.fresh = fresh
        folder.mkdir(parents=True, exist_ok=True)
        self.config_file = folder / "antigravity.toml"
        if config is not None:
            self.config_file.write_text(config)
        self.confdir = folder / "mitmproxy"
        settings = {"confdir": str(self.confdir), **(options or {})}
        if addon:
            # The terminal has the steps, too.
            settings = {"antigravity_home": str(folder / "home"), "termlog_verbosity": "debug", **settings}
        self.command = [str(Path(sys.executable).parent / tool), *(["-s", str(ADDON)] if addon else []), "-p", "0"]
        for name, value in settings.items():
            self.command += ["--set", f"{name}={value}"]
        self.command += args
        # Nothing of the person's own set-up may reach the test, and the platform's folders lie in the test's.
        self.env = {**os.environ, "HOME": str(folder), "XDG_CONFIG_HOME": str(folder / "xdg"), **(env or {})}
        keep_bytecode(self.env)
        self.port = 0
        self.provoked = False
        """Whether its test breaks something in it on purpose: else no traceback may be in what it says."""
        self._lines: list[str] = []
        self._changed = threading.Condition()
        self._ended = False
        self._is_healing = addon
        self._process: subprocess.Popen[bytes] | preloaded.Forked | None = None
        self._reader: threading.Thread | None = None

    @property
    def url(self) -> str:
        """The proxy's own address, as a base URL for clients."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def lines(self) -> list[str]:
        """All that it has printed so far, by line. What is told of an exchange comes a moment later: wait for that."""
        with self._changed:
            self._changed.wait_for(lambda: self._ended or not self._unread(), PATIENCE_S)
            return list(self._lines)

    @property
    def log(self) -> str:
        """All that it has printed so far."""
        return "\n".join(self.lines)

    @property
    def log_file(self) -> Path:
        """The addon's own log file."""
        return self.folder / "home" / "logs" / "app.log"

    @property
    def ca_file(self) -> Path:
        """The certificate of the authority that its clients have to trust."""
        return self.confdir / "mitmproxy-ca-cert.pem"

    @property
    def pid(self) -> int:
        """The process's id."""
        assert self._process is not None
        return self._process.pid

    def start(self, *, wait: bool = True) -> Self:
        """Start the process; with `wait`, until it listens."""
        if not self.fresh and preloaded.can_fork(self.command, self.env):
            authority.give(self.confdir)
            self._process = preloaded.start(self.command, self.folder, self.env)
        else:
            self._process = subprocess.Popen(
                self.command,
                cwd=self.folder,
                env=self.env,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        if wait:
            self.wait_for(lambda: self.port, "that it listens", timeout=PATIENCE_S)
        return self

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal, unless it has ended."""
        assert self._process is not None
        if self._process.poll() is None:
            self._process.send_signal(number)

    def stop(self) -> int:
        """End it as Ctrl-C does, twice where answers are under way, and give its exit status.

        Raises AssertionError if anything in it has crashed.
        """
        assert self._process is not None
        self.signal(signal.SIGINT)
        with self._changed:
            self._changed.wait_for(lambda: self._ended or "Shutting down:" in self.log, PATIENCE_S)
        if not self._ended:
            self.signal(signal.SIGINT)
        try:
            status = self._process.wait(PATIENCE_S)
        except subprocess.TimeoutExpired:
            self._process.kill()
            raise AssertionError(f"it did not end:\n{self.log}") from None
        assert self._reader is not None
        self._reader.join(5)
        self._check()
        return status

    def wait_exit(self, timeout: float = PATIENCE_S) -> int:
        """Wait until it ends by itself, and give its exit status."""
        assert self._process is not None
        status = self._process.wait(timeout)
        assert self._reader is not None
        self._reader.join(5)
        self._check()
        return status

    def _check(self) -> None:
        # Plain mitmproxy prints a traceback for each client that is still connected when it ends.
        broken = self._is_healing and any(sign in self.log for sign in _BROKEN)
        assert self.provoked or not broken, self.log

    def wait_for(self, condition: Callable[[], Any], what: str, timeout: float = PATIENCE_S) -> None:
        """Wait until a condition on what it has printed holds. Raises AssertionError with the log."""
        with self._changed:
            if not self._changed.wait_for(lambda: condition() or self._ended, timeout) or not condition():
                raise AssertionError(f"waited in vain for {what}:\n{self.log}")

    def wait_for_log(self, text: str, count: int = 1, timeout: float = PATIENCE_S) -> None:
        """Wait until a text stands in at least `count` lines of the log."""
        self.wait_for(lambda: sum(text in line for line in self.lines) >= count, repr(text), timeout)

    def health(self) -> dict[str, Any]:
        """What /health says."""
        response = raw.request("GET", f"{self.url}/health")
        assert response.status == 200, response.body
        found: dict[str, Any] = orjson.loads(response.body)
        return found

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if error is None:
            assert self.stop() == 0, self.log
            return
        error.add_note(f"--- what the proxy said\n{self.log}")
        with contextlib.suppress(AssertionError):
            self.stop()

    def _unread(self) -> bool:
        """Whether something stands in its pipe."""
        if self._process is None:
            return False
        assert self._process.stdout is not None
        waiting = array.array("i", [0])
        fcntl.ioctl(self._process.stdout, termios.FIONREAD, waiting)
        return bool(waiting[0])

    def _read(self) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        pipe, begun = self._process.stdout, b""
        with pipe:
            while select.select([pipe], [], [])[0]:
                with self._changed:
                    # What is no longer in the pipe stands in the lines: nobody sees them between the two.
                    got = os.read(pipe.fileno(), 65536)
                    *lines, begun = (begun + got).split(b"\n")
                    if begun and not got:
                        lines.append(begun)
                    for line in lines:
                        # mitmproxy prints paths as they came, whatever bytes they have.
                        self._take(line.decode(errors="backslashreplace"))
                    self._ended = not got
                    self._changed.notify_all()
                if not got:
                    return

    def _take(self, line: str) -> None:
        self._lines.append(line)
        if not self.port and (match := _LISTENING.search(line)):
            self.port = int(match.group(1))


def account(name: str, upstream: str, **more: object) -> str:
    """One `[[accounts]]` table, with a key by which the upstream knows it: `key-of-NAME-…`."""
    fields = {"name": name, "email": f"{name}@accounts.example", "upstream": upstream, "api_key": key_of(name), **more}
    return "[[accounts]]\n" + "".join(f"{key} = {orjson.dumps(value).decode()}\n" for key, value in fields.items())


def key_of(name: str) -> str:
    """The key of an account made by `account`."""
    return f"key-of-{name}-0123456789"


def upstream(name: str, dialect: str, url: str) -> str:
    """One `[upstreams.NAME]` table."""
    return f'[upstreams.{name}]\ndialect = "{dialect}"\nurl = "{url}"\n'
