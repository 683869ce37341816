import pytest
from antigravity_healing.policy.settings.schema import Limits
from antigravity_healing.proxy.connections.heads import HeadMeter, HeadRefusal, answer_head_flaw, head_refusal
from hypothesis import given, settings
from hypothesis import strategies as st

LIMITS = Limits(head_bytes=4096, line_bytes=1024, headers=32)
steady = settings(deadline=None, derandomize=True)


def measured(head: bytes, size: int, behind: bytes = b"") -> tuple[HeadRefusal | None, bool]:
    """What a meter says first of a head that comes in pieces of this size, and whether it has seen its end."""
    meter, whole = HeadMeter(LIMITS), head + behind
    for end in range(size, len(whole) + size, size):
        if (refusal := meter.look(whole[:end])) or meter.complete:
            return refusal, meter.complete
    return None, meter.complete


def head(line: int, *headers: int, eol: bytes = b"\r\n") -> bytes:
    """A head whose first line and headers have so many bytes."""
    lines = [b"GET /".ljust(line, b"a"), *(b"x: ".ljust(size, b"a") for size in headers)]
    return eol.join([*lines, b"", b""])


def status(found: tuple[HeadRefusal | None, bool]) -> int:
    return found[0].status if found[0] else 0


@pytest.mark.parametrize("size", [1, 7, 1000, 100_000])
@pytest.mark.parametrize("eol", [b"\r\n", b"\n"])
def test_a_head_may_be_as_long_as_the_limits_say_and_no_longer(size: int, eol: bytes) -> None:
    lines = 1024 - len(eol) + 1
    assert measured(head(lines, eol=eol), size) == (None, True)
    assert status(measured(head(1100, eol=eol), size)) == 414
    assert measured(head(100, *[5] * 32, eol=eol), size) == (None, True)
    assert status(measured(head(100, *[5] * 33, eol=eol), size)) == 431
    rest = 4096 - len(head(100, 3, eol=eol)) + 3
    assert measured(head(100, rest, eol=eol), size) == (None, True)
    assert status(measured(head(100, rest + 1, eol=eol), size)) == 431


@pytest.mark.parametrize("size", [1, 1000])
def test_a_head_without_an_end_is_refused_in_time(size: int) -> None:
    assert status(measured(b"G" * 10_000, size)) == 414
    assert status(measured(b"GET / HTTP/1.1\r\n" + b"x" * 10_000, size)) == 431
    assert status(measured(b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 100, size)) == 431


@steady
@given(behind=st.binary(max_size=3000) | st.just(b"\n" * 5000), size=st.integers(1, 9000))
def test_what_comes_behind_a_head_does_not_count(behind: bytes, size: int) -> None:
    assert measured(head(1000, 1000, 1000, *[10] * 30), size, behind) == (None, True)


@steady
@given(
    whole=st.lists(st.sampled_from((b"\r", b"\n", b"\r\n", b"a" * 30, b"b" * 700, b": ")), max_size=60).map(b"".join),
    cuts=st.lists(st.integers(1, 400), min_size=1, max_size=20),
)
def test_pieces_are_measured_like_the_whole(whole: bytes, cuts: list[int]) -> None:
    meter, at, refusal = HeadMeter(LIMITS), 0, None
    while at < len(whole) and refusal is None and not meter.complete:
        at += cuts[at % len(cuts)]
        refusal = meter.look(whole[:at])
    complete = meter.complete
    at_once = HeadMeter(LIMITS)
    found = at_once.look(whole)
    # A piece may be refused before its end is seen.
    assert (refusal is None) == (found is None)
    assert refusal is not None or complete == at_once.complete


def test_fields_are_counted_and_added_up() -> None:
    assert head_refusal([(b"x", b"y" * 100)] * 32, LIMITS) is None
    assert head_refusal([(b"x", b"y")] * 33, LIMITS) == HeadRefusal(431, "The request has more than 32 headers.")
    assert head_refusal([(b"x", b"y" * 4096)], LIMITS) is not None
    assert answer_head_flaw([(b"x", b"y")], LIMITS) == ""
    assert answer_head_flaw([(b"x", b"y")] * 33, LIMITS) == "the answer has more than 32 headers"
