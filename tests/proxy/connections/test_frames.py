import pytest
from antigravity_healing.proxy.connections.frames import A_MINUTE_S, FRAMES_A_TURN, FrameBudget, FrameFeed
from antigravity_healing.wire.http.http2_frames import Frame, FrameType
from hypothesis import given
from hypothesis import strategies as st

from tests.policy.exchange.stage import FakeClock

MOST = 100
PING = Frame(FrameType.PING, 0, 8)
UPDATE = Frame(FrameType.WINDOW_UPDATE, 0, 4)
PING_BYTES = (8).to_bytes(3) + bytes([6, 0, 0, 0, 0, 0]) + bytes(8)


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def budget(clock: FakeClock) -> FrameBudget:
    return FrameBudget(clock)


def allowed(budget: FrameBudget, frame: Frame, most: int = 10_000) -> int:
    """How many of a frame are allowed one after the other."""
    return next((number for number in range(most) if not budget.allows(frame, MOST)), most)


@pytest.mark.parametrize(
    "frame",
    [PING, UPDATE, Frame(FrameType.SETTINGS, 0, 6), Frame(FrameType.SETTINGS, 1, 0), Frame(FrameType.PRIORITY, 0, 5),
     Frame(FrameType.RST_STREAM, 0, 4), Frame(FrameType.GOAWAY, 0, 8), Frame(FrameType.DATA, 0, 0),
     Frame(FrameType.DATA, 1, 0), Frame(FrameType.HEADERS, 4, 0), Frame(FrameType.CONTINUATION, 0, 0),
     Frame(0xBE, 0, 500)],
)  # fmt: skip
def test_what_carries_nothing_is_allowed_so_often(budget: FrameBudget, frame: Frame) -> None:
    assert allowed(budget, frame) == MOST


@pytest.mark.parametrize("kind", [FrameType.DATA, FrameType.HEADERS, FrameType.CONTINUATION])
def test_what_carries_a_byte_is_always_allowed(budget: FrameBudget, kind: FrameType) -> None:
    assert allowed(budget, Frame(kind, 0, 1)) == 10_000


def test_a_frame_with_many_settings_counts_as_so_many(budget: FrameBudget) -> None:
    assert not budget.allows(Frame(FrameType.SETTINGS, 0, 6 * (MOST + 1)), MOST)


def test_time_gives_back(budget: FrameBudget, clock: FakeClock) -> None:
    assert allowed(budget, PING) == MOST
    clock.at += A_MINUTE_S / 2
    # The one that was too many counts, too.
    assert allowed(budget, PING) == MOST // 2 - 1
    clock.at += 10 * A_MINUTE_S
    assert allowed(budget, PING) == MOST


def test_who_is_sent_small_events_may_give_back_both_windows_and_ping_for_each(budget: FrameBudget) -> None:
    for _ in range(10_000):
        budget.told_data(35)
    for _ in range(10_000):
        assert all(budget.allows(frame, MOST) for frame in (UPDATE, UPDATE, PING))


def test_who_asks_byte_by_byte_runs_out(budget: FrameBudget) -> None:
    def ask() -> bool:
        budget.told_data(1)
        return budget.allows(UPDATE, MOST)

    assert not all(ask() for _ in range(2 * MOST))


def test_a_request_and_data_that_come_and_go_earn_what_goes_with_them(budget: FrameBudget) -> None:
    for _ in range(10_000):
        budget.told_head()
        for frame in (PING, UPDATE, UPDATE, Frame(FrameType.RST_STREAM, 0, 4), Frame(FrameType.DATA, 1, 0)):
            assert budget.allows(frame, MOST)
    for _ in range(10_000):
        budget.allows(Frame(FrameType.DATA, 0, 9), MOST)
        assert budget.allows(Frame(FrameType.DATA, 0, 0), MOST)


@given(st.integers(0, 5 * FRAMES_A_TURN), st.lists(st.integers(0, 3000), max_size=9))
def test_all_is_given_in_order_and_a_bounded_number_of_frames_at_a_time(count: int, cuts: list[int]) -> None:
    whole, feed = PING_BYTES * count, FrameFeed()
    taken, frames = b"", 0
    for begin, end in zip([0, *sorted(cuts)], [*sorted(cuts), len(whole)], strict=True):
        feed.add(whole[begin:end])
        while feed:
            data, found = feed.take_frames()
            assert data
            assert len(found) <= FRAMES_A_TURN
            taken += data
            frames += len(found)
    assert taken == whole
    assert frames == count


def test_what_is_not_wanted_any_more_is_gone() -> None:
    feed = FrameFeed()
    feed.add(PING_BYTES)
    feed.clear()
    assert not feed
