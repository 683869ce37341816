from healing.proxy.connections.frame_feed import FRAMES_A_TURN, FrameFeed
from hypothesis import given
from hypothesis import strategies as st

PING = (8).to_bytes(3) + bytes([6, 0, 0, 0, 0, 0]) + bytes(8)


@given(st.integers(0, 5 * FRAMES_A_TURN), st.lists(st.integers(0, 3000), max_size=9))
def test_all_is_given_in_order_and_a_bounded_number_of_frames_at_a_time(count: int, cuts: list[int]) -> None:
    whole, feed = PING * count, FrameFeed()
    taken, frames = b"", 0
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(whole)], strict=True):
        feed.add(whole[begin:end])
        while feed:
            data, found = feed.take()
            assert data
            assert len(found) <= FRAMES_A_TURN
            taken += data
            frames += len(found)
    assert taken == whole
    assert frames == count


def test_what_is_not_wanted_any_more_is_gone() -> None:
    feed = FrameFeed()
    feed.add(PING)
    feed.clear()
    assert not feed
