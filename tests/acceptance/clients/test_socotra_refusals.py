"""Socotra's API on a real server: what is refused, to whom, and in which words."""

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.site import Site, Tenant
from tests.support.socotra import Client, create_token
from waypost.dialects.socotra.permissions import PERMISSIONS

URL = "https://hook.example/in"
NOWHERE = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
STRANGE = "00000000-0000-7000-8000-000000000000"


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
@settings(
    max_examples=max(500, settings().max_examples),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_request_is_an_error_of_the_servers(
    socotra: Client, method: str, path: str, body: Any, query: dict[str, str]
) -> None:
    options: dict[str, Any] = {"json": body} if method in {"POST", "PATCH"} else {"params": query}
    response = socotra.send(method, path, **options)
    assert response.status_code in {200, 204, 400, 404, 405, 409}, response.text
