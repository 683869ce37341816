import itertools

import h11
import pytest
from antigravity_healing.proxy.connections.chunks import ChunkReader
from h11._readers import ChunkedReader
from h11._receivebuffer import ReceiveBuffer
from hypothesis import example, given, settings
from hypothesis import strategies as st

type Reader = ChunkReader | ChunkedReader

steady = settings(deadline=None, derandomize=True)


class Read:
    """What a reader makes of bytes that come in these pieces."""

    def __init__(self, reader: Reader, pieces: list[bytes]) -> None:
        self.data, self.wrong = b"", False
        self.trailers: list[tuple[bytes, bytes]] | None = None
        self.most_parts = 0
        buf = ReceiveBuffer()
        try:
            for piece in pieces:
                buf += piece
                if self.trailers is None:
                    self._read(reader, buf)
        except h11.ProtocolError:
            self.wrong = True
        self.rest = b"" if self.wrong else bytes(buf)

    def _read(self, reader: Reader, buf: ReceiveBuffer) -> None:
        parts = 0
        while isinstance(part := reader(buf), h11.Data):
            self.data += part.data
            parts += 1
        self.most_parts = max(self.most_parts, parts)
        if isinstance(part, h11.EndOfMessage):
            self.trailers = [(bytes(name), bytes(value)) for name, value in part.headers]

    @property
    def found(self) -> tuple[object, ...]:
        """What has to be the same whoever reads, and however it comes."""
        return self.data, self.wrong, self.trailers, self.rest


def in_pieces(whole: bytes, cuts: list[int]) -> list[bytes]:
    places = [0, *sorted({cut % (len(whole) + 1) for cut in cuts}), len(whole)]
    return [whole[begin:end] for begin, end in itertools.pairwise(places)]


cut_places = st.lists(st.integers(0, 500), max_size=20)
sizes_said = st.sampled_from([b"%x", b"%X", b"00%x", b"%x \t", b"%x;a", b'%x;a="b;c"', b"%x; \r\t", b"%x;\x00"])
chunk = st.builds(lambda form, data: form % len(data) + b"\r\n" + data + b"\r\n", sizes_said, st.binary(min_size=1))
tiny = st.builds(lambda data: b"".join(b"1\r\n%c\r\n" % byte for byte in data), st.binary(max_size=30))
trailer = st.sampled_from(
    [b"x: y\r\n", b"X-Sum:\t4711 \r\n", b"x:\r\n", b"x: a\n", b"x: a\r\n  b\r\n", b"x: \xff a b\r\n"]
)
bodies = st.builds(
    lambda chunks, last, trailers, behind: b"".join([*chunks, last, *trailers, b"\r\n", behind]),
    st.lists(chunk | tiny, max_size=6),
    st.sampled_from([b"0\r\n", b"000;end\r\n"]),
    st.lists(trailer, max_size=3),
    st.sampled_from([b"", b"GET / HTTP/1.1\r\n\r\n"]),
)
# Near to what is right, and wrong in a place or two.
flaws = st.lists(
    st.tuples(st.integers(0, 500), st.sampled_from([b"", b"\r", b"\n", b" ", b";", b"+", b"_", b"g", b"0", b"\0"]))
)


def with_flaws(body: bytes, places: list[tuple[int, bytes]]) -> bytes:
    for place, flaw in places:
        at = place % (len(body) + 1)
        body = body[:at] + flaw + body[at + 1 :]
    return body


@steady
@given(bodies, cut_places)
def test_a_body_is_the_same_for_any_split_and_for_h11(body: bytes, cuts: list[int]) -> None:
    found = Read(ChunkReader(), in_pieces(body, cuts))
    assert found.found == Read(ChunkedReader(), [body]).found
    assert found.trailers is not None
    assert found.most_parts <= 1


@steady
@given(bodies, flaws, cut_places)
@example(b"1\r\na\r\n1\r\nab\r\n0\r\n\r\n", [], [])
@example(b"1\r\na\rb", [], [5])
def test_what_h11_refuses_is_refused_behind_the_same_data(
    body: bytes, places: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    broken = with_flaws(body, places)
    found, expected = Read(ChunkReader(), in_pieces(broken, cuts)), Read(ChunkedReader(), [broken])
    assert found.data == expected.data
    assert found.found == Read(ChunkReader(), [broken]).found
    stricter = found.wrong and expected.trailers
    if stricter:
        assert any(byte < 0x20 and byte != 0x09 for _, value in stricter for byte in value)
    else:
        assert found.found == expected.found


@steady
@given(st.binary(), cut_places)
def test_any_bytes_are_taken_as_by_h11(body: bytes, cuts: list[int]) -> None:
    assert Read(ChunkReader(), in_pieces(body, cuts)).data == Read(ChunkedReader(), [body]).data


@pytest.mark.parametrize(
    "line", [b"g", b"", b" 1", b"+1", b"-1", b"0x1", b"1_0", b"1 ;x", b"1;x\ny", b"1\n", b"f" * 21]
)
def test_a_size_that_is_none_is_refused_and_not_repeated(line: bytes) -> None:
    buf = ReceiveBuffer()
    buf += line + b"\r\n" + b"x" * 40
    with pytest.raises(h11.ProtocolError) as caught:
        ChunkReader()(buf)
    assert str(caught.value) == "a chunk without a size"


def test_a_closed_connection_ends_no_body() -> None:
    with pytest.raises(h11.ProtocolError):
        ChunkReader().read_eof()
