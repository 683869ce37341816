"""An exchange's request as a command to be copied: with no secret in it."""

import shlex

from mitmproxy import http

from antigravity_healing.monitor.hand.diff import is_secret_name
from antigravity_healing.proxy.streams.flow_story import body_of
from antigravity_healing.wire.dialects import DIALECTS, credential_places

LONGEST_BODY = 256 * 1024
_OF_THE_CONNECTION = frozenset(
    {"host", "content-length", "transfer-encoding", "connection", "accept-encoding", "content-encoding", "cookie"}
)


def as_curl(flow: http.HTTPFlow, dialect: str) -> str:
    """The request as a curl command that asks the proxy again: the key has to be put in, as $API_KEY.

    dialect: of the request. A body that is too long to be copied is named as a file.
    """
    request = flow.request
    hidden = {*_OF_THE_CONNECTION, *credential_places().headers}
    places = DIALECTS[dialect].credentials if dialect in DIALECTS else credential_places()
    parts = [
        f"curl -N -X {shlex.quote(request.method)} {shlex.quote(_url(request))}",
        f'-H "{places.headers[0]}: $API_KEY"',
    ]
    for name, value in request.headers.items(multi=True):
        if name.lower() not in hidden and not is_secret_name(name):
            parts.append(f"-H {shlex.quote(f'{name}: {value}')}")
    body = body_of(request)
    if len(body) > LONGEST_BODY:
        parts.append("--data-binary @request.json")
    elif body:
        parts.append(f"--data-binary {shlex.quote(body.decode('utf-8', 'replace'))}")
    # mitmproxy gives what is no UTF-8 as surrogates, which can't be sent.
    return " \\\n  ".join(parts).encode("utf-8", "replace").decode()


def _url(request: http.Request) -> str:
    """Its address, without what its query says in secret."""
    given = request.query.items(multi=True)
    kept = [pair for pair in given if pair[0] not in credential_places().params and not is_secret_name(pair[0])]
    if len(kept) == len(given):
        return request.url
    copy = request.copy()
    copy.query = kept
    return copy.url
