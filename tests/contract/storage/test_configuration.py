"""The log of changes of the configuration: who goes on from what they have seen misses none."""

import pytest

from tests.support.database import Records
from waypost.storage import configuration
from waypost.storage.configuration import Change, Kind

PROJECT, ONE, TWO = (bytes([n]) * 16 for n in (1, 2, 3))


def test_each_change_counts_and_says_what_it_was(records: Records) -> None:
    before = configuration.current(records.connection)
    configuration.record(records.connection, Kind.SUBSCRIPTION, PROJECT, ONE)
    configuration.record(records.connection, Kind.PROJECT, PROJECT)
    assert configuration.current(records.connection) == before + 2
    assert configuration.since(records.connection, before) == [
        Change(Kind.SUBSCRIPTION, PROJECT, ONE),
        Change(Kind.PROJECT, PROJECT, PROJECT),
    ]
    assert configuration.since(records.connection, before + 2) == []


def test_what_has_changed_often_is_told_once(records: Records) -> None:
    before = configuration.current(records.connection)
    for subject in (ONE, TWO, ONE, ONE):
        configuration.record(records.connection, Kind.API_KEY, PROJECT, subject)
    assert configuration.since(records.connection, before) == [
        Change(Kind.API_KEY, PROJECT, TWO),
        Change(Kind.API_KEY, PROJECT, ONE),
    ]


def test_who_is_too_far_behind_is_told_so(
    records: Records, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(configuration, "KEPT", 150)
    before = configuration.current(records.connection)
    for _ in range(300):
        configuration.record(records.connection, Kind.PROJECT, PROJECT)
    last = configuration.current(records.connection)
    assert configuration.since(records.connection, before) is None
    assert configuration.since(records.connection, last - 150) is not None
    configuration.prune(records.connection, last)
    assert configuration.since(records.connection, last - 1) is None
    assert configuration.since(records.connection, last) == []
    # As after a backup was put back.
    assert configuration.since(records.connection, last + 5) is None
