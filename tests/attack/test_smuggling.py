"""One request of a client is never two for an upstream, and what a client sends too early is not kept for ever."""

from pathlib import Path

from tests.attack.rude_client import RudeClient
from tests.attack.scripted import KEY, PATH, PAUSE, Say, Scripted, answer_bytes, message, text_of
from tests.e2e.harness import Proxy
from tests.support.patience import wait_until
from tests.support.raw import RawConnection, encode_request
from tests.upstream.tls import server_context

type Place = tuple[Proxy, Scripted]

HIDDEN = b"GET /hidden HTTP/1.1\r\nhost: other.example\r\n\r\n"
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def test_a_body_over_http2_without_a_length_stays_a_body_over_http1(tmp_path: Path) -> None:
    """HTTP/2 frames its bodies. Sent on as it is, such a body is another request for an HTTP/1 server."""
    context, ca_file = server_context(tmp_path, http2=False)
    options = {"ssl_verify_upstream_trusted_ca": str(ca_file)}
    with Scripted(tls=context) as server, Proxy(tmp_path / "proxy", "", options=options) as proxy:
        server.play(Say([OK]), Say([OK]))
        with RudeClient(server.url, proxy) as client:
            for path, length in (("/framed", True), ("/unframed", False)):
                stream_id = client.h2.get_next_available_stream_id()
                fields = [(":method", "POST"), (":scheme", "https"), (":authority", client.authority), (":path", path)]
                more = [("content-length", str(len(HIDDEN)))] if length else []
                client.h2.send_headers(stream_id, fields + more)
                client.h2.send_data(stream_id, HIDDEN, end_stream=True)
                client.body[stream_id] = bytearray()
                client.flush()
                client.read_until(lambda stream_id=stream_id: stream_id in client.ended)  # type: ignore[misc]
                assert client.body[stream_id] == b"ok"
    lines = [heard.head.split(b"\r\n")[0] for heard in server.heard]
    assert lines == [b"POST /framed HTTP/1.1", b"POST /unframed HTTP/1.1"]
    assert server.heard[0].body == HIDDEN
    assert server.heard[1].body == b"%x\r\n%s\r\n" % (len(HIDDEN), HIDDEN)


def test_a_client_that_sends_on_while_it_waits_is_not_kept_for_ever(scripted: Place) -> None:
    proxy, server = scripted
    server.play(Say([PAUSE]))
    connection = RawConnection(proxy.url)
    connection.send("POST", proxy.url + PATH, message("claude-x"), KEY)
    server.wait_for(lambda server: server.heard)
    refused = False
    try:
        for _ in range(1000):
            connection.send_bytes(b"x" * 65536)
    except OSError:
        refused = True
    assert refused
    connection.close("rst")
    wait_until(lambda: proxy.health()["running"] == 0)
    server.go.set()


def test_a_request_that_is_sent_early_has_its_turn(scripted: Place) -> None:
    proxy, server = scripted
    server.play(Say([PAUSE, answer_bytes("the first")]), Say([answer_bytes("the second")]))
    connection = RawConnection(proxy.url)
    both = (encode_request("POST", proxy.url + PATH, message("claude-x", text), KEY) for text in ("one", "two"))
    connection.send_bytes(b"".join(both))
    server.wait_for(lambda server: server.heard)
    server.go.set()
    assert [text_of(connection.read("POST").body) for _ in range(2)] == ["the first", "the second"]
    connection.close()
