"""What the tests of streams share: asking in either dialect, seeing what came, proxies with their own settings."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import anthropic
from google import genai
from google.genai import errors, types

from tests.e2e.conftest import Lane
from tests.e2e.harness import Proxy, account, upstream
from tests.support import raw
from tests.support.protocol import check_anthropic_stream, check_gemini_stream
from tests.support.protocol.strict import Ended
from tests.support.raw import RawResponse
from tests.support.sdk import anthropic_client, gemini_client
from tests.upstream import (
    Reply,
    Upstream,
    anthropic_events,
    anthropic_reply,
    anthropic_stream,
    gemini_events,
    gemini_reply,
    gemini_stream,
)

TEXT = "Hello wo"
"""What `begun` says."""
BROKEN = ("cut", "reset")
"""How a broken connection ends; a Gemini client's is reset where the system tells whether all has arrived."""
END_MARKER = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'
SDK_ERRORS = (anthropic.APIError, errors.APIError)
MANY_RETRIES = "[retry]\nspare_retries = 1000000\n"
"""Lifts the allowance that one process has: its tests must not use it up for each other."""


@dataclass(frozen=True)
class Seen:
    """What a client saw of a stream, in words that fit both dialects. Made by the strict checkers only."""

    ended: Ended
    text: str
    thinking: str
    tools: list[tuple[str, Any]]
    stop: str | None
    error: dict[str, Any] | None
    keep_alives: int


def seen(dialect: str, body: bytes, *, allow_cut: bool = False) -> Seen:
    """Check a streamed body and tell what is in it."""
    if dialect == "anthropic":
        a = check_anthropic_stream(body, allow_cut=allow_cut)
        return Seen(a.ended, a.text, a.thinking, a.tools, a.stop_reason, a.error, a.pings)
    g = check_gemini_stream(body, allow_cut=allow_cut)
    tools: list[tuple[str, Any]] = list(g.calls)
    return Seen(g.ended, g.text, g.thoughts, tools, g.finish_reason or g.block_reason, g.error, g.keep_alives)


def seen_broken(dialect: str, response: RawResponse) -> Seen:
    """What a client saw of a stream that failed after its content: its connection breaks, Gemini's behind an error."""
    assert response.status == 200
    assert response.ended in BROKEN
    view = seen(dialect, response.body, allow_cut=True)
    assert (view.ended, view.stop) == ("cut" if dialect == "anthropic" else "error", None)
    return view


def ask(lane: Lane, *, stream: bool = True, sse: bool = True, read: raw.Read = None, text: str = "Hi") -> RawResponse:
    """Send the lane's question with the raw client."""
    if lane.dialect == "anthropic":
        question: dict[str, Any] = {
            "model": lane.model,
            "max_tokens": 100,
            "stream": stream,
            "messages": [{"role": "user", "content": text}],
        }
        target = "/v1/messages"
    else:
        question = {"contents": [{"role": "user", "parts": [{"text": text}]}]}
        verb = ("streamGenerateContent?alt=sse" if sse else "streamGenerateContent") if stream else "generateContent"
        target = f"/v1beta/models/{lane.model}:{verb}"
    return raw.request("POST", lane.proxy.url + target, question, {"x-api-key": "client-key"}, read=read)


def ask_sdk(lane: Lane, text: str = "Hi") -> str:
    """The text of a streamed answer as the dialect's real SDK reads it; raises what the SDK raises."""
    if lane.dialect == "anthropic":
        with (
            anthropic_client(lane.proxy.url) as client,
            client.messages.stream(
                model=lane.model, max_tokens=100, messages=[{"role": "user", "content": text}]
            ) as stream,
        ):
            return "".join(stream.text_stream)
    # Held by a name: a client that is collected closes its connections, and threads may each make one here.
    client_of_google = google(lane.proxy.url)
    chunks = client_of_google.models.generate_content_stream(model=lane.model, contents=text)
    return "".join(text_of(chunk) for chunk in chunks)


@lru_cache
def google(url: str) -> genai.Client:
    """Google's client, kept: it takes longer to make than most requests take."""
    return gemini_client(url)


def text_of(answer: types.GenerateContentResponse) -> str:
    """The visible text of a Gemini answer, without the warnings that `.text` gives for other parts."""
    contents = [candidate.content or types.Content() for candidate in answer.candidates or []]
    return "".join(part.text or "" for content in contents for part in content.parts or [] if not part.thought)


def stream_for(lane: Lane, text: str = "Hello") -> Reply:
    """A healthy stream in the lane's dialect."""
    return anthropic_stream(text) if lane.dialect == "anthropic" else gemini_stream(text)


def reply_of(lane: Lane, chunks: Sequence[bytes]) -> Reply:
    """A stream of these bytes, with the headers of the lane's dialect."""
    return anthropic_reply(chunks) if lane.dialect == "anthropic" else gemini_reply(chunks)


def begun(lane: Lane) -> Reply:
    """A stream that has said TEXT and no more."""
    if lane.dialect == "anthropic":
        return reply_of(lane, anthropic_events("Hello world", pieces=3)[:4])
    return reply_of(lane, gemini_events("Hello world", pieces=3)[:2])


class OwnLanes:
    """A proxy with settings of its own and its faulty upstream; `lane` gives accounts that nobody has used.

    settings: TOML for the end of the configuration. A lane's model is DIALECT-laneNNN-ROUTE, so that
    `[models]` can give each route its own `peek`.
    """

    def __init__(self, folder: Path, settings: str, lanes: int = 40) -> None:
        self.upstream = Upstream()
        self._folder, self._settings, self._lanes = folder, settings, lanes
        self._numbers = count()

    def __enter__(self) -> Self:
        self.upstream.start()
        accounts = "".join(
            account(f"{dialect}{number}{place}", dialect, models=[f"{dialect}-lane{number:03}-*"], priority=priority)
            for dialect in ("anthropic", "gemini")
            for number in range(self._lanes)
            for priority, place in enumerate(("first", "second"))
        )
        places = "".join(upstream(dialect, dialect, self.upstream.url) for dialect in ("anthropic", "gemini"))
        self.proxy = Proxy(self._folder, accounts + places + MANY_RETRIES + self._settings)
        self.proxy.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            self.proxy.__exit__(kind, error, trace)
        finally:
            self.upstream.close()

    def lane(self, dialect: str, route: str = "x", *, reset: bool = True) -> Lane:
        """A fresh lane; what earlier tests planned is forgotten, unless `reset` is False."""
        if reset:
            self.upstream.reset()
        number = next(self._numbers)
        assert number < self._lanes, "more tests than lanes"
        names = (f"{dialect}{number}first", f"{dialect}{number}second")
        return Lane(self.proxy, self.upstream, dialect, f"{dialect}-lane{number:03}-{route}", names)
