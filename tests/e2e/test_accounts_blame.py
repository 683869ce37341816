"""Who is at fault: an account is kept away for what upstream said of it, and for nothing else."""

import shlex
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from threading import Event

import pytest

from tests.e2e.conftest import Lane
from tests.e2e.failures import answer, error, healthy_accounts, other_model
from tests.e2e.failures import ask as ask_lane
from tests.e2e.h2_client import H2Client
from tests.e2e.harness import Proxy, account, key_of, upstream
from tests.e2e.test_modes_helpers import DIALECTS, ask, body, credential, keys_of, read_error, read_json, read_stream
from tests.e2e.test_modes_helpers import error as error_in
from tests.e2e.test_modes_helpers import stream as stream_in
from tests.e2e.web import Web, running_web
from tests.support import raw
from tests.support.protocol import check_anthropic_stream
from tests.upstream import Reply, Upstream, anthropic_error, anthropic_stream

CLOCK_S = 3.0
"""Of what is held up here and must not run out: a busy machine takes a part of it, too."""
TRY_S = 1.1
"""Of a server that says nothing, three times: together longer than CLOCK_S."""
LONG = "once upon a time " * 700_000
"""More than fits into all buffers on the way to a client that does not read."""
CONNECTIONS = 5
"""As many as mitmproxy makes to one address at once for a client's connection."""

each_dialect = pytest.mark.parametrize("dialect", DIALECTS)
with_and_without_stream = pytest.mark.parametrize("stream", [True, False], ids=["stream", "json"])


class LongRead:
    """A client whose long answer has begun, and which takes the rest of it when it is told to."""

    def __init__(self, url: str, model: str, server: Upstream) -> None:
        before = len(server.calls)
        self._connection = raw.RawConnection(url, timeout=60)
        self._connection.send("POST", f"{url}/v1/messages", body("anthropic", model), credential("anthropic"))
        server.wait_for(lambda up: len(up.calls) > before and up.calls[-1].sent > 0 and up.calls[-1].reply is not None)

    def finish(self) -> None:
        response = self._connection.read("POST")
        self._connection.close()
        assert response.ended == "complete"
        assert b"message_stop" in response.body[-200:]


# A success says nothing of what came after it began.


@pytest.mark.parametrize(
    "refusal",
    [
        lambda lane: error(
            lane,
            429,
            "Limit reached.",
            headers={"retry-after": "18000", "anthropic-ratelimit-unified-status": "rejected"},
        ),
        lambda lane: error(lane, 401, "invalid x-api-key"),
        lambda lane: error(lane, 402, "Your account has a past due invoice."),
    ],
    ids=["quota", "key", "billing"],
)
def test_a_stream_that_began_before_a_refusal_does_not_take_it_back(
    lane: Lane, refusal: Callable[[Lane], Reply]
) -> None:
    told, over = len(lane.proxy.lines), Event()
    lane.upstream.play(anthropic_stream("once upon a time", until=over))
    reading = LongRead(lane.proxy.url, other_model(lane), lane.upstream)
    ask_lane(lane, refusal(lane), answer(lane)).assert_served("Hello", ["first", "second"])
    over.set()
    reading.finish()
    lane.proxy.wait_for(lambda: any("delivered, clean" in line for line in lane.proxy.lines[told:]), "its end")
    assert healthy_accounts(lane)["first"] is False
    ask_lane(lane, answer(lane, "again")).assert_served("again", ["second"])


# Limits that are short, on every try.


def test_a_short_limit_on_every_try_moves_to_the_account_that_is_idle(lane: Lane) -> None:
    limited = error(lane, 429, "Slow down.", headers={"retry-after": "0.2"})
    asked = ask_lane(lane, limited, limited, answer(lane))
    asked.assert_served("Hello", ["first", "first", "second"])
    assert healthy_accounts(lane) == {"first": True, "second": True}


# A proxy with accounts of many kinds.


@dataclass(frozen=True)
class Court:
    """A proxy, and three servers behind it; `secure` speaks HTTP/2."""

    proxy: Proxy
    near: Upstream
    far: Upstream
    secure: Upstream


def command(folder: Path) -> str:
    """What prints another token each time it is run."""
    script = (
        "import pathlib, sys; runs = pathlib.Path(sys.argv[1]); runs.open('a').write('x');"
        "print(f'token-{runs.stat().st_size}-0123')"
    )
    return "cmd:" + shlex.join([sys.executable, "-c", script, str(folder / "runs")])


