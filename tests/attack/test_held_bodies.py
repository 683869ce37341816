"""All request bodies that are held have a bound together; whatever ends their requests, their room is there again."""

import gzip
import socket
import struct
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event

import orjson
import pytest
from h2.errors import ErrorCodes
from hyperframe.frame import DataFrame, RstStreamFrame

from tests.attack.h2_raw import RawH2
from tests.attack.measure import MB
from tests.attack.sending import Told, connect, filler, head, send_and_read
from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.support import raw
from tests.support.patience import wait_until
from tests.support.protocol import check_anthropic_json, check_gemini_error
from tests.support.raw import RawConnection
from tests.upstream import Reply, Upstream, anthropic_json, anthropic_stream, gemini_json

LONGEST = 3 * MB
HELD = 4 * MB
ANTHROPIC, GEMINI = "/v1/messages", "/v1beta/models/m:generateContent"
KILLER = """
class Killer:
    def requestheaders(self, flow):
        if "x-kill-head" in flow.request.headers:
            flow.kill()

    def request(self, flow):
        if "x-kill" in flow.request.headers:
            flow.kill()

addons = [Killer()]
"""


@dataclass(frozen=True)
class Place:
    """A proxy that holds 4 MB of bodies, of 3 MB each at most."""

    proxy: Proxy
    plain: Upstream
    secure: Upstream

    def h2(self) -> RawH2:
        """An HTTP/2 client that believes to talk to the secure upstream."""
        return RawH2(self.secure.url, self.proxy.url, self.proxy.ca_file, {})

    @property
    def held(self) -> float:
        """How many bytes the proxy says that it holds."""
        text = raw.request("GET", f"{self.proxy.url}/metrics").body.decode()
        [line] = [line for line in text.splitlines() if line.startswith("antigravity_held_bytes ")]
        return float(line.partition(" ")[2])

    def wait_until_held(self, condition: Callable[[float], bool]) -> None:
        wait_until(lambda: condition(self.held))


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder: Path = tmp_path_factory.mktemp("held")
    script = folder / "killer.py"
    script.write_text(KILLER)
    with Upstream() as plain, Upstream(tls=True) as secure:
        config = f"[clients]\nmax_body = {LONGEST}\n[limits]\nheld_bytes = {HELD}\n"
        config += account("a", "plain") + upstream("plain", "anthropic", plain.url)
        config += account("g", "google") + upstream("google", "gemini", plain.url)
        config += account("s", "secure", priority=1) + upstream("secure", "anthropic", secure.url)
        options = {"ssl_verify_upstream_trusted_ca": str(secure.ca_file)}
        with Proxy(folder / "proxy", config, options=options, args=["-s", str(script)]) as proxy:
            yield Place(proxy, plain, secure)


@pytest.fixture(autouse=True)
def nothing_held(place: Place) -> Iterator[None]:
    for server in (place.plain, place.secure):
        server.reset()
        server.default = lambda call: gemini_json("fine") if "models" in call.path else anthropic_json("fine")
    yield
    place.wait_until_held(lambda size: size == 0)
    # So there is room for the longest of all.
    assert send(place, ask(LONGEST)).status == 200
    place.wait_until_held(lambda size: size == 0)
    assert {report["name"]: report["healthy"] for report in place.proxy.health()["accounts"]} == {
        "a": True,
        "g": True,
        "s": True,
    }
    assert not list((place.proxy.folder / "home").rglob("*.flow"))


def ask(size: int, path: str = ANTHROPIC) -> bytes:
    """A request's body of so many bytes."""

    def said(words: str) -> bytes:
        if path == GEMINI:
            return orjson.dumps({"contents": [{"role": "user", "parts": [{"text": words}]}]})
        return orjson.dumps({"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": words}]})

    body = said("x" * (size - len(said(""))))
    assert len(body) == size
    return body


def send(place: Place, body: bytes, path: str = ANTHROPIC, **fields: str) -> raw.RawResponse:
    headers = {"content-type": "application/json", **{name.replace("_", "-"): fields[name] for name in fields}}
    return raw.request("POST", place.proxy.url + path, body, headers)


