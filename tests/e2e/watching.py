"""An addon of a user's: it writes down which hooks are called for which flows, changes what a request says, and does
with the flow what a request's header `x-do` asks for."""

import asyncio
import json
import os
from pathlib import Path

from mitmproxy import http

SEEN = Path(os.environ["SEEN"])
HELD = Path(os.environ["SEEN"] + "-held")
GO_ON = Path(os.environ["SEEN"] + "-go-on")


def note(hook: str, flow: http.HTTPFlow) -> None:
    story = flow.metadata.get("antigravity", {})
    seen = {
        "hook": hook,
        "role": story.get("role", ""),
        "case": flow.request.headers.get("x-case", ""),
        "client": flow.client_conn.id,
        "proxyauth": flow.metadata.get("proxyauth"),
        "headers": [[name.lower(), value] for name, value in flow.request.headers.items(multi=True)],
    }
    with SEEN.open("a") as file:
        file.write(json.dumps(seen) + "\n")


async def hold(hook: str, flow: http.HTTPFlow) -> None:
    """Wait in this hook of these flows until the test lets go; `x-then: kill` kills them then."""
    role = flow.metadata.get("antigravity", {}).get("role", "passing")
    if flow.request.headers.get("x-do") != f"hold {role} {hook}":
        return
    HELD.touch()
    while not GO_ON.exists():
        await asyncio.sleep(0.02)
    if flow.request.headers.get("x-then") == "kill":
        flow.kill()


async def requestheaders(flow: http.HTTPFlow) -> None:
    note("requestheaders", flow)
    flow.request.headers.add("x-script", "once")
    if flow.request.headers.get("x-do") == "stream request":
        flow.request.stream = True
    if flow.request.headers.get("x-do") == "rewrite request":
        flow.request.stream = lambda data: data.replace(b"before", b"afterwards")
    await hold("requestheaders", flow)


async def request(flow: http.HTTPFlow) -> None:
    note("request", flow)
    if flow.request.content and b"script-counts" in flow.request.content:
        flow.request.content = flow.request.content.replace(b"script-counts", b"script-counts-on")
    await hold("request", flow)


async def responseheaders(flow: http.HTTPFlow) -> None:
    note("responseheaders", flow)
    assert flow.response is not None
    flow.response.headers.add("x-script", "once")
    if flow.request.headers.get("x-do") == "stream response":
        flow.response.stream = True
    if flow.request.headers.get("x-do") == "rewrite response":
        flow.response.stream = lambda data: data.replace(b"~", b"~~")
    await hold("responseheaders", flow)


async def response(flow: http.HTTPFlow) -> None:
    note("response", flow)
    await hold("response", flow)
