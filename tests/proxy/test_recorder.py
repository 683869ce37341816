from healing.proxy.recorder import Recorder
from hypothesis import given, settings
from hypothesis import strategies as st


@settings(deadline=None, derandomize=True)
@given(st.lists(st.binary(max_size=20), max_size=10), st.integers(0, 60))
def test_the_beginning_is_kept_up_to_the_limit(pieces: list[bytes], limit: int) -> None:
    recorder = Recorder(limit)
    for piece in pieces:
        recorder.keep(piece)
    whole = b"".join(pieces)
    assert recorder.content == whole[:limit]
    assert recorder.truncated is (len(whole) > limit)


def test_nothing_behind_a_gap_is_kept() -> None:
    recorder = Recorder(4)
    for piece in (b"abc", b"defg", b"h"):
        recorder.keep(piece)
    assert recorder.content == b"abcd"
    assert recorder.truncated
