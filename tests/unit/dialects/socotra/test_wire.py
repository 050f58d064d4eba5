"""Socotra's shapes: what an event that came in by another way has in the place of a locator."""

import base64
from typing import Any

import msgspec
import pytest

from tests.support import socotra
from waypost.dialects.socotra import wire
from waypost.dialects.socotra.wire import Stream
from waypost.model import ids
from waypost.model.delivery import DivertedEvent, Reason
from waypost.model.errors import InvalidInput
from waypost.model.event import Attributes, Event
from waypost.policy.stream import Position
from waypost.web.errors import Problem

TENANT, EVENT, HOOK = ids.make(1, 1), ids.make(2_000_001, 2), ids.make(3, 3)
OTHER = ids.make(4, 4)


def shown(payload: bytes = b"{}", project_id: ids.Id = TENANT, **attributes: Any) -> Any:
    event = Event(project_id, EVENT, "a.b", payload, Attributes(**attributes))
    body = msgspec.json.encode(wire.event_out(event))
    msgspec.json.decode(body, type=socotra.Event)
    return msgspec.json.decode(body)


def test_an_event_is_shown_with_what_it_names() -> None:
    assert shown() == {
        "locator": ids.spell_ulid(EVENT),
        "requestId": ids.spell_ulid(EVENT),
        "userLocator": ids.spell_uuid(TENANT),
        "timestamp": "1970-01-01T00:00:02.000001Z",
        "type": "a.b",
        "data": {},
    }
    for spelled in ids.spellings(OTHER):
        named = shown(request_id=spelled, user=spelled)
        assert named["requestId"] == ids.spell_ulid(OTHER)
        assert named["userLocator"] == ids.spell_uuid(OTHER)
    assert shown(request_id="r 1")["requestId"] == ids.spell_ulid(EVENT)
    users = [shown(user="u_1")["userLocator"], shown(user="u_2")["userLocator"]]
    assert len({*users, shown(user="u_1", project_id=OTHER)["userLocator"]}) == 3
    assert shown(user="u_1")["userLocator"] == users[0]


@pytest.mark.parametrize(
    "payload, content_type, data",
    [
        (b' {"a": 1.10}', None, {"a": 1.10}),
        (b"[1]", None, {"value": [1]}),
        (b"null", "application/json", {"value": None}),
        (b"\xff", "text/plain", {"base64": base64.b64encode(b"\xff").decode()}),
    ],
)
def test_data_is_always_an_object(payload: bytes, content_type: str | None, data: Any) -> None:
    assert shown(payload, content_type=content_type)["data"] == data


def test_a_notice_is_its_tenants() -> None:
    assert wire.tenant_of(ids.alerts_of(TENANT)) == TENANT
    assert wire.tenant_of(TENANT) == TENANT


@pytest.mark.parametrize(
    "status, reason, triggers, trigger, message",
    [
        (503, Reason.EXHAUSTED, {"5xx"}, "5xx", "status 503: no"),
        (503, Reason.EXHAUSTED, {"5xx", "503"}, "503", "status 503: no"),
        (503, Reason.EXHAUSTED, {"404"}, "503", "status 503: no"),
        (503, Reason.EXHAUSTED, None, "503", "status 503: no"),
        (0, Reason.EXHAUSTED, {"timeout"}, "timeout", "no"),
        (0, Reason.SUBSCRIPTION_SUSPENDED, None, "suspended", "the webhook was suspended"),
        (0, Reason.INTERNAL, None, "internal", "internal"),
    ],
)
def test_a_diverted_event_tells_which_trigger_it_was(
    status: int, reason: Reason, triggers: set[str] | None, trigger: str, message: str
) -> None:
    diverted = DivertedEvent(TENANT, OTHER, EVENT, HOOK, "a", reason, 5, 1, status, b"no", "r")
    out = wire.diverted_out(diverted, None if triggers is None else frozenset(triggers))
    body = msgspec.json.encode(out)
    msgspec.json.decode(body, type=socotra.Diverted)
    assert (out.failure_trigger, out.failure_message) == (trigger, message)
    assert out.event_locator == out.request_locator == ids.spell_ulid(EVENT)


def test_a_paging_token_is_read_as_it_was_spelled() -> None:
    for stream in (
        Stream(Position(EVENT), None, None, 1),
        Stream(Position(ids.FIRST, (b"123456", b"abcdef")), OTHER, "a.b", 1_000),
    ):
        assert wire.read_stream(wire.spell_stream(stream)) == stream


@pytest.mark.parametrize(
    "wrong",
    [
        Stream(Position(b"short"), None, None, 1),
        Stream(Position(EVENT), b"short", None, 1),
        Stream(Position(EVENT), None, None, 0),
        Stream(Position(EVENT), None, None, 1_001),
    ],
)
def test_what_is_no_paging_token_is_refused(wrong: Stream) -> None:
    for text in (wire.spell_stream(wrong), "é", "=", "AAAA", wire.spell_stream(wrong)[:-3]):
        with pytest.raises(InvalidInput):
            wire.read_stream(text)


@pytest.mark.parametrize(
    "status, details, expected",
    [(422, (("a", "b"),), 400), (422, (), 409), (404, (), 404), (400, (("a", "b"),), 400)],
)
def test_an_error_has_the_envelope(
    status: int, details: tuple[tuple[str, str], ...], expected: int
) -> None:
    problem = Problem(status, "c", "m", "00000000-0000-4000-8000-000000000000", details)
    rendered = wire.render(problem)
    error = msgspec.json.decode(rendered.body, type=socotra.Error)
    assert (rendered.status, error.http_status, error.message) == (expected, expected, "m")
    assert error.errors == [{"path": path, "message": why} for path, why in details]
