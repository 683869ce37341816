"""Exchanges that failed are captured in files, and `-C` replays those in scripts."""

import gzip
import stat
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from mitmproxy import http

from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.test_modes_helpers import (
    CLIENT_KEY,
    DIALECTS,
    ask,
    empty,
    error,
    read_stream,
    saved_flows,
    split_roles,
    story,
    stream,
    target,
)
from tests.e2e.test_modes_helpers import body as body_of
from tests.e2e.web import running_web
from tests.support import raw
from tests.upstream import Call, Reply, Upstream, anthropic_heartbeats, anthropic_stream, healthy

each_dialect = pytest.mark.parametrize("dialect", DIALECTS)
RULES = """
[retry]
max_attempts = 2
max_wait = 2
[models]
"*-hasty" = { peek = { first_content = 0.3 } }
"""


def configuration(server: Upstream, more: str = RULES) -> str:
    config = "".join(
        account(f"{dialect}-{place}", dialect, priority=priority)
        for dialect in DIALECTS
        for priority, place in enumerate(("first", "second"))
    )
    return config + "".join(upstream(dialect, dialect, server.url) for dialect in DIALECTS) + more


def captured(proxy: Proxy) -> list[tuple[http.HTTPFlow, list[http.HTTPFlow]]]:
    """What has been captured: each exchange with its attempts."""
    folder = proxy.folder / "home" / "captured"
    flows = [flow for file in sorted(folder.glob("*.flow")) for flow in saved_flows(file)]
    return list(split_roles(flows))


def repeat_key(dialect: str) -> Reply:
    """A refusal that repeats the account's key, as upstreams do."""
    return error(dialect, 500, f"No luck with {key_of(f'{dialect}-first')}", {"x-echo": key_of(f"{dialect}-first")})


@dataclass(frozen=True)
class Place:
    """A proxy, which has met a failure of each kind in each dialect, and the upstream behind it."""

    proxy: Proxy
    server: Upstream

    def captured(self, model: str) -> tuple[http.HTTPFlow, list[http.HTTPFlow]]:
        [found] = [pair for pair in captured(self.proxy) if story(pair[0])["model"] == model]
        return found

    @property
    def file(self) -> Path:
        [file] = (self.proxy.folder / "home" / "captured").iterdir()
        return file


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Place]:
    with Upstream() as server, Proxy(tmp_path_factory.mktemp("capture"), configuration(server)) as proxy:
        for dialect in DIALECTS:
            server.play(repeat_key(dialect), error(dialect, 500, "Bad day", {"x-should-retry": "false"}))
            assert ask(proxy.url, dialect, f"{dialect}-status").status == 500
            server.play(stream(dialect).first(4 if dialect == "anthropic" else 1))
            ask(proxy.url, dialect, f"{dialect}-cut")
            server.play(empty(dialect), stream(dialect))
            ask(proxy.url, dialect, f"{dialect}-healed")
            ask(proxy.url, dialect, f"{dialect}-clean")
        server.play(anthropic_heartbeats(), anthropic_heartbeats())
        ask(proxy.url, "anthropic", "anthropic-hasty")
        leave(proxy, server)
        server.play(error("anthropic", 400, "Not like this"))
        ask(proxy.url, "anthropic", "anthropic-refused")
        # The writer does one after the other.
        proxy.wait_for_log("captured in", 6)
        yield Place(proxy, server)


def leave(proxy: Proxy, server: Upstream) -> None:
    """Leave after the first content, and again while the proxy waits before another attempt."""
    for model, reply, sign in (
        ("left", anthropic_stream().first(6, end="stall"), "the answer begins"),
        ("left-waiting", error("anthropic", 429, "Wait", {"retry-after": "1"}), "retrying... on the same account in"),
    ):
        server.play(reply)
        seen = proxy.log.count(sign)
        connection = raw.RawConnection(proxy.url)
        connection.send("POST", proxy.url + target("anthropic", model), body_of("anthropic", model))
        proxy.wait_for_log(sign, seen + 1)
        connection.close()
    proxy.wait_for_log("the client left", 2)


@each_dialect
def test_a_failed_exchange_is_captured_with_its_attempts(place: Place, dialect: str) -> None:
    exchange, attempts = place.captured(f"{dialect}-status")
    assert story(exchange)["outcome"] == "failed"
    assert exchange.response is not None
    assert exchange.response.status_code == 500
    assert b"Bad day" in (exchange.response.content or b"")
    assert exchange.comment
    assert [story(attempt)["attempt"] for attempt in attempts] == [1, 2]
    assert [attempt.response.status_code for attempt in attempts if attempt.response] == [500, 500]
    assert all(attempt.request.content == exchange.request.content for attempt in attempts)
    exchange, [attempt] = place.captured(f"{dialect}-cut")
    assert exchange.response is not None
    assert attempt.response is not None
    assert attempt.response.content


