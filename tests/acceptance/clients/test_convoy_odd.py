"""Requests of every kind at Convoy's sources, event types and what comes in."""

from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.convoy import Convoy

JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-5, 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=8)
    | st.sampled_from(["http", "hmac", "github", "request.body.a", "\x00"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=6), inner),
    max_leaves=6,
)
NAMED: st.SearchStrategy[Any] = st.dictionaries(
    st.sampled_from(
        [
            "name",
            "type",
            "provider",
            "verifier",
            "custom_response",
            "pub_sub",
            "idempotency_keys",
            "event_type_location",
            "forward_headers",
            "hmac",
            "api_key",
            "basic_auth",
            "header",
            "secret",
            "kafka",
            "amqp",
            "port",
            "spec",
            "webhooks",
            "oauth2",
            "url",
            "signing_key",
            "json_schema",
            "category",
            "x",
        ]
    ),
    st.deferred(lambda: NAMED | JSON),
    max_size=4,
)
PLACES = ["/sources", "/event-types", "/event-types/import", "/endpoints/oauth2/test"]
TYPES = [
    "application/json",
    "text/plain",
    "application/x-www-form-urlencoded",
    "x",
    "multipart/form-data; boundary=b",
    "application/json; charset=utf-16",
]


@given(
    path=st.sampled_from(PLACES),
    body=NAMED | JSON,
    raw=st.binary(max_size=40),
    kind=st.sampled_from(TYPES),
)
@settings(max_examples=250, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_no_request_is_an_error_of_the_servers(
    convoy: Convoy, path: str, body: Any, raw: bytes, kind: str
) -> None:
    response = convoy.http.post(f"{convoy.url}{path}", json=body)
    assert response.status_code in {200, 201, 400, 413}, (path, body, response.text)
    assert response.json()["status"] is (response.status_code < 400)
    for text in (raw, b"a=" + raw, b"--b\r\n" + raw + b"\r\n--b--", msgspec.json.encode(body)):
        came = convoy.http.post(_source(convoy), content=text, headers={"content-type": kind})
        assert came.status_code in {200, 400}, (kind, text, came.text)
        assert came.json()["status"] is (came.status_code == 200)


_made: dict[str, str] = {}


def _source(convoy: Convoy) -> str:
    """Return the address of a source of a project, which is made once."""
    if convoy.project not in _made:
        keys = ["request.body.a.0", "request.header.x"]
        _made[convoy.project] = convoy.ask(
            201, "POST", "/sources", json={"name": "s", "type": "http", "idempotency_keys": keys}
        )["url"]
    return _made[convoy.project]
