"""Events go in once, whole, all or none, and come out as the bytes that they were."""

import asyncio
import json
from typing import Any

import httpx
import pytest

from tests.support.program import PATIENCE_S
from tests.support.receiver import Receiver
from tests.support.site import Tenant

EVENTS = "/v1/events"
BATCH = "/v1/events/batch"
EVENT = {"event_type": "card.created", "payload": {"n": 1}}

AWKWARD = [
    b'"\\u0000"',
    b'"\\ud800"',
    b'{"\\udc00\\ud800": "\\ud83d"}',
    b'{"a": 1, "a": 2, "a": {"a": 3, "a": 4}}',
    b"1.10",
    b"[1E+2, -0, 0.0, 1e-400, 1e400]",
    b"123456789012345678901234567890123456789012345678901234567890",
    b'{ "b" :\t[ ] ,\r\n "a":\n{ } }',
    '{"ключ": "значение", "e\u0301": "é"}'.encode(),
    b'"\\u00e9\\/\\u003c\\n"',
    b"null",
    b"true",
    b'""',
    b"[]",
]


def listed(tenant: Tenant) -> list[dict[str, Any]]:
    """Return the events that are stored."""
    page = tenant.ask(200, "GET", EVENTS, params={"page_size": 1000})
    return list(page["data"])


async def post_at_once(tenant: Tenant, count: int, body: Any, **headers: str) -> list[Any]:
    """Post the same body many times, all under way together; return the answers."""
    async with httpx.AsyncClient(
        base_url=tenant.url,
        headers={"authorization": tenant.key, **headers},
        limits=httpx.Limits(max_connections=count),
        timeout=PATIENCE_S,
    ) as client:
        answers = await asyncio.gather(*(client.post(EVENTS, json=body) for _ in range(count)))
    assert {answer.status_code for answer in answers} == {202}
    return [answer.json() for answer in answers]


async def test_posts_of_one_key_all_at_once_make_one_event(
    tenant: Tenant, received: Receiver
) -> None:
    tenant.subscribe(received.url)
    answers = await post_at_once(tenant, 200, EVENT, **{"idempotency-key": "k-1"})
    assert len({answer["token"] for answer in answers}) == 1
    assert len({answer["created"] for answer in answers}) == 1
    assert sorted(answer["duplicate"] for answer in answers) == [False] + [True] * 199
    assert [one["token"] for one in listed(tenant)] == [answers[0]["token"]]
    marker = tenant.post("marker")
    requests = received.wait_for(2)
    sent = sorted(one.headers["webhook-id"] for one in requests)
    assert sent == sorted([answers[0]["token"], marker])


def test_another_body_under_a_known_key_is_refused_and_leaves_a_receipt(tenant: Tenant) -> None:
    first = tenant.post(idempotency_key="k")
    assert tenant.post(idempotency_key="k") == first
    others: list[dict[str, Any]] = [
        {**EVENT, "payload": {"n": 2}},
        {**EVENT, "event_type": "card.updated"},
        {**EVENT, "metadata": {"a": "b"}},
    ]
    for other in others:
        tenant.refused(422, "POST", EVENTS, json={**other, "idempotency_key": "k"})
    receipts = tenant.ask(200, "GET", f"{EVENTS}/{first}")["receipts"]
    assert [one["same_body"] for one in receipts] == [False, False, False, True]
    assert len(listed(tenant)) == 1


def test_header_and_field_are_the_same_key(tenant: Tenant, stranger: Tenant) -> None:
    by_header = tenant.ask(202, "POST", EVENTS, json=EVENT, headers={"idempotency-key": "k"})
    by_field = tenant.ask(202, "POST", EVENTS, json={**EVENT, "idempotency_key": "k"})
    assert by_field == {**by_header, "duplicate": True}
    keyed = {**EVENT, "idempotency_key": "other"}
    tenant.refused(400, "POST", EVENTS, json=keyed, headers={"idempotency-key": "k"})
    assert stranger.post(idempotency_key="k") != by_header["token"], "a key is its project's"
    twice = [("idempotency-key", "a"), ("idempotency-key", "b")]
    tenant.refused(400, "POST", EVENTS, json=EVENT, headers=twice)


