"""What takes minutes: many kills, a backlog that is far larger than memory, steady load.

Speed is judged by `make bench`. Here the bench runs for its ledger, which makes it fail when an
event is lost, doubled or altered, and for the bounds on memory and disk, which hold anywhere.
"""

import asyncio
import sys
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bench.postgres import best_version, has_contrib
from tests.acceptance.test_kill import assert_right
from tests.torture import scenarios

pytestmark = pytest.mark.long

KILLS = 100
SEED = 77
BACKLOG = 300_000
MEMORY_MB = 200
DISK_BYTES = 1_000
POSTGRESQL_DISK_BYTES = 1_600
STORED = 300_000
ROOT = Path(__file__).parents[2]


on_linux = pytest.mark.skipif(sys.platform != "linux", reason="the bench reads /proc")


async def bench(folder: Path, *arguments: str, program: str = "sqlite") -> dict[str, float]:
    """Run the bench; return its figures of a program by name, those of the last section first."""
    report = folder / "report.json"
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "bench", *arguments),
        *("--quiet", "--json", str(report)),
        cwd=ROOT,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
    )
    printed, _ = await process.communicate()
    assert process.returncode == 0, printed.decode()
    document: dict[str, Any] = msgspec.json.decode(report.read_bytes())
    assert not document["void"]
    return {
        figure["name"].strip(): figure["values"][program]
        for section in document["sections"]
        for figure in section["figures"]
        if program in figure["values"]
    }


async def test_many_kills_lose_nothing(tmp_path: Path) -> None:
    verdict = await scenarios.kills(tmp_path, KILLS, SEED)
    assert_right(verdict)
    assert verdict.kills == KILLS


@on_linux
async def test_a_backlog_stays_on_disk_and_is_delivered_after_a_restart(tmp_path: Path) -> None:
    figures = await bench(tmp_path, "backlog", "--events", str(BACKLOG))
    assert figures["peak, largest process"] <= MEMORY_MB
    assert figures["disk per event, delivered"] <= DISK_BYTES


@on_linux
async def test_steady_load_leaves_memory_flat(tmp_path: Path) -> None:
    figures = await bench(tmp_path, "soak", "--rate", "500", "--seconds", "120")
    assert figures["peak, largest process"] <= MEMORY_MB


@on_linux
async def test_full_load_loses_and_doubles_nothing(tmp_path: Path) -> None:
    figures = await bench(tmp_path, "throughput", "--rounds", "1", "--seconds", "5")
    assert figures["disk per event"] <= DISK_BYTES


@on_linux
async def test_full_load_on_postgresql_loses_and_doubles_nothing(tmp_path: Path) -> None:
    figures = await bench(
        tmp_path,
        *("throughput", "--database", "postgresql", "--processes", "2", "--alone"),
        *("--rounds", "1", "--seconds", "5", "--subscriptions", "16"),
        program="postgresql",
    )
    assert figures["disk per event"] <= POSTGRESQL_DISK_BYTES


@on_linux
async def test_a_killed_worker_is_replaced_by_the_others(tmp_path: Path) -> None:
    figures = await bench(tmp_path, "healing", "--kills", "3", "--lease", "3", program="postgresql")
    assert figures["worst"] <= 3 + 2


@on_linux
@pytest.mark.parametrize("database", ["sqlite", "postgresql"])
async def test_a_full_database_is_read_by_its_indexes(tmp_path: Path, database: str) -> None:
    if database == "postgresql" and not has_contrib(best_version()):
        pytest.skip("the wheel's PostgreSQL shows no plans: install postgresql, 15 or newer")
    figures = await bench(
        tmp_path,
        *("growth", "--database", database, "--events", str(STORED), "--rounds", "1"),
        program="with sequential scans",
    )
    assert not figures.get("all statements")
