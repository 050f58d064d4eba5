"""Lithic's own client does all that it can, and every answer is as its vendor's contract has it."""

import json
from datetime import UTC, datetime, timedelta
from typing import Final

import lithic
import pytest

from tests.support.receiver import Receiver
from tests.support.site import Tenant, eventually

CARD: Final = "card.created"
DISPUTE: Final = "dispute.updated"
NOWHERE = "http://127.0.0.1:9/closed"
UNKNOWN_EVENT = "evt_01920000-0000-7000-8000-000000000000"
UNKNOWN = "ep_01920000-0000-7000-8000-000000000000"


@pytest.mark.proves("lithic", "GET /v1/events", "GET /v1/events/{event_token}")
def test_events_are_listed_and_read(tenant: Tenant) -> None:
    tokens = [tenant.post(CARD if n % 2 else DISPUTE, {"n": n}) for n in range(6)]
    events = tenant.sdk.events
    assert [one.token for one in events.list()] == tokens[::-1]
    cards = list(events.list(event_types=[CARD]))
    assert [one.token for one in cards] == tokens[::-1][::2]
    assert {one.event_type for one in cards} == {CARD}
    assert len(list(events.list(event_types=[CARD, DISPUTE]))) == 6
    assert events.list(with_content=True).data[0].payload == {"n": 5}
    assert events.list(with_content=False).data[0].payload == {}
    one = events.retrieve(tokens[2])
    assert (one.token, one.event_type, one.payload) == (tokens[2], DISPUTE, {"n": 2})


@pytest.mark.proves("lithic", "GET /v1/events")
def test_a_range_of_time_holds_its_begin_and_not_its_end(tenant: Tenant) -> None:
    tokens = [tenant.post() for _ in range(4)]
    events = tenant.sdk.events
    created = {one.token: one.created for one in events.list()}
    begin, end = created[tokens[1]], created[tokens[3]]
    assert [one.token for one in events.list(begin=begin, end=end)] == [tokens[2], tokens[1]]
    assert list(events.list(begin=begin, end=begin)) == []
    assert list(events.list(begin=datetime.now(UTC) + timedelta(hours=1))) == []


@pytest.mark.proves("lithic", "GET /v1/events")
def test_pages_of_events_are_walked_both_ways(tenant: Tenant) -> None:
    tokens = [tenant.post() for _ in range(7)][::-1]
    events = tenant.sdk.events
    first = events.list(page_size=3)
    assert ([one.token for one in first.data], first.has_more) == (tokens[:3], True)
    second = first.get_next_page()
    assert ([one.token for one in second.data], second.has_more) == (tokens[3:6], True)
    last = second.get_next_page()
    assert ([one.token for one in last.data], last.has_more) == (tokens[6:], False)
    assert [one.token for one in events.list(page_size=2, starting_after=tokens[1])] == tokens[2:]
    before = events.list(page_size=2, ending_before=tokens[5])
    assert ([one.token for one in before.data], before.has_more) == (tokens[3:5], True)
    # Each page is from newest to oldest, and the pages come nearest first.
    walked = [one.token for one in events.list(page_size=2, ending_before=tokens[5])]
    assert walked == [*tokens[3:5], *tokens[1:3], tokens[0]]
    between = events.list(starting_after=tokens[1], ending_before=tokens[5])
    assert [one.token for one in between.data] == tokens[2:5]


async def test_the_asynchronous_client_walks_the_pages(tenant: Tenant) -> None:
    tokens = [tenant.post() for _ in range(5)][::-1]
    async with tenant.async_sdk() as sdk:
        assert [one.token async for one in sdk.events.list(page_size=2)] == tokens
        made = await sdk.events.subscriptions.create(url=NOWHERE)
        await sdk.events.subscriptions.update(made.token, url=NOWHERE, disabled=True)
        assert (await sdk.events.subscriptions.retrieve(made.token)).disabled
        with pytest.raises(lithic.UnprocessableEntityError):
            await sdk.events.event_subscriptions.resend(made.token, event_token=tokens[0])
        await sdk.events.subscriptions.delete(made.token)


