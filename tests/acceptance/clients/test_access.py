"""Who may do what: every route, with every kind of key, and with the ids of another project."""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest

from tests.support.program import ADMIN_KEY
from tests.support.routes import EVENT, NOWHERE, Route, routes_of
from tests.support.site import Site, Tenant, client, eventually

ADMINISTRATION = ("/v1/projects", "/v1/api_keys", "/v1/prune")
"""Where the paths of operations begin that no project's own key may ask for."""


def masked(response: httpx.Response) -> Any:
    """Return a refusal without what is another one in each."""
    return response.json() | {"debugging_request_id": ""}


@pytest.fixture
def routes(site: Site) -> list[Route]:
    """Have all operations but those that are open to everybody."""
    found = routes_of(site.admin)
    assert [route.name for route in found if route.open] == ["get_jwks"]
    return [route for route in found if not route.open]


@pytest.fixture
def tokens(site: Site, tenant: Tenant) -> dict[str, str]:
    """Have one of everything in a project: an id for each parameter of a path."""
    subscription = tenant.subscribe(NOWHERE, retry_schedule=[])
    event = tenant.post()
    tenant.settled(event, "failed")
    tenant.ask(202, "POST", f"/v1/event_subscriptions/{subscription}/replay_missing")
    attempt = tenant.ask(200, "GET", f"/v1/events/{event}/attempts")["data"][0]
    diverted = tenant.ask(200, "GET", "/v1/diverted_events")["data"][0]
    replay = tenant.ask(200, "GET", "/v1/replays")["data"][0]
    in_project = {"waypost-project": tenant.project}
    keys = site.admin.get("/v1/api_keys", headers=in_project).json()["data"]
    return {
        "event_subscription_token": subscription,
        "event_token": event,
        "attempt_token": attempt["token"],
        "diverted_event_token": diverted["token"],
        "replay_token": replay["token"],
        "project_token": tenant.project,
        "api_key_token": keys[0]["token"],
        "transaction_token": tenant.claim(event, "first")["token"],
        "source_token": tenant.source(),
    }


def state_of(tenant: Tenant) -> list[Any]:
    """Return everything that a project shows of itself, but for what passes by itself."""
    subscriptions = tenant.ask(200, "GET", "/v1/event_subscriptions")["data"]
    for subscription in subscriptions:
        del subscription["failing_since"]  # saved behind the failures' back
    paths = ["events", "deliveries", "diverted_events", "event_types", "replays"]
    return [subscriptions, *(tenant.ask(200, "GET", f"/v1/{path}") for path in paths)]


def settled_state(tenant: Tenant) -> list[Any]:
    """Return the state of a project in which every job is done."""
    eventually(
        lambda: tenant.ask(200, "GET", "/v1/replays")["data"],
        lambda found: all(replay["state"] == "done" for replay in found),
    )
    return state_of(tenant)


def test_a_key_of_another_project_finds_nothing_at_any_id(
    routes: list[Route], tokens: dict[str, str], tenant: Tenant, stranger: Tenant
) -> None:
    missing = {name: spelled.partition("_")[0] + f"_{UNKNOWN}" for name, spelled in tokens.items()}
    of_stranger = {"event_token": stranger.post(), "event_subscription_token": ""}
    before = settled_state(tenant)
    asked = 0
    for route in routes:
        if not route.parameters:
            continue
        there, nowhere = (route.ask(stranger.http, ids) for ids in (tokens, missing))
        if route.path.startswith(ADMINISTRATION):
            assert there.status_code == 403, route
        else:
            assert there.status_code == 404, route
            assert there.headers.keys() == nowhere.headers.keys()
        assert masked(there) == masked(nowhere), route
        asked += 1
    assert asked >= 20
    # One id of one's own in the path opens nothing of others.
    own = tokens | {"event_token": of_stranger["event_token"]}
    for route in routes:
        if len(route.parameters) > 1:
            assert route.ask(stranger.http, own).status_code == 404, route
    assert settled_state(tenant) == before


