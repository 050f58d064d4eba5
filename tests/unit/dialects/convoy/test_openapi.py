"""Convoy's document has every row of the table, in Convoy's envelope."""

from typing import Any
from unittest.mock import MagicMock

import pytest
from jsonschema_rs import Draft202012Validator

from waypost.dialects.convoy.config import DEFAULT, merged
from waypost.dialects.convoy.openapi import document
from waypost.dialects.convoy.routes import operations
from waypost.dialects.convoy.table import BASE
from waypost.model.errors import InvalidInput

TABLE = operations(MagicMock())
DOCUMENT = document(TABLE)
SCHEMAS = DOCUMENT["components"]["schemas"]


def is_valid(body: object, name: str) -> bool:
    schema = {"$ref": f"#/components/schemas/{name}", "components": DOCUMENT["components"]}
    return Draft202012Validator(schema).is_valid(body)


def told(row: Any) -> Any:
    return DOCUMENT["paths"][f"{BASE}{row.path}"][row.method.lower()]


def test_every_row_is_there_under_a_name_of_its_own() -> None:
    names = [one["operationId"] for path in DOCUMENT["paths"].values() for one in path.values()]
    assert len(set(names)) == len(names)
    assert all(told(row) for row in TABLE)


def test_answers_are_in_the_envelope() -> None:
    for row in TABLE:
        for status, answer in told(row)["responses"].items():
            name = answer["content"]["application/json"]["schema"]["$ref"].rpartition("/")[2]
            wanted = {"const": status < "400"}
            assert SCHEMAS[name]["properties"]["status"].items() >= wanted.items(), name
            assert status < "400" or "message" in SCHEMAS[name]["required"]


def test_only_what_is_refused_for_now_has_no_answer() -> None:
    bare = {row.path for row in TABLE if not any(s < "400" for s in told(row)["responses"])}
    assert all("portal-links" in path for path in bare)
    assert bare


def test_bodies_whose_bytes_are_kept_are_told_as_well() -> None:
    events = f"{BASE}/projects/{{project_id}}/events"
    body = DOCUMENT["paths"][events]["post"]["requestBody"]
    assert body["content"]["application/json"]["schema"]["$ref"].endswith("/EventIn")


def test_what_an_event_must_hold_is_told() -> None:
    for name, demanded in (
        ("EventIn", {"event_type", "data"}),
        ("FanOutIn", {"event_type", "data", "owner_id"}),
        ("BroadcastIn", {"event_type", "data"}),
        ("DynamicIn", {"event_type", "data", "url"}),
    ):
        assert set(SCHEMAS[name]["required"]) == demanded
        posted: dict[str, Any] = {"event_type": "a.b", "data": None}
        posted |= dict.fromkeys(demanded - posted.keys(), "x")
        if name == "EventIn":
            assert not is_valid(posted, name)
            assert is_valid(posted | {"app_id": "o"}, name)
            posted["endpoint_id"] = "e"
        assert is_valid(posted, name)
        for one in demanded:
            assert not is_valid({key: posted[key] for key in posted.keys() - {one}}, name)
        assert not is_valid(posted | {"event_type": ""}, name)
        assert not is_valid(posted | {"event_type": "a..b"}, name)


@pytest.mark.parametrize("name", ["ProjectIn", "ProjectChange"])
def test_the_settings_of_a_project_are_told(name: str) -> None:
    def takes(**config: object) -> bool:
        return is_valid({"name": "p", "type": "outgoing", "config": config}, name)

    every = dict.fromkeys(SCHEMAS[name]["properties"]["config"]["anyOf"][0]["properties"])
    assert takes(**every)
    assert len(merged(DEFAULT, every).strategy.type)
    assert takes(ssl={"enforce_secure_endpoints": True}, strategy={"retry_count": 3})
    assert takes(meta_event={"event_type": ["endpoint.created"], "url": "http://x"})
    refused: list[dict[str, Any]] = [
        {"unknown": 1},
        {"ssl": {"unknown": 1}},
        {"strategy": {"type": "odd"}},
        {"search_policy": "1h"},
        {"circuit_breaker": {"sample_rate": 31}},
        {"meta_event": {"type": "pub_sub"}},
        {"meta_event": {"pub_sub": {}}},
        {"meta_event": {"type": "odd"}},
        {"meta_event": {"event_type": ["odd"]}},
    ]
    for wrong in refused:
        assert not takes(**wrong), wrong
        with pytest.raises(InvalidInput):
            merged(DEFAULT, wrong)


def test_how_endpoints_are_called_is_told() -> None:
    def takes(**more: object) -> bool:
        return is_valid({"name": "e", "url": "https://x", **more}, "EndpointIn")

    basic = {"type": "basic_auth", "basic_auth": {"username": "u", "password": "p"}}
    assert takes(authentication=basic)
    assert takes(authentication=None, mtls_client_cert={})
    assert not takes(authentication={"type": "odd"})
    assert not takes(authentication={"type": "api_key", "api_key": {"name": "x"}})
    assert not takes(mtls_client_cert={"client_cert": "x"})


def test_lists_in_a_query_are_parameters_again_and_again() -> None:
    events = DOCUMENT["paths"][f"{BASE}/projects/{{project_id}}/eventdeliveries"]["get"]
    by_name = {one["name"]: one for one in events["parameters"]}
    assert by_name["status"]["explode"]
    assert {"perPage", "next_page_cursor", "startDate", "eventType", "event_type"} <= set(by_name)
