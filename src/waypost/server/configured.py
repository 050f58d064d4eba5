"""Parts that are made by the settings alone, or nearly so."""

import asyncio
import os
import socket
from typing import Final

from waypost.clock import Clock
from waypost.config import Config
from waypost.engine.pruner import Pruner, PrunerConfig
from waypost.engine.sharing import Sharing
from waypost.engine.slots import DispatcherConfig
from waypost.sandbox.pool import Pool, PoolConfig
from waypost.storage.partitions import Width
from waypost.storage.store import Store

_MICROS: Final = 1_000_000


def dispatching(config: Config) -> DispatcherConfig:
    """Return how much may be in flight, and in memory."""
    return DispatcherConfig(
        max_in_flight=config.max_in_flight,
        max_slow=2 * config.max_in_flight,
        window=config.lane_window,
        payload_bytes=config.payload_memory,
        disable_after_us=int(config.disable_after * _MICROS),
    )


def process_name() -> str:
    """Return by what people tell this process from others."""
    return f"{socket.gethostname()}:{os.getpid()}"


def sandbox_of(loop: asyncio.AbstractEventLoop, config: Config) -> Pool:
    """Make what runs the programs of people."""
    return Pool(
        loop,
        PoolConfig(
            config.transform_workers,
            config.transform_timeout,
            config.transform_memory,
            config.max_event_bytes,
        ),
    )


def pruner_of(config: Config, store: Store, clock: Clock, sharing: Sharing | None) -> Pruner:
    """Make what forgets: of the processes that share a database, the leading one does it."""
    how = PrunerConfig(
        retention_us=micros(config.retention),
        diverted_retention_us=micros(config.diverted_retention),
        prune_owed=config.prune_owed,
        width=Width(config.partition),
    )
    return Pruner(store, clock, how, None if sharing is None else sharing.shards.leads)


def micros(seconds: float | None) -> int | None:
    """Return seconds in microseconds; None stays."""
    return None if seconds is None else int(seconds * _MICROS)
