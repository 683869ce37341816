"""Whatever crashes in a connection is the failure of its requests, and of nothing else."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.attack.http2_server import Asked, Http2Server
from tests.attack.rude_client import RudeClient
from tests.attack.scripted import Say, Scripted, answer_bytes, ask, text_of
from tests.e2e.harness import account, upstream
from tests.e2e.probed import ProbedProxy
from tests.support.patience import wait_until
from tests.support.raw import request
from tests.upstream import anthropic_stream

# Loaded after the addon. A file says what breaks, once.
SABOTAGE = """
import os
from pathlib import Path

from antigravity_healing.proxy.connections.client_http1 import ClientHttp1
from antigravity_healing.proxy.connections.client_http2 import ClientHttp2
from antigravity_healing.proxy.connections.upstream_http2 import UpstreamHttp2
from antigravity_healing.proxy.connections.upstream_http1 import UpstreamHttp1

ORDER = Path(os.environ["SABOTAGE"])


def sabotage(owner, name):
    stock = getattr(owner, name)

    def call(*args, **kwargs):
        if ORDER.read_text() == f"{owner.__name__}.{name}":
            ORDER.write_text("")
            raise KeyError("sabotage, which says secret-4711")
        return stock(*args, **kwargs)

    setattr(owner, name, call)


for owner, *names in (
    (UpstreamHttp1, "take_head", "read_body", "send"),
    (UpstreamHttp2, "handle_h2_event"),
    (ClientHttp1, "read_headers", "read_body"),
    (ClientHttp2, "handle_h2_event"),
):
    for name in names:
        sabotage(owner, name)
"""


@dataclass(frozen=True)
class Site:
    """A proxy in which something can be broken, in front of a server of each HTTP; the model decides which."""

    proxy: ProbedProxy
    plain: Scripted
    secure: Http2Server
    order: Path

    def breaks(self, what: str) -> None:
        """Have this break the next time it is called."""
        self.order.write_text(what)


@pytest.fixture(scope="module")
def building(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder: Path = tmp_path_factory.mktemp("crash")
    script, order = folder / "sabotage.py", folder / "order"
    script.write_text(SABOTAGE)
    order.write_text("")
    with Http2Server(folder) as secure, Scripted() as plain:
        config = "[retry]\nspare_retries = 100000\nmax_attempts = 2\n"
        config += account("one", "anthropic", models=["http2"]) + upstream("anthropic", "anthropic", secure.url)
        config += account("two", "plain", models=["http1"]) + upstream("plain", "anthropic", plain.url)
        config += '[models]\n"http1" = "plain/http1"\n'
        options = {"ssl_verify_upstream_trusted_ca": str(secure.ca_file)}
        more = {"args": ["-s", str(script)], "env": {"SABOTAGE": str(order)}}
        with ProbedProxy(folder / "proxy", config, options={"termlog_verbosity": "info", **options}, **more) as proxy:
            yield Site(proxy, plain, secure, order)


@pytest.fixture
def site(building: Site) -> Iterator[Site]:
    building.plain.reset()
    building.secure.peers.clear()
    building.secure.asked.clear()
    building.secure.play = lambda asked: asked.answer("fine")
    yield building
    assert building.order.read_text() == "", "nothing was broken"
    building.proxy.wait_until_clean()
    assert "secret-4711" not in building.proxy.log


@pytest.mark.parametrize("what", ["take_head", "read_body", "send"])
def test_an_http1_upstream_whose_connection_crashes_is_asked_again(site: Site, what: str) -> None:
    site.plain.play(*[Say([answer_bytes("fine")])] * (1 if what == "send" else 2))
    site.breaks(f"UpstreamHttp1.{what}")
    response = ask(site.proxy.url, model="http1")
    assert (response.header("x-healing-outcome"), text_of(response.body)) == ("healed", "fine")


def test_an_http2_upstream_whose_connection_crashes_fails_its_streams_at_once(site: Site) -> None:
    def begin(asked: Asked) -> None:
        asked.head()
        asked.data(b"".join(anthropic_stream("a story").chunks[:4]))

    site.secure.play = begin
    with RudeClient(site.secure.url, site.proxy) as client:
        begun = client.open("begun", model="http2")
        client.flush()
        client.read_until(lambda: client.body[begun])
        site.secure.play = lambda asked: None
        waiting = client.open("waiting", model="http2")
        client.flush()
        site.secure.wait_for(lambda: len(site.secure.asked) == 2)
        site.secure.play = lambda asked: asked.answer("healed")
        site.breaks("UpstreamHttp2.handle_h2_event")
        site.secure.asked[0].data(b": anything\n\n")
        client.read_until(lambda: waiting in client.ended and begun in client.reset)
        assert text_of(bytes(client.body[waiting])) == "healed"


@pytest.mark.parametrize("what", ["read_headers", "read_body"])
def test_an_http1_client_whose_connection_crashes_is_told(site: Site, what: str) -> None:
    site.breaks(f"ClientHttp1.{what}")
    assert ask(site.proxy.url, model="http1").status == 400
    site.plain.play(Say([answer_bytes("fine")]))
    assert text_of(ask(site.proxy.url, model="http1").body) == "fine"


def test_an_http2_client_whose_connection_crashes_takes_its_exchanges_with_it(site: Site) -> None:
    site.secure.play = lambda asked: None
    with RudeClient(site.secure.url, site.proxy) as client:
        client.open("lost", model="http2")
        client.flush()
        site.secure.wait_for(lambda: site.secure.asked)
        site.breaks("ClientHttp2.handle_h2_event")
        client.open("breaks", model="http2")
        client.flush()
        with pytest.raises((EOFError, ConnectionError)):
            client.read_until(lambda: False)
        wait_until(lambda: site.proxy.health()["running"] == 0)
    site.secure.wait_for(
        lambda: site.secure.asked[0].stream_id in site.secure.peers[0].reset or site.secure.peers[0].over
    )
    assert request("GET", site.proxy.url + "/health").status == 200
