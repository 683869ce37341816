"""Capturing: an exchange that ended `failed` is kept in a file, to be looked at and replayed."""

import asyncio
import logging
from collections import OrderedDict
from concurrent.futures import Future, ThreadPoolExecutor
from datetime import date
from pathlib import Path
from threading import Lock
from time import monotonic

from mitmproxy import ctx, http
from mitmproxy.flow import Error

from antigravity_healing import data_folder
from antigravity_healing.monitor.captures.causes import WITHIN_S, Causes, cause_of
from antigravity_healing.monitor.captures.files import CapturedFiles
from antigravity_healing.policy.settings import schema
from antigravity_healing.policy.trouble import Trouble
from antigravity_healing.proxy.addon import Antigravity
from antigravity_healing.proxy.streams.flow_story import role_of, story_of

logger = logging.getLogger(__name__)

FOLDER = "captured"
DELAY_S = 0.05
MOST_WAITING = 50
_MOST_RUNNING = 10_000


class Capture:
    """Keeps the attempts of each exchange until it is over, and writes down those that failed.

    Of what fails again for the same cause one is kept, with a count; nothing of what the proxy refused by itself.
    What failed because the client left, or because a person killed it, is no failure to look into; what fails while it
    is replayed is in a file already.
    """

    def __init__(self, antigravity: Antigravity) -> None:
        self._antigravity = antigravity
        self._attempts: OrderedDict[str, list[http.HTTPFlow]] = OrderedDict()
        self._failed: list[list[http.HTTPFlow]] = []
        self._captures: CapturedFiles | None = None
        # Of one thread: writing takes time, and the files bear one writer only.
        self._writer = ThreadPoolExecutor(1, "antigravity capture")
        self._waiting = Waiting()
        self._causes = Causes()
        self._counting: asyncio.TimerHandle | None = None
        self._ended = False
        self.written = 0
        """How many exchanges have been written down."""
        self._trouble = Trouble(logger, "failed exchanges are not captured: %s", "failed exchanges are captured again")

    def settings(self) -> schema.CaptureSettings:
        """The settings of now."""
        governor = self._antigravity.governor
        return governor.config.capture if governor else schema.CaptureSettings(enabled=False)

    def captures(self) -> CapturedFiles:
        """The files, with all in them that has been captured so far."""
        captures, written = self._all_written()
        written.result()
        return captures

    async def settled(self) -> CapturedFiles:
        """The same; nobody waits but who asks."""
        captures, written = self._all_written()
        await asyncio.wrap_future(written)
        return captures

    def _all_written(self) -> tuple[CapturedFiles, Future[None]]:
        assert self._captures is not None
        self._flush()
        self._count()
        return self._captures, self._writer.submit(lambda: None)

    def configure(self, updated: set[str]) -> None:
        """Find the folder."""
        if "antigravity_home" in updated or self._captures is None:
            self._captures = CapturedFiles(data_folder(ctx.options.antigravity_home) / FOLDER)
            self._captures.tighten()

    def running(self) -> None:
        """Delete what is too old, also where nothing fails any more."""
        if self.settings().enabled and self._captures is not None:
            self._writer.submit(self._prune, self._captures, self.settings())

    def done(self) -> None:
        """Write what is left."""
        self._flush()
        self._count()
        self._ended = True
        self._writer.shutdown()

    def requestheaders(self, flow: http.HTTPFlow) -> None:
        """An attempt begins. One that is loaded from a file is not live."""
        if flow.live and role_of(flow) == "attempt" and self.settings().enabled:
            exchange = str(story_of(flow).get("exchange"))
            self._attempts.setdefault(exchange, []).append(flow)
            if len(self._attempts) > _MOST_RUNNING:
                self._attempts.popitem(last=False)

    def response(self, flow: http.HTTPFlow) -> None:
        """A flow is over; what is kept of a failed exchange is written a moment later, when its answer is out."""
        if role_of(flow) != "exchange":
            return
        story = story_of(flow)
        exchange = str(story.get("exchange"))
        attempts = self._attempts.pop(exchange, [])
        if story.get("outcome") != "failed" or flow.is_replay or not flow.live:
            return
        if self._ended or not self.settings().enabled:
            return
        self._failed.append([flow, *attempts])
        if len(self._failed) == 1:
            asyncio.get_running_loop().call_later(DELAY_S, self._flush)

    def error(self, flow: http.HTTPFlow) -> None:
        """A flow is over, without an answer or with one that broke."""
        self.response(flow)

    def _flush(self) -> None:
        failed, self._failed = self._failed, []
        for flows in failed:
            if any(flow.error is not None and flow.error.msg == Error.KILLED_MESSAGE for flow in flows):
                continue
            cause, now = cause_of(story_of(flows[0])), monotonic()
            if cause is None:
                continue
            if self._causes.again(cause, now):
                self._count_soon()
                continue
            settings, size = self.settings(), sum(map(_size, flows))
            if not self._waiting.reserve(size, settings.max_bytes):
                self._trouble.met("failures come faster than they can be written")
                continue
            # Snapshots: people may go on to change these flows, or replay them.
            snapshots = [_snapshot(flow) for flow in flows]
            assert self._captures is not None
            self._count()
            self._causes.first(cause, str(story_of(flows[0]).get("exchange")), now)
            self._writer.submit(self._write, self._captures, snapshots, settings, size)

    def _count_soon(self) -> None:
        if self._counting is None and not self._ended:
            self._counting = asyncio.get_running_loop().call_later(WITHIN_S, self._count)

    def _count(self) -> None:
        """Have written down how often has failed again what is captured."""
        if self._counting is not None:
            self._counting.cancel()
            self._counting = None
        for met in self._causes.counted():
            if self._captures is not None:
                self._writer.submit(self._recount, self._captures, met.exchange, met.times)

    def _recount(self, captures: CapturedFiles, exchange: str, times: int) -> None:
        """In the thread: write a count."""
        try:
            captures.recount(exchange, times)
        except OSError as error:
            self._trouble.met(f"{captures.folder} can't be written: {error.strerror}")
        except Exception:
            logger.exception("a failure could not be counted; this is a bug")

    def _write(
        self, captures: CapturedFiles, flows: list[http.HTTPFlow], settings: schema.CaptureSettings, size: int
    ) -> None:
        """In the thread: add an exchange to the files."""
        try:
            path = captures.add(flows, settings, date.today())
        except OSError as error:
            self._causes.forget(str(story_of(flows[0]).get("exchange")))
            self._trouble.met(f"{captures.folder} can't be written: {error.strerror}")
        except Exception:
            logger.exception("an exchange could not be captured; this is a bug")
        else:
            self._trouble.over()
            self.written += 1
            _tell(flows[0], path)
        finally:
            self._waiting.give_back(size)

    def _prune(self, captures: CapturedFiles, settings: schema.CaptureSettings) -> None:
        """In the thread: delete what is too old."""
        try:
            captures.prune(settings, date.today())
        except OSError as error:
            self._trouble.met(f"{captures.folder} can't be read: {error.strerror}")


class Waiting:
    """Counts what waits to be written, which is all in memory."""

    def __init__(self) -> None:
        self._lock = Lock()
        self._count = 0
        self._bytes = 0

    def reserve(self, size: int, most_bytes: int) -> bool:
        """Whether there is room for one more exchange of so many bytes; one alone may be of any size."""
        with self._lock:
            if self._count >= MOST_WAITING or (self._count and self._bytes + size > most_bytes):
                return False
            self._count += 1
            self._bytes += size
            return True

    def give_back(self, size: int) -> None:
        """It is written."""
        with self._lock:
            self._count -= 1
            self._bytes -= size


def _size(flow: http.HTTPFlow) -> int:
    """How many bytes its bodies have."""
    messages = (flow.request, flow.response)
    return sum(len(message.raw_content or b"") for message in messages if message is not None)


def _snapshot(flow: http.HTTPFlow) -> http.HTTPFlow:
    copy = http.HTTPFlow.from_state(flow.get_state())
    assert isinstance(copy, http.HTTPFlow)
    copy.metadata.pop("proxyauth", None)  # a password
    return copy


def _tell(exchange: http.HTTPFlow, path: Path) -> None:
    logger.info("[%s] captured in %s", story_of(exchange).get("exchange"), path)
