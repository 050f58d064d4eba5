"""How an endpoint is authenticated, from Convoy's words into ours."""

from typing import Any

import pytest

from waypost.dialects.convoy.authentication import header_names, masked, native, read
from waypost.model.authentication import (
    AssertionAlgorithm,
    Authentication,
    Basic,
    ExpiryUnit,
    FieldNames,
    HeaderKey,
    OAuth2,
    SigningKey,
)
from waypost.model.errors import InvalidInput

KEY = {"type": "api_key", "api_key": {"header_name": "X-K", "header_value": "v"}}
BASIC = {"type": "basic_auth", "basic_auth": {"username": "u", "password": "p"}}
SHARED = {"url": "https://id.example/", "client_id": "c", "client_secret": "s"}
ASSERTED = {
    "url": "https://id.example/",
    "client_id": "c",
    "authentication_type": "client_assertion",
    "signing_key": {"kty": "EC", "crv": "P-384", "d": "x"},
    "signing_algorithm": "ES384",
    "issuer": "i",
    "subject": "b",
    "scope": "a",
    "audience": "d",
    "field_mapping": {"access_token": "t"},
    "expiry_time_unit": "hours",
}


@pytest.mark.parametrize(
    "given, wanted, header",
    [
        (KEY, HeaderKey("X-K", "v"), "x-k"),
        (KEY | {"basic_auth": None, "oauth2": {}}, HeaderKey("X-K", "v"), "x-k"),
        (BASIC, Basic("u", "p"), "authorization"),
        (
            {"type": "oauth2", "oauth2": SHARED},
            OAuth2(url="https://id.example/", client_id="c", client_secret="s"),
            "authorization",
        ),
        (
            {"type": "oauth2", "oauth2": ASSERTED},
            OAuth2(
                url="https://id.example/",
                client_id="c",
                signing_key=SigningKey(kty="EC", crv="P-384", d="x"),
                signing_algorithm=AssertionAlgorithm.ES384,
                issuer="i",
                subject="b",
                scope="a",
                audience="d",
                field_names=FieldNames("t"),
                expiry_unit=ExpiryUnit.HOURS,
            ),
            "authorization",
        ),
    ],
)
def test_what_is_meant(given: dict[str, Any], wanted: Authentication, header: str) -> None:
    kept = read(given)
    assert native(kept) == wanted
    assert header_names(kept) == (header,)
    assert read(kept) == kept


@pytest.mark.parametrize("given", [None, {}, {"type": ""}, {"type": "", "api_key": None}])
def test_nothing_is_nothing(given: dict[str, Any] | None) -> None:
    assert read(given) is None
    assert native(None) is None
    assert masked(None) is None
    assert header_names(None) == ()


@pytest.mark.parametrize(
    "given, told",
    [
        ({"type": "jwt"}, "type"),
        ({"type": "oauth2"}, "oauth2: is required"),
        ({"type": "oauth2", "oauth2": SHARED | {"grant_type": "password"}}, "grant_type"),
        ({"type": "oauth2", "oauth2": SHARED | {"x": 1}}, "x"),
        ({"type": "oauth2", "oauth2": SHARED | {"subject": "s"}}, "subject"),
        ({"type": "oauth2", "oauth2": ASSERTED | {"client_secret": "s"}}, "client_secret"),
        ({"type": "oauth2", "oauth2": ASSERTED | {"signing_key": None}}, "signing_key"),
        ({"type": "oauth2", "oauth2": ASSERTED | {"signing_algorithm": "none"}}, "algorithm"),
        (KEY | {"type": "basic_auth"}, "api_key: must not be given"),
        (KEY | {"type": ""}, "needs a type"),
        ({"type": "api_key", "api_key": 7}, "api_key"),
    ],
)
def test_what_is_not_in_convoys_form_is_refused(given: dict[str, Any], told: str) -> None:
    with pytest.raises(InvalidInput, match=told):
        read(given)


def test_secrets_are_masked() -> None:
    assert masked(read(KEY)) == KEY | {"api_key": {"header_name": "X-K", "header_value": "***"}}
    shown = masked(read({"type": "oauth2", "oauth2": ASSERTED})) or {}
    assert shown["oauth2"]["signing_key"] == "***"
    assert shown["oauth2"]["client_id"] == "c"
