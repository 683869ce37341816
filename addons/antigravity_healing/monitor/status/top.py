"""What the proxy is doing now, in a terminal: it asks a running proxy again and again."""

import contextlib
import json
import os
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from http.client import HTTPConnection, HTTPException, HTTPSConnection
from typing import Any, TextIO
from urllib.parse import urlsplit

from antigravity_healing.policy.journal.findings import clock_time, span
from antigravity_healing.policy.judging.failures import counted, one_line, steady

NOW_PATH = "/antigravity/now"
DEFAULT_URL = "http://127.0.0.1:8080"
_TIMEOUT_S = 10.0
_MOST_BYTES = 4 * 1024 * 1024
# What is more is no time and no count.
_MOST_NUMBER = 1e12
_OTHER_SCREEN, _FIRST_SCREEN = "\x1b[?1049h\x1b[?25l", "\x1b[?25h\x1b[?1049l"
_HOME, _REST_OF_LINE, _REST = "\x1b[H", "\x1b[K", "\x1b[J"
_BOLD, _PLAIN = "\x1b[1m", "\x1b[m"


class NoAnswerError(Exception):
    """The proxy does not say what it does; the text says why, and what would help."""


def ask(url: str) -> dict[str, Any]:
    """What the proxy at this base URL says of now. Raises NoAnswerError.

    It is what `status.now` makes: `exchanges` (each with id, phase, account, model, mapped_model, seconds,
    attempt, ends_s: seconds until a clock ends the phase, why: what is said then), `accounts` (each with name, healthy,
    benches, active, over) and `conditions` (each with what, do, since in seconds since 1970, count). Anything may be
    missing.
    """
    parts = urlsplit(url if "://" in url else f"http://{url}")
    try:
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if parts.scheme not in ("http", "https") or not host:
        raise NoAnswerError(f"{url} is no address of a proxy; write for instance {DEFAULT_URL}")
    # Not by whatever HTTP_PROXY names: that may be the proxy itself.
    made = HTTPSConnection if parts.scheme == "https" else HTTPConnection
    connection = made(host, port, timeout=_TIMEOUT_S)
    try:
        connection.request("GET", parts.path.rstrip("/") + NOW_PATH, headers={"accept": "application/json"})
        answer = connection.getresponse()
        body = answer.read(_MOST_BYTES)
    except ConnectionRefusedError:
        raise NoAnswerError(f"nothing listens at {url}: start the proxy, or name another place with --url") from None
    except (OSError, HTTPException) as error:
        raise NoAnswerError(f"{url} does not answer: {one_line(str(error)) or type(error).__name__}") from None
    finally:
        connection.close()
    if answer.status != 200:
        told = one_line(body[:200].decode("utf-8", "replace"))
        raise NoAnswerError(f"{url}{NOW_PATH} answers {answer.status} {one_line(answer.reason)}: {told}")
    try:
        found = json.loads(body)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise NoAnswerError(f"what listens at {url} is not this proxy: {NOW_PATH} is no JSON object there")
    return found


def lines_of(told: Mapping[str, Any], now: float, width: int = 1000) -> list[str]:
    """What is told, for people. now: seconds since 1970. width: of what a person has to read to its end."""
    conditions, exchanges, accounts = (_things(told, name) for name in ("conditions", "exchanges", "accounts"))
    lines = [f"{datetime.fromtimestamp(now):%H:%M:%S}  {counted(len(exchanges), 'exchange')} running"]
    hands = [each for each in conditions if each.get("needs_a_hand") is not False]
    for title, those in (("NEEDS A HAND", hands), ("FOR A WHILE", [each for each in conditions if each not in hands])):
        if those:
            lines += ["", title]
            lines += [line for each in those for told_of in _condition(each, now) for line in _wrapped(told_of, width)]
    lines += ["", "NOW", *(_table(map(_exchange, exchanges), _EXCHANGE) if exchanges else ["  nothing is running"])]
    lines += ["", "ACCOUNTS"]
    lines += _table((_account(each, now) for each in accounts), _ACCOUNT) if accounts else ["  none is configured"]
    return list(map(steady, lines))


def show(url: str, out: TextIO, *, every_s: float, once: bool, sleep: Callable[[float], object] = time.sleep) -> None:
    """Show it again and again, on a screen of its own if `out` is a terminal, until Ctrl-C; or once.

    Raises NoAnswerError where there is no answer at the start; later that is shown, and it goes on.
    """
    lines = lines_of(ask(url), time.time())
    if once:
        print("\n".join(lines), file=out)
        return
    is_terminal = out.isatty()
    with _screen(out) if is_terminal else contextlib.nullcontext():
        while True:
            size = shutil.get_terminal_size()
            out.write(_drawn(lines, size) if is_terminal else "\n".join(lines) + "\n\n")
            out.flush()
            sleep(every_s)
            lines = _lines_now(url, size.columns if is_terminal else 1000)


