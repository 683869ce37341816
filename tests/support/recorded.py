"""Recorded exchanges with the real APIs, which lie beside the project and are not part of it."""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

import pytest

FOLDER = Path(__file__).parents[2].parent / "shared" / "recorded"

# They describe the body as it was on the wire then, not as it is served again.
_OUTDATED = {"content-length", "content-encoding", "transfer-encoding"}


@dataclass(frozen=True)
class Exchange:
    """One request and its response."""

    name: str
    dialect: Literal["anthropic", "gemini"]
    method: str
    host: str
    path: str
    """Without the query."""
    query: str
    """Without its `?`; may be empty."""
    request_headers: dict[str, str]
    request_json: Any
    request_body: bytes
    status: int
    response_headers: dict[str, str]
    response_body: bytes

    @property
    def target(self) -> str:
        """Path and query, as in a request line."""
        return f"{self.path}?{self.query}" if self.query else self.path

    @property
    def is_stream(self) -> bool:
        """Whether the response is Server-Sent Events."""
        return self.response_headers.get("content-type", "").startswith("text/event-stream")


def recorded_params(keep: Callable[[Exchange], bool] = lambda _: True) -> list[pytest.ParameterSet]:
    """Parameters for `pytest.mark.parametrize`, one for each exchange that `keep` accepts."""
    if not RECORDED:
        why = "recorded traffic is not here: ../shared/recorded"
        return [pytest.param(None, marks=pytest.mark.skip(reason=why), id="none")]
    kept = [pytest.param(exchange, id=exchange.name) for exchange in RECORDED if keep(exchange)]
    if not kept:
        raise ValueError("no recorded exchange is like that: the test would never run")
    return kept


def _load(file: Path) -> Exchange:
    raw = json.loads(file.read_text(encoding="utf-8"))
    request, response = raw["request"], raw["response"]
    url = urlsplit(request["url"])
    host = url.hostname or ""
    return Exchange(
        name=file.stem,
        dialect="anthropic" if host.endswith("anthropic.com") else "gemini",
        method=request["method"],
        host=host,
        path=url.path,
        query=url.query,
        request_headers=_headers(request["headers"]),
        request_json=request.get("json"),
        request_body=_compact(request["json"]) if "json" in request else b"",
        status=response["status"],
        response_headers=_headers(response["headers"]),
        response_body=response["text"].encode() if "text" in response else _compact(response["json"]),
    )


def _headers(headers: dict[str, str]) -> dict[str, str]:
    return {name.lower(): value for name, value in headers.items() if name.lower() not in _OUTDATED}


def _compact(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()


RECORDED: list[Exchange] = [_load(file) for file in sorted(FOLDER.glob("*.json"))]
