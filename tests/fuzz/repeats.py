"""A target that finds what takes more than its share of time for a longer text: the same piece again and again."""

import contextlib
from collections.abc import Callable
from time import process_time

from antigravity_healing.policy.routing.routes import matches
from antigravity_healing.policy.signing.prefix_check import family_of
from antigravity_healing.policy.translating.refused_features import STREAM, refused_feature
from antigravity_healing.policy.translating.translation import ToAnthropic, ToGemini
from antigravity_healing.proxy.secrets.seal import Seal, take_off
from antigravity_healing.wire.dialects import DIALECTS
from antigravity_healing.wire.errors.parsing import parse_duration_s, parse_error
from antigravity_healing.wire.errors.signature_refusals import named_position, refuses_binding, signature_fault
from antigravity_healing.wire.gemini.spelling import in_camel_case
from antigravity_healing.wire.http.sse import SSEDecoder
from antigravity_healing.wire.json import exact
from antigravity_healing.wire.json.beginning import read_beginning
from antigravity_healing.wire.json.skip import value_end
from antigravity_healing.wire.requests.model_versions import claude_version, gemini_version
from antigravity_healing.wire.requests.places import is_unguessable
from mitmproxy import http

from tests.fuzz.target import Target, cut

_SIZE = 32 * 1024
_GROWTH = 4
# Four times the text may take four times as long; sixteen times is what a loop in a loop takes.
_MOST = 9.0
_WORTH_LOOKING_S = 0.05


def _text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda data: read(data.decode("utf-8", "replace"))


def _decode(data: bytes) -> None:
    decoder = SSEDecoder()
    for piece in cut(data, 1000):
        decoder.decode(piece)
    decoder.flush()


def _head(data: bytes) -> None:
    data = data.replace(b"\n", b"")
    fields = http.Headers(((b"x-api-key", data[: len(data) // 2]),))
    request = http.Request(
        "h", 80, b"GET", b"http", b"", b"/v1?" + data, b"HTTP/1.1", fields, b"", None, 0.0, 0.0
    )  # fmt: skip
    seal = take_off(request)
    seal.redact(data)


def _unfinished(data: bytes) -> None:
    Seal((("x-api-key", data.decode("latin-1")),)).unfinished(data[: len(data) // 2])


def _operation(text: str) -> None:
    for dialect in DIALECTS.values():
        for method in ("GET", "POST"):
            dialect.operation(method, text, {})
            dialect.operation(method, "/v1/projects/" + text, {})


READ: tuple[Callable[[bytes], object], ...] = (
    _decode,
    parse_error,
    _text(signature_fault),
    _text(refuses_binding),
    _text(named_position),
    _text(lambda text: refused_feature(text, frozenset(), (*ToGemini.optional, *ToAnthropic.optional, STREAM))),
    _text(parse_duration_s),
    _text(claude_version),
    _text(gemini_version),
    _text(family_of),
    _text(is_unguessable),
    _text(lambda text: matches("a*b*c*", text)),
    _text(read_beginning),
    _text(in_camel_case),
    _text(_operation),
    lambda data: value_end(data, 0),
    exact.parse,
    _head,
    _unfinished,
)


def repeats(data: bytes) -> None:
    """Four times the text does not take much more than four times as long."""
    if len(data) < 3:
        return
    read, lead, rest = READ[data[0] % len(READ)], data[1] % len(data), data[2:]
    before, piece = rest[:lead], rest[lead:] or rest
    if not piece:
        return

    def taken_s(size: int) -> float:
        text = before + piece * (size // len(piece))
        start = process_time()
        with contextlib.suppress(ValueError):
            read(text)
        return process_time() - start

    if taken_s(_SIZE) > _WORTH_LOOKING_S:
        # A loop in a loop grows with each step; what is merely done another way for long texts grows once.
        times = [min(taken_s(size) for _ in range(3)) for size in (_SIZE // _GROWTH, _SIZE, _SIZE * _GROWTH)]
        told = f"{READ.index(read)}: " + ", then ".join(f"{each:.3f} s" for each in times)
        assert times[1] < _MOST * times[0] or times[2] < _MOST * times[1], told


def _seeds() -> list[bytes]:
    pieces = (
        b"unexpected value(s) ", b"1h1m1s", b"retry in 1h", b'{"args":{"a":1.0},', b"thought signature missing",
        b"-001", b"data: x\n\n", b"data: x\r\n\r\n", b"\\\"", b"[", b'{"a":', b"id function_call ", b"streaming ",
        b"\r", b"\n\r", b"claude-3-5-sonnet-", b"@a", b"_a", b"ab&ac&",
    )  # fmt: skip
    return [bytes([read, 0]) + piece for read in range(len(READ)) for piece in pieces]


REPEATS = [Target("repeats", repeats, _seeds)]
