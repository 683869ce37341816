"""The parts of mitmproxy's HTTP layer that are not public, and all that is used of them here.

What stands between its streams and its connections: events, hooks, and the classes that speak HTTP/1 and HTTP/2.
"""

from mitmproxy.proxy.layers.http._base import HttpCommand, HttpConnection, HttpEvent, ReceiveHttp
from mitmproxy.proxy.layers.http._events import (
    ErrorCode,
    RequestData,
    RequestEndOfMessage,
    RequestHeaders,
    RequestProtocolError,
    RequestTrailers,
    ResponseData,
    ResponseEndOfMessage,
    ResponseHeaders,
    ResponseProtocolError,
    ResponseTrailers,
)
from mitmproxy.proxy.layers.http._hooks import (
    HttpErrorHook,
    HttpRequestHeadersHook,
    HttpRequestHook,
    HttpResponseHeadersHook,
    HttpResponseHook,
)
from mitmproxy.proxy.layers.http._http1 import (
    Http1Client,
    Http1Connection,
    Http1Server,
    TBodyReader,
    make_body_reader,
    should_make_pipe,
)
from mitmproxy.proxy.layers.http._http2 import Http2Client, Http2Connection, Http2Server, parse_h2_request_headers
from mitmproxy.proxy.layers.http._http_h2 import BufferedH2Connection, SendH2Data
from mitmproxy.proxy.layers.http._upstream_proxy import HttpUpstreamProxy

__all__ = [
    "BufferedH2Connection",
    "ErrorCode",
    "Http1Client",
    "Http1Connection",
    "Http1Server",
    "Http2Client",
    "Http2Connection",
    "Http2Server",
    "HttpCommand",
    "HttpConnection",
    "HttpErrorHook",
    "HttpEvent",
    "HttpRequestHeadersHook",
    "HttpRequestHook",
    "HttpResponseHeadersHook",
    "HttpResponseHook",
    "HttpUpstreamProxy",
    "ReceiveHttp",
    "RequestData",
    "RequestEndOfMessage",
    "RequestHeaders",
    "RequestProtocolError",
    "RequestTrailers",
    "ResponseData",
    "ResponseEndOfMessage",
    "ResponseHeaders",
    "ResponseProtocolError",
    "ResponseTrailers",
    "SendH2Data",
    "TBodyReader",
    "make_body_reader",
    "parse_h2_request_headers",
    "should_make_pipe",
]
