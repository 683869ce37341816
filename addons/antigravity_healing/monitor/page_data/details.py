"""All that can be told of one exchange."""

import asyncio
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from mitmproxy import ctx, http

from antigravity_healing.monitor.hand.differences import differences
from antigravity_healing.monitor.page_data.copies import as_curl
from antigravity_healing.monitor.page_data.kept_flows import Kept, KeptFlows
from antigravity_healing.monitor.page_data.logged import Logged
from antigravity_healing.monitor.page_data.reasons import why_no_body, why_no_retry, why_not_kept
from antigravity_healing.monitor.request_log.rows import LoggedExchange
from antigravity_healing.monitor.view.story import story_lines
from antigravity_healing.policy.journal.written import attempt_story, exchange_story
from antigravity_healing.policy.judging.failures import shortened
from antigravity_healing.policy.settings.schema import Config
from antigravity_healing.proxy.claiming.state import State
from antigravity_healing.proxy.own_pages.pages import MOST_BYTES, PageAnswer, PageRequest
from antigravity_healing.proxy.streams.flow_story import story_of

_MOST_DIFFERENCES = 400
_OF_THE_FACTS = ("method", "path", "client", "conversation", "streams")


@dataclass(frozen=True, slots=True)
class _Sources:
    """Where an exchange is told of. trouble: why what is kept could not be looked at."""

    row: LoggedExchange | None
    kept: Kept | None
    trouble: str = ""


class Details:
    """Tells it: from the log, from a flow that is kept, or from both."""

    def __init__(
        self, logged: Logged, kept: KeptFlows, state: Callable[[], State], wall: Callable[[], float] = time.time
    ) -> None:
        """state: gives the proxy's of now. wall: seconds since 1970."""
        self._logged = logged
        self._kept = kept
        self._state = state
        self._wall = wall

    async def exchange(self, request: PageRequest) -> PageAnswer:
        """The exchange whose `id` the query has."""
        exchange = request.query.get("id", "")
        sources = await self._sources(exchange)
        if sources.row is None and sources.kept is None and exchange not in self._running():
            why = self._logged.off or "it is not in the request log: it is too old, or never was"
            return PageAnswer.json({"error": f"nothing is known of {shortened(exchange) or 'no id'}: {why}"}, 404)
        return PageAnswer.json(await asyncio.to_thread(self._told, exchange, sources, self._state().config, _lists()))

    async def flow(self, request: PageRequest) -> PageAnswer:
        """The flows of the exchange whose `id` the query has, as a file for mitmproxy. Secrets are off them already."""
        exchange = request.query.get("id", "")
        kept = (await self._sources(exchange)).kept
        if kept is None:
            return PageAnswer.json({"error": f"no flow of {shortened(exchange) or 'no id'} is kept"}, 404)
        data = await asyncio.to_thread(kept.written)
        if len(data) > MOST_BYTES:
            place = f"captured/{kept.file} of the data folder" if kept.file else "mitmproxy: save the flow there"
            why = f"the flows have {len(data):,} bytes, more than is sent here; they are in {place}"
            return PageAnswer.json({"error": why}, 413)
        name = "".join(char for char in exchange if char.isascii() and char.isalnum()) or "exchange"
        headers = {"content-disposition": f'attachment; filename="{name}.flow"'}
        return PageAnswer(200, "application/octet-stream", data, headers)

    async def _sources(self, exchange: str) -> _Sources:
        row = await self._logged.find(exchange) if exchange else None
        try:
            return _Sources(row, await self._kept.find(exchange) if exchange else None)
        except OSError as error:
            return _Sources(row, None, f"the captured files can't be read: {error.strerror}")

    def _running(self) -> frozenset[str]:
        return frozenset(each.request.id for each in self._state().live.values())

    def _told(self, exchange: str, sources: _Sources, config: Config, listed: bool) -> dict[str, Any]:
        """In a thread: bodies may be long."""
        row, kept = sources.row, sources.kept
        recorded = kept.story(exchange) if kept is not None else {}
        story = story_told(row) if row is not None and row.end is not None else {"exchange": exchange, **recorded}
        if not story.get("attempts") and row is not None:
            story = {**story_told(row), **story}
        state = row.state if row is not None else str(recorded.get("outcome") or "running")
        at = float(story.get("at") or self._wall())
        missing = sources.trouble or why_not_kept(state, at, self._wall(), config.capture, listed=listed)
        return {
            "exchange": exchange,
            "state": state,
            "story": story,
            "facts": {name: getattr(row.facts, name) for name in _OF_THE_FACTS} if row is not None else None,
            "times": row.times if row is not None else recorded.get("times", 1),
            "last_at": row.last_at if row is not None else at,
            "off": self._logged.off or None,
            "why_no_retry": why_no_retry(story),
            "text": "\n".join(story_lines(story, kept.own.response if kept is not None else None)),
            **(_of_flows(exchange, kept, story, config) if kept is not None else {"missing": missing}),
        }


def story_told(row: LoggedExchange) -> dict[str, Any]:
    """What a flow's metadata would tell, made of the log."""
    attempts = [attempt_story(row.facts, each) for each in row.attempts]
    if row.end is not None:
        return {**exchange_story(row.facts, row.end), "attempts": attempts}
    facts = row.facts
    return {
        "role": "exchange",
        "exchange": facts.exchange,
        "dialect": facts.dialect,
        "at": round(facts.at, 3),
        "model": facts.model,
        "mapped_model": facts.mapped_model,
        "attempts": attempts,
    }


def _of_flows(exchange: str, kept: Kept, story: Mapping[str, Any], config: Config) -> dict[str, Any]:
    lines = list(differences(exchange, [kept.own, *kept.attempts]))
    if len(lines) > _MOST_DIFFERENCES:
        lines = [*lines[:_MOST_DIFFERENCES], f"… {len(lines) - _MOST_DIFFERENCES:,} more"]
    own = kept.own
    truncated = bool(story_of(own).get("body_truncated"))
    bodies = [
        why_no_body("request", _size(own.request), False, config.flows),
        why_no_body("answer", _size(own.response), truncated, config.flows) if own.response is not None else "",
    ]
    return {
        "missing": None,
        "kept_in": f"captured/{kept.file}" if kept.file else "mitmproxy's list of flows",
        "bodies": [each for each in bodies if each],
        "diff": lines,
        "curl": as_curl(own, str(story.get("dialect") or "")),
        "can_replay": not own.live and own.request.raw_content is not None,
    }


def _size(message: http.Message | None) -> int | None:
    return None if message is None or message.raw_content is None else len(message.raw_content)


def _lists() -> bool:
    """Whether mitmproxy keeps a list of flows."""
    return ctx.master.addons.get("view") is not None
