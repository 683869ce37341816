"""What became of an exchange or an attempt, in lines: the finding first, then the attempts as a time line.

All is read from a flow's metadata, which may come from a file that an older version has written: whatever is missing,
or is not what it should be, is left out.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from mitmproxy import http

from antigravity_healing.monitor.view.layout import plain_line, wrapped
from antigravity_healing.proxy.streams.flow_story import outcome_of

type Story = Mapping[str, Any]

_INDENT = "          "
_MOST_ATTEMPTS = 20
_BAR = 24
_LONGEST_S = 1e7
_LATEST = 1e11
_USAGE = ("uncached", "cache_read", "cache_write", "output", "reasoning")


class Times(NamedTuple):
    """An attempt on the exchange's time line, in seconds from its start; None where it has not come to that."""

    start: float
    first_byte: float | None
    first_content: float | None
    end: float | None


def story_lines(story: Story, response: http.Response | None) -> Iterator[str]:
    """The whole story; nothing for a flow that has none."""
    role = story.get("role")
    if role == "attempt":
        yield from _attempt_head(story)
    elif story:
        yield from _exchange_head(story, response)
        yield from _timeline(story)


def _exchange_head(story: Story, response: http.Response | None) -> Iterator[str]:
    outcome = _text(story.get("outcome")).upper() or ("STILL RUNNING" if response is None else "NOT TOLD YET")
    facts = [f"{outcome.replace('_', ' ')}  {_model(story)}".rstrip()]
    if (took := _seconds(story.get("duration_s"))) is not None:
        facts.append(_s(took))
    if (first := _first_content(story)) is not None:
        facts.append(f"first content after {_s(first)}")
    if (waited := _seconds(story.get("waited_s"))) is not None and waited:
        facts.append(f"{_s(waited)} of it waited")
    if tokens := _tokens(story.get("usage")) or _tokens_of_all(_attempts(story)):
        facts.append(tokens)
    if exchange := _text(story.get("exchange")):
        facts.append(f"id {exchange}")
    yield from wrapped(", ".join(facts), _INDENT, "")
    yield from _finding(story, f"{outcome_of(story, response)}" if "outcome" in story else "")
    if asked := [_text(each) for each in _list(story.get("asked"))]:
        yield from wrapped(", ".join(asked), _INDENT, "asked     ")


def _attempt_head(story: Story) -> Iterator[str]:
    facts = [f"{_result(story)}  attempt {_text(story.get('attempt'))} on {_text(story.get('account'))}"]
    facts += [f"at {upstream}"] if (upstream := _text(story.get("upstream"))) else []
    facts += [f"{model}"] if (model := _text(story.get("mapped_model"))) else []
    facts += [f"status {status}"] if (status := _text(story.get("status"))) else []
    times = _times(story, 0.0)
    facts += [f"first byte after {_s(times.first_byte)}"] if times.first_byte is not None else []
    facts += [f"first content after {_s(times.first_content)}"] if times.first_content is not None else []
    facts += [f"over after {_s(times.end)}"] if times.end is not None else []
    facts += [tokens] if (tokens := _tokens(story.get("usage"))) else []
    if exchange := _text(story.get("exchange")):
        facts.append(f"of exchange {exchange}")
    yield from wrapped(", ".join(facts), _INDENT, "")
    yield from _finding(story, _text(story.get("detail"), 400))
    for label, name in (("then", "verdict"), ("place", "place")):
        if told := _text(story.get(name)):
            yield from wrapped(told, _INDENT, label.ljust(len(_INDENT)))
    if repaired := ", ".join(_text(each) for each in _list(story.get("repaired"))):
        yield from wrapped(repaired, _INDENT, "repaired  ")


def _result(attempt: Story) -> str:
    """What came of an attempt, in a word or two."""
    if failure := _text(attempt.get("failure")):
        begun = " AFTER ITS ANSWER HAD BEGUN TO REACH THE CLIENT" if attempt.get("delivered") is True else ""
        return failure.replace("_", " ").upper() + begun
    if _seconds(attempt.get("duration_s")) is None:
        return "STILL RUNNING"
    return "LEFT" if attempt.get("delivered") is False else "SERVED"


def _finding(story: Story, otherwise: str) -> Iterator[str]:
    """What, done, do; for a story without them what is known instead."""
    finding = story.get("finding")
    told = finding if isinstance(finding, Mapping) else {}
    if not any(told.get(name) for name in ("what", "done", "do")):
        told = {"what": otherwise}
    for name in ("what", "done", "do"):
        if text := _text(told.get(name), 1000):
            yield from wrapped(text, _INDENT, name.ljust(len(_INDENT)))


def _timeline(story: Story) -> Iterator[str]:
    attempts = _attempts(story)
    if not attempts:
        return
    placed = list(_placed(story, attempts))
    whole = _seconds(story.get("duration_s")) or max(_last(times) for times in placed) or 1.0
    accounts = [_text(attempt.get("account"), 24) for attempt in attempts]
    wide = min(24, max(len(account) for account in accounts))
    yield ""
    yield f"attempts  (─ waiting for it, ▒ first byte, █ content; the line is {_s(whole)})"
    for number, attempt in enumerate(attempts):
        if len(attempts) > _MOST_ATTEMPTS and 5 <= number < len(attempts) - 15:
            if number == 5:
                yield f"{_INDENT}… {len(attempts) - _MOST_ATTEMPTS:,} more"
            continue
        yield from _attempt_lines(attempt, placed[number], accounts[number].ljust(wide), whole)


