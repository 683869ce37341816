"""What several of the tests of modes, configuration, secrets and replay ask and look at; it has no tests of its own."""

import ipaddress
import re
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import orjson
from mitmproxy import http, io

from tests.e2e.harness import Proxy, account
from tests.support import raw
from tests.support.protocol import (
    check_anthropic_error,
    check_anthropic_json,
    check_anthropic_stream,
    check_gemini_error,
    check_gemini_json,
    check_gemini_stream,
)
from tests.upstream import (
    Call,
    Reply,
    anthropic_empty,
    anthropic_error,
    anthropic_stream,
    gemini_empty,
    gemini_error,
    gemini_stream,
)

DIALECTS = ("anthropic", "gemini")
CLIENT_KEY = "the-clients-own-key-4711"


def target(dialect: str, model: str, *, stream: bool = True) -> str:
    """Path and query of a generating request."""
    if dialect == "anthropic":
        return "/v1/messages"
    return f"/v1beta/models/{model}:" + ("streamGenerateContent?alt=sse" if stream else "generateContent")


def body(dialect: str, model: str, text: str = "hi", *, stream: bool = True, **more: Any) -> dict[str, Any]:
    """The body of a generating request."""
    if dialect == "anthropic":
        messages = [{"role": "user", "content": text}]
        return {"model": model, "max_tokens": 16, "messages": messages, "stream": stream, **more}
    return {"contents": [{"role": "user", "parts": [{"text": text}]}], **more}


def credential(dialect: str, key: str = CLIENT_KEY) -> dict[str, str]:
    """The header in which a client of this dialect shows its key."""
    return {"x-api-key" if dialect == "anthropic" else "x-goog-api-key": key}


def ask(
    base: str,
    dialect: str,
    model: str,
    text: str = "hi",
    *,
    stream: bool = True,
    headers: Mapping[str, str] | None = None,
    more: Mapping[str, Any] | None = None,
    query: str = "",
    **how: Any,
) -> raw.RawResponse:
    """Send a generating request with the client's own key; `how` goes to the raw client."""
    path = target(dialect, model, stream=stream)
    if query:
        path += ("&" if "?" in path else "?") + query
    sent = {**credential(dialect), **(headers or {})} if headers is None or "x-no-key" not in headers else dict(headers)
    sent.pop("x-no-key", None)
    return raw.request("POST", base + path, body(dialect, model, text, stream=stream, **(more or {})), sent, **how)


def read_stream(dialect: str, data: bytes) -> str:
    """The text of a stream that must be whole."""
    if dialect == "anthropic":
        message = check_anthropic_stream(data)
        assert message.ended == "complete", message.error
        return message.text
    answer = check_gemini_stream(data)
    assert answer.ended == "complete", answer.error
    return answer.text


def read_json(dialect: str, data: bytes) -> str:
    """The text of an answer that does not stream."""
    return check_anthropic_json(data).text if dialect == "anthropic" else check_gemini_json(data).text


def read_error(dialect: str, response: raw.RawResponse) -> dict[str, Any]:
    """The error of an error answer, which must be in the dialect's shape."""
    check = check_anthropic_error if dialect == "anthropic" else check_gemini_error
    return check(response.status, response.body)


def empty(dialect: str) -> Reply:
    """The 0-token answer, which heals at once."""
    return anthropic_empty() if dialect == "anthropic" else gemini_empty()


def stream(dialect: str, text: str = "Hello") -> Reply:
    """A healthy stream."""
    return anthropic_stream(text) if dialect == "anthropic" else gemini_stream(text)


def error(dialect: str, status: int, message: str, headers: Mapping[str, str] | None = None) -> Reply:
    """An error answer."""
    if dialect == "anthropic":
        kinds = {400: "invalid_request", 401: "authentication", 403: "permission", 429: "rate_limit", 529: "overloaded"}
        return anthropic_error(status, f"{kinds.get(status, 'api')}_error", message, headers=headers)
    return gemini_error(status, None, message, headers=headers)


def pairs_of_accounts(upstream: str, count: int) -> str:
    """For each of `count` tests two accounts of its own: `UPSTREAM-N-first` and `-second` serve the models `laneN-*`.

    Tests that share accounts would bench them for each other.
    """
    return "".join(
        account(f"{upstream}-{number}-{place}", upstream, models=[f"lane{number}-*"], priority=priority)
        for number in range(count)
        for priority, place in enumerate(("first", "second"))
    )


def keys_of(calls: list[Call]) -> list[str]:
    """The credential that each call presented, without its kind; several are joined."""
    return [",".join(found.partition(":")[2] for found in call.credentials) for call in calls]


def wait_for_modes(proxy: Proxy, count: int) -> None:
    """Wait until all modes of a proxy listen. Its `port` is then the regular mode's, whichever came first."""
    proxy.wait_for_log("listening at", count)
    [port] = re.findall(r"HTTP\(S\) proxy \S*listening at \S*?:(\d+)", proxy.log)
    proxy.port = int(port)


def free_port() -> int:
    """A port that nobody uses now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


def own_address() -> str | None:
    """An address of this machine that is neither a loopback nor a public one, None if it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        try:
            # Nothing is sent: connecting a datagram socket only looks up the route.
            sock.connect(("192.0.2.1", 9))
        except OSError:
            return None
        address: str = sock.getsockname()[0]
    # mitmproxy itself turns away clients with a public address.
    usable = not (ip := ipaddress.ip_address(address)).is_loopback and not ip.is_global and not ip.is_unspecified
    return address if usable else None


def saved_flows(file: Path) -> list[http.HTTPFlow]:
    """The HTTP flows of a saved file."""
    with file.open("rb") as stream:
        return [flow for flow in io.FlowReader(stream).stream() if isinstance(flow, http.HTTPFlow)]


def story(flow: http.HTTPFlow) -> dict[str, Any]:
    """What the addon keeps in a flow, which must be JSON; {} where it keeps nothing."""
    kept: dict[str, Any] = flow.metadata.get("antigravity", {})
    assert orjson.loads(orjson.dumps(kept)) == kept
    return kept


def split_roles(flows: list[http.HTTPFlow]) -> Iterator[tuple[http.HTTPFlow, list[http.HTTPFlow]]]:
    """Each client flow that became an exchange, with the flows of its attempts in their order."""
    for flow in flows:
        if story(flow).get("role") == "exchange":
            mine = [
                other
                for other in flows
                if story(other).get("role") == "attempt" and story(other)["exchange"] == story(flow)["exchange"]
            ]
            yield flow, sorted(mine, key=lambda attempt: int(story(attempt)["attempt"]))
