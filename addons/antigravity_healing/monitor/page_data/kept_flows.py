"""The flows of exchanges that can still be looked at: those in mitmproxy's list, and those that were captured."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from io import BytesIO
from typing import Any

from mitmproxy import http
from mitmproxy.io import FlowWriter

from antigravity_healing.monitor.captures.capture import Capture
from antigravity_healing.monitor.captures.files import CapturedFiles
from antigravity_healing.monitor.hand.differences import exchange_with, flows_at_hand
from antigravity_healing.proxy.internals.flow_backup import before_replay
from antigravity_healing.proxy.streams.flow_story import outcome_of, role_of, story_of

_LONGEST = 300


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of an exchange. own: its own flow, its attempts' beside it. file: the captured file, "" for
    mitmproxy's list of flows.
    """

    own: http.HTTPFlow
    attempts: tuple[http.HTTPFlow, ...]
    file: str = ""

    def story(self, exchange: str) -> Mapping[str, Any]:
        """What its own flow tells of an exchange, also where it has been replayed since and is another one now."""
        story = story_of(self.own)
        if story.get("exchange") != exchange and (recorded := before_replay(self.own)) is not None:
            story = story_of(recorded)
        return story

    def written(self) -> bytes:
        """All of them in mitmproxy's format."""
        data = BytesIO()
        writer = FlowWriter(data)
        for one in (self.own, *self.attempts):
            copy = one.copy()
            copy.metadata.pop("proxyauth", None)  # a password
            writer.add(copy)
        return data.getvalue()


class KeptFlows:
    """Finds them. Files are read in a thread, and again only when they have changed."""

    def __init__(self, capture: Capture) -> None:
        self._capture = capture
        self._listed: dict[str, tuple[tuple[int, int], list[dict[str, Any]]]] = {}

    async def find(self, exchange: str) -> Kept | None:
        """What is kept of the exchange with this id; None for nothing. Raises OSError for a file that can't be read."""
        at_hand = list(flows_at_hand(()))
        if (own := exchange_with(exchange, at_hand)) is not None:
            return Kept(own, _attempts_of(exchange, at_hand))
        captures = await self._capture.settled()
        return await asyncio.to_thread(self._find_captured, captures, exchange)

    async def captured(self) -> list[dict[str, Any]]:
        """What is captured, the newest first, as JSON has it. Raises OSError for a file that can't be read."""
        captures = await self._capture.settled()
        return await asyncio.to_thread(
            lambda: [each for name in reversed(captures.names()) for each in reversed(self._list(captures, name))]
        )

    def _find_captured(self, captures: CapturedFiles, exchange: str) -> Kept | None:
        for name in reversed(captures.names()):
            if any(each["exchange"] == exchange for each in self._list(captures, name)):
                flows = captures.read(name)
                if (own := exchange_with(exchange, flows)) is not None:
                    return Kept(own, _attempts_of(exchange, flows), name)
        return None

    def _list(self, captures: CapturedFiles, name: str) -> list[dict[str, Any]]:
        try:
            stat = (captures.folder / name).stat()
        except FileNotFoundError:
            return []  # deleted meanwhile
        stamp = stat.st_mtime_ns, stat.st_size
        if (known := self._listed.get(name)) is None or known[0] != stamp:
            flows = captures.read(name)
            exchanges = [one for one in flows if role_of(one) != "attempt"]
            known = self._listed[name] = stamp, [_told(one, name) for one in exchanges]
            for gone in self._listed.keys() - set(captures.names()):
                del self._listed[gone]
        return known[1]


def _attempts_of(exchange: str, flows: Sequence[http.HTTPFlow]) -> tuple[http.HTTPFlow, ...]:
    found = (one for one in flows if role_of(one) == "attempt" and story_of(one).get("exchange") == exchange)
    return tuple(sorted(found, key=lambda one: one.request.timestamp_start))


def _told(one: http.HTTPFlow, file: str) -> dict[str, Any]:
    story = story_of(one)
    finding = story.get("finding")
    return {
        "exchange": _text(story.get("exchange")),
        "file": file,
        "at": one.request.timestamp_start,
        "dialect": _text(story.get("dialect")),
        "model": _text(story.get("model")) or f"{one.request.method} {one.request.path.partition('?')[0]}"[:_LONGEST],
        "came": outcome_of(story, one.response),
        "finding": {name: _text(finding.get(name)) for name in ("what", "done", "do")}
        if isinstance(finding, dict)
        else None,
        "attempts": len(story.get("attempts") or []),
        "times": times if isinstance(times := story.get("times", 1), int) else 1,
    }


def _text(value: object) -> str:
    return value[:_LONGEST] if isinstance(value, str) else ""
