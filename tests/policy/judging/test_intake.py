import gzip
import random
import zlib
from collections.abc import Callable

import pytest
from antigravity_healing.policy.judging import intake as bounds
from antigravity_healing.policy.judging.intake import MOST_LINES, SPARE_BYTES, Intake
from antigravity_healing.wire.http.encoding import PIECE_BYTES, DecodingError
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.support.examples import examples

MB = 1024 * 1024
LINES = st.lists(st.sampled_from((b"\n", b"\r", b"\r\n", b"data: x", b"", b"y" * 90)), max_size=40)


def taken(intake: Intake) -> list[bytes]:
    """Everything, share by share, as others have their turns."""
    shares = []
    while intake.waiting:
        intake.allow()
        assert intake.due
        shares.append(intake.take_share())
    return shares


def zeros(size: int) -> bytes:
    packer = zlib.compressobj(9, wbits=31)
    return b"".join(packer.compress(bytes(MB)) for _ in range(size // MB)) + packer.flush()


@pytest.mark.parametrize("events", [False, True])
@pytest.mark.parametrize(("coding", "pack"), [("", bytes), ("gzip", gzip.compress)])
@settings(deadline=None, derandomize=True, max_examples=examples(40))
@given(pieces=st.lists(LINES.map(b"".join), max_size=4), times=st.sampled_from((1, 30, 300)))
def test_the_shares_are_the_body(
    coding: str, pack: Callable[[bytes], bytes], events: bool, pieces: list[bytes], times: int
) -> None:
    whole = b"".join(piece * times for piece in pieces)
    packed, intake = pack(whole), Intake(coding)
    intake.events = events
    for at in range(0, len(packed), 65536):
        intake.put(packed[at : at + 65536])
    assert b"".join(taken(intake)) == whole
    intake.finish()


def test_a_body_that_is_not_coded_is_taken_at_once() -> None:
    intake = Intake()
    for _ in range(50):
        intake.put(b"\n" * 65536)
    assert len(intake.take_share()) == 50 * 65536
    assert not intake.waiting


def test_a_healthy_stream_is_taken_as_it_comes() -> None:
    intake = Intake()
    intake.events = True
    event = b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":{"text":"a"}}\n\n'
    intake.put(event * (32768 // len(event)))
    assert intake.take_share()
    assert not intake.waiting


@pytest.mark.parametrize("coding", ["", "gzip"])
def test_long_events_are_taken_some_bytes_at_a_time(coding: str) -> None:
    body = (b"data: " + b"[]," * 20_000 + b"\n\n") * 40
    intake = Intake(coding)
    intake.events = True
    packed = gzip.compress(body) if coding else body
    for at in range(0, len(packed), 200_000):
        intake.put(packed[at : at + 200_000])
    shares = taken(intake)
    assert max(map(len, shares)) <= (2 * PIECE_BYTES if coding else PIECE_BYTES)
    assert b"".join(shares) == body


@pytest.mark.parametrize("line", [b"\n", b"\r\n", b":\n\n", b"\r"])
def test_tiny_events_are_taken_few_at_a_time(line: bytes) -> None:
    intake = Intake()
    intake.events = True
    intake.put(line * 50_000)
    shares = taken(intake)
    assert max(share.count(b"\n") + share.count(b"\r") for share in shares) <= MOST_LINES + 1
    assert b"".join(shares) == line * 50_000


def test_a_share_has_to_be_allowed_and_is_when_more_has_come() -> None:
    intake = Intake("gzip")
    intake.put(zeros(MB))
    assert len(intake.take_share()) == PIECE_BYTES
    assert [intake.waiting, intake.due] == [True, False]
    intake.put(b"")
    assert [intake.due] == [False]
    intake.allow()
    assert [intake.due] == [True]
    intake.take_share()
    intake.put(b"more")
    assert [intake.due] == [True]


def test_a_body_may_decode_to_some_times_its_length_and_no_more() -> None:
    intake = Intake("gzip")
    intake.put(zeros(SPARE_BYTES))
    assert sum(map(len, taken(intake))) == SPARE_BYTES
    intake = Intake("gzip")
    intake.put(zeros(64 * MB))
    with pytest.raises(DecodingError, match="times its length"):
        taken(intake)
    assert not intake.waiting


def test_a_body_may_decode_to_much_that_has_come_as_much() -> None:
    text = random.Random(1).randbytes(SPARE_BYTES // 2 + MB).hex().encode()
    packed = zlib.compress(text, 1)
    assert len(text) > SPARE_BYTES
    intake = Intake("deflate")
    intake.put(packed)
    assert b"".join(taken(intake)) == text


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bounds, "WAITING_BYTES", 1000)
    intake = Intake()
    intake.put(bytes(600))
    assert len(intake.take_share()) == 600
    intake.put(bytes(600))
    intake.put(bytes(600))
    with pytest.raises(DecodingError, match="faster"):
        intake.take_share()
    assert not intake.waiting