def test_a_filter_or_cursor_of_another_project_shows_nothing(
    tokens: dict[str, str], stranger: Tenant
) -> None:
    subscription = tokens["event_subscription_token"]
    for path in ("deliveries", "diverted_events"):
        query = {"event_subscription_token": subscription}
        assert stranger.ask(200, "GET", f"/v1/{path}", params=query)["data"] == []
    query = {"event_subscription_token": subscription}
    assert stranger.ask(200, "GET", "/v1/replays", params=query)["data"] == []
    mine = stranger.post()
    for name in ("starting_after", "ending_before"):
        query = {name: tokens["event_token"]}
        page = stranger.ask(200, "GET", "/v1/events", params=query)["data"]
        assert {one["token"] for one in page} <= {mine}
    body = {**EVENT, "targets": [subscription]}
    assert stranger.refused(400, "POST", "/v1/events", json=body) == ["targets[0]"]


def test_a_key_of_its_own_project_may_do_all_of_it(
    routes: list[Route], tokens: dict[str, str], tenant: Tenant
) -> None:
    settled_state(tenant)
    # To be sent again from the box it must be in there still, and others take it out as well.
    early = {"resend_diverted_event": 1, "delete_event_subscription": 3, "delete_source": 3}
    for route in sorted(routes, key=lambda r: early.get(r.name, 0 if r.method == "GET" else 2)):
        response = route.ask(tenant.http, tokens)
        if route.path.startswith(ADMINISTRATION):
            assert response.status_code == 403, route
        elif route.name == "delete_diverted_event":
            assert response.status_code == 404, "it has left the box, too"
        elif route.name == "verify_event_subscription":
            assert response.status_code == 422, "its URL needs no verification"
        elif route.name == "fail_transaction":
            assert response.status_code == 409, "it is finished"
        elif route.name == "release_blocked_key":
            assert response.status_code == 404, "nothing blocks a key"
        elif route.name in {"pause_replay", "resume_replay", "cancel_replay"}:
            assert response.status_code == 422, "it was finished before"
        else:
            assert response.is_success, (route, response.text)


def bad_keys(site: Site, tenant: Tenant) -> Iterator[tuple[str | None, str]]:
    """Yield keys that are good for nothing, and what is said of them."""
    yield None, "Please provide API key in Authorization header"
    yield "", "Please provide API key in Authorization header"
    for unformed in ("two words", "Basic a2V5OmtleQ==", "Bearer two words"):
        yield unformed, "Please provide API key in the form Authorization: [api-key]"
    for unknown in ("wp_unknown", "Bearer wp_unknown", "Bearer", ADMIN_KEY + "x", tenant.key[:-1]):
        yield unknown, "Could not find API key"
    revoked = site.admin.post("/v1/api_keys", json={"name": "k", "project": tenant.project}).json()
    site.admin.delete(
        f"/v1/api_keys/{revoked['token']}", headers={"waypost-project": tenant.project}
    ).raise_for_status()
    yield revoked["key"], "API key is not active"


def test_without_a_good_key_no_route_does_anything(
    site: Site, routes: list[Route], tokens: dict[str, str], tenant: Tenant
) -> None:
    before = settled_state(tenant)
    for key, said in bad_keys(site, tenant):
        with client(site.url, key) as by:
            for route in routes:
                response = route.ask(by, tokens)
                assert (response.status_code, response.json()["message"]) == (401, said), route
    assert settled_state(tenant) == before


SCOPES = {"events.write", "events.read", "subscriptions.read", "subscriptions.write"}
SCOPES |= {"transactions.write", "sources.read", "sources.write"}


def test_a_key_without_the_scope_is_refused_and_told_which(
    site: Site, routes: list[Route], tokens: dict[str, str], tenant: Tenant
) -> None:
    demanded: dict[str, set[str]] = {}
    for scope in sorted(SCOPES):
        with client(site.url, site.key(tenant.project, scopes=sorted(SCOPES - {scope}))) as by:
            for route in routes:
                if route.path.startswith(ADMINISTRATION):
                    continue
                # With ids of nothing, so that what is allowed does nothing either.
                response = route.ask(by, dict.fromkeys(tokens, "x"))
                if response.status_code == 403:
                    assert scope in response.json()["message"], route
                    demanded.setdefault(route.name, set()).add(scope)
    assert set(demanded) == {
        route.name for route in routes if not route.path.startswith(ADMINISTRATION)
    }
    assert {len(scopes) for scopes in demanded.values()} == {1}
    assert demanded["create_event"] == {"events.write"}
    assert demanded["get_event"] == {"events.read"}
    assert demanded["list_event_subscriptions"] == {"subscriptions.read"}
    for name in ("delete_event_subscription", "get_event_subscription_secret", "resend_event"):
        assert demanded[name] == {"subscriptions.write"}, name


