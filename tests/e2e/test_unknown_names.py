"""A misspelt upstream fails soon and says so; a name that was known, or can't be looked up just now, is waited for."""

import sys
from collections.abc import Iterator

import pytest

from tests.e2e.harness import Proxy, account, upstream
from tests.e2e.test_modes_helpers import ask, read_error
from tests.upstream import Upstream, anthropic_stream

# The machine's resolver cannot be told what to say; all behind this is real.
RESOLVER = """
import socket

def times(number, count):
    return [socket.gaierror(number, "as the test says")] * count

ANSWERS = {
    "misspelt.test": times(socket.EAI_NONAME, 1000),
    "wrong.test": times(socket.EAI_NONAME, 1000),
    "waking.test": times(socket.EAI_AGAIN, 4),
    "known.test": [None, *times(socket.EAI_NONAME, 4)],
}
real = socket.getaddrinfo

def getaddrinfo(host, *args, **more):
    if host not in ANSWERS:
        return real(host, *args, **more)
    if ANSWERS[host] and (error := ANSWERS[host].pop(0)) is not None:
        raise error
    return real("127.0.0.1", *args, **more)

socket.getaddrinfo = getaddrinfo
"""
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only there a missing name is told from no network")


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Proxy, Upstream]]:
    folder = tmp_path_factory.mktemp("names")
    script = folder / "resolver.py"
    script.write_text(RESOLVER)
    with Upstream() as server:
        config = "[retry]\nmax_attempts = 1\n"
        for name in ("misspelt", "wrong", "waking", "known"):
            config += account(name, name, models=[name])
            config += upstream(name, "anthropic", f"http://{name}.test:{server.port}")
        config += account("other", "other", models=["wrong"], priority=1) + upstream("other", "anthropic", server.url)
        with Proxy(folder / "proxy", config, args=["-s", str(script)]) as proxy:
            yield proxy, server


def test_misspelt_name_is_tried_a_few_times_and_told_with_where_it_stands(place: tuple[Proxy, Upstream]) -> None:
    proxy, server = place
    answer = ask(proxy.url, "anthropic", "misspelt")
    message = read_error("anthropic", answer)["message"]
    assert "the name misspelt.test can't be resolved" in message
    assert "check the name in upstreams.misspelt.url" in message
    assert (answer.header("x-healing-outcome"), answer.header("x-healing-attempts")) == ("failed", "4")
    assert not server.calls


def test_account_of_another_upstream_is_tried_at_once(place: tuple[Proxy, Upstream]) -> None:
    proxy, server = place
    server.play(anthropic_stream("Hello"))
    answer = ask(proxy.url, "anthropic", "wrong")
    assert (answer.status, answer.header("x-healing-attempts")) == (200, "3")
    assert answer.header("x-account-email") == "other@accounts.example"


@pytest.mark.parametrize(("name", "before"), [("waking", 0), ("known", 1)])
def test_name_that_was_known_or_can_not_be_looked_up_now_is_waited_for(
    place: tuple[Proxy, Upstream], name: str, before: int
) -> None:
    proxy, server = place
    for _ in range(before):
        server.play(anthropic_stream("Hello"))
        assert ask(proxy.url, "anthropic", name).status == 200
    server.play(anthropic_stream("Hello"))
    answer = ask(proxy.url, "anthropic", name)
    assert (answer.status, answer.header("x-healing-attempts")) == (200, "5")
