from itertools import pairwise

from antigravity_healing.wire.http.http2_frames import PREFACE_BYTES, Frame, FrameWalker
from hypothesis import given
from hypothesis import strategies as st

type Made = tuple[Frame, bytes]


@st.composite
def frames(draw: st.DrawFn) -> Made:
    """A frame as the walker should tell it, and its bytes."""
    kind, flags = draw(st.integers(0, 255)), draw(st.integers(0, 255))
    payload, padding = draw(st.binary(max_size=40)), b""
    if kind in (0, 1) and flags & 0x8:
        # The length of the padding counts as padding.
        padding = b"\0" * draw(st.integers(0, 20))
        payload = bytes([len(padding)]) + payload + padding
    size = len(payload) - (len(padding) + 1 if kind in (0, 1) and flags & 0x8 else 0)
    head = len(payload).to_bytes(3) + bytes([kind, flags]) + draw(st.integers(0, 2**31 - 1)).to_bytes(4)
    return Frame(kind, flags, size), head + payload


@given(st.lists(frames(), max_size=12), st.sampled_from([0, PREFACE_BYTES]), st.data())
def test_any_split_of_any_frames_gives_the_same_frames(made: list[Made], skipped: int, data: st.DataObject) -> None:
    whole = b"P" * skipped + b"".join(raw for _, raw in made)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=20)))
    walker, found = FrameWalker(skipped), []
    for begin, end in pairwise([0, *cuts, len(whole)]):
        piece, at = whole[begin:end], 0
        while at < len(piece):
            at, frame = walker.step(piece, at)
            found += [frame] if frame else []
    assert found == [frame for frame, _ in made]


@given(st.binary(max_size=200))
def test_anything_at_all_is_walked_through_to_its_end(data: bytes) -> None:
    walker, at = FrameWalker(), 0
    while at < len(data):
        before = at
        at, _ = walker.step(data, at)
        assert before < at <= len(data)


def test_padding_alone_is_nothing_and_more_padding_than_payload_too() -> None:
    for pad_length in (5, 200):
        raw = (6).to_bytes(3) + bytes([0, 0x8]) + (1).to_bytes(4) + bytes([pad_length]) + bytes(5)
        assert FrameWalker().step(raw, 0) == (len(raw), Frame(0, 0x8, 0))
