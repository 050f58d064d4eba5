"""Settings reach the parts that they are for."""

from pathlib import Path
from typing import Any

import pytest

from waypost import config
from waypost.clock import SystemClock
from waypost.config import Config
from waypost.server.tools import Tools
from waypost.server.wiring import Engine, Surface
from waypost.storage.sqlite.store import SqliteStore
from waypost.web.fast import FastRoutes

GIVEN = {
    "max_in_flight": "11",
    "lane_window": "12",
    "payload_memory": "13MiB",
    "disable_after": "14m",
    "intake_pending": "15",
    "idempotency_ttl": "16m",
    "read_rate": "17",
    "write_rate": "18",
    "max_event_bytes": "19KiB",
    "max_batch_bytes": "20KiB",
    "intake_memory": "21MiB",
    "http_idle_timeout": "22s",
    "http_head_timeout": "23s",
    "http_body_timeout": "24s",
    "http_connections": "25",
    "http_connections_per_peer": "26",
    "http_exempt_peers": "10.0.0.0/8",
}


@pytest.fixture
def settings(tmp_path: Path) -> Config:
    return config.load(
        {**GIVEN, "database_url": f"sqlite:///{tmp_path / 'w.db'}"}, environment={}
    ).config


async def parts(settings: Config) -> tuple[Engine, Surface]:
    store = SqliteStore(Path("w.db"), on_fatal=print)
    tools = Tools(SystemClock(), bytes(range(32)))
    engine = Engine(settings, store, tools)
    return engine, Surface(settings, store, engine, tools)


async def test_the_engine_is_made_by_the_settings(settings: Config) -> None:
    engine, surface = await parts(settings)
    dispatcher: Any = engine.dispatcher._config
    assert dispatcher.max_in_flight == 11
    assert dispatcher.window == 12
    assert dispatcher.payload_bytes == 13 * 2**20
    assert dispatcher.disable_after_us == 14 * 60 * 1_000_000
    intake: Any = engine.ingest._config
    assert intake.max_waiting == 15
    assert intake.idempotency_ttl_s == 16 * 60
    access: Any = surface.access._config
    assert access.reads.per_s == 17
    assert access.writes.per_s == 18


async def test_the_connections_are_limited_by_the_settings(settings: Config) -> None:
    _, surface = await parts(settings)
    limits = surface.front(FastRoutes()).limits
    assert limits.intake_bytes == 21 * 2**20
    assert (limits.idle_s, limits.head_s, limits.body_s) == (22, 23, 24)
    assert (limits.connections, limits.connections_per_peer) == (25, 26)
    assert limits.exempt_peers == ("10.0.0.0/8",)


async def test_the_intake_routes_are_fast_and_bounded(settings: Config) -> None:
    _, surface = await parts(settings)
    one = surface.fast.lookup(b"POST", b"/v1/events")
    many = surface.fast.lookup(b"POST", b"/v1/events/batch")
    assert one is not None
    assert many is not None
    assert one.max_body_bytes >= 19 * 2**10
    assert many.max_body_bytes == 20 * 2**10
    limits = surface.front(surface.fast).limits
    assert limits.body_bytes >= max(one.max_body_bytes, many.max_body_bytes)


async def test_every_operation_has_a_name_of_its_own(settings: Config) -> None:
    _, surface = await parts(settings)
    names = [operation.name for operation in surface.table]
    assert len(names) == len(set(names))
    routes = [(operation.method, operation.path) for operation in surface.table]
    assert len(routes) == len(set(routes))