@pytest.mark.proves("native", "POST /v1/events/batch")
def test_a_batch_is_taken_in_whole_and_in_its_order(tenant: Tenant, received: Receiver) -> None:
    tenant.subscribe(received.url)
    events = [{"event_type": f"t.{n}", "payload": {"n": n}} for n in range(1000)]
    made = tenant.ask(202, "POST", BATCH, json={"events": events})["data"]
    assert [one["event_type"] for one in made] == [one["event_type"] for one in events]
    tokens = [one["token"] for one in made]
    assert tokens == sorted(tokens)
    requests = received.wait_for(1000)
    assert {one.headers["webhook-id"] for one in requests} == set(tokens)


@pytest.mark.parametrize(
    "bad,path",
    [
        ({"event_type": "a b", "payload": 1}, "event_type"),
        ({"event_type": "a"}, "payload"),
        ({"payload": 1}, "event_type"),
        ({**EVENT, "unknown": 1}, "unknown"),
        ({**EVENT, "metadata": {"a": 1}}, "metadata"),
        ({**EVENT, "occurred_at": "yesterday"}, "occurred_at"),
        ({**EVENT, "targets": ["ep_01920000-0000-7000-8000-000000000000"]}, "targets[0]"),
        ({**EVENT, "idempotency_key": "used"}, "idempotency_key"),
        (17, ""),
    ],
)
def test_one_bad_event_refuses_the_whole_batch(tenant: Tenant, bad: Any, path: str) -> None:
    tenant.post(payload={"n": "first"}, idempotency_key="used")
    events = [{**EVENT, "idempotency_key": f"k-{n}"} for n in range(5)]
    (blamed,) = tenant.refused(422, "POST", BATCH, json={"events": [*events[:3], bad, *events[3:]]})
    assert blamed.startswith(f"events[3].{path}" if path else "events[3]"), blamed
    assert len(listed(tenant)) == 1
    # Nor were the keys of the good ones used up.
    made = tenant.ask(202, "POST", BATCH, json={"events": events})["data"]
    assert [one["duplicate"] for one in made] == [False] * 5


def test_a_batch_may_repeat_a_key_if_it_repeats_the_event(tenant: Tenant) -> None:
    keyed = {**EVENT, "idempotency_key": "k"}
    made = tenant.ask(202, "POST", BATCH, json={"events": [keyed, EVENT, keyed]})["data"]
    assert [one["duplicate"] for one in made] == [False, False, True]
    assert made[0]["token"] == made[2]["token"]
    other = {**keyed, "payload": 2, "idempotency_key": "new"}
    body = {"events": [{**keyed, "idempotency_key": "new"}, other]}
    assert tenant.refused(422, "POST", BATCH, json=body) == ["events[1].idempotency_key"]
    assert len(listed(tenant)) == 2


@pytest.mark.proves("native", "POST /v1/events")
@pytest.mark.parametrize("payload", AWKWARD, ids=range(len(AWKWARD)))
def test_a_payload_is_delivered_and_shown_as_the_bytes_that_came(
    tenant: Tenant, received: Receiver, payload: bytes
) -> None:
    tenant.subscribe(received.url)
    body = b' { "payload" :\t' + payload + b' , "event_type": "card.created" } '
    answer = tenant.http.post(EVENTS, content=body)
    assert answer.status_code == 202, answer.text
    assert b'"payload":' + payload + b"," in answer.content
    (request,) = received.wait_for(1)
    assert request.body == payload
    token = request.headers["webhook-id"]
    for path in (f"{EVENTS}/{token}", EVENTS):
        assert b'"payload":' + payload + b"}" in tenant.http.get(path).content


def test_payloads_in_a_batch_and_in_an_envelope_stay_their_bytes(
    tenant: Tenant, received: Receiver
) -> None:
    tenant.subscribe(received.url, format="envelope")
    items = [b'{"event_type":"a","payload":' + payload + b"}" for payload in AWKWARD]
    answer = tenant.http.post(BATCH, content=b'{"events":[' + b",".join(items) + b"]}")
    assert answer.status_code == 202, answer.text
    requests = received.wait_for(len(AWKWARD))
    for payload in AWKWARD:
        assert any(one.body.endswith(b'"data":' + payload + b"}") for one in requests), payload