def test_an_attempt_that_is_left_after_the_answer_is_captured_whole(place: Place) -> None:
    exchange, attempts = place.captured("anthropic-hasty")
    assert exchange.response is not None
    assert b"Timeout waiting for first data" in (exchange.response.content or b"")
    assert len(attempts) == 2
    assert all(attempt.error is not None and attempt.response is not None for attempt in attempts)


def test_nothing_else_is_captured(place: Place) -> None:
    models = [story(exchange)["model"] for exchange, _ in captured(place.proxy)]
    assert models == [
        *(f"{dialect}-{kind}" for dialect in DIALECTS for kind in ("status", "cut")),
        "anthropic-hasty",
        "anthropic-refused",
    ]


def test_a_captured_file_has_no_secret_and_is_its_owners_alone(place: Place) -> None:
    data = place.file.read_bytes()
    assert b"No luck with [redacted]" in data
    assert CLIENT_KEY.encode() not in data
    assert b"key-of-" not in data
    assert stat.S_IMODE(place.file.stat().st_mode) == 0o600
    assert stat.S_IMODE(place.file.parent.stat().st_mode) == 0o700
    assert place.file.name == f"{time.strftime('%Y-%m-%d')}.flow"


def script(place: Place, folder: Path, *args: str, default: Callable[[Call], Reply] = healthy) -> tuple[int, Proxy]:
    """Run `mitmdump -C` on what has been captured, with an upstream that answers like this."""
    place.server.reset()
    place.server.default = default
    proxy = Proxy(folder, configuration(place.server), args=["-C", str(place.file), *args]).start(wait=False)
    try:
        return proxy.wait_exit(), proxy
    finally:
        proxy.stop()
        place.server.default = healthy


def test_a_script_sees_that_all_now_succeeds(place: Place, tmp_path: Path) -> None:
    status, proxy = script(place, tmp_path)
    assert status == 0, proxy.log
    for exchange, _ in captured(place.proxy):
        before = story(exchange)
        [line] = [line for line in proxy.lines if f"[{before['exchange']}]" in line and " → " in line]
        assert f"{before['model']}: failed (" in line
        assert line.endswith(" → clean")
    [status_line] = [line for line in proxy.lines if "anthropic-status: failed (" in line and " → " in line]
    assert "anthropic-status: failed (500 api_error: Bad day, 2 attempts) → clean" in status_line
    assert "6 exchanges replayed: 6 succeeded, 0 failed" in proxy.log
    assert "Traceback" not in proxy.log


def test_a_script_sees_that_something_still_fails(place: Place, tmp_path: Path) -> None:
    seen = set[bytes]()

    def answer(call: Call) -> Reply:
        dialect = "anthropic" if call.path == "/v1/messages" else "gemini"
        if b"anthropic-cut" in call.body:
            return error("anthropic", 400, "Never")
        key = call.body + call.path.encode()
        if key in seen:
            return stream(dialect)
        seen.add(key)
        return empty(dialect)

    # All at the same time, which mitmproxy by itself would not wait for.
    status, proxy = script(place, tmp_path, "--set", "client_replay_concurrency=-1", default=answer)
    assert status == 1, proxy.log
    assert "6 exchanges replayed: 5 succeeded, 1 failed" in proxy.log
    told = [line.partition(" → ")[2] for line in proxy.lines if ": failed (" in line and " → " in line]
    assert sorted(told) == ["failed (400 invalid_request_error: Never)", *["healed (2 attempts)"] * 5]
    assert "Traceback" not in proxy.log
    # What fails while it is replayed is in a file already.
    assert not (tmp_path / "home" / "captured").exists()


def test_a_script_that_is_interrupted_has_not_succeeded(place: Place, tmp_path: Path) -> None:
    place.server.reset()
    place.server.play(anthropic_heartbeats())
    proxy = Proxy(tmp_path, configuration(place.server), args=["-C", str(place.file)]).start(wait=False)
    place.server.wait_for(lambda server: server.calls)
    assert proxy.stop() == 1
    assert "1 exchange replayed: 0 succeeded, 0 failed, 1 not finished" in proxy.log


def test_mitmweb_stays_when_it_has_replayed_and_captures_nothing_that_it_reads(place: Place, tmp_path: Path) -> None:
    place.server.reset()
    args = ["-C", str(place.file), "-r", str(place.file)]
    with running_web(tmp_path, place.server, configuration(place.server), args) as web:
        web.wait_for(lambda: sum(line.endswith(" → clean") for line in web.events()) == 6)
        web.wait_for(lambda: len({flow["id"] for flow in web.flows()}) == len(saved_flows(place.file)) + 6)
        assert read_stream("anthropic", ask(web.proxy.url, "anthropic", "still-there").body)
    assert not (tmp_path / "home" / "captured").exists()


def test_capturing_can_be_turned_off(tmp_path: Path) -> None:
    with Upstream() as server:
        config = configuration(server, "[capture]\nenabled = false\n")
        with Proxy(tmp_path, config) as proxy:
            server.play(error("anthropic", 400, "No"))
            ask(proxy.url, "anthropic", "off")
    assert not (tmp_path / "home" / "captured").exists()


