"""Projects come back as they were kept, and count the changes of their routing."""

import msgspec
import pytest

from tests.support.database import Records
from waypost.model.errors import NotFound
from waypost.model.page import Page, PageRequest
from waypost.model.project import Environment, Project
from waypost.storage import projects


def kept(records: Records, environment: Environment = Environment.PRODUCTION) -> Project:
    """Keep a project of the account `b"a" * 16`."""
    project = Project(records.ids.next(), b"a" * 16, "Ours", environment, strict_types=True)
    projects.insert(records.connection, project)
    return project


def test_every_field_comes_back(records: Records) -> None:
    project = kept(records)
    assert projects.get(records.connection, project.id) == project


def test_an_unknown_one_is_not_found(records: Records) -> None:
    with pytest.raises(NotFound, match="project not found"):
        projects.get(records.connection, records.ids.next())


def test_a_change_is_kept(records: Records) -> None:
    project = kept(records)
    changed = msgspec.structs.replace(project, name="Theirs", strict_types=False)
    projects.update(records.connection, changed)
    assert projects.get(records.connection, project.id) == changed


def test_a_deleted_one_is_nowhere(records: Records) -> None:
    project = kept(records)
    projects.delete(records.connection, project.id, 5)
    with pytest.raises(NotFound):
        projects.get(records.connection, project.id)
    assert project not in projects.list_all(records.connection)
    assert project not in projects.list_page(records.connection, PageRequest()).items
    environment = Environment.PRODUCTION
    assert projects.find_oldest(records.connection, project.account_id, environment) is None


def test_the_list_runs_from_newest_to_oldest(records: Records) -> None:
    first, second = kept(records), kept(records)
    assert projects.list_page(records.connection, PageRequest(size=2)) == Page(
        [second, first], has_more=True
    )


def test_the_oldest_of_an_environment_and_account_is_found(records: Records) -> None:
    first, _, test = kept(records), kept(records), kept(records, Environment.TEST)
    connection = records.connection
    assert projects.find_oldest(connection, b"a" * 16, Environment.PRODUCTION) == first
    assert projects.find_oldest(connection, b"a" * 16, Environment.TEST) == test
    assert projects.find_oldest(connection, b"b" * 16, Environment.TEST) is None


def test_only_subscriptions_that_are_left_count(records: Records) -> None:
    assert not projects.has_subscriptions(records.connection, records.project)
    records.subscription()
    assert projects.has_subscriptions(records.connection, records.project)
    assert not projects.has_subscriptions(records.connection, records.other)


def test_a_change_of_routing_is_counted_and_told_to_the_committer(records: Records) -> None:
    connection = records.connection
    assert connection.info["routing"][records.project] == 1
    assert projects.bump_routing(connection, records.project) == 2
    assert projects.bump_routing(connection, records.project) == 3
    assert connection.info["routing"] == {records.project: 3, records.other: 1}


def test_one_is_found_with_the_version_of_its_routing(records: Records) -> None:
    connection = records.connection
    found = projects.find(connection, records.project)
    assert found == projects.get(connection, records.project)
    assert projects.find(connection, b"x" * 16) is None
    projects.bump_routing(connection, records.project)
    assert projects.routing_version(connection, records.project) == 2
