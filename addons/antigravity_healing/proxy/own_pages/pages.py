"""What is served: paths, and the handlers that answer for them."""

import hashlib
import json
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace

import orjson

ROOT = "/antigravity"
"""Below this path everything is the proxy's own."""
TOKEN_HEADER = "x-antigravity-token"
MOST_BYTES = 2 * 1024 * 1024
"""How long an answer may be."""


@dataclass(frozen=True, slots=True)
class PageRequest:
    """A request that has been let in.

    path: as it was asked for, without the query. query: its parameters, decoded; of one that comes twice the last.
    headers: by lower-case names, without credentials. body: of a POST.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""

    def knows(self, etag: str) -> bool:
        """Whether whoever asks says that this version is there already."""
        return etag in [each.strip() for each in self.headers.get("if-none-match", "").split(",")]


@dataclass(frozen=True, slots=True)
class PageAnswer:
    """An answer. headers: more of them; those that keep a page safe are put on all answers."""

    status: int = 200
    content_type: str = "application/json"
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)

    @staticmethod
    def json(value: object, status: int = 200) -> "PageAnswer":
        """An answer in JSON, written so that people can read it. Raises TypeError for what is none."""
        try:
            body = orjson.dumps(value, option=orjson.OPT_INDENT_2)
        except TypeError:
            # Half a surrogate pair, for instance in what a client calls a model, is more than orjson takes.
            body = json.dumps(value, indent=2).encode()
        return PageAnswer(status, body=body)


def unless_known(request: PageRequest, answer: PageAnswer) -> PageAnswer:
    """The answer with its version, or only that it is the one which whoever asks has already."""
    if answer.status != 200:
        return answer
    etag = f'"{hashlib.blake2b(answer.body, digest_size=16).hexdigest()}"'
    if request.knows(etag):
        return PageAnswer(304, headers={"etag": etag})
    return replace(answer, headers={**answer.headers, "etag": etag})


type Handler = Callable[[PageRequest], PageAnswer | Awaitable[PageAnswer]]
"""Answers a request. What may take more than a millisecond is asynchronous: nobody waits for it but who asked."""


@dataclass(frozen=True, slots=True)
class Route:
    """What is served at a path. shared: whether other pages of this machine may read it, as they may the API."""

    handlers: Mapping[str, Handler]
    shared: bool


class Pages:
    """What is served at which path.

    token: what a POST has to show. Only a program or the proxy's own page can read it, at `/antigravity/token`.
    """

    def __init__(self) -> None:
        self.token = secrets.token_urlsafe(32)
        self._exact: dict[str, Route] = {}
        self._below: dict[str, Route] = {}
        self.add("GET", ROOT, lambda _: PageAnswer(308, "text/plain", b"", {"location": f"{ROOT}/"}))
        self.add("GET", f"{ROOT}/token", lambda _: PageAnswer.json({"token": self.token}))

    def add(self, method: str, path: str, handler: Handler, *, shared: bool = False) -> None:
        """Serve a path, or with a `*` at its end all paths that begin so. A handler for GET answers HEAD, too.

        method: GET or POST. shared: see `Route`; the same for all methods of a path.
        """
        table = self._below if path.endswith("*") else self._exact
        before = table.get(path.removesuffix("*"))
        table[path.removesuffix("*")] = Route({**(before.handlers if before else {}), method: handler}, shared)

    def find(self, path: str) -> Route | None:
        """What is served at a path: what is there exactly, else below the longest beginning of it."""
        if (found := self._exact.get(path)) is not None:
            return found
        begin = max((begin for begin in self._below if path.startswith(begin)), key=len, default=None)
        return self._below[begin] if begin is not None else None
