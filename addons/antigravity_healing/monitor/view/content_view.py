"""`LLM exchange` among mitmproxy's content views.

It runs on the proxy's event loop, so its work is bounded: it looks at no body to say whether it is meant, and reads of
long ones the end, or both ends. It needs nothing but a flow, also one from a file.
"""

import logging
from collections import OrderedDict
from collections.abc import Iterator
from typing import NamedTuple
from urllib.parse import parse_qsl

from mitmproxy import contentviews, http
from mitmproxy.contentviews import Contentview, Metadata, SyntaxHighlight

from antigravity_healing.monitor.view import said
from antigravity_healing.monitor.view.layout import Page, plain_line
from antigravity_healing.monitor.view.reading import Request, Response, read_request, read_response
from antigravity_healing.monitor.view.story import story_lines
from antigravity_healing.proxy.streams.flow_story import story_of
from antigravity_healing.wire.dialect import Dialect
from antigravity_healing.wire.dialects import DIALECTS
from antigravity_healing.wire.http.headers import by_name

logger = logging.getLogger(__name__)

_SHOWN = ("generate", "count_tokens")
_LONGEST_PATH = 4096
# An upstream's address may have some folders before the API's own path.
_MOST_FOLDERS = 6
_KEPT_PAGES = 32
# After so many no other turn begins: the story and the settings stand before them.
_LINES_OF_TURNS = 300
_OURS, _NOT_OURS = 2.0, -1.0


class _Key(NamedTuple):
    """What a body's page depends on. The hash is that of the bytes, by a secret of this process."""

    dialect: str
    side: str
    status: int
    size: int
    hash: int


class LLMExchange(Contentview):
    """What became of an exchange, then what was said in it."""

    def __init__(self) -> None:
        self._pages: OrderedDict[_Key, list[str]] = OrderedDict()

    @property
    def name(self) -> str:
        """As people choose it."""
        return "LLM exchange"

    @property
    def syntax_highlight(self) -> SyntaxHighlight:
        """None: it is text."""
        return "none"

    def render_priority(self, data: bytes, metadata: Metadata) -> float:
        """Above those of all formats for what this proxy, or a path, tells to be an exchange; nothing is parsed."""
        try:
            flow, message = metadata.flow, metadata.http_message
            if not isinstance(flow, http.HTTPFlow) or message is None:
                return _NOT_OURS
            return _OURS if story_of(flow) or dialect_of(flow) is not None else _NOT_OURS
        except Exception:
            logger.debug("no priority could be told", exc_info=True)
            return _NOT_OURS

    def prettify(self, data: bytes, metadata: Metadata) -> str:
        """The page; never raises."""
        flow = metadata.flow if isinstance(metadata.flow, http.HTTPFlow) else None
        page = Page()
        try:
            if flow is not None:
                page.add(story_lines(story_of(flow), flow.response))
                page.add(_beside(flow))
        except Exception:
            logger.debug("a story could not be shown", exc_info=True)
            page.add(["(the story could not be read)"])
        if page.lines:
            page.add([""])
        page.add(self._body_lines(data, flow, metadata.http_message))
        return page.text

    def _body_lines(self, data: bytes, flow: http.HTTPFlow | None, message: http.Message | None) -> list[str]:
        try:
            if flow is None or message is None or not data:
                return list(said.raw_lines(data, "")) if data else [_why_empty(flow, message)]
            dialect = dialect_of(flow)
            is_request = message is flow.request
            status = message.status_code if isinstance(message, http.Response) else 0
            name = dialect.name if dialect is not None else ""
            key = _Key(name, "request" if is_request else "response", status, len(data), hash(data))
            if (lines := self._pages.get(key)) is None:
                lines = self._pages[key] = Page(_lines(dialect, data, is_request)).lines
                if len(self._pages) > _KEPT_PAGES:
                    self._pages.popitem(last=False)
            else:
                self._pages.move_to_end(key)
            return lines if is_request or not story_of(flow).get("body_truncated") else [_TRUNCATED, *lines]
        except Exception:
            logger.debug("a body could not be shown", exc_info=True)
            return list(said.raw_lines(data, "it could not be read"))


