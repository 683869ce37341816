"""Targets that read what a client sends: bodies, their translation, heads; and the configuration."""

import contextlib
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

from antigravity_healing.policy.judging.failures import classify
from antigravity_healing.policy.judging.upstream_hints import header_wait_s
from antigravity_healing.policy.settings import file as config_file
from antigravity_healing.policy.settings.schema import Upstream
from antigravity_healing.proxy.claiming.claims import understand
from antigravity_healing.proxy.guarding import web_pages
from antigravity_healing.proxy.guarding.addresses import literal
from antigravity_healing.proxy.guarding.destinations import Destination as Place
from antigravity_healing.proxy.guarding.hosts import hosts_named
from antigravity_healing.proxy.secrets.redaction import SHORTEST_SECRET
from antigravity_healing.proxy.secrets.seal import Seal, take_off
from antigravity_healing.wire.anthropic.history import places_of as anthropic_places
from antigravity_healing.wire.dialects import DIALECTS
from antigravity_healing.wire.errors.parsing import parse_error
from antigravity_healing.wire.gemini.history import places_of as gemini_places
from antigravity_healing.wire.http.encoding import DecodingError, Decompressor, TooLongError
from antigravity_healing.wire.http.paths import PathError
from antigravity_healing.wire.json import exact
from antigravity_healing.wire.json.beginning import read_beginning
from antigravity_healing.wire.json.span import replace_member, respell
from antigravity_healing.wire.json.value import canonical, dump, parse
from antigravity_healing.wire.requests.places import loosely
from antigravity_healing.wire.translate.common import NO_HISTORY, UntranslatableError
from antigravity_healing.wire.translate.to_anthropic.request import count_tokens_to_anthropic, to_anthropic
from antigravity_healing.wire.translate.to_gemini.request import count_tokens_to_gemini, to_gemini
from mitmproxy import http

from tests.fuzz.target import Target, cut, value_in
from tests.support.anthropic_request import check_messages
from tests.support.recorded import RECORDED
from tests.upstream.coding import Encoding, coder_for

ENCODINGS: tuple[Encoding, ...] = ("gzip", "deflate", "br", "zstd")
_LONGEST = 16 * 1024 * 1024
_CODINGS = (*ENCODINGS, "gzip, br", "identity", "x-gzip,zstd")
_WALL_S = 1_795_000_000.0


def to_gemini_request(data: bytes) -> None:
    """Any request is translated or refused, stays as it was, and is translated in the same way again."""
    body = value_in(data)
    if not isinstance(body, dict):
        return
    with contextlib.suppress(UntranslatableError):
        made = to_gemini(body, "gemini-3-pro-preview", NO_HISTORY)
        assert dump(made) == dump(to_gemini(body, "gemini-3-pro-preview", NO_HISTORY))
        roles = [content["role"] for content in made["contents"]]
        assert roles == [("user", "model")[at % 2] for at in range(len(roles))]
        assert all(content["parts"] for content in made["contents"])
    with contextlib.suppress(UntranslatableError):
        dump(count_tokens_to_gemini(body, "gemini-2.5-flash", NO_HISTORY, vertex=True))
    with contextlib.suppress(RecursionError):  # in Python's own comparison
        assert body == value_in(data)
    _understood("anthropic", body)


def to_anthropic_request(data: bytes) -> None:
    """The same in the other direction."""
    body = value_in(data)
    if not isinstance(body, dict):
        return
    with contextlib.suppress(UntranslatableError):
        made = to_anthropic(body, "claude-sonnet-4-5", stream=True)
        assert dump(made) == dump(to_anthropic(body, "claude-sonnet-4-5", stream=True))
        check_messages(made["messages"])
    with contextlib.suppress(UntranslatableError):
        dump(count_tokens_to_anthropic(body, "claude-opus-5-5"))
    with contextlib.suppress(RecursionError):  # in Python's own comparison
        assert body == value_in(data)
    _understood("gemini", body)


def _understood(name: str, body: Any) -> None:
    dialect = DIALECTS[name]
    assert isinstance(dialect.session_of(body), str | None)
    assert isinstance(dialect.stated_session(body), str)
    places = (anthropic_places if name == "anthropic" else gemini_places)(body, "client")
    assert isinstance(places.end.exact + places.end.loose, str)


