"""The watch closes the intake before the disk is full."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from waypost.server.watch import Watch, resident_bytes
from waypost.storage import disk


class Intake:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def close(self, *, full: bool) -> None:
        self.calls.append(f"close {full}")

    def open(self) -> None:
        self.calls.append("open")


class Store:
    path = Path("w.db")

    def __init__(self) -> None:
        self.reads = asyncio.Event()

    async def read(self, _: Any) -> int:
        self.reads.set()
        return 7


@pytest.fixture
def free(monkeypatch: pytest.MonkeyPatch) -> dict[str, int]:
    found = {"bytes": 10_000}
    monkeypatch.setattr(disk, "free_bytes", lambda _: found["bytes"])
    return found


def watch(store: Any, intake: Any) -> Watch:
    return Watch(store, intake, 1_000)


async def test_intake_is_closed_once_and_opened_once(free: dict[str, int]) -> None:
    intake = Intake()
    watching = watch(Store(), intake)
    for free["bytes"] in (10_000, 999, 500, 1_100, 2_000, 3_000):
        watching.look()
    assert intake.calls == ["close True", "open"]
    assert watching.free_bytes == 3_000


async def test_it_says_when_it_is_full(free: dict[str, int]) -> None:
    watching = watch(Store(), Intake())
    free["bytes"] = 1
    watching.look()
    assert watching.is_full


async def test_the_queue_is_counted_at_the_first_look(free: dict[str, int]) -> None:
    store = Store()
    watching = watch(store, Intake())
    watching.start()
    await asyncio.wait_for(store.reads.wait(), 30)
    await watching.stop()
    assert watching.depth == 7


def test_memory_is_read_in_bytes() -> None:
    assert resident_bytes() > 2**20
