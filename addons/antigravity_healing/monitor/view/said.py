"""A conversation in lines: requests from their end, answers from their beginning."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Any, NamedTuple

import orjson

from antigravity_healing.monitor.hand.diff import LONGEST_SUMMARY, as_line
from antigravity_healing.monitor.view.layout import fitted, plain, plain_line, wrapped
from antigravity_healing.wire.conversation import Answer, Asked, Part, Turn
from antigravity_healing.wire.errors.parsing import read_error
from antigravity_healing.wire.json.value import dump_text, parse

_INDENT = "    "
_NAMED_TOOLS = 40
_MOST_SETTINGS = 40
_MOST_PARTS = 60
_LONGEST_NAME = 60
_SMALL = 300
_LONGEST_JSON = 128 * 1024


class Room(NamedTuple):
    """How many lines a part may take: what is said, and what is mostly looked over (thinking, calls, results)."""

    said: int
    beside: int


NEWEST = Room(100, 40)
EARLIER = Room(24, 8)
ANSWER = Room(360, 60)


def turn_lines(turn: Turn, title: str, room: Room, calls: Mapping[str, str]) -> Iterator[str]:
    """A turn. title: what stands before its role. calls: the tools' names by the ids of their calls."""
    yield f"{title}{plain_line(turn.role, _LONGEST_NAME)}"
    for part in turn.parts[:_MOST_PARTS]:
        yield from part_lines(part, room, calls)
    if len(turn.parts) > _MOST_PARTS:
        yield f"{_INDENT}… {len(turn.parts) - _MOST_PARTS:,} more parts"
    if not any(part.text or part.kind != "text" for part in turn.parts):
        yield f"{_INDENT}(nothing)"


def part_lines(part: Part, room: Room, calls: Mapping[str, str], indent: str = _INDENT) -> Iterator[str]:
    """A part of a turn."""
    match part.kind:
        case "text":
            yield from fitted(part.text, room.said, indent) if part.text else ()
        case "thinking":
            text = part.text or f"(not readable, {part.size:,} characters)"
            yield from fitted(text, room.beside, indent + "┊ ", f"{indent}┊ thinking: ")
        case "call":
            yield from _call_lines(part, room, indent)
        case "result":
            yield from _result_lines(part, room, calls, indent)
        case "data":
            yield indent + _data(part)
        case _:
            name = plain_line(part.name, _LONGEST_NAME)
            yield from fitted(brief(part.value), room.beside, indent + "  ", f"{indent}[{name or 'unknown'}] ")


def _call_lines(part: Part, room: Room, indent: str) -> Iterator[str]:
    yield f"{indent}→ {plain_line(part.name, _LONGEST_NAME) or 'a tool'}"
    inside = indent + "    "
    if not isinstance(part.value, dict):
        text = part.text if part.value is None else dump_text(part.value)
        if text:
            yield from fitted(text, room.beside, inside)
        return
    for count, (name, value) in enumerate(part.value.items()):
        if count >= _MOST_SETTINGS:
            yield f"{inside}… {len(part.value) - count:,} more arguments"
            return
        text = value if isinstance(value, str) else dump_text(value)
        label = f"{inside}{plain_line(str(name), _LONGEST_NAME)}: "
        many = "\n" in text
        if many:
            yield label.rstrip()
        yield from fitted(text, room.beside, inside + "  ", None if many else label)


def _result_lines(part: Part, room: Room, calls: Mapping[str, str], indent: str) -> Iterator[str]:
    name = plain_line(part.name or calls.get(part.id, "") or part.id, _LONGEST_NAME)
    yield f"{indent}← {name or 'a tool'}{', failed' if part.failed else ''}"
    inside = indent + "    "
    if part.value is not None:
        yield from _value_lines(part.value, room, inside)
    for each in part.parts[:_MOST_PARTS]:
        yield from part_lines(each, Room(room.beside, room.beside), calls, inside)
    if len(part.parts) > _MOST_PARTS:
        yield f"{inside}… {len(part.parts) - _MOST_PARTS:,} more parts"


def _value_lines(value: Any, room: Room, indent: str) -> list[str]:
    """A result; one that is a single text as that."""
    only = next(iter(value.values())) if isinstance(value, dict) and len(value) == 1 else value
    return fitted(only if isinstance(only, str) else dump_text(value), room.beside, indent)


def _data(part: Part) -> str:
    where = f" {plain_line(part.text, 80)}" if part.text else f", {size(part.size)}"
    return f"[{plain_line(part.name, _LONGEST_NAME) or 'data'}{where}]"


