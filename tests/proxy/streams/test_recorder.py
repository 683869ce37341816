import tracemalloc

from antigravity_healing.proxy.streams.recorder import Recorder
from hypothesis import given, settings
from hypothesis import strategies as st


@settings(deadline=None, derandomize=True)
@given(st.lists(st.binary(max_size=20), max_size=10), st.integers(0, 60))
def test_the_beginning_is_kept_up_to_the_limit(pieces: list[bytes], limit: int) -> None:
    recorder = Recorder(limit)
    for piece in pieces:
        recorder.keep(piece)
    whole = b"".join(pieces)
    assert recorder.take_body() == whole[:limit]
    assert recorder.truncated is (len(whole) > limit)


def test_nothing_behind_a_gap_is_kept() -> None:
    recorder = Recorder(4)
    for piece in (b"abc", b"defg", b"h"):
        recorder.keep(piece)
    assert recorder.take_body() == b"abcd"
    assert recorder.truncated


def test_many_short_pieces_take_no_more_than_their_bytes() -> None:
    recorder = Recorder(1_000_000)
    tracemalloc.start()
    for _ in range(300_000):
        recorder.keep(b"x")
    kept = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert recorder.take_body() == b"x" * 300_000
    assert kept < 600_000


def test_what_has_been_taken_is_kept_no_more() -> None:
    recorder = Recorder(8)
    recorder(b"abcd")
    assert (len(recorder), recorder.take_body()) == (4, b"abcd")
    assert (len(recorder), recorder.take_body()) == (0, b"")
