"""mitmweb with the addon, driven through its HTTP API."""

import asyncio
import re
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import orjson
from tornado.httpclient import HTTPRequest
from tornado.websocket import websocket_connect

from tests.e2e.harness import Proxy
from tests.e2e.test_modes_helpers import free_port
from tests.support import raw
from tests.support.patience import PATIENCE_S
from tests.upstream import Upstream

_HEAD = re.compile(r"^\[[0-9:.]+\](?:\[[^]]*\])? ")


class CommandFailedError(Exception):
    """A command was refused; the text is what a person sees."""


@dataclass(frozen=True)
class Web:
    """A mitmweb and its HTTP API."""

    proxy: Proxy
    upstream: Upstream
    port: int

    def flows(self) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = orjson.loads(self._ask("GET", "/flows").body)
        return found

    def client_flow(self, model: str) -> dict[str, Any]:
        """The flow of the request that a client sent to the proxy."""
        [flow] = [
            flow for flow in self.flows() if flow["request"]["port"] == self.proxy.port and self.asks(flow, model)
        ]
        return flow

    def attempts(self, model: str) -> list[dict[str, Any]]:
        flows = self.flows()
        return [flow for flow in flows if flow["request"]["port"] == self.upstream.port and self.asks(flow, model)]

    def content(self, flow: dict[str, Any], message: str = "response") -> bytes:
        return self._ask("GET", f"/flows/{flow['id']}/{message}/content.data").body

    def page(self, flow: dict[str, Any], message: str = "response", view: str = "auto") -> dict[str, Any]:
        """A message as the page shows it: its `text`, and the `view_name` of what made it."""
        path = f"/flows/{flow['id']}/{message}/content/{quote(view)}.json?lines=512"
        found: dict[str, Any] = orjson.loads(self._ask("GET", path).body)
        return found

    def outcome(self, model: str) -> str | None:
        """What the answer on the client's flow says of itself."""
        response = self.client_flow(model).get("response") or {"headers": []}
        return dict(response["headers"]).get("X-Healing-Outcome")

    def replay(self, flow: dict[str, Any]) -> None:
        """Press the button."""
        assert self._ask("POST", f"/flows/{flow['id']}/replay").status == 200

    def command(self, name: str, *args: str) -> Any:
        """Run a command as the command bar does, and give what it returned. Raises CommandFailedError."""
        answer = orjson.loads(self._ask("POST", f"/commands/{name}", {"arguments": args}).body)
        if "error" in answer:
            raise CommandFailedError(answer["error"])
        return answer["value"]

    def events(self) -> list[str]:
        """The lines of the event log, without time and client."""
        found = orjson.loads(self._ask("GET", "/events").body)
        # Alerts are not among the levels that it can show.
        shown = [event["message"] for event in found if event["level"] in ("info", "warn", "error")]
        return [_HEAD.sub("", message, count=1) for message in shown]

    def wait_for_event(self, text: str, count: int = 1) -> str:
        """Wait until the event log shows `count` lines with a text, and give the last of them."""
        self.wait_for(lambda: sum(text in line for line in self.events()) >= count)
        return [line for line in self.events() if text in line][-1]

    def wait_for(self, condition: Callable[[], object]) -> None:
        end = time.monotonic() + PATIENCE_S
        while not condition():
            assert time.monotonic() < end, self.proxy.log
            time.sleep(0.05)

    def watch(self, act: Callable[[], object], until: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        """Do something while the page is open, and give what it is told up to a message that is waited for."""
        return asyncio.run(self._watch(act, until))

    async def _watch(self, act: Callable[[], object], until: Callable[[dict[str, Any]], bool]) -> list[dict[str, Any]]:
        url, headers = f"ws://127.0.0.1:{self.port}/updates", {"authorization": "Bearer open"}
        page = await websocket_connect(HTTPRequest(url, headers=headers))
        told: list[dict[str, Any]] = []
        try:
            acting = asyncio.ensure_future(asyncio.to_thread(act))
            async with asyncio.timeout(15):
                while not told or not until(told[-1]):
                    message = await page.read_message()
                    assert message is not None, "the page was closed"
                    told.append(orjson.loads(message))
            await acting
        finally:
            page.close()
        return told

    def asks(self, flow: dict[str, Any], model: str) -> bool:
        """Whether a flow's request is for a model."""
        return model in flow["request"]["path"] or model.encode() in self.content(flow, "request")

    def _ask(self, method: str, path: str, content: Any = None) -> raw.RawResponse:
        # Tornado wants the same token as cookie and as header with whatever changes something.
        headers = {"authorization": "Bearer open", "cookie": "_mitmproxy_xsrf=token", "x-xsrftoken": "token"}
        body = orjson.dumps(content) if content is not None else b"" if method == "POST" else None
        headers |= {"content-type": "application/json"} if content is not None else {}
        return raw.request(method, f"http://127.0.0.1:{self.port}{path}", body, headers)


@contextmanager
def running_web(
    folder: Path, server: Upstream, config: str | None, args: Sequence[str] = (), *, addon: bool = True
) -> Iterator[Web]:
    """A mitmweb, as a context manager. addon: False leaves the addon out."""
    port = free_port()
    options = {"web_open_browser": "false", "web_port": str(port), "web_password": "open"}
    with Proxy(folder, config, options=options, args=args, tool="mitmweb", addon=addon) as proxy:
        proxy.wait_for_log("Web server listening at")
        yield Web(proxy, server, port)
