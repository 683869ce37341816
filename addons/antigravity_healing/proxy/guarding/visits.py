"""Who a client is, and whether it was let in: also where it comes to the proxy through the proxy."""

import weakref
from dataclasses import dataclass
from weakref import WeakKeyDictionary, WeakSet

from mitmproxy.connection import Client, Connection
from mitmproxy.proxy.mode_specs import LocalMode, TransparentMode, TunMode, WireGuardMode

from antigravity_healing.proxy.guarding.addresses import is_loopback, is_own, literal

MOST_HOPS = 1
"""How often a request may come through the proxy before it: a second time it goes in circles."""

_Name = tuple[str, int]
_Ends = tuple[_Name, _Name]


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who really asks.

    client: its connection. address: where it is. local: whether that is this machine.
    hops: how many of the proxy's own connections lie between it and the request.
    """

    client: Client
    address: str
    local: bool
    hops: int = 0

    @property
    def has_shown_a_key(self) -> bool:
        """Whether its connection is one that nobody makes without a key: a WireGuard tunnel's."""
        return isinstance(self.client.proxy_mode, WireGuardMode)


class Visits:
    """What is known of the connections of clients, as long as they last."""

    def __init__(self) -> None:
        self._let_in: WeakSet[Client] = WeakSet()
        self._keys: WeakKeyDictionary[Client, str] = WeakKeyDictionary()
        self._came_by: WeakKeyDictionary[Client, Client] = WeakKeyDictionary()
        self._made: dict[_Ends, tuple[weakref.ref[Client], weakref.ref[object]]] = {}

    def of(self, client: Client) -> Visitor:
        """Who is behind a connection."""
        hops = 0
        while hops <= MOST_HOPS and (before := self._before(client)) is not None:
            client, hops = before, hops + 1
        address = client.peername[0]
        local = is_loopback(address) or isinstance(client.proxy_mode, LocalMode)
        if not local and isinstance(client.proxy_mode, TransparentMode | TunMode):
            # What this machine's own programs send has its interface's address then; nobody else can answer from it.
            local = (ip := literal(address)) is not None and is_own(ip)
        return Visitor(client, address, local, hops)

    def let_in(self, visitor: Visitor, key: str | None, *, for_all: bool) -> None:
        """Remember that a request was let in; with `for_all`, all that its connection carries is, by this key."""
        self._let_in.add(visitor.client)
        if for_all and key is not None:
            self._keys[visitor.client] = key

    def was_let_in(self, visitor: Visitor) -> bool:
        """Whether any request of this visitor was let in."""
        return visitor.client in self._let_in

    def key_of(self, visitor: Visitor) -> str | None:
        """The client key by which all of the visitor's connection was let in."""
        return self._keys.get(visitor.client)

    def arrived(self, client: Client) -> None:
        """A client's connection has come: see whether it is one of the proxy's own, while that surely is open."""
        self._before(client)

    def made(self, client: Client, server: Connection, socket: object) -> None:
        """The proxy has made a connection for a client; before the first byte is sent on it.

        socket: what lives as long as the connection's socket does.
        """
        if (ends := _ends(server.sockname, server.peername)) is not None:
            # A connection whose end nobody tells of is forgotten with its socket.
            self._made[ends] = weakref.ref(client), weakref.ref(socket, lambda gone: self._forget(ends, gone))

    def ended(self, server: Connection) -> None:
        """A connection of the proxy's has ended."""
        if (ends := _ends(server.sockname, server.peername)) is not None:
            self._made.pop(ends, None)

    def _forget(self, ends: _Ends, gone: weakref.ref[object]) -> None:
        if ends in self._made and self._made[ends][1] is gone:
            del self._made[ends]

    def _before(self, client: Client) -> Client | None:
        """For whom the proxy made the connection that this client's is the other end of; None if it is not its own."""
        if (known := self._came_by.get(client)) is not None:
            return known
        if not self._made or client.transport_protocol != "tcp":
            return None
        # Both ends: a local port alone may be in use for other places at the same time.
        ends = _ends(client.peername, client.sockname)
        if ends is None or ends not in self._made:
            return None
        found = self._made[ends][0]()
        if found is None or found is client:
            return None
        self._came_by[client] = found
        return found


def _ends(near: tuple[object, ...] | None, far: tuple[object, ...] | None) -> _Ends | None:
    names = _name(near), _name(far)
    return (names[0], names[1]) if names[0] is not None and names[1] is not None else None


def _name(address: tuple[object, ...] | None) -> _Name | None:
    if not address or (ip := literal(str(address[0]))) is None:
        return None
    return str(ip), int(str(address[1]))