def test_no_exchange_suffers_when_the_folder_cant_be_written(tmp_path: Path) -> None:
    folder = tmp_path / "home" / "captured"
    folder.parent.mkdir()
    folder.write_text("in the way")
    with Upstream() as server, Proxy(tmp_path, configuration(server)) as proxy:
        for _ in range(3):
            server.play(error("anthropic", 400, "No"))
            assert ask(proxy.url, "anthropic", "m").status == 400
        proxy.wait_for_log("failed exchanges are not captured")
        assert read_stream("anthropic", ask(proxy.url, "anthropic", "m").body)
        folder.unlink()
        server.play(error("anthropic", 400, "Last words"))
        ask(proxy.url, "anthropic", "last")
    # What failed just before the end is written at the end, as soon as it can be.
    assert "last" in [story(exchange)["model"] for exchange, _ in captured(proxy)]
    assert sum("failed exchanges are not captured" in line for line in proxy.lines) == 1, proxy.log


def test_a_compressed_request_and_half_a_character_in_its_model_are_captured_and_replayed(tmp_path: Path) -> None:
    with Upstream() as server:
        server.default = error("anthropic", 400, "Not like this")
        body = b'{"model":"odd-\\ud800","max_tokens":9,"stream":true,"messages":[{"role":"user","content":"packed"}]}'
        headers = {"x-api-key": CLIENT_KEY, "content-encoding": "gzip", "content-type": "application/json"}
        saved = tmp_path / "saved.flows"
        with Proxy(tmp_path / "first", configuration(server), args=["-w", str(saved)]) as proxy:
            packed = gzip.compress(body)
            assert raw.request("POST", f"{proxy.url}/v1/messages", packed, headers).status == 400
            proxy.wait_for_log("captured in")
            [(exchange, [attempt])] = captured(proxy)
        assert (exchange.request.content, exchange.request.raw_content) == (body, packed)
        assert (attempt.request.raw_content, attempt.request.headers.get("content-encoding")) == (body, None)
        assert len(saved_flows(saved)) == 2
        server.default = anthropic_stream()
        [file] = (proxy.folder / "home" / "captured").iterdir()
        replay = Proxy(tmp_path / "again", configuration(server), args=["-C", str(file)]).start(wait=False)
        assert replay.wait_exit() == 0, replay.log
        assert [call.body for call in server.calls] == [body, body]


def test_a_failure_is_not_pushed_out_by_what_the_proxy_refuses_itself(tmp_path: Path) -> None:
    with Upstream() as server, Proxy(tmp_path, configuration(server, "[capture]\nmax_exchanges = 5\n")) as proxy:
        server.play(stream("anthropic").first(4))
        ask(proxy.url, "anthropic", "m-cut")
        server.default = error("anthropic", 429, "Later", {"retry-after": "3600"})
        for _ in range(250):
            assert ask(proxy.url, "anthropic", "m").status == 429
        calls = len(server.calls)
        assert calls == 3, "one for the cut, one for each account that cools since"
    models = [story(exchange)["model"] for exchange, _ in captured(proxy)]
    assert models == ["m-cut", "m"]
    [file] = (tmp_path / "home" / "captured").iterdir()
    replay = Proxy(tmp_path / "again", configuration(server), args=["-n", "-r", str(file)]).start(wait=False)
    assert replay.wait_exit() == 0, replay.log


def test_the_same_failure_is_captured_once_and_counted_and_another_is_captured(tmp_path: Path) -> None:
    with Upstream() as server, running_web(tmp_path, server, configuration(server)) as web:
        proxy = web.proxy
        for dialect in DIALECTS:
            server.default = error(dialect, 400, "Field 17 is wrong")
            for _ in range(4):
                assert ask(proxy.url, dialect, f"{dialect}-wrong").status == 400
            server.default = error(dialect, 400, "Another field is wrong")
            assert ask(proxy.url, dialect, f"{dialect}-wrong").status == 400
        web.wait_for(lambda: proxy.health()["running"] == 0)
        listed = web.command("antigravity.capture.list")
        assert [line.partition("wrong (")[2] for line in listed if "wrong (" in line] == [
            line
            for dialect, kind in (("anthropic", "invalid_request_error"), ("gemini", "INVALID_ARGUMENT"))
            for line in (
                f"{dialect}): failed (400 {kind}: Field 17 is wrong), 4 times within a minute",
                f"{dialect}): failed (400 {kind}: Another field is wrong)",
            )
        ]
        server.play(error("anthropic", 400, "Field 18 is wrong"))
        assert ask(proxy.url, "anthropic", "anthropic-wrong").status == 400
    # What has been counted since is written at the end.
    assert [story(exchange).get("times", 1) for exchange, _ in captured(proxy)] == [5, 1, 4, 1]
