"""A strict reader of Server-Sent Events: the whole body at once, no state to get wrong."""

import re
from typing import NamedTuple

from .strict import require, shown, utf8

_LINE_END = re.compile(rb"\r\n|\n|\r")


class Frame(NamedTuple):
    """One event, or a run of comments (`name` and `data` are both None then)."""

    name: str | None
    data: str | None


def read_frames(body: bytes) -> tuple[list[Frame], bytes]:
    """The frames of `body`, and what follows the last blank line (empty when the body ended well)."""
    lines = _LINE_END.split(body)
    unfinished = lines.pop()
    frames: list[Frame] = []
    pending: list[bytes] = []
    for line in lines:
        if line:
            pending.append(line)
        elif pending:
            frames.append(_frame(pending, f"frame {len(frames)}"))
            pending = []
    tail = pending + ([unfinished] if unfinished else [])
    return frames, b"\n".join(tail)


def _frame(lines: list[bytes], where: str) -> Frame:
    names: list[str] = []
    data: list[str] = []
    fields = 0
    for raw in lines:
        line = utf8(raw, where)
        if line.startswith(":"):
            continue
        field, colon, value = line.partition(":")
        if not colon or field not in ("event", "data", "id", "retry"):
            raise AssertionError(f"{where}: not a line of SSE: {shown(line)}")
        fields += 1
        value = value.removeprefix(" ")
        if field == "event":
            names.append(value)
        elif field == "data":
            data.append(value)
    if not fields:
        return Frame(None, None)
    require(len(names) <= 1, f"{where}: {len(names)} `event:` lines: two events run together")
    if not data:
        raise AssertionError(f"{where}: no `data:` line: {shown(lines)}")
    return Frame(names[0] if names else None, "\n".join(data))
