"""Keys, and who may read what is written."""

import contextlib
import gzip
import json
import os
import stat

from tests.attack.arena import OK_JSON, Arena, Setup, head, response, says
from tests.attack.table import Attack
from tests.e2e.harness import key_of
from tests.support.patience import wait_until

_KEY = key_of("evil")
_WAIT_A_LITTLE = Setup("[retry]\nmax_wait = 1\n")


def echoed_keys(place: Arena) -> None:
    """An upstream repeats the key wherever it can."""
    key = _KEY.encode()
    escaped = "".join(f"\\u{ord(letter):04x}" for letter in _KEY).encode()
    bodies = [
        response(200, OK_JSON.replace(b"Well.", key)),
        response(200, b'{"input_tokens":1,"echo":"%s"}' % key),
        response(200, gzip.compress(b'{"data":[{"id":"%s"}]}' % key), b"content-encoding: gzip"),
        response(401, b'{"error":{"message":"invalid %s"}}' % key),
        response(401, b'{"error":{"message":"invalid %s"}}' % escaped),
        response(400, b"no JSON: " + key),
        response(200, OK_JSON, b"x-echo: " + key, b"set-cookie: k=" + key),
        response(200, OK_JSON).replace(b"Status", key),
        b"HTTP/1.1 200 OK\r\n" + key + b"\r\n\r\n",
        b"HTTP/1.1 " + key + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ncontent-length: " + key + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n" + key + b"\r\n",
    ]
    paths = ("/v1/messages", "/v1/messages/count_tokens")
    for whole in bodies:
        place.evil.answer = lambda connection, request, whole=whole: connection.sendall(whole)  # type: ignore[misc]
        for path in paths:
            body = json.dumps({"model": "evil", "max_tokens": 9, "messages": []}).encode()
            with contextlib.suppress(ConnectionError, TimeoutError):
                data = head("POST", path, f"content-length: {len(body)}", "accept-encoding: gzip") + body
                answer = place.send(data, timeout=8)
                said = answer + _plain(answer)
                assert key not in said, f"to the client: {whole[:60]!r}"
                assert escaped not in said, f"escaped, to the client: {whole[:60]!r}"
    _in_no_file(place, _KEY)


def _plain(answer: bytes) -> bytes:
    body = answer.partition(b"\r\n\r\n")[2]
    try:
        return gzip.decompress(body)
    except (OSError, EOFError):
        return b""


def _in_no_file(place: Arena, secret: str) -> None:
    assert secret not in place.proxy.log, "on the console"
    home = place.proxy.folder / "home"
    for path in home.rglob("*"):
        if path.is_file():
            assert secret.encode() not in path.read_bytes(), f"in {path.relative_to(home)}"


_THEIRS = {"cookie": "session=cookie-of-a-client-1", "proxy-authorization": "Basic proxy-of-a-client-2",
           "api-key": "api-key-of-a-client-3", "x-api-key": "x-key-of-a-client-4",
           "authorization": "Bearer bearer-of-a-client-5"}  # fmt: skip
_MCP = "mcp-token-of-a-client-6"


def captured_secrets(place: Arena) -> None:
    """What a client sends in confidence is in no capture of its failure."""
    place.evil.answer = says(400, b'{"error":{"type":"invalid_request_error","message":"no"},"type":"error"}')
    servers = [{"type": "url", "url": "https://mcp.example", "name": "m", "authorization_token": _MCP}]
    place.ask("evil", headers=_THEIRS, mcp_servers=servers)
    folder = place.proxy.folder / "home" / "captured"
    wait_until(lambda: list(folder.glob("*.flow")), "the capture")
    for secret in (*(value.rpartition(" ")[2].rpartition("=")[2] for value in _THEIRS.values()), _MCP):
        _in_no_file(place, secret)


def modes(place: Arena) -> None:
    """Nobody else may read the data folder, whatever the umask."""
    place.evil.answer = says(400, b"{}")
    place.ask("evil")
    home = place.proxy.folder / "home"
    wait_until(lambda: list(home.glob("captured/*.flow")), "the capture")
    for path in [home, *home.rglob("*")]:
        mode = stat.S_IMODE(path.stat().st_mode)
        assert not mode & 0o077, f"{path.relative_to(home.parent)} is {mode:o}"
    assert "antigravity.toml" in _warnings(place), "no warning of a configuration with keys that all can read"


def _warnings(place: Arena) -> str:
    words = ("read by", "readable", "others can", "chmod", "permission")
    return "\n".join(line for line in place.proxy.lines if any(word in line for word in words))


def _with_open_umask(place: Arena) -> None:
    """The same for a proxy that was started with no umask at all."""
    from tests.e2e.harness import Proxy

    before = os.umask(0)
    try:
        folder = place.folder / "open"
        proxy = Proxy(folder, place.proxy.config_file.read_text())
        # Others can reach it only where they can go through all folders above.
        for above in (folder, place.folder):
            above.chmod(0o755)
        proxy.config_file.chmod(0o644)
        proxy.start()
    finally:
        os.umask(before)
    try:
        modes(Arena(proxy, place.good, place.evil, folder))
    finally:
        with contextlib.suppress(AssertionError):
            proxy.stop()


SECRETS = [
    Attack(15, "echoed-keys", "an upstream repeats the key in 12 places", "no client, log or file has it", echoed_keys,
           setup=_WAIT_A_LITTLE),
    Attack(15, "captured-secrets", "six secrets of a client in a request that fails", "none in the capture",
           captured_secrets, setup=_WAIT_A_LITTLE),
    Attack(15, "modes", "the proxy is started with umask 0", "0600 and 0700, a warning", _with_open_umask,
           setup=_WAIT_A_LITTLE),
]  # fmt: skip