def _attempt_lines(attempt: Story, times: Times, account: str, whole: float) -> Iterator[str]:
    status = _text(attempt.get("status"), 3) or "-"
    byte, content, end = (
        f"{label} {'-' if at is None else _s(at - times.start)}"
        for label, at in (("byte", times.first_byte), ("content", times.first_content), ("end", times.end))
    )
    verdict = _text(attempt.get("verdict"))
    head = f"{account} {status:3} {bar(times, whole)} {byte}, {content}, {end}{f' → {verdict}' if verdict else ''}"
    yield from wrapped(head, _INDENT, f"{_text(attempt.get('attempt'), 3):>3} ")
    told = [
        ": ".join(filter(None, (_text(attempt.get("failure")).replace("_", " "), _text(attempt.get("detail"), 300))))
    ]
    told += [f"repaired: {', '.join(map(_text, repairs))}" if (repairs := _list(attempt.get("repaired"))) else ""]
    told += [_tokens(attempt.get("usage"))]
    if text := "; ".join(filter(None, told)):
        yield from wrapped(text, _INDENT)


def bar(times: Times, whole: float) -> str:
    """An attempt as a bar of characters, on a line that is so many seconds long."""

    def place(at: float) -> int:
        return min(_BAR, max(0, round(at / whole * _BAR)))

    end = place(times.end if times.end is not None else whole)
    start = min(place(times.start), _BAR - 1)
    end = max(end, start + 1)
    byte = end if times.first_byte is None else min(end, max(start, place(times.first_byte)))
    content = end if times.first_content is None else min(end, max(byte, place(times.first_content)))
    if times.first_content is not None and content == end:
        # It had some, however late that was.
        content = end - 1
        byte = min(byte, content)
    return "·" * start + "─" * (byte - start) + "▒" * (content - byte) + "█" * (end - content) + "·" * (_BAR - end)


def _placed(story: Story, attempts: Sequence[Story]) -> Iterator[Times]:
    """Where each attempt lies; one that does not say when it began follows the one before it after its share of the
    waiting."""
    began, before = _seconds(story.get("at"), _LATEST), 0.0
    took = _seconds(story.get("duration_s"))
    gap = (_seconds(story.get("waited_s")) or 0.0) / max(1, len(attempts) - 1)
    for number, attempt in enumerate(attempts):
        at = _seconds(attempt.get("at"), _LATEST)
        if at is not None and began is not None and 0 <= at - began < _LONGEST_S:
            start = at - began
        else:
            start = before + (gap if number else 0.0)
            if took is not None:
                start = min(start, max(0.0, took - (_seconds(attempt.get("duration_s")) or 0.0)))
        times = _times(attempt, start)
        before = _last(times)
        yield times


def _times(attempt: Story, start: float) -> Times:
    def since(name: str) -> float | None:
        seconds = _seconds(attempt.get(name))
        return None if seconds is None else start + seconds

    return Times(start, since("time_to_first_byte_s"), since("time_to_first_content_s"), since("duration_s"))


def _last(times: Times) -> float:
    return max(at for at in times if at is not None)


def _first_content(story: Story) -> float | None:
    """When the client got the first of its answer; as far as older stories tell, when it came."""
    if (told := _seconds(story.get("time_to_first_content_s"))) is not None:
        return told
    attempts = _attempts(story)
    last = list(_placed(story, attempts))[-1:]
    return last[0].first_content if last else None


def _tokens_of_all(attempts: Sequence[Story]) -> str:
    told = [usage for attempt in attempts if isinstance(usage := attempt.get("usage"), Mapping)]
    return _tokens({name: sum(_count(usage.get(name)) for usage in told) for name in _USAGE}) if told else ""


def _tokens(usage: Any) -> str:
    """Tokens in words: `in 1,200 (cache 1,000 read, 100 written), out 55 (40 thinking)`."""
    if not isinstance(usage, Mapping) or not any(name in usage for name in _USAGE):
        return ""
    uncached, read, written, output, thinking = (_count(usage.get(name)) for name in _USAGE)
    cache = [f"{count:,} {what}" for count, what in ((read, "read"), (written, "written")) if count]
    inside = f" (cache {', '.join(cache)})" if cache else ""
    thought = f" ({thinking:,} thinking)" if thinking else ""
    return f"tokens in {uncached + read + written:,}{inside}, out {output:,}{thought}"


def _model(story: Story) -> str:
    model, mapped = _text(story.get("model")), _text(story.get("mapped_model"))
    return f"{model} → {mapped}" if mapped and mapped != model else model


def _attempts(story: Story) -> list[Story]:
    return [attempt for attempt in _list(story.get("attempts")) if isinstance(attempt, Mapping)]


def _list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else []


def _text(value: Any, longest: int = 200) -> str:
    return "" if value is None else plain_line(str(value), longest) if isinstance(value, str | int) else ""


def _count(value: Any) -> int:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 10**15 else 0


def _seconds(value: Any, most: float = _LONGEST_S) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not (0 <= value <= most):
        return None
    return None if math.isnan(value) else float(value)


def _s(seconds: float) -> str:
    """So much time: `12 ms`, `1.31 s`, `45 s`, `3 min 20 s`, `2 h 05 min`."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 10:
        return f"{seconds:.2f} s"
    minutes, left = divmod(round(seconds), 60)
    if not minutes:
        return f"{seconds:.1f} s"
    return f"{minutes} min {left:02} s" if minutes < 120 else f"{minutes // 60} h {minutes % 60:02} min"
