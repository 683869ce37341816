import asyncio
from collections import Counter

from antigravity_healing.proxy.connections.turns import TURN_S, Turns, in_spite_of_cancelling


class Room:
    """A crowd whose every piece of work takes a fifth of what a turn has, and a count of the loop's turns."""

    def __init__(self) -> None:
        self.now, self.turn = 0.0, 0
        self.turns = Turns(lambda: self.now)
        self.done: list[tuple[int, int]] = []

    def count(self) -> None:
        self.turn += 1
        asyncio.get_running_loop().call_soon(self.count)

    async def work(self, number: int) -> None:
        await self.turns.take()
        self.now += TURN_S / 5
        self.done.append((number, self.turn))


def test_a_crowd_is_served_in_order_and_a_little_in_each_turn() -> None:
    room = Room()

    async def come() -> None:
        room.count()
        await asyncio.gather(*(room.work(number) for number in range(100)))

    asyncio.run(come())
    assert [number for number, _ in room.done] == list(range(100))
    assert max(Counter(turn for _, turn in room.done).values()) <= 5


def test_who_is_alone_does_not_wait() -> None:
    room = Room()

    async def come() -> None:
        room.count()
        for number in range(5):
            await room.work(number)

    asyncio.run(come())
    assert {turn for _, turn in room.done} == {1}


def test_who_leaves_the_line_holds_up_nobody() -> None:
    room = Room()

    async def come() -> None:
        crowd = [asyncio.create_task(room.work(number)) for number in range(100)]
        await asyncio.sleep(0)
        for each in crowd[::2]:
            each.cancel()
        await asyncio.gather(*crowd, return_exceptions=True)
        await asyncio.wait_for(room.work(100), 10)

    asyncio.run(come())
    assert {number for number, _ in room.done} >= {*range(1, 100, 2), 100}


def test_what_has_to_be_done_is_done_however_often_its_task_is_cancelled() -> None:
    done, felt = [], []

    async def work() -> None:
        for _ in range(20):
            await asyncio.sleep(0)
        done.append(True)

    async def act() -> None:
        await in_spite_of_cancelling(work())
        try:
            await asyncio.sleep(10)
        except asyncio.CancelledError:
            felt.append(True)

    async def come() -> None:
        task = asyncio.create_task(act())
        for _ in range(3):
            await asyncio.sleep(0)
            task.cancel()
        await task

    asyncio.run(come())
    assert done == felt == [True]
