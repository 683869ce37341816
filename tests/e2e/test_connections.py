"""Connections that hang, fall silent or run out: an attempt is lost with them at most, and nothing behind it."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.attack.http2_server import Asked
from tests.attack.scripted import PAUSE, Say, answer_bytes, text_of
from tests.e2e.connecting import Http2Client, ReluctantHttp1, ReluctantHttp2, ReluctantProxy, Site
from tests.e2e.harness import account, upstream
from tests.e2e.probed import ProbedProxy
from tests.upstream import anthropic_stream
from tests.upstream.tls import server_context

# Of the addon's clocks this is the only one that no setting is for.
SCRIPT = """
import antigravity_healing.proxy.connections.liveness

antigravity_healing.proxy.connections.liveness.PING_S = 0.5


def responseheaders(flow):
    if flow.metadata.get("antigravity", {}).get("role") == "attempt" and b"kill me" in flow.request.content:
        flow.kill()
"""
CONFIG = """
[retry]
spare_retries = 100000
max_attempts = 2
"""
NAMES = ("http1", "http2", "plain", "narrow")
each_client = pytest.mark.parametrize("client", ["http1", "http2"])
each_upstream = pytest.mark.parametrize("model", ["http1", "http2"])
# mitmproxy offers HTTP/2 to an upstream where the client offered it.
each_way = pytest.mark.parametrize(("client", "model"), [("http1", "http1"), ("http2", "http1"), ("http2", "http2")])


def open_site(stack: ExitStack, folder: Path, *, tunnels: bool) -> Site:
    """A proxy in front of four upstreams; with `tunnels`, through another proxy."""
    http2 = stack.enter_context(ReluctantHttp2(folder))
    (folder / "other").mkdir()
    context, other_ca = server_context(folder / "other", http2=False)
    http1 = stack.enter_context(ReluctantHttp1(tls=context))
    plain, narrow = (stack.enter_context(ReluctantHttp1()) for _ in range(2))
    forward = stack.enter_context(ReluctantProxy()) if tunnels else None
    config = CONFIG
    for name, server in zip(NAMES, (http1, http2, plain, narrow), strict=True):
        config += account(name, name, models=[name]) + upstream(name, "anthropic", server.url)
        config += "connections = 2\n" if name == "narrow" else ""
    config += "[models]\n"
    for name in NAMES:
        config += f'"{name}" = "{name}/{name}"\n'
        config += f'"{name}-hasty" = {{ to = "{name}/{name}", peek = {{ first_byte = 2.0 }} }}\n'
    trusted, script = folder / "trusted.pem", folder / "script.py"
    trusted.write_bytes(http2.ca_file.read_bytes() + other_ca.read_bytes())
    script.write_text(SCRIPT)
    args = ["-s", str(script)]
    if forward is not None:
        args += ["--mode", f"upstream:{forward.url}"]
    options = {"ssl_verify_upstream_trusted_ca": str(trusted)}
    proxy = stack.enter_context(ProbedProxy(folder / "proxy", config, options=options, args=args))
    return Site(proxy, http1, http2, plain, narrow, forward)


@pytest.fixture(scope="module")
def buildings(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[bool, Site]]:
    with ExitStack() as stack:
        yield {tunnels: open_site(stack, tmp_path_factory.mktemp("site"), tunnels=tunnels) for tunnels in (False, True)}


def fresh(site: Site) -> Iterator[Site]:
    """The site as it was at first; whatever a test does, nothing may go on in it."""
    for server in (site.http1, site.http2, site.plain, site.narrow):
        server.begin_anew()
        server.gate.set()
        if isinstance(server, ReluctantHttp1):
            server.reset()
        else:
            server.peers.clear()
            server.asked.clear()
            server.play = lambda asked: asked.answer("fine")
    if site.tunnels is not None:
        site.tunnels.begin_anew()
    yield site
    site.proxy.wait_until_clean()
    assert "has crashed" not in site.proxy.log


@pytest.fixture
def site(buildings: dict[bool, Site]) -> Iterator[Site]:
    yield from fresh(buildings[False])


@pytest.fixture
def behind(buildings: dict[bool, Site]) -> Iterator[Site]:
    """The same behind a forward proxy."""
    yield from fresh(buildings[True])


def begin(asked: Asked) -> None:
    """Send the first half of an answer."""
    asked.head()
    asked.data(b"".join(anthropic_stream("a story").chunks[:4]))


# Connections that are being made.


@each_way
def test_a_handshake_that_hangs_costs_one_attempt(site: Site, client: str, model: str) -> None:
    server = site.server(model)
    server.begin_anew(silent=1)
    site.answers(model, times=2)
    with site.client(client) as asking:
        assert asking.ask(f"{model}-hasty") == (200, "2", "fine")
        server.until(lambda server: server.left == 1)
        assert asking.ask(f"{model}-hasty") == (200, "1", "fine")


@each_way
def test_a_tunnel_that_hangs_costs_one_attempt(behind: Site, client: str, model: str) -> None:
    assert behind.tunnels is not None
    behind.tunnels.begin_anew(silent=1)
    behind.answers(model, times=2)
    with behind.client(client) as asking:
        assert asking.ask(f"{model}-hasty") == (200, "2", "fine")
        behind.tunnels.until(lambda tunnels: tunnels.left == 1)
        assert asking.ask(f"{model}-hasty") == (200, "1", "fine")


@each_way
def test_a_client_that_leaves_during_a_handshake_leaves_nothing_behind(site: Site, client: str, model: str) -> None:
    server = site.server(model)
    server.begin_anew(silent=1)
    site.answers(model)
    with site.client(client) as asking:
        asking.begin(model) if isinstance(asking, Http2Client) else asking.post(model)
        server.until(lambda server: server.came == 1)
        asking.leave()
        server.until(lambda server: server.left == 1)
        assert asking.ask(model) == (200, "1", "fine")


@each_client
def test_a_client_that_leaves_while_a_tunnel_hangs_leaves_nothing_behind(behind: Site, client: str) -> None:
    assert behind.tunnels is not None
    behind.tunnels.begin_anew(silent=1)
    behind.answers("http1")
    with behind.client(client) as asking:
        asking.begin("http1") if isinstance(asking, Http2Client) else asking.post("http1")
        behind.tunnels.until(lambda tunnels: tunnels.came == 1)
        asking.leave()
        behind.tunnels.until(lambda tunnels: tunnels.left == 1)
        assert asking.ask("http1") == (200, "1", "fine")


def test_a_request_that_merely_passes_leaves_no_handshake_behind_either(site: Site) -> None:
    site.http2.begin_anew(silent=1)
    with Http2Client(site.proxy, site.http2) as asking:
        leaving = asking.post("/other", {})
        site.http2.until(lambda server: server.came == 1)
        asking.leave(leaving)
        site.http2.until(lambda server: server.left == 1)
        assert text_of(asking.whole(asking.post("/other", {}))) == "fine"


@each_upstream
def test_a_connection_that_others_wait_for_is_not_given_up(site: Site, model: str) -> None:
    server = site.server(model)
    site.answers(model)
    server.gate.clear()
    with Http2Client(site.proxy, site.http2) as asking:
        leaving, staying = asking.begin(model), asking.begin(model)
        server.until(lambda server: server.came == 1)
        asking.leave(leaving)
        site.proxy.wait_until(lambda alive: alive.running == 1, "one of the two is over")
        server.gate.set()
        assert asking.told(staying) == (200, "1", "fine")
        assert server.came == 1


@each_way
def test_a_handshake_that_fails_is_tried_again_and_nothing_crashes(site: Site, client: str, model: str) -> None:
    server = site.server(model)
    server.begin_anew(rude=1)
    site.answers(model, times=2)
    with site.client(client) as asking:
        assert asking.ask(model) == (200, "2", "fine")
        assert asking.ask(model) == (200, "1", "fine")


# Connections that fall silent.


def test_a_silent_http2_connection_is_left(site: Site) -> None:
    site.http2.play = lambda asked: None if asked.peer.number == 1 else asked.answer("fine")
    with Http2Client(site.proxy, site.http2) as asking:
        assert asking.ask("http2-hasty") == (200, "2", "fine")
        first, second = site.http2.asked
        assert second.peer is not first.peer
        site.http2.wait_for(lambda: first.peer.over)
        assert asking.ask("http2-hasty") == (200, "1", "fine")
        assert site.http2.came == 2


def test_what_runs_on_a_connection_that_answers_no_ping_is_healed(site: Site) -> None:
    with Http2Client(site.proxy, site.http2) as asking:
        site.http2.play = begin
        begun = asking.begin("http2")
        asking.read_until(lambda: asking.body[begun])
        site.http2.play = lambda asked: None if asked.peer.number == 1 else asked.answer("fine")
        waiting = asking.begin("http2")
        site.http2.wait_for(lambda: len(site.http2.asked) == 2)
        # From here on the peer neither reads nor writes.
        with site.http2.peers[0].lock:
            assert asking.ask("http2-hasty") == (200, "2", "fine")
            assert asking.told(waiting) == (200, "2", "fine")
            asking.read_until(lambda: begun in asking.ended | asking.reset)
            assert begun in asking.reset
        site.http2.wait_for(lambda: site.http2.peers[0].over)
    site.proxy.wait_for_log("no answer to a ping")


def test_what_runs_on_a_connection_that_answers_a_ping_goes_on(site: Site) -> None:
    with Http2Client(site.proxy, site.http2) as asking:
        site.http2.play = begin
        begun = asking.begin("http2")
        asking.read_until(lambda: asking.body[begun])
        site.http2.play = lambda asked: None
        # Its second attempt takes longer than the ping may take that the first one's end has sent.
        assert asking.ask("http2-hasty")[:2] == (504, "2")
        site.http2.asked[0].data(b"".join(anthropic_stream("a story").chunks[4:]), end=True)
        assert asking.told(begun) == (200, "1", "a story")
        first, *others = site.http2.asked
        assert [asked.peer is first.peer for asked in others] == [True, False]
        site.http2.wait_for(lambda: first.peer.over)


# Connections that there are not enough of.


@pytest.mark.parametrize("many", [pytest.param(12, marks=pytest.mark.long), 30])
def test_as_many_streams_as_a_client_likes_are_served_at_once(site: Site, many: int) -> None:
    site.plain.play(*[Say([PAUSE, answer_bytes("fine")])] * many)
    with Http2Client(site.proxy, site.http2) as asking:
        begun = [asking.begin("plain") for _ in range(many)]
        site.plain.wait_for(lambda server: len(server.heard) == many)
        site.plain.go.set()
        assert [asking.told(each) for each in begun] == [(200, "1", "fine")] * many


@pytest.mark.parametrize("many", [12, pytest.param(30, marks=pytest.mark.long)])
def test_streams_take_turns_where_an_upstream_may_have_few_connections(site: Site, many: int) -> None:
    whole = answer_bytes("fine")
    site.narrow.play(*[Say([whole[:80], PAUSE, whole[80:]])] * many)
    with Http2Client(site.proxy, site.http2) as asking:
        begun = [asking.begin("narrow") for _ in range(many)]
        site.narrow.wait_for(lambda server: len(server.heard) == 2)
        site.narrow.go.set()
        assert [asking.told(each) for each in begun] == [(200, "1", "fine")] * many
    assert site.narrow.most == 2


@pytest.mark.parametrize("then", ["keep", "close"])
def test_no_clock_runs_while_a_stream_waits_for_its_turn(site: Site, then: str) -> None:
    whole = answer_bytes("fine")
    end = whole.index(b"event: message_delta")
    held = Say([whole[:end], PAUSE, whole[end:]], "close" if then == "close" else "keep")
    site.narrow.play(held, held, *[Say([whole])] * 3)
    site.http1.begin_anew(silent=2)
    with Http2Client(site.proxy, site.http2) as asking, site.client("http1") as other:
        begun = [asking.begin("narrow-hasty") for _ in range(5)]
        site.narrow.wait_for(lambda server: len(server.heard) == 2)
        # Takes as long as two of those that wait may wait.
        assert other.ask("http1-hasty")[:2] == (504, "2")
        site.narrow.go.set()
        assert [asking.told(each) for each in begun] == [(200, "1", "fine")] * 5


def test_who_leaves_the_line_is_in_nobodys_way(site: Site) -> None:
    whole = answer_bytes("fine")
    end = whole.index(b"event: message_delta")
    site.narrow.play(*[Say([whole[:end], PAUSE, whole[end:]])] * 2, Say([whole]))
    with Http2Client(site.proxy, site.http2) as asking:
        begun = [asking.begin("narrow") for _ in range(2)]
        site.narrow.wait_for(lambda server: len(server.heard) == 2)
        leaving, staying = asking.begin("narrow", "leaving"), asking.begin("narrow", "staying")
        asking.leave(leaving)
        site.proxy.wait_until(lambda alive: alive.running == 3, "one is over")
        site.narrow.go.set()
        assert [asking.told(each) for each in (*begun, staying)] == [(200, "1", "fine")] * 3
    assert b"staying" in site.narrow.heard[2].body


# What is over.


@each_way
def test_an_attempt_that_is_killed_is_ended_upstream(site: Site, client: str, model: str) -> None:
    whole = answer_bytes("fine")
    site.http1.play(Say([whole[: len(whole) // 2]]))
    site.http2.play = begin
    closed = len(site.http1.closed)
    with site.client(client) as asking:
        if isinstance(asking, Http2Client):
            asking.told(asking.begin(model, "kill me"))
        else:
            asking.post(model, "kill me")
            asking.connection.read("POST")
        if model == "http1":
            site.http1.wait_for(lambda server: len(server.closed) > closed)
        else:
            [asked] = site.http2.asked
            site.http2.wait_for(lambda: asked.stream_id in asked.peer.reset)


@pytest.fixture(params=[False, True], ids=["directly", "through a proxy"])
def either(buildings: dict[bool, Site], request: pytest.FixtureRequest) -> Iterator[Site]:
    """The upstreams without a forward proxy before them, and with one."""
    yield from fresh(buildings[request.param])


@pytest.mark.covering(1)
@pytest.mark.parametrize("many", [8, pytest.param(20, marks=pytest.mark.long)])
@pytest.mark.parametrize(
    ("client", "model"),
    [("http1", "http1"), ("http1", "plain"), ("http2", "http1"), ("http2", "http2"), ("http2", "plain")],
)
def test_a_client_that_stays_does_not_grow(either: Site, client: str, model: str, many: int) -> None:
    def answer(asked: Asked) -> None:
        asked.answer("fine")
        asked.peer.goaway(asked.stream_id)

    either.http2.play = answer
    server = either.server(model)
    with either.client(client) as asking:

        def alive_after(times: int) -> dict[str, int]:
            if isinstance(server, ReluctantHttp1):
                server.play(*[Say([answer_bytes("fine")], "close")] * times)
            for _ in range(times):
                assert asking.ask(model)[::2] == (200, "fine")
            return either.proxy.wait_until(lambda alive: not alive.servers, "no upstream is connected").connecting

        before = alive_after(2)
        after = alive_after(many)
        assert all(after[kind] <= before[kind] + 3 for kind in ("Context", "Server")), (before, after)
        assert server.came >= 2 + many