def _lines_now(url: str, width: int) -> list[str]:
    try:
        return lines_of(ask(url), time.time(), width)
    except NoAnswerError as error:
        return _wrapped(f"{datetime.now():%H:%M:%S}  {error}; it is asked again", width)


def _wrapped(line: str, width: int) -> list[str]:
    indent = " " * (len(line) - len(line.lstrip()) + 2)
    return textwrap.wrap(line, max(width, 20), subsequent_indent=indent) or [line]


_EXCHANGE = ("id", "phase", "for", "try", "account", "model", "ends")
_ACCOUNT = ("name", "state", "until", "running", "attempts", "why")


def _exchange(one: Mapping[str, Any]) -> tuple[str, ...]:
    model, mapped = _text(one, "model"), _text(one, "mapped_model")
    ends_s, why = _number(one, "ends_s"), _text(one, "why")
    ends = " ".join(filter(None, ("" if ends_s is None else f"in {span(max(0.0, ends_s))}:", why)))
    seconds = _number(one, "seconds")
    return (
        _text(one, "id"),
        _text(one, "phase"),
        "" if seconds is None else span(max(0.0, seconds)),
        _text(one, "attempt"),
        _text(one, "account"),
        f"{model} → {mapped}" if mapped and mapped != model else model,
        ends,
    )


def _account(one: Mapping[str, Any], now: float) -> tuple[str, ...]:
    benches = _things(one, "benches")
    ends = [end for each in benches if (end := _number(each, "until")) is not None]
    until = _time(max(ends), now) if ends else ""
    state = {True: "free", False: "left alone"}.get(one.get("healthy") is True) if "healthy" in one else ""
    if no_key := _text(one, "no_key"):
        state = "no key"
    why = "; ".join(filter(None, (no_key, *(_text(each, "reason") for each in benches))))
    return _text(one, "name"), state or "", until, _text(one, "active"), _text(one, "over"), why


def _condition(one: Mapping[str, Any], now: float) -> Iterator[str]:
    since, times = _number(one, "since"), _number(one, "count")
    more = [
        "" if since is None else f"since {_time(since, now)}",
        "" if times is None or times < 2 else f"{times:.0f} times",
    ]
    told = ", ".join(filter(None, more))
    yield f"  {_text(one, 'what')}{f' ({told})' if told else ''}"
    if do := _text(one, "do"):
        yield f"    → {do}"


def _table(rows: Iterator[tuple[str, ...]], names: Sequence[str]) -> list[str]:
    """Columns under their names; those in which nothing stands are left out."""
    found = list(rows)
    shown = [index for index in range(len(names)) if any(row[index] for row in found)]
    table = [tuple(names), *found]
    widths = {index: max(len(row[index]) for row in table) for index in shown}
    return ["  " + "  ".join(row[index].ljust(widths[index]) for index in shown).rstrip() for row in table]


def _drawn(lines: Sequence[str], size: os.terminal_size) -> str:
    """What puts these lines on the screen, as many and as much of them as it has room for, without a flicker."""
    shown = [line[: size.columns] for line in lines[: size.lines - 1]]
    drawn = [f"{_BOLD}{line}{_PLAIN}" if line.isupper() and line[:1] != " " else line for line in shown]
    return _HOME + "".join(f"{line}{_REST_OF_LINE}\n" for line in drawn) + _REST


@contextlib.contextmanager
def _screen(out: TextIO) -> Iterator[None]:
    out.write(_OTHER_SCREEN)
    try:
        yield
    finally:
        out.write(_FIRST_SCREEN)
        out.flush()


def _things(told: Mapping[str, Any], name: str) -> list[Mapping[str, Any]]:
    found = told.get(name)
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _text(one: Mapping[str, Any], name: str) -> str:
    value = one.get(name)
    return "" if value is None or isinstance(value, dict | list) else one_line(str(value))


def _number(one: Mapping[str, Any], name: str) -> float | None:
    value = one.get(name)
    if not isinstance(value, int | float) or isinstance(value, bool) or not abs(value) < _MOST_NUMBER:
        return None
    return float(value)


def _time(at: float, now: float) -> str:
    try:
        return clock_time(at, now)
    except (ValueError, OverflowError, OSError):
        return "?"


def run(url: str, every_s: float, *, once: bool) -> int:
    """Show it on the terminal, and give the exit status."""
    try:
        show(url, sys.stdout, every_s=every_s, once=once)
    except NoAnswerError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        pass
    return 0
