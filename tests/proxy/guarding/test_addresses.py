import ipaddress
import socket

import pytest
from antigravity_healing.proxy.guarding.addresses import is_here, is_loopback, is_own, literal, why_out_of_reach
from antigravity_healing.proxy.guarding.hosts import host_of, is_loopback_name
from hypothesis import given
from hypothesis import strategies as st


@pytest.mark.parametrize(
    ("address", "expected"),
    [
        ("127.0.0.1", True),
        ("127.8.9.10", True),
        ("::1", True),
        ("::1%lo", True),
        ("::ffff:127.0.0.1", True),
        ("0:0:0:0:0:0:0:1", True),
        ("128.0.0.1", False),
        ("0.0.0.0", False),
        ("::", False),
        ("::ffff:10.0.0.1", False),
        ("10.0.0.1", False),
        ("192.168.1.5", False),
        ("fe80::1%eth0", False),
        ("localhost", False),
        ("127.0.0.1.example", False),
        ("", False),
    ],
)
def test_which_clients_are_on_this_machine(address: str, expected: bool) -> None:
    assert is_loopback(address) is expected


@given(st.integers(0, 2**32 - 1))
def test_an_address_is_known_in_every_spelling_that_a_resolver_takes(number: int) -> None:
    ip = ipaddress.IPv4Address(number)
    first, second, third, last = ip.packed
    spellings = [
        str(ip), f"{ip}.", f"[::ffff:{ip}]", f"::FFFF:{ip}", str(number), hex(number), oct(number).replace("0o", "0"),
        f"{first}.{number & 0xFFFFFF}", f"{first:#x}.{second:#o}.{third << 8 | last}".replace("0o", "0"),
        str(ip).translate({ord(digit): chr(0xFF10 + int(digit)) for digit in "0123456789"}),
        str(ip).replace(".", "\u3002"),
    ]  # fmt: skip
    for spelling in spellings:
        assert literal(spelling) == ip, spelling


@given(st.text(max_size=30))
def test_anything_may_stand_where_an_address_is_expected(text: str) -> None:
    found = literal(text)
    if found is not None and text.isascii() and "%" not in text and not any(c in text for c in "[] .:"):
        # What is taken for one the resolver takes for the same.
        [*_, address] = socket.getaddrinfo(text, None, type=socket.SOCK_STREAM)[0]
        assert address[0] == str(found)
    assert isinstance(is_loopback_name(host_of(text)), bool)


@pytest.mark.parametrize(
    "address",
    [
        "127.0.0.1", "127.255.255.255", "0.0.0.0", "0.1.2.3", "::", "::1", "::ffff:127.0.0.1", "64:ff9b::7f00:1",
        "2002:7f00:1::", "::127.0.0.1", "169.254.169.254", "::ffff:169.254.169.254", "64:ff9b::a9fe:a9fe", "fe80::1",
        "224.0.0.1", "ff02::1", "255.255.255.255",
        "fd00:ec2::254", "fd20:ce::254", "168.63.129.16", "::ffff:100.100.100.200", "192.0.0.192",
        "64:ff9b:1::7f00:1", "64:ff9b:1:ffff::169.254.169.254",
    ],
)  # fmt: skip
def test_what_others_never_reach_through_this_machine(address: str) -> None:
    assert why_out_of_reach(ipaddress.ip_address(address))


@pytest.mark.parametrize(
    "address",
    [
        "192.0.2.77",
        "10.99.88.77",
        "8.8.8.8",
        "2001:db8::1",
        "64:ff9b::808:808",
        "fd00:ec2::1",
        "168.63.129.17",
        "64:ff9b:1::808:808",
    ],
)
def test_what_others_may_reach(address: str) -> None:
    assert why_out_of_reach(ipaddress.ip_address(address)) is None


def test_the_addresses_of_this_machine_are_its_own() -> None:
    assert is_own(ipaddress.ip_address("127.0.0.1"))
    assert not is_own(ipaddress.ip_address("192.0.2.77"))


@pytest.mark.parametrize(
    ("authority", "host"),
    [
        ("Localhost:8080", "localhost"), ("localhost.", "localhost"), ("localhost:", "localhost"), ("[::1]:80", "::1"),
        ("[::1]", "::1"), ("::1", "::1"), ("::ffff:7f00:1", "::ffff:7f00:1"), ("a.example:x", "a.example:x"),
        (" a.example ", "a.example"), ("", ""), ("localhost, x.example", "localhost, x.example"),
        ("localhost:1, x.example:2", "localhost:1, x.example:2"),
    ],
)  # fmt: skip
def test_the_host_of_an_authority(authority: str, host: str) -> None:
    assert host_of(authority) == host


@pytest.mark.parametrize(
    ("host", "expected"),
    [
        ("localhost", True), ("a.b.localhost", True), ("127.1", True), ("0", True), ("::1", True),
        ("localhost.example", False), ("xlocalhost", False), ("10.0.0.1", False), ("", False), (".", False),
    ],
)  # fmt: skip
def test_which_names_are_this_machines_by_their_own_words(host: str, expected: bool) -> None:
    assert is_loopback_name(host) is expected


def test_an_address_that_stays_here_does_so_in_any_coat() -> None:
    assert is_here(ipaddress.ip_address("64:ff9b::7f00:1"))
    assert not is_here(ipaddress.ip_address("64:ff9b::808:808"))
