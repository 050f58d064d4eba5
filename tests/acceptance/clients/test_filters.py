"""Content filters on a real server: who is owed what, by each way in which events are owed."""

from typing import Any

import httpx
import pytest

from tests.support.receiver import Receiver
from tests.support.site import Site, Tenant, eventually, running

SUBSCRIPTIONS = "/v1/event_subscriptions"
TEST = "/v1/filters/test"
LARGE = {"body": {"total": {"$gte": 100}}}


def ids_of(received: Receiver) -> set[str]:
    return {request.headers["webhook-id"] for request in received.requests}


def post(tenant: Tenant, payload: Any, headers: dict[str, str] | None = None, **more: Any) -> str:
    body = {"event_type": "order.paid", "payload": payload, **more}
    return str(tenant.ask(202, "POST", "/v1/events", json=body, headers=headers or {})["token"])


def replays_done(tenant: Tenant) -> None:
    eventually(
        lambda: tenant.ask(200, "GET", "/v1/replays")["data"],
        lambda found: all(one["state"] == "done" for one in found),
    )


def test_only_what_matches_is_owed(tenant: Tenant, received: Receiver) -> None:
    tenant.subscribe(received.url, event_types=["order.*"], filter=LARGE)
    good = [post(tenant, {"total": total}) for total in (100, 100.5, 10**30)]
    bad = [post(tenant, payload) for payload in ({"total": 99.99}, {"total": "500"}, {}, [500])]
    for token in good:
        assert tenant.settled(token, "delivered") == [("delivered", None)]
    assert [tenant.deliveries(token) for token in bad] == [[]] * len(bad)
    assert ids_of(received) == set(good)


def test_each_event_of_a_batch_is_asked_for_itself(tenant: Tenant, received: Receiver) -> None:
    tenant.subscribe(received.url, filter=LARGE)
    events = [{"event_type": "a", "payload": {"total": n}} for n in (50, 100, 150)]
    answer = tenant.ask(202, "POST", "/v1/events/batch", json={"events": events})
    tokens = [one["token"] for one in answer["data"]]
    received.wait_for(2)
    assert ids_of(received) == set(tokens[1:])
    assert tenant.deliveries(tokens[0]) == []


def test_a_changed_filter_holds_for_what_comes_then(tenant: Tenant, received: Receiver) -> None:
    subscription = tenant.subscribe(received.url, filter=LARGE)
    path = f"{SUBSCRIPTIONS}/{subscription}"
    assert tenant.ask(200, "GET", path)["filter"] == LARGE
    small = {"body": {"total": {"$lt": 100}}}
    body = {"url": received.url, "filter": small}
    assert tenant.ask(200, "PATCH", path, json=body)["filter"] == small
    first, second = post(tenant, {"total": 500}), post(tenant, {"total": 5})
    kept = tenant.ask(200, "PATCH", path, json={"url": received.url, "description": "d"})
    assert kept["filter"] == small
    removed = tenant.ask(200, "PATCH", path, json={"url": received.url, "filter": None})
    assert removed["filter"] is None
    third = post(tenant, {"total": 500})
    received.wait_for(2)
    assert ids_of(received) == {second, third}
    assert tenant.deliveries(first) == []


def test_a_filter_stays_as_it_was_sent(tenant: Tenant) -> None:
    text = '{ "body": {"n":1.10, "m": 123456789012345678901234567890} }'
    answer = tenant.http.post(
        SUBSCRIPTIONS,
        content=f'{{"url":"https://a.example/","filter":{text}}}',
        headers={"content-type": "application/json"},
    )
    assert answer.status_code == 201
    assert f'"filter":{text},' in answer.text
    shown = tenant.http.get(f"{SUBSCRIPTIONS}/{answer.json()['token']}")
    assert shown.text == answer.text