def routes(**clocks: str) -> str:
    """Routes to `near` for the models `NAME-x`, each under a clock of its own."""
    made = (f'"{name}-x" = {{ to = "near/{name}-x", peek = {{ {clock} }} }}\n' for name, clock in clocks.items())
    return "[models]\n" + "".join(made)


@pytest.fixture(scope="module")
def shared_court(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Court]:
    folder = tmp_path_factory.mktemp("court")
    with Upstream() as near, Upstream() as far, Upstream(tls=True, http2=True) as secure:
        config = "".join(account(f"six-{n}", "near", models=["six-*"], priority=n) for n in range(6))
        for place, (name, server) in enumerate((("busy-near", "near"), ("busy-beside", "near"), ("busy-far", "far"))):
            config += account(name, server, models=["busy-*"], priority=place)
        config += account("fresh", "near", models=["fresh-*"], api_key=command(folder))
        config += account("spare", "near", models=["fresh-*"], priority=1)
        config += account("slots", "near", models=["slot-*", "slow-*"]) + account("clock", "near", models=["clock-*"])
        servers = {"near": near, "far": far, "secure": secure}
        config += "".join(
            upstream(name, "anthropic", server.url) + f"connections = {CONNECTIONS}\n"
            for name, server in servers.items()
        )
        config += routes(slot=f"first_byte = {CLOCK_S}", clock=f"first_byte = {TRY_S}", slow=f"idle = {CLOCK_S}")
        options = {"ssl_verify_upstream_trusted_ca": str(secure.ca_file)}
        with Proxy(folder, config, options=options) as proxy:
            yield Court(proxy, near, far, secure)


@pytest.fixture
def court(shared_court: Court) -> Court:
    for server in (shared_court.near, shared_court.far, shared_court.secure):
        server.reset()
    return shared_court


def benches_of(proxy: Proxy, name: str) -> list[object]:
    [found] = [each["benches"] for each in proxy.health()["accounts"] if each["name"] == name]
    assert isinstance(found, list)
    return found


@pytest.mark.parametrize("status", [429, 401])
def test_of_six_keys_of_which_five_are_refused_the_first_request_is_served_by_the_sixth(
    court: Court, status: int
) -> None:
    headers = {"retry-after": "3600"} if status == 429 else {}
    court.near.play(*[error_in("anthropic", status, "No more.", headers)] * 5, stream_in("anthropic", "Served"))
    # The model is another one each time: what is left of the first case is about that model only.
    response = ask(court.proxy.url, "anthropic", f"six-{status}")
    assert read_stream("anthropic", response.body) == "Served"
    assert keys_of(court.near.calls) == [key_of(f"six-{n}") for n in range(6)]
    assert response.header("x-healing-attempts") == "6"


def test_a_busy_server_is_left_the_second_time_for_another_upstream_and_not_for_its_other_account(court: Court) -> None:
    court.near.play(*[anthropic_error(529, "overloaded_error", "Overloaded")] * 2)
    court.far.play(stream_in("anthropic", "From afar"))
    response = ask(court.proxy.url, "anthropic", "busy-x")
    assert read_stream("anthropic", response.body) == "From afar"
    assert keys_of(court.near.calls) == [key_of("busy-near")] * 2
    assert keys_of(court.far.calls) == [key_of("busy-far")]


def test_a_server_that_says_it_will_be_busy_for_long_is_left_at_once(court: Court) -> None:
    court.near.play(anthropic_error(529, "overloaded_error", "Overloaded", headers={"retry-after": "3600"}))
    response = ask(court.proxy.url, "anthropic", "busy-y")
    assert read_stream("anthropic", response.body)
    assert (len(court.near.calls), len(court.far.calls)) == (1, 1)
    assert benches_of(court.proxy, "busy-near") == []


def test_a_busy_server_that_recovers_keeps_its_requests(court: Court) -> None:
    court.near.play(anthropic_error(529, "overloaded_error", "Overloaded"))
    assert read_stream("anthropic", ask(court.proxy.url, "anthropic", "busy-z").body)
    assert (len(court.near.calls), len(court.far.calls)) == (2, 0)


