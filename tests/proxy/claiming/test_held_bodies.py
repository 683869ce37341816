"""How much is held of request bodies is what the bodies that are held have, and nothing that is over counts."""

import gc

import pytest
from antigravity_healing.proxy.claiming.held_bodies import HeldBodies
from hypothesis import given
from hypothesis import strategies as st

MOST = 100


class Request:
    """One whose body may be held."""


@given(st.lists(st.tuples(st.integers(0, 4), st.none() | st.integers(0, 150))))
def test_no_more_is_held_than_may_be_but_for_one_alone(steps: list[tuple[int, int | None]]) -> None:
    bodies, requests = HeldBodies(lambda: MOST), [Request() for _ in range(5)]
    held: dict[int, int] = {}
    for number, size in steps:
        if size is None:
            bodies.let_go(requests[number])
            held.pop(number, None)
        elif bodies.have_room(requests[number], size):
            bodies.hold(requests[number], size)
            held[number] = size
        else:
            assert sum(others := [each for key, each in held.items() if key != number]) + size > MOST
            assert any(others)
        assert bodies.total == sum(held.values())
        assert bodies.total <= MOST or sum(map(bool, held.values())) == 1
    for request in requests:
        bodies.let_go(request)
    assert bodies.total == 0


@pytest.mark.parametrize("size", [1, MOST, 10 * MOST])
def test_one_body_alone_is_always_let_in(size: int) -> None:
    bodies, request = HeldBodies(lambda: MOST), Request()
    assert bodies.have_room(request, size)
    bodies.hold(request, size)
    assert bodies.have_room(request, size + 1)


def test_request_that_is_gone_holds_nothing() -> None:
    bodies, request = HeldBodies(lambda: MOST), Request()
    bodies.hold(request, 7)
    del request
    gc.collect()
    assert bodies.total == 0
