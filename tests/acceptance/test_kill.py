"""Killed at random and at each labelled point, the server loses nothing and doubles little."""

import re
from pathlib import Path

import pytest

from tests.torture import scenarios
from tests.torture.crash_points import POINTS
from tests.torture.oracle import Verdict
from tests.torture.rig import MAX_IN_FLIGHT

KILLS = 20
STOPS = 3
SEED = 25
ALWAYS = {
    *("accept.before-commit", "settle.after-commit", "replay.committed"),
}
"""Crash points that every run tries; all others are tried by the long one."""


def assert_right(verdict: Verdict) -> None:
    """Fail with what is wrong."""
    wrong = [f"{violation.kind}: {violation.detail}" for violation in verdict.violations]
    assert not wrong, "\n".join(wrong[:20])


async def test_random_kills_lose_nothing(tmp_path: Path) -> None:
    verdict = await scenarios.kills(tmp_path, KILLS, SEED)
    assert_right(verdict)
    assert verdict.kills == KILLS
    assert verdict.acked > KILLS * 10
    assert verdict.received > verdict.acked
    assert verdict.repeats == verdict.allowed <= KILLS * MAX_IN_FLIGHT


async def test_stops_lose_nothing_and_double_nothing(tmp_path: Path) -> None:
    verdict = await scenarios.stops(tmp_path, STOPS, SEED)
    assert_right(verdict)
    assert verdict.acked > STOPS * 10
    assert verdict.repeats == 0


@pytest.mark.parametrize(
    "point",
    [
        pytest.param(point, marks=() if point in ALWAYS else pytest.mark.long, id=point)
        for point in POINTS
    ],
)
async def test_a_crash_at_any_point_loses_nothing(point: str, tmp_path: Path) -> None:
    verdict = await scenarios.crash(tmp_path, point)
    assert_right(verdict)
    assert verdict.kills == 1
    assert verdict.acked >= scenarios.EVENTS // 2


def test_the_product_holds_no_crash_points() -> None:
    package = Path(__file__).parents[2] / "src"
    testing = re.compile(r"\b(fail_?points?|crash_?points?|saboteur|torture)\b", re.IGNORECASE)
    found = [path for path in package.rglob("*.py") if testing.search(path.read_text("utf-8"))]
    assert found == []
