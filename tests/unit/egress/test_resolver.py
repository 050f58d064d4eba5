"""The resolver: bounded, one question per name, and brief memory."""

import asyncio
import socket
import threading
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from tests.support.egress import ManualClock
from tests.support.waiting import until
from waypost.egress import resolver as module
from waypost.egress.resolver import (
    KEPT_FAILURE_S,
    KEPT_S,
    ResolveFailed,
    Resolver,
    system_lookup,
)


class Names:
    """A name server that counts questions, and answers when it is let go."""

    def __init__(self, *, held: bool = False) -> None:
        self.asked: Counter[str] = Counter()
        self.go = threading.Event()
        self.most = 0
        self._now = 0
        self._lock = threading.Lock()
        if not held:
            self.go.set()

    def __call__(self, host: str) -> Sequence[str]:
        with self._lock:
            self.asked[host] += 1
            self._now += 1
            self.most = max(self.most, self._now)
        self.go.wait(5)
        with self._lock:
            self._now -= 1
        if host.startswith("missing"):
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return ["192.0.2.1", "192.0.2.1", "2001:db8::1"]


def resolver(names: Names, **settings: Any) -> tuple[Resolver, ManualClock]:
    clock = ManualClock()
    return Resolver(asyncio.get_running_loop(), clock, lookup=names, **settings), clock


async def test_answers_are_kept_for_a_while() -> None:
    names = Names()
    asking, clock = resolver(names)
    for _ in range(3):
        assert await asking.resolve("a.example.com") == ("192.0.2.1", "2001:db8::1")
    clock.at_s += KEPT_S - 0.1
    await asking.resolve("a.example.com")
    assert names.asked["a.example.com"] == 1
    clock.at_s += 0.1
    await asking.resolve("a.example.com")
    assert names.asked["a.example.com"] == 2


async def test_failures_are_kept_for_less() -> None:
    names = Names()
    asking, clock = resolver(names)
    for advance, asked in ((0.0, 1), (KEPT_FAILURE_S - 0.1, 1), (0.1, 2)):
        clock.at_s += advance
        with pytest.raises(ResolveFailed):
            await asking.resolve("missing.example.com")
        assert names.asked["missing.example.com"] == asked


async def test_many_askers_are_one_question() -> None:
    names = Names(held=True)
    asking, _clock = resolver(names)
    askers = [asyncio.ensure_future(asking.resolve("a.example.com")) for _ in range(50)]
    await until(lambda: names.asked["a.example.com"] == 1)
    names.go.set()
    assert set(await asyncio.gather(*askers)) == {("192.0.2.1", "2001:db8::1")}
    assert names.asked["a.example.com"] == 1


async def test_one_asker_who_leaves_takes_nothing_along() -> None:
    names = Names(held=True)
    asking, _clock = resolver(names)
    leaving = asyncio.ensure_future(asking.resolve("a.example.com"))
    staying = asyncio.ensure_future(asking.resolve("a.example.com"))
    await until(lambda: names.asked["a.example.com"] == 1)
    leaving.cancel()
    names.go.set()
    assert await staying == ("192.0.2.1", "2001:db8::1")
    assert leaving.cancelled()


async def test_a_silent_name_server_is_waited_for_briefly_and_asked_once() -> None:
    names = Names(held=True)
    asking, _clock = resolver(names, budget_s=0.02)
    for _ in range(3):
        with pytest.raises(ResolveFailed, match="in time"):
            await asking.resolve("a.example.com")
    assert names.asked["a.example.com"] == 1
    names.go.set()
    await until(lambda: not asking._flights)
    assert await asking.resolve("a.example.com") == ("192.0.2.1", "2001:db8::1")


async def test_threads_and_queue_are_bounded() -> None:
    names = Names(held=True)
    asking, _clock = resolver(names, threads=2, queue=3)
    askers = [asyncio.ensure_future(asking.resolve(f"{n}.example.com")) for n in range(7)]
    ends = asyncio.gather(*askers, return_exceptions=True)
    await until(lambda: len(names.asked) == 2)
    names.go.set()
    refused = [end for end in await ends if isinstance(end, ResolveFailed)]
    assert [str(end) for end in refused] == ["too many host names are being resolved"] * 2
    assert len(names.asked) == 5
    assert names.most == 2


async def test_what_is_kept_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 2)
    names = Names()
    asking, _clock = resolver(names)
    for host in ("a.example.com", "b.example.com", "c.example.com", "a.example.com"):
        await asking.resolve(host)
    assert names.asked == {"a.example.com": 2, "b.example.com": 1, "c.example.com": 1}


def test_an_answer_after_the_loop_closed_is_nobodys() -> None:
    names = Names(held=True)

    async def leave() -> None:
        asking, _clock = resolver(names, budget_s=0.01)
        with pytest.raises(ResolveFailed):
            await asking.resolve("a.example.com")

    asyncio.run(leave())
    threads = [thread for thread in threading.enumerate() if thread.name == "waypost-resolver"]
    names.go.set()
    for thread in threads:
        thread.join(5)
    assert threads
    assert not any(thread.is_alive() for thread in threads)


@pytest.mark.parametrize(
    "host, asked", [("a.example.com", "a.example.com."), ("localhost", "localhost")]
)
def test_search_domains_are_not_appended(
    host: str, asked: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    def getaddrinfo(name: str, *_args: object, **_how: object) -> list[tuple[object, ...]]:
        seen.append(name)
        return [(2, 1, 6, "", ("192.0.2.1", 0)), (10, 1, 6, "", ("2001:db8::1", 0, 0, 0))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    assert system_lookup(host) == ["192.0.2.1", "2001:db8::1"]
    assert seen == [asked]


def test_the_system_knows_localhost() -> None:
    assert set(system_lookup("localhost")) & {"127.0.0.1", "::1"}
