"""Two addons of a user's for the matrix: one that streams every answer, one that holds every flow like a person."""

import asyncio
import os

from mitmproxy import http


class Streams:
    """mitmproxy's own example of a script."""

    def responseheaders(self, flow: http.HTTPFlow) -> None:
        assert flow.response is not None
        flow.response.stream = True


class Intercepts:
    """Each flow is held when its request has come and when its answer has, and let go a moment later."""

    def request(self, flow: http.HTTPFlow) -> None:
        self._hold(flow)

    def response(self, flow: http.HTTPFlow) -> None:
        self._hold(flow)

    @staticmethod
    def _hold(flow: http.HTTPFlow) -> None:
        flow.intercept()
        asyncio.get_running_loop().call_soon(flow.resume)


addons = [{"streams": Streams, "intercepts": Intercepts}[os.environ["MATRIX"]]()]
