"""Convoy's document has every row of the table, in Convoy's envelope."""

from typing import Any
from unittest.mock import MagicMock

from waypost.dialects.convoy.openapi import document
from waypost.dialects.convoy.routes import operations
from waypost.dialects.convoy.table import BASE

TABLE = operations(MagicMock())
DOCUMENT = document(TABLE)
SCHEMAS = DOCUMENT["components"]["schemas"]


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


def test_lists_in_a_query_are_parameters_again_and_again() -> None:
    events = DOCUMENT["paths"][f"{BASE}/projects/{{project_id}}/eventdeliveries"]["get"]
    by_name = {one["name"]: one for one in events["parameters"]}
    assert by_name["status"]["explode"]
    assert {"perPage", "next_page_cursor", "startDate", "eventType", "event_type"} <= set(by_name)
