"""Who may come in: other machines, web pages, paths that climb, requests that can't be read for certain."""

import contextlib
import posixpath
import socket
from urllib.parse import unquote

from tests.attack.arena import MODEL, Arena, Setup, head, lan_address, read_to_end, refused, status_of
from tests.attack.table import Attack, NotHereError
from tests.e2e.harness import account
from tests.support.patience import wait_until

_LOOPBACKS = ("127.0.0.1", "127.0.0.2", "127.1", "0", "0.0.0.0", "2130706433", "0x7f000001", "017700000001",
              "localhost", "LOCALHOST", "localhost.", "[::1]", "[::ffff:127.0.0.1]", "[::]")  # fmt: skip
_ASK = b'{"model":"%s","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}' % MODEL.encode()
_LAN = Setup(lan=True)
_LAN_KEYS = Setup(lan=True, clients='keys = ["key-of-the-gateway-01234"]')


def _post(target: str, *headers: str, host: str = "127.0.0.1") -> bytes:
    return head("POST", target, *headers, f"content-length: {len(_ASK)}", host=host) + _ASK


def _from_lan(place: Arena, data: bytes) -> bytes:
    """What the proxy answers to one who comes from an address that is not loopback."""
    with socket.create_connection((_lan(), place.proxy.port), 10) as connection:
        with contextlib.suppress(ConnectionError):
            connection.sendall(data)
        return read_to_end(connection)


def _lan() -> str:
    if (address := lan_address()) is None:
        raise NotHereError("this machine has no address but loopback")
    return address


def _nobody_paid(place: Arena, before: int) -> None:
    assert len(place.good.calls) == before, f"answered with the key {place.keys_used()[-1]!r}"


def listen_default(place: Arena) -> None:
    """The proxy is not to be reached from elsewhere unless the user says so."""
    with contextlib.suppress(ConnectionError), socket.create_connection((_lan(), place.proxy.port), 3):
        raise AssertionError("it listens on all addresses")


def deputy_connect(place: Arena) -> None:
    """A tunnel to the proxy itself, and a request in it."""
    for host in _LOOPBACKS:
        before = len(place.good.calls)
        for port in (place.proxy.port, place.good.port):
            answer = _from_lan(place, head("CONNECT", f"{host}:{port}", host=f"{host}:{port}"))
            refused(answer, 403, 407)
        _nobody_paid(place, before)


def deputy_names(place: Arena) -> None:
    """The proxy's own address, by all of its names, as the target of a plain request."""
    before = len(place.good.calls)
    for host in (*_LOOPBACKS, _lan()):
        origin = f"http://{host}:{place.proxy.port}"
        refused(_from_lan(place, _post(f"{origin}/v1/messages", host=f"{host}:{place.proxy.port}")), 401, 403, 407)
    refused(_from_lan(place, _post("/v1/messages", host=f"127.0.0.1:{place.proxy.port}")), 401, 403, 407)
    _nobody_paid(place, before)


def deputy_health(place: Arena) -> None:
    """What the proxy tells of itself."""
    for target in ("/health", f"http://127.0.0.1:{place.proxy.port}/health", f"http://127.1:{place.proxy.port}/health"):
        refused(_from_lan(place, head("GET", target, host=f"127.0.0.1:{place.proxy.port}")), 401, 403, 407)


def deputy_service(place: Arena) -> None:
    """A service that listens on the proxy's loopback only."""
    for host in _LOOPBACKS:
        origin = f"{host}:{place.evil.port}"
        refused(_from_lan(place, head("GET", f"http://{origin}/secret", host=origin)), 401, 403, 407)
    assert not place.evil.requests, "a loopback service was reached"


def admitted_with_key(place: Arena) -> None:
    """Another machine with a key is served, and so is this one."""
    own = f"{_lan()}:{place.proxy.port}"
    answer = _from_lan(place, _post("/v1/messages", "x-api-key: key-of-the-gateway-01234", host=own))
    assert status_of(answer) == 200, answer[:200]
    place.is_well()


def rebinding(place: Arena) -> None:
    """A page whose name has come to mean 127.0.0.1."""
    before = len(place.good.calls)
    for path in ("/health", "/v1/files", "/v1/files/file_1/content", "/v1/messages/batches/b/results", "/v1/models"):
        for host in ("rebind.example", f"rebind.example:{place.proxy.port}", "127.0.0.1.rebind.example", ""):
            answer = place.send(head("GET", path, "anthropic-version: 2023-06-01", host=host))
            refused(answer)
    _nobody_paid(place, before)