@pytest.mark.proves(
    "lithic",
    "GET /v1/events/{event_token}/attempts",
    "GET /v1/event_subscriptions/{event_subscription_token}/attempts",
)
def test_attempts_are_listed_by_event_and_by_subscription(
    tenant: Tenant, received: Receiver
) -> None:
    received.status, received.body = 500, "außer Betrieb".encode()
    failing = tenant.subscribe(received.url, retry_schedule=[0, 3600])
    closed = tenant.subscribe(NOWHERE, retry_schedule=[])
    token = tenant.post()
    events = tenant.sdk.events

    def attempts_of_failing() -> list[str]:
        return [one.status for one in events.subscriptions.list_attempts(failing)]

    wanted = ["PENDING", "FAILED", "FAILED"]
    eventually(attempts_of_failing, lambda found: found == wanted)
    eventually(lambda: [one.status for one in events.subscriptions.list_attempts(closed)])
    tenant.settled(token, "failed", "pending")
    failed = events.list_attempts(token, status="FAILED").data
    assert {one.event_subscription_token for one in failed} == {failing, closed}
    assert {one.event_token for one in failed} == {token}
    by_code = {one.response_status_code: one for one in failed}
    assert set(by_code) == {0, 500}
    assert (by_code[500].response, by_code[500].url) == ("außer Betrieb", received.url)
    assert "refused" in by_code[0].response.lower()
    (waiting,) = events.list_attempts(token, status="PENDING").data
    assert (waiting.response, waiting.response_status_code) == ("", 0)
    assert waiting.created > datetime.now(UTC) + timedelta(minutes=40)
    assert events.list_attempts(token, status="SUCCESS").data == []
    assert events.list_attempts(token, end=min(one.created for one in failed)).data == []


@pytest.mark.proves("lithic", "GET /v1/event_subscriptions/{event_subscription_token}/attempts")
def test_pages_of_attempts_are_walked_both_ways(tenant: Tenant, received: Receiver) -> None:
    subscription = tenant.subscribe(received.url)
    tokens = [tenant.post() for _ in range(5)]
    received.wait_for(5)
    for token in tokens:
        tenant.settled(token, "delivered")
    attempts = tenant.sdk.events.subscriptions.list_attempts
    all_of_them = list(attempts(subscription))
    assert {one.event_token for one in all_of_them} == set(tokens)
    assert {one.status for one in all_of_them} == {"SUCCESS"}
    created = [one.created for one in all_of_them]
    assert created == sorted(created, reverse=True)
    spelled = [one.token for one in all_of_them]
    assert [one.token for one in attempts(subscription, page_size=2)] == spelled
    back = attempts(subscription, page_size=2, ending_before=spelled[3])
    assert ([one.token for one in back.data], back.has_more) == (spelled[1:3], True)
    assert [one.token for one in back.get_next_page().data] == spelled[:1]
    of_event = tenant.sdk.events.list_attempts(tokens[0]).data
    assert [one.event_token for one in of_event] == [tokens[0]]


@pytest.mark.proves("lithic", "GET /v1/events/{event_token}/attempts")
def test_an_attempt_in_flight_is_shown_under_the_token_that_it_keeps(
    tenant: Tenant, received: Receiver
) -> None:
    received.gate.clear()
    tenant.subscribe(received.url)
    token = tenant.post()
    received.wait_for(1)
    (sending,) = tenant.sdk.events.list_attempts(token).data
    assert (sending.status, sending.response_status_code) == ("SENDING", 0)
    received.gate.set()
    tenant.settled(token, "delivered")
    (done,) = tenant.sdk.events.list_attempts(token).data
    assert (done.token, done.status, done.response_status_code) == (sending.token, "SUCCESS", 204)


@pytest.mark.proves(
    "lithic",
    "POST /v1/events/{event_token}/event_subscriptions/{event_subscription_token}/resend",
)
def test_an_event_is_sent_again_under_its_own_id(tenant: Tenant, received: Receiver) -> None:
    other = tenant.subscribe(received.url, event_types=[DISPUTE])
    subscription = tenant.subscribe(received.url, event_types=[CARD])
    token = tenant.post(CARD)
    received.wait_for(1)
    resend = tenant.sdk.events.event_subscriptions.resend
    resend(subscription, event_token=token)
    received.wait_for(2)
    # Also to a subscription whose filter does not want it: it was asked for.
    resend(other, event_token=token)
    requests = received.wait_for(3)
    assert {one.headers["webhook-id"] for one in requests} == {token}
    assert {one.body for one in requests} == {b'{"n":1}'}
    tenant.settled(token, "delivered", "delivered", "delivered")


