"""What is done aside keeps its order within a key, and holds up no other."""

import asyncio
import threading

from tests.support.waiting import turned
from waypost.web.aside import Aside

ONE, TWO = b"1" * 16, b"2" * 16


class Log:
    """What has come back, and a way to wait for it."""

    def __init__(self, count: int) -> None:
        self.seen: list[object] = []
        self.all = asyncio.Event()
        self._count = count

    def take(self, result: object) -> None:
        self.seen.append(result)
        if len(self.seen) == self._count:
            self.all.set()


async def test_results_come_back_on_the_loop_in_their_order() -> None:
    aside, log, here = Aside(), Log(3), threading.get_ident()
    threads: list[int] = []

    def work(number: int) -> int:
        threads.append(threading.get_ident())
        return number

    for number in range(3):
        aside.run(ONE, lambda number=number: work(number), log.take)  # type: ignore[misc] # a lambda with a default
    await asyncio.wait_for(log.all.wait(), 10)
    assert log.seen == [0, 1, 2]
    assert here not in threads
    aside.close()


async def test_a_key_is_held_until_all_of_it_has_come_back() -> None:
    aside, log, gate = Aside(), Log(2), threading.Event()
    assert not aside.holds(ONE)
    aside.run(ONE, gate.wait, log.take)
    aside.run(ONE, lambda: "behind", log.take)
    assert aside.holds(ONE)
    assert not aside.holds(TWO)
    gate.set()
    await asyncio.wait_for(log.all.wait(), 10)
    assert log.seen == [True, "behind"]
    await turned()
    assert not aside.holds(ONE)
    aside.close()


async def test_an_exception_comes_back_as_a_result_and_the_rest_goes_on() -> None:
    aside, log, error = Aside(), Log(2), ValueError("bad")

    def fail() -> None:
        raise error

    aside.run(ONE, fail, log.take)
    aside.run(ONE, lambda: "next", log.take)
    await asyncio.wait_for(log.all.wait(), 10)
    assert log.seen == [error, "next"]
    aside.close()
