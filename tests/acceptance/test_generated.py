"""Requests made up from each surface's document: no answer is outside it, and none is a defect."""

import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.support.generated import NOBODY, Maker
from tests.support.program import ADMIN_KEY
from tests.support.site import Site, Tenant, running
from waypost.model import ids

MUCH = os.environ.get("HYPOTHESIS_PROFILE") == "fuzz"
REQUESTS = 10_000 if MUCH else 500

SURFACES = ("native", "lithic", "socotra", "buildable", "convoy", "stedi")


@pytest.fixture(scope="module")
def own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    """Have a server; whatever was asked of it, nothing may have been an error of its own."""
    folder = tmp_path_factory.mktemp("generated")
    rates = {"WAYPOST_READ_RATE": "100000", "WAYPOST_WRITE_RATE": "100000"}
    with running(folder, **rates) as (program, site):
        yield site
        assert site.nobody.get("/readyz").status_code == 200
        counts = site.admin.get("/metrics").text
        assert 'waypost_requests_refused_total{status="500"' not in counts, counts
    wrong = [line for line in program.lines if '"level": "error"' in line or "Traceback" in line]
    assert wrong == []


def maker(surface: str, site: Site, tenant: Tenant) -> Maker:
    """Return what makes requests up for a surface, in a project with something in it."""
    once = {"strategy": "constant", "interval_s": 0, "retries": 0}
    failing = {"triggers": ["connection"], "retry": once, "on_giving_up": ["divert"]}
    webhook = tenant.subscribe(NOBODY, failure_handling=failing)
    event = tenant.post()
    tenant.settled(event, "failed")
    where = "/openapi.json" if surface == "native" else f"/openapi/{surface}.json"
    document: dict[str, Any] = site.nobody.get(where).json()
    api = surface if surface in {"buildable", "stedi"} else "native"
    key = site.key(tenant.project, api=api)
    headers = {
        "native": {"authorization": ADMIN_KEY, "waypost-project": tenant.project},
        "lithic": {"authorization": key},
        "socotra": {"authorization": f"Bearer {ADMIN_KEY}"},
        "buildable": {"x-buildable-secret": key},
        "convoy": {"authorization": f"Bearer {ADMIN_KEY}"},
        "stedi": {"authorization": f"Key {key}"},
    }[surface]
    known = {
        "tenantLocator": tenant.project.removeprefix("prj_"),
        "project_id": _ulid(ids.PROJECT, tenant.project),
        # One that nobody minds.
        "project_token": site.tenant().project,
        "api_key_token": _spare(site, tenant),
    }
    there = {
        "webhooks": [_ulid(ids.SUBSCRIPTION, webhook)],
        "diverted": [_ulid(ids.EVENT, event)],
    }
    return Maker(site.url, document, headers, known, there)


def _ulid(kind: str, token: str) -> str:
    return ids.spell_ulid(ids.read(kind, token))


def _spare(site: Site, tenant: Tenant) -> str:
    """Return the token of a key that nobody uses."""
    made = site.admin.post("/v1/api_keys", json={"name": "spare", "project": tenant.project})
    return str(made.json()["token"])


@pytest.mark.proves(
    "native",
    "GET /openapi/lithic.json",
    "GET /openapi/socotra.json",
    "GET /openapi/buildable.json",
    "GET /openapi/convoy.json",
    "GET /openapi/stedi.json",
)
def test_every_document_is_linked_and_has_its_operations(own: Site) -> None:
    page = own.nobody.get("/docs").text
    counts = {}
    for surface in SURFACES:
        where = "/openapi.json" if surface == "native" else f"/openapi/{surface}.json"
        assert f'href="{where}"' in page
        counts[surface] = sum(map(len, own.nobody.get(where).json()["paths"].values()))
    assert counts.pop("native") > 50
    assert counts.pop("convoy") > 60
    assert counts == {"lithic": 15, "socotra": 14, "buildable": 6, "stedi": 9}


CONTRADICTION = {"failure_handling": {"suspended": {"incoming": "keep", "pending": "keep"}}}

QUERY = {"eventName": "card.created", "txKey": "key"}

FOUND: list[tuple[str, str, dict[str, Any], int]] = [
    (
        "native",
        "create_project",
        {"body": {"name": "p", "environment": "test", "defaults": CONTRADICTION}},
        422,
    ),
    ("buildable", "query", {"body": {**QUERY, "since": 2**53 - 1}}, 200),
    ("stedi", "ListEvents", {"query": {"eventType": "x" * 10_000}}, 414),
]
"""What requests made up have found, each asked once more: surface, operation, request, status."""


@pytest.mark.parametrize("surface, name, request_, status", FOUND)
def test_what_was_found_stays_mended(
    own: Site, surface: str, name: str, request_: dict[str, Any], status: int
) -> None:
    made = maker(surface, own, own.tenant())
    try:
        assert made.ask(name, **request_).status_code == status
    finally:
        made.close()


@pytest.mark.hypothesis
@pytest.mark.parametrize("surface", SURFACES)
def test_every_answer_is_in_the_document(own: Site, surface: str) -> None:
    # A breaker would have each test of a subscription wait for as long as it may.
    tenant = own.tenant(defaults={"breaker": {"enabled": False}})
    made = maker(surface, own, tenant)
    try:
        made.run(REQUESTS, same=not MUCH)
    finally:
        made.close()
    assert made.sent >= REQUESTS
    assert made.statuses.keys() & {200, 201}
    assert made.statuses[400]
    assert made.statuses[404]
    balance(tenant)


def balance(tenant: Tenant) -> None:
    """See that whatever is owed is of an event that is there, and no attempt is lost."""
    events = {one["token"]: one for one in listed(tenant, "/v1/events", "token")}
    deliveries = listed(tenant, "/v1/deliveries", None)
    assert events
    assert {one["event_token"] for one in deliveries} <= events.keys()
    for one in deliveries:
        assert (one["state"] == "pending") is (one["finished"] is None), one
        assert one["event_type"] == events[one["event_token"]]["event_type"], one


def listed(tenant: Tenant, path: str, position: str | None) -> list[dict[str, Any]]:
    """Return all of a list; `position` is the field that the next page follows."""
    found: list[dict[str, Any]] = []
    query: dict[str, Any] = {"page_size": 1_000}
    while True:
        page = tenant.ask(200, "GET", path, params=query)
        found += page["data"]
        if not page["has_more"]:
            return found
        query["starting_after"] = page["older"] if position is None else found[-1][position]