@pytest.mark.proves(
    "lithic",
    "GET /v1/event_subscriptions",
    "POST /v1/event_subscriptions",
    "GET /v1/event_subscriptions/{event_subscription_token}",
    "PATCH /v1/event_subscriptions/{event_subscription_token}",
    "DELETE /v1/event_subscriptions/{event_subscription_token}",
)
def test_subscriptions_are_made_changed_and_deleted(tenant: Tenant) -> None:
    api = tenant.sdk.events.subscriptions
    bare = api.create(url="https://example.com/hooks")
    assert (bare.description, bare.disabled, bare.event_types) == ("", False, None)
    made = api.create(url=NOWHERE, description="d", disabled=True, event_types=[CARD, DISPUTE])
    assert (made.url, made.description, made.disabled) == (NOWHERE, "d", True)
    assert api.retrieve(made.token) == made
    assert [one.token for one in api.list()] == [made.token, bare.token]
    kept = api.update(made.token, url="https://example.com/")
    assert (kept.description, kept.disabled, kept.event_types) == ("d", True, [CARD, DISPUTE])
    assert api.update(made.token, url=NOWHERE, event_types=[CARD]).event_types == [CARD]
    nulled = {"event_types": None}
    assert api.update(made.token, url=NOWHERE, extra_body=nulled).event_types is None
    assert api.update(made.token, url=NOWHERE, event_types=[]).event_types is None
    enabled = api.update(made.token, url=NOWHERE, disabled=False, description="")
    assert (enabled.disabled, enabled.description) == (False, "")
    api.delete(made.token)
    with pytest.raises(lithic.NotFoundError):
        api.delete(made.token)
    assert [one.token for one in api.list()] == [bare.token]


@pytest.mark.proves("lithic", "GET /v1/event_subscriptions")
def test_pages_of_subscriptions_go_on_where_the_cursor_was_deleted(tenant: Tenant) -> None:
    api = tenant.sdk.events.subscriptions
    tokens = [api.create(url=NOWHERE).token for _ in range(5)][::-1]
    assert [one.token for one in api.list(page_size=2)] == tokens
    api.delete(tokens[1])
    rest = api.list(page_size=2, starting_after=tokens[1])
    assert ([one.token for one in rest.data], rest.has_more) == (tokens[2:4], True)
    assert [one.token for one in api.list(ending_before=tokens[1]).data] == tokens[:1]


@pytest.mark.proves("lithic", "POST /v1/event_subscriptions/{event_subscription_token}/recover")
def test_what_failed_is_recovered(tenant: Tenant, received: Receiver) -> None:
    received.status = 500
    subscription = tenant.subscribe(received.url, event_types=[CARD], retry_schedule=[])
    failed = []
    for _ in range(3):
        failed.append(tenant.post())
        tenant.settled(failed[-1], "failed")
    received.status = 204
    delivered = tenant.post()
    tenant.settled(delivered, "delivered")
    tenant.post(DISPUTE)
    first = tenant.sdk.events.retrieve(failed[1]).created
    api = tenant.sdk.events.subscriptions
    api.recover(subscription, begin=first)
    received.wait_for(6)
    api.recover(subscription)
    requests = received.wait_for(7)
    again = [one.headers["webhook-id"] for one in requests[4:]]
    assert sorted(again[:2]) == failed[1:], "the range begins with the second"
    assert again[2:] == failed[:1], "what was delivered since is not owed again"
    assert tenant.settled(failed[0], "delivered", "failed")


@pytest.mark.proves(
    "lithic",
    "POST /v1/event_subscriptions/{event_subscription_token}/replay_missing",
)
def test_what_was_missed_is_replayed(tenant: Tenant, received: Receiver) -> None:
    missed = [tenant.post(CARD, {"n": n + 1}) for n in range(3)]
    tenant.post(DISPUTE)
    subscription = tenant.subscribe(received.url, event_types=[CARD])
    had = tenant.post(CARD, {"n": 4})
    received.wait_for(1)
    api = tenant.sdk.events.subscriptions
    second = tenant.sdk.events.retrieve(missed[1]).created
    api.replay_missing(subscription, begin=second)
    received.wait_for(3)
    api.replay_missing(subscription)
    requests = received.wait_for(4)
    sent = [one.headers["webhook-id"] for one in requests]
    assert (sent[0], sorted(sent[1:3]), sent[3]) == (had, missed[1:], missed[0])
    last = tenant.post(CARD)
    assert received.wait_for(5)[4].headers["webhook-id"] == last, "and nothing twice"


