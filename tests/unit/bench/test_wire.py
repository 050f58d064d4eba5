import json

from hypothesis import given
from hypothesis import strategies as st

from bench import wire


@given(st.integers(0, 10**wire.SEQUENCE_DIGITS - 1))
def test_a_payload_has_its_size_and_tells_its_sequence(sequence: int) -> None:
    payload = wire.payload(sequence)

    assert len(payload) == wire.PAYLOAD_BYTES
    assert int(payload[wire.SEQUENCE]) == int(json.loads(payload)["sequence"]) == sequence


def test_the_body_is_a_native_event() -> None:
    event = json.loads(wire.event_body(7))

    assert event == {"event_type": wire.EVENT_TYPE, "payload": json.loads(wire.payload(7))}


def test_types_are_of_a_family() -> None:
    assert wire.event_type(7, 4, "noise") == "noise.0003"
    assert json.loads(wire.event_body(7, 4, "noise"))["event_type"] == "noise.0003"
