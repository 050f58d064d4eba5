"""What the native API alone has: transactions, blocked keys, the catalogue, keys, projects."""

import pytest

from tests.support.receiver import Receiver
from tests.support.site import Site, Tenant, client, eventually

UNCLAIMED = "/v1/unclaimed_events"


@pytest.mark.proves(
    "native",
    "GET /v1/unclaimed_events",
    "POST /v1/events/{event_token}/transactions",
    "GET /v1/events/{event_token}/transactions",
    "GET /v1/events/{event_token}/transactions/{transaction_token}",
    "POST /v1/events/{event_token}/transactions/{transaction_token}/heartbeat",
    "POST /v1/events/{event_token}/transactions/{transaction_token}/finish",
    "POST /v1/events/{event_token}/transactions/{transaction_token}/fail",
)
def test_a_transaction_is_claimed_kept_and_ended(tenant: Tenant) -> None:
    first, second = tenant.post(), tenant.post()
    asked = {"tx_key": "billing", "event_types": "card.created"}

    def unclaimed() -> list[str]:
        return [one["token"] for one in tenant.ask(200, "GET", UNCLAIMED, params=asked)["data"]]

    assert unclaimed() == [first, second]
    claimed = tenant.claim(first, "billing", lease_s=60)
    assert (claimed["state"], claimed["claim"]) == ("processing", 1)
    assert unclaimed() == [second]
    path = f"/v1/events/{first}/transactions"
    tenant.ask(409, "POST", path, json={"tx_key": "billing"})
    one = f"{path}/{claimed['token']}"
    kept = tenant.ask(200, "POST", f"{one}/heartbeat", json={"claim": 1, "lease_s": 3600})
    assert kept["lease_until"] > claimed["lease_until"]
    ended = tenant.ask(200, "POST", f"{one}/finish", json={"claim": 1, "output": "invoice 17"})
    assert (ended["state"], ended["output"]) == ("finished", "invoice 17")
    assert tenant.ask(200, "GET", one) == ended
    tenant.ask(409, "POST", f"{one}/fail", json={"claim": 1})
    other = tenant.claim(first, "shipping")
    failed = tenant.ask(200, "POST", f"{path}/{other['token']}/fail", json={"claim": 1})
    assert [change["state"] for change in failed["history"]] == ["processing", "failed"]
    assert tenant.ask(200, "GET", path)["data"] == [failed, ended]


@pytest.mark.proves(
    "native",
    "GET /v1/event_subscriptions/{event_subscription_token}/blocked_keys",
    "POST /v1/event_subscriptions/{event_subscription_token}/blocked_keys/release",
)
def test_a_blocked_key_is_listed_and_released(tenant: Tenant, received: Receiver) -> None:
    received.status = 500
    settings = {"ordering": "key", "on_order_failure": "block", "retry_schedule": []}
    path = f"/v1/event_subscriptions/{tenant.subscribe(received.url, **settings)}/blocked_keys"
    given_up, behind = (tenant.post(ordering_key="card-7") for _ in range(2))
    [blocked] = eventually(lambda: tenant.ask(200, "GET", path)["data"])
    assert (blocked["ordering_key"], blocked["event_token"]) == ("card-7", given_up)
    assert tenant.deliveries(behind) == [("pending", None)]
    received.status = 204
    tenant.ask(404, "POST", f"{path}/release", json={"ordering_key": "card-8"})
    tenant.ask(204, "POST", f"{path}/release", json={"ordering_key": "card-7"})
    tenant.settled(behind, "delivered")
    assert tenant.ask(200, "GET", path)["data"] == []
    assert [one.headers["webhook-id"] for one in received.requests] == [given_up, behind]


@pytest.mark.proves("native", "GET /v1/event_types", "PUT /v1/event_types")
def test_a_catalogue_is_put_and_got(tenant: Tenant) -> None:
    entries = [
        {"name": "a.made", "description": "d", "example": {"n": 1}},
        {"name": "b.made", "description": "", "example": None},
    ]
    path = "/v1/event_types"
    put = tenant.ask(200, "PUT", path, json={"event_types": entries})
    assert put["event_types"] == entries
    assert tenant.ask(200, "GET", path)["event_types"] == entries
    tenant.ask(200, "PUT", path, json={"event_types": entries[1:]})
    assert tenant.ask(200, "GET", path)["event_types"] == entries[1:]


