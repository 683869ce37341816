"""Secrets at the wire: put on what is sent there, and taken out of what is told of it."""

import re
from collections.abc import Mapping
from dataclasses import replace

from mitmproxy import http
from mitmproxy.proxy import commands, events, layer
from mitmproxy.proxy.layers.http import HttpStream

from antigravity_healing.proxy.internals.http_layer import (
    RequestData,
    RequestHeaders,
    ResponseHeaders,
    ResponseProtocolError,
)
from antigravity_healing.proxy.secrets.seal import Seal
from antigravity_healing.wire.http.headers import Headers

# How Python shows bytes; mitmproxy's messages quote so what a peer has sent.
_QUOTED_BYTES = re.compile(r"""\bb(?:'(?:[^'\\]|\\.)*+'|"(?:[^"\\]|\\.)*+")""", re.DOTALL)


def at_the_wire(event: events.Event, child: layer.Layer | HttpStream, seals: Mapping[int, Seal]) -> events.Event:
    """The event as its receiver gets it.

    Towards a connection, with the secrets of its request on a copy: the one in the flow has none. Towards a stream,
    what went wrong without any secret: several streams may share the connection that tells it.
    seals: those of all streams that are under way.
    """
    if not isinstance(child, HttpStream):
        if isinstance(event, RequestHeaders) and (seal := seals.get(event.stream_id)):
            return RequestHeaders(event.stream_id, seal.on(event.request), event.end_stream)
        if isinstance(event, RequestData) and (seal := seals.get(event.stream_id)) and seal.body:
            return RequestData(event.stream_id, seal.unmasked(event.data))
    elif isinstance(event, ResponseProtocolError) and seals:
        return replace(event, message=_without(event.message, seals))
    return event


def _without(message: str, seals: Mapping[int, Seal]) -> str:
    for seal in seals.values():
        message = seal.redact_text(message)
    return message


def with_cookies(event: ResponseHeaders, cookies: Headers) -> ResponseHeaders:
    """The event with these on a copy of its response: the one in the flow has none."""
    response = event.response.copy()
    response.headers = http.Headers((*response.headers.fields, *cookies))
    return replace(event, response=response)


def without_secrets(command: commands.Log, seals: Mapping[int, Seal]) -> commands.Log:
    """A line for the log without what it quotes of what a peer has sent: there may be a credential in that."""
    command.message = _without(_QUOTED_BYTES.sub("(bytes that are not shown)", command.message), seals)
    return command
