"""Makes the recorded flows in flows/ again: `uv run python -m tests.record_flows`.

Real exchanges of a raw client with the faulty upstream, through the configuration of the demonstration. What differs
from one run to the next for no reason, the ports, is made the same; times and ids stay as they were.
"""

import argparse
import sys
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from mitmproxy import http, io
from mitmproxy.io import FlowWriter

from tests.e2e.harness import Proxy
from tests.support import raw
from tests.support.places import ROOT
from tests.upstream import (
    Reply,
    Upstream,
    anthropic_empty,
    anthropic_error,
    anthropic_stream,
    gemini_chunk,
    gemini_event,
    gemini_reply,
    gemini_stream,
)
from tests.upstream.anthropic import SIGNATURE

FOLDER = ROOT / "flows"
CONFIG = "demo.toml"
CLIENTS = "clients.flow"
UPSTREAM = "upstream.flow"
CAPTURED = "captured.flow"
METADATA = "antigravity"

NOWHERE = ("127.0.0.1", 9)
"""The upstreams' address in the demonstration's configuration, where nothing listens."""
_PROXY = ("127.0.0.1", 8080)
_CLIENT = ("127.0.0.1", 50000)
_TIMEOUT_S = 30.0


@dataclass(frozen=True)
class Scene:
    """A client's request and what upstream answers to its attempts, in their order."""

    name: str
    path: str
    body: dict[str, Any]
    replies: tuple[Reply, ...]


def _anthropic(name: str, model: str, question: str, *replies: Reply, stream: bool = True) -> Scene:
    messages = [{"role": "user", "content": question}]
    return Scene(
        name,
        "/v1/messages?beta=true",
        {"model": model, "max_tokens": 256, "stream": stream, "messages": messages},
        replies,
    )


def _gemini(name: str, model: str, question: str, *replies: Reply) -> Scene:
    contents = [{"role": "user", "parts": [{"text": question}]}]
    return Scene(name, f"/v1beta/models/{model}:streamGenerateContent?alt=sse", {"contents": contents}, replies)


_RATE_LIMITED = anthropic_error(
    429, "rate_limit_error", "This request would exceed your organization's rate limit. Please try again later."
)
_SPOKEN_BY_GEMINI = gemini_stream("Saturn is the planet with the rings.", pieces=10)
_DIES_EARLY = gemini_reply([gemini_event(gemini_chunk([{"text": ""}]))], end="cut")

SCENES = (
    _anthropic(
        "429, then an answer",
        "claude-sonnet-4-5",
        "Name the largest planet.",
        _RATE_LIMITED,
        anthropic_stream("Jupiter is the largest planet."),
    ),
    _anthropic(
        "200 OK with 0 tokens, then an answer; the model is mapped",
        "claude-3-5-haiku-latest",
        "Name the smallest planet.",
        anthropic_empty(model="claude-haiku-4-5"),
        anthropic_stream("Mercury is the smallest planet.", model="claude-haiku-4-5"),
    ),
    _gemini(
        "a stream that dies before its content, then an answer",
        "gemini-3-pro-preview",
        "Name the hottest planet.",
        _DIES_EARLY,
        gemini_stream("Venus is the hottest planet."),
    ),
    _anthropic(
        "nothing goes wrong",
        "claude-sonnet-4-5",
        "Name the third planet.",
        anthropic_stream("Earth is the third planet.", thinking="Mercury, Venus, Earth."),
    ),
    _anthropic(
        "translated for Gemini; a whole answer, of which a stream that is cut near its end was to become one",
        "claude-opus-4-5",
        "Name the planet with the rings.",
        _SPOKEN_BY_GEMINI.first(len(_SPOKEN_BY_GEMINI.chunks) - 1),
        _SPOKEN_BY_GEMINI,
        stream=False,
    ),
)

