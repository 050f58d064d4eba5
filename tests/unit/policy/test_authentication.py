"""What proves to a receiver who sends: what may be set, what is sent, what an answer says."""

from typing import Any
from urllib.parse import parse_qs

import msgspec
import pytest

from waypost.model.authentication import (
    Authentication,
    Basic,
    ExpiryUnit,
    FieldNames,
    HeaderKey,
    OAuth2,
    SigningKey,
)
from waypost.model.delivery import Timings
from waypost.model.exchange import FailureKind, Reply, TransportFailure
from waypost.policy import urls
from waypost.policy.authentication import (
    KEPT_S,
    Token,
    faults,
    fixed_value,
    header_name,
    masked,
    read_token,
    token_request,
    with_header,
)
from waypost.policy.egress import EgressRules

RULES = EgressRules()
URL = "https://id.example/token?a=1"
OAUTH = OAuth2(url=URL, client_id="c", client_secret="s")
DESTINATION = urls.parse(URL)


def replaced(given: Any, **changes: Any) -> Any:
    return msgspec.structs.replace(given, **changes)


@pytest.mark.parametrize(
    "given",
    [
        HeaderKey("X-Key", "k 1"),
        HeaderKey("Authorization", "Token k"),
        Basic("ada", "pass:word"),
        Basic("adé", "ü"),
        OAUTH,
        replaced(OAUTH, scope="a b", audience="https://x"),
    ],
)
def test_what_may_be_set(given: Authentication) -> None:
    assert faults(given, RULES) == []


@pytest.mark.parametrize(
    "given, path",
    [
        (HeaderKey("", "k"), "header_name"),
        (HeaderKey("a b", "k"), "header_name"),
        (HeaderKey("Host", "k"), "header_name"),
        (HeaderKey("webhook-id", "k"), "header_name"),
        (HeaderKey("x", ""), "header_value"),
        (HeaderKey("x", " k"), "header_value"),
        (HeaderKey("x", "k\r\ny: z"), "header_value"),
        (HeaderKey("x", "é"), "header_value"),
        (HeaderKey("x", "k" * 4_097), "header_value"),
        (Basic("", "p"), "username"),
        (Basic("a:b", "p"), "username"),
        (Basic("a", ""), "password"),
        (Basic("a", "p\n"), "password"),
        (replaced(OAUTH, url="http://id.example/"), "url"),
        (replaced(OAUTH, url="https://127.0.0.1/"), "url"),
        (replaced(OAUTH, url="nonsense"), "url"),
        (replaced(OAUTH, client_id=""), "client_id"),
        (replaced(OAUTH, client_secret=""), "client_secret"),
        (replaced(OAUTH, signing_key=SigningKey(kty="EC")), "client_secret"),
        (replaced(OAUTH, client_secret="", signing_key=SigningKey(kty="EC")), "signing_key"),
        (replaced(OAUTH, scope="a\nb"), "scope"),
        (replaced(OAUTH, audience="a" * 2_049), "audience"),
        (replaced(OAUTH, field_names=FieldNames("a" * 257)), "field_names"),
    ],
)
def test_what_may_not(given: Authentication, path: str) -> None:
    assert [place for place, _ in faults(given, RULES)] == [f"authentication.{path}"]


@pytest.mark.parametrize(
    "given, shown",
    [
        (HeaderKey("x", "k"), HeaderKey("x", "***")),
        (Basic("a", "p"), Basic("a", "***")),
        (OAUTH, replaced(OAUTH, client_secret="***")),
        (
            replaced(OAUTH, client_secret="", signing_key=SigningKey(kty="RSA", n="1", d="2")),
            replaced(OAUTH, client_secret="", signing_key=SigningKey(kty="RSA", d="***")),
        ),
    ],
)
def test_secrets_are_masked(given: Authentication, shown: Authentication) -> None:
    assert masked(given) == shown


def test_a_fixed_header() -> None:
    assert (header_name(HeaderKey("X-Key", "k")), fixed_value(HeaderKey("X-Key", "k"))) == (
        "X-Key",
        b"k",
    )
    assert header_name(Basic("a", "b")) == header_name(OAUTH) == "Authorization"
    # RFC 7617, section 2.
    assert fixed_value(Basic("Aladdin", "open sesame")) == b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="


