"""A catalogue is one project's, and replaced as a whole."""

from tests.support.database import Records
from waypost.model.event_type import EventType
from waypost.storage import event_types


def test_a_catalogue_is_replaced_as_a_whole(records: Records) -> None:
    at, project = records.connection, records.project
    first = [EventType("b", "of b", b'{"x": 1.10}'), EventType("a")]
    event_types.replace(at, project, first)
    event_types.replace(at, records.other, [EventType("c")])
    assert event_types.list_all(at, project) == [first[1], first[0]]
    assert event_types.find(at, project, "b") == first[0]
    assert event_types.find(at, project, "c") is None
    event_types.replace(at, project, [EventType("d")])
    assert event_types.load_names(at) == {project: {"d"}, records.other: {"c"}}
    event_types.replace(at, project, [])
    assert event_types.load_names(at) == {records.other: {"c"}}
