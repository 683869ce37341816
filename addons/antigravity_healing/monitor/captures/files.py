"""The files of captured exchanges: a file a day, bounded in number and bytes, the newest kept.

Flows in mitmproxy's own format, each exchange's followed by those of its attempts. Nothing here knows of a running
proxy; it may all be done in a thread, by one at a time.
"""

import contextlib
import errno
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from io import BytesIO
from itertools import chain, count
from pathlib import Path
from typing import BinaryIO

from mitmproxy import exceptions, flow, http
from mitmproxy.io import FlowReader, FlowWriter

from antigravity_healing import private
from antigravity_healing.policy.settings.schema import CaptureSettings
from antigravity_healing.proxy.streams.flow_story import METADATA, role_of, story_of

_PIECE = 64 * 1024
# A second file a day is there only where the first one can't be read to its end.
_NAME = re.compile(r"(\d{4}-\d{2}-\d{2})(?:-(\d+))?\.flow")


@dataclass(slots=True)
class _File:
    """What is in a file. sizes: of its exchanges, with their attempts, in bytes; names: which exchanges they are.
    whole: it can be read to its end.
    """

    path: Path
    size: int = 0
    sizes: list[int] = field(default_factory=list)
    names: list[str] = field(default_factory=list)
    whole: bool = True