def test_an_account_serves_others_while_its_renewed_key_serves_a_long_stream(court: Court) -> None:
    over = Event()
    court.near.play(error_in("anthropic", 401, "token expired"), anthropic_stream("once upon a time", until=over))
    reading = LongRead(court.proxy.url, "fresh-x", court.near)
    court.near.wait_for(lambda up: len(up.calls) == 2 and up.calls[1].sent)
    assert benches_of(court.proxy, "fresh") == []
    response = ask(court.proxy.url, "anthropic", "fresh-x", "another conversation")
    assert read_stream("anthropic", response.body)
    over.set()
    reading.finish()
    assert keys_of(court.near.calls) == ["token-1-0123", "token-2-0123", "token-2-0123"]


# What is held up here.


def wait_until_a_clock_has_run_out(proxy: Proxy, server: Upstream) -> None:
    """Have a request meet a server that says nothing for so long that it is given up: so much time has passed."""
    server.play(*[Reply(before="stall")] * 3, key="clock")
    response = ask(proxy.url, "anthropic", "clock-x", "[plan:clock]")
    assert response.status == 504
    assert "no response headers" in read_error("anthropic", response)["message"]


def test_an_attempt_that_waits_for_a_connection_is_not_timed_and_no_accounts_failure(court: Court) -> None:
    begun = anthropic_stream()
    court.near.play(*[begun.first(len(begun.chunks) - 3, "stall")] * CONNECTIONS, key="held")
    with H2Client(court.secure.url, proxy=court.proxy.url, ca=court.proxy.ca_file) as client:
        held = [client.post("/v1/messages", body("anthropic", "slot-x", "[plan:held]")) for _ in range(CONNECTIONS)]
        client.read_until(lambda: all(client.body[each] for each in held))
        last = client.post("/v1/messages", body("anthropic", "slot-x", "at last"))
        wait_until_a_clock_has_run_out(court.proxy, court.near)
        assert not [call for call in court.near.calls if b"at last" in call.body]
        client.leave(held[0])
        assert check_anthropic_stream(client.whole(last)).ended == "complete"
        assert client.heads[last]["x-healing-outcome"] == "clean"
    assert len([call for call in court.near.calls if b"at last" in call.body]) == 1
    assert benches_of(court.proxy, "slots") == []


def test_a_client_that_reads_slowly_is_no_silent_upstream(court: Court) -> None:
    court.near.play(anthropic_stream(LONG, pieces=64))
    reading = LongRead(court.proxy.url, "slow-x", court.near)
    wait_until_a_clock_has_run_out(court.proxy, court.near)
    reading.finish()
    assert benches_of(court.proxy, "slots") == []


