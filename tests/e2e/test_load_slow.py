"""A client that reads slowly holds its upstream back; the proxy does not store what it can't send."""

from pathlib import Path

from mitmproxy import http, io

from tests.e2e.harness import Proxy, account, upstream
from tests.support.raw import RawConnection
from tests.upstream import Reply, Upstream, anthropic_stream

MB = 1024 * 1024
SIZE = 50 * MB
KEPT = MB


def most_memory(proxy: Proxy) -> int:
    """The most memory that the process has ever had, in bytes."""
    status = Path(f"/proc/{proxy.pid}/status").read_text()
    (line,) = [line for line in status.splitlines() if line.startswith("VmHWM:")]
    return int(line.split()[1]) * 1024


def wait_until_stuck(up: Upstream) -> int:
    """Wait until upstream can't send any more for a second; gives how many bytes it had sent."""
    up.wait_for(lambda up: up.calls)
    (call,) = up.calls
    while True:
        sent = call.sent
        try:
            up.wait_for(lambda up, sent=sent: call.sent > sent, 1)  # type: ignore[misc]
        except AssertionError:
            return sent


def dechunked(data: bytes) -> bytes:
    """The body of a chunked message."""
    pieces: list[bytes] = []
    at = 0
    while True:
        end = data.index(b"\r\n", at)
        size = int(data[at:end], 16)
        if not size:
            return b"".join(pieces)
        pieces.append(data[end + 2 : end + 2 + size])
        at = end + 2 + size + 2


def ask(up: Upstream, url: str, via: str | None, reply: Reply) -> RawConnection:
    """A client that asks for a long answer and does not read it, until its upstream has got stuck."""
    up.reset()
    up.play(reply)
    connection = RawConnection(url, proxy=via, timeout=30)
    messages = [{"role": "user", "content": "a long story"}]
    body = {"model": "m", "max_tokens": 9, "stream": True, "messages": messages}
    connection.send("POST", url, body, {"connection": "close"})
    # What fits into the kernel's buffers of two connections is on its way, the rest has to wait.
    assert wait_until_stuck(up) < SIZE / 2
    return connection


def read_all(connection: RawConnection) -> bytes:
    """The body of the answer."""
    received = bytearray()
    while piece := connection.socket.recv(1 << 20):
        received += piece
    head, _, rest = bytes(received).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    return dechunked(rest)


def test_memory_stays_bounded_when_the_client_does_not_read(tmp_path: Path) -> None:
    reply = anthropic_stream("once upon a time " * (SIZE // 17), pieces=64)
    saved = tmp_path / "saved.flows"
    with Upstream() as up:
        with Proxy(tmp_path / "plain", None, addon=False, options={"stream_large_bodies": "1"}) as plain:
            before = most_memory(plain)
            ask(up, f"{up.url}/v1/messages", plain.url, reply).close()
            usual = most_memory(plain) - before
        config = account("a", "up") + upstream("up", "anthropic", up.url) + f"[flows]\nmax_body_bytes = {KEPT}\n"
        with Proxy(tmp_path / "healing", config, options={"save_stream_file": str(saved)}) as proxy:
            before = most_memory(proxy)
            connection = ask(up, f"{proxy.url}/v1/messages", None, reply)
            stuck = most_memory(proxy) - before
            # To the byte what upstream sent, which is a well-formed stream: a checker takes long for so much.
            assert read_all(connection) == reply.whole
            connection.close()
            healing = most_memory(proxy) - before
    # An event that has begun is kept until its end, what the flows keep, and what may be signed; anything else would be
    # a buffer.
    assert stuck < usual + SIZE / 2, (stuck, usual)
    # How much comes while a long event is being understood depends on the machine. A buffer would have had all.
    assert healing < usual + SIZE, (healing, usual)
    with saved.open("rb") as file:
        flows = [flow for flow in io.FlowReader(file).stream() if isinstance(flow, http.HTTPFlow)]
    assert {flow.metadata["antigravity"]["role"] for flow in flows} == {"exchange", "attempt"}
    for flow in flows:
        assert flow.response
        assert flow.response.raw_content == reply.whole[:KEPT]
        assert flow.metadata["antigravity"]["body_truncated"] is True
