"""The harness finds what it is there to find: each planted bug, and nothing without the bug.

The crashes without a bug are those of `test_kill.py`: every crash point, in the same scenario.
"""

import shutil
from pathlib import Path

import pytest

from tests.torture import scenarios
from tests.torture.bugs import BUGS

CRASHES = {
    "ack-before-commit": ("accept.before-commit", "lost"),
    "fan-out-later": ("accept.after-commit", "lost"),
    "drop-on-410": ("clear.between", "lost"),
    "settle-early": ("answer.decided", "lost"),
    "retry-in-memory": ("retry.after-commit", "lost"),
    "replay-position-first": ("replay.after-commit", "lost"),
}


@pytest.mark.long
@pytest.mark.parametrize("bug", CRASHES)
async def test_a_crash_shows_the_bug(bug: str, tmp_path: Path) -> None:
    point, kind = CRASHES[bug]
    verdict = await scenarios.crash(tmp_path, point, bug=bug)
    assert kind in verdict.kinds


async def test_a_race_shows_that_keys_are_looked_for_outside(tmp_path: Path) -> None:
    verdict = await scenarios.twins(tmp_path, bug="keys-outside")
    assert "split" in verdict.kinds


async def test_without_the_bug_one_key_is_one_event(tmp_path: Path) -> None:
    verdict = await scenarios.twins(tmp_path)
    assert verdict.violations == []


@pytest.mark.long
async def test_a_stop_shows_that_nothing_was_waited_for(tmp_path: Path) -> None:
    verdict = await scenarios.stops(tmp_path, 2, seed=1, bug="stop-without-waiting")
    assert "doubled" in verdict.kinds


@pytest.mark.long
async def test_without_the_bug_a_stop_doubles_nothing(tmp_path: Path) -> None:
    verdict = await scenarios.stops(tmp_path, 2, seed=1)
    assert verdict.violations == []


@pytest.mark.long
async def test_kills_show_that_what_failed_is_passed_by(tmp_path: Path) -> None:
    verdict = await scenarios.orders(tmp_path, 20, 40, 3, seed=5, bug="pass-by-failed")
    assert "overtaken" in verdict.kinds


@pytest.mark.long
async def test_without_the_bug_every_key_keeps_its_order(tmp_path: Path) -> None:
    verdict = await scenarios.orders(tmp_path, 20, 40, 3, seed=5)
    assert verdict.violations == []
    assert verdict.acked == 20 * 40


needs_strace = pytest.mark.skipif(
    shutil.which("strace") is None, reason="strace counts the syncs: install it"
)


@needs_strace
async def test_counting_syncs_shows_that_commits_are_not_synced(tmp_path: Path) -> None:
    acked, synced = await scenarios.syncs(tmp_path, bug="sync-seldom")
    assert acked > synced


@needs_strace
async def test_without_the_bug_every_acknowledgement_has_its_sync(tmp_path: Path) -> None:
    acked, synced = await scenarios.syncs(tmp_path)
    assert acked == 40
    assert synced >= acked


def test_every_bug_is_planted_somewhere() -> None:
    source = Path(__file__).read_text("utf-8")
    assert [bug for bug in BUGS if f'"{bug}"' not in source] == []
