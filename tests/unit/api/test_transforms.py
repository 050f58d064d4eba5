"""How a trial stands on the wire, and what may be asked for."""

from typing import Any

import msgspec
import pytest

from waypost.api.transforms import TransformRoutes, TrialIn, _shape
from waypost.model import ids
from waypost.model.errors import InvalidInput
from waypost.model.event import Attributes, Event
from waypost.model.transform import Fault, FaultKind
from waypost.operations.transforms import Trial
from waypost.policy.events import Draft, EventLimits

EVENT = Event(ids.FIRST, ids.make(1, 1), "a", b'{"a": 1.10}')
TEXT = msgspec.structs.replace(
    EVENT, payload="<é/>".encode(), attributes=Attributes(content_type="text/xml")
)
NOTHING: Any = None
ROUTES = TransformRoutes(NOTHING, EventLimits())


def asked(**fields: Any) -> TrialIn:
    body = {"transform": {"javascript": "x"}, **fields}
    return msgspec.json.decode(msgspec.json.encode(body), type=TrialIn)


@pytest.mark.parametrize(
    "trial, shown",
    [
        (
            Trial(EVENT, {"x-a": "b"}, log=("x",)),
            b'{"payload":{"a": 1.10},"headers":{"x-a":"b"},"skip":false,"log":["x"],"error":null}',
        ),
        (
            Trial(TEXT),
            '{"payload":"<é/>","headers":{},"skip":false,"log":[],"error":null}'.encode(),
        ),
        (Trial(None), b'{"payload":null,"headers":{},"skip":true,"log":[],"error":null}'),
        (
            Trial(None, fault=Fault(FaultKind.EXCEPTION, "bad", 2, 3)),
            (
                b'{"payload":null,"headers":{},"skip":false,"log":[],"error":{"kind":"exception",'
                b'"message":"bad","line":2,"column":3,"place":null}}'
            ),
        ),
    ],
)
def test_a_trial_is_shown(trial: Trial, shown: bytes) -> None:
    assert msgspec.json.encode(_shape(trial)) == shown


def test_it_is_on_a_payload_or_on_an_event() -> None:
    assert ROUTES._of(asked(payload={"a": 1})) == Draft("example", b'{"a":1}')
    beside = {"event_type": "a.b", "owner": "o"}
    made = ROUTES._of(asked(payload=None, event=beside))
    assert made == Draft("a.b", b"null", Attributes(owner="o"))
    assert ROUTES._of(asked(event_token=ids.spell(ids.EVENT, EVENT.id))) == EVENT.id


@pytest.mark.parametrize(
    "fields, path",
    [
        ({}, ""),
        ({"payload": 1, "event_token": "evt_"}, ""),
        ({"event_token": ids.spell(ids.EVENT, EVENT.id), "event": {}}, "event"),
    ],
)
def test_it_is_on_one_of_them(fields: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        ROUTES._of(asked(**fields))
    assert [detail[0] for detail in refusal.value.details] == [path]
