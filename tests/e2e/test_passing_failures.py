"""A request of an API that passes unhealed and fails is told so in its dialect, if nothing has been answered yet."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import anthropic
import orjson
import pytest
from google.genai import errors

from tests.attack.h2_raw import RawH2
from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.test_modes_helpers import free_port
from tests.support import raw
from tests.support.sdk import anthropic_client, gemini_client
from tests.upstream import Reply, Upstream

JSON = {"content-type": "application/json"}
CLIENTS = {"anthropic": {"anthropic-version": "2023-06-01"}, "gemini": {"x-goog-api-key": "dummy"}}
PATHS = {
    "anthropic": ["/v1/files", "/v1/messages/batches"],
    "gemini": ["/v1beta/files", "/v1beta/interactions", "/upload/v1beta/files"],
}
ASKED = [(dialect, path) for dialect, paths in PATHS.items() for path in paths]


@dataclass(frozen=True)
class Place:
    """A proxy before servers that answer as they are told, and one before ports at which nobody listens."""

    proxy: Proxy
    dead: Proxy
    dead_port: int
    plain: Upstream
    secure: Upstream


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    folder = tmp_path_factory.mktemp("passing")
    with Upstream() as plain, Upstream(tls=True) as secure:
        port = free_port()

        def config(plain_url: str, secure_url: str) -> str:
            made = "".join(account(f"{name}-one", name) + upstream(name, name, plain_url) for name in CLIENTS)
            return made + account("secure-one", "secure") + upstream("secure", "anthropic", secure_url)

        options = {"ssl_verify_upstream_trusted_ca": str(secure.ca_file)}
        dead_urls = f"http://127.0.0.1:{port}", f"https://127.0.0.1:{port}"
        with (
            Proxy(folder / "proxy", config(plain.url, secure.url), options=options) as proxy,
            Proxy(folder / "dead", config(*dead_urls)) as dead,
        ):
            yield Place(proxy, dead, port, plain, secure)


@pytest.fixture(autouse=True)
def nothing_played(place: Place) -> None:
    place.plain.reset()
    place.secure.reset()


def ask(proxy: Proxy, dialect: str, path: str) -> raw.RawResponse:
    upload = path.startswith("/upload") or path == "/v1/files"
    headers = {**CLIENTS[dialect], **({"content-type": "application/octet-stream"} if upload else {})}
    return raw.request("POST" if upload else "GET", proxy.url + path, b"file" if upload else None, headers)


def message_of(answer: raw.RawResponse, dialect: str) -> str:
    """What the error of a 502 says, in the dialect."""
    assert (answer.status, answer.header("content-type")) == (502, "application/json")
    told = answer.json()
    if dialect == "anthropic":
        assert (told["type"], told["error"]["type"]) == ("error", "api_error")
    else:
        assert told["error"]["status"] == "UNAVAILABLE"
    assert key_of(f"{dialect}-one") not in answer.body.decode()
    assert answer.header("x-healing-id")
    message: str = told["error"]["message"]
    return message


@pytest.mark.parametrize(("dialect", "path"), ASKED)
def test_upstream_that_can_not_be_connected_to_is_named(place: Place, dialect: str, path: str) -> None:
    message = message_of(ask(place.dead, dialect, path), dialect)
    assert message.startswith(f"Could not connect to 127.0.0.1:{place.dead_port}: ")


FAILURES = {
    "closed": (Reply(before="close"), "broke off before it answered"),
    "reset": (Reply(before="reset"), "broke off before it answered"),
    "cut": (Reply(200, JSON, b'{"data": []}', end="cut"), "broke off in the middle of its answer"),
    "no head": (Reply(200, {**JSON, "x-odd": "a\x01b"}, b"{}"), "sent what can't be passed on"),
    "two lengths": (Reply(200, {"content-length": "2", "transfer-encoding": "chunked"}, b"{}"), "can't be passed on"),
    "secret": (
        Reply(200, {**JSON, "content-encoding": key_of("anthropic-one")}, b"{}"),
        "sent what can't be passed on",
    ),
}


@pytest.mark.parametrize(("dialect", "path"), ASKED)
@pytest.mark.parametrize("why", FAILURES)
def test_upstream_that_fails_before_any_of_its_answer_has_gone_out_is_named(
    place: Place, dialect: str, path: str, why: str
) -> None:
    reply, words = FAILURES[why]
    place.plain.play(reply)
    message = message_of(ask(place.proxy, dialect, path), dialect)
    assert f"127.0.0.1:{place.plain.port}" in message
    assert words in message
    assert len(place.plain.calls) == 1


def test_connection_serves_on_after_an_answer_that_failed(place: Place) -> None:
    place.plain.play(Reply(before="close"), Reply(200, JSON, b'{"data": []}'))
    connection = raw.RawConnection(place.proxy.url)
    answers = []
    for _ in range(2):
        connection.send("GET", place.proxy.url + "/v1/messages/batches", None, CLIENTS["anthropic"])
        answers.append(connection.read())
    connection.close()
    assert message_of(answers[0], "anthropic")
    assert (answers[1].status, answers[1].body) == (200, b'{"data": []}')


def test_answer_of_which_some_has_gone_out_breaks_off_as_it_did(place: Place) -> None:
    place.plain.play(Reply(200, {"content-type": "text/plain"}, chunks=(b"some of it, ", b"and more"), end="cut"))
    answer = raw.request("GET", place.proxy.url + "/v1/files/file_1/content", None, CLIENTS["anthropic"])
    assert (answer.status, answer.ended) == (200, "cut")
    assert answer.body.startswith(b"some of it")


def test_errors_of_upstream_pass_as_they_came(place: Place) -> None:
    place.plain.play(Reply(502, {"content-type": "text/html"}, b"<h1>Bad gateway</h1>"))
    answer = raw.request("GET", place.proxy.url + "/v1/messages/batches", None, CLIENTS["anthropic"])
    assert (answer.status, answer.body) == (502, b"<h1>Bad gateway</h1>")


def test_traffic_of_no_api_is_told_as_in_plain_mitmproxy(place: Place) -> None:
    url = f"http://127.0.0.1:{free_port()}/v1/messages/batches"
    answer = raw.request("GET", url, proxy=place.proxy.url)
    assert answer.status == 502
    assert b"<html" in answer.body


@pytest.mark.parametrize("dead", [False, True])
def test_http2_client_is_told_and_its_connection_serves_on(place: Place, dead: bool) -> None:
    proxy = place.dead if dead else place.proxy
    target = f"https://127.0.0.1:{place.dead_port}" if dead else place.secure.url
    place.secure.play(Reply(before="close"), Reply(200, JSON, b'{"data": []}'))
    more = list(CLIENTS["anthropic"].items())
    with RawH2(target, proxy.url, proxy.ca_file, {}) as client:
        for stream_id in (1, 3):
            client.send(client.headers(stream_id, "GET", "/v1/messages/batches", more))
            client.read_until(partial(client.ended, stream_id))
        told = orjson.loads(client.body(1))
        assert (client.status(1), told["error"]["type"]) == (502, "api_error")
        words = "Could not connect to" if dead else "broke off before it answered"
        assert words in told["error"]["message"]
        assert client.status(3) == (502 if dead else 200)


def test_sdks_raise_their_own_errors_with_these_words(place: Place) -> None:
    with anthropic_client(place.dead.url) as client, pytest.raises(anthropic.APIStatusError) as raised:
        client.messages.batches.list()
    assert raised.value.status_code == 502
    assert "Could not connect to 127.0.0.1" in raised.value.message
    google = gemini_client(place.dead.url)
    with pytest.raises(errors.ServerError, match=r"Could not connect to 127\.0\.0\.1"):
        google.files.list()
