"""Files and folders that only their owner may read, whatever the umask: there is no moment in which others may."""

import contextlib
import os
import stat
from collections.abc import Iterable
from pathlib import Path

_FOLDER = 0o700
_FILE = 0o600


def make_folder(folder: Path) -> None:
    """Make a folder and those above it that are missing, all of them private. Raises OSError."""
    missing = []
    while not folder.exists():
        missing.append(folder)
        folder = folder.parent
    for each in reversed(missing):
        with contextlib.suppress(FileExistsError):
            each.mkdir(_FOLDER)
            # A umask may have taken the owner's own rights.
            each.chmod(_FOLDER)


def opener(path: str, flags: int) -> int:
    """What `open` takes as its opener. A file that is there already, and that others may read, becomes private too."""
    descriptor = os.open(path, flags, _FILE)
    try:
        if _is_loose(os.fstat(descriptor), _FILE):
            os.fchmod(descriptor, _FILE)
    except OSError:
        pass  # somebody else's file, as a person has arranged it
    return descriptor


def tighten(paths: Iterable[Path]) -> None:
    """Make files and folders private that are there and ours; not what a link leads to, nor what is in a folder."""
    for path in paths:
        with contextlib.suppress(OSError):
            found = path.lstat()
            mode = _FOLDER if stat.S_ISDIR(found.st_mode) else _FILE
            if (stat.S_ISDIR(found.st_mode) or stat.S_ISREG(found.st_mode)) and _is_loose(found, mode):
                path.chmod(mode)


def is_open_to_others(path: Path) -> bool:
    """Whether others than its owner may read or change a file, as far as can be told."""
    if os.name != "posix":
        return False
    try:
        path = path.resolve()
        reachable = all(folder.stat().st_mode & 0o011 for folder in path.parents)
        return reachable and bool(path.stat().st_mode & 0o066)
    except (OSError, RuntimeError):
        return False


def _is_loose(found: os.stat_result, mode: int) -> bool:
    return os.name == "posix" and found.st_uid == os.geteuid() and stat.S_IMODE(found.st_mode) != mode