@pytest.mark.proves(
    "native",
    "GET /v1/api_keys",
    "POST /v1/api_keys",
    "DELETE /v1/api_keys/{api_key_token}",
)
def test_a_key_is_made_listed_and_revoked(site: Site, tenant: Tenant) -> None:
    body = {"name": "brief", "project": tenant.project, "scopes": ["events.read"]}
    made = site.admin.post("/v1/api_keys", json=body).raise_for_status().json()
    here = {"waypost-project": tenant.project}
    listed = site.admin.get("/v1/api_keys", headers=here).json()["data"]
    assert (listed[0]["token"], listed[0]["scopes"]) == (made["token"], ["events.read"])
    assert made["key"] not in str(listed)
    with client(site.url, made["key"]) as by:
        assert by.get("/v1/events").status_code == 200
        assert site.admin.delete(f"/v1/api_keys/{made['token']}", headers=here).status_code == 204
        assert by.get("/v1/events").status_code == 401


@pytest.mark.proves(
    "native",
    "GET /v1/projects",
    "POST /v1/projects",
    "GET /v1/projects/{project_token}",
    "PATCH /v1/projects/{project_token}",
    "DELETE /v1/projects/{project_token}",
)
def test_a_project_is_made_changed_and_deleted(site: Site) -> None:
    made = site.admin.post("/v1/projects", json={"name": "n", "environment": "test"}).json()
    path = f"/v1/projects/{made['token']}"
    assert site.admin.get(path).json() == made
    assert made in site.admin.get("/v1/projects").json()["data"]
    changed = site.admin.patch(path, json={"name": "m", "strict_types": True}).json()
    assert (changed["name"], changed["strict_types"]) == ("m", True)
    assert site.admin.delete(path).status_code == 204
    assert site.admin.get(path).status_code == 404


@pytest.mark.proves("native", "POST /v1/prune")
def test_what_is_older_is_counted_and_pruned(site: Site, tenant: Tenant) -> None:
    tokens = [tenant.post() for _ in range(3)]
    last = tenant.ask(200, "GET", f"/v1/events/{tokens[2]}")["created"]

    def pruned(**body: object) -> int:
        answer = site.admin.post("/v1/prune", json=body)
        assert answer.status_code == 200, answer.text
        return int(answer.json()["rows"].get("events", 0))

    assert pruned(before="2020-01-01T00:00:00Z") == 0
    assert pruned(before=last, dry_run=True) >= 2
    assert [tenant.ask(200, "GET", f"/v1/events/{one}")["token"] for one in tokens] == tokens


@pytest.mark.proves(
    "native",
    "GET /v1/sources",
    "POST /v1/sources",
    "GET /v1/sources/{source_token}",
    "PATCH /v1/sources/{source_token}",
    "DELETE /v1/sources/{source_token}",
)
def test_a_source_is_made_changed_and_deleted(tenant: Tenant) -> None:
    path = "/v1/sources"
    made = tenant.ask(201, "POST", path, json={"name": "s", "type": "rest_api"})
    one = f"{path}/{made['token']}"
    assert tenant.ask(200, "GET", one) == made
    changed = tenant.ask(200, "PATCH", one, json={"name": "t", "disabled": True})
    assert changed == made | {"name": "t", "disabled": True}
    assert tenant.ask(200, "GET", path)["data"] == [changed]
    body = {"event_type": "a", "payload": {"n": 1}}
    tenant.refused(422, "POST", f"{one}/events", json=body)
    tenant.ask(200, "PATCH", one, json={"disabled": False})
    posted = tenant.ask(202, "POST", f"{one}/events", json=body)["token"]
    assert tenant.ask(200, "GET", f"/v1/events/{posted}")["payload"] == {"n": 1}
    tenant.ask(204, "DELETE", one)
    tenant.ask(404, "GET", one)