def test_a_header_stands_in_place_of_what_had_its_name() -> None:
    head = b"POST / HTTP/1.1\r\nhost: h\r\nAUTHORIZATION: old\r\ncontent-length: 2\r\n\r\n"
    assert with_header(head, "Authorization", b"Bearer t") == (
        b"POST / HTTP/1.1\r\nhost: h\r\ncontent-length: 2\r\nAuthorization: Bearer t\r\n\r\n"
    )
    assert with_header(b"OPTIONS * HTTP/1.1\r\n\r\n", "x", b"y") == (
        b"OPTIONS * HTTP/1.1\r\nx: y\r\n\r\n"
    )


def test_a_token_is_asked_for() -> None:
    given = replaced(OAUTH, client_id="c&d", client_secret="s=+", scope="a b", audience="https://x")
    head, body = token_request(given, DESTINATION, 7, "u")
    lines = head.split(b"\r\n")
    assert lines[0] == b"POST /token?a=1 HTTP/1.1"
    assert b"host: id.example" in lines
    assert b"content-type: application/x-www-form-urlencoded" in lines
    assert b"content-length: %d" % len(body) in lines
    assert lines[-2:] == [b"", b""]
    assert parse_qs(body.decode()) == {
        "grant_type": ["client_credentials"],
        "client_id": ["c&d"],
        "client_secret": ["s=+"],
        "scope": ["a b"],
        "audience": ["https://x"],
    }


def answered(body: bytes, status: int = 200) -> Reply:
    return Reply(status, body, Timings())


@pytest.mark.parametrize(
    "body, value, for_s",
    [
        (b'{"access_token":"t"}', b"Bearer t", KEPT_S),
        (b'{"access_token":"t","token_type":"bearer","expires_in":3600}', b"Bearer t", 3570),
        (b'{"access_token":"t","token_type":"MAC","expires_in":"100"}', b"MAC t", 90),
        (b'{"access_token":"t","expires_in":0}', b"Bearer t", 0),
        (b'{"access_token":"t","expires_in":-5}', b"Bearer t", 0),
        (b'{"access_token":"t","expires_in":1e300}', b"Bearer t", 86_370),
        (b'{"access_token":"t","expires_in":"soon"}', b"Bearer t", KEPT_S),
        (b'{"access_token":"t","expires_in":true}', b"Bearer t", KEPT_S),
        (b'{"access_token":"t","expires_in":null}', b"Bearer t", KEPT_S),
    ],
)
def test_a_token_and_how_long_it_is_used(body: bytes, value: bytes, for_s: float) -> None:
    assert read_token(OAUTH, answered(body)) == Token(value, for_s)


def test_an_answer_may_have_names_and_units_of_its_own() -> None:
    names = FieldNames("tok", "kind", "ttl")
    given = replaced(OAUTH, field_names=names, expiry_unit=ExpiryUnit.MINUTES)
    body = b'{"tok":"t","kind":"Bearer","ttl":2,"access_token":"x","expires_in":9}'
    assert read_token(given, answered(body)) == Token(b"Bearer t", 108)
    for unit, wanted in ((ExpiryUnit.MILLISECONDS, 90), (ExpiryUnit.HOURS, 86_370)):
        body = b'{"access_token":"t","expires_in":100000}'
        found = read_token(replaced(OAUTH, expiry_unit=unit), answered(body))
        assert found == Token(b"Bearer t", wanted)


@pytest.mark.parametrize(
    "exchange, told",
    [
        (answered(b"{}"), "none in the answer"),
        (answered(b""), "none in the answer"),
        (answered(b"[]"), "none in the answer"),
        (answered(b"[" * 100_000), "none in the answer"),
        (answered(b'{"access_token":""}'), "none in the answer"),
        (answered(b'{"access_token":7}'), "none in the answer"),
        (answered(b'{"access_token":"a\\r\\nb: c"}'), "none in the answer"),
        (answered(b'{"access_token":"t","token_type":"a b"}'), "a type that is none"),
        (answered(b'{"access_token":"t","token_type":7}'), "a type that is none"),
        (answered(b'{"error":"invalid_client"}', 401), "status 401 (invalid_client)"),
        (answered(b'{"error":"<b>"}', 400), "status 400"),
        (answered(b'{"access_token":"t"}', 302), "status 302"),
        (TransportFailure(FailureKind.DENIED, "not allowed", Timings()), "not allowed"),
    ],
)
def test_without_a_token_it_is_said_why(exchange: Any, told: str) -> None:
    found = read_token(OAUTH, exchange)
    assert isinstance(found, str)
    assert found.startswith("no token: ")
    assert found.endswith(told) or told in found
