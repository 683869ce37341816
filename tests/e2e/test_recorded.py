"""Real traffic through the proxy: nothing that need not change does, to the byte."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import cycle

import pytest

from tests.e2e.harness import Proxy, account, upstream
from tests.e2e.streaming import MANY_RETRIES, seen
from tests.support import raw
from tests.support.protocol import (
    check_anthropic_error,
    check_anthropic_json,
    check_gemini_error,
    check_gemini_json,
)
from tests.support.raw import RawResponse
from tests.support.recorded import RECORDED, Exchange, recorded_params
from tests.upstream import Reply, Upstream
from tests.upstream.coding import Encoding

ATTEMPTS = 3
MOST_PIECES = 3000
NOT_HERE = pytest.mark.skip(reason="recorded traffic is not here: ../shared/recorded")
ADDED = {"x-account-email", "x-mapped-model", "x-healing-id", "x-healing-attempts", "x-healing-outcome"}
FRAMING = {"content-length", "transfer-encoding", "connection"}


@dataclass(frozen=True)
class Real:
    """A proxy whose accounts serve the real models, from the faulty upstream."""

    proxy: Proxy
    upstream: Upstream

    def send(self, exchange: Exchange, reply: Reply) -> RawResponse:
        """Send the recorded request, for which upstream plays this reply as often as it is asked."""
        self.upstream.reset()
        self.upstream.play(*[reply] * ATTEMPTS)
        credential = "x-api-key" if exchange.dialect == "anthropic" else "x-goog-api-key"
        headers = {**exchange.request_headers, credential: "client-key"}
        return raw.request(exchange.method, self.proxy.url + exchange.target, exchange.request_body, headers)


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Real]:
    with Upstream() as server:
        config = "".join(account(name, name) + upstream(name, name, server.url) for name in ("anthropic", "gemini"))
        with Proxy(tmp_path_factory.mktemp("recorded"), config + MANY_RETRIES + "upgrade = false\n") as proxy:
            yield Real(proxy, server)


def as_recorded(exchange: Exchange, *, split: int | None = None, encoding: Encoding | None = None) -> Reply:
    """The recorded answer as a reply."""
    if exchange.is_stream:
        chunks = (exchange.response_body,)
        return Reply(exchange.status, exchange.response_headers, chunks=chunks, split=split, encoding=encoding)
    return Reply(exchange.status, exchange.response_headers, exchange.response_body, split=split, encoding=encoding)


def check_same(exchange: Exchange, response: RawResponse) -> None:
    """Status, headers and body are the recorded ones, and the body is what the dialect's clients bear."""
    assert (response.status, response.ended) == (exchange.status, "complete")
    assert response.body == exchange.response_body
    got = {name.lower(): value for name, value in response.headers}
    assert {name: value for name, value in got.items() if name not in ADDED | FRAMING} == exchange.response_headers
    if exchange.is_stream:
        assert seen(exchange.dialect, response.body).ended == "complete"
    elif exchange.status >= 400:
        (check_anthropic_error if exchange.dialect == "anthropic" else check_gemini_error)(
            response.status, response.body
        )
    elif not exchange.path.lower().endswith(("count_tokens", "counttokens")):
        (check_anthropic_json if exchange.dialect == "anthropic" else check_gemini_json)(response.body)


def streams() -> list[Exchange]:
    return [exchange for exchange in RECORDED if exchange.is_stream]


def split_params() -> list[pytest.ParameterSet]:
    """The recorded streams, each split into pieces of several sizes; not into more pieces than there is time for."""
    return [
        pytest.param(exchange, split, id=f"{exchange.name}-{split}")
        for split in (1, 7, 97)
        for exchange in streams()
        if len(exchange.response_body) // split <= MOST_PIECES
    ] or [pytest.param(None, 1, marks=NOT_HERE)]


def encoded_params() -> list[pytest.ParameterSet]:
    """The recorded streams, each in one of the codings."""
    return [
        pytest.param(exchange, encoding, id=f"{exchange.name}-{encoding}")
        for exchange, encoding in zip(streams(), cycle(("gzip", "deflate", "br", "zstd")), strict=False)
    ] or [pytest.param(None, "br", marks=NOT_HERE)]


@pytest.mark.parametrize("exchange", recorded_params())
def test_a_recorded_exchange_passes_byte_for_byte(real: Real, exchange: Exchange) -> None:
    response = real.send(exchange, as_recorded(exchange))
    check_same(exchange, response)
    (call,) = real.upstream.calls
    assert call.body == exchange.request_body
    assert (call.method, call.path, call.query) == (exchange.method, exchange.path, exchange.query)
    sent = {**exchange.request_headers, "accept-encoding": "identity"}
    assert {name: value for name, value in call.headers.items() if name in sent} == sent
    kind = "x-api-key" if exchange.dialect == "anthropic" else "x-goog-api-key"
    assert call.credential == f"{kind}:key-of-{exchange.dialect}-0123456789"
    assert response.header("x-healing-attempts") == "1"
    assert response.header("x-account-email") == f"{exchange.dialect}@accounts.example"


@pytest.mark.parametrize(("exchange", "split"), split_params())
def test_a_recorded_stream_passes_byte_for_byte_however_it_is_split(real: Real, exchange: Exchange, split: int) -> None:
    check_same(exchange, real.send(exchange, as_recorded(exchange, split=split)))
    assert len(real.upstream.calls) == 1


@pytest.mark.parametrize(("exchange", "encoding"), encoded_params())
def test_a_recorded_stream_that_comes_compressed_goes_on_plain(
    real: Real, exchange: Exchange, encoding: Encoding
) -> None:
    check_same(exchange, real.send(exchange, as_recorded(exchange, split=41, encoding=encoding)))
    assert len(real.upstream.calls) == 1


@pytest.mark.parametrize("exchange", recorded_params(lambda exchange: exchange.is_stream))
def test_a_recorded_stream_that_is_cut_never_looks_whole(real: Real, exchange: Exchange) -> None:
    """Cut at many places: what came before the cut arrives, and the end is told truthfully."""
    whole = exchange.response_body
    all_of_it = seen(exchange.dialect, whole)
    for length in range(0, len(whole), max(1, len(whole) // 4 - 3)):
        cut = Reply(exchange.status, exchange.response_headers, chunks=(whole[:length],), end="cut")
        response = real.send(exchange, cut)
        if response.status >= 500:
            continue  # nothing had come yet
        view = seen(exchange.dialect, response.body, allow_cut=response.ended != "complete")
        assert all_of_it.text.startswith(view.text)
        assert all_of_it.thinking.startswith(view.thinking)
        if view.text:
            assert len(real.upstream.calls) == 1
        # Only what upstream leaves unsaid after its stop reason may be missing: the protocol's bare end.
        assert view.ended != "complete" or view.stop == all_of_it.stop
