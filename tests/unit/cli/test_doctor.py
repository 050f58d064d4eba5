"""`waypost doctor`: each thing it looks at, sound and unsound."""

import base64
from typing import Any

import pytest

from tests.support.doctor import found_bad
from tests.unit.cli.conftest import Run
from waypost import config
from waypost.cli import doctor
from waypost.cli.findings import Finding
from waypost.clock import SystemClock

KEY = base64.b64encode(bytes(range(32))).decode()


def findings(**environment: str) -> dict[str, Finding]:
    settings = config.load(environment=environment)
    return {one.subject: one for one in doctor.examine(settings)}


def test_a_sound_place_has_nothing_bad(waypost: Run) -> None:
    waypost("migrate")
    status, out, _ = waypost("doctor")
    assert status == 0
    assert not found_bad(out)
    for subject in ("sqlite", "database", "permissions", "secret key", "disk", "egress", "clock"):
        assert f"{subject}: " in out


def test_a_clock_in_the_past_is_bad(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(SystemClock, "now_us", lambda _: 1_000_000)
    assert findings()["clock"].good is False


def test_what_is_opened_to_deliveries_is_told() -> None:
    found = findings(WAYPOST_EGRESS_ALLOW="10.0.0.0/8")["egress"]
    assert found.good is None
    assert "10.0.0.0/8" in found.text


def test_strange_variables_are_told() -> None:
    found: Any = findings(WAYPOST_PROT="x")
    assert "WAYPOST_PROT" in found["settings"].text
