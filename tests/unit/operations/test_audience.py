"""The audience: who has asked for which events lately."""

import pytest

from tests.support.manual import ManualClock
from waypost.operations import audience as subject
from waypost.operations.audience import LATELY_S, Audience

MINE, THEIRS = b"p" * 16, b"q" * 16


def test_who_asked_for_a_type_is_remembered_for_a_minute() -> None:
    clock = ManualClock()
    made = Audience(clock)
    made.asked(MINE, ("a", "b"), "x")
    clock.forward(LATELY_S / 2)
    made.asked(MINE, ("a",), "y")
    assert made.lately(MINE, {"a", "b", "c"}) == {"a": {"x", "y"}, "b": {"x"}, "c": set()}
    clock.forward(LATELY_S / 2 + 1)
    assert made.lately(MINE, {"a", "b"}) == {"a": {"y"}, "b": set()}


def test_who_asks_for_all_types_asks_for_each() -> None:
    made = Audience(ManualClock())
    made.asked(MINE, (), "x")
    assert made.lately(MINE, {"a", "b"}) == {"a": {"x"}, "b": {"x"}}


def test_projects_do_not_mix() -> None:
    made = Audience(ManualClock())
    made.asked(MINE, ("a",), "x")
    assert made.lately(THEIRS, {"a"}) == {"a": set()}


def test_of_too_many_the_earliest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(subject, "REMEMBERED_MAX", 2)
    made = Audience(ManualClock())
    for tx_key in ("x", "y", "x", "z"):
        made.asked(MINE, ("a",), tx_key)
    assert made.lately(MINE, {"a"}) == {"a": {"x", "z"}}
