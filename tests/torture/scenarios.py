"""The runs: at random for as long as one likes, and each crash point or bug by itself."""

import asyncio
import re
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from tests.torture.cast import CAST, MENDING, ORDERED_CAST
from tests.torture.client import Unanswered
from tests.torture.crash_points import POINTS
from tests.torture.load import Load, Post
from tests.torture.oracle import Verdict
from tests.torture.rig import Rig, rig

CONNECTIONS = 8
PAUSE_S = 0.02
EVENTS = 80
ORDERED_DRAIN_S = 60.0
SECONDS_EACH = 0.02
"""What goes one after the other takes its time: about so long for each event at most."""

_KINDS = ("order.created", "leave.note", "plain.tick", "slow.report", "order.created")
_AT_RANDOM = [name for name in POINTS if not name.startswith("replay.")]
_TRACED = re.compile(r"(\d+\.\d+) (?:fsync|fdatasync)\(")


def sabotage(*, crash_at: str | None = None, bug: str | None = None) -> list[str]:
    """Return the saboteur's arguments."""
    crash = [f"--crash-at={crash_at}"] if crash_at else []
    return crash + ([f"--bug={bug}"] if bug else [])


# At random.


async def kills(
    folder: Path, count: int, seed: int, progress: Callable[[], None] = lambda: None
) -> Verdict:
    """Kill the server so many times under load, at random moments and at crash points."""
    async with rig(folder, seed=seed) as run:
        await run.begin()
        run.load.start(CONNECTIONS, PAUSE_S)
        await _die_at(run, run.chance.uniform(0.1, 1.0))
        progress()
        for _ in range(count - 1):
            await _one_life(run)
            progress()
        await run.start()
        await run.server.ready()
        await _pass(run, 0.3)
        await run.load.finish()
        return await run.verdict()


async def _one_life(run: Rig) -> None:
    """Start the server and have it die: while it starts, at a crash point, or at any moment."""
    fate = run.chance.random()
    if fate < 0.15:
        await run.start()
        await _die_at(run, run.chance.uniform(0.0, 0.8))
    elif fate < 0.5:
        point, nth = run.chance.choice(_AT_RANDOM), run.chance.randint(1, 30)
        await run.start(sabotage(crash_at=f"{point}:{nth}"))
        if not await run.crashed(within_s=2.0):
            await run.kill()
    else:
        await run.start()
        await run.server.ready()
        await _die_at(run, run.chance.uniform(0.02, 1.0))


async def _die_at(run: Rig, after_s: float) -> None:
    await _pass(run, after_s)
    await run.kill()


async def _pass(run: Rig, seconds: float) -> None:
    """Let the load go on for a while; the server must live through it."""
    assert not await run.server.died(seconds), run.server.log_tail()


# In order.


async def orders(
    folder: Path,
    chains: int,
    length: int,
    count: int,
    seed: int,
    progress: Callable[[], None] = lambda: None,
    *,
    bug: str | None = None,
) -> Verdict:
    """Kill the server so many times while it is given chains of so many events each."""
    async with rig(folder, ORDERED_CAST, seed) as run:
        await run.begin(sabotage(bug=bug))
        run.load.chains = chains
        posting = asyncio.create_task(run.load.run(run.load.ordered(chains * length), CONNECTIONS))
        try:
            for _ in range(count):
                await _die_at(run, run.chance.uniform(0.3, 1.2))
                await run.start(sabotage(bug=bug))
                await run.server.ready()
                progress()
            await posting
        finally:
            posting.cancel()
            with suppress(asyncio.CancelledError):
                await posting
        return await run.verdict(ORDERED_DRAIN_S + chains * length * SECONDS_EACH)


# Asked to stop.


async def stops(folder: Path, count: int, seed: int, bug: str | None = None) -> Verdict:
    """Have the server stop so many times under load, by SIGTERM."""
    async with rig(folder, seed=seed) as run:
        await run.begin(sabotage(bug=bug))
        run.load.start(CONNECTIONS, PAUSE_S)
        for _ in range(count):
            await _pass(run, run.chance.uniform(0.5, 1.0))
            await run.stop()
            await run.start(sabotage(bug=bug))
            await run.server.ready()
        await run.load.finish()
        return await run.verdict()


# One crash point, or one bug.


# How often a point is passed before it kills: late enough for its work to be under way, and early
# enough to be reached. Where nothing is said, the first time.
_NTH = {
    "accept": 5,
    "accept.before-commit": 2,
    "send": 20,
    "answer": 20,
    "settle": 10,
    "retry": 2,
    "clear.between": 2,
    "replay": 4,
}


async def crash(folder: Path, point: str, bug: str | None = None) -> Verdict:
    """Have the server die at a crash point amid a fixed amount of posts, and go on."""
    group = point.partition(".")[0]
    nth = _NTH.get(point, _NTH.get(group, 1))
    replays = group == "replay"
    async with rig(folder, (*CAST, MENDING) if replays else CAST) as run:
        await run.begin(sabotage(crash_at=f"{point}:{nth}", bug=bug))
        posting = asyncio.create_task(run.load.run(_posts(run.load)))
        try:
            if replays:
                await posting
                await _recover(run)
            assert await run.crashed(), f"{point}:{nth} was never reached"
            await run.start()
            await run.server.ready()
            await posting
        finally:
            posting.cancel()
            with suppress(asyncio.CancelledError):
                await posting
        return await run.verdict()


def _posts(load: Load) -> Sequence[Post]:
    """Return posts with and without keys, of every type, and some batches."""
    single = [
        load.make(kind=_KINDS[index % len(_KINDS)], keyed=bool(index % 3))
        for index in range(EVENTS)
    ]
    return [*single, load.make(5, batch=True), load.make(5, keyed=True, batch=True)]


async def _recover(run: Rig) -> None:
    """Mend a receiver that has failed every delivery, and ask for all of them again."""
    await run.drained()
    await run.receivers.command(mend=True)
    token = run.subscription(MENDING)
    with suppress(Unanswered):  # the job is committed, and the server may die of it at once
        status, answer = await run.api.ask("POST", f"/v1/event_subscriptions/{token}/recover")
        assert status == 202, answer


async def twins(folder: Path, bug: str | None = None) -> Verdict:
    """Post each of some events twice at the same time, under one key."""
    async with rig(folder) as run:
        await run.begin(sabotage(bug=bug))
        await run.load.run_twins(30)
        return await run.verdict()


async def syncs(folder: Path, bug: str | None = None) -> tuple[int, int]:
    """Post events one by one; return how many were acknowledged and how often the disk was synced.

    Needs `strace`.
    """
    trace = folder / "strace"
    watch = ("strace", "-f", "-ttt", "-e", "trace=fsync,fdatasync", "-o", str(trace))
    async with rig(folder, cast=()) as run:
        await run.begin(sabotage(bug=bug), wrapper=watch)
        began = time.time()
        await run.load.run([run.load.make() for _ in range(40)], connections=1)
        ended = time.time()
        await run.stop()
        synced = [began <= float(at) <= ended for at in _TRACED.findall(trace.read_text())]
        return run.load.answered, sum(synced)