def cross_site(place: Arena) -> None:
    """What a browser says of where a request comes from."""
    before = len(place.good.calls)
    for header in ("sec-fetch-site: cross-site", "origin: https://evil.example", "origin: null",
                   "origin: http://localhost.evil.example", "origin: http://127.0.0.1.evil.example"):  # fmt: skip
        for path in ("/v1/models", "/v1/files", "/health"):
            refused(
                place.send(
                    head("GET", path, header, "anthropic-version: 2023-06-01", host=f"127.0.0.1:{place.proxy.port}")
                ),
                403,
            )
    _nobody_paid(place, before)


def own_page(place: Arena) -> None:
    """A page of this machine is served, and so are programs that name no page."""
    host = f"localhost:{place.proxy.port}"
    for headers in (("origin: http://localhost:3000",), ("sec-fetch-site: same-site", "origin: http://localhost:3000"),
                    ("sec-fetch-site: none",), ()):  # fmt: skip
        answer = place.send(head("GET", "/v1/models", "anthropic-version: 2023-06-01", *headers, host=host))
        assert status_of(answer) == 200, answer[:200]
    asked = ("origin: http://localhost:3000", "access-control-request-method: POST")
    assert status_of(place.send(head("OPTIONS", "/v1/messages", *asked, host=host))) in (200, 204)


_CLIMBING = ("/v1/messages/../../../tenantB/v1/x", "/v1/%2e%2e/%2e%2e/tenantB", "/v1/..%2f..%2ftenantB",
             "/v1/%2e%2e%2f%2e%2e%2ftenantB", "/v1/files/..\\..\\..\\tenantB", "/v1/files/%2e./.%2e/../../tenantB",
             "/v1/files/..;/..;/../../tenantB", "/v1/./../../tenantB", "/v1/files/%252e%252e/../../../tenantB",
             "//tenantB/v1/x", "/../tenantB", "/v1/models/..%2f..%2f..%2ftenantB")  # fmt: skip


def climbing(place: Arena) -> None:
    """Paths that lead out of the prefix of the one upstream that there is for them."""
    for path in _CLIMBING:
        for method in ("GET", "POST"):
            place.send(head(method, path, "anthropic-version: 2023-06-01", "content-length: 0"))
    for call in place.good.calls:
        path = call.path
        for _ in range(3):
            path = unquote(path).replace("\\", "/")
        assert posixpath.normpath(path).startswith("/tenant/") or call.path.startswith("/v1/messages"), call.path


def inside_prefix(place: Arena) -> None:
    """What lies under the prefix is reached."""
    place.send(head("GET", "/v1/files/file_1/content", "anthropic-version: 2023-06-01"))
    place.good.wait_for(lambda up: any(call.path == "/tenant/v1/files/file_1/content" for call in up.calls))


_BODY = '{"model":"%s","max_tokens":9,"messages":[{"role":"user","content":"hi"}]}'


def smuggled_models(place: Arena) -> None:
    """A model that no account may be asked for, said in ways that not everyone reads alike."""
    forbidden = _BODY % "claude-forbidden"
    bodies = [
        b"\xef\xbb\xbf" + forbidden.encode(),
        forbidden.encode("utf-16"),
        forbidden.encode("utf-32-le"),
        forbidden.encode().replace(b"hi", b"\xff\xfe"),
        forbidden.encode()[:-1] + b',"model":"%s"}' % MODEL.encode(),
        (_BODY % MODEL).encode()[:-1] + b',"model":"claude-forbidden"}',
        (_BODY % MODEL).encode()[:-1] + b',"\\u006dodel":"claude-forbidden"}',
        forbidden.encode() + b"x",
        b'{"requests":[{"custom_id":"a","params":' + forbidden.encode() + b"}]}",
    ]
    paths = ("/v1/messages", "/v1//messages", "/v1/%6dessages", "/v1/messages/", "/v1/messages/batches",
             "/v1/messages/count_tokens", "/v1/complete")  # fmt: skip
    before = len(place.good.calls)
    for path in paths:
        for body in (*bodies, forbidden.encode()):
            place.post(body, {"content-type": "application/json", "anthropic-version": "2023-06-01"}, path)
    for call in place.good.calls[before:]:
        assert b"claude-forbidden" not in call.body, f"{call.path}: {call.body[:120]!r}"
        assert b"f\0o\0r\0b" not in call.body, f"{call.path} in UTF-16"