def test_headers_of_the_request_are_asked_and_only_those_are_kept(
    tenant: Tenant, received: Receiver
) -> None:
    before = post(tenant, 1, {"X-Region": "eu"})
    by_headers = {"headers": {"X-Region": "eu"}, "path": "/v1/events"}
    tenant.subscribe(received.url, filter=by_headers)
    good = post(tenant, 1, {"x-region": "eu", "x-other": "o", "cookie": "a=b"})
    bad = post(tenant, 1, {"x-region": "us"})
    bare = post(tenant, 1)
    received.wait_for(1)
    assert tenant.deliveries(bad) == tenant.deliveries(bare) == tenant.deliveries(before) == []
    shown = {
        token: tenant.ask(200, "GET", f"/v1/events/{token}") for token in (before, good, bad, bare)
    }
    assert shown[good]["headers"] == {"x-region": "eu"}
    assert shown[bad]["headers"] == {"x-region": "us"}
    assert "headers" not in shown[bare]
    assert "headers" not in shown[before]
    assert shown[good]["path"] == "/v1/events"


def test_cloudevents_are_filtered_like_others(tenant: Tenant, received: Receiver) -> None:
    tenant.subscribe(received.url, filter={**LARGE, "headers": {"ce-source": "/shop"}})
    tokens = []
    for number, (source, data) in enumerate([("/shop", "200"), ("/shop", "20"), ("/bar", "200")]):
        answer = tenant.http.post(
            "/v1/events",
            content=f'{{"total":{data}}}',
            headers={
                "content-type": "application/json",
                "ce-specversion": "1.0",
                "ce-id": f"i{number}",
                "ce-source": source,
                "ce-type": "order.paid",
            },
        )
        assert answer.status_code == 202, answer.text
        tokens.append(answer.json()["token"])
    received.wait_for(1)
    assert ids_of(received) == {tokens[0]}
    assert tenant.deliveries(tokens[1]) == tenant.deliveries(tokens[2]) == []


def test_what_is_no_json_matches_no_condition_on_it(tenant: Tenant, received: Receiver) -> None:
    tenant.subscribe(received.url, filter={"body": {"a": {"$neq": 1}}})
    tenant.subscribe(received.url)
    answer = tenant.http.post(
        "/v1/events",
        content=b"\xff\x00",
        headers={
            "content-type": "application/octet-stream",
            "ce-specversion": "1.0",
            "ce-id": "i",
            "ce-source": "/s",
            "ce-type": "t",
        },
    )
    assert answer.status_code == 202, answer.text
    assert tenant.settled(answer.json()["token"], "delivered") == [("delivered", None)]


def test_targets_and_examples_are_owed_whatever_the_filter_says(
    tenant: Tenant, received: Receiver
) -> None:
    subscription = tenant.subscribe(received.url, filter=LARGE)
    aimed = post(tenant, {"total": 1}, targets=[subscription])
    tenant.ask(202, "POST", f"/v1/simulate/event_subscriptions/{subscription}/send_example")
    assert aimed in {request.headers["webhook-id"] for request in received.wait_for(2)}


def test_a_replay_of_what_is_missing_brings_what_matches(
    tenant: Tenant, received: Receiver
) -> None:
    tokens = [post(tenant, {"total": total}) for total in range(0, 300, 20)]
    subscription = tenant.subscribe(received.url, filter=LARGE)
    tenant.ask(202, "POST", f"{SUBSCRIPTIONS}/{subscription}/replay_missing")
    replays_done(tenant)
    assert {one for one in tokens if tenant.deliveries(one)} == set(tokens[5:])
    received.wait_for(10)
    assert ids_of(received) == set(tokens[5:])


def test_a_recovery_goes_by_the_present_filter(tenant: Tenant, received: Receiver) -> None:
    subscription = tenant.subscribe(received.url, retry_schedule=[])
    received.status = 500
    tokens = [post(tenant, {"total": total}) for total in (50, 150)]
    for token in tokens:
        tenant.settled(token, "failed")
    received.status = 204
    body = {"url": received.url, "filter": LARGE}
    tenant.ask(200, "PATCH", f"{SUBSCRIPTIONS}/{subscription}", json=body)
    tenant.ask(202, "POST", f"{SUBSCRIPTIONS}/{subscription}/recover")
    assert len(tenant.settled(tokens[1], "failed", "delivered")) == 2
    replays_done(tenant)
    assert len(tenant.deliveries(tokens[0])) == 1


