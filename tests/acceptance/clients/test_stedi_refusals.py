"""What Stedi's API refuses, and how: by its own exceptions, whatever is asked."""

from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.site import Site, Tenant, client
from tests.support.stedi import OPERATIONS, Client, check

CARD = "card.created"
NOWHERE = "https://127.0.0.1:9/closed"
UNKNOWN = "01920000-0000-7000-8000-000000000000"
EVENTS, DESTINATIONS = "/events", "/destinations"
GOOD = {"name": "n", "destinationUrl": NOWHERE, "eventTypes": [CARD]}


@pytest.fixture
def stedi(site: Site, tenant: Tenant) -> Iterator[Client]:
    """Have the vendor's client in a project."""
    made = Client(site.url, site.key(tenant.project, api="stedi"))
    yield made
    made.close()


QUERIES = [
    (EVENTS, {"pageSize": 0}, "/pageSize"),
    (EVENTS, {"pageSize": 1001}, "/pageSize"),
    (EVENTS, {"pageSize": "many"}, "/pageSize"),
    (EVENTS, {"pageToken": ""}, "/pageToken"),
    (EVENTS, {"pageToken": "x" * 1025}, "/pageToken"),
    (EVENTS, {"pageToken": "nonsense"}, "/pageToken"),
    (EVENTS, {"eventId": "evt_1"}, "/eventId"),
    (EVENTS, {"eventId": f"evt_{UNKNOWN}".upper()}, "/eventId"),
    (EVENTS, {"eventType": ""}, "/eventType"),
    (EVENTS, {"eventType": "x" * 256}, "/eventType"),
    (EVENTS, {"status": "LOST"}, "/status"),
    (EVENTS, {"status": ["PENDING", "pending"]}, "/status"),
    (EVENTS, {"created": "2026-01-01T00:00:00Z"}, "/created"),
    (EVENTS, {"created": "eq:2026-01-01T00:00:00Z"}, "/created"),
    (EVENTS, {"created": "gt:yesterday"}, "/created"),
    (EVENTS, {"created": "gt:2026-01-01"}, "/created"),
    (EVENTS, {"nonsense": "1"}, "/nonsense"),
    (DESTINATIONS, {"pageSize": 101}, "/pageSize"),
    (DESTINATIONS, {"pageToken": "nonsense"}, "/pageToken"),
    (DESTINATIONS, {"status": "PAUSED"}, "/status"),
    (DESTINATIONS, {"eventType": ""}, "/eventType"),
]


def test_a_bad_filter_is_named(stedi: Client) -> None:
    for path, params, blamed in QUERIES:
        expected = ("InvalidRequestException", [blamed])
        assert stedi.refused("GET", path, 400, params=params) == expected, params


FIELDS: list[tuple[dict[str, Any], str]] = [
    ({"name": ""}, "/name"),
    ({"name": "n" * 256}, "/name"),
    ({"name": 1}, "/name"),
    ({"name": None}, "/name"),
    ({"name": "a\0"}, "/name"),
    ({"description": "d" * 1025}, "/description"),
    ({"description": "a\0"}, "/description"),
    ({"destinationUrl": "nonsense"}, "/destinationUrl"),
    ({"destinationUrl": "http://example.com/"}, "/destinationUrl"),
    ({"destinationUrl": "ftp://example.com/"}, "/destinationUrl"),
    ({"destinationUrl": "https://"}, "/destinationUrl"),
    ({"eventTypes": []}, "/eventTypes"),
    ({"eventTypes": CARD}, "/eventTypes"),
    ({"eventTypes": [""]}, "/eventTypes/0"),
    ({"eventTypes": ["x" * 256]}, "/eventTypes/0"),
    ({"eventTypes": [CARD, CARD]}, "/eventTypes/1"),
    ({"eventTypes": ["card.*"]}, "/eventTypes/0"),
    ({"eventTypes": ["*"]}, "/eventTypes/0"),
    ({"eventTypes": [CARD, "a b"]}, "/eventTypes/1"),
    ({"eventTypes": ["\0"]}, "/eventTypes/0"),
    ({"concurrencyLimit": 0}, "/concurrencyLimit"),
    ({"concurrencyLimit": 21}, "/concurrencyLimit"),
    ({"concurrencyLimit": 1.5}, "/concurrencyLimit"),
    ({"concurrencyLimit": "5"}, "/concurrencyLimit"),
    ({"status": "PAUSED"}, "/status"),
    ({"signingSecret": "whsec_"}, "/signingSecret"),
]


