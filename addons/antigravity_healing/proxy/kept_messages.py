"""What is kept of tunnels and WebSockets: mitmproxy would keep every message as long as the connection lasts."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol
from weakref import WeakKeyDictionary

from mitmproxy import flow, http, tcp, udp

from antigravity_healing.proxy.addon import Antigravity

MESSAGE_BYTES = 256
"""What a message takes beside its content."""

NOTE = "Too long to be kept whole: messages between the first and the last are missing."


class _Message(Protocol):
    content: bytes


@dataclass
class _Kept:
    """Of one flow: how many messages its beginning has, and how many bytes that and what follows have."""

    first: int = 0
    first_bytes: int = 0
    last_bytes: int = 0


class Messages:
    """Keeps the first and the last messages of a connection, as many as `[flows] max_body_bytes` allows."""

    def __init__(self, antigravity: Antigravity) -> None:
        self._antigravity = antigravity
        self._kept: WeakKeyDictionary[flow.Flow, _Kept] = WeakKeyDictionary()

    def tcp_message(self, flow: tcp.TCPFlow) -> None:
        """A message of a tunnel."""
        self._trim(flow, flow.messages)

    def udp_message(self, flow: udp.UDPFlow) -> None:
        """A datagram."""
        self._trim(flow, flow.messages)

    def websocket_message(self, flow: http.HTTPFlow) -> None:
        """A message of a WebSocket."""
        if flow.websocket is not None:
            self._trim(flow, flow.websocket.messages)

    def _trim[M: _Message](self, flow: flow.Flow, messages: list[M]) -> None:
        if self._antigravity.governor is None or not messages:
            return
        share = self._antigravity.governor.config.flows.max_body_bytes // 4
        kept = self._kept.setdefault(flow, _Kept())
        size = _size(messages[-1:])
        if not kept.last_bytes and kept.first_bytes + size <= share:
            kept.first += 1
            kept.first_bytes += size
            return
        kept.last_bytes += size
        if kept.last_bytes <= 3 * share:
            return
        # Much at once, so that it is seldom.
        end = kept.first
        while kept.last_bytes > share and end < len(messages) - 1:
            kept.last_bytes -= _size(messages[end : end + 1])
            end += 1
        if end > kept.first:
            del messages[kept.first : end]
            flow.comment = flow.comment or NOTE


def _size(messages: Sequence[_Message]) -> int:
    return sum(len(message.content) + MESSAGE_BYTES for message in messages)
