"""The watch closes the intake before the disk is full."""

import asyncio
from pathlib import Path
from typing import Any

import pytest

from waypost.server.watch import Watch, resident_bytes
from waypost.storage.sqlite import disk


class Intake:
    def __init__(self) -> None:
        self.calls: list[str] = []

    def close(self, *, full: bool) -> None:
        self.calls.append(f"close {full}")

    def open(self) -> None:
        self.calls.append("open")


class Store:
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


def watch(
    store: Any, intake: Any, *, disk: Path | None = Path("w.db"), counts: bool = True
) -> Watch:
    return Watch(store, intake, disk=disk, reserve_bytes=1_000, counts=counts)


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


async def test_what_another_process_counts_is_not_counted(free: dict[str, int]) -> None:
    store = Store()
    watching = watch(store, Intake(), counts=False)
    watching.start()
    await watching.stop()
    assert not store.reads.is_set()


async def test_the_disk_of_another_machine_is_not_looked_at(free: dict[str, int]) -> None:
    free["bytes"] = 1
    watching = watch(Store(), Intake(), disk=None)
    watching.look()
    assert not watching.is_full


def test_memory_is_read_in_bytes() -> None:
    assert resident_bytes() > 2**20