def own_failures(place: Arena) -> None:
    """What our own look at a request could break on."""
    before = len(place.good.calls)
    odd = [
        head("GET", "/v1/models", "origin: http://[::1", "anthropic-version: 2023-06-01"),
        head("GET", "/v1/models", "origin: http://[", "anthropic-version: 2023-06-01"),
        head("GET", "/v1/files/\xe9\xff", "anthropic-version: 2023-06-01"),
        head("GET", "http://[::1/v1/models"),
        head("GET", "http://127.0.0.1:99999/v1/models"),
    ]
    for data in odd:
        answer = place.send(data)
        assert status_of(answer) != 200, data
    for call in place.good.calls[before:]:
        assert "key-of-" not in call.headers.get("x-api-key", ""), f"{call.path} with a key"


def keyless_methods(place: Arena) -> None:
    """Methods that nobody asks an API with."""
    before = len(place.good.calls)
    for method in ("OPTIONS", "TRACE", "TRACK", "CONNECT"):
        for path in ("/v1/messages", "/v1/files", "/v1/models"):
            place.send(head(method, path, "anthropic-version: 2023-06-01", "content-length: 0"), timeout=5)
    for call in place.good.calls[before:]:
        assert "key-of-" not in str(call.headers), f"{call.method} with a key"


def half_configuration(place: Arena) -> None:
    """The file is emptied, or cut, while somebody writes it."""
    text = place.proxy.config_file.read_text()
    try:
        _broken(place, text)
    finally:
        place.proxy.config_file.write_text(text)
        wait_until(lambda: place.ask().status == 200, "the configuration")


def _broken(place: Arena, text: str) -> None:
    for part in ("", text[: len(text) // 2].rpartition("[upstreams")[0], "\n# nothing\n"):
        place.proxy.config_file.write_text(part)
        count = place.proxy.log.count("onfiguration")
        place.proxy.wait_for(lambda count=count: place.proxy.log.count("onfiguration") > count, "word of it")  # type: ignore[misc]
        assert len(place.health()["accounts"]) >= 5, "the accounts are gone"


_ONE_MODEL = Setup(accounts=account("good", "good", models=[MODEL]))
_PREFIXED = Setup(accounts=account("prefixed", "prefixed", priority=-1))

ENTRY = [
    Attack(1, "listen-default", "connect from a LAN address, no listen_host set", "refused", listen_default),
    Attack(1, "deputy-connect", "from a LAN address CONNECT to 14 spellings of loopback", "403/407", deputy_connect,
           setup=_LAN),
    Attack(1, "deputy-connect-keys", "the same with client keys set", "403/407", deputy_connect, admitted_with_key,
           _LAN_KEYS),
    Attack(1, "deputy-names", "from a LAN address POST to the proxy by 15 names", "401/403/407, no key spent",
           deputy_names, setup=_LAN),
    Attack(1, "deputy-names-keys", "the same with client keys set", "401/403/407, no key spent", deputy_names,
           admitted_with_key, _LAN_KEYS),
    Attack(1, "deputy-health", "from a LAN address GET /health in three ways", "401/403/407", deputy_health,
           setup=_LAN),
    Attack(1, "deputy-service", "from a LAN address GET of a loopback service", "401/403/407, not reached",
           deputy_service, setup=_LAN),
    Attack(2, "rebinding", "Host: rebind.example on five paths", "4xx, no key spent", rebinding, own_page),
    Attack(2, "cross-site", "Sec-Fetch-Site and Origin of other sites on GETs", "403", cross_site, own_page),
    Attack(3, "climbing", "12 paths with dot segments in all codings", "upstream's prefix is never left", climbing,
           inside_prefix, _PREFIXED),
    Attack(3, "smuggled-models", "BOM, UTF-16, two models, batches, odd paths with a forbidden model",
           "never sent with a key", smuggled_models, setup=_ONE_MODEL),
    Attack(4, "own-failures", "broken Origin, bytes from 0x80 in a path, broken authorities", "refused, no key",
           own_failures),
    Attack(4, "keyless-methods", "OPTIONS, TRACE, TRACK, CONNECT on API paths", "no key on them", keyless_methods),
    Attack(4, "half-configuration", "the configuration is emptied and cut while it runs", "the old one stays",
           half_configuration),
]  # fmt: skip
