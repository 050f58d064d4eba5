"""The runs of a cluster: faults at random for as long as one likes, and each bug by itself."""

import asyncio
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from tests.torture.cast import LATE, ORDERED_CAST
from tests.torture.cluster.faults import Kind
from tests.torture.cluster.judgement import Judgement
from tests.torture.cluster.rig import LEASE_S, Cluster, cluster
from tests.torture.scenarios import ORDERED_DRAIN_S, SECONDS_EACH

CONNECTIONS = 8
PAUSE_S = 0.02
SOON_S = 15.0
_KINDS = (Kind.KILLED,) * 3 + (Kind.FROZEN, Kind.DATABASE)


async def faults(
    folder: Path,
    workers: int,
    count: int,
    seed: int,
    progress: Callable[[], None] = lambda: None,
    *,
    kinds: tuple[Kind, ...] = _KINDS,
    bug: str | None = None,
) -> Judgement:
    """Have so many faults befall the workers or their database, at random, under load."""
    async with cluster(folder, workers, seed) as run:
        await run.begin(*_sabotage(bug))
        run.load.start(CONNECTIONS, PAUSE_S)
        for number in range(count):
            await run.passes(run.chance.uniform(0.3, 1.5))
            await _befall(run, kinds[number % len(kinds)])
            progress()
        await run.passes(LEASE_S)
        await run.load.finish()
        return await run.judgement()


async def _befall(run: Cluster, kind: Kind) -> None:
    victim = run.chance.choice(run.workers.all)
    match kind:
        case Kind.KILLED:
            await run.kill(victim)
            # Longer than its lease, or not: both must go well.
            await run.passes(run.chance.uniform(0.0, 2 * LEASE_S))
            await run.revive(victim)
        case Kind.FROZEN:
            await run.freeze(victim, LEASE_S * run.chance.uniform(1.2, 2.0))
        case Kind.DATABASE:
            await run.break_database(run.chance.uniform(0.1, 2.5))


async def orders(
    folder: Path,
    workers: int,
    chains: int,
    length: int,
    count: int,
    seed: int,
    progress: Callable[[], None] = lambda: None,
    *,
    bug: str | None = None,
) -> Judgement:
    """Have so many faults while the workers are given chains of so many events each."""
    async with cluster(folder, workers, seed, ORDERED_CAST) as run:
        await run.begin(*_sabotage(bug))
        run.load.chains = chains
        posting = asyncio.create_task(run.load.run(run.load.ordered(chains * length), CONNECTIONS))
        try:
            for number in range(count):
                await run.passes(run.chance.uniform(0.3, 1.5))
                await _befall(run, _KINDS[number % len(_KINDS)])
                progress()
            await posting
        finally:
            posting.cancel()
            with suppress(asyncio.CancelledError):
                await posting
        return await run.judgement(ORDERED_DRAIN_S + chains * length * SECONDS_EACH)


async def overtaken(folder: Path, bug: str | None = None) -> Judgement:
    """Have a worker stall as it is about to write a failure, until another one owns its shard.

    The other one's try is under way when the first one goes on; the receiver will take it.
    """
    async with cluster(folder, 2, cast=(LATE,)) as run:
        await run.begin(f"--stall={folder}", *_sabotage(bug))
        await run.load.run([run.load.make()])
        worker = await run.stalled()
        await run.receivers.command(mend=True)
        await run.received(2)
        run.thaw(worker)
        return await run.judgement()


async def steady(folder: Path, workers: int, seconds: float, bug: str | None = None) -> Judgement:
    """Have nothing go wrong for a while, under load; what is owed then is delivered soon."""
    async with cluster(folder, workers) as run:
        await run.begin(*_sabotage(bug))
        run.load.start(CONNECTIONS, PAUSE_S)
        await run.passes(seconds)
        await run.load.finish()
        return await run.judgement(SOON_S)


def _sabotage(bug: str | None) -> list[str]:
    return [f"--bug={bug}"] if bug else []
