"""What the page shows of the request log: pages of exchanges, and the last hour."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from typing import Any

from antigravity_healing.monitor.request_log.filters import NAMES, Filter, FilterError, filter_from
from antigravity_healing.monitor.request_log.listener import RequestLog
from antigravity_healing.monitor.request_log.printing import plain
from antigravity_healing.monitor.request_log.reader import Bucket, Reader, Summary, UnreadableError
from antigravity_healing.monitor.request_log.rows import LoggedExchange
from antigravity_healing.proxy.own_pages.pages import PageAnswer, PageRequest
from antigravity_healing.wire.usage import Usage

HOUR_S = 3600.0
PAGE_ROWS = 50
MOST_ROWS = 200
KEPT_S = 2.0
"""For so long the last hour is not counted again: ten pages cost what one does."""
OFF = "the request log is off: set enabled = true in [request_log] of the configuration"


class Logged:
    """Answers from the log. What is read is read in a thread."""

    def __init__(self, log: RequestLog, wall: Callable[[], float] = time.time) -> None:
        """wall: seconds since 1970."""
        self._log = log
        self._wall = wall
        self._hour: tuple[float, PageAnswer] | None = None
        self._counting = asyncio.Lock()

    @property
    def off(self) -> str:
        """Why nothing is written down, "" where it is."""
        return "" if self._log.settings().enabled else OFF

    async def exchanges(self, request: PageRequest) -> PageAnswer:
        """A page of them, by the filter that the query is; the next one begins at its `after`."""
        words = {name: value for name, value in request.query.items() if name in NAMES or value}
        try:
            wanted = filter_from({"limit": str(PAGE_ROWS), **words}, self._wall())
        except FilterError as error:
            return PageAnswer.json({"error": str(error)}, 400)
        if wanted.limit > MOST_ROWS:
            return PageAnswer.json({"error": f"limit has to be at most {MOST_ROWS} here"}, 400)

        def read(reader: Reader) -> dict[str, Any]:
            page = reader.page(wanted)
            return {
                "exchanges": [plain(one) for one in page.exchanges],
                "after": str(page.after) if page.after else None,
                "searched_to": page.searched_to,
                "off": self.off or None,
            }

        return await self._read(read)

    async def hour(self, _: PageRequest) -> PageAnswer:
        """What happened in the last hour, by minutes."""
        async with self._counting:
            now = self._wall()
            if self._hour is None or not 0 <= now - self._hour[0] < KEPT_S:
                answer = await self._read(lambda reader: hour_told(reader.summary(now - HOUR_S, now), self.off))
                self._hour = now, answer
            return self._hour[1]

    async def find(self, exchange: str) -> LoggedExchange | None:
        """The exchange with this id; None where the log has none, or can't be read."""
        reader = self._log.reader()
        try:
            page = await asyncio.to_thread(reader.page, Filter(exchange=exchange, limit=1))
        except UnreadableError:
            return None
        return page.exchanges[0] if page.exchanges else None

    async def _read(self, read: Callable[[Reader], dict[str, Any]]) -> PageAnswer:
        reader = self._log.reader()
        told: Awaitable[dict[str, Any]] = asyncio.to_thread(read, reader)
        try:
            return PageAnswer.json(await told)
        except UnreadableError as error:
            return PageAnswer.json({"error": self.off or str(error)}, 503)


def hour_told(summary: Summary, off: str) -> dict[str, Any]:
    """A summary as JSON has it. Times are seconds since 1970. off: why nothing is written down, if it is not."""
    return {
        "off": off or None,
        "buckets": [_bucket(each) for each in summary.buckets],
        "total": _bucket(summary.total),
        "accounts": {
            name: {"attempts": use.attempts, "failed": use.failed, "usage": _usage(use.usage)}
            for name, use in summary.accounts.items()
        },
        "failures": dict(sorted(summary.failures.items(), key=lambda pair: -pair[1])),
        "usage": _usage(summary.usage),
    }


def _usage(usage: Usage) -> dict[str, int]:
    return {**asdict(usage), "input": usage.input}


def _bucket(bucket: Bucket) -> dict[str, Any]:
    times = bucket.first_content_s
    return {
        "at": round(bucket.at, 1),
        "outcomes": {name or "running": number for name, number in bucket.outcomes.items()},
        "first_content_s": [round(each, 4) for each in times] if times else None,
    }
