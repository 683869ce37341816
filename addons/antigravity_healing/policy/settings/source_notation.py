"""Where a credential comes from: `env:NAME`, `file:PATH`, `cmd:COMMAND`, `adc:`, `adc:PATH`, or the value itself."""

import re
import shlex
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_OF_A_SHELL = re.compile(r"^(?:\|\|?|&&?|;|\d?[<>].*|~/.*)$|;$|\$[({A-Za-z_]|`")

_OTHER_NOTATION = re.compile(r"\$[A-Z_][A-Z0-9_]*|\$\{\w+\}|\$env:\w+|%[A-Z_][A-Z0-9_]*%")


@dataclass(frozen=True, repr=False)
class Source:
    """Where a credential comes from."""

    kind: Literal["env", "file", "cmd", "adc", "literal"]
    value: str
    """The variable's name, the file's path ("" for Google's default), the command line, or the credential itself."""

    @property
    def words(self) -> list[str]:
        """Of a command: the program and its arguments. They go through no shell."""
        return shlex.split(self.value)

    @property
    def wants_a_shell(self) -> bool:
        """Whether a command has words that mean something to a shell only, and is for none."""
        words = self.words if self.kind == "cmd" else []
        return "-c" not in words and any(_OF_A_SHELL.search(word) for word in words)

    def __repr__(self) -> str:
        # A command line may carry a password too.
        shown = repr(self.value) if self.kind in ("env", "file", "adc") else "'**********'"
        return f"Source(kind={self.kind!r}, value={shown})"


def parse_source(text: str, folder: Path | None = None) -> Source:
    """Reads `env:NAME`, `file:PATH`, `cmd:COMMAND`, `adc:`, `adc:PATH` or a literal credential.

    `~` in a path is expanded; a relative path is taken relative to `folder`, when given.
    Raises `ValueError`, whose text never contains `text`.
    """
    prefix, _, rest = text.partition(":")
    rest = rest.strip()
    match prefix if text != prefix else "":
        case "env":
            if not rest or _OTHER_NOTATION.match(rest) or "=" in rest or "\0" in rest:
                raise ValueError('names no environment variable; write "env:NAME"')
            return Source("env", rest)
        case "file":
            if not rest or "\0" in rest:
                raise ValueError('names no file; write "file:PATH"')
            return Source("file", _path(rest, folder))
        case "adc":
            if "\0" in rest:
                raise ValueError('names no file; write "adc:" for the default credentials of Google, or "adc:PATH"')
            return Source("adc", _path(rest, folder) if rest else "")
        case "cmd":
            if not rest or "\0" in rest:
                raise ValueError('has no command; write "cmd:COMMAND"')
            try:
                words = shlex.split(rest)
            except ValueError:
                raise ValueError("has a quote or a backslash in its command that is not ended") from None
            if not words or not words[0]:
                raise ValueError('has no command; write "cmd:COMMAND"')
            return Source("cmd", rest)
    if not text.strip():
        raise ValueError("is empty; write env:NAME, file:PATH, cmd:COMMAND or the value itself")
    if _OTHER_NOTATION.fullmatch(text):
        raise ValueError('is how a shell names a variable; write "env:NAME"')
    if prefix != text and prefix.strip().lower() in ("env", "file", "cmd", "adc"):
        raise ValueError(f'has to begin with "{prefix.strip().lower()}:", in lower case and without a space before it')
    # It becomes the value of a header as it is: no way to smuggle in a second header, and no silent mismatch.
    if text != text.strip() or not (text.isascii() and text.isprintable()):
        raise ValueError("may only have printable ASCII characters, and no spaces around it")
    return Source("literal", text)


def _path(text: str, folder: Path | None) -> str:
    """A path with its home folder, relative to `folder`. Raises ValueError."""
    try:
        path = Path(text).expanduser()
    except RuntimeError:
        raise ValueError('names a home folder ("~") that cannot be found') from None
    return str(folder / path if folder else path)
