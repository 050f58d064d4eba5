"""What Convoy's API refuses, each in its envelope; and requests of every kind."""

import os
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.convoy import Convoy
from tests.support.receiver import Receiver
from tests.support.site import Site, Tenant

EXAMPLES = 10_000 if os.environ.get("HYPOTHESIS_PROFILE") == "fuzz" else 500
UNKNOWN = "01ARZ3NDEKTSV4RRFFQ69G5FAV"
EVENT = {"endpoint_id": UNKNOWN, "event_type": "a", "data": 1}
ENDPOINT = {"name": "e", "url": "http://127.0.0.1:9/x"}
META = {"is_enabled": True, "url": "https://10.0.0.1/x", "event_type": ["endpoint.created"]}
SUBSCRIPTION = {"name": "s", "endpoint_id": UNKNOWN}

ERRORS: list[tuple[str, str, Any, int, str]] = [
    ("PUT", "", {"name": ""}, 400, "name: "),
    ("PUT", "", {"config": {"x": 1}}, 400, "config: "),
    ("PUT", "", {"config": {"strategy": {"type": "odd"}}}, 400, "config: "),
    ("PUT", "", {"config": {"search_policy": "1h"}}, 400, "config.search_policy: "),
    ("POST", "/endpoints", {"name": "e"}, 400, "url: Required"),
    ("POST", "/endpoints", {**ENDPOINT, "url": "ftp://x"}, 400, "url: "),
    ("POST", "/endpoints", {**ENDPOINT, "url": "https://10.0.0.1/x"}, 400, "url: "),
    ("POST", "/endpoints", {**ENDPOINT, "x": 1}, 400, "x: Unknown field"),
    ("POST", "/endpoints", {**ENDPOINT, "rate_limit": 5}, 400, "rate_limit: "),
    ("POST", "/endpoints", {**ENDPOINT, "http_timeout": 121}, 400, "http_timeout: "),
    ("POST", "/endpoints", {**ENDPOINT, "content_type": "text/plain"}, 400, "content_type: "),
    ("POST", "/endpoints", {**ENDPOINT, "authentication": {"type": "x"}}, 400, "authentication"),
    ("POST", "/endpoints", {**ENDPOINT, "mtls_client_cert": {"a": 1}}, 400, "mtls_client_cert: "),
    ("POST", "/endpoints", {**ENDPOINT, "slack_webhook_url": "x"}, 400, "slack_webhook_url: "),
    ("POST", "/endpoints", {**ENDPOINT, "teams_webhook_url": "x"}, 400, "teams_webhook_url: "),
    ("POST", "/endpoints", {**ENDPOINT, "support_email": "x"}, 400, "support_email: "),
    ("PUT", "", {"config": {"meta_event": META}}, 400, "config.meta_event.url: "),
    ("GET", f"/meta-events/{UNKNOWN}", None, 404, "meta event not found"),
    ("PUT", "/meta-events/nonsense/resend", None, 404, "meta event not found"),
    ("GET", "/meta-events?q=x", None, 400, "q: is not known"),
    ("GET", f"/endpoints/{UNKNOWN}", None, 404, "Resource not found"),
    ("GET", "/endpoints/nonsense", None, 404, "Resource not found"),
    ("GET", "/endpoints?x=1", None, 400, "x: is not known"),
    ("PUT", f"/endpoints/{UNKNOWN}", ENDPOINT, 404, "Resource not found"),
    ("DELETE", f"/endpoints/{UNKNOWN}", None, 404, "Resource not found"),
    ("PUT", f"/endpoints/{UNKNOWN}/pause", None, 404, "Resource not found"),
    ("POST", f"/endpoints/{UNKNOWN}/activate", None, 404, "Resource not found"),
    ("PUT", f"/endpoints/{UNKNOWN}/expire_secret", {"expiration": -1}, 400, "expiration: "),
    ("PUT", f"/endpoints/{UNKNOWN}/expire_secret", {}, 404, "Resource not found"),
    ("POST", "/subscriptions", {"name": "s"}, 400, "endpoint_id: Required"),
    ("POST", "/subscriptions", SUBSCRIPTION, 400, "failed to find endpoint by id"),
    ("POST", "/subscriptions", {**SUBSCRIPTION, "endpoint_id": ""}, 400, "please provide an"),
    ("GET", f"/subscriptions/{UNKNOWN}", None, 404, "failed to find subscription"),
    ("PUT", f"/subscriptions/{UNKNOWN}", {}, 404, "failed to find subscription"),
    ("DELETE", f"/subscriptions/{UNKNOWN}", None, 404, "failed to find subscription"),
    ("PUT", f"/subscriptions/{UNKNOWN}/toggle_status", None, 404, "failed to find subscription"),
    ("GET", f"/subscriptions/{UNKNOWN}/filters", None, 404, "failed to find subscription"),
    ("POST", "/subscriptions/test_filter", {"request": {}}, 400, "schema: Required"),
    (
        "POST",
        "/subscriptions/test_filter",
        {"request": {}, "schema": {"body": {"a": {"$x": 1}}}},
        400,
        "filter.body.a.$x: ",
    ),
    ("POST", "/subscriptions/test_function", {"payload": 1, "function": "x"}, 400, "function"),
    ("POST", "/events", {**EVENT, "endpoint_id": ""}, 400, "please provide an endpoint ID"),
    ("POST", "/events", EVENT, 400, "endpoint not found"),
    ("POST", "/events", {"app_id": "none", **EVENT, "endpoint_id": None}, 400, "app ID has no"),
    ("POST", "/events/fanout", {"event_type": "a", "data": 1}, 400, "please provide an owner id"),
    ("POST", "/events/broadcast", {"event_type": "a"}, 400, "please provide your data"),
    ("POST", "/events/broadcast", {"data": 1}, 400, "please provide an event type"),
    ("POST", "/events/broadcast", {"event_type": "a b", "data": 1}, 400, "event_type: "),
    ("POST", "/events/dynamic", {"event_type": "a", "data": 1}, 400, "please provide a url"),
    ("POST", "/events/dynamic", {"event_type": "a", "data": 1, "url": "x"}, 400, "url: "),
    ("GET", f"/events/{UNKNOWN}", None, 404, "event not found"),
    ("PUT", f"/events/{UNKNOWN}/replay", None, 400, "event not found"),
    ("GET", "/events?startDate=x", None, 400, "please specify a startDate in the format"),
    ("GET", "/events?perPage=0", None, 400, "perPage: "),
    ("GET", "/events?next_page_cursor=x", None, 400, "next_page_cursor: "),
    ("GET", "/events?sort=x", None, 400, "sort: "),
    ("GET", "/events?endpointId=x", None, 404, "Resource not found"),
    ("GET", "/events?body=x", None, 400, "body: "),
    ("POST", "/events/batchreplay?query=x", None, 400, "batch replay does not support"),
    ("GET", f"/eventdeliveries/{UNKNOWN}", None, 404, "event delivery not found"),
    ("PUT", f"/eventdeliveries/{UNKNOWN}/resend", None, 404, "event delivery not found"),
    ("GET", f"/eventdeliveries/{UNKNOWN}/deliveryattempts", None, 404, "event delivery not found"),
    ("GET", "/eventdeliveries?status=x", None, 400, "status: "),
    ("POST", "/eventdeliveries/forceresend", {"ids": []}, 400, "ids: "),
    ("POST", "/eventdeliveries/batchretry?status=Success", None, 400, "status: "),
    ("POST", "/onboard", {"items": []}, 400, "at least one item is required"),
    ("POST", "/onboard?dry_run=x", {"items": [{}]}, 400, "dry_run: "),
    ("GET", "/portal-links", None, 400, "portal links are not supported yet"),
    ("PUT", f"/portal-links/{UNKNOWN}/revoke", None, 400, "portal links are not supported yet"),
    ("GET", "/nothing", None, 404, "Resource not found"),
    ("PATCH", "/events", None, 405, "Method Not Allowed"),
]


