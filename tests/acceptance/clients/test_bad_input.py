"""Whatever is sent, the answer is a precise refusal, and nothing of it is done."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support import contract
from tests.support.routes import BODIES, QUERIES, Route, routes_of
from tests.support.site import Site, Tenant, send_raw

EVENTS = "/v1/events"
BATCH = "/v1/events/batch"
SUBSCRIPTIONS = "/v1/event_subscriptions"
EVENT = {"event_type": "a", "payload": {"n": 1}}
URL = "http://127.0.0.1:9/"
DEEP = b"[" * 65 + b"]" * 65

NOT_JSON = [
    b"{",
    b"{}}",
    b'{"a":1,}',
    b"{'a':1}",
    b'{"a":NaN}',
    b'{"a":01}',
    b"\xff\xfe{}",
    b'{"a":"\x00"}',
    b'{"a":"\n"}',
    b"\xef\xbb\xbf{}",
    b"nul",
    b"[" * 100_000,
    b'{"a":' * 100_000,
]
NOT_AN_OBJECT = [b"null", b"[]", b'"text"', b"17", b"true"]

Kept = tuple[Any, Any]


def kept(tenant: Tenant) -> Kept:
    """Return what a project holds."""
    return tenant.ask(200, "GET", EVENTS), tenant.ask(200, "GET", SUBSCRIPTIONS)


@pytest.fixture
def with_body(site: Site, tenant: Tenant) -> list[tuple[Route, str]]:
    """Have the operations of a project that take a body, and their paths."""
    event = tenant.post()
    tokens = {
        "event_subscription_token": tenant.subscribe(URL, paused=True),
        "event_token": event,
        "transaction_token": tenant.claim(event, "first")["token"],
        "source_token": tenant.source(),
    }
    return [
        (route, route.path.format(**tokens))
        for route in routes_of(site.admin)
        if route.name in BODIES and not route.path.startswith(("/v1/projects", "/v1/api_keys"))
    ]


def test_what_is_no_json_is_refused_everywhere(
    tenant: Tenant, with_body: list[tuple[Route, str]]
) -> None:
    before = kept(tenant)
    for route, path in with_body:
        for body in [*NOT_JSON, *NOT_AN_OBJECT, b""]:
            response = tenant.http.request(route.method, path, content=body)
            assert response.status_code == 400, (route.name, body[:20], response.text)
    assert kept(tenant) == before


def test_unknown_fields_and_wrong_types_are_named(
    tenant: Tenant, with_body: list[tuple[Route, str]]
) -> None:
    before = kept(tenant)
    for route, path in with_body:
        body = BODIES[route.name]
        blamed = tenant.refused(400, route.method, path, json={**body, "surplus": 1})
        assert blamed == ["surplus"], route.name
        for name in body:
            for wrong in (None, True, 1.5):
                if name in {"payload", "filter"}:
                    continue  # any JSON, and what a filter has to be is a matter of its own
                if (name, wrong) == ("ordering_key", None):
                    continue  # of what has no key
                blamed = tenant.refused(400, route.method, path, json={**body, name: wrong})
                assert blamed == [name], (route.name, wrong)
    assert kept(tenant) == before


def test_a_body_of_another_type_is_refused(
    tenant: Tenant, with_body: list[tuple[Route, str]]
) -> None:
    before = kept(tenant)
    wrong = [
        "text/plain",
        "application/xml",
        "application/x-www-form-urlencoded",
        "multipart/form-data; boundary=x",
        "application/json; charset=utf-16",
        "application/jsonx",
        "nonsense",
    ]
    for route, path in with_body:
        for content_type in wrong:
            body = json.dumps(BODIES[route.name])
            headers = {"content-type": content_type}
            response = tenant.http.request(route.method, path, content=body, headers=headers)
            assert response.status_code == 415, (route.name, content_type, response.text)
    assert kept(tenant) == before


def test_operations_without_a_body_take_none(tenant: Tenant) -> None:
    subscription = tenant.subscribe(URL, paused=True)
    path = f"{SUBSCRIPTIONS}/{subscription}"
    for method, what in (
        ("POST", f"{path}/secret/rotate"),
        ("POST", f"{path}/pause"),
        ("DELETE", path),
    ):
        assert tenant.refused(400, method, what, json={"a": 1}) == ["a"]
    for job in ("recover", "replay_missing"):
        for body in ({"begin": "now"}, {"begin": 1}, {"start": None}, {"end": "2026-01-01"}):
            (name,) = body
            assert tenant.refused(400, "POST", f"{path}/{job}", json=body) == [name]
    tenant.ask(200, "GET", path)


def test_every_parameter_of_a_query_is_checked(site: Site, tenant: Tenant) -> None:
    event, subscription = tenant.post(), tenant.subscribe(URL)
    tokens = {"event_token": event, "event_subscription_token": subscription}
    document = site.admin.get("/openapi.json").json()
    wrong = {
        "page_size": ["0", "-1", "1001", "x", "1.0", "", "1e2", "٣", "9" * 50],
        "begin": ["now", "2026-01-01", "1", "", "2026-13-01T00:00:00Z", "9999-12-31T23:59:60Z"],
        "end": ["2026-01-01T00:00:00", "2026-01-01T00:00:00+25:00"],
        "starting_after": ["x", "", "evt_", "ep_1", "\x00", "evt_" + "f" * 40],
        "ending_before": ["ending_before", "../x", "%", "a\r\nb"],
        "status": ["success", "DONE", ""],
        "state": ["PENDING", ""],
        "with_content": ["maybe", ""],
        "event_types": [",".join("abcdefghijk"), "a,,b", ","],
        "tx_key": ["", "a\nb", "t" * 257],
        "wait_s": ["-1", "31", "x"],
    }
    asked = 0
    for path, methods in document["paths"].items():
        parameters = [p for p in methods.get("get", {}).get("parameters", []) if p["in"] == "query"]
        if "get" not in methods or not set(_ids(path)) <= set(tokens):
            continue
        by = site.admin if path.startswith(("/v1/projects", "/v1/api_keys")) else tenant.http
        place = path.format(**tokens)
        queries = [(p["name"], text) for p in parameters for text in wrong.get(p["name"], [])]
        queries += [("surplus", "1"), ("page_size[]", "1")]
        needed = QUERIES.get(methods["get"]["operationId"], {})
        for name, text in queries:
            response = by.get(place, params={**needed, name: text})
            assert response.status_code == 400, (path, name, text)
            assert [error["path"] for error in response.json()["errors"]] == [name]
            asked += 1
        for parameter in (p["name"] for p in parameters if p["name"] in {"page_size", "begin"}):
            twice = by.get(place, params=[(parameter, "1"), (parameter, "1")])
            assert twice.status_code == 400, path
    assert asked > 150


def _ids(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


@pytest.mark.parametrize(
    "token",
    [
        "x",
        "evt_",
        "EVT_01920000-0000-7000-8000-000000000000",
        "evt_01920000-0000-7000-8000-00000000000",
        "evt_01920000-0000-7000-8000-0000000000000",
        "evt_01920000000070008000000000000000",
        "evt_{01920000-0000-7000-8000-000000000000}",
        "evt_01920000-0000-7000-8000-00000000000%30",
        "evt_01920000-0000-7000-8000-00000000000G",
        "%00",
        "%0d%0ax-evil:%201",
        "%2e%2e%2f",
        "a" * 4000,
        "%ff",
        "' OR 1=1 --",
    ],
)
def test_a_malformed_token_is_nothing_that_exists(site: Site, tenant: Tenant, token: str) -> None:
    for route in routes_of(site.admin):
        if route.parameters and not route.path.startswith(("/v1/projects", "/v1/api_keys")):
            response = route.ask(tenant.http, dict.fromkeys(route.parameters, token))
            # What decodes to a slash leads to another path.
            assert response.status_code in ({404, 405} if "%2f" in token else {404}), route
            assert "x-evil" not in response.headers


EVIL = ["a\r\nx-evil: 1", "a\nb", "a\rb", "a\x00b", "\x1b[31m"]


@pytest.mark.parametrize("evil", EVIL, ids=range(len(EVIL)))
def test_nothing_that_reaches_a_header_can_break_it(tenant: Tenant, evil: str) -> None:
    before = kept(tenant)
    for name in ("idempotency_key", "ordering_key", "owner", "user", "label", "request_id"):
        blamed = tenant.refused(400, "POST", EVENTS, json={**EVENT, name: evil})
        assert blamed == [name]
    for body, path in (
        ({**EVENT, "event_type": evil}, "event_type"),
        ({**EVENT, "metadata": {evil: "v"}}, "metadata"),
        ({**EVENT, "metadata": {"k": evil}}, "metadata"),
        ({**EVENT, "resource": {"type": evil, "id": "1"}}, "resource.type"),
    ):
        (blamed_one,) = tenant.refused(400, "POST", EVENTS, json=body)
        assert blamed_one.startswith(path)
    for settings_of, path in (
        ({"headers": {evil: "v"}}, "headers"),
        ({"headers": {"x-k": evil}}, "headers.x-k"),
        ({"url": URL + evil}, "url"),
        ({"event_types": [evil]}, "event_types[0]"),
        ({"format": evil}, "format"),
        ({"owner": evil}, "owner"),
    ):
        body = {"url": URL, **settings_of}
        (blamed_one,) = tenant.refused(400, "POST", SUBSCRIPTIONS, json=body)
        assert blamed_one.startswith(path)
        assert "\r" not in blamed_one.replace(evil, "")
    assert kept(tenant) == before


@pytest.mark.parametrize(
    "name,value",
    [
        ("content-length", "1"),
        ("Host", "evil"),
        ("Transfer-Encoding", "chunked"),
        ("webhook-signature", "v1,x"),
        ("cookie", "a=b"),
        ("ce-type", "x"),
        ("x y", "1"),
        ("", "1"),
        ("x-ok", "é"),
        ("x-ok", "x" * 5000),
    ],
)
def test_a_header_that_is_not_the_subscriptions_to_set_is_refused(
    tenant: Tenant, name: str, value: str
) -> None:
    body = {"url": URL, "headers": {name: value}}
    (blamed,) = tenant.refused(400, "POST", SUBSCRIPTIONS, json=body)
    assert blamed.startswith("headers")
    assert kept(tenant)[1]["data"] == []


@pytest.mark.parametrize(
    "url",
    [
        "",
        "example.com",
        "ftp://example.com/",
        "file:///etc/passwd",
        "http://example.com/",
        "https://example.com:22/",
        "https://user:pass@example.com/",
        "https://example.com/#fragment",
        "https://exam ple.com/",
        "https://example.com/\x00",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::ffff:169.254.169.254]/",
        "https://2852039166/",
        "https://0x7f.1/",
        "https://localhost.internal.../",
        "javascript:alert(1)",
        "https://" + "a" * 2050 + ".com/",
        "https://example.com\\@evil.com/",
        "//example.com/",
    ],
)
def test_a_forbidden_or_malformed_url_is_refused(tenant: Tenant, url: str) -> None:
    assert tenant.refused(400, "POST", SUBSCRIPTIONS, json={"url": url}) == ["url"]
    made = tenant.subscribe(URL)
    assert tenant.refused(400, "PATCH", f"{SUBSCRIPTIONS}/{made}", json={"url": url}) == ["url"]
    assert tenant.ask(200, "GET", f"{SUBSCRIPTIONS}/{made}")["url"] == URL


def test_bodies_over_the_limit_are_refused_with_a_length_and_without(tenant: Tenant) -> None:
    subscription = tenant.subscribe(URL)
    before = kept(tenant)
    for path, size in ((EVENTS, 2**20), (BATCH, 2**23), (SUBSCRIPTIONS, 2**20)):
        large = b'{"event_type":"a","payload":"' + b"x" * size + b'"}'
        tenant.refused(413, "POST", path, content=large)
        pieces = (large[at : at + 2**16] for at in range(0, len(large), 2**16))
        head = _head(tenant, path, "transfer-encoding: chunked")
        body = b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)
        status, answer = send_raw(tenant.url, head, body)
        contract.check("POST", path, status, answer)
        assert status == 413, path
    claimed = _head(tenant, EVENTS, f"content-length: {2**40}")
    assert send_raw(tenant.url, claimed)[0] == 413
    patch = {"url": URL, "description": "x" * 2**20}
    tenant.refused(413, "PATCH", f"{SUBSCRIPTIONS}/{subscription}", json=patch)
    assert kept(tenant) == before


def _head(tenant: Tenant, path: str, *lines: str) -> str:
    head = [f"POST {path} HTTP/1.1", "host: waypost", f"authorization: {tenant.key}"]
    return "\n".join([*head, "content-type: application/json", *lines])


@pytest.mark.parametrize(
    "line",
    [
        "idempotency-key: a\x00b",
        "idempotency-key: a\x01b",
        "idempotency-key: é",
        "idempotency-key: a b",
        "idempotency-key: ",
        "idempotency-key: " + "a" * 300,
        "ce-specversion: 1.0\nce-id: %0D%0Ax\nce-source: /\nce-type: a",
        "ce-specversion: 1.0\nce-id: 1\nce-source: %00\nce-type: a",
        "waypost-project: \x7f",
        "content-type: application/json\ncontent-type: text/plain",
        "x y: 1",
        "content-length: -1",
        "content-length: 5, 6",
        "transfer-encoding: gzip",
        "authorization: second",
    ],
)
def test_strange_headers_are_refused_and_nothing_is_stored(tenant: Tenant, line: str) -> None:
    body = json.dumps(EVENT).encode()
    framed = "length" in line or "encoding" in line
    lines = [line] if framed else [line, f"content-length: {len(body)}"]
    status, answer = send_raw(tenant.url, _head(tenant, EVENTS, *lines), body)
    # An unknown transfer coding is 501: RFC 9112, section 6.1.
    assert 400 <= status < 500 or (status, line) == (501, "transfer-encoding: gzip"), answer
    assert kept(tenant)[0]["data"] == []


def test_a_payload_too_deep_is_refused_wherever_it_stands(tenant: Tenant) -> None:
    one = b'{"event_type":"a","payload":%b}'
    assert tenant.refused(400, "POST", EVENTS, content=one % DEEP) == ["payload"]
    tenant.ask(202, "POST", EVENTS, content=one % DEEP[1:-1])
    batch = b'{"events":[%b,%b]}' % (one % b"1", one % DEEP)
    assert tenant.refused(422, "POST", BATCH, content=batch) == ["events[1].payload"]
    assert len(kept(tenant)[0]["data"]) == 1


def test_a_batch_of_none_or_too_many_is_refused(tenant: Tenant) -> None:
    assert tenant.refused(400, "POST", BATCH, json={"events": []}) == ["events"]
    assert tenant.refused(400, "POST", BATCH, json={"events": [EVENT] * 1001}) == ["events"]
    assert kept(tenant)[0]["data"] == []


def test_unknown_paths_and_methods_are_told_in_the_envelope(tenant: Tenant) -> None:
    for path in ("/v1/event", "/v1/events/", "/v1", "/nowhere", "/v1//events", "/v1/EVENTS"):
        tenant.refused(404, "GET", path)
    for method, path in (("PUT", EVENTS), ("GET", BATCH), ("TRACE", EVENTS), ("PURGE", EVENTS)):
        response = tenant.http.request(method, path)
        assert response.status_code in {404, 405}, (method, path)
    assert tenant.http.put(EVENTS).headers["allow"]


def test_every_refusal_is_described(site: Site, tenant: Tenant) -> None:
    named = {"waypost-project": "prj_01920000-0000-7000-8000-000000000000"}
    plain = {"content-type": "text/plain"}
    tokens = {"event_subscription_token": tenant.subscribe(URL), "event_token": tenant.post()}
    document = site.admin.get("/openapi.json").json()
    for route in routes_of(site.admin):
        described = document["paths"][route.path][route.method.lower()]["responses"]
        path = route.path.format(**dict.fromkeys(route.parameters, "x") | tokens)
        ways: list[dict[str, Any]] = [
            {"headers": named},
            {"headers": plain, "content": "x"},
            {"json": {"surplus": 1}},
            {"params": {"surplus": 1}},
            {"params": {"event_subscription_token": "x"}},
        ]
        if route.method not in {"GET", "DELETE"}:
            ways.append({"content": b" " * 2**24})
        for options in ways:
            for by in (tenant.http, site.admin, site.nobody):
                status = by.request(route.method, path, **options).status_code
                assert str(status) in described, (route.name, options.keys())


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["a", URL, "v1", "v1a", "payload", "lithic", "2026-01-01T00:00:00Z"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=6,
)
_EVENT_FIELDS = (
    "event_type payload idempotency_key occurred_at resource metadata related_resources targets"
    " owner ordering_key"
)
_SUBSCRIPTION_FIELDS = (
    "url description event_types disabled paused headers timeout_s concurrency format signing"
    " owner retry_schedule failure_handling"
)
NAMES = {EVENTS: _EVENT_FIELDS.split(), SUBSCRIPTIONS: _SUBSCRIPTION_FIELDS.split()}


@pytest.mark.parametrize("path", NAMES)
@settings(
    max_examples=150,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_json_is_taken_or_refused_and_never_an_error(
    tenant: Tenant, path: str, data: st.DataObject
) -> None:
    good = {"event_type": "a", "payload": 1} if path == EVENTS else {"url": URL}
    names = st.sampled_from(NAMES[path])
    body = good | data.draw(st.dictionaries(names, JSON, max_size=4))
    response = tenant.http.post(path, content=json.dumps(body))
    assert response.status_code in {201, 202, 400, 422}, response.text
    if response.status_code == 400:
        blamed = [error["path"] for error in response.json()["errors"]]
        assert all(one.split(".")[0].split("[")[0] in body for one in blamed if one), blamed