@pytest.fixture
def crowded(place: Place) -> Iterator[Place]:
    """The same while a body of 3 MB is held, whose answer has not come to its end."""
    done = Event()
    place.plain.play(anthropic_json("slow").but(until=done))
    with closing(RawConnection(place.proxy.url)) as first:
        first.send("POST", place.proxy.url + ANTHROPIC, ask(LONGEST))
        place.plain.wait_for(lambda server: len(server.calls) == 1)
        assert place.held == LONGEST
        yield place
        assert place.held == LONGEST
        done.set()
        answer = first.read("POST")
        assert (answer.status, check_anthropic_json(answer.body).text) == (200, "slow")


def assert_no_room(told: Told, path: str = ANTHROPIC) -> None:
    assert told.status == 503, told
    assert told.headers["retry-after"] == "1"
    if path == GEMINI:
        check_gemini_error(told.status, told.body)
    else:
        assert_overloaded(told.body)
    assert f"{HELD:,} bytes" in orjson.loads(told.body)["error"]["message"]


def assert_overloaded(body: bytes) -> None:
    told = orjson.loads(body)
    assert (told["type"], told["error"]["type"]) == ("error", "overloaded_error")


@pytest.mark.parametrize("path", [ANTHROPIC, GEMINI, "/v1/messages/batches"])
def test_body_for_which_there_is_no_room_is_refused_at_its_headers_and_others_are_served(
    crowded: Place, path: str
) -> None:
    begun = head("POST", path, host="localhost", content_length=str(2 * MB), anthropic_version="2023-06-01")
    told = send_and_read(crowded.proxy.url, [begun])
    assert_no_room(told, GEMINI if path == GEMINI else ANTHROPIC)
    assert told.closed
    for small in (ANTHROPIC, GEMINI):
        assert send(crowded, ask(MB // 2, small), small).status == 200
    assert len(crowded.plain.calls) == 3


def test_body_without_a_length_is_refused_as_soon_as_there_is_no_room(crowded: Place) -> None:
    begun = head("POST", ANTHROPIC, host="localhost", transfer_encoding="chunked")
    chunks = (b"%x\r\n%s\r\n" % (len(piece), piece) for piece in filler(LONGEST))
    assert_no_room(send_and_read(crowded.proxy.url, [begun, *chunks]))
    assert len(crowded.plain.calls) == 1


def test_body_counts_as_it_reads_where_it_comes_compressed(crowded: Place) -> None:
    refused = send(crowded, gzip.compress(ask(2 * MB)), content_encoding="gzip")
    assert (refused.status, refused.header("retry-after")) == (503, "1")
    assert_overloaded(refused.body)
    assert send(crowded, gzip.compress(ask(MB // 2)), content_encoding="gzip").status == 200
    assert len(crowded.plain.calls) == 2


def test_file_that_streams_by_is_not_held(crowded: Place) -> None:
    crowded.plain.play(Reply(200, {"content-type": "application/json"}, b'{"id": "file_0123456789"}'))
    headers = {"content-type": "application/octet-stream", "anthropic-version": "2023-06-01"}
    stored = raw.request("POST", crowded.proxy.url + "/v1/files", bytes(2 * MB), headers)
    assert stored.status == 200
    assert len(crowded.plain.calls[-1].body) == 2 * MB


def test_http2_body_is_refused_at_its_headers_or_as_it_comes_and_the_other_stream_goes_on(crowded: Place) -> None:
    with crowded.h2() as client:

        def begin(stream_id: int, **fields: str) -> None:
            more = [("content-type", "application/json"), ("x-api-key", key_of("s"))]
            more += [(name.replace("_", "-"), value) for name, value in fields.items()]
            client.send(client.headers(stream_id, "POST", ANTHROPIC, more, end_stream=False))

        begin(1)
        begin(3, content_length=str(2 * MB))
        client.read_until(lambda: client.reset_code(3) is not None)
        begin(5)
        for piece in filler(2 * MB, bytes(16_000)):
            client.send(DataFrame(5, piece))
        client.read_until(lambda: client.reset_code(5) is not None)
        for stream_id in (3, 5):
            assert (client.status(stream_id), client.reset_code(stream_id)) == (503, ErrorCodes.NO_ERROR)
            assert_overloaded(client.body(stream_id))
        client.send(DataFrame(1, ask(10_000), flags=["END_STREAM"]))
        client.read_until(lambda: client.ended(1))
        assert check_anthropic_json(client.body(1)).text == "fine"


def half_sent(place: Place) -> socket.socket:
    """A client that has sent one of its two megabytes."""
    sock = connect(place.proxy.url)
    sock.sendall(head("POST", ANTHROPIC, host="localhost", content_length=str(2 * MB)) + bytes(MB))
    place.wait_until_held(lambda size: size == MB)
    return sock


def leave(place: Place) -> None:
    half_sent(place).close()


def reset(place: Place) -> None:
    sock = half_sent(place)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


def leave_before_the_answer(place: Place) -> None:
    place.plain.play(Reply(before="stall"))
    with closing(RawConnection(place.proxy.url)) as connection:
        connection.send("POST", place.proxy.url + ANTHROPIC, ask(MB))
        place.plain.wait_for(lambda server: len(server.calls) == 1)
        assert place.held == MB


def leave_within_the_answer(place: Place) -> None:
    place.plain.play(anthropic_stream("Hello").first(4, "stall"))
    answer = raw.request("POST", place.proxy.url + ANTHROPIC, b'{"stream": true,' + ask(MB)[1:], read=1)
    assert (answer.status, answer.ended) == (200, "left")


def refused_for_its_length(place: Place) -> None:
    begun = head("POST", ANTHROPIC, host="localhost", transfer_encoding="chunked")
    chunks = (b"%x\r\n%s\r\n" % (len(piece), piece) for piece in filler(2 * LONGEST))
    assert send_and_read(place.proxy.url, [begun, *chunks]).status == 413


def refused_for_what_it_says(place: Place) -> None:
    assert send(place, b"{" * MB, "/v1/messages/batches", content_encoding="gzip").status in (200, 400)
    assert send(place, b"{" * MB).status in (200, 400)


def broken_chunk(place: Place) -> None:
    begun = head("POST", ANTHROPIC, host="localhost", transfer_encoding="chunked")
    told = send_and_read(place.proxy.url, [begun, b"%x\r\n%s\r\n" % (MB, bytes(MB)), b"no size\r\n"])
    assert told.closed


def killed_at_its_head(place: Place) -> None:
    with pytest.raises(ConnectionError):
        send(place, ask(MB), x_kill_head="1")


def killed(place: Place) -> None:
    with pytest.raises(ConnectionError):
        send(place, ask(MB), x_kill="1")


def was_reset(client: RawH2, stream_id: int) -> bool:
    return client.reset_code(stream_id) is not None


def killed_in_http2(place: Place) -> None:
    """The connection stays open."""
    client = place.h2()
    for stream_id, kill in ((1, "x-kill"), (3, "x-kill-head")):
        client.send(client.headers(stream_id, "POST", ANTHROPIC, [(kill, "1")], end_stream=False))
        client.send(DataFrame(stream_id, ask(10_000), flags=["END_STREAM"]))
        client.read_until(partial(was_reset, client, stream_id))
    place.wait_until_held(lambda size: size == 0)
    client.__exit__(None, None, None)


def reset_in_http2(place: Place) -> None:
    """The connection stays open."""
    client = place.h2()
    client.send(client.headers(1, "POST", ANTHROPIC, end_stream=False), DataFrame(1, bytes(10_000)))
    place.wait_until_held(lambda size: size == 10_000)
    client.send(RstStreamFrame(1, int(ErrorCodes.CANCEL)))
    place.wait_until_held(lambda size: size == 0)
    client.__exit__(None, None, None)


def left_in_http2(place: Place) -> None:
    with place.h2() as client:
        client.send(client.headers(1, "POST", ANTHROPIC, end_stream=False), DataFrame(1, bytes(10_000)))
        place.wait_until_held(lambda size: size == 10_000)


ENDINGS = [
    leave,
    reset,
    leave_before_the_answer,
    leave_within_the_answer,
    refused_for_its_length,
    refused_for_what_it_says,
    broken_chunk,
    killed_at_its_head,
    killed,
    killed_in_http2,
    reset_in_http2,
    left_in_http2,
]


@pytest.mark.parametrize("end", ENDINGS, ids=lambda end: end.__name__)
def test_however_a_request_ends_its_room_is_there_again(place: Place, end: Callable[[Place], None]) -> None:
    end(place)
