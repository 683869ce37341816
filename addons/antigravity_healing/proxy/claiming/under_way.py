"""Which requests of clients are under way, and what is told to those that come when the proxy is about to end."""

from collections.abc import Iterator
from typing import Protocol
from weakref import WeakSet

from mitmproxy import http
from mitmproxy.connection import Client

from antigravity_healing.policy.exchange.delivery import COME_AGAIN_S
from antigravity_healing.proxy.guarding.refusals import refusal
from antigravity_healing.wire.dialect import Dialect


class Request(Protocol):
    """A request that may be under way."""

    @property
    def under_way(self) -> bool:
        """Whether its answer is still to come, wholly or in part."""


class UnderWay:
    """The requests for an API. Replays are none of them: whoever ends a replay means it.

    closing: whether the proxy is to end when these are over. ending_now: whether it ends now, and they with it.
    clients: whose requests they are, or were.
    """

    def __init__(self) -> None:
        self.closing = self.ending_now = False
        self.clients: WeakSet[Client] = WeakSet()
        self._requests: WeakSet[Request] = WeakSet()

    def begun(self, request: Request, client: Client) -> None:
        """A request has been let in."""
        self._requests.add(request)
        self.clients.add(client)

    def __iter__(self) -> Iterator[Request]:
        return iter([request for request in self._requests if request.under_way])

    def refusal(self, dialect: Dialect | None) -> http.Response | None:
        """The answer to a request that comes too late, None while the proxy is to go on."""
        if not self.closing:
            return None
        message = "The proxy is shutting down and takes no new requests."
        return refusal(dialect, 503, message, retry_after_s=COME_AGAIN_S)
