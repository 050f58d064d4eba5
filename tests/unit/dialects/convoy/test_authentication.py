"""How an endpoint wants to be called."""

from typing import Any

import pytest

from waypost.dialects.convoy.authentication import as_headers, read
from waypost.model.errors import InvalidInput


def test_it_comes_to_headers() -> None:
    key = {"header_name": "X-Key", "header_value": "v"}
    assert as_headers(read({"type": "api_key", "api_key": key})) == {"X-Key": "v"}
    basic = {"username": "u", "password": "p:w"}
    assert as_headers(read({"type": "basic_auth", "basic_auth": basic})) == {
        "Authorization": "Basic dTpwOnc="
    }
    for nothing in (None, {}, {"type": ""}):
        assert as_headers(read(nothing)) == {}


@pytest.mark.parametrize(
    "given",
    [
        {"type": "oauth2", "oauth2": {}},
        {"type": "api_key"},
        {"type": "api_key", "api_key": {"header_name": "X"}},
        {"type": "api_key", "api_key": {"header_name": "Host", "header_value": "v"}},
        {"type": "api_key", "api_key": {"header_name": "X", "header_value": ""}},
        {"type": "api_key", "api_key": {"header_name": "X", "header_value": "v\r\n"}},
        {"type": "basic_auth", "basic_auth": {"username": 1, "password": "p"}},
        {"type": "basic_auth", "basic_auth": {"username": "u", "password": "p"}, "x": 1},
    ],
)
def test_what_can_not_be_obeyed_is_refused(given: dict[str, Any]) -> None:
    with pytest.raises(InvalidInput, match="authentication"):
        read(given)
