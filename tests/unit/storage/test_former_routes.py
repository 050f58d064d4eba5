"""What a subscription took is known for every version of the routing."""

import msgspec

from tests.support.database import Records
from waypost.model.subscription import DisabledBy
from waypost.policy.judging import Taken
from waypost.storage import former_routes, projects, subscriptions


def test_each_version_has_its_settings(records: Records) -> None:
    connection, project = records.connection, records.project
    one = records.subscription(event_types=("a",), filter='{"body":{"n":1}}', owner="o")
    created = projects.bump_routing(connection, project)
    former_routes.begin(connection, project, one.id, created)
    projects.bump_routing(connection, project)
    second = msgspec.structs.replace(one, event_types=None, filter=None)
    ended = projects.bump_routing(connection, project)
    former_routes.end(connection, one, ended, records.clock.now_us())
    third = msgspec.structs.replace(second, disabled_by=DisabledBy.PERSON)
    last = projects.bump_routing(connection, project)
    former_routes.end(connection, second, last, records.clock.now_us())
    subscriptions.update(connection, third)
    known = {
        version: former_routes.read_at(connection, project, [one.id], version).get(one.id)
        for version in range(created - 1, last + 1)
    }
    first = Taken(("a",), "o", '{"body":{"n":1}}')
    assert known == {
        created - 1: None,
        created: first,
        created + 1: first,
        ended: Taken(owner="o"),
        last: None,
    }
    assert former_routes.read_at(connection, records.other, [one.id], created) == {}


def test_the_first_known_settings_reach_back(records: Records) -> None:
    connection, project = records.connection, records.project
    one = records.subscription(event_types=("a",))
    former_routes.end(connection, one, 9, records.clock.now_us())
    assert former_routes.read_at(connection, project, [one.id], 1) == {one.id: Taken(("a",))}
    assert former_routes.read_at(connection, project, [one.id], 9) == {}