def test_a_bad_field_is_named_and_changes_nothing(stedi: Client) -> None:
    made = stedi.create(NOWHERE)
    del made["signingSecret"]
    for fields, blamed in FIELDS:
        expected = ("InvalidRequestException", [blamed])
        assert stedi.refused("POST", DESTINATIONS, 400, json=GOOD | fields) == expected, fields
        path = f"{DESTINATIONS}/{made['id']}"
        assert stedi.refused("POST", path, 400, json={"name": "N"} | fields) == expected, fields
    for field in GOOD:
        body = {name: value for name, value in GOOD.items() if name != field}
        expected = ("InvalidRequestException", [f"/{field}"])
        assert stedi.refused("POST", DESTINATIONS, 400, json=body) == expected
    for content in (b"", b"{", b"[]", b"null", b"\xff", b'"x"', b"[" * 100_000):
        name, _ = stedi.refused("POST", DESTINATIONS, 400, content=content)
        assert name == "InvalidRequestException"
    assert stedi.ask("GET", DESTINATIONS) == {"items": [made]}


def test_a_bad_rotation_is_refused(stedi: Client) -> None:
    made = stedi.create(NOWHERE)
    path = f"{DESTINATIONS}/{made['id']}/secret"
    hours = "previousSecretExpiryHours"
    for fields in ({hours: -1}, {hours: 721}, {hours: "24"}, {hours: None}, {"hours": 1}):
        expected = ("InvalidRequestException", [f"/{next(iter(fields))}"])
        assert stedi.refused("POST", f"{path}/rotate", 400, json=fields) == expected
    assert stedi.ask("GET", path) == {"signingSecret": made["signingSecret"]}


def targets(token: str) -> list[tuple[str, str]]:
    """Return method and path of each operation that names a thing."""
    return [(method, path.replace("{}", token)) for method, path in OPERATIONS if "{}" in path]


def test_an_id_that_is_none_is_told_from_one_that_nothing_has(
    stedi: Client, tenant: Tenant
) -> None:
    native = tenant.subscribe(NOWHERE)
    for kind in ("evt", "dst", "msg", "abcde"):
        for method, path in targets(f"{kind}_{UNKNOWN}"):
            assert stedi.refused(method, path, 404) == ("NotFoundException", [])
    for token in ("x", UNKNOWN, f"evt_{UNKNOWN}x", f"dst_{UNKNOWN[:-1]}G", f"d_{UNKNOWN}"):
        for method, path in targets(token):
            blamed = ["/eventId" if path.startswith(EVENTS) else "/destinationId"]
            assert stedi.refused(method, path, 400) == ("InvalidRequestException", blamed)
    for method, path in targets(f"dst_{native[3:]}"):
        assert stedi.refused(method, path, 404)[0] == "NotFoundException"


