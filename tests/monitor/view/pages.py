"""Pages of the content view, as mitmproxy would ask for them."""

from collections.abc import Mapping
from typing import Any, Literal

from antigravity_healing.monitor.view.content_view import LLMExchange
from antigravity_healing.proxy.streams.flow_story import METADATA
from antigravity_healing.wire.json.value import dump
from mitmproxy import http
from mitmproxy.contentviews import Metadata
from mitmproxy.test import tflow

ANTHROPIC = "/v1/messages"
GEMINI = "/v1beta/models/gemini-3-pro-preview:streamGenerateContent?alt=sse"
PATHS = {"anthropic": ANTHROPIC, "gemini": GEMINI}


def flow_of(
    path: str = ANTHROPIC, body: bytes = b"", answer: bytes | None = b"", story: Mapping[str, Any] | None = None
) -> http.HTTPFlow:
    """A flow as it comes from a file."""
    flow = tflow.tflow(resp=answer is not None)
    flow.request.method, flow.request.path, flow.request.content = "POST", path, body
    if answer is not None:
        assert flow.response is not None
        flow.response.content = answer
    flow.live = False
    if story is not None:
        flow.metadata[METADATA] = story
    return flow


def page(flow: http.HTTPFlow, side: Literal["request", "response"] = "request", view: LLMExchange | None = None) -> str:
    """What a person sees."""
    message = flow.request if side == "request" else flow.response
    assert message is not None
    metadata = Metadata(flow=flow, http_message=message)
    return (view or LLMExchange()).prettify(message.raw_content or b"", metadata)


def asked(value: Any, path: str = ANTHROPIC) -> str:
    """The page of a request that says this."""
    return page(flow_of(path, dump(value)))
