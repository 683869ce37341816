"""Who is behind a connection that the proxy has made itself."""

import pytest
from antigravity_healing.proxy.guarding.visits import Visits
from mitmproxy.connection import Client, Server
from mitmproxy.proxy.mode_specs import ProxyMode
from mitmproxy.test import tflow

PROXY = ("127.0.0.1", 8080)


def client(peer: tuple[str, int], reached: tuple[str, int] = PROXY, mode: str = "regular") -> Client:
    made = tflow.tclient_conn()
    made.id = f"{peer}-{reached}"
    made.peername, made.sockname, made.proxy_mode = peer, reached, ProxyMode.parse(mode)
    return made


def server(near: tuple[str, int], far: tuple[str, int]) -> Server:
    made = Server(address=far)
    made.sockname, made.peername = near, far
    return made


class Socket:
    """What lives as long as a connection."""


def test_what_comes_by_a_connection_of_the_proxys_own_is_the_first_ones() -> None:
    visits, remote = Visits(), client(("192.0.2.9", 4000), ("192.0.2.2", 8080))
    out = Socket()
    visits.made(remote, server(("127.0.0.1", 5000), PROXY), out)
    found = visits.of(client(("127.0.0.1", 5000)))
    assert (found.client, found.address, found.local, found.hops) == (remote, "192.0.2.9", False, 1)
    visits.let_in(found, "key", for_all=True)
    assert visits.key_of(visits.of(remote)) == "key"


def test_a_program_that_has_the_same_port_for_another_place_is_itself() -> None:
    visits, remote = Visits(), client(("192.0.2.9", 4000))
    out = Socket()
    visits.made(remote, server(("127.0.0.1", 5000), ("127.0.0.1", 9000)), out)
    neighbour = client(("127.0.0.1", 5000))
    assert visits.of(neighbour).client is neighbour
    assert visits.of(neighbour).hops == 0


def test_circles_are_counted_and_end() -> None:
    visits, first = Visits(), client(("127.0.0.1", 4000))
    second, third = client(("127.0.0.1", 5000)), client(("127.0.0.1", 6000))
    out = Socket()
    visits.made(first, server(("127.0.0.1", 5000), PROXY), out)
    visits.made(second, server(("127.0.0.1", 6000), PROXY), out)
    assert [visits.of(one).hops for one in (first, second, third)] == [0, 1, 2]
    visits.made(third, server(("127.0.0.1", 4000), PROXY), out)
    assert visits.of(first).hops == 2


def test_whoever_came_by_a_connection_stays_who_it_is_when_that_ends() -> None:
    visits, remote, came = Visits(), client(("192.0.2.9", 4000)), client(("127.0.0.1", 5000))
    out = Socket()
    made = server(("127.0.0.1", 5000), PROXY)
    visits.made(remote, made, out)
    visits.arrived(came)
    visits.ended(made)
    assert visits.of(came).client is remote
    later = client(("127.0.0.1", 5000), PROXY)
    later.id = "later"
    assert visits.of(later).client is later


def test_a_connection_whose_end_nobody_tells_is_forgotten_with_its_socket() -> None:
    visits, remote = Visits(), client(("192.0.2.9", 4000))
    out = Socket()
    visits.made(remote, server(("127.0.0.1", 5000), PROXY), out)
    del out
    later = client(("127.0.0.1", 5000))
    assert visits.of(later).client is later


@pytest.mark.parametrize(
    ("peer", "mode", "local"),
    [
        ("127.0.0.1", "regular", True),
        ("::ffff:127.0.0.1", "regular", True),
        ("192.0.2.77", "regular", False),
        ("192.0.2.77", "transparent", False),
        ("192.0.2.77", "local", True),
        ("10.0.0.1", "wireguard", False),
    ],
)
def test_who_is_local(peer: str, mode: str, local: bool) -> None:
    assert Visits().of(client((peer, 4000), mode=mode)).local is local
