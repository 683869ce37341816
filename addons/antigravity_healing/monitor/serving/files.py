"""The files of the page, as they lie in a folder."""

import hashlib
import re
from pathlib import Path

from antigravity_healing.proxy.own_pages.pages import ROOT, PageAnswer, PageRequest

FOLDER = Path(__file__).parents[1] / "page"
_INDEX = "index.html"
_NAME = re.compile(r"(?:[A-Za-z0-9_-]+/)*[A-Za-z0-9_-]+(?:\.[A-Za-z0-9_-]+)+")
_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".svg": "image/svg+xml",
    ".png": "image/png",
    ".ico": "image/x-icon",
    ".txt": "text/plain; charset=utf-8",
    ".woff2": "font/woff2",
}


class PageFiles:
    """Answers with the files of a folder, and those below it; read again when they change."""

    def __init__(self, folder: Path = FOLDER) -> None:
        self.folder = folder
        self._read: dict[str, tuple[tuple[int, int], str, bytes]] = {}

    def answer(self, request: PageRequest) -> PageAnswer:
        """The file that a path below the root names; that of the root itself is `index.html`."""
        name = request.path.removeprefix(ROOT + "/") or _INDEX
        if (found := self._find(name)) is None:
            return PageAnswer(404, "text/plain; charset=utf-8", f"There is nothing at {request.path[:200]}.\n".encode())
        etag, content = found
        # Asked for each time, and sent when it is another one.
        headers = {"etag": etag, "cache-control": "no-cache"}
        if request.knows(etag):
            return PageAnswer(304, headers=headers)
        return PageAnswer(200, _TYPES[Path(name).suffix], content, headers)

    def _find(self, name: str) -> tuple[str, bytes] | None:
        """A file's etag and content, None where there is no such file to show."""
        if not _NAME.fullmatch(name) or Path(name).suffix not in _TYPES:
            return None
        file = self.folder / name
        try:
            stat = file.stat()
            stamp = (stat.st_mtime_ns, stat.st_size)
            if (known := self._read.get(name)) is None or known[0] != stamp:
                content = file.read_bytes()
                known = self._read[name] = stamp, f'"{hashlib.sha256(content).hexdigest()[:32]}"', content
        except OSError:
            return None
        return known[1], known[2]