_TRUNCATED = "(only the beginning of this body was kept: [flows] max_body_bytes)"


def register() -> None:
    """Put the view among mitmproxy's, once."""
    if not isinstance(contentviews.registry.get(LLMExchange().name), LLMExchange):
        contentviews.add(LLMExchange())


class ContentView:
    """The addon that brings the view."""

    def load(self, loader: object) -> None:
        """It is there from the start."""
        register()


def dialect_of(flow: http.HTTPFlow) -> Dialect | None:
    """The dialect that a flow's own request speaks, None where that is not known."""
    path, _, query = flow.request.path[:_LONGEST_PATH].partition("?")
    params = dict(parse_qsl(query, keep_blank_values=True))
    for _ in range(_MOST_FOLDERS):
        for dialect in DIALECTS.values():
            meant = dialect.meant(flow.request.method, path, by_name(flow.request.headers.fields)) or path
            operation = dialect.operation(flow.request.method, meant, params)
            if operation is not None and operation.kind in _SHOWN:
                return dialect
        start = path.find("/", 1)
        if start < 0:
            break
        path = path[start:]
    return None


def _beside(flow: http.HTTPFlow) -> Iterator[str]:
    """What a page of the request has to tell of an answer that has no page of its own."""
    if flow.error is not None:
        yield f"broke     {plain_line(flow.error.msg)}"
    if flow.response is None:
        yield "answer    none has come" + ("" if flow.live or flow.error else ", or it was not kept")
    elif flow.response.raw_content is None:
        yield f"answer    {flow.response.status_code}; {_why_empty(flow, flow.response)}"


def _why_empty(flow: http.HTTPFlow | None, message: http.Message | None) -> str:
    if flow is None or message is None:
        return "It has no body."
    length = message.headers.get("content-length", "")
    if flow.live and message is flow.response and flow.error is None:
        return "Its body is still coming."
    if message.stream or length not in ("", "0"):
        return "Its body was not kept: it streamed by, or was longer than what is kept ([flows] max_body_bytes)."
    return "It has no body."


def _lines(dialect: Dialect | None, data: bytes, is_request: bool) -> Iterator[str]:
    if dialect is None:
        yield from said.raw_lines(data, "")
    elif is_request:
        request = read_request(dialect, data)
        yield from said.raw_lines(data, "it could not be read") if request is None else _request_lines(request)
    else:
        yield from _response_lines(dialect, data)


def _request_lines(request: Request) -> Iterator[str]:
    yield from said.asked_lines(request.asked)
    if request.flaw:
        yield f"flaw      {plain_line(request.flaw)}"
    calls = said.call_names(request.turns)
    total = request.earlier + len(request.turns)
    shown = used = 0
    for turn in reversed(request.turns):
        if used > _LINES_OF_TURNS:
            break
        # Where the number of all is not known, they are counted from the end.
        title = f"[-{shown + 1}] " if request.unseen else f"[{total - shown}/{total}] "
        lines = list(said.turn_lines(turn, title, said.NEWEST if shown < 2 else said.EARLIER, calls))
        shown, used = shown + 1, used + len(lines) + 1
        yield ""
        yield from lines
    if request.unseen:
        yield from ("", f"… {said.size(request.unseen)} of earlier messages")
    elif left := total - shown:
        yield from ("", f"… {left:,} earlier message{'' if left == 1 else 's'}")


def _response_lines(dialect: Dialect, data: bytes) -> Iterator[str]:
    try:
        response = read_response(dialect, data)
    except ValueError as error:
        yield from said.raw_lines(data, f"it could not be read: {plain_line(str(error))}")
        return
    if response is None or _says_nothing(response):
        yield from said.raw_lines(data, "")
        return
    if response.flaw:
        yield f"flaw      {plain_line(response.flaw)}"
    if response.skipped:
        yield f"left out  {said.size(response.skipped)} in the middle were not read"
    yield from said.answer_lines(response.answer, whole=response.whole)


def _says_nothing(response: Response) -> bool:
    """Whether it is no answer to a conversation: a count of tokens, say."""
    answer = response.answer
    return response.whole and not (answer.turns or answer.stop or answer.error or answer.model)
