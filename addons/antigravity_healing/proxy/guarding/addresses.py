"""Addresses: in whatever spelling, and whether they lie on this machine."""

import ipaddress
import socket
import unicodedata

IP = ipaddress.IPv4Address | ipaddress.IPv6Address

_NAT64 = (ipaddress.IPv6Network("64:ff9b::/96"), ipaddress.IPv6Network("64:ff9b:1::/48"))
# Clouds' services for the machine itself, which give it its credentials, where they are not link-local: of AWS and
# Google by IPv6, Azure, Alibaba, Oracle.
_FOR_THE_MACHINE = frozenset(
    map(
        ipaddress.ip_address,
        ("fd00:ec2::254", "fd20:ce::254", "168.63.129.16", "100.100.100.200", "192.0.0.192"),
    )
)
_COMPATIBLE = ipaddress.IPv6Network("::/96")
_THIS_NETWORK = ipaddress.IPv4Network("0.0.0.0/8")
_BROADCAST = ipaddress.IPv4Address("255.255.255.255")
# What IDNA takes for a dot, beside the dot.
_DOTS = str.maketrans("\u3002\uff0e\uff61", "...")
_NO_PORT_IN_PARTICULAR = 9


def literal(host: str) -> IP | None:
    """The address that a host is written as, in any spelling that a resolver takes (`127.1`, `0x7f000001`, …).

    An IPv4 address in an IPv6 coat (`::ffff:127.0.0.1`) is given as what it is. None for a name.
    """
    text = unicodedata.normalize("NFKC", host.translate(_DOTS)).strip("[]").partition("%")[0].rstrip(".")
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        try:
            return ipaddress.IPv4Address(socket.inet_aton(text))
        except (OSError, ValueError):
            return None
    return (ip.ipv4_mapped or ip) if isinstance(ip, ipaddress.IPv6Address) else ip


def is_loopback(address: str) -> bool:
    """Whether a client with this address is on this machine."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(ip, "ipv4_mapped", None)
    return (mapped or ip).is_loopback


def is_here(ip: IP) -> bool:
    """Whether a connection to an address stays on this machine whatever its interfaces are: loopback, unspecified."""
    return any(
        form.is_loopback or form.is_unspecified or (form.version == 4 and form in _THIS_NETWORK) for form in _forms(ip)
    )


def is_own(ip: IP) -> bool:
    """Whether an address is one of this machine's interfaces'. Asks the routing table; nothing is sent."""
    family = socket.AF_INET if ip.version == 4 else socket.AF_INET6
    with socket.socket(family, socket.SOCK_DGRAM) as probe:
        try:
            # What goes to an own address leaves from it, too.
            probe.connect((str(ip), _NO_PORT_IN_PARTICULAR))
            return literal(probe.getsockname()[0]) == ip
        except OSError:
            return False


def why_out_of_reach(ip: IP) -> str | None:
    """What an address is that nobody from another machine may reach through this one; None if they may."""
    if is_here(ip):
        return "a loopback address"
    for form in _forms(ip):
        if form.is_link_local:
            return "a link-local address"
        if form.is_multicast or form == _BROADCAST:
            return "a multicast address"
        if form in _FOR_THE_MACHINE:
            return "a service for the proxy's own machine"
    return "an address of the proxy's own machine" if is_own(ip) else None


def _forms(ip: IP) -> list[IP]:
    """The address, and the IPv4 addresses that gateways and tunnels would make of it."""
    if isinstance(ip, ipaddress.IPv4Address):
        return [ip]
    inner = [ip.ipv4_mapped, ip.sixtofour, *(ip.teredo or ())]
    if ip in _COMPATIBLE or any(ip in network for network in _NAT64):
        inner.append(ipaddress.IPv4Address(int(ip) & 0xFFFFFFFF))
    return [ip, *(form for form in inner if form is not None)]