@pytest.mark.proves(
    "lithic",
    "GET /v1/event_subscriptions/{event_subscription_token}/secret",
    "POST /v1/event_subscriptions/{event_subscription_token}/secret/rotate",
)
def test_the_secret_is_read_and_rotated(tenant: Tenant) -> None:
    api = tenant.sdk.events.subscriptions
    token = api.create(url=NOWHERE).token
    first = api.retrieve_secret(token).secret
    api.rotate_secret(token)
    second = api.retrieve_secret(token).secret
    assert first is not None
    assert second is not None
    assert first.startswith("whsec_")
    assert first != second
    for _ in range(9):
        api.rotate_secret(token)
    with pytest.raises(lithic.BadRequestError, match="10"):
        api.rotate_secret(token)


@pytest.mark.proves(
    "lithic",
    "POST /v1/simulate/event_subscriptions/{event_subscription_token}/send_example",
)
def test_examples_are_sent_to_one_subscription_and_marked(
    tenant: Tenant, received: Receiver
) -> None:
    subscription = tenant.subscribe(received.url, event_types=[DISPUTE])
    tenant.subscribe(received.url)
    api = tenant.sdk.events.subscriptions
    api.send_simulated_example(subscription)
    api.send_simulated_example(subscription, event_type=CARD)
    requests = received.wait_for(2)
    sent = {one.headers["webhook-id"]: json.loads(one.body)["event_type"] for one in requests}
    assert sorted(sent.values()) == [CARD, DISPUTE]
    secret = api.retrieve_secret(subscription).secret
    parsed = tenant.sdk.webhooks.unwrap(requests[0].body, requests[0].headers, secret=secret)
    assert parsed == json.loads(requests[0].body)
    for token in sent:
        assert tenant.ask(200, "GET", f"/v1/events/{token}")["example"] is True
        tenant.settled(token, "delivered")


@pytest.mark.proves(
    "lithic",
    "POST /v1/simulate/event_subscriptions/{event_subscription_token}/send_example",
)
def test_a_typed_example_is_what_the_client_parses(tenant: Tenant, received: Receiver) -> None:
    example = {"card_token": "c", "replacement_for": None, "event_type": CARD}
    entry = {"name": CARD, "description": "", "example": example}
    tenant.ask(200, "PUT", "/v1/event_types", json={"event_types": [entry]})
    api = tenant.sdk.events.subscriptions
    subscription = api.create(url=received.url).token
    api.send_simulated_example(subscription, event_type=CARD)
    (request,) = received.wait_for(1)
    secret = api.retrieve_secret(subscription).secret
    parsed = tenant.sdk.webhooks.parse(
        request.body.decode(), headers=request.headers, secret=secret
    )
    assert parsed.event_type == CARD
    assert parsed.to_dict() == example


def test_refusals_are_the_exceptions_of_the_client(tenant: Tenant, received: Receiver) -> None:
    events = tenant.sdk.events
    api = events.subscriptions
    with pytest.raises(lithic.BadRequestError, match="url"):
        api.create(url="http://example.com/plain")
    with pytest.raises(lithic.BadRequestError, match="page_size"):
        api.list(page_size=101)
    with pytest.raises(lithic.BadRequestError, match="starting_after"):
        events.list(starting_after="starting_after")
    with pytest.raises(lithic.BadRequestError, match="event_types"):
        events.list(event_types=[CARD] * 11)
    unknown = tenant.sdk.with_options(api_key="no-such-key")
    with pytest.raises(lithic.AuthenticationError, match="Could not find API key"):
        unknown.events.list()
    for ask in (api.retrieve, api.list_attempts, api.recover, api.replay_missing, api.delete):
        with pytest.raises(lithic.NotFoundError):
            ask(UNKNOWN)
    for ask_of_event in (events.retrieve, events.list_attempts):
        with pytest.raises(lithic.NotFoundError):
            ask_of_event(UNKNOWN_EVENT)
    disabled = api.create(url=received.url, disabled=True).token
    token = tenant.post()
    with pytest.raises(lithic.NotFoundError):
        events.event_subscriptions.resend(UNKNOWN, event_token=token)
    with pytest.raises(lithic.UnprocessableEntityError) as refusal:
        events.event_subscriptions.resend(disabled, event_token=token)
    assert isinstance(refusal.value.body, dict)
    assert set(refusal.value.body) == {"message", "debugging_request_id"}
    for send in (api.recover, api.replay_missing, api.send_simulated_example):
        with pytest.raises(lithic.UnprocessableEntityError):
            send(disabled)
