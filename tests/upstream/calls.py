"""What the faulty upstream received, and how its answer ended."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl

if TYPE_CHECKING:
    from .replies import Reply

type Ended = Literal["", "finished", "cut", "reset", "closed", "client left", "server closed", "failed"]


@dataclass(frozen=True)
class Request:
    """A complete request, as HTTP/1 or HTTP/2 brought it."""

    method: str
    target: str
    """Path and query as they came."""
    header_pairs: list[tuple[str, str]]
    """In their order, names as they were spelled."""
    body: bytes
    http_version: str


@dataclass(eq=False)
class Call:
    """One received request. Times are `time.monotonic()` seconds."""

    index: int
    """Counts from 0 since the start or the last `reset()`."""
    at: float
    """When the request was complete."""
    method: str
    path: str
    """Without the query."""
    query: str
    """Without the `?`; "" when there is none."""
    headers: dict[str, str]
    """Names in lower case; of a repeated header the last value."""
    header_pairs: list[tuple[str, str]]
    """Every header in its order, names as they were spelled (HTTP/2: with `host` for `:authority`)."""
    body: bytes
    http_version: str
    """"HTTP/1.0", "HTTP/1.1" or "HTTP/2"."""
    reply: Reply | None = field(default=None, repr=False)
    """What is played for it."""
    finished: bool = False
    """The whole answer was written, with its regular end."""
    ended: Ended = ""
    """How it ended; "" while it is still being answered."""
    ended_at: float | None = None
    closed_at: float | None = None
    """When the client closed or reset before the answer was finished."""
    sent: int = 0
    """Bytes of the body written so far, as encoded, without framing."""

    @property
    def json(self) -> Any:
        """The body, parsed."""
        return json.loads(self.body)

    @property
    def credentials(self) -> list[str]:
        """Each credential it presented, as KIND:VALUE."""
        found = []
        for name, value in self.header_pairs:
            match name.lower():
                case "x-api-key" | "x-goog-api-key" as kind:
                    found.append(f"{kind}:{value}")
                case "authorization":
                    scheme, _, token = value.partition(" ")
                    found.append(f"{scheme.lower()}:{token.strip()}")
        found += [f"key:{value}" for name, value in parse_qsl(self.query) if name == "key"]
        return found

    @property
    def credential(self) -> str:
        """The credentials joined by ",": one normally, "" when none was presented."""
        return ",".join(self.credentials)

    def describe(self) -> str:
        """One line for people, without secrets: credentials keep their last four characters."""
        shown = ",".join(mask(credential) for credential in self.credentials) or "no credential"
        reply = self.reply.name if self.reply is not None else ""
        return f"#{self.index} {self.method} {self.path} {self.http_version} {shown} plays {reply or 'a reply'}"


def mask(credential: str) -> str:
    """KIND:VALUE with all but the last four characters of VALUE hidden; a short value is hidden whole."""
    kind, _, value = credential.partition(":")
    return f"{kind}:…{value[-4:] if len(value) > 8 else ''}"