def test_an_http2_client_that_reads_slowly_is_no_silent_upstream(court: Court) -> None:
    court.near.play(anthropic_stream(LONG[: len(LONG) // 4], pieces=64))
    with H2Client(court.secure.url, proxy=court.proxy.url, ca=court.proxy.ca_file) as client:
        reading = client.post("/v1/messages", body("anthropic", "slow-x"))
        court.near.wait_for(lambda up: up.calls and up.calls[0].sent > 0)
        wait_until_a_clock_has_run_out(court.proxy, court.near)
        assert b"message_stop" in client.whole(reading)[-200:]


def test_a_server_that_does_not_answer_is_still_found_out(court: Court) -> None:
    wait_until_a_clock_has_run_out(court.proxy, court.near)
    assert len(court.near.calls) == 3


@pytest.fixture(scope="module")
def web(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Web]:
    with Upstream() as server:
        config = account("held", "near", models=["held-*"]) + account("clock", "near", models=["clock-*"])
        config += upstream("near", "anthropic", server.url)
        held = routes(held=f"first_byte = {CLOCK_S}", clock=f"first_byte = {TRY_S}")
        intercept = f"~q & ~u :{server.port}/ & ~bq held-x"
        args = ["--set", f"intercept={intercept}"]
        with running_web(tmp_path_factory.mktemp("held"), server, config + held, args) as running:
            yield running


def test_an_attempt_whose_flow_is_intercepted_is_not_timed_and_no_accounts_failure(web: Web) -> None:
    connection = raw.RawConnection(web.proxy.url)
    url = f"{web.proxy.url}/v1/messages"
    connection.send("POST", url, body("anthropic", "held-x"), credential("anthropic"))
    web.wait_for(lambda: any(flow["intercepted"] for flow in web.attempts("held-x")))
    wait_until_a_clock_has_run_out(web.proxy, web.upstream)
    [flow] = web.attempts("held-x")
    assert web._ask("POST", f"/flows/{flow['id']}/resume").status == 200
    response = connection.read("POST")
    connection.close()
    assert read_stream("anthropic", response.body)
    assert response.header("x-healing-outcome") == "clean"
    assert len(web.attempts("held-x")) == 1
    assert benches_of(web.proxy, "held") == []


# Without accounts.


@dataclass(frozen=True)
class Open:
    """A proxy without accounts, where every client comes with its own key."""

    proxy: Proxy
    server: Upstream

    def ask(self, dialect: str, key: str, *, stream: bool = True, model: str = "a-model") -> raw.RawResponse:
        return ask(self.proxy.url, dialect, model, stream=stream, headers=credential(dialect, key))


@pytest.fixture(scope="module")
def shared_open(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    with Upstream() as server:
        config = "".join(upstream(dialect, dialect, server.url) for dialect in DIALECTS)
        with Proxy(tmp_path_factory.mktemp("open"), config) as proxy:
            yield Open(proxy, server)


@pytest.fixture
def open_proxy(shared_open: Open) -> Open:
    shared_open.server.reset()
    return shared_open


def rejected(dialect: str, seconds: str) -> Reply:
    headers = {"retry-after": seconds, "anthropic-ratelimit-unified-status": "rejected", "x-should-retry": "true"}
    return error_in(dialect, 429, "Limit reached.", headers)


@each_dialect
@with_and_without_stream
def test_a_limit_of_days_on_a_clients_own_key_is_told_after_one_call_and_remembered_for_that_key(
    open_proxy: Open, dialect: str, stream: bool
) -> None:
    key = f"own-key-{dialect}-{stream}-4711"
    reply = rejected(dialect, "287441")
    open_proxy.server.play(reply)
    response = open_proxy.ask(dialect, key, stream=stream)
    assert (response.status, response.body) == (429, reply.whole)
    assert response.header("retry-after") == "287441"
    assert response.header("x-healing-attempts") == "1"
    assert len(open_proxy.server.calls) == 1

    again = open_proxy.ask(dialect, key, stream=stream)
    assert again.status == 429
    assert "this key" in read_error(dialect, again)["message"]
    assert 280_000 < int(again.header("retry-after") or 0) <= 287_441
    assert len(open_proxy.server.calls) == 1

    other = open_proxy.ask(dialect, f"{key}-of-another", stream=stream)
    assert other.status == 200
    (read_stream if stream else read_json)(dialect, other.body)
    assert key not in open_proxy.proxy.log


@each_dialect
@with_and_without_stream
def test_a_limit_that_is_soon_over_is_waited_for_with_a_clients_own_key(
    open_proxy: Open, dialect: str, stream: bool
) -> None:
    limited = error_in(dialect, 429, "Slow down.", {"retry-after": "2.1"})
    open_proxy.server.play(limited)
    response = open_proxy.ask(dialect, f"patient-key-{stream}-4711", stream=stream, model=f"patient-{stream}")
    assert response.status == 200
    first, second = open_proxy.server.calls
    assert second.at - first.at >= 2.1


@pytest.mark.parametrize("status", [500, 529, 503])
@with_and_without_stream
def test_a_word_not_to_retry_is_believed_and_passed_on(open_proxy: Open, status: int, stream: bool) -> None:
    final = error_in("anthropic", status, "Do not come back.", {"x-should-retry": "false"})
    open_proxy.server.play(final)
    response = open_proxy.ask("anthropic", "final-key-4711", stream=stream)
    assert (response.status, response.body) == (status, final.whole)
    assert response.header("x-should-retry") == "false"
    assert len(open_proxy.server.calls) == 1


def test_a_key_that_was_refused_is_asked_again_as_it_may_have_been_mended(open_proxy: Open) -> None:
    open_proxy.server.play(error_in("anthropic", 401, "invalid x-api-key"))
    assert open_proxy.ask("anthropic", "mended-key-4711").status == 401
    assert open_proxy.ask("anthropic", "mended-key-4711").status == 200
    assert len(open_proxy.server.calls) == 2
