"""The terminal: one line an exchange, and for trouble what to do. Steps and connections are in the log file."""

import asyncio
import logging
from dataclasses import dataclass

from mitmproxy import ctx

from antigravity_healing.monitor.log.repeats import Repeats
from antigravity_healing.monitor.log.writer import CONNECTIONS, DELAY_S
from antigravity_healing.policy.journal.findings import span
from antigravity_healing.policy.journal.records import ExchangeFacts, Journal, Record
from antigravity_healing.policy.judging.failures import one_line, shortened
from antigravity_healing.proxy.internals.terminal_log import filter_terminal, is_set

logger = logging.getLogger("antigravity_healing.exchanges")

HELD_S = 5.0
"""After so long without an answer it is said what an exchange waits for."""
_LONGEST_FINDING = 400
_STEPS = ("antigravity_healing.exchange", "antigravity_healing.proxy.guarding.refusals")
_DETAILS = (CONNECTIONS, "antigravity_healing.monitor.captures.capture")
_WORDS = {"clean": "ok    ", "healed": "HEALED", "failed": "FAILED", "client_left": "left  ", "refused": "REFUSED"}


def line_of(record: Record) -> str:
    """The line about an exchange that is over, or was refused."""
    facts, end = record.exchange, record.end
    assert end is not None
    if end.outcome == "refused":
        return one_line(f"{_WORDS['refused']} {facts.exchange} {end.status}: {record.text}")
    mapped = f" → {shortened(facts.mapped_model, 80)}" if facts.mapped_model != facts.model else ""
    told = [f"{_WORDS[end.outcome]} {facts.exchange} {shortened(facts.model or facts.path, 80)}{mapped}"]
    times = span(end.duration_s)
    if end.first_content_s is not None:
        times += f" (first {span(end.first_content_s)})"
    told.append(times)
    if end.usage is not None:
        cached = f" ({end.usage.cache_read:,} cached)" if end.usage.cache_read else ""
        told.append(f"{end.usage.input:,}{cached} → {end.usage.output:,} tokens")
    if end.outcome != "clean":
        told.append(shortened("; ".join(filter(None, (end.finding.what, end.finding.done))), _LONGEST_FINDING))
        if end.finding.needs_a_hand:
            told.append(f"TO DO: {end.finding.do}")
    return one_line(" | ".join(told))


@dataclass(slots=True)
class _Running:
    """An exchange whose client has nothing yet. at: what it waits for, in words."""

    facts: ExchangeFacts
    timer: asyncio.TimerHandle | None
    at: str = "it is made ready"


class Terminal:
    """Prints what becomes of exchanges. What the user has set himself stays as he set it."""

    def __init__(self, journal: Journal) -> None:
        self._waiting: dict[str, _Running] = {}
        self._repeats = Repeats()
        journal.listen(self._hear)

    def running(self) -> None:
        """Have mitmproxy print nothing of its own about each connection and each flow."""
        termlog = ctx.master.addons.get("termlog")
        if termlog is not None:
            filter_terminal(termlog, self._shows)
        if ctx.master.addons.get("dumper") is not None and not is_set(ctx.options, "flow_detail"):
            ctx.options.update(flow_detail=0)

    def done(self) -> None:
        """Nothing more is going to be said of what runs."""
        for waiting in self._waiting.values():
            if waiting.timer is not None:
                waiting.timer.cancel()
        self._waiting.clear()

    @staticmethod
    def _shows(logged: logging.LogRecord) -> bool:
        if ctx.options.termlog_verbosity == "debug":
            return True
        if logged.name in _DETAILS:
            return logged.levelno >= logging.WARNING
        return logged.name not in _STEPS

    def _hear(self, record: Record) -> None:
        found = record.exchange.exchange
        if record.step == "received":
            self._watch(record)
        elif (waiting := self._waiting.get(found)) is not None:
            waiting.at = _phase(record) or waiting.at
        if record.step in ("commit", "over") and (waiting := self._waiting.pop(found, None)) and waiting.timer:
            waiting.timer.cancel()
        if record.end is not None:
            self._say(record)

    def _watch(self, record: Record) -> None:
        try:
            timer = asyncio.get_running_loop().call_later(HELD_S, self._say_held, record.exchange.exchange)
        except RuntimeError:  # no loop is running
            timer = None
        self._waiting[record.exchange.exchange] = _Running(record.exchange, timer)

    def _say_held(self, exchange: str) -> None:
        if (waiting := self._waiting.pop(exchange, None)) is not None:
            facts = waiting.facts
            line = f"held   {exchange} {shortened(facts.model or facts.path, 80)} | {HELD_S:g} s so far: {waiting.at}"
            logger.info("%s", one_line(line))

    def _say(self, record: Record) -> None:
        end = record.end
        assert end is not None
        line = line_of(record)
        if end.outcome == "refused" or (end.outcome == "failed" and not end.attempts):
            # A client that comes again and again is told so each time, and people once.
            unsaid = self._repeats.times_unsaid((record.exchange.model, end.status, _without_id(line)), record.at)
            if unsaid is None:
                return
            line += f" ({unsaid} more like this before)" if unsaid else ""
        trouble = end.outcome == "failed" or (end.outcome == "healed" and end.finding.needs_a_hand)
        level = logging.WARNING if trouble else logging.INFO
        try:
            # Behind the steps that led to it, which are written a moment later.
            asyncio.get_running_loop().call_later(DELAY_S, logger.log, level, "%s", line)
        except RuntimeError:  # no loop is running
            logger.log(level, "%s", line)


def _without_id(line: str) -> str:
    return line.split(" ", 2)[-1] if line.startswith("REFUSED") else ""


def _phase(record: Record) -> str:
    """What an exchange waits for after this step, "" where that stays what it was."""
    attempt = record.attempt
    if record.step in ("attempt", "hold") and attempt is not None:
        return f"{attempt.account} is asked (attempt {attempt.attempt}), no content has come"
    if record.step in ("retry", "repair", "wait") and record.wait_s:
        return f"the next attempt is made {span(record.wait_s)} after the last ({record.text})"
    return ""
