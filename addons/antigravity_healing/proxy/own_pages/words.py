"""What is said where there is nothing to show."""

from collections.abc import Collection

import orjson
from mitmproxy import http

from antigravity_healing.proxy.guarding import refusals
from antigravity_healing.proxy.own_pages.pages import ROOT, PageAnswer

_LONGEST_PATH = 200


def in_words(refused: http.Response, *, as_text: bool) -> PageAnswer:
    """A refusal as an answer. as_text: for a person in a browser, and not for a program."""
    headers = {name: value for name, value in refused.headers.items() if name.lower() != "content-length"}
    content_type, body = headers.pop("content-type", "application/json"), refused.content or b""
    if as_text and body:
        content_type, body = "text/plain; charset=utf-8", orjson.loads(body)["error"]["message"].encode() + b"\n"
    return PageAnswer(refused.status_code, content_type, body, headers)


def nothing_there(request: http.Request, methods: Collection[str], *, as_text: bool) -> PageAnswer:
    """The answer to a request for what is not served. methods: those that its path has."""
    if not methods:
        path = request.path.partition("?")[0][:_LONGEST_PATH]
        return in_words(_plain(404, f"There is nothing at {path}. The proxy's page is at {ROOT}/."), as_text=as_text)
    allowed = ", ".join([*methods, "HEAD"] if "GET" in methods else methods)
    refused = _plain(405, f"{request.method} can't be done here, but {allowed}.")
    refused.headers["allow"] = allowed
    return in_words(refused, as_text=as_text)


def failed(status: int, message: str) -> PageAnswer:
    """The answer where none could be made."""
    return in_words(_plain(status, message), as_text=False)


def _plain(status: int, message: str) -> http.Response:
    """An error of which the log need not tell."""
    kind = "api_error" if status >= 500 else "not_found_error" if status == 404 else "invalid_request_error"
    error = {"type": kind, "code": status, "message": message}
    return refusals.json_response(status, {"type": "error", "error": error})
