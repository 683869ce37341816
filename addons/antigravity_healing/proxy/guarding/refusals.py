"""What the proxy answers by itself: refusals above all, in the dialect of the client."""

import logging
import secrets
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, NamedTuple

import orjson
from mitmproxy import http

from antigravity_healing.policy.journal import findings
from antigravity_healing.policy.journal.records import SHORT_ID, ExchangeEnd, ExchangeFacts
from antigravity_healing.policy.judging.failures import shortened
from antigravity_healing.wire.dialect import Dialect
from antigravity_healing.wire.dialects import DIALECTS
from antigravity_healing.wire.http.headers import by_name

logger = logging.getLogger(__name__)

_LONGEST_LOGGED = 300
_LONGEST_PATH = 200
_ROOM_AGAIN_S = 1
_KINDS = {
    401: "authentication_error",
    403: "permission_error",
    413: "request_too_large",
    503: "overloaded_error",
}


REFUSAL = "refusal"
"""The attribute of a log record that has the `Refusal` which it is about."""


class Asker(NamedTuple):
    """What is known of a request that is refused, "" for what is not.

    client: a digest of who asks. path: without its query. model: as the client calls it; mapped_model: as upstream
    would be asked for it.
    """

    client: str = ""
    method: str = ""
    path: str = ""
    model: str = ""
    mapped_model: str = ""


class Refusal(NamedTuple):
    """What the log is told of a refusal. id: that its client is told. dialect: the client's, "" where it is unknown."""

    id: str
    status: int
    why: str
    dialect: str = ""
    asker: Asker = Asker()


class RefusalResponse(http.Response):
    """An answer that is a refusal. told: what the log is told of it."""

    told: Refusal


_NOBODY_KNOWN = Asker()
_asker: ContextVar[Asker] = ContextVar("asker", default=_NOBODY_KNOWN)


@contextmanager
def asked_by(client: str, request: http.Request) -> Iterator[None]:
    """Refusals that are made meanwhile, in this thread, are told as those of this request. client: as in `Asker`."""
    method = request.data.method.decode("ascii", "replace")
    path = request.data.path.partition(b"?")[0].decode("utf-8", "replace")
    with _told_with(client=client, method=shortened(method), path=shortened(path, _LONGEST_PATH)):
        yield


@contextmanager
def asked_for(model: str, mapped_model: str = "") -> Iterator[None]:
    """The same for the model that a request asks for."""
    with _told_with(model=shortened(model), mapped_model=shortened(mapped_model or model)):
        yield


@contextmanager
def _told_with(**known: str) -> Iterator[None]:
    before = _asker.set(_asker.get()._replace(**known))
    try:
        yield
    finally:
        _asker.reset(before)


class RefusedError(Exception):
    """A request can't be served; `response` says why."""

    def __init__(self, response: http.Response) -> None:
        super().__init__(f"refused with {response.status_code}")
        self.response = response


def json_response(status: int, body: bytes | dict[str, Any]) -> http.Response:
    """A response with a JSON body."""
    return _made(http.Response, status, body)


def _made[Made: http.Response](kind: type[Made], status: int, body: bytes | dict[str, Any]) -> Made:
    content = body if isinstance(body, bytes) else orjson.dumps(body, option=orjson.OPT_INDENT_2)
    made = kind.make(status, content, {"content-type": "application/json", "X-Healing-Id": new_id()})
    assert isinstance(made, kind)
    return made


def new_id() -> str:
    """The short id of an exchange, or of a request that comes to none."""
    return secrets.token_hex(4)


def _logged_response(
    dialect: Dialect | None, status: int, message: str, body: bytes | dict[str, Any]
) -> RefusalResponse:
    """An answer that is found in the log by the id that its client is told."""
    response = _made(RefusalResponse, status, body)
    why, name = shortened(message, _LONGEST_LOGGED), dialect.name if dialect is not None else ""
    response.told = told = Refusal(response.headers["X-Healing-Id"], status, why, name, _asker.get())
    logger.info("[%s] refused with %d: %s", told.id, status, why, extra={REFUSAL: told})
    return response


def facts_of(refusal: Refusal, at: float) -> tuple[ExchangeFacts, ExchangeEnd]:
    """A refusal as the journal and its flow tell it. at: when it was made, in seconds since 1970."""
    asker = refusal.asker
    facts = ExchangeFacts(
        refusal.id, refusal.dialect, at, asker.method, asker.path, asker.client[:SHORT_ID],
        model=asker.model, mapped_model=asker.mapped_model,
    )  # fmt: skip
    return facts, ExchangeEnd("refused", findings.refused(refusal.why, refusal.status), refusal.status)


def not_found(request: http.Request, path: str) -> http.Response:
    """404 for what the proxy does not serve, in a shape that any dialect's clients can read.

    path: the request's, without its query.
    """
    served = ", ".join(dialect.endpoints for dialect in DIALECTS.values())
    headers = by_name(request.headers.fields)
    native = [dialect for dialect in DIALECTS.values() if dialect.is_native(headers)]
    says = f"This is a healing proxy for LLM APIs. It serves {served}, and GET /health. {_base_urls(request, native)}"
    if request.method == "GET":
        says += f" What happens is shown to a browser at {_here(request)}/antigravity/."
    message = f"{shortened(request.method)} {shortened(path, _LONGEST_PATH)} is not served here. {says}"
    error = {"type": "not_found_error", "code": 404, "status": "NOT_FOUND", "message": message}
    dialect = native[0] if len(native) == 1 else None
    return _logged_response(dialect, 404, message, {"type": "error", "error": error})


def _base_urls(request: http.Request, native: Sequence[Dialect]) -> str:
    """Which base URLs are right: for the APIs that the client seems to speak, else for all."""
    here = _here(request)
    versioned = " or ".join(
        f"{here}{dialect.base_path} ({dialect.label})" for dialect in native or DIALECTS.values() if dialect.base_path
    )
    without = f", and {versioned} for one that does not add the API's version by itself" if versioned else ""
    return f"A client's base URL is {here}{without}."


def _here(request: http.Request) -> str:
    """The base URL by which the proxy was asked."""
    host = request.host_header
    return f"{request.scheme or 'http'}://{shortened(host, 100)}" if host else "the proxy's address"


def refusal(
    dialect: Dialect | None, status: int, message: str, *, logged: str = "", retry_after_s: int | None = None
) -> http.Response:
    """An error of our own, in the client's dialect where it is known.

    logged: what the log is told in place of a message that repeats what only its sender may see.
    retry_after_s: when the client may come again, if that is known.
    """
    if dialect is not None:
        body: bytes | dict[str, Any] = dialect.error_body(status, message, retry_after_s)
    else:
        kind = _KINDS.get(status, "invalid_request_error")
        body = {"type": "error", "error": {"type": kind, "code": status, "message": message}}
    response = _logged_response(dialect, status, logged or message, body)
    if retry_after_s is not None:
        response.headers["retry-after"] = str(retry_after_s)
    return response


def too_long(dialect: Dialect | None, limit: int) -> http.Response:
    """413 for a body of more than `limit` bytes, as it comes or decoded."""
    return refusal(dialect, 413, f"The request body is longer than the {limit:,} bytes that this proxy takes.")


def no_room(dialect: Dialect | None, limit: int) -> http.Response:
    """503 for a body for which there is no room now. limit: how many bytes all that are held may have."""
    message = f"This proxy holds as many request bodies as it may, {limit:,} bytes in all. Send it again in a moment."
    return refusal(dialect, 503, message, retry_after_s=_ROOM_AGAIN_S)
