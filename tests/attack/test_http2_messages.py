"""HTTP/2 requests and answers that are none, and those that come before the answer: each costs its own stream only."""

import threading

import h2.exceptions
import pytest

from tests.attack.http2_server import Asked, Pairs
from tests.attack.rude_client import Probed, RudeClient
from tests.attack.scripted import PATH, text_of
from tests.upstream import anthropic_stream

WRONG: dict[str, tuple[str, Pairs]] = {
    "a space in the path": ("/v1/messages HTTP/1.1\r\n", ()),
    "only a space in the path": ("/v1/ messages", ()),
    "a bare CR in a value": (PATH, (("x-a", "b\rc"),)),
    "NUL in a value": (PATH, (("x-a", "b\x00c"),)),
    "VT in a value": (PATH, (("x-a", "b\x0bc"),)),
    "LF in a value": (PATH, (("x-a", "b\nc: d"),)),
    "upper case": (PATH, (("X-A", "b"),)),
    "transfer-encoding": (PATH, (("transfer-encoding", "chunked"),)),
    "two hosts": (PATH, (("host", "other.example"),)),
    "two lengths": (PATH, (("content-length", "5"), ("content-length", "6"))),
    "a pseudo-header behind": (PATH, ((":path", "/v1/other"),)),
    "a colon in a name": (PATH, (("x:a", "b"),)),
    "an empty path": ("", ()),
}


@pytest.mark.parametrize(("path", "more"), WRONG.values(), ids=WRONG.keys())
def test_a_wrong_request_costs_its_own_stream_only(probed: Probed, path: str, more: Pairs) -> None:
    proxy, server = probed
    go = threading.Event()

    def begin(asked: Asked) -> None:
        chunks = anthropic_stream("a story").chunks
        asked.head()
        asked.data(b"".join(chunks[:4]))
        go.wait(10)
        asked.data(b"".join(chunks[4:]), end=True)

    server.play = begin
    with RudeClient(server.url, proxy) as client:
        beside = client.open("beside")
        client.flush()
        client.read_until(lambda: client.body[beside])
        if more and more[0][0] == "content-length":
            wrong = client.h2.get_next_available_stream_id()
            fields = [(":method", "POST"), (":scheme", "https"), (":authority", client.authority), (":path", path)]
            client.h2.send_headers(wrong, [*fields, *more])
        else:
            wrong = client.open("wrong", path=path, more=more)
        client.flush()
        client.read_until(lambda: wrong in client.reset)
        go.set()
        client.read_until(lambda: beside in client.ended)
        assert text_of(bytes(client.body[beside])) == "a story"
    assert len(server.asked) == 1


WRONG_ANSWERS: dict[str, tuple[str, Pairs]] = {
    "status 999": ("999", ()),
    "status 099": ("099", ()),
    "status 1": ("1", ()),
    "status 1000": ("1000", ()),
    "status +200": ("+200", ()),
    "101": ("101", ()),
    "NUL in a value": ("200", (("x-a", "b\x00c"),)),
    "a bare CR in a value": ("200", (("x-a", "b\rc"),)),
    "upper case": ("200", (("X-A", "b"),)),
    "transfer-encoding": ("200", (("transfer-encoding", "chunked"),)),
    "two statuses": ("200", ((":status", "200"),)),
    "too many headers": ("200", [(f"x-{number}", "b") for number in range(300)]),
}


@pytest.mark.parametrize(("status", "more"), WRONG_ANSWERS.values(), ids=WRONG_ANSWERS.keys())
def test_a_wrong_answer_costs_its_own_stream_only(probed: Probed, status: str, more: Pairs) -> None:
    """It is tried again, and the answers beside it on the same connection go on."""
    proxy, server = probed

    def begin(asked: Asked) -> None:
        asked.head()
        asked.data(b"".join(anthropic_stream("a story").chunks[:4]))

    def wrong(asked: Asked) -> None:
        server.play = lambda asked: asked.answer("healed")
        asked.head(status, (("content-type", "text/event-stream"), *more))

    server.play = begin
    with RudeClient(server.url, proxy) as client:
        beside = client.open("beside")
        client.flush()
        client.read_until(lambda: client.body[beside])
        server.play = wrong
        assert client.ask("wrong") == "healed"
        server.asked[0].data(b"".join(anthropic_stream("a story").chunks[4:]), end=True)
        client.read_until(lambda: beside in client.ended)
        assert text_of(bytes(client.body[beside])) == "a story"
        assert client.heads[beside]["x-healing-outcome"] == "clean"
    assert len({asked.peer.number for asked in server.asked}) == 1


def test_informational_answers_over_http2_are_skipped(probed: Probed) -> None:
    proxy, server = probed

    def play(asked: Asked) -> None:
        for status in ("103", "102", "103"):
            asked.head(status, [("link", "</style.css>")])
        asked.answer("fine")

    server.play = play
    with RudeClient(server.url, proxy) as client:
        assert client.ask("hints") == "fine"
        assert client.heads[1]["x-healing-outcome"] == "clean"


def test_informational_answers_over_http2_without_end_are_a_failure(probed: Probed) -> None:
    proxy, server = probed

    def endless(asked: Asked) -> None:
        server.play = lambda asked: asked.answer("healed")
        try:
            while asked.stream_id not in asked.peer.reset:
                asked.head("103", [("link", "</style.css>")])
        except h2.exceptions.ProtocolError:
            pass  # reset in between

    server.play = endless
    with RudeClient(server.url, proxy) as client:
        assert client.ask("hints") == "healed"
