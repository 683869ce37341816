"""WebSockets as bytes: a server's handshake, and frames."""

import base64
import hashlib
import re
import socket
import struct

LIVE = "/ws/google.ai.generativelanguage.v1beta.GenerativeService.BidiGenerateContent"
"""The path of Gemini's Live API."""
TEXT, BINARY, CLOSE, PING, PONG = 1, 2, 8, 9, 10
type Frame = tuple[int, bytes]


def accept(client: socket.socket, *headers: bytes) -> bytes:
    """Take a client's handshake, answer it with these header lines more, and give its head."""
    client.settimeout(15)
    head = b""
    while b"\r\n\r\n" not in head:
        head += client.recv(65536)
    found = re.search(rb"(?i)sec-websocket-key: *(\S+)", head)
    assert found is not None
    digest = hashlib.sha1(found[1] + b"258EAFA5-E914-47DA-95CA-C5AB0DC85B11", usedforsecurity=False).digest()
    accepted = b"sec-websocket-accept: " + base64.b64encode(digest)
    lines = (b"HTTP/1.1 101 Switching Protocols", b"upgrade: websocket", b"connection: upgrade", accepted, *headers)
    client.sendall(b"\r\n".join((*lines, b"", b"")))
    return head


def made(kind: int, data: bytes, *, masked: bool = True, packed: bool = False, last: bool = True) -> bytes:
    """A frame. packed: whether it says that it is compressed. last: whether its message ends with it."""
    head = bytes([last << 7 | packed << 6 | kind])
    flag, size = masked << 7, len(data)
    if size < 126:
        head += bytes([flag | size])
    else:
        head += (
            bytes([flag | 126]) + struct.pack(">H", size)
            if size < 1 << 16
            else bytes([flag | 127]) + struct.pack(">Q", size)
        )
    return head + bytes(4 * masked) + data


def read_frame(sock: socket.socket) -> Frame | None:
    """The kind and the content of the next frame, None at the end."""
    frame = read_raw(sock)
    return (frame[0] & 0x0F, frame[1]) if frame is not None else None


def read_raw(sock: socket.socket) -> tuple[int, bytes] | None:
    """The first byte and the content of the next frame."""
    head = sock.recv(2, socket.MSG_WAITALL)
    if len(head) < 2:
        return None
    size, masked = head[1] & 0x7F, head[1] & 0x80
    if size >= 126:
        size = int.from_bytes(sock.recv(2 if size == 126 else 8, socket.MSG_WAITALL))
    mask = int.from_bytes(sock.recv(4, socket.MSG_WAITALL) * (size // 4 + 1)) if masked else 0
    data = sock.recv(size, socket.MSG_WAITALL) if size else b""
    if mask and size:
        data = (int.from_bytes(data) ^ mask >> 8 * (4 * (size // 4 + 1) - size)).to_bytes(size)
    return head[0], data
