"""Where attacks take place: a proxy with accounts, a good upstream, and one that does what an attack tells it to."""

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Self

import orjson

from tests.e2e.harness import Proxy, account, upstream
from tests.support import raw
from tests.support.protocol import check_anthropic_stream
from tests.upstream import Upstream, anthropic_json, anthropic_stream

MB = 1024 * 1024
MODEL = "claude-sonnet-4-5"
_ROUTES = f"""
[models]
"claude-*" = {{ to = "good/{MODEL}" }}
"steady" = "steady/{MODEL}"
"evil" = "evil/{MODEL}"
"gemini-*" = "gem/gemini-3-pro-preview"
"evil-gemini" = "gevil/gemini-3-pro-preview"
"crossed" = "gem/gemini-3-pro-preview"
"evil-crossed" = "gevil/gemini-3-pro-preview"
"""
OK_JSON = anthropic_json("Well.").body or b""
OK_STREAM = b"".join(anthropic_stream("Well.").chunks)


@dataclass(frozen=True)
class Setup:
    """How a proxy is set up for an attack.

    config: more of antigravity.toml. accounts: in place of the usual account of the good upstream.
    lan: listens on all addresses. tls: with a TLS upstream, for HTTP/2.
    """

    config: str = ""
    accounts: str | None = None
    clients: str = ""
    lan: bool = False
    tls: bool = False
    files: Mapping[str, str] = field(default_factory=dict)
    """In the proxy's folder, by their names, when it starts."""
    options: Mapping[str, str] = field(default_factory=dict)
    env: Mapping[str, str] = field(default_factory=dict)


class Evil:
    """A server on bare sockets that answers each request with what `answer` does to the connection."""

    def __init__(self) -> None:
        self.answer: Callable[[socket.socket, bytes], None] = says(200, OK_JSON)
        self.requests: list[bytes] = []
        self._listener = socket.create_server(("0.0.0.0", 0), backlog=256)
        self.port: int = self._listener.getsockname()[1]

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.close()

    @property
    def url(self) -> str:
        """Its base URL."""
        return f"http://127.0.0.1:{self.port}"

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError), connection:
            while request := _read_request(connection):
                self.requests.append(request)
                self.answer(connection, request)


