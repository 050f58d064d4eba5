"""Socotra's API on a real server: what is asked, how it is answered, and what is refused."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.program import ADMIN_KEY
from tests.support.receiver import Receiver
from tests.support.site import Site, Tenant, eventually
from tests.support.socotra import Client
from waypost.dialects.socotra.permissions import PERMISSIONS
from waypost.model import ids

URL = "https://hook.example/in"
NOWHERE = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
STRANGE = "00000000-0000-7000-8000-000000000000"
DEFAULT = {
    "alertEndpoint": None,
    "divert": False,
    "retryStrategy": None,
    "suspend": False,
    "triggers": ["4xx", "5xx", "timeout"],
}


def event_of(token: str) -> str:
    return ids.spell_ulid(ids.read(ids.EVENT, token))


def hook_of(token: str) -> str:
    return ids.spell_ulid(ids.read(ids.SUBSCRIPTION, token))


def test_a_change_removes_first_and_adds_then(socotra: Client) -> None:
    made = socotra.webhook(
        URL,
        eventTypes=["a", "b"],
        endpoint={"headers": {"x-a": ["1"], "x-b": ["2", "3"]}},
        failureHandling={"triggers": ["404", "5xx"], "divert": True},
    )
    path = f"/webhooks/{made['locator']}"
    assert socotra.ask("PATCH", path, json={}) == made
    changed = socotra.ask(
        "PATCH",
        path,
        json={
            "name": "another",
            "enabled": False,
            "removeEventTypes": ["a", "c"],
            "addEventTypes": ["c", "b"],
            "endpoint": {
                "removeHeaders": ["X-A"],
                "addHeaders": {"X-B": ["4"], "x-c": ["5"]},
                "secureSsl": False,
            },
            "failureHandling": {
                "removeTriggers": ["404", "timeout"],
                "addTriggers": ["timeout", "5xx"],
                "retryStrategy": {"type": "linear", "interval": 60},
                "alertEndpoint": {"url": "https://alert.example/", "secret": "s", "tag": "one"},
                "suspend": True,
            },
        },
    )
    alert = {
        "url": "https://alert.example/",
        "headers": {},
        "secureSsl": True,
        "hmacEnabled": False,
        "secret": "s",
        "tag": "one",
    }
    assert changed == {
        **made,
        "name": "another",
        "enabled": False,
        "eventTypes": ["b", "c"],
        "endpoint": {
            **made["endpoint"],
            "headers": {"X-B": ["4"], "x-c": ["5"]},
            "secureSsl": False,
        },
        "failureHandling": {
            "alertEndpoint": alert,
            "divert": True,
            "retryStrategy": {"type": "linear", "interval": 60, "attempts": 3},
            "suspend": True,
            "triggers": ["5xx", "timeout"],
        },
    }
    assert socotra.ask("GET", path) == changed
    moved = {"url": "https://alert.example/new", "hmacEnabled": True}
    again = socotra.ask(
        "PATCH",
        path,
        json={
            "failureHandling": {
                "alertEndpoint": moved,
                "retryStrategy": {"attempts": 9},
                "divert": False,
            }
        },
    )
    handling = again["failureHandling"]
    assert handling["alertEndpoint"] == {**alert, **moved}, "its secret goes along"
    assert handling["retryStrategy"]["attempts"] == 9
    assert (handling["divert"], handling["suspend"]) == (False, True)
    flags = {"removeAlertEndpoint": True, "removeRetryStrategy": True}
    bare = socotra.ask("PATCH", path, json={"failureHandling": flags})["failureHandling"]
    assert (bare["alertEndpoint"], bare["retryStrategy"], bare["suspend"]) == (None, None, True)
    both = {"removeFailureHandling": True, "failureHandling": {"divert": True}}
    reset = socotra.ask("PATCH", path, json=both)["failureHandling"]
    assert reset == {**DEFAULT, "divert": True}
    reset = socotra.ask("PATCH", path, json={"removeFailureHandling": True})["failureHandling"]
    assert reset == DEFAULT


def test_a_webhook_that_is_off_gets_nothing_and_a_deleted_one_is_gone(
    socotra: Client, tenant: Tenant, received: Receiver
) -> None:
    made = socotra.webhook(received.url, enabled=False)
    path = f"/webhooks/{made['locator']}"
    assert tenant.deliveries(tenant.post()) == []
    socotra.ask("PATCH", path, json={"enabled": True})
    tenant.settled(tenant.post(), "delivered")
    socotra.ask("DELETE", path)
    for method, place in (("GET", path), ("DELETE", path), ("PATCH", f"{path}/unsuspend")):
        assert socotra.refused(404, method, place) == []
    assert tenant.deliveries(tenant.post()) == []
    assert len(received.requests) == 1


def test_the_list_is_of_webhooks_by_all_they_can_be_told_by(
    socotra: Client, tenant: Tenant
) -> None:
    a = socotra.webhook(URL, name="a", eventTypes=["a.b", "c"])
    b = socotra.webhook(URL, name="b", eventTypes=["c"], enabled=False)
    c = socotra.webhook(URL, name="a", eventTypes=["a_b"])
    native = tenant.subscribe(URL)

    def listed(**query: Any) -> tuple[list[Any], bool]:
        answer = socotra.ask("GET", "/webhooks/list", params=query)
        return answer["items"], answer["listCompleted"]

    for query, expected in (
        ({}, ([a, b, c], True)),
        ({"count": 2}, ([a, b], False)),
        ({"offset": 2, "count": 1}, ([c], True)),
        ({"offset": 3}, ([], True)),
        ({"name": "a"}, ([a, c], True)),
        ({"enabled": "false"}, ([b], True)),
        ({"suspended": "true"}, ([], True)),
        ({"suspended": "false", "name": "a", "count": 1}, ([a], False)),
        ({"active": "true"}, ([a, c], True)),
        ({"active": "false"}, ([b], True)),
        ({"eventTypes": ["c", "x"]}, ([a, b], True)),
        ({"eventTypes": "a_b"}, ([c], True)),
        ({"eventTypes": "b"}, ([], True)),
    ):
        assert listed(**query) == expected, query
    # What was made by another API is not in the list, and is found by its locator.
    shown = socotra.ask("GET", f"/webhooks/{hook_of(native)}")
    assert (shown["name"], shown["failureHandling"]["divert"]) == ("", True)
    (own,) = tenant.ask(200, "GET", "/v1/event_subscriptions", params={"page_size": 1})["data"]
    assert own["token"] == native


def test_extended_tells_how_each_fares(socotra: Client, tenant: Tenant, received: Receiver) -> None:
    socotra.webhook(received.url, failureHandling={"divert": True})
    tenant.settled(tenant.post(), "delivered")
    received.status = 500
    failed = tenant.post()
    tenant.settled(failed, "failed")
    (one,) = socotra.ask("GET", "/webhooks/list", params={"extended": "true"})["items"]
    assert one["deliveries"] == {"delivered": 1, "failed": 1, "cancelled": 0, "diverted": 1}
    assert one["lastFailure"]["eventLocator"] == event_of(failed)
    assert one["lastFailure"]["failureMessage"] == "status 500"
    assert one["backlog"] == {"size": 0, "exact": True, "oldestTimestamp": None}
    plain = socotra.ask("GET", "/webhooks/list")["items"][0]
    assert set(one) - set(plain) == {"deliveries", "lastFailure", "backlog"}


def test_events_are_found_by_their_request(socotra: Client, tenant: Tenant) -> None:
    uuid = "0190f0a0-0000-7000-8000-000000000001"
    locator = ids.spell_ulid(bytes.fromhex(uuid.replace("-", "")))
    named = [
        tenant.post(request_id=spelled)
        for spelled in (uuid, uuid.upper(), uuid.replace("-", ""), locator, locator.lower())
    ]
    tenant.post(request_id="something else")
    tenant.post(request_id=f"{uuid}0", metadata={"request_id": uuid})
    found = socotra.ask("GET", f"/events/request/{locator}")
    assert [one["locator"] for one in found] == [event_of(token) for token in named]
    assert {one["requestId"] for one in found} == {locator}
    assert socotra.ask("GET", f"/events/request/{NOWHERE}") == []
    # Its own id stands for a request that it does not name.
    alone = event_of(tenant.post())
    (one,) = socotra.ask("GET", f"/events/request/{alone}")
    assert (one["locator"], one["requestId"]) == (alone, alone)
    assert socotra.ask("GET", f"/events/request/{event_of(named[0])}") == []


def test_the_stream_is_read_on_and_on(socotra: Client, tenant: Tenant) -> None:
    events = [event_of(tenant.post("a" if n % 2 else "b")) for n in range(7)]

    def read(**query: Any) -> tuple[list[str], str]:
        page = socotra.ask("GET", "/events/list", params=query)
        return [one["locator"] for one in page["events"]], page["pagingToken"]

    found, token = read(pageSize=3)
    assert found == events[:3]
    found, token = read(pagingToken=token)
    assert found == events[3:6]
    found, token = read(pagingToken=token)
    assert found == events[6:]
    assert read(pagingToken=token)[0] == []
    later = event_of(tenant.post("b"))
    assert read(pagingToken=token)[0] == [later]
    found, token = read(type="a", pageSize=2)
    assert found == [events[1], events[3]]
    assert read(pagingToken=token)[0] == [events[5]], "what was asked for stays so"
    shown = [socotra.ask("GET", f"/events/{one}") for one in events]
    times = [one["timestamp"] for one in shown]
    assert times == sorted(times)
    assert read(startTimestamp=times[2], endTimestamp=times[4])[0] == events[2:4]
    assert read(endTimestamp=times[0])[0] == []


def test_users_and_payloads_of_all_kinds_have_their_place(socotra: Client, tenant: Tenant) -> None:
    def shown(**event: Any) -> Any:
        return socotra.ask("GET", f"/events/{event_of(tenant.post(**event))}")

    assert shown()["userLocator"] == socotra.tenant
    assert shown(user=STRANGE)["userLocator"] == STRANGE
    made = shown(user="u_1")["userLocator"]
    assert made == shown(user="u_1")["userLocator"] != shown(user="u_2")["userLocator"]
    assert shown(payload=[1, 2])["data"] == {"value": [1, 2]}
    headers = {
        "ce-id": "1",
        "ce-source": "/s",
        "ce-specversion": "1.0",
        "ce-type": "t",
        "content-type": "text/plain",
    }
    token = tenant.ask(202, "POST", "/v1/events", content=b"text", headers=headers)["token"]
    data = socotra.ask("GET", f"/events/{event_of(token)}")["data"]
    assert data == {"base64": "dGV4dA=="}


def create_token(site: Site, key: str = ADMIN_KEY, **body: Any) -> httpx.Response:
    by = Client(site.url, key, STRANGE)
    answer = by.http.post("/auth/users/tokens", json=body)
    by.close()
    return answer


def test_a_token_holds_its_tenants_and_permissions_until_it_expires(
    site: Site, tenant: Tenant, stranger: Tenant
) -> None:
    tenants = [one.project.removeprefix("prj_") for one in (tenant, stranger)]
    expires = (datetime.now(UTC) + timedelta(seconds=2)).isoformat().replace("+00:00", "Z")
    asked: dict[str, Any] = {
        "name": "robot",
        "expiresAt": expires,
        "permissions": ["events.read", "events.list"],
        "tenants": tenants,
    }
    made = create_token(site, **asked)
    assert made.status_code == 200, made.text
    answer = made.json()
    token = answer.pop("token")
    assert answer == asked
    held = tenant.post(), stranger.post()
    clients = [Client(site.url, token, one) for one in tenants]
    for own, other in itertools.permutations((0, 1)):
        found = clients[own].ask("GET", "/events/list")["events"]
        assert [one["locator"] for one in found] == [event_of(held[own])]
        clients[own].refused(404, "GET", f"/events/{event_of(held[other])}")
        clients[own].refused(403, "GET", f"/webhooks/{NOWHERE}")
    third = Client(site.url, token, site.tenant().project.removeprefix("prj_"))
    third.refused(403, "GET", "/events/list")
    assert tenant.http.get("/v1/events", headers={"authorization": token}).status_code == 403
    eventually(lambda: clients[0].send("GET", "/events/list").status_code, lambda one: one == 401)
    for one in (*clients, third):
        one.close()


GOOD: dict[str, Any] = {"name": "n", "permissions": ["events.read"], "tenants": [STRANGE]}
LATER = "2999-01-01T00:00:00Z"


@pytest.mark.parametrize(
    "wrong, blamed",
    [
        ({}, "tenants[0]"),
        ({"name": ""}, "name"),
        ({"name": None}, "name"),
        ({"permissions": []}, "permissions"),
        ({"permissions": "events.read"}, "permissions"),
        ({"tenants": []}, "tenants"),
        ({"tenants": ["x"]}, "tenants[0]"),
        ({"expiresAt": "soon"}, "expiresAt"),
        ({"surplus": 1}, "surplus"),
    ],
)
def test_a_token_that_cannot_be_made_is_refused(
    site: Site, wrong: dict[str, Any], blamed: str
) -> None:
    answer = create_token(site, **{**GOOD, **wrong})
    assert answer.status_code == 400, answer.text
    assert [one["path"] for one in answer.json()["errors"]] == [blamed]


def test_a_token_is_an_administrators_to_make(site: Site, tenant: Tenant, socotra: Client) -> None:
    here: dict[str, Any] = {**GOOD, "tenants": [socotra.tenant]}
    assert create_token(site, tenant.key, **here).status_code == 403
    assert create_token(site, "nobody", **here).status_code == 401
    for wrong, blamed in (
        ({"expiresAt": "2020-01-01T00:00:00Z"}, "expiresAt"),
        ({"expiresAt": "0001-01-01T00:00:00+23:59"}, "expiresAt"),
        ({"permissions": ["events.read", "policies.read"]}, "permissions[1]"),
    ):
        answer = create_token(site, **{**here, **wrong})
        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (400, blamed)


HOOK = f"/webhooks/{NOWHERE}"
BOX = f"{HOOK}/diverted"
NEEDED = [
    ("GET", "/events/list", {"events.read", "events.list"}),
    ("GET", f"/events/request/{NOWHERE}", {"events.read"}),
    ("GET", f"/events/{NOWHERE}", {"events.read"}),
    ("POST", "/webhooks", {"webhooks.write"}),
    ("GET", "/webhooks/list", {"webhooks.read", "webhooks.list"}),
    ("GET", HOOK, {"webhooks.read"}),
    ("PATCH", HOOK, {"webhooks.write"}),
    ("PATCH", f"{HOOK}/unsuspend", {"webhooks.write"}),
    ("DELETE", HOOK, {"webhooks.write"}),
    ("GET", BOX, {"diverted-events.read", "diverted-events.list"}),
    ("GET", f"{BOX}/{NOWHERE}", {"diverted-events.read"}),
    ("POST", f"{BOX}/{NOWHERE}/resend", {"diverted-events.resend"}),
    ("DELETE", f"{BOX}/{NOWHERE}", {"diverted-events.delete"}),
]


def test_each_operation_needs_its_permissions_and_no_other(site: Site, socotra: Client) -> None:
    def token(permissions: set[str]) -> dict[str, str]:
        granted = sorted(permissions)
        made = create_token(site, name="n", permissions=granted, tenants=[socotra.tenant])
        return {"authorization": f"Bearer {made.json()['token']}"}

    lacking = {one: token(set(PERMISSIONS) - {one}) for one in PERMISSIONS}
    for method, path, needed in NEEDED:
        body: dict[str, Any] = (
            {"json": {}} if method in {"POST", "PATCH"} and "resend" not in path else {}
        )
        answer = socotra.send(method, path, headers=token(needed), **body)
        assert answer.status_code in {200, 400, 404}, path
        for one in PERMISSIONS:
            answer = socotra.send(method, path, headers=lacking[one], **body)
            assert (answer.status_code == 403) == (one in needed), (path, one)


def test_who_may_not_change_a_webhook_sees_no_secret(site: Site, socotra: Client) -> None:
    endpoint = {"secret": "geheim", "headers": {"x-key": ["k", "l"]}}
    handling = {"alertEndpoint": {"url": URL, "secret": "auch"}}
    made = socotra.webhook(URL, endpoint=endpoint, failureHandling=handling)
    assert made["endpoint"]["secret"] == "geheim"
    assert made["failureHandling"]["alertEndpoint"]["secret"] == "auch"
    reads = ["webhooks.read", "webhooks.list"]
    token = create_token(site, name="n", permissions=reads, tenants=[socotra.tenant]).json()
    reader = Client(site.url, token["token"], socotra.tenant)
    one = reader.ask("GET", f"/webhooks/{made['locator']}")
    assert reader.ask("GET", "/webhooks/list")["items"] == [one]
    assert one["endpoint"]["secret"] == "***"
    assert one["endpoint"]["headers"] == {"x-key": ["***"]}
    assert one["failureHandling"]["alertEndpoint"]["secret"] == "***"
    reader.close()


def webhook(**wrong: Any) -> dict[str, Any]:
    body = {"name": "n", "enabled": True, "eventTypes": ["a"], "endpoint": {"url": URL}}
    return {name: value for name, value in {**body, **wrong}.items() if value is not ...}


ALERT = {"url": URL}
RETRY = {"type": "linear", "interval": 5, "attempts": 3}
MADE: list[tuple[dict[str, Any], str]] = [
    ({"name": ...}, "name"),
    ({"name": ""}, "name"),
    ({"name": 5}, "name"),
    ({"name": "a\x00"}, "name"),
    ({"enabled": ...}, "enabled"),
    ({"enabled": "yes"}, "enabled"),
    ({"eventTypes": ...}, "eventTypes"),
    ({"eventTypes": []}, "eventTypes"),
    ({"eventTypes": ["a b"]}, "eventTypes[0]"),
    ({"eventTypes": ["a"] * 501}, "eventTypes"),
    ({"endpoint": ...}, "endpoint"),
    ({"endpoint": {}}, "endpoint.url"),
    ({"endpoint": {"url": "ftp://x/"}}, "endpoint.url"),
    ({"endpoint": {"url": "http://10.0.0.1/"}}, "endpoint.url"),
    ({"endpoint": {"url": URL, "headers": {"host": ["x"]}}}, "endpoint.headers.host"),
    (
        {"endpoint": {"url": URL, "headers": {"socotra-signature": ["x"]}}},
        "endpoint.headers.socotra-signature",
    ),
    ({"endpoint": {"url": URL, "headers": {"x": "y"}}}, "endpoint.headers"),
    ({"endpoint": {"url": URL, "headers": {"x": []}}}, "endpoint.headers"),
    ({"endpoint": {"url": URL, "tag": "t"}}, "endpoint.tag"),
    ({"endpoint": {"url": URL, "secret": ""}}, "endpoint.secret"),
    ({"endpoint": {"url": URL, "surplus": 1}}, "endpoint.surplus"),
    ({"useAutomationPlugin": True}, "useAutomationPlugin"),
    ({"surplus": 1}, "surplus"),
    ({"failureHandling": {"triggers": ["600"]}}, "failureHandling.triggers[0]"),
    ({"failureHandling": {"triggers": ["5xx", "3xx"]}}, "failureHandling.triggers[1]"),
    ({"failureHandling": {"triggers": ["²²²"]}}, "failureHandling.triggers[0]"),
    ({"failureHandling": {"divert": "yes"}}, "failureHandling.divert"),
    ({"failureHandling": {"alertEndpoint": {}}}, "failureHandling.alertEndpoint.url"),
    (
        {"failureHandling": {"alertEndpoint": {"url": "nowhere"}}},
        "failureHandling.alertEndpoint.url",
    ),
    (
        {"failureHandling": {"alertEndpoint": {**ALERT, "tag": "t"}}},
        "failureHandling.alertEndpoint.tag",
    ),
    (
        {"failureHandling": {"alertEndpoint": {**ALERT, "headers": {"a b": ["c"]}}}},
        "failureHandling.alertEndpoint.headers.a b",
    ),
    *(
        (
            {"failureHandling": {"retryStrategy": {**RETRY, name: wrong}}},
            f"failureHandling.retryStrategy.{name}",
        )
        for name, wrong in (
            ("type", "constant"),
            ("type", None),
            ("interval", 0),
            ("interval", 2**63),
            ("interval", 1.5),
            ("attempts", 0),
            ("attempts", 11),
        )
    ),
]


def test_each_mistake_in_a_webhook_is_named_and_nothing_is_made(socotra: Client) -> None:
    for wrong, blamed in MADE:
        answer = socotra.send("POST", "/webhooks", json=webhook(**wrong))
        assert answer.status_code == 400, (wrong, answer.text)
        assert [one["path"] for one in answer.json()["errors"]] == [blamed], wrong
    assert socotra.ask("GET", "/webhooks/list")["items"] == []


def test_each_mistake_in_a_change_is_named_and_nothing_is_changed(socotra: Client) -> None:
    made = socotra.webhook(URL)
    path = f"/webhooks/{made['locator']}"
    for wrong, blamed in (
        ({"removeEventTypes": ["card.created"]}, "eventTypes"),
        ({"addEventTypes": ["a b"]}, "eventTypes[1]"),
        ({"endpoint": {"url": "x"}}, "endpoint.url"),
        ({"endpoint": {"addHeaders": {"te": ["x"]}}}, "endpoint.headers.te"),
        ({"endpoint": {"tag": "t"}}, "endpoint.tag"),
        ({"endpoint": {"headers": {}}}, "endpoint.headers"),
        ({"failureHandling": {"addTriggers": ["x"]}}, "failureHandling.addTriggers[0]"),
        ({"failureHandling": {"alertEndpoint": {}}}, "failureHandling.alertEndpoint.url"),
        (
            {"failureHandling": {"retryStrategy": {"attempts": 1}}},
            "failureHandling.retryStrategy.type",
        ),
        (
            {"failureHandling": {"retryStrategy": {"type": "linear"}}},
            "failureHandling.retryStrategy.interval",
        ),
        ({"eventTypes": ["a"]}, "eventTypes"),
    ):
        assert socotra.refused(400, "PATCH", path, json=wrong) == [blamed], wrong
    assert socotra.ask("GET", path) == made


def test_each_other_mistake_has_its_answer(site: Site, socotra: Client, tenant: Tenant) -> None:
    hook = socotra.webhook(URL, enabled=False)["locator"]
    own = f"/webhooks/{hook}/diverted"
    token = socotra.ask("GET", "/events/list")["pagingToken"]
    for status, method, path, query, blamed in (
        (404, "GET", HOOK, {}, []),
        (404, "GET", BOX, {}, []),
        (404, "GET", f"{own}/{NOWHERE}", {}, []),
        (404, "DELETE", f"{own}/{NOWHERE}", {}, []),
        (404, "POST", f"{own}/{NOWHERE}/resend", {}, []),
        (404, "GET", f"/events/{NOWHERE}", {}, []),
        (400, "GET", "/webhooks/x", {}, ["webhookLocator"]),
        (400, "GET", f"{own}/{NOWHERE}0", {}, ["eventLocator"]),
        (400, "GET", f"/events/{STRANGE}", {}, ["locator"]),
        (400, "GET", f"/events/8{NOWHERE[1:]}", {}, ["locator"]),
        (400, "GET", own, {"offset": "-1"}, ["offset"]),
        (400, "GET", own, {"count": "0"}, ["count"]),
        (400, "GET", own, {"count": "1001"}, ["count"]),
        (400, "GET", own, {"offset": str(2**31)}, ["offset"]),
        (400, "GET", own, {"page": "1"}, ["page"]),
        (400, "GET", f"{own}/{NOWHERE}", {"x": "1"}, ["x"]),
        (400, "GET", "/webhooks/list", {"enabled": "maybe"}, ["enabled"]),
        (400, "GET", "/webhooks/list", {"count": "101", "extended": "true"}, ["count"]),
        (400, "GET", "/events/list", {"pageSize": "0"}, ["pageSize"]),
        (400, "GET", "/events/list", {"type": "a b"}, ["type"]),
        (400, "GET", "/events/list", {"startTimestamp": "now"}, ["startTimestamp"]),
        (
            400,
            "GET",
            "/events/list",
            {"startTimestamp": LATER, "endTimestamp": LATER},
            ["endTimestamp"],
        ),
        (400, "GET", "/events/list", {"pagingToken": token, "pageSize": "5"}, ["pagingToken"]),
        (400, "GET", "/events/list", {"pagingToken": "x"}, ["pagingToken"]),
        (400, "GET", "/events/list", {"pagingToken": ""}, ["pagingToken"]),
        (400, "GET", "/events/list", {"pagingToken": f"{token}AAAA"}, ["pagingToken"]),
        (405, "POST", HOOK, {}, []),
        (405, "PUT", "/webhooks", {}, []),
        (404, "GET", "/nothing", {}, []),
    ):
        assert socotra.refused(status, method, path, params=query) == blamed, (method, path, query)
    sent = {"content": b"{", "headers": {"content-type": "application/json"}}
    assert socotra.refused(400, "POST", "/webhooks", **sent) == []
    sent = {"content": b"{}", "headers": {"content-type": "text/plain"}}
    assert socotra.refused(415, "POST", "/webhooks", **sent) == []
    assert socotra.refused(413, "POST", "/webhooks", content=b" " * 2**21) == []
    assert socotra.refused(400, "POST", f"{own}/{NOWHERE}/resend", json={"a": 1}) == ["a"]
    for tenant_id, status in (("x", 400), (STRANGE, 403)):
        other = Client(site.url, tenant.key, tenant_id)
        assert other.send("GET", "/events/list").status_code == status
        other.close()


def test_whoever_is_nobody_is_told_so(socotra: Client) -> None:
    for method, path, _ in NEEDED:
        for token in ("Bearer", "nonsense", "Basic abc"):
            assert socotra.refused(401, method, path, headers={"authorization": token}) == []


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from([URL, NOWHERE, "linear", "5xx", "timeout", "404", "a.b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=3,
)
FIELDS = st.sampled_from(
    [
        *("name", "enabled", "eventTypes", "endpoint", "failureHandling", "useAutomationPlugin"),
        *("addEventTypes", "removeEventTypes", "removeFailureHandling", "surplus"),
    ]
)
INNER = st.dictionaries(
    st.sampled_from(
        [
            *("url", "headers", "addHeaders", "removeHeaders", "secureSsl", "hmacEnabled"),
            *("secret", "tag", "divert", "suspend", "triggers", "addTriggers", "removeTriggers"),
            *("retryStrategy", "alertEndpoint", "type", "interval", "attempts"),
        ]
    ),
    JSON,
)
BODY = st.dictionaries(FIELDS, JSON | INNER | st.dictionaries(st.just("alertEndpoint"), INNER))
SEGMENT = st.sampled_from([NOWHERE, "list", "x", STRANGE, "diverted", "%00"])
QUERY = st.dictionaries(
    st.sampled_from(
        [
            *("offset", "count", "name", "enabled", "extended", "eventTypes", "type"),
            *("startTimestamp", "endTimestamp", "pageSize", "pagingToken"),
        ]
    ),
    st.sampled_from(["", "1", "-1", "true", "a", LATER, "0001-01-01T00:00:00Z", "zMQA", "\x00"]),
    max_size=3,
)
PATHS = st.sampled_from(sorted({path for _, path, _ in NEEDED})) | st.builds(
    "/webhooks/{}/{}".format, SEGMENT, SEGMENT
)


@given(
    method=st.sampled_from(["GET", "POST", "PATCH", "DELETE"]),
    path=PATHS,
    body=BODY | JSON,
    query=QUERY,
)
@settings(max_examples=500, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_request_is_an_error_of_the_servers(
    socotra: Client, method: str, path: str, body: Any, query: dict[str, str]
) -> None:
    options: dict[str, Any] = {"json": body} if method in {"POST", "PATCH"} else {"params": query}
    response = socotra.send(method, path, **options)
    assert response.status_code in {200, 204, 400, 404, 405, 409}, response.text
