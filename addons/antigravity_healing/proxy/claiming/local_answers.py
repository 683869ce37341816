"""What is asked of the proxy itself: how it is, whether it is there, which models it has."""

from collections.abc import Callable, Mapping

from mitmproxy import http

from antigravity_healing.proxy.claiming.claims import Asked
from antigravity_healing.proxy.claiming.own_paths import is_own
from antigravity_healing.proxy.claiming.state import State
from antigravity_healing.proxy.guarding import refusals
from antigravity_healing.proxy.guarding.refusals import json_response
from antigravity_healing.wire.dialect import Dialect
from antigravity_healing.wire.json.value import dump

type Health = Callable[[State], Mapping[str, object]]
"""Tells how the proxy is, without secrets."""


class LocalAnswers:
    """Answers requests that need no upstream."""

    def __init__(self, state: State, health: Health) -> None:
        self._state = state
        self._health = health

    def answer(self, method: str, path: str, asked: Asked | None) -> http.Response | None:
        """The answer to a request to the proxy itself; None where an upstream has to be asked, or nothing is there."""
        if asked is not None and asked.operation.kind == "list_models" and self._is_all_translated(asked.dialect):
            return json_response(200, dump(asked.dialect.model_list(self._state.routes.names())))
        match method, path:
            case "GET", "/health":
                return json_response(200, dict(self._health(self._state)))
            case "HEAD", "/" | "/api/hello" | "/health":
                return http.Response.make(200, b"", {"content-type": "application/json"})
        if is_own(path.encode("utf-8", "surrogateescape")):
            return _elsewhere(method)
        return None

    def _is_all_translated(self, dialect: Dialect) -> bool:
        """Whether a client of this dialect is served by upstreams of others only: none has a list for it."""
        groups = self._state.groups
        if groups.speaking(dialect.name).accounts:
            return False
        return any(groups.at(upstream).accounts for upstream in self._state.routes.upstreams())


def _elsewhere(method: str) -> http.Response:
    """The answer where one of the proxy's own pages is asked for among requests that are flows."""
    if method not in ("GET", "HEAD", "POST"):
        return refusals.refusal(None, 405, "The proxy's own pages know GET, HEAD and POST.")
    told = "The proxy's own pages are served on a connection that begins with them, in plain HTTP/1.1."
    return refusals.refusal(None, 421, told)
