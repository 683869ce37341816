"""mitmproxy's own addons around replays, taught to know exchanges and attempts apart."""

from collections.abc import Callable, Hashable

from mitmproxy import http
from mitmproxy.addons.keepserving import KeepServing
from mitmproxy.addons.serverplayback import ServerPlayback

from antigravity_healing.proxy.streams.flow_story import role_of


class PatientKeepServing(KeepServing):
    """mitmdump's decision when to end. It forgets replays that run side by side, and would end in their middle."""

    is_under_way: Callable[[], bool]

    @classmethod
    def adopt(cls, plain: KeepServing, is_under_way: Callable[[], bool]) -> None:
        """Teach mitmproxy's own addon to ask this too."""
        plain.__class__ = cls
        assert isinstance(plain, PatientKeepServing)
        plain.is_under_way = is_under_way

    def keepgoing(self) -> bool:
        """Whether there is anything left to do."""
        return super().keepgoing() or self.is_under_way()


class HealingServerPlayback(ServerPlayback):
    """mitmproxy's `-S`, which knows exchanges and attempts apart.

    In reverse mode and behind CONNECT a client's request looks like its own first attempt: it must not get that
    attempt's recorded answer, nor be killed as an extra request, but be healed with the answers to its attempts.
    """

    @classmethod
    def adopt(cls, playback: ServerPlayback) -> None:
        """Teach mitmproxy's own addon, with what it has loaded."""
        playback.__class__ = cls
        playback.recompute_hashes()

    def _hash(self, flow: http.HTTPFlow) -> Hashable:
        return super()._hash(flow), role_of(flow) == "attempt"

    def request(self, f: http.HTTPFlow) -> None:
        """Answer from the recording; a client's request only if it was recorded as one."""
        if self.flowmap and (role_of(f) != "exchange" or self._hash(f) in self.flowmap):
            super().request(f)