def test_a_filter_outlives_the_server(
    tmp_path_factory: pytest.TempPathFactory, received: Receiver
) -> None:
    folder = tmp_path_factory.mktemp("filters")
    with running(folder) as (_, site):
        tenant = site.tenant()
        tenant.subscribe(received.url, filter={**LARGE, "headers": {"x-a": "b"}})
    with running(folder) as (_, site):
        tenant = site.at(tenant)
        good = post(tenant, {"total": 100}, {"x-a": "b"})
        bad = post(tenant, {"total": 10}, {"x-a": "b"})
        tenant.settled(good, "delivered")
        assert tenant.deliveries(bad) == []


@pytest.mark.parametrize(
    "wrong, path",
    [
        (5, "filter"),
        ([], "filter"),
        ({"total": 5}, "filter.total"),
        ({"body": {"a": {"$like": "x"}}}, "filter.body.a.$like"),
        ({"body": {"a": {"$in": 5}}}, "filter.body.a.$in"),
        ({"body": {"$or": [{"a": 1}, {"b": {"$regex": "(?<=a)b"}}]}},
         "filter.body.$or[1].b.$regex"),
        ({"body": {"a": {"$regex": "(x{100}){100}"}}}, "filter.body.a.$regex"),
        ({"body": {"a..b": 1}}, "filter.body.a..b"),
        ({"headers": {"Authorization": "x"}}, "filter.headers.Authorization"),
        ({"query": {"a": 5}}, "filter.query.a"),
        ({"body": {f"f{n}": n for n in range(101)}}, "filter.body.f100"),
        ({"body": {"a": "x" * 17_000}}, "filter"),
    ],
)  # fmt: skip
def test_what_cannot_be_obeyed_is_refused_when_it_is_set(
    tenant: Tenant, wrong: Any, path: str
) -> None:
    body = {"url": "https://a.example/", "filter": wrong}
    assert tenant.refused(422, "POST", SUBSCRIPTIONS, json=body) == [path]
    token = tenant.subscribe("https://a.example/", filter=LARGE)
    assert tenant.refused(422, "PATCH", f"{SUBSCRIPTIONS}/{token}", json=body) == [path]
    assert tenant.ask(200, "GET", f"{SUBSCRIPTIONS}/{token}")["filter"] == LARGE
    tried = {"filter": wrong, "event": {}}
    assert tenant.refused(422, "POST", TEST, json=tried) == [path]


@pytest.mark.proves("native", "POST /v1/filters/test")
def test_a_filter_is_tried_out(tenant: Tenant, stranger: Tenant) -> None:
    token = post(tenant, {"total": 5}, metadata={"m": "n"})

    def tried(event: Any, **more: Any) -> tuple[bool, str | None]:
        answer = tenant.ask(200, "POST", TEST, json={"filter": LARGE, "event": event, **more})
        assert answer["match"] is (answer["mismatch"] is None)
        return answer["match"], answer["reason"]

    assert tried({"payload": {"total": 500}}) == (True, None)
    assert tried(token) == (False, "body.total is 5, not at least 100")
    assert tried({"payload": {}}) == (False, "body.total is absent")
    other = (False, 'event_type is "order.paid", which is none of ["book.*"]')
    assert tried(token, event_types=["book.*"]) == other
    body = {"filter": LARGE, "event": token}
    assert stranger.refused(404, "POST", TEST, json=body) == []
    assert tenant.ask(404, "POST", TEST, json={"filter": LARGE, "event": "evt_x"})
    assert tenant.refused(400, "POST", TEST, json={"filter": LARGE}) == ["event"]


def test_who_may_not_read_events_may_not_try_filters_on_them(site: Site, tenant: Tenant) -> None:
    key = site.key(tenant.project, scopes=["subscriptions.write"])
    with httpx.Client(base_url=site.url, headers={"authorization": key}) as client:
        assert client.post(TEST, json={"filter": {}, "event": {}}).status_code == 403
