"""How much a head may be: its first line, its bytes, how many headers it has, how long it takes."""

import re
from collections.abc import Iterable
from typing import NamedTuple

from mitmproxy.proxy import commands, events
from mitmproxy.proxy.layer import CommandGenerator

from antigravity_healing.policy.settings.schema import Limits
from antigravity_healing.proxy.connections.bounds import Bounds
from antigravity_healing.wire.http.fields import FIELD_OVERHEAD_BYTES

_END = re.compile(rb"\n\r?\n")


class HeadRefusal(NamedTuple):
    """Why a head is not taken. status: the HTTP status that says so."""

    status: int
    message: str


class HeadMeter:
    """Measures a request's head as it comes over HTTP/1, looking at each byte once.

    begun: whether anything of it has come. complete: whether all of it has.
    """

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._seen = 0
        self._line_ends = 0
        self._first_line = 0
        self.complete = False

    @property
    def begun(self) -> bool:
        """Whether anything of it has come."""
        return self._seen > 0

    def look(self, buffer: bytes | bytearray) -> HeadRefusal | None:
        """Look at what has come, from the head's first byte on. Gives why it is too much, None while it is not."""
        found = _END.search(buffer, max(0, self._seen - 2))
        end = found.end() if found else len(buffer)
        self.complete = found is not None
        if not self._line_ends:
            line_end = buffer.find(b"\n", self._seen, end)
            self._first_line = line_end if line_end >= 0 else end
        self._line_ends += buffer.count(b"\n", self._seen, end)
        self._seen = end
        if self._first_line > self._limits.line_bytes:
            return line_refusal(self._limits)
        # One line end is the first line's, and at the end one is the blank line's.
        return _refusal(_over(end, self._line_ends - (2 if self.complete else 1), self._limits))


def line_refusal(limits: Limits) -> HeadRefusal:
    """414, for a first line that is too long."""
    return HeadRefusal(414, f"The request line is longer than {limits.line_bytes:,} bytes.")


def head_refusal(fields: Iterable[tuple[bytes, bytes]], limits: Limits) -> HeadRefusal | None:
    """Why these headers, HTTP/2's own included, are too much; None where they are not."""
    return _refusal(_too_much(fields, limits))


def answer_head_flaw(fields: Iterable[tuple[bytes, bytes]], limits: Limits) -> str:
    """Why the headers of upstream's answer are too much, "" where they are not."""
    too_much = _too_much(fields, limits)
    return f"the answer has {too_much}" if too_much else ""


def in_header_list(limits: Limits) -> int:
    """The same as SETTINGS_MAX_HEADER_LIST_SIZE, which counts each header's frame too."""
    return limits.head_bytes + limits.headers * FIELD_OVERHEAD_BYTES


def _refusal(too_much: str) -> HeadRefusal | None:
    return HeadRefusal(431, f"The request has {too_much}.") if too_much else None


def _too_much(fields: Iterable[tuple[bytes, bytes]], limits: Limits) -> str:
    sizes = [len(name) + len(value) for name, value in fields]
    return _over(sum(sizes), len(sizes), limits)


def _over(size: int, count: int, limits: Limits) -> str:
    """What there is too much of, "" for nothing."""
    if size > limits.head_bytes:
        return f"more than {limits.head_bytes:,} bytes of headers"
    return f"more than {limits.headers} headers" if count > limits.headers else ""


class HeadClock:
    """How long a head may take. Nothing runs while none is under way."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._since: float | None = None
        self._timer: commands.RequestWakeup | None = None

    @property
    def seconds(self) -> float:
        """How long that is."""
        return self._bounds.config.limits.head_seconds

    def start(self) -> CommandGenerator[None]:
        """A head has begun, now or before."""
        if self._since is None:
            self._since = self._bounds.clock.now()
            yield from self._arm()

    def stop(self) -> None:
        """It is complete."""
        self._since = None

    def has_run_out(self, event: events.Wakeup) -> CommandGenerator[bool]:
        """A generator that says whether this is the end of a head's time."""
        if event.command is not self._timer:
            return False
        self._timer = None
        if self._since is None:
            return False
        if self._bounds.clock.now() >= self._since + self.seconds:
            return True
        # Started for a head before this one.
        yield from self._arm()
        return False

    def _arm(self) -> CommandGenerator[None]:
        if self._timer is None and self._since is not None:
            self._timer = commands.RequestWakeup(max(0.0, self._since + self.seconds - self._bounds.clock.now()))
            yield self._timer
