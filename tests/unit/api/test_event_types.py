"""How a catalogue stands on the wire."""

import msgspec

from waypost.api.event_types import shape
from waypost.model.event_type import EventType


def test_an_example_is_shown_byte_by_byte() -> None:
    shown = shape([EventType("a"), EventType("b", "of b", b'{"n":1.10}')])
    assert msgspec.json.encode(shown) == (
        b'{"event_types":[{"name":"a","description":"","example":null},'
        b'{"name":"b","description":"of b","example":{"n":1.10}}]}'
    )
