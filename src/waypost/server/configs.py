"""What parts of the server go by, made of the settings."""

from typing import Final

from waypost.config import Config
from waypost.engine.ingest import IngestConfig
from waypost.engine.pruner import PrunerConfig
from waypost.engine.slots import DispatcherConfig
from waypost.operations.access import AccessConfig
from waypost.policy.rate import Allowance
from waypost.sandbox.pool import PoolConfig
from waypost.storage.partitions import Width

_MICROS: Final = 1_000_000


def dispatching(config: Config) -> DispatcherConfig:
    """Return what is sent by."""
    return DispatcherConfig(
        max_in_flight=config.max_in_flight,
        max_slow=2 * config.max_in_flight,
        window=config.lane_window,
        payload_bytes=config.payload_memory,
        disable_after_us=int(config.disable_after * _MICROS),
    )


def intake(config: Config) -> IngestConfig:
    """Return the limits of the intake."""
    ttl_s = int(config.idempotency_ttl)
    return IngestConfig(max_waiting=config.intake_pending, idempotency_ttl_s=ttl_s)


def transforming(config: Config) -> PoolConfig:
    """Return what programs run by."""
    return PoolConfig(
        config.transform_workers,
        config.transform_timeout,
        config.transform_memory,
        config.max_event_bytes,
    )


def pruning(config: Config) -> PrunerConfig:
    """Return how long things are kept."""
    return PrunerConfig(
        retention_us=micros(config.retention),
        diverted_retention_us=micros(config.diverted_retention),
        prune_owed=config.prune_owed,
        width=Width(config.partition),
    )


def micros(seconds: float | None) -> int | None:
    """Return seconds as microseconds; None stays None."""
    return None if seconds is None else int(seconds * _MICROS)


def access(config: Config) -> AccessConfig:
    """Return how much one key may ask for."""
    return AccessConfig(
        reads=Allowance(per_s=config.read_rate, burst=2 * config.read_rate),
        writes=Allowance(per_s=config.write_rate, burst=2 * config.write_rate),
    )