def test_headers_of_a_subscription_are_masked_for_those_who_may_only_read(
    site: Site, tenant: Tenant
) -> None:
    token = tenant.subscribe(NOWHERE, headers={"x-token": "s3cret"})
    reading = site.key(tenant.project, scopes=["subscriptions.read", "events.read"])
    with client(site.url, reading) as by:
        for path in (f"/v1/event_subscriptions/{token}", "/v1/event_subscriptions"):
            assert "s3cret" not in by.get(path).text
            assert "s3cret" in tenant.http.get(path).text
        assert by.get(f"/v1/event_subscriptions/{token}/secret").status_code == 403


def test_an_expired_key_is_good_for_nothing(site: Site, tenant: Tenant) -> None:
    soon = (datetime.now(UTC) + timedelta(seconds=1)).isoformat()
    with client(site.url, site.key(tenant.project, expires_at=soon)) as by:
        refusal = eventually(lambda: by.get("/v1/events"), lambda found: found.status_code != 200)
    assert (refusal.status_code, refusal.json()["message"]) == (401, "API key is not active")
    past = {"name": "k", "project": tenant.project, "expires_at": "2020-01-01T00:00:00Z"}
    assert site.admin.post("/v1/api_keys", json=past).status_code == 400


@pytest.mark.parametrize("spell", [str, "Bearer {}".format, "bearer {}".format])
def test_a_key_may_be_spelled_either_way(
    site: Site, tenant: Tenant, spell: Callable[[str], str]
) -> None:
    with client(site.url, spell(tenant.key)) as by:
        assert by.get("/v1/events").status_code == 200
        assert by.post("/v1/events", json=EVENT).status_code == 202


def test_an_admin_key_acts_in_the_project_that_it_names(site: Site, tenant: Tenant) -> None:
    named = {"waypost-project": tenant.project}
    made = site.admin.post("/v1/events", json=EVENT, headers=named)
    assert made.status_code == 202
    token = made.json()["token"]
    assert tenant.ask(200, "GET", f"/v1/events/{token}")["token"] == token
    assert site.admin.get(f"/v1/events/{token}").status_code == 404
    for wrong in ("x", "prj_01920000-0000-7000-8000-000000000000", "evt_" + tenant.project[4:]):
        for method in ("GET", "POST"):
            headers = {"waypost-project": wrong}
            path = "/v1/events" if method == "POST" else "/v1/deliveries"
            refusal = site.admin.request(method, path, json=EVENT, headers=headers)
            assert refusal.status_code == 404, wrong


def test_another_key_may_name_its_own_project_alone(tenant: Tenant, stranger: Tenant) -> None:
    own, other = ({"waypost-project": one.project} for one in (tenant, stranger))
    tenant.ask(200, "GET", "/v1/events", headers=own)
    tenant.refused(404, "POST", "/v1/events", json=EVENT, headers=other)
    tenant.refused(404, "GET", "/v1/deliveries", headers=other)
    assert stranger.ask(200, "GET", "/v1/events")["data"] == []


def test_a_deleted_project_takes_its_keys_with_it(site: Site) -> None:
    tenant = site.tenant()
    path = f"/v1/projects/{tenant.project}"
    subscription = tenant.subscribe(NOWHERE)
    assert site.admin.delete(path).status_code == 422, "it still has a subscription"
    tenant.ask(204, "DELETE", f"/v1/event_subscriptions/{subscription}")
    assert site.admin.delete(path).status_code == 204
    tenant.refused(401, "POST", "/v1/events", json=EVENT)
    assert site.admin.get(path).status_code == 404


def test_answers_tell_how_many_requests_are_left(tenant: Tenant) -> None:
    for response in (
        tenant.http.get("/v1/events"),
        tenant.http.post("/v1/events", json=EVENT),
        tenant.http.post("/v1/events", content=b"{"),
        tenant.http.get("/v1/events/x"),
    ):
        assert int(response.headers["x-requests-remaining"]) > 0


UNKNOWN = "01920000-0000-7000-8000-000000000000"
