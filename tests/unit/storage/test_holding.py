"""What is read of events at once: payloads that are not too large, and places in an order."""

from tests.support.database import Records
from waypost.model.event import NO_ATTRIBUTES, Attributes
from waypost.storage import holding
from waypost.storage.holding import Held


def test_events_are_read_with_what_the_lanes_and_the_queue_need(records: Records) -> None:
    key = Attributes(ordering_key="k")
    plain = records.event("a.b", payload=b'{"n":1}')
    placed = records.event("c", key, sequence=7)
    unnumbered = records.event("d", key)
    large = records.event("e", key, payload=b"12345678", sequence=9)
    others = records.event("f", project_id=records.other)
    asked = [plain, placed, unnumbered, large, others, records.ids.next()]
    found = holding.read(records.connection, records.project, asked, payload_max=7)
    assert set(found) == {plain, placed, unnumbered, large}
    event = found[plain].event
    assert event is not None
    assert (event.id, event.type, event.payload) == (plain, "a.b", b'{"n":1}')
    assert (event.attributes, event.routing_version) == (NO_ATTRIBUTES, 1)
    assert (found[plain].ordering_key, found[plain].sequence) == (None, None)
    assert (found[placed].ordering_key, found[placed].sequence) == ("k", 7)
    assert getattr(found[placed].event, "attributes", None) == key
    # Accepted before its project's events were numbered: its key gives it no place.
    assert (found[unnumbered].ordering_key, found[unnumbered].sequence) == (None, None)
    assert found[large] == Held(None, "k", 9)


def test_of_nothing_nothing_is_read(records: Records) -> None:
    assert holding.read(records.connection, records.project, [], payload_max=7) == {}