class CapturedFiles:
    """The folder with the files."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._known: dict[Path, _File] = {}

    def add(self, flows: Sequence[flow.Flow], limits: CaptureSettings, today: date) -> Path:
        """Add one exchange and its attempts to the file of the day, which is given. Raises OSError."""
        data = _written(flows)
        if len(data) > limits.max_bytes:
            raise OSError(errno.EFBIG, "the exchange alone is larger than capture.max_bytes")
        private.make_folder(self.folder)
        file = self._open_file(today)
        descriptor = private.opener(str(file.path), os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        with open(descriptor, "wb", buffering=0) as stream:
            try:
                _write_all(stream, data)
            except OSError:
                # Half an exchange would make all that is added later unreadable.
                with contextlib.suppress(OSError):
                    stream.truncate(file.size)
                raise
        file.size += len(data)
        file.sizes.append(len(data))
        file.names.append(_exchange_of(flows[0]))
        self.prune(limits, today)
        return file.path

    def recount(self, exchange: str, times: int) -> None:
        """Write on a captured exchange how often it has failed like that in a row. Raises OSError."""
        for file in reversed(self._files()):
            if exchange in file.names:
                self._recount(file, file.names.index(exchange), times)
                return

    def _recount(self, file: _File, index: int, times: int) -> None:
        begin, size = sum(file.sizes[:index]), file.sizes[index]
        with file.path.open("rb") as old:
            old.seek(begin)
            first, end = next(_flows(old))
            first.metadata[METADATA] = {**story_of(first), "times": times}
            counted = _written([first])
            _replace(file.path, chain(_pieces(old, begin), [counted], _pieces(old, file.size - end, end)))
        grown = len(counted) - (end - begin)
        file.sizes[index] = size + grown
        file.size += grown

    def tighten(self) -> None:
        """Make private what an older version, or a person, has left open to others."""
        private.tighten((self.folder, *self.folder.glob("*.flow"), *self.folder.glob("*.new")))

    def prune(self, limits: CaptureSettings, today: date) -> None:
        """Delete what is too old, and the oldest of what is too much. Raises OSError."""
        files = self._files()
        oldest = f"{today - timedelta(days=limits.days - 1):%Y-%m-%d}"
        for file in [file for file in files if file.path.name < oldest]:
            self._delete(file)
            files.remove(file)
        if (
            sum(len(file.sizes) for file in files) > limits.max_exchanges
            or sum(file.size for file in files) > limits.max_bytes
        ):
            self._make_room(files, limits)

    def names(self) -> list[str]:
        """The names of the files, oldest first; also of those that somebody else has put there."""
        try:
            return sorted((path.name for path in self.folder.glob("*.flow")), key=_age)
        except OSError:
            return []

    def read(self, name: str) -> list[http.HTTPFlow]:
        """The flows of a file; of a damaged one, what can be read. Raises OSError."""
        with (self.folder / name).open("rb") as stream:
            return [found for found, _ in _flows(stream) if isinstance(found, http.HTTPFlow)]

    def _open_file(self, today: date) -> _File:
        """The file to add to: the day's, or another one if that can't be read to its end."""
        for number in count(1):
            path = self.folder / (f"{today:%Y-%m-%d}.flow" if number == 1 else f"{today:%Y-%m-%d}-{number}.flow")
            if (file := self._look_at(path)).whole:
                return file
        raise AssertionError

    def _files(self) -> list[_File]:
        """The files that are ours, oldest first."""
        return [self._look_at(self.folder / name) for name in self.names() if _NAME.fullmatch(name)]

    def _look_at(self, path: Path) -> _File:
        """What is in a file. It is read again if another process has changed it."""
        try:
            size = path.stat().st_size
        except FileNotFoundError:
            size = 0
        known = self._known.get(path)
        if known is None or known.size != size:
            known = self._known[path] = _scan(path) if size else _File(path)
        return known

    def _delete(self, file: _File) -> None:
        file.path.unlink(missing_ok=True)
        self._known.pop(file.path, None)

    def _make_room(self, files: Sequence[_File], limits: CaptureSettings) -> None:
        """Leave out the oldest, a quarter more than need be: else every new exchange would have a file written anew."""
        most, most_bytes = max(1, limits.max_exchanges * 3 // 4), limits.max_bytes * 3 // 4
        if files[-1].sizes:
            most_bytes = max(most_bytes, files[-1].sizes[-1])
        for file in reversed(files):
            kept = _newest(file.sizes, most, most_bytes)
            most, most_bytes = most - len(kept), most_bytes - sum(kept)
            if len(kept) < len(file.sizes):
                most = 0  # nothing that is older stays
            if not kept:
                self._delete(file)
            elif len(kept) < len(file.sizes) or not file.whole:
                self._shorten(file, kept)

    def _shorten(self, file: _File, kept: list[int]) -> None:
        """Leave only the last exchanges of a file."""
        with file.path.open("rb") as old:
            _replace(file.path, _pieces(old, sum(kept), sum(file.sizes) - sum(kept)))
        self._known[file.path] = _File(file.path, sum(kept), kept, file.names[-len(kept) :])


def _replace(path: Path, pieces: Iterable[bytes]) -> None:
    """Write a file anew. Raises OSError, and leaves it as it was."""
    new = path.with_suffix(".new")
    try:
        with open(new, "wb", opener=private.opener) as stream:
            stream.writelines(pieces)
        new.replace(path)
    except OSError:
        # On a full disk a half of it would only take more of the room.
        new.unlink(missing_ok=True)
        raise


def _pieces(stream: BinaryIO, size: int, begin: int = 0) -> Iterator[bytes]:
    """So many bytes of a stream from there on, never all of them at once: it may be as long as the folder may be."""
    stream.seek(begin)
    while size and (data := stream.read(min(size, _PIECE))):
        size -= len(data)
        yield data


def _exchange_of(one: flow.Flow) -> str:
    return str(story_of(one).get("exchange", ""))


def _age(name: str) -> tuple[str, int]:
    found = _NAME.fullmatch(name)
    return (found[1], int(found[2] or 1)) if found else (name, 0)


def _newest(sizes: Sequence[int], most: int, most_bytes: int) -> list[int]:
    """The last of these sizes, as many as the bounds allow."""
    kept: list[int] = []
    for size in reversed(sizes):
        if len(kept) >= most or sum(kept) + size > most_bytes:
            break
        kept.insert(0, size)
    return kept


def _written(flows: Iterable[flow.Flow]) -> bytes:
    data = BytesIO()
    writer = FlowWriter(data)
    for one in flows:
        writer.add(one)
    return data.getvalue()


def _write_all(stream: BinaryIO, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[stream.write(rest) :]


def _flows(stream: BinaryIO) -> Iterator[tuple[flow.Flow, int]]:
    """Each flow and where it ends, as far as the file can be read."""
    with contextlib.suppress(exceptions.FlowReadException):
        for one in FlowReader(stream).stream():
            yield one, stream.tell()


def _scan(path: Path) -> _File:
    file = _File(path)
    with path.open("rb") as stream:
        for one, end in _flows(stream):
            if role_of(one) != "attempt" or not file.sizes:
                file.sizes.append(0)
                file.names.append(_exchange_of(one))
            file.sizes[-1] += end - file.size
            file.size = end
        file.whole = stream.seek(0, os.SEEK_END) == file.size
        file.size = stream.tell()
    return file
