"""What a program says of why it failed, as it may be told: one line, and nothing in it that looks like a secret."""

import os
import re
from collections.abc import Iterable, Iterator

from antigravity_healing.policy.judging.failures import one_line, shortened
from antigravity_healing.proxy.secrets.redaction import SHORTEST_SECRET, Redaction

LONGEST_LINE = 200
"""In characters."""
_MARK = "[redacted]"
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_SECRET_NAME = r"(?:pass(?:word|phrase|wd)?|secret|token|credentials?|(?:api|access|private)?[_-]?key|pat)"
_NAME_OF_SECRET = re.compile(rf"(?:^|_|-){_SECRET_NAME}(?:$|_|-)", re.IGNORECASE)
# After a colon only what has a digit in it: "token: expired" says why.
_NAMED = re.compile(
    rf"(\b[\w-]*{_SECRET_NAME}[\"']?\s*(?:=\s*|:\s*(?=\S*\d)))(?:[\"'][^\"']*[\"']?|\S+)", re.IGNORECASE
)
_SCHEME = re.compile(r"\b(bearer|basic)\s+\S+", re.IGNORECASE)
_USER = re.compile(r"(://)[^/\s@]+@")
_KEY = re.compile(r"\b(?:sk-|AIza|AKIA|eyJ|ya29\.|gh[a-z]_|xox[a-z]-)[\w.+/=-]{4,}")
_WORD = re.compile(r"[A-Za-z0-9_+/=.~-]{16,}")
_HOST = re.compile(r"(?:[a-z0-9-]{1,20}\.)+[a-z]{2,12}")
_LONG_PART = 16
_LONGEST_LETTERS = 32


def last_line(errors: bytes, printed: str = "", arguments: Iterable[str] = ()) -> str:
    """The last line of a program's error output that says anything, without secrets; "" if there is none.

    printed, arguments: the program's other output and what it was called with, which it may repeat.
    """
    text = _COLOURS.sub("", errors.decode("utf-8", "replace"))
    line = next(filter(None, map(one_line, reversed(text.splitlines()))), "")
    known = Redaction({*printed.split(), *_secrets_in(arguments), *_secrets_of_environment()})
    line = known.redact(line.encode()).decode("utf-8", "replace")
    line = _USER.sub(rf"\1{_MARK}@", line)
    line = _SCHEME.sub(rf"\1 {_MARK}", line)
    line = _NAMED.sub(rf"\1{_MARK}", line)
    line = _KEY.sub(_MARK, line)
    return shortened(_WORD.sub(lambda word: _without_secrets(word[0]), line), LONGEST_LINE)


def _secrets_in(arguments: Iterable[str]) -> Iterator[str]:
    """Those words of arguments that are more than words."""
    for argument in arguments:
        for word in argument.split():
            value = word.strip("\"',;").rpartition("=")[2]
            if len(value) >= SHORTEST_SECRET and any(map(str.isdigit, value)):
                yield value


def _secrets_of_environment() -> Iterator[str]:
    return (value for name, value in os.environ.items() if _NAME_OF_SECRET.search(name))


def _without_secrets(word: str) -> str:
    """A long word; of a path or a URL each part is a word of its own."""
    if word.startswith(("/", "~/", "./", "../")):
        return "/".join(_MARK if _looks_secret(part) else part for part in word.split("/"))
    return _MARK if _looks_secret(word) else word


def _looks_secret(word: str) -> bool:
    if len(word) < _LONG_PART or _HOST.fullmatch(word):
        return False
    if word.isalpha():
        return len(word) >= _LONGEST_LETTERS
    return any(map(str.isdigit, word)) and any(map(str.isalpha, word))
