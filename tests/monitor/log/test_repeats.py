from antigravity_healing.monitor.log.repeats import Repeats


def test_what_repeats_itself_is_said_once_a_while_with_a_count() -> None:
    repeats = Repeats(60)
    assert repeats.times_unsaid("x", 0.0) == 0
    assert [repeats.times_unsaid("x", at) for at in (1.0, 59.0)] == [None, None]
    assert repeats.times_unsaid("y", 59.0) == 0
    assert repeats.times_unsaid("x", 61.0) == 2
    assert repeats.times_unsaid("x", 62.0) is None


def test_many_different_things_do_not_fill_the_memory() -> None:
    repeats = Repeats(60)
    for number in range(10_000):
        assert repeats.times_unsaid(number, 0.0) == 0
    assert len(repeats._known) < 1000
