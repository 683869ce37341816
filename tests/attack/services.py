"""Servers that are nobody's business, and such as anybody may use: each keeps what reached it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass
class Service:
    """A small HTTP server: it answers everything with `text`, and keeps the heads of what it was asked."""

    host: str
    port: int
    text: str
    heads: list[str] = field(default_factory=list)


@contextmanager
def service(host: str, text: str) -> Iterator[Service]:
    """Run one, on a free port. Its socket belongs to the network of the calling thread."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            found.heads.append(f"{self.requestline}\n{self.headers}")
            body = text.encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_POST = do_CONNECT = do_GET  # noqa: N815

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer((host, 0), Handler)
    found = Service(host, server.server_port, text)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
    thread.start()
    try:
        yield found
    finally:
        server.shutdown()
        server.server_close()
        thread.join(5)
