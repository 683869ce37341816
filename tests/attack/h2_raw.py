"""An HTTP/2 client behind CONNECT that sends any frame, and keeps all that comes back."""

import ssl
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import hpack
from hyperframe.frame import DataFrame, Frame, GoAwayFrame, HeadersFrame, RstStreamFrame, SettingsFrame

from tests.support.raw import RawConnection

PREFACE = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"
WAIT_S = 20.0
type Pairs = Iterable[tuple[str, str]]


class RawH2:
    """One connection. frames: what has come; closed: whether the proxy has ended it.

    settings: what it says of itself; None sends no preface at all.
    """

    def __init__(self, url: str, proxy: str, ca: Path, settings: dict[int, int] | None) -> None:
        context = ssl.create_default_context(cafile=ca)
        context.set_alpn_protocols(["h2"])
        self._connection = RawConnection(url, timeout=WAIT_S, proxy=proxy, context=context)
        self.socket = self._connection.socket
        self.authority = urlsplit(url).netloc
        self.frames: list[Frame] = []
        self.closed = False
        self._acks = settings is not None
        self._buffer = b""
        self._packer = hpack.Encoder()
        self._unpacker = hpack.Decoder()
        if settings is not None:
            self.socket.sendall(PREFACE)
            self.send(SettingsFrame(0, settings))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connection.close()

    def send(self, *frames: Frame) -> None:
        """Send frames as they are; a connection that has been ended is no error."""
        try:
            self.socket.sendall(b"".join(frame.serialize() for frame in frames))
        except OSError:
            self.closed = True

    def packed(self, method: str, path: str, more: Pairs = ()) -> bytes:
        """The header block of a request."""
        own = [(":method", method), (":scheme", "https"), (":authority", self.authority), (":path", path)]
        return self._packer.encode([*own, *more])

    def headers(
        self, stream_id: int, method: str, path: str, more: Pairs = (), *, end_stream: bool = True
    ) -> HeadersFrame:
        """A HEADERS frame of a request."""
        frame = HeadersFrame(stream_id, self.packed(method, path, more))
        frame.flags |= {"END_HEADERS", "END_STREAM"} if end_stream else {"END_HEADERS"}
        return frame

    def read_until(self, condition: Callable[[], object]) -> None:
        """Read until a condition holds, or the connection ends."""
        end = time.monotonic() + WAIT_S
        while not condition() and not self.closed:
            assert time.monotonic() < end, self.frames[-20:]
            self.read()

    def read(self) -> None:
        """Read what comes next."""
        try:
            data = self.socket.recv(65536)
        except (ConnectionResetError, ssl.SSLError):
            data = b""
        self.closed = not data
        self._buffer += data
        while len(self._buffer) >= 9:
            frame, length = Frame.parse_frame_header(memoryview(self._buffer[:9]))
            if len(self._buffer) < 9 + length:
                break
            frame.parse_body(memoryview(self._buffer[9 : 9 + length]))
            self._buffer = self._buffer[9 + length :]
            self.frames.append(frame)
            if self._acks and isinstance(frame, SettingsFrame) and "ACK" not in frame.flags:
                self.send(SettingsFrame(0, flags=["ACK"]))
            if isinstance(frame, HeadersFrame):
                frame.unpacked = dict(self._unpacker.decode(frame.data))  # type: ignore[attr-defined]

    def status(self, stream_id: int) -> int:
        """The status of a stream's answer, 0 before it has come."""
        for frame in self.frames:
            if isinstance(frame, HeadersFrame) and frame.stream_id == stream_id:
                return int(frame.unpacked[":status"])  # type: ignore[attr-defined]
        return 0

    def body(self, stream_id: int) -> bytes:
        """What has come of a stream's body."""
        return b"".join(
            bytes(frame.data) for frame in self.frames if isinstance(frame, DataFrame) and frame.stream_id == stream_id
        )

    def ended(self, stream_id: int) -> bool:
        """Whether a stream's answer is complete."""
        return any(frame.stream_id == stream_id and "END_STREAM" in frame.flags for frame in self.frames)

    def reset_code(self, stream_id: int) -> int | None:
        """With what the proxy has reset a stream, None if it has not."""
        codes = [f.error_code for f in self.frames if isinstance(f, RstStreamFrame) and f.stream_id == stream_id]
        return codes[0] if codes else None

    @property
    def went_away_with(self) -> int | None:
        """The code of the proxy's GOAWAY, None if there is none."""
        codes = [frame.error_code for frame in self.frames if isinstance(frame, GoAwayFrame)]
        return codes[0] if codes else None