def test_each_mistake_has_its_answer(convoy: Convoy) -> None:
    for method, path, body, status, said in ERRORS:
        options = {} if body is None else {"json": body}
        message = convoy.refused(status, method, path, **options)
        assert message.startswith(said), (method, path, body, message)


def test_whoever_may_not_is_told_so(site: Site, tenant: Tenant, convoy: Convoy) -> None:
    for key, said in ((None, "Authentication required"), ("CO.x.y", "authorization failed")):
        stranger = convoy.at(convoy.project, key)
        for method, path, *_ in ERRORS[:-2]:
            assert stranger.refused(401, method, path, json={}) == said
    lacking = site.key(tenant.project, scopes=["subscriptions.read"], api="convoy")
    reader = convoy.at(convoy.project, lacking)
    for method, path, scope in (
        ("POST", "/events", "events.write"),
        ("GET", "/events", "events.read"),
        ("POST", "/endpoints", "subscriptions.write"),
        ("PUT", "", "subscriptions.write"),
        ("DELETE", "", "admin"),
    ):
        message = reader.refused(403, method, path, json={})
        assert message == f"The API key lacks the scope {scope}."
    shown = reader.ask(200, "GET", "")
    assert shown["uid"] == convoy.project
    huge = b" " * 2**21
    convoy.refused(413, "POST", "/events", content=huge)
    convoy.refused(415, "POST", "/events", content=b"1", headers={"content-encoding": "gzip"})
    convoy.refused(415, "POST", "/endpoints", content=b"a=1", headers={"content-type": "text/x"})


