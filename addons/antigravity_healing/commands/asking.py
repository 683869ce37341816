"""Asking an upstream one thing directly, without a proxy: over the trust store that mitmproxy uses."""

import asyncio
import http.client
import socket
import ssl
from concurrent.futures import Future
from threading import Thread
from typing import NamedTuple

import certifi
from mitmproxy import http as mitmproxy_http

from antigravity_healing.policy.settings.schema import Upstream
from antigravity_healing.wire.http.headers import Headers

WITHIN_S = 20.0
_MOST_BYTES = 8 * 1024 * 1024


class NoAnswerError(Exception):
    """There was no answer; the text says why."""


class Answer(NamedTuple):
    """What came back: of a long body the beginning."""

    status: int
    headers: Headers
    body: bytes


async def ask(upstream: Upstream, request: mitmproxy_http.Request) -> Answer:
    """The answer to a request. Raises NoAnswerError, after WITHIN_S seconds at the latest."""
    future: Future[Answer] = Future()
    # A daemon: looking up a name can't be ended, and must not keep the process from ending.
    Thread(target=_ask, args=(upstream, request, future), name="antigravity check", daemon=True).start()
    try:
        return await asyncio.wait_for(asyncio.wrap_future(future), WITHIN_S)
    except TimeoutError:
        raise NoAnswerError(f"no answer within {WITHIN_S:g} s") from None
    except socket.gaierror as error:
        raise NoAnswerError(f"the name {upstream.host} can't be resolved: {error.strerror}") from None
    except ssl.SSLCertVerificationError as error:
        raise NoAnswerError(f"its certificate is not trusted: {error.verify_message}") from None
    except OSError as error:
        raise NoAnswerError(error.strerror or type(error).__name__) from None
    except http.client.HTTPException as error:
        raise NoAnswerError(f"what answers there is no HTTP/1.1 ({type(error).__name__})") from None


def _ask(upstream: Upstream, request: mitmproxy_http.Request, future: Future[Answer]) -> None:
    """In the thread."""
    if not future.set_running_or_notify_cancel():
        return
    connection = _connection(upstream)
    try:
        connection.putrequest(request.method, request.path, skip_accept_encoding=True)
        for name, value in request.headers.fields:
            if name.lower() != b"host":
                connection.putheader(name.decode("latin-1"), value)
        connection.endheaders(request.raw_content or None)
        response = connection.getresponse()
        headers = tuple((name.encode("latin-1"), value.encode("latin-1")) for name, value in response.getheaders())
        future.set_result(Answer(response.status, headers, response.read(_MOST_BYTES)))
    except Exception as error:
        future.set_exception(error)
    finally:
        connection.close()


def _connection(upstream: Upstream) -> http.client.HTTPConnection:
    if upstream.scheme == "http":
        return http.client.HTTPConnection(upstream.host, upstream.port, timeout=WITHIN_S)
    context = ssl.create_default_context(cafile=certifi.where())
    return http.client.HTTPSConnection(upstream.host, upstream.port, timeout=WITHIN_S, context=context)
