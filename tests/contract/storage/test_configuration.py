"""The log of changes of the configuration: who goes on from what they have seen misses none."""

import pytest
from sqlalchemy import delete, update

from tests.support.database import Records
from waypost.storage import cluster, configuration
from waypost.storage.configuration import Change, Kind

PROJECT, ONE, TWO = (bytes([n]) * 16 for n in (1, 2, 3))


def test_each_change_counts_and_says_what_it_was(records: Records) -> None:
    configuration.record(records.connection, Kind.PROJECT, PROJECT)
    before = configuration.current(records.connection)
    configuration.record(records.connection, Kind.SUBSCRIPTION, PROJECT, ONE)
    configuration.record(records.connection, Kind.PROJECT, PROJECT)
    last = configuration.current(records.connection)
    assert last > before
    assert configuration.since(records.connection, before) == [
        Change(Kind.SUBSCRIPTION, PROJECT, ONE),
        Change(Kind.PROJECT, PROJECT, PROJECT),
    ]
    assert configuration.since(records.connection, last) == []


def test_what_has_changed_often_is_told_once(records: Records) -> None:
    configuration.record(records.connection, Kind.API_KEY, PROJECT, ONE)
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
    configuration.record(records.connection, Kind.PROJECT, PROJECT)
    before = configuration.current(records.connection)
    configuration.record(records.connection, Kind.PROJECT, PROJECT)
    last = configuration.current(records.connection)
    assert configuration.since(records.connection, before) is not None
    monkeypatch.setattr(configuration, "KEPT_US", 0)
    configuration.record(records.connection, Kind.PROJECT, PROJECT)
    assert configuration.since(records.connection, before) is None
    assert configuration.since(records.connection, last) is None
    assert configuration.since(records.connection, configuration.current(records.connection)) == []


def test_a_version_is_never_given_again(records: Records) -> None:
    configuration.record(records.connection, Kind.PROJECT, PROJECT)
    lost = configuration.current(records.connection)
    # As where a standby took over that was behind, or a backup was put back.
    records.connection.execute(delete(cluster.config_changes))
    records.connection.execute(update(cluster.config_version).values(version=lost - 1))
    assert configuration.since(records.connection, lost) is None
    configuration.record(records.connection, Kind.PROJECT, PROJECT)
    assert configuration.current(records.connection) > lost
    assert configuration.since(records.connection, lost) is None


def test_versions_go_on_where_the_clock_is_behind(records: Records) -> None:
    configuration.record(records.connection, Kind.PROJECT, PROJECT)
    ahead = 2**62
    records.connection.execute(update(cluster.config_version).values(version=ahead))
    configuration.record(records.connection, Kind.PROJECT, PROJECT)
    assert configuration.current(records.connection) == ahead + 1


def test_what_a_newer_program_has_changed_is_passed_by(records: Records) -> None:
    configuration.record(records.connection, Kind.PROJECT, PROJECT)
    before = configuration.current(records.connection)
    configuration.record(records.connection, Kind.PROJECT, PROJECT, ONE)
    configuration.record(records.connection, Kind.SUBSCRIPTION, PROJECT, TWO)
    of_one = cluster.config_changes.c.subject == ONE
    records.connection.execute(update(cluster.config_changes).where(of_one).values(kind="tomorrow"))
    assert configuration.since(records.connection, before) == [
        Change(Kind.SUBSCRIPTION, PROJECT, TWO)
    ]