_HISTORY = [
    {"role": "user", "content": "Name the smallest planet."},
    {
        "role": "assistant",
        "content": [
            {"type": "thinking", "thinking": "Pluto is none (edited by the client).", "signature": SIGNATURE},
            {"type": "text", "text": "Mercury."},
        ],
    },
    {"role": "user", "content": "And the coldest?"},
]
_INVALID = anthropic_error(
    400, "invalid_request_error", "messages.1.content.0: Invalid `signature` in `thinking` block"
)
POISONED = Scene(
    "a history that upstream refuses for a signature, whatever is tried; replayed later, it is healed",
    "/v1/messages?beta=true",
    {"model": "claude-sonnet-4-5", "max_tokens": 256, "stream": True, "messages": _HISTORY},
    (_INVALID, anthropic_stream("Uranus is the coldest planet.")),
)
"""Its replies are those to its replay."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.record_flows", description="Makes flows/*.flow again.")
    parser.add_argument("--into", type=Path, default=FOLDER, help="the folder to write to (default: %(default)s)")
    options = parser.parse_args(arguments)
    options.into.mkdir(parents=True, exist_ok=True)
    for name, flows in record().items():
        file = options.into / name
        write(file, flows)
        print(f"{file}: {len(flows)} flows, {file.stat().st_size} bytes")
    return 0


def record() -> dict[str, list[http.HTTPFlow]]:
    """Play all scenes; gives the flows of the clients, those of their attempts, and what was captured, by file name."""
    with tempfile.TemporaryDirectory(prefix="record-flows-") as temporary, Upstream() as upstream:
        folder = Path(temporary)
        host, port = NOWHERE
        config = (FOLDER / CONFIG).read_text("utf-8").replace(f"http://{host}:{port}", upstream.url)
        saved = folder / "saved.flow"
        with Proxy(folder / "proxy", config, options={"save_stream_file": str(saved)}) as proxy:
            for scene in SCENES:
                _play(scene, upstream, proxy)
        captured = _capture(upstream, folder / "capturing", config)
        flows = [*_read(saved), *_replay(upstream, folder / "replaying", config, captured)]
        failed = _read(captured)
    clients = [flow for flow in flows if _role(flow) == "exchange"]
    attempts = [flow for flow in flows if _role(flow) == "attempt"]
    for flow in (*clients, *failed, *attempts):
        _settle_ports(flow, NOWHERE if _role(flow) == "attempt" else _PROXY)
    return {CLIENTS: clients, UPSTREAM: attempts, CAPTURED: failed}


def _capture(upstream: Upstream, folder: Path, config: str) -> Path:
    """Have the poisoned conversation fail; gives the file in which it was captured by itself."""
    with Proxy(folder, config) as proxy:
        upstream.play(*[_INVALID] * 3)
        response = raw.request("POST", proxy.url + POISONED.path, POISONED.body, _headers(POISONED))
        assert (response.status, response.body) == (400, _INVALID.body)
        assert not upstream.unplayed
    [file] = (folder / "home" / "captured").iterdir()
    return file


def _replay(upstream: Upstream, folder: Path, config: str, captured: Path) -> list[http.HTTPFlow]:
    """Replay what was captured; gives the flows of the replay's attempts."""
    upstream.play(*POISONED.replies)
    saved = folder / "saved.flow"
    args = ["-C", str(captured), "-w", str(saved)]
    replay = Proxy(folder, config, args=args).start(wait=False)
    assert replay.wait_exit() == 0, replay.log
    old = {flow.id for flow in _read(captured)}
    return [flow for flow in _read(saved) if flow.id not in old]


def _read(file: Path) -> list[http.HTTPFlow]:
    return [flow for flow in io.read_flows_from_paths([str(file)]) if isinstance(flow, http.HTTPFlow)]


def _role(flow: http.HTTPFlow) -> str:
    return str(flow.metadata[METADATA]["role"])


def write(file: Path, flows: Sequence[http.HTTPFlow]) -> None:
    """Write a flow file."""
    with file.open("wb") as stream:
        writer = FlowWriter(stream)
        for flow in flows:
            writer.add(flow)


def _play(scene: Scene, upstream: Upstream, proxy: Proxy) -> None:
    upstream.play(*scene.replies)
    response = raw.request("POST", proxy.url + scene.path, scene.body, _headers(scene), timeout=_TIMEOUT_S)
    tries = len(scene.replies)
    assert response.status == 200, f"{scene.name}: {response.status} {response.body!r}"
    assert response.ended == "complete", f"{scene.name}: {response.ended}"
    assert response.header("x-healing-attempts") == str(tries), f"{scene.name}: {response.headers}"
    assert response.header("x-healing-outcome") == ("healed" if tries > 1 else "clean"), scene.name
    assert not upstream.unplayed, scene.name


def _headers(scene: Scene) -> dict[str, str]:
    """A credential as any client sends one, among others; the flows must not show it."""
    headers = {"user-agent": "demonstration", "x-api-key": "key-of-the-client-0123456789"}
    return {**headers, **({"anthropic-version": "2023-06-01"} if scene.path.startswith("/v1/") else {})}


def _settle_ports(flow: http.HTTPFlow, target: tuple[str, int]) -> None:
    """Give a flow ports that are the same in each recording."""
    flow.request.host, flow.request.port = target
    flow.request.host_header = f"{target[0]}:{target[1]}"
    flow.client_conn.peername, flow.client_conn.sockname = _CLIENT, _PROXY
    if flow.server_conn.address is not None:
        flow.server_conn.address = flow.server_conn.peername = target
        flow.server_conn.sockname = _CLIENT


if __name__ == "__main__":
    sys.exit(main())
