"""When the proxy is to end, answers under way may finish; who has to be cut off is told why."""

import signal
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from threading import Event

import pytest

from tests.e2e.h2_client import H2Client
from tests.e2e.harness import Proxy, account, upstream
from tests.e2e.test_modes_helpers import CLIENT_KEY, DIALECTS, ask, body, error, read_json, read_stream, stream
from tests.e2e.web import running_web
from tests.support import raw
from tests.support.protocol import check_anthropic_error, check_gemini_error
from tests.upstream import Reply, Upstream, anthropic_heartbeats, gemini_heartbeats

each_dialect = pytest.mark.parametrize("dialect", DIALECTS)
LONG, NONE = "[shutdown]\ngrace = 30\n", "[shutdown]\ngrace = 0\n"
SHUT_DOWN = "The proxy was shut down"


def configuration(server: Upstream, more: str) -> str:
    accounts = "".join(account(f"{dialect}-only", dialect) for dialect in DIALECTS)
    return accounts + "".join(upstream(dialect, dialect, server.url) for dialect in DIALECTS) + more


@dataclass(frozen=True)
class Ending:
    """A proxy that can be ended in the middle of an answer, and the upstream behind it."""

    proxy: Proxy
    server: Upstream
    pool: ThreadPoolExecutor

    def begin(self, dialect: str, reply: Reply, sign: str, model: str = "running") -> Future[raw.RawResponse]:
        """Ask for an answer, and wait until the log says so."""
        self.server.play(reply)
        asked = self.pool.submit(ask, self.proxy.url, dialect, model)
        self.proxy.wait_for_log(sign)
        return asked

    def end(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Send a signal, and wait until the proxy has taken it up."""
        self.proxy.signal(number)
        self.proxy.wait_for_log("Shutting down: 1 answer may finish")


@contextmanager
def ending(folder: Path, more: str) -> Iterator[Ending]:
    with Upstream() as server, ThreadPoolExecutor(2) as pool:
        proxy = Proxy(folder, configuration(server, more)).start()
        try:
            yield Ending(proxy, server, pool)
        finally:
            proxy.stop()


def slow(dialect: str, go: Event) -> Reply:
    """A whole answer whose end waits."""
    return stream(dialect, "word " * 20).but(until=go)


def held(dialect: str) -> Reply:
    """A stream that says nothing yet."""
    return anthropic_heartbeats() if dialect == "anthropic" else gemini_heartbeats()


def unfinished(dialect: str) -> Reply:
    """A stream that stops in the middle of what it says."""
    return stream(dialect, "Half of it").first(4 if dialect == "anthropic" else 1, "stall")


def soon(dialect: str) -> Reply:
    """An error after which the proxy waits for a moment."""
    return error(dialect, 429, "Wait", {"retry-after": "2"})


def message_of(dialect: str, response: raw.RawResponse) -> str:
    """What an error says, which must be in the dialect's shape. Anthropic's own overload has another status."""
    check = check_gemini_error if dialect == "gemini" else partial(check_anthropic_error, any_status=True)
    return str(check(response.status, response.body)["message"])


@each_dialect
def test_an_answer_finishes_and_what_comes_meanwhile_is_to_come_again(tmp_path: Path, dialect: str) -> None:
    with ending(tmp_path, LONG) as place:
        go = Event()
        running = place.begin(dialect, slow(dialect, go), "the answer begins")
        place.end(signal.SIGTERM if dialect == "anthropic" else signal.SIGINT)
        for later in DIALECTS:
            refused = ask(place.proxy.url, later, "late")
            assert refused.status == 503
            assert int(refused.header("retry-after") or "") > 0
            assert "shutting down" in message_of(later, refused)
        plain = raw.request("GET", f"{place.server.url}/page", proxy=place.proxy.url)
        assert plain.status == 503
        go.set()
        assert read_stream(dialect, running.result().body) == "word " * 20
        assert place.proxy.wait_exit() == 0, place.proxy.log
        assert [call for call in place.server.calls if b"late" in call.body or call.path == "/page"] == []
        assert place.proxy.log.count("delivered, clean") == 1
        assert "delivered, clean" in place.proxy.log_file.read_text()


@each_dialect
def test_a_second_signal_ends_at_once_and_the_client_is_told_the_truth(tmp_path: Path, dialect: str) -> None:
    with ending(tmp_path, LONG) as place:
        running = place.begin(dialect, unfinished(dialect), "the answer begins")
        place.end()
        place.proxy.signal(signal.SIGTERM)
        check_late_failure(dialect, running.result())
        assert place.proxy.wait_exit() == 0, place.proxy.log
        assert SHUT_DOWN in place.proxy.log_file.read_text()


@each_dialect
def test_what_does_not_finish_within_the_grace_is_told_the_truth(tmp_path: Path, dialect: str) -> None:
    with ending(tmp_path, NONE) as place:
        running = place.begin(dialect, unfinished(dialect), "the answer begins")
        place.end()
        check_late_failure(dialect, running.result())
        assert place.proxy.wait_exit() == 0, place.proxy.log


def check_late_failure(dialect: str, response: raw.RawResponse) -> None:
    """An answer that broke off in its dialect's late form, with the proxy's end as the reason."""
    assert response.status == 200
    assert response.ended in ("cut", "reset")
    if dialect == "gemini":
        assert SHUT_DOWN.encode() in response.body
    assert b"closed" not in response.body


@each_dialect
@pytest.mark.parametrize(
    ("reply", "sign"),
    [
        (held, "attempt 1 on"),
        (soon, "on the same account in"),
    ],
    ids=["held", "waiting"],
)
def test_who_has_got_nothing_yet_gets_a_503(
    tmp_path: Path, dialect: str, reply: Callable[[str], Reply], sign: str
) -> None:
    with ending(tmp_path, NONE) as place:
        running = place.begin(dialect, reply(dialect), sign)
        place.end()
        response = running.result()
        assert response.status == 503
        assert int(response.header("retry-after") or "") > 0
        assert SHUT_DOWN in message_of(dialect, response)
        assert len(place.server.calls) == 1
        assert place.proxy.wait_exit() == 0, place.proxy.log


def test_a_proxy_that_has_nothing_to_do_ends_at_once(tmp_path: Path) -> None:
    with ending(tmp_path, LONG) as place:
        idle = raw.RawConnection(place.proxy.url)
        idle.send("GET", f"{place.proxy.url}/health")
        assert idle.read().status == 200
        place.proxy.signal(signal.SIGTERM)
        assert place.proxy.wait_exit() == 0
        assert "Shutting down" not in place.proxy.log
        assert "Traceback" not in place.proxy.log
        idle.close()


def test_mitmweb_lets_answers_finish_too(tmp_path: Path) -> None:
    with (
        Upstream() as server,
        ThreadPoolExecutor(1) as pool,
        running_web(tmp_path, server, configuration(server, LONG)) as web,
    ):
        go = Event()
        server.play(slow("anthropic", go))
        running = pool.submit(ask, web.proxy.url, "anthropic", "running")
        web.proxy.wait_for_log("the answer begins")
        web.proxy.signal(signal.SIGTERM)
        web.proxy.wait_for_log("Shutting down: 1 answer may finish")
        go.set()
        assert read_stream("anthropic", running.result().body) == "word " * 20
        assert web.proxy.wait_exit() == 0


def test_a_client_key_is_asked_for_before_anything_is_said(tmp_path: Path) -> None:
    with ending(tmp_path, LONG + '[clients]\nkeys = ["the-gateway-key"]\nloopback_only = false\n') as place:
        go = Event()
        place.server.play(slow("anthropic", go))
        key = {"x-api-key": "the-gateway-key"}
        running = place.pool.submit(ask, place.proxy.url, "anthropic", "running", headers=key)
        place.proxy.wait_for_log("the answer begins")
        place.end()
        assert ask(place.proxy.url, "anthropic", "late", headers={"x-api-key": CLIENT_KEY}).status == 401
        assert ask(place.proxy.url, "anthropic", "late", headers=key).status == 503
        go.set()
        assert running.result().status == 200


@each_dialect
def test_a_whole_answer_finishes_and_one_that_does_not_is_a_503(tmp_path: Path, dialect: str) -> None:
    with ending(tmp_path, LONG) as place:
        go = Event()
        place.server.play(slow(dialect, go), unfinished(dialect))
        whole = place.pool.submit(ask, place.proxy.url, dialect, "whole", stream=False)
        place.proxy.wait_for_log("attempt 1 on")
        never = place.pool.submit(ask, place.proxy.url, dialect, "never", stream=False)
        place.server.wait_for(lambda server: len(server.calls) == 2)
        place.proxy.signal(signal.SIGTERM)
        place.proxy.wait_for_log("Shutting down: 2 answers may finish")
        go.set()
        assert read_json(dialect, whole.result().body) == "word " * 20
        place.proxy.signal(signal.SIGTERM)
        assert never.result().status == 503
        assert SHUT_DOWN in message_of(dialect, never.result())
        assert place.proxy.wait_exit() == 0, place.proxy.log


def test_http2_clients_in_tunnels_finish_and_are_told_too(tmp_path: Path) -> None:
    with Upstream(tls=True, http2=True) as server:
        options = {"ssl_verify_upstream_trusted_ca": str(server.ca_file)}
        config = account("only", "anthropic") + upstream("anthropic", "anthropic", server.url) + LONG
        proxy = Proxy(tmp_path, config, options=options).start()
        try:
            ca = proxy.ca_file
            with H2Client(server.url, proxy=proxy.url, ca=ca) as client:
                go = Event()
                server.play(slow("anthropic", go), held("anthropic"))
                first = client.post("/v1/messages", body("anthropic", "first"))
                proxy.wait_for_log("the answer begins")
                second = client.post("/v1/messages", body("anthropic", "second"))
                server.wait_for(lambda server: len(server.calls) == 2)
                proxy.signal(signal.SIGTERM)
                proxy.wait_for_log("Shutting down: 2 answers may finish")
                late = client.post("/v1/messages", body("anthropic", "late"))
                client.whole(late)
                assert client.heads[late][":status"] == "503"
                go.set()
                assert read_stream("anthropic", client.whole(first)) == "word " * 20
                proxy.signal(signal.SIGTERM)
                assert SHUT_DOWN.encode() in client.whole(second)
                assert client.heads[second][":status"] == "503"
            assert proxy.wait_exit() == 0, proxy.log
            assert "Traceback" not in proxy.log
        finally:
            proxy.stop()


HALVES = {
    "a request": "POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-length: 999\r\n\r\n{",
    "a file": "POST /v1/files HTTP/1.1\r\nhost: localhost\r\nanthropic-version: any\r\n"
    "content-type: multipart/form-data; boundary=x\r\ncontent-length: 999\r\n\r\n--x",
    "an answer that merely passes": "GET /v1/files HTTP/1.1\r\nhost: localhost\r\nanthropic-version: any\r\n\r\n",
}


@pytest.mark.parametrize("what", HALVES)
def test_who_is_in_the_middle_and_can_be_told_nothing_is_parted_with(tmp_path: Path, what: str) -> None:
    with ending(tmp_path, LONG) as place:
        if what == "an answer that merely passes":
            place.server.play(Reply(200, {"content-type": "application/json"}, b"{}").but(before="stall"))
        half = raw.RawConnection(place.proxy.url)
        half.send_bytes(HALVES[what].encode())
        if what == "a request":
            place.proxy.wait_for_log("client connect")
            assert raw.request("HEAD", f"{place.proxy.url}/").status == 200
        else:
            place.proxy.wait_for_log("server connect")
        go = Event()
        running = place.begin("anthropic", slow("anthropic", go), "the answer begins")
        place.proxy.signal(signal.SIGTERM)
        place.proxy.wait_for_log("Shutting down: 2 answers may finish")
        go.set()
        assert read_stream("anthropic", running.result().body) == "word " * 20
        place.proxy.signal(signal.SIGTERM)
        assert half.socket.recv(1024) == b""
        assert place.proxy.wait_exit() == 0, place.proxy.log
        half.close()