def asked_lines(asked: Asked) -> Iterator[str]:
    """Settings, tools and the first line of the system prompt."""
    names = list(asked.settings)
    told = [f"{plain_line(name, _LONGEST_NAME)} {_short(asked.settings[name])}" for name in names[:_MOST_SETTINGS]]
    if len(names) > _MOST_SETTINGS:
        told.append(f"… {len(names) - _MOST_SETTINGS:,} more")
    if told:
        yield from wrapped(", ".join(told), "          ", "settings  ")
    if asked.tools:
        named = [plain_line(name, _LONGEST_NAME) for name in asked.tools[:_NAMED_TOOLS]]
        more = len(asked.tools) - len(named)
        text = f"{len(asked.tools)}: {', '.join(named)}{f', … {more} more' if more else ''}"
        yield from wrapped(text, "          ", "tools     ")
    if asked.system:
        text = next((part.text for part in asked.system if part.text.strip()), "")
        characters = sum(len(part.text) for part in asked.system)
        yield from wrapped(f"{plain_line(text, 160)} ({characters:,} characters)", "          ", "system    ")


def _short(value: Any) -> str:
    return plain_line(brief(value), 90)


def brief(value: Any) -> str:
    """A value in one short line, without looking at all of a long one."""
    if isinstance(value, dict | list) and not _is_small(value):
        return f"{{{len(value):,} members}}" if isinstance(value, dict) else f"[{len(value):,} items]"
    return f"({len(value):,} characters)" if isinstance(value, str) and len(value) > LONGEST_SUMMARY else as_line(value)


def _is_small(value: Any) -> bool:
    waiting, left = [value], _SMALL
    while waiting:
        item = waiting.pop()
        left -= 1 + (len(item) if isinstance(item, dict | list) else 0)
        if left < 0:
            return False
        waiting += item.values() if isinstance(item, dict) else item if isinstance(item, list) else ()
    return True


def answer_lines(answer: Answer, *, whole: bool) -> Iterator[str]:
    """Why an answer stopped and what it cost, then what it says. whole: whether nothing of it is missing at its end."""
    if answer.error is not None:
        yield from error_lines(answer.error)
    if answer.error is not None and not answer.stop and not answer.turns:
        return
    stop = plain_line(answer.stop) or ("none was said" if whole else "none was said: it broke off, or is still coming")
    model = f", by {plain_line(answer.model, _LONGEST_NAME)}" if answer.model else ""
    yield from wrapped(f"{stop}{model}", "          ", "stop      ")
    if counts := list(counted(answer.usage)):
        yield from wrapped(", ".join(counts[:_MOST_SETTINGS]), "          ", "usage     ")
    calls = call_names(answer.turns)
    for number, turn in enumerate(answer.turns, 1):
        yield ""
        yield from turn_lines(turn, f"[{number}] " if len(answer.turns) > 1 else "", ANSWER, calls)
    if not answer.turns and answer.error is None:
        yield ""
        yield "It has no content."


def counted(usage: Mapping[str, Any]) -> Iterator[str]:
    """The counts in words, by the API's own names."""
    for name, count in usage.items():
        if isinstance(count, int) and not isinstance(count, bool):
            yield f"{plain_line(name, _LONGEST_NAME)} {count:,}"


def error_lines(error: Any) -> Iterator[str]:
    """An error that upstream, or the proxy, told, in words."""
    read = read_error(error)
    kinds = ", ".join(dict.fromkeys(read.kinds)) or "an error"
    yield from fitted(f"{kinds}: {read.text or 'without a message'}", 12, "          ", "error     ")
    if read.delay_s is not None:
        yield f"          come again in {read.delay_s:g} s"


def call_names(turns: Iterable[Turn]) -> dict[str, str]:
    """The tools' names by the ids of their calls."""
    return {part.id: part.name for turn in turns for part in turn.parts if part.kind == "call" and part.id}


def json_lines(data: bytes) -> list[str]:
    """A short JSON text, indented. Raises ValueError for what is none, or is long."""
    if len(data) > _LONGEST_JSON:
        raise ValueError("too long")
    try:
        text = orjson.dumps(parse(data), option=orjson.OPT_INDENT_2)
    except TypeError as error:
        raise ValueError(str(error)) from None
    return fitted(text.decode(), 400, "")


def raw_lines(data: bytes, why: str) -> Sequence[str]:
    """What is no conversation: JSON indented, all else as it is. why: why it is none."""
    with suppress(ValueError):
        return [*([f"({why})"] if why else ()), *json_lines(data)]
    text = data[:20_000].decode("utf-8", "replace")
    if text.count("�") > len(text) // 10:
        return [f"({size(len(data))}{f'; {why}' if why else ''})"]
    return [*([f"({why})"] if why else ()), *fitted(plain(text), 200, "")]


def size(count: int) -> str:
    """So many bytes, as people say it."""
    if count < 1000:
        return f"{count} bytes"
    return f"{count / 1000:,.0f} kB" if count < 1_000_000 else f"{count / 1_000_000:,.1f} MB"