def json(data: bytes) -> None:
    """A JSON text says the same whichever way it is read, and a change of one member changes no other."""
    try:
        plain = parse(data)
    except ValueError:
        return
    with contextlib.suppress(ValueError):
        assert _same(exact.parse(data), plain)
        parse(dump(exact.parse(data)))
    with contextlib.suppress(ValueError):
        text = replace_member(data, "model", "other", add=True)
        assert _same(parse(text), {**plain, "model": "other"})
    if isinstance(plain, dict) and plain:
        fewer = dict(list(plain.items())[1:])
        assert _same(parse(respell(data, plain, fewer)), fewer)
    read_beginning(data[: len(data) // 2].decode("utf-8", "replace"))


def _same(one: Any, other: Any) -> bool:
    """Whether two values are the same, but for whole numbers that are read as doubles when they are very long."""
    return loosely(one, canonical(one)) == loosely(other, canonical(other))


def errors(data: bytes) -> None:
    """Any error body and any headers mean something, and every wait is a number of seconds."""
    head, _, body = data.partition(b"\n\n")
    headers = _fields(head)
    error = parse_error(body)
    _check_wait(error.delay_s)
    _check_wait(header_wait_s(headers, _WALL_S))
    for status in (None, 200, 400, 429, 503):
        failure = classify(status, headers, error, grace_s=2.0, wall_s=_WALL_S)
        _check_wait(failure.wait_s)
        assert failure.detail.isprintable()
    for dialect in DIALECTS.values():
        dialect.shaped(value_in(body))


def _check_wait(wait_s: float | None) -> None:
    assert wait_s is None or 0 <= wait_s < float("inf")


def heads(data: bytes) -> None:
    """Any head of a request is understood or is no business of ours; no credential stays in it."""
    request = _request(data)
    prefixed = Upstream(dialect="anthropic", url="http://up.example/tenant")
    places = [Place("proxy"), Place("upstream", "one", prefixed), Place("reverse", upstream=prefixed)]
    for place in places:
        with contextlib.suppress(PathError):
            understand(request, [place])
    with contextlib.suppress(ValueError):
        web_pages.is_foreign(request)
        web_pages.page_of(request)
    for host in hosts_named(request):
        literal(host)
    take_off(request)
    assert take_off(request).secrets == ()


def _fields(data: bytes) -> tuple[tuple[bytes, bytes], ...]:
    lines = (line.partition(b": ") for line in data.split(b"\n"))
    return tuple((name, value) for name, colon, value in lines if colon)


def _request(data: bytes) -> http.Request:
    head, _, rest = data.partition(b"\n")
    method, _, path = head.partition(b" ")
    return http.Request(
        "127.0.0.1", 8080, method, b"http", b"", path, b"HTTP/1.1", http.Headers(_fields(rest)), b"", None, 0.0, 0.0
    )  # fmt: skip


def redaction(data: bytes) -> None:
    """No credential is left in what is passed on, however its text is cut."""
    size, _, rest = data.partition(b"\n")
    key, _, text = rest.partition(b"\n")
    secret = key.decode("utf-8", "surrogateescape").rpartition(" ")[2]
    if len(secret.strip("\\")) < SHORTEST_SECRET:
        return  # no key is made of backslashes
    seal = Seal((("x-api-key", secret),), ("key=" + quote(secret[::-1], errors="surrogateescape"),))
    whole = seal.redact(text)
    pieces = seal.piecewise()
    made = b"".join([pieces.feed(piece) for piece in cut(text, len(size) + 1)]) + pieces.feed(b"", last=True)
    assert made == whole
    assert secret.encode("utf-8", "surrogateescape") not in whole.replace(b"[redacted]", b"\0")


def bodies(data: bytes) -> None:
    """A compressed body is the same however it is cut, or is refused."""
    if len(data) < 2:
        return
    coding, size, body = _CODINGS[data[0] % len(_CODINGS)], data[1] + 1, data[2:]
    assert _decoded(coding, [body]) == _decoded(coding, cut(body, size))


def _decoded(coding: str, pieces: Iterable[bytes]) -> bytes | None:
    decompressor = Decompressor(coding)
    try:
        return b"".join([decompressor.decode(piece, _LONGEST) for piece in pieces])
    except (DecodingError, TooLongError):
        return None


def configuration(data: bytes) -> None:
    """Any text is a configuration or is told, line by line, why it is none."""
    told = ""
    try:
        told = str(config_file.parse(data, "file.toml", Path("/folder")).upstreams)
    except config_file.ConfigError as error:
        told = str(error)
    assert told
    assert all(line.isprintable() for line in told.split("\n"))


def _body_seeds(dialect: str) -> list[bytes]:
    return [each.request_body for each in RECORDED if each.dialect == dialect and each.request_body]


def _json_seeds() -> list[bytes]:
    odd = [
        b'{"input":{"n":1.00},"a":[{"functionCall":{"args":{"x":1e400,"x":2}}}],"model":"m"}',
        b'{"\\u0061rgs":{"":0}}',
    ]
    return odd + _body_seeds("anthropic") + _body_seeds("gemini")


def _error_seeds() -> list[bytes]:
    told = [each.response_body for each in RECORDED if each.status >= 400]
    heads = (
        b"retry-after: 5", b"retry-after-ms: 12.5", b"retry-after: Wed, 21 Oct 2026 07:28:00 GMT",
        b"anthropic-ratelimit-requests-remaining: 0\nanthropic-ratelimit-requests-reset: 2026-11-05T00:00:00Z",
        b"anthropic-ratelimit-unified-status: rejected\nanthropic-ratelimit-unified-reset: 1795000100",
    )  # fmt: skip
    words = (
        b'{"error":{"message":"Please retry in 1h16m0.667s. {\\"type\\":\\"error\\"}","details":[{"retryDelay":"9s"}]}}'
    )
    return [head + b"\n\n" + body for head in heads for body in [words, *told]]


_HEADS = [
    b"POST /v1/messages?beta=true\nhost: 127.0.0.1:8080\nx-api-key: sk-ant-0123456789\norigin: http://localhost:3000",
    b"GET /v1beta/models/gemini-3-pro:streamGenerateContent?alt=sse&key=AIza0123\nx-goog-api-client: x\norigin: null",
    b"GET /tenant/v1/files/../../x%2e%2e%2f?a=b&access_token=t\nauthorization: Bearer abcdefgh\norigin: http://[::1]:8",
]
_CONFIG = b"""
[[accounts]]
name = "work"
upstream = "local"
api_key = "env:KEY"
models = ["claude-*"]
headers = { "x-team" = "a" }
[upstreams.local]
dialect = "anthropic"
url = "http://127.0.0.1:9000/prefix"
[models]
"a-*" = "local/b"
"c" = { to = "gemini/d", peek = { idle = false, first_byte = 1.5 } }
[retry]
max_attempts = 3
[clients]
keys = ["file:k", "literal"]
[limits]
head_bytes = 65536
"""


def _coded_seeds() -> list[bytes]:
    made = []
    for at, coding in enumerate(ENCODINGS):
        coder = coder_for(coding)
        body = coder.piece(b"some text, " * 20) + coder.finish()
        made += [bytes([at, 0]) + body, bytes([at, 7]) + body + body]
    return made


def _listed(*seeds: bytes) -> Callable[[], list[bytes]]:
    return lambda: list(seeds)


REQUESTS: list[Target] = [
    Target("to-gemini", to_gemini_request, partial(_body_seeds, "anthropic"), json=True),
    Target("to-anthropic", to_anthropic_request, partial(_body_seeds, "gemini"), json=True),
    Target("json", json, _json_seeds),
    Target("errors", errors, _error_seeds),
    Target("heads", heads, _listed(*_HEADS)),
    Target("redaction", redaction, _listed(b"xxx\nsk-0123456789\nsk-0123 sk-0123456789 and 9876543210-ks")),
    Target("bodies", bodies, _coded_seeds),
    Target("configuration", configuration, _listed(_CONFIG)),
]