def _read_request(connection: socket.socket) -> bytes:
    data = b""
    while b"\r\n\r\n" not in data:
        if not (more := connection.recv(65536)):
            return b""
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    lengths = [line.partition(b":")[2] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    missing = int(lengths[0]) - len(body) if lengths else 0
    pieces = [data]
    while missing > 0:
        if not (more := connection.recv(1 << 20)):
            return b""
        pieces.append(more)
        missing -= len(more)
    return b"".join(pieces)


def response(status: int, body: bytes, *headers: bytes, length: bool = True) -> bytes:
    """An HTTP/1.1 response in bytes."""
    lines = [b"HTTP/1.1 %d Status" % status, *headers]
    if not any(line.lower().startswith(b"content-type:") for line in headers):
        lines.append(b"content-type: application/json")
    if length:
        lines.append(b"content-length: %d" % len(body))
    return b"\r\n".join([*lines, b"", b""]) + body


def says(status: int, body: bytes, *headers: bytes) -> Callable[[socket.socket, bytes], None]:
    """An answer that is said at once."""
    whole = response(status, body, *headers)
    return lambda connection, request: connection.sendall(whole)


def says_for_ever(head: bytes, piece: bytes, *, most: int = 600 * MB) -> Callable[[socket.socket, bytes], None]:
    """An answer that does not end, but for `most` bytes."""

    def answer(connection: socket.socket, request: bytes) -> None:
        connection.sendall(head)
        for _ in range(most // len(piece)):
            connection.sendall(piece)
        connection.close()

    return answer


@dataclass
class Arena:
    """A proxy under attack."""

    proxy: Proxy
    good: Upstream
    evil: Evil
    folder: Path
    tls: Upstream | None = None

    @property
    def url(self) -> str:
        """The proxy's own address."""
        return self.proxy.url

    @property
    def address(self) -> tuple[str, int]:
        """The same, to connect to."""
        return "127.0.0.1", self.proxy.port

    def ask(self, model: str = MODEL, *, stream: bool = False, headers: Mapping[str, str] | None = None,
            timeout: float = 20.0, read: raw.Read = None, **fields: Any) -> raw.RawResponse:  # fmt: skip
        """A message that is asked for as any client does."""
        body = {"model": model, "max_tokens": 9, "stream": stream, "messages": [{"role": "user", "content": "hi"}]}
        url = f"{self.url}/v1/messages"
        return raw.request("POST", url, {**body, **fields}, headers, timeout=timeout, read=read)

    def post(self, body: bytes, headers: Mapping[str, str] | None = None, path: str = "/v1/messages",
             timeout: float = 20.0) -> raw.RawResponse:  # fmt: skip
        """Any body at all."""
        return raw.request("POST", self.url + path, body, headers, timeout=timeout)

    def get(self, path: str, headers: Mapping[str, str] | None = None) -> raw.RawResponse:
        """Anything else."""
        return raw.request("GET", self.url + path, None, headers)

    def connect(self, timeout: float = 20.0) -> socket.socket:
        """A bare connection."""
        return socket.create_connection(self.address, timeout)

    def send(self, data: bytes, timeout: float = 20.0) -> bytes:
        """Send these bytes and read until the proxy closes, has answered whole, or `timeout` is over."""
        with self.connect(timeout) as connection:
            with contextlib.suppress(ConnectionError):
                connection.sendall(data)
            return read_to_end(connection)

    def is_well(self) -> None:
        """An honest client is served."""
        self.good.wait_for(lambda up: True)
        found = self.ask(stream=True)
        assert found.status == 200, f"an honest client gets {found.status}: {found.body[:200]!r}"
        assert check_anthropic_stream(found.body).ended == "complete"

    def keys_used(self) -> list[str]:
        """With which keys the good upstream was asked."""
        return [call.headers.get("x-api-key", "") for call in self.good.calls]

    def health(self) -> dict[str, Any]:
        """What /health says."""
        return self.proxy.health()

    def logs(self) -> str:
        """All that was logged, on the console and in files."""
        files = sorted((self.folder / "proxy" / "home" / "logs").glob("*"))
        return self.proxy.log + "".join(path.read_text("utf-8", "replace") for path in files)


def read_to_end(connection: socket.socket, most: int = 64 * MB) -> bytes:
    """What comes until the other side closes, a response with a length is whole, or time is over."""
    data = bytearray()
    with contextlib.suppress(TimeoutError, ConnectionError):
        while more := connection.recv(1 << 20):
            data += more
            if len(data) > most or _is_whole(bytes(data[: 1 << 20]), len(data)):
                break
    return bytes(data)


def _is_whole(begun: bytes, size: int) -> bool:
    head, border, _ = begun.partition(b"\r\n\r\n")
    if not border:
        return False
    found = [line.partition(b":")[2] for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")]
    return bool(found) and size >= len(head) + 4 + int(found[0])


def status_of(answer: bytes) -> int:
    """The status of a response in bytes; 0 where there is none."""
    words = answer.split(b" ", 2)
    return int(words[1]) if len(words) > 1 and words[0].startswith(b"HTTP/") and words[1].isdigit() else 0


def refused(answer: bytes | raw.RawResponse, *statuses: int) -> None:
    """Raise AssertionError unless this is a refusal, with one of these statuses where some are given."""
    status = status_of(answer) if isinstance(answer, bytes) else answer.status
    # A connection that is closed without a word has been refused, too.
    wanted = statuses or tuple(range(400, 500))
    assert status in wanted or (isinstance(answer, bytes) and not answer), f"not refused: {status}"


def head(method: str, target: str, *headers: str, host: str = "127.0.0.1") -> bytes:
    """The head of a request, in bytes."""
    return "\r\n".join([f"{method} {target} HTTP/1.1", f"host: {host}", *headers, "", ""]).encode("latin-1")


def lan_address() -> str | None:
    """An address of this machine that is not loopback: who connects to it comes from it. None without a network."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(("198.51.100.1", 9))
        except OSError:
            return None
        address = str(probe.getsockname()[0])
    return None if address.startswith("127.") else address


@contextlib.contextmanager
def arena(folder: Path, setup: Setup, steady: int) -> Iterator[Arena]:
    """A proxy that is set up for an attack, and its upstreams. steady: the port of the steady stream's."""
    with contextlib.ExitStack() as stack:
        good = stack.enter_context(Upstream())
        evil = stack.enter_context(Evil())
        tls = stack.enter_context(Upstream(tls=True, http2=True)) if setup.tls else None
        options = dict(setup.options)
        if tls is not None:
            options["ssl_verify_upstream_trusted_ca"] = str(tls.ca_file)
        if setup.lan:
            options["listen_host"] = "0.0.0.0"
        proxy = Proxy(folder / "proxy", _config(setup, good, evil, steady, tls), options=options, env=setup.env)
        for name, text in setup.files.items():
            (proxy.folder / name).write_text(text)
        proxy.start()
        stack.callback(proxy.stop)
        yield Arena(proxy, good, evil, folder, tls)


def _config(setup: Setup, good: Upstream, evil: Evil, steady: int, tls: Upstream | None) -> str:
    upstreams = [("good", "anthropic", good.url), ("evil", "anthropic", evil.url), ("gem", "gemini", good.url),
                 ("gevil", "gemini", evil.url), ("steady", "anthropic", f"http://127.0.0.1:{steady}"),
                 ("prefixed", "anthropic", f"{good.url}/tenant")]  # fmt: skip
    if tls is not None:
        upstreams.append(("tls", "anthropic", tls.url))
    accounts = account("good", "good") if setup.accounts is None else setup.accounts
    accounts += "".join(
        # A steady stream never ends: nobody may be given one but who asks for it.
        account(name, name, priority=9, **({"models": [MODEL]} if name == "steady" else {}))
        for name, *_ in upstreams
        if name not in ("good", "prefixed")
    )
    clients = f"[clients]\n{setup.clients}\n" if setup.clients else ""
    return accounts + "".join(upstream(*each) for each in upstreams) + setup.config + clients + _ROUTES


def json_of(found: raw.RawResponse) -> Any:
    """What a response says, None if that is no JSON."""
    try:
        return orjson.loads(found.body)
    except orjson.JSONDecodeError:
        return None
