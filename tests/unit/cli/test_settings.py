"""`waypost config`."""

from pathlib import Path

import pytest

from tests.unit.cli.conftest import Run
from waypost.config import SETTINGS


def test_every_setting_is_listed_with_value_and_origin(
    waypost: Run, folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "waypost.toml").write_text("max_in_flight = 7")
    monkeypatch.setenv("WAYPOST_LOG_LEVEL", "debug")
    monkeypatch.setenv("WAYPOST_ADMIN_KEY", "canary-canary-canary")
    monkeypatch.setenv("WAYPOST_LISTNE", "typo")
    status, out, _ = waypost("config", "--drain-timeout", "3s")
    assert status == 0
    rows = {line.split()[0]: line.split(maxsplit=2)[1:] for line in out.splitlines() if line}
    assert {row.name for row in SETTINGS} <= rows.keys()
    assert rows["max_in_flight"][0] == "7"
    assert rows["max_in_flight"][1].strip() == "max_in_flight in waypost.toml"
    assert rows["log_level"][1].strip() == "WAYPOST_LOG_LEVEL"
    assert rows["drain_timeout"][1].strip() == "--drain-timeout"
    assert rows["disk_reserve"][1].strip() == "default"
    assert rows["admin_key"][0] == "***"
    assert "canary" not in out
    assert "WAYPOST_LISTNE is set, but it is no setting" in out


def test_the_reference_has_a_heading_for_every_setting(waypost: Run) -> None:
    _, out, _ = waypost("config", "--reference")
    assert [line[3:] for line in out.splitlines() if line.startswith("## ")] == [
        row.name for row in SETTINGS
    ]
