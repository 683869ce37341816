"""An upstream that goes away in good order costs nobody an answer."""

import threading
from collections.abc import Iterator
from pathlib import Path

import h2.errors
import pytest
from h2.settings import SettingCodes

from tests.attack.http2_server import Asked, Http2Server
from tests.attack.scripted import PATH, message, text_of
from tests.e2e.h2_client import H2Client
from tests.e2e.harness import Proxy, account, upstream
from tests.support.patience import wait_until
from tests.upstream import anthropic_stream


@pytest.fixture(scope="module")
def building(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, Http2Server]]:
    folder: Path = tmp_path_factory.mktemp("goaway")
    with Http2Server(folder) as server:
        config = "[retry]\nspare_retries = 100000\nmax_attempts = 2\n"
        config += account("one", "anthropic") + upstream("anthropic", "anthropic", server.url)
        options = {"ssl_verify_upstream_trusted_ca": str(server.ca_file)}
        with Proxy(folder / "proxy", config, options=options) as proxy:
            yield proxy, server


@pytest.fixture
def place(building: tuple[Proxy, Http2Server]) -> Iterator[tuple[Proxy, Http2Server]]:
    proxy, server = building
    server.peers.clear()
    server.asked.clear()
    server.play = lambda asked: asked.answer("fine")
    yield proxy, server
    assert proxy.health()["running"] == 0


def client_of(proxy: Proxy, server: Http2Server) -> H2Client:
    """An HTTP/2 client that believes to talk to the server."""
    return H2Client(server.url, proxy=proxy.url, ca=proxy.ca_file)


def begin(asked: Asked) -> None:
    """Send the first half of an answer."""
    asked.head()
    asked.data(b"".join(anthropic_stream("a story").chunks[:4]))


def finish(asked: Asked) -> None:
    """Send the second half."""
    asked.data(b"".join(anthropic_stream("a story").chunks[4:]), end=True)


def test_running_streams_finish_and_new_ones_go_elsewhere(place: tuple[Proxy, Http2Server]) -> None:
    proxy, server = place
    server.play = begin
    with client_of(proxy, server) as client:
        first, second = (client.post(PATH, message("claude-x")) for _ in range(2))
        client.read_until(lambda: client.body[first] and client.body[second])
        old = server.peers[0]
        old.goaway(2**31 - 1)
        old.goaway(max(asked.stream_id for asked in server.asked))
        server.play = lambda asked: asked.answer("elsewhere")
        # The proxy has read the GOAWAY when it has passed on what came behind it.
        server.asked[0].data(b": here\n\n")
        client.read_until(lambda: any(b": here" in body for body in client.body.values()))
        third = client.post(PATH, message("claude-x"))
        assert text_of(client.whole(third)) == "elsewhere"
        assert client.heads[third]["x-healing-outcome"] == "clean"
        for asked in server.asked[:2]:
            finish(asked)
        assert {text_of(client.whole(stream)) for stream in (first, second)} == {"a story"}
        assert all(client.heads[stream]["x-healing-outcome"] == "clean" for stream in (first, second))
    assert server.asked[2].peer is not old
    assert len(server.asked) == 3
    server.wait_for(lambda: old.over)


def test_a_stream_that_was_never_begun_is_sent_again_at_once(place: tuple[Proxy, Http2Server]) -> None:
    proxy, server = place
    went = threading.Event()

    def play(asked: Asked) -> None:
        if not went.is_set():
            went.set()
            asked.peer.goaway(0)
        else:
            asked.answer("sent again")

    server.play = play
    with client_of(proxy, server) as client:
        stream = client.post(PATH, message("claude-x"))
        assert text_of(client.whole(stream)) == "sent again"
        assert client.heads[stream]["x-healing-attempts"] == "2"
    assert server.asked[0].peer is not server.asked[1].peer
    server.wait_for(lambda: server.asked[0].peer.over)


def test_streams_that_wait_for_their_turn_are_sent_elsewhere(place: tuple[Proxy, Http2Server]) -> None:
    """An upstream that takes one stream at a time goes away while others wait."""
    proxy, server = place
    server.settings = {SettingCodes.MAX_CONCURRENT_STREAMS: 1}
    try:
        server.play = begin
        with client_of(proxy, server) as client:
            first = client.post(PATH, message("claude-x"))
            client.read_until(lambda: client.body[first])
            later = [client.post(PATH, message("claude-x")) for _ in range(2)]
            wait_until(lambda: proxy.health()["running"] == 3)
            assert len(server.asked) == 1
            server.settings = {}
            server.play = lambda asked: asked.answer("elsewhere")
            server.peers[0].goaway(server.asked[0].stream_id)
            assert [text_of(client.whole(stream)) for stream in later] == ["elsewhere"] * 2
            finish(server.asked[0])
            assert text_of(client.whole(first)) == "a story"
    finally:
        server.settings = {}


@pytest.mark.parametrize("code", [h2.errors.ErrorCodes.INTERNAL_ERROR, h2.errors.ErrorCodes.ENHANCE_YOUR_CALM])
def test_goaway_with_an_error_ends_all_at_once(place: tuple[Proxy, Http2Server], code: h2.errors.ErrorCodes) -> None:
    """What has begun is cut and told so; what has not is healed."""
    proxy, server = place
    server.play = begin
    with client_of(proxy, server) as client:
        begun = client.post(PATH, message("claude-x"))
        client.read_until(lambda: client.body[begun])
        server.play = lambda asked: None
        waiting = client.post(PATH, message("claude-x"))
        server.wait_for(lambda: len(server.asked) == 2)
        server.play = lambda asked: asked.answer("healed")
        server.peers[0].goaway(server.asked[1].stream_id, code)
        assert text_of(client.whole(waiting)) == "healed"
        with pytest.raises(AssertionError, match="reset"):
            client.whole(begun)


def test_a_client_that_goes_away_in_good_order_gets_its_answers(place: tuple[Proxy, Http2Server]) -> None:
    proxy, server = place
    server.play = begin
    with client_of(proxy, server) as client:
        stream = client.post(PATH, message("claude-x"))
        client.read_until(lambda: client.body[stream])
        client.goaway()
        finish(server.asked[0])
        assert text_of(client.whole(stream)) == "a story"
