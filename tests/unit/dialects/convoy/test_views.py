"""Events and deliveries as Convoy shows them: every key of its document, and no secret."""

import json
from typing import Any

import msgspec
import pytest

from waypost.dialects.convoy import config, things
from waypost.dialects.convoy.things import Endpoint, Secret, Subscribed
from waypost.dialects.convoy.views import (
    Around,
    attempt_out,
    delivery_out,
    event_out,
    status_of,
)
from waypost.model import ids
from waypost.model.delivery import Delivery, DeliveryState, Reason, Timings
from waypost.model.event import Attributes, Event
from waypost.model.record import Record
from waypost.model.shown import AttemptStatus, ShownAttempt
from waypost.operations.events import Seen

PROJECT, EVENT, ENDPOINT, OWN, SOURCE, DELIVERY = (ids.make(n, n) for n in range(1, 7))
KNOWN = Attributes(
    idempotency_key="k", headers={"x-a": "1"}, query={"q": ["1", "2"]}, path="/in", source=SOURCE
)
FACT = Event(PROJECT, EVENT, "a.b", b'{"n": 1}', KNOWN)


def named(text: str) -> set[str]:
    """Return the words of a text."""
    return set(text.split())


# What the document of the replay lists.
EVENT_KEYS = named(
    "acknowledged_at app_id created_at data deleted_at endpoint_metadata endpoints event_type"
    " headers idempotency_key is_duplicate_event metadata project_id raw source_id source_metadata"
    " status uid updated_at url_query_params"
)
ENDPOINT_KEYS = named(
    "advanced_signatures authentication created_at deleted_at description events failure_rate"
    " http_timeout name owner_id project_id rate_limit rate_limit_duration secrets"
    " slack_webhook_url status support_email uid updated_at url"
)
SECRET_KEYS = named("created_at deleted_at expires_at uid updated_at value")
SOURCE_KEYS = named(
    "body_function created_at custom_response deleted_at forward_headers header_function"
    " idempotency_keys is_disabled mask_id name project_id provider provider_config pub_sub type"
    " uid updated_at url verifier"
)


def record(kind: str, identifier: ids.Id, body: Any, parent: ids.Id | None = None) -> Record:
    return Record(PROJECT, kind, identifier, msgspec.json.encode(body), parent)


def around(**addressees: ids.Id) -> Around:
    proof = {"type": "basic_auth", "basic_auth": {"username": "u", "password": "hidden-1"}}
    endpoint = Endpoint("e", "http://x", (Secret(OWN, "hidden-2"),), authentication=proof)
    source = {"name": "in", "type": "http", "verifier": {"hmac": {"secret": "hidden-3"}}}
    return Around(
        config.DEFAULT,
        {EVENT: dict.fromkeys(addressees.values(), DELIVERY)},
        {OWN: record(things.SUBSCRIPTION, OWN, Subscribed("s"), ENDPOINT)},
        {ENDPOINT: record(things.ENDPOINT, ENDPOINT, endpoint)},
        {SOURCE: record(things.SOURCE, SOURCE, source)},
    )


def encoded(shown: Any) -> Any:
    text = msgspec.json.encode(shown)
    assert b"hidden" not in text
    return json.loads(text)


def test_an_event_has_every_key_of_the_document() -> None:
    shown = encoded(event_out(Seen(EVENT, FACT), around(to=OWN)))
    (endpoint,) = shown["endpoint_metadata"]
    assert set(shown) >= EVENT_KEYS
    assert set(endpoint) >= ENDPOINT_KEYS
    assert set(endpoint["secrets"][0]) >= SECRET_KEYS
    assert set(shown["source_metadata"]) >= SOURCE_KEYS
    assert (shown["data"], shown["raw"], shown["status"]) == ({"n": 1}, '{"n": 1}', "Success")
    assert (shown["headers"], shown["url_query_params"]) == ({"x-a": ["1"]}, "q=1&q=2")
    assert shown["endpoints"] == [ids.spell_ulid(ENDPOINT)]


def test_what_nobody_was_owed_has_failed() -> None:
    shown = encoded(event_out(Seen(EVENT, FACT), around()))
    assert (shown["status"], shown["endpoints"]) == ("Failure", [])
    assert shown["failure_reason"] == "no subscription matched this event"


def test_a_repetition_is_an_event_of_its_own() -> None:
    shown = encoded(event_out(Seen(OWN, FACT, is_repeat=True), around(to=OWN)))
    assert (shown["uid"], shown["is_duplicate_event"]) == (ids.spell_ulid(OWN), True)
    assert (shown["status"], shown["endpoints"]) == ("Success", [])


def test_what_is_no_json_is_shown_as_base64() -> None:
    event = Event(PROJECT, EVENT, "a", b"a b", Attributes(content_type="text/plain"))
    assert encoded(event_out(Seen(EVENT, event), around()))["data"] == "YSBi"


def delivery(state: DeliveryState = DeliveryState.PENDING, attempts: int = 0) -> Delivery:
    return Delivery(PROJECT, DELIVERY, EVENT, OWN, "a.b", state, attempts)


@pytest.mark.parametrize(
    "one, sending, status",
    [
        (delivery(), False, "Scheduled"),
        (delivery(), True, "Processing"),
        (delivery(attempts=1), False, "Retry"),
        (delivery(DeliveryState.DELIVERED), False, "Success"),
        (delivery(DeliveryState.FAILED), False, "Failure"),
        (delivery(DeliveryState.CANCELLED), False, "Discarded"),
    ],
)
def test_states_have_the_vendors_names(one: Delivery, sending: bool, status: str) -> None:
    assert status_of(one, is_sending=sending) == status


def test_a_delivery_tells_what_became_of_it() -> None:
    ended = msgspec.structs.replace(
        delivery(DeliveryState.FAILED, 10),
        finished_us=ids.moment(DELIVERY) + 1_500_000,
        reason=Reason.EXHAUSTED,
    )
    shown = encoded(delivery_out(ended, FACT, around(to=OWN), is_sending=False))
    assert (shown["endpoint_id"], shown["target_url"]) == (ids.spell_ulid(ENDPOINT), "http://x")
    assert (shown["latency_seconds"], shown["description"]) == (1.5, "retries exhausted")
    assert shown["metadata"]["num_trials"] == shown["metadata"]["retry_limit"] == 10
    gone = encoded(delivery_out(ended, None, around(), is_sending=False))
    assert (gone["event_metadata"], gone["metadata"]["data"]) == (None, None)


def test_an_attempt_says_that_it_succeeded_only_where_it_did() -> None:
    tried = ShownAttempt(
        PROJECT, DELIVERY, EVENT, DELIVERY, OWN, 1, AttemptStatus.SUCCESS, "http://x", 204
    )
    shown = encoded(attempt_out(tried, ENDPOINT, {"a": "b"}))
    assert (shown["status"], shown["http_status"]) == (True, "204 No Content")
    assert shown["responded_at"]
    silent = msgspec.structs.replace(
        tried,
        status=AttemptStatus.FAILED,
        status_code=0,
        response=b"timeout",
        timings=Timings(total_us=5),
    )
    shown = encoded(attempt_out(silent, ENDPOINT))
    assert "status" not in shown
    assert (shown["error"], shown["responded_at"]) == ("timeout", None)