def test_projects_see_nothing_of_each_other(
    site: Site, stranger: Tenant, convoy: Convoy, received: Receiver
) -> None:
    endpoint = convoy.endpoint(received.url)
    subscription, event = convoy.subscribe(endpoint), convoy.send(endpoint)
    (delivery,) = convoy.settled(1, eventId=event)
    other = Convoy(site, stranger)
    try:
        # The project of the path is not asked: the key's is meant.
        at = convoy.at(convoy.project, other.key)
        for path in (
            f"/endpoints/{endpoint}",
            f"/subscriptions/{subscription}",
            f"/events/{event}",
            f"/eventdeliveries/{delivery['uid']}",
            f"/eventdeliveries/{delivery['uid']}/deliveryattempts",
        ):
            at.refused(404, "GET", path)
        at.refused(400, "PUT", f"/events/{event}/replay")
        at.refused(404, "DELETE", f"/endpoints/{endpoint}")
        assert at.ask(200, "GET", "/events")["content"] == []
        assert at.ask(200, "GET", "/eventdeliveries")["content"] == []
        ids = {"ids": [delivery["uid"]]}
        answer = at.answer(200, "POST", "/eventdeliveries/forceresend", json=ids)
        assert answer["message"] == "0 successful, 1 failed"
    finally:
        other.close()


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**70), 2**70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["a", "*", UNKNOWN, "10s", "http://127.0.0.1:9/x", "linear", "$eq", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["body", "headers", "path", "$or", "$eq", "type", "n"])
            | st.text(max_size=4),
            inner,
            max_size=3,
        )
    ),
    max_leaves=6,
)
FIELDS = sorted(
    {field for _, _, body, *_ in ERRORS if isinstance(body, dict) for field in body}
    | {"idempotency_key", "custom_headers", "event_types", "filter_config", "retry_config"}
    | {"rate_limit_config", "delivery_mode", "secret", "owner_id", "payload", "function"}
)
QUERIES = ["perPage", "sort", "direction", "next_page_cursor", "startDate", "endDate", "status"]
PLACES = sorted({(method, path.partition("?")[0]) for method, path, *_ in ERRORS})


@given(
    place=st.sampled_from(PLACES),
    body=st.dictionaries(st.sampled_from(FIELDS), JSON, max_size=5) | JSON,
    query=st.dictionaries(
        st.sampled_from([*QUERIES, "endpointId", "query", "body", "q"]),
        st.text(max_size=8) | st.sampled_from(["1", "ASC", "prev", UNKNOWN, "2026-01-01T00:00:00"]),
        max_size=2,
    ),
)
@settings(max_examples=EXAMPLES, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_request_is_an_error_of_the_servers(
    convoy: Convoy, place: tuple[str, str], body: Any, query: dict[str, str]
) -> None:
    method, path = place
    options = {} if method == "GET" else {"json": body}
    response = convoy.http.request(method, f"{convoy.url}{path}", params=query, **options)
    assert response.status_code in {200, 201, 202, 400, 404, 405, 413}, response.text
    answer = response.json()
    assert answer["status"] is (response.status_code < 400)
    assert answer["message"]
    if response.status_code < 400:
        assert "data" in answer
