"""Reading files, running commands and asking for tokens, each in a thread of its own.

What hangs holds up only who waits for it.
"""

import contextlib
import logging
import os
import selectors
import signal
import subprocess
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from threading import Thread
from time import monotonic

from antigravity_healing.policy.settings.schema import Limits
from antigravity_healing.policy.settings.source_notation import Source
from antigravity_healing.proxy.secrets.files import read_file
from antigravity_healing.proxy.secrets.given import Given, SlowSourceError, SourceError
from antigravity_healing.proxy.secrets.google_default import fetch_token
from antigravity_healing.proxy.secrets.said import last_line

logger = logging.getLogger(__name__)

_POLL_S = 0.05
_KEPT_ERRORS = 8 * 1024


@dataclass(slots=True, eq=False)
class SourceReading:
    """One reading of a source, under way or done. began: monotonic seconds."""

    began: float = field(default_factory=monotonic)
    future: Future[Given] = field(default_factory=Future)
    command: subprocess.Popen[bytes] | None = None


class Readings:
    """At most one reading of each source at a time."""

    def __init__(self) -> None:
        self._running: dict[Source, SourceReading] = {}

    def begin(self, source: Source, limits: Limits) -> SourceReading:
        """The reading of a source that is under way, or a new one; its future may raise SourceError."""
        reading = self._running.get(source)
        if reading is not None and not reading.future.done():
            return reading
        reading = self._running[source] = SourceReading()
        # Whoever stops waiting for it does not stop it for the others.
        reading.future.set_running_or_notify_cancel()
        try:
            # A daemon: what hangs must not keep the process from ending either.
            Thread(target=_read, args=(source, reading, limits), name="antigravity source", daemon=True).start()
        except RuntimeError:
            reading.future.set_exception(SourceError("this machine can't start another thread now"))
        return reading

    def close(self) -> None:
        """End the commands that still run."""
        for reading in self._running.values():
            if reading.command is not None and not reading.future.done():
                _kill(reading.command)


def run_command(command: Sequence[str], seconds: float, most: int, reading: SourceReading | None = None) -> bytes:
    """What a command prints, at most so many bytes. Neither it nor what it starts has more time. Raises SourceError.

    command: the program and its arguments. Where it fails, the error has the last line of its error output.
    """
    deadline = monotonic() + seconds
    try:
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
    except OSError as error:
        how = "it goes through no shell unless it is written cmd:sh -c '…'"
        raise SourceError(f"its command could not be started: {error.strerror}; {how}") from None
    if reading is not None:
        reading.command = process
    heard = _Heard()
    slow = f"its command took more than {seconds:g} s"
    try:
        if not _hear(process, deadline, most, heard):
            raise SlowSourceError(slow + heard.said(command))
        status = process.wait(max(0.0, deadline - monotonic()))
    except (SourceError, subprocess.TimeoutExpired) as error:
        _kill(process)
        process.wait()
        raise (error if isinstance(error, SourceError) else SlowSourceError(slow + heard.said(command))) from None
    finally:
        for pipe in (process.stdout, process.stderr):
            assert pipe is not None
            pipe.close()
    if status:
        raise SourceError(f"its command ended with status {status}{heard.said(command)}")
    if not heard.printed.strip():
        raise SourceError(f"its command printed nothing{heard.said(command)}")
    return heard.printed


@dataclass(slots=True)
class _Heard:
    """What a command has printed so far, and the end of its error output."""

    printed: bytes = b""
    errors: bytes = b""

    def said(self, command: Sequence[str]) -> str:
        """Why it failed in its own words, to follow others; "" where it said nothing."""
        # What it prints may be secret in part, and some programs repeat it.
        line = last_line(self.errors, self.printed.decode("utf-8", "replace"), command[1:])
        return f": {line}" if line else ""


def _hear(process: subprocess.Popen[bytes], deadline: float, most: int, heard: _Heard) -> bool:
    """Hear all that a command says. Whether that is complete in time. Raises SourceError."""
    assert process.stdout is not None
    assert process.stderr is not None
    printing, failing = process.stdout.fileno(), process.stderr.fileno()
    with selectors.DefaultSelector() as selector:
        for descriptor in (printing, failing):
            os.set_blocking(descriptor, False)
            selector.register(descriptor, selectors.EVENT_READ)
        while (left := deadline - monotonic()) > 0:
            if not (open_still := selector.get_map()):
                return True
            # What it has left running may keep the pipes open for ever, and is not waited for.
            enough = _has_ended(process) and bool(heard.printed or printing not in open_still)
            ready = selector.select(0 if enough else min(left, _POLL_S))
            if not ready and enough:
                return True
            for key, _ in ready:
                piece = os.read(key.fd, most + 1)
                if not piece:
                    selector.unregister(key.fd)
                elif key.fd == failing:
                    heard.errors = (heard.errors + piece)[-_KEPT_ERRORS:]
                else:
                    heard.printed += piece
            if len(heard.printed) > most:
                raise SourceError(f"its command printed more than {most} bytes")
    return False


def _has_ended(process: subprocess.Popen[bytes]) -> bool:
    if hasattr(os, "waitid"):
        # It stays a zombie, so that its number means nobody else while its group may have to be killed.
        return os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None
    return process.poll() is not None


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)


def _read(source: Source, reading: SourceReading, limits: Limits) -> None:
    """In the thread: read a source once."""
    try:
        if source.kind == "adc":
            reading.future.set_result(fetch_token(source.value, limits.source_seconds, limits.source_bytes))
            return
        if source.kind == "cmd":
            what = "its command printed"
            data = run_command(source.words, limits.source_seconds, limits.source_bytes, reading)
        else:
            what = f"the file {source.value} is"
            data = read_file(source.value, limits.source_bytes)
        reading.future.set_result(Given(_text(data, source, what)))
    except SourceError as error:
        reading.future.set_exception(error)
    except Exception:
        logger.exception("a source could not be read; this is a bug")
        reading.future.set_exception(SourceError("it could not be read"))


def _text(data: bytes, source: Source, what: str) -> str:
    try:
        text = data.decode("utf-8").strip()
    except UnicodeDecodeError:
        raise SourceError(f"{what} not text in UTF-8") from None
    if not text:
        raise SourceError(f"{what} {'nothing' if source.kind == 'cmd' else 'empty'}")
    if not text.isprintable():
        raise SourceError(f"what {source.kind}: gives is not one line of printable characters")
    return text
