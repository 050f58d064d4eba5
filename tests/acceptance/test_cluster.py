"""Workers that share a PostgreSQL lose nothing when they, or it, are killed or frozen.

The harness finds what it is there to find: each planted bug, and nothing without the bug.
"""

import sys
from pathlib import Path

import pytest

from tests.acceptance.test_kill import assert_right
from tests.torture.cluster import scenarios
from tests.torture.cluster.bugs import BUGS
from tests.torture.cluster.faults import Kind
from tests.torture.cluster.rig import LEASE_S

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are watched by /proc")

WORKERS = 3
SEED = 11
FREEZES = (Kind.FROZEN,)


async def test_faults_lose_nothing_and_heal(tmp_path: Path) -> None:
    kinds = (Kind.KILLED, Kind.FROZEN, Kind.DATABASE)
    judgement = await scenarios.faults(tmp_path, WORKERS, 3, SEED, kinds=kinds)
    assert_right(judgement.verdict)
    assert judgement.verdict.kills == 3
    assert judgement.verdict.acked > 100
    assert judgement.handovers > 0


@pytest.mark.long
async def test_a_late_result_changes_nothing(tmp_path: Path) -> None:
    judgement = await scenarios.overtaken(tmp_path)
    assert_right(judgement.verdict)
    assert judgement.verdict.received == 2


@pytest.mark.long
async def test_a_late_result_shows_that_the_owner_is_not_checked(tmp_path: Path) -> None:
    judgement = await scenarios.overtaken(tmp_path, bug="owner-unchecked")
    assert "lost" in judgement.verdict.kinds


@pytest.mark.long
async def test_a_freeze_shows_that_a_lease_is_not_minded(tmp_path: Path) -> None:
    judgement = await scenarios.faults(tmp_path, 2, 1, SEED, kinds=FREEZES, bug="no-fencing")
    assert "two owners" in judgement.verdict.kinds


@pytest.mark.long
async def test_load_shows_a_cursor_over_late_commits(tmp_path: Path) -> None:
    judgement = await scenarios.steady(tmp_path, WORKERS, LEASE_S, bug="cursor-over-late-commits")
    assert "lost" in judgement.verdict.kinds


@pytest.mark.long
async def test_without_a_bug_nothing_is_wrong(tmp_path: Path) -> None:
    judgement = await scenarios.steady(tmp_path, WORKERS, LEASE_S)
    assert_right(judgement.verdict)
    assert judgement.verdict.repeats == 0


@pytest.mark.long
async def test_load_shows_that_chains_go_by_what_was_made_first(tmp_path: Path) -> None:
    judgement = await scenarios.orders(tmp_path, 4, 2, 100, 0, SEED, bug="order-by-id")
    assert "inversion" in judgement.verdict.kinds


@pytest.mark.long
async def test_without_the_bug_every_key_keeps_its_order_through_faults(tmp_path: Path) -> None:
    judgement = await scenarios.orders(tmp_path, 4, 10, 60, 5, SEED)
    assert_right(judgement.verdict)
    assert judgement.verdict.acked == 10 * 60


def test_every_bug_is_planted_somewhere() -> None:
    source = Path(__file__).read_text("utf-8")
    assert [bug for bug in BUGS if f'"{bug}"' not in source] == []