def test_whoever_may_not_is_told_so(site: Site, tenant: Tenant) -> None:
    scopes = {"events.read", "subscriptions.read", "subscriptions.write"}
    with client(site.url, None) as by:
        by.event_hooks = {"response": [check]}
        for method, path in OPERATIONS:
            target = path.replace("{}", f"{'evt' if path.startswith(EVENTS) else 'dst'}_{UNKNOWN}")
            for headers in ({}, {"authorization": "Key nonsense"}, {"authorization": "Key"}):
                answer = by.request(method, target, headers=headers)
                assert answer.status_code == 401
                assert answer.headers["x-amzn-errortype"] == "AuthenticationFailedException"
            reads = method == "GET" and not path.endswith("secret")
            needed = "events" if path.startswith(EVENTS) else "subscriptions"
            needed += ".read" if reads else ".write"
            lacking = site.key(tenant.project, scopes=sorted(scopes - {needed}), api="stedi")
            answer = by.request(method, target, headers={"authorization": lacking})
            assert answer.status_code == 403
            assert answer.headers["x-amzn-errortype"] == "ForbiddenException"


def test_the_rest_is_in_the_envelope_too(stedi: Client) -> None:
    for key in ("", "k" * 256):
        refused = stedi.refused(
            "POST", DESTINATIONS, 400, json=GOOD, headers={"idempotency-key": key}
        )
        assert refused == ("InvalidRequestException", ["/idempotency-key"])
    assert stedi.refused("PUT", DESTINATIONS, 405)[0] == "InvalidRequestException"
    assert stedi.refused("DELETE", f"{EVENTS}/evt_{UNKNOWN}", 405)[0] == "InvalidRequestException"
    assert stedi.refused("GET", "/nothing/here", 404)[0] == "NotFoundException"
    plain = {"content-encoding": "gzip"}
    refused = stedi.refused("POST", DESTINATIONS, 400, json=GOOD, headers=plain)
    assert refused == ("InvalidRequestException", [])
    answer = stedi.http.post(DESTINATIONS, content=b" " * 2**21)
    assert answer.headers["x-amzn-errortype"] == "ContentTooLargeException"
    assert answer.headers["stedi-request-id"]


ANY = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from([CARD, NOWHERE, "ENABLED", "DISABLED", "n", 5, 24]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=5,
)
NAMES = [*GOOD, "description", "concurrencyLimit", "status", "previousSecretExpiryHours"]
BODIES = st.dictionaries(st.sampled_from(NAMES), ANY) | ANY
BETTER = st.fixed_dictionaries(
    {
        "name": st.text(min_size=1, max_size=8),
        "destinationUrl": st.sampled_from([NOWHERE, "https://example.com/"]),
        "eventTypes": st.lists(st.sampled_from(["a", "b.c", "d e"]), min_size=1, max_size=3),
    },
    optional={"description": st.text(max_size=8), "concurrencyLimit": st.integers(0, 22)},
)
PARAMS = st.dictionaries(
    st.sampled_from(["pageSize", "pageToken", "eventId", "status", "eventType", "created", "x"]),
    st.sampled_from(["1", "0", "PENDING", "ENABLED", CARD, f"evt_{UNKNOWN}", UNKNOWN])
    | st.sampled_from(["gt:2026-01-01T00:00:00Z", "lte:0001-01-01T00:00:00+23:59", "0" * 32])
    | st.text(max_size=8),
    max_size=3,
)


@given(
    operation=st.sampled_from(sorted(OPERATIONS)),
    token=st.sampled_from([f"evt_{UNKNOWN}", f"dst_{UNKNOWN}", "made", "x"]),
    body=BODIES | BETTER,
    params=PARAMS,
    key=st.none() | st.sampled_from(["a", "b"]),
)
@settings(
    max_examples=max(500, settings().max_examples),
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_no_request_is_an_error_of_the_servers(
    stedi: Client,
    operation: tuple[str, str],
    token: str,
    body: Any,
    params: dict[str, str],
    key: str | None,
) -> None:
    method, path = operation
    if token == "made":
        found = stedi.ask("GET", DESTINATIONS)["items"]
        token = found[0]["id"] if found else f"dst_{UNKNOWN}"
    headers = {} if key is None else {"idempotency-key": key}
    options = {"params": params} if method == "GET" else {"json": body}
    response = stedi.http.request(method, path.replace("{}", token), headers=headers, **options)
    assert response.status_code < 500, response.text