def test_a_payload_may_be_as_large_as_the_limit_however_it_comes(
    tenant: Tenant, received: Receiver
) -> None:
    tenant.subscribe(received.url)
    payload = b'"' + b"x" * (256 * 1024 - 2) + b'"'
    whole = b'{"event_type":"a","payload":%b}' % payload
    tenant.ask(202, "POST", EVENTS, content=whole)
    pieces = (whole[at : at + 10_000] for at in range(0, len(whole), 10_000))
    tenant.ask(202, "POST", EVENTS, content=pieces)
    assert [one.body for one in received.wait_for(2)] == [payload, payload]
    over = b'{"event_type":"a","payload":"x%b}' % payload[1:]
    tenant.refused(413, "POST", EVENTS, content=over)
    assert len(listed(tenant)) == 2


def test_what_an_event_carries_is_kept_and_shown(tenant: Tenant, received: Receiver) -> None:
    target = tenant.subscribe(received.url, owner="o-1")
    tenant.subscribe(received.url, owner="o-2")
    carried: dict[str, Any] = {
        "ordering_key": "card-7",
        "occurred_at": "2026-01-02T03:04:05.000006Z",
        "owner": "o-1",
        "user": "u",
        "request_id": "r",
        "platform": "p",
        "label": "l",
        "resource": {"type": "card", "id": "7"},
        "related_resources": [{"type": "account", "id": "8"}],
        "metadata": {"k": "v"},
        "targets": [target],
    }
    token = tenant.post(**carried)
    shown = tenant.ask(200, "GET", f"{EVENTS}/{token}")
    assert {name: shown[name] for name in carried} == carried
    tenant.settled(token, "delivered")
    page = tenant.ask(200, "GET", f"{EVENTS}/{token}/deliveries")
    assert [one["event_subscription_token"] for one in page["data"]] == [target]


def test_an_owners_events_go_to_its_subscriptions_and_to_those_of_all(
    tenant: Tenant, received: Receiver
) -> None:
    mine = tenant.subscribe(received.url, owner="me")
    tenant.subscribe(received.url, owner="other")
    everyones = tenant.subscribe(received.url)
    cards = tenant.subscribe(received.url, event_types=["card.*"])
    for event_type, owner, wanted in (
        ("card.created", "me", {mine, everyones, cards}),
        ("cards", None, {everyones}),
        ("account.created", "me", {mine, everyones}),
    ):
        token = tenant.post(event_type, owner=owner)
        page = tenant.ask(200, "GET", f"{EVENTS}/{token}/deliveries")["data"]
        assert {one["event_subscription_token"] for one in page} == wanted


def test_a_strict_project_takes_the_types_of_its_catalogue_alone(site: Any) -> None:
    tenant = site.tenant(strict_types=True)
    catalogue = {"event_types": [{"name": "card.created", "example": {"a": 1}}]}
    tenant.ask(200, "PUT", "/v1/event_types", json=catalogue)
    tenant.post("card.created")
    unknown = {"event_type": "card.updated", "payload": 1}
    assert tenant.refused(400, "POST", EVENTS, json=unknown) == ["event_type"]
    body = {"events": [EVENT, unknown]}
    assert tenant.refused(422, "POST", BATCH, json=body) == ["events[1].event_type"]
    assert len(listed(tenant)) == 1


def test_thin_deliveries_name_the_event_and_hold_nothing_of_it(
    tenant: Tenant, received: Receiver
) -> None:
    tenant.subscribe(received.url, format="thin")
    token = tenant.post(payload={"secret": 1}, resource={"type": "card", "id": "7"})
    (request,) = received.wait_for(1)
    body = json.loads(request.body)
    assert (body["id"], body["type"]) == (token, "card.created")
    assert body["resource"] == {"type": "card", "id": "7"}
    assert b"secret" not in request.body
