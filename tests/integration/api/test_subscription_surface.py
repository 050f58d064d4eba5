"""The operations on subscriptions over HTTP, as lithic's own client and a bare one see them."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import lithic
import msgspec
import pytest

from tests.support.bare import BARE
from tests.support.database import URL
from tests.support.manual import ManualClock
from tests.support.subscribing import Office, office
from waypost.api import app, openapi
from waypost.api.event_types import EventTypeRoutes
from waypost.api.jwks import JwksRoutes
from waypost.api.replays import ReplayRoutes
from waypost.api.subscriptions import SubscriptionRoutes
from waypost.clock import SystemEntropy
from waypost.engine.replayer import Replayer
from waypost.model import ids
from waypost.model.failure import Suspension
from waypost.model.project import PROJECT_SCOPES, ApiKey, Scope
from waypost.operations.access import Access, AccessConfig
from waypost.operations.deliveries import Deliveries
from waypost.policy.credentials import digest
from waypost.policy.format import NATIVE_FORMATS
from waypost.storage import subscriptions
from waypost.web.errors import ErrorCounts, Surfaces
from waypost.web.fast import FastRoutes

PATH = "/v1/event_subscriptions"


class Surface:
    """The application over an office, and keys for it.

    Attributes:
        http: a bare client with a key of the project.
        reader: one whose key may only read.
        stranger: one of another project.
        sdk: lithic's client.
    """

    def __init__(self, at: Office) -> None:
        """Make the application and its clients."""
        self.at = at
        self.replayer = Replayer(at.store, lambda owed, _: at.take(owed), at.records.ids, at.router)
        self.access = Access(ManualClock(), AccessConfig())
        deliveries = Deliveries(at.store, lambda: (), NATIVE_FORMATS)
        self.table = [
            *SubscriptionRoutes(at.subscriptions, at.keys, deliveries).operations(),
            *ReplayRoutes(at.replays, at.examples).operations(),
            *EventTypeRoutes(at.event_types).operations(),
            *JwksRoutes(at.keys).operations(),
        ]
        surfaces = Surfaces(SystemEntropy())
        built = app.build(self.table, FastRoutes(), {}, self.access, surfaces, ErrorCounts())
        self._transport = httpx.ASGITransport(app=built)
        self.nobody = httpx.AsyncClient(transport=self._transport, base_url="http://waypost")
        project, other = at.records.project, at.records.other
        self.http = self._client(project, PROJECT_SCOPES)
        self.reader = self._client(project, {Scope.SUBSCRIPTIONS_READ, Scope.EVENTS_READ})
        self.stranger = self._client(other, PROJECT_SCOPES)
        self.sdk = lithic.AsyncLithic(
            api_key=self._key(project, PROJECT_SCOPES),
            base_url="http://waypost",
            http_client=httpx.AsyncClient(transport=self._transport),
            max_retries=0,
            _strict_response_validation=True,
        )

    def _key(self, project_id: ids.Id, scopes: Any) -> str:
        text = f"key-{len(self.access._by_id)}"
        key = ApiKey(self.at.records.ids.next(), project_id, text, frozenset(scopes))
        self.access.add_project(project_id)
        self.access.add(digest(text.encode()), key)
        return text

    def _client(self, project_id: ids.Id, scopes: Any) -> httpx.AsyncClient:
        return httpx.AsyncClient(
            transport=self._transport,
            base_url="http://waypost",
            headers={"authorization": self._key(project_id, scopes)},
        )

    async def made(self, **settings: Any) -> dict[str, Any]:
        """Make a subscription; return what was answered."""
        answer = await self.http.post(PATH, json={"url": URL, **settings})
        assert answer.status_code == 201, answer.text
        return dict(answer.json())

    async def refused(self, status: int, method: str, path: str, **options: Any) -> list[str]:
        """Ask for something that is refused; return the paths of the fields to blame."""
        answer = await self.http.request(method, path, **options)
        assert answer.status_code == status, answer.text
        body = answer.json()
        assert set(body) - {"errors"} == {"message", "debugging_request_id"}
        return [error["path"] for error in body.get("errors", [])]


@pytest.fixture
async def at(tmp_path: Path) -> AsyncIterator[Surface]:
    async with office(tmp_path) as opened:
        yield Surface(opened)


async def test_lithics_client_makes_reads_changes_and_deletes(at: Surface) -> None:
    api = at.sdk.events.subscriptions
    made = await api.create(url=URL, description="d", event_types=["card.created"])
    assert made.token.startswith("ep_")
    assert (made.description, made.disabled, made.url) == ("d", False, URL)
    assert made.event_types == ["card.created"]
    assert await api.retrieve(made.token) == made
    changed = await api.update(made.token, url="https://b.example/", disabled=True)
    assert (changed.description, changed.disabled, changed.event_types) == (
        "d",
        True,
        ["card.created"],
    )
    await api.delete(made.token)
    with pytest.raises(lithic.NotFoundError):
        await api.retrieve(made.token)


async def test_lithics_client_walks_the_pages_both_ways(at: Surface) -> None:
    tokens = [(await at.made())["token"] for _ in range(7)]
    api = at.sdk.events.subscriptions
    assert [one.token async for one in api.list(page_size=3)] == tokens[::-1]
    back = [one.token async for one in api.list(page_size=2, ending_before=tokens[2])]
    assert sorted(back) == sorted(tokens[3:])
    page = await api.list(page_size=2, ending_before=tokens[2])
    assert ([one.token for one in page.data], page.has_more) == ([tokens[4], tokens[3]], True)


async def test_lithics_client_sees_and_rotates_the_secret(at: Surface) -> None:
    token = (await at.made())["token"]
    api = at.sdk.events.subscriptions
    first = (await api.retrieve_secret(token)).secret
    assert first is not None
    assert first.startswith("whsec_")
    await api.rotate_secret(token)
    second = (await api.retrieve_secret(token)).secret
    assert second not in {first, None}
    for _ in range(9):
        await api.rotate_secret(token)
    with pytest.raises(lithic.BadRequestError):
        await api.rotate_secret(token)


async def test_lithics_client_sends_an_example_and_sends_it_again(at: Surface) -> None:
    one, other = await at.made(), await at.made(event_types=["card.updated"])
    api = at.sdk.events.subscriptions
    await api.send_simulated_example(one["token"], event_type="card.created")
    await api.send_simulated_example(one["token"])
    [(_, event), (_, second)] = at.at.committed_events
    assert msgspec.json.decode(event.payload) == {"event_type": "card.created"}
    assert second.type == "example"
    event_token = ids.spell(ids.EVENT, event.id)
    await at.sdk.events.resend(event_token, event_subscription_token=other["token"])
    [owed] = at.at.owed
    assert (owed.event_id, ids.spell(ids.SUBSCRIPTION, owed.subscription_id)) == (
        event.id,
        other["token"],
    )
    attempts = await api.list_attempts(one["token"])
    assert [(attempt.status, attempt.response) for attempt in attempts.data] == [
        ("PENDING", "")
    ] * 2


async def test_lithics_client_recovers_and_replays_what_is_missing(at: Surface) -> None:
    one = (await at.made())["token"]
    await at.sdk.events.subscriptions.send_simulated_example(one)
    late = (await at.made())["token"]
    api = at.sdk.events.subscriptions
    await api.recover(late)
    await api.replay_missing(late, begin="2019-12-27T18:11:19.117+00:00")
    await api.replay_missing(late, begin="2019-12-27T18:11:19.117Z", end="2019-12-27T18:11:19.117Z")
    while await at.replayer.run_once():
        pass
    jobs = (await at.http.get("/v1/replays")).json()
    assert [(job["kind"], job["state"], job["owed"]) for job in jobs["data"]] == [
        ("replay_missing", "done", 0),
        ("replay_missing", "done", 0),
        ("recover", "done", 0),
    ]


async def test_the_range_may_stand_in_the_body(at: Surface) -> None:
    token = (await at.made())["token"]
    begin = "2026-01-01T00:00:00Z"
    for verb in ("recover", "replay_missing"):
        answer = await at.http.post(f"{PATH}/{token}/{verb}", json={"begin": begin})
        assert (answer.status_code, answer.content) == (202, b"")
    jobs = (await at.http.get("/v1/replays", params={"page_size": 1})).json()
    assert (jobs["has_more"], jobs["data"][0]["begin"]) == (True, begin)
    job = (await at.http.get(f"/v1/replays/{jobs['data'][0]['token']}")).json()
    assert job == jobs["data"][0]
    assert (await at.stranger.get(f"/v1/replays/{job['token']}")).status_code == 404
    assert await at.refused(400, "POST", f"{PATH}/{token}/recover", params={"begin": "now"}) == [
        "begin"
    ]
    assert await at.refused(400, "POST", f"{PATH}/{token}/recover", json={"begin": 5}) == ["begin"]


async def test_beyond_lithic_every_setting_comes_back(at: Surface) -> None:
    settings: dict[str, Any] = {
        "description": "for people",
        "event_types": ["card.*", "book.created"],
        "paused": True,
        "headers": {"x-token": "t"},
        "timeout_s": 2.5,
        "concurrency": 3,
        "insecure_tls": True,
        "format": "thin",
        "signing": "v1a",
        "name": "A name",
        "owner": "o",
        "retry_schedule": [1, 2.5],
        "filter": {"body": {"n": {"$gt": 1}}, "headers": {"X-Tenant": "a"}},
        "transform": {"template": {"a": "{{ payload }}"}},
        "verification": "challenge",
        "ordering": "key",
        "on_order_failure": "block",
    }
    made = await at.made(**settings)
    assert {name: made[name] for name in settings} == settings
    bare = await at.made()
    expected = {**BARE, "url": URL}
    assert {name: bare[name] for name in expected} == expected
    assert set(bare) - set(expected) == {"token", "created", "updated"}
    path = f"{PATH}/{made['token']}"
    nulls = dict.fromkeys(
        (
            *("event_types", "headers", "owner", "retry_schedule", "filter", "transform"),
            *("verification", "ordering", "on_order_failure"),
        )
    )
    reset = (await at.http.patch(path, json={"url": URL, **nulls})).json()
    assert {name: reset[name] for name in nulls} == {name: expected[name] for name in nulls}
    assert reset["format"] == "thin"


async def test_another_url_is_verified_anew_and_so_is_one_on_demand(at: Surface) -> None:
    pending = {"state": "pending", "since": None, "reason": None, "allowed_per_minute": None}
    made = await at.made(verification="challenge")
    path = f"{PATH}/{made['token']}"
    assert made["verification_status"] == pending
    verified = await at.http.post(f"{path}/verify")
    assert (verified.status_code, verified.json()["verification_status"]) == (200, pending)
    plain = await at.made()
    refused = await at.http.post(f"{PATH}/{plain['token']}/verify")
    assert refused.status_code == 422
    for body, field in (({"verification": "x"}, 400), ({"verification": "cloudevents"}, 422)):
        answer = await at.http.patch(path, json={"url": URL, **body})
        assert (answer.status_code, answer.json()["errors"][0]["path"]) == (field, "verification")


async def test_pause_and_resume_answer_with_the_subscription(at: Surface) -> None:
    made = await at.made()
    for verb, paused in (("pause", True), ("resume", False)):
        answer = await at.http.post(f"{PATH}/{made['token']}/{verb}")
        shown = answer.json()
        assert shown["updated"] > made["updated"]
        assert shown == {**made, "paused": paused, "updated": shown["updated"]}


async def test_who_may_only_read_sees_neither_secrets_nor_header_values(at: Surface) -> None:
    made = await at.made(headers={"authorization": "Bearer s3cret"})
    path = f"{PATH}/{made['token']}"
    assert (await at.reader.get(path)).json()["headers"] == {"authorization": "***"}
    assert (await at.reader.get(PATH)).json()["data"][0]["headers"] == {"authorization": "***"}
    assert (await at.reader.get(f"{path}/secret")).status_code == 403
    assert (await at.http.get(path)).json()["headers"] == {"authorization": "Bearer s3cret"}


async def test_the_private_half_of_an_ed25519_key_never_leaves(at: Surface) -> None:
    made = await at.made(signing="v1a")
    secret = (await at.http.get(f"{PATH}/{made['token']}/secret")).json()["secret"]
    assert secret.startswith("whpk_")
    own = {"event_subscription_token": made["token"]}
    for query in ({}, own):
        answer = await at.nobody.get("/v1/jwks.json", params=query)
        assert answer.status_code == 200
        [key] = answer.json()["keys"]
        assert set(key) == {"kty", "crv", "alg", "use", "kid", "x"}
    none = {"event_subscription_token": (await at.made())["token"]}
    assert (await at.nobody.get("/v1/jwks.json", params=none)).json() == {"keys": []}
    assert await at.refused(400, "GET", "/v1/jwks.json?event_subscription_token=x") == [
        "event_subscription_token"
    ]


async def test_a_catalogue_is_put_and_got_as_it_was(at: Surface) -> None:
    body = b'{"event_types":[{"name":"b","description":"","example":{"n":1.10}}]}'
    answer = await at.http.put(
        "/v1/event_types", content=body, headers={"content-type": "application/json"}
    )
    assert (answer.status_code, answer.content) == (200, body)
    shown = await at.http.get("/v1/event_types")
    assert shown.content.startswith(body[:-1] + b',"system_event_types":[{"name":"waypost.')
    assert (await at.stranger.get("/v1/event_types")).json()["event_types"] == []
    assert (await at.reader.put("/v1/event_types", content=body)).status_code == 403
    bad = {"event_types": [{"name": "a b"}]}
    assert await at.refused(400, "PUT", "/v1/event_types", json=bad) == ["event_types[0].name"]


@pytest.mark.parametrize("what", ["unknown", "malformed", "another project's"])
async def test_what_is_not_there_is_404_everywhere(at: Surface, what: str) -> None:
    made = await at.made()
    token = {
        "unknown": ids.spell(ids.SUBSCRIPTION, at.at.records.ids.next()),
        "malformed": "ep_x",
        "another project's": made["token"],
    }[what]
    client = at.stranger if what == "another project's" else at.http
    event = ids.spell(ids.EVENT, at.at.records.ids.next())
    for row in at.table:
        if "event_subscription_token" in row.parameters:
            path = row.path.format(event_subscription_token=token, event_token=event)
            body = {"url": URL} if row.method == "PATCH" else None
            answer = await client.request(row.method, path, json=body)
            assert answer.status_code == 404, row.name
            assert answer.headers["content-type"] == "application/json"
    assert (await at.http.get(f"{PATH}/{made['token']}")).json() == made


async def test_a_disabled_subscription_answers_422(at: Surface) -> None:
    token = (await at.made(disabled=True))["token"]
    other = (await at.made())["token"]
    await at.sdk.events.subscriptions.send_simulated_example(other)
    event = ids.spell(ids.EVENT, at.at.committed_events[0][1].id)
    for path in (
        f"{PATH}/{token}/recover",
        f"{PATH}/{token}/replay_missing",
        f"/v1/events/{event}/event_subscriptions/{token}/resend",
        f"/v1/simulate/event_subscriptions/{token}/send_example",
    ):
        assert await at.refused(422, "POST", path) == []
    found = (await at.http.get(f"{PATH}/{token}")).json()
    assert (found["disabled"], found["disabled_reason"]) == (True, "person")


@pytest.mark.parametrize(
    "body, path",
    [
        ({}, "url"),
        ({"url": None}, "url"),
        ({"url": "http://a.example/"}, "url"),
        ({"url": URL, "colour": "red"}, "colour"),
        ({"url": URL, "description": "a\x00b"}, "description"),
        ({"url": URL, "event_types": ["a", "b c"]}, "event_types[1]"),
        ({"url": URL, "headers": {"x": "a\r\nb"}}, "headers.x"),
        ({"url": URL, "timeout_s": 1000}, "timeout_s"),
        ({"url": URL, "concurrency": 1.5}, "concurrency"),
        ({"url": URL, "format": "xml"}, "format"),
        ({"url": URL, "signing": "v3"}, "signing"),
    ],
)
async def test_bad_settings_are_refused_by_field(
    at: Surface, body: dict[str, Any], path: str
) -> None:
    assert await at.refused(400, "POST", PATH, json=body) == [path]
    token = (await at.made())["token"]
    assert await at.refused(400, "PATCH", f"{PATH}/{token}", json=body) == [path]
    assert len((await at.http.get(PATH)).json()["data"]) == 1


async def test_positions_and_sizes_are_checked(at: Surface) -> None:
    for query in ("page_size=0", "page_size=101", "starting_after=x", "ending_before=evt_1"):
        assert await at.refused(400, "GET", f"{PATH}?{query}") == [query.partition("=")[0]]
    pruned = ids.spell(ids.SUBSCRIPTION, at.at.records.ids.next())
    await at.made()
    answer = await at.http.get(PATH, params={"starting_after": pruned})
    assert answer.json() == {"data": [], "has_more": False}


async def test_each_operation_has_its_place_in_the_document(at: Surface) -> None:
    made = openapi.document(at.table)
    operations = {o["operationId"] for path in made["paths"].values() for o in path.values()}
    assert operations == {row.name for row in at.table}
    body = made["components"]["schemas"]["SubscriptionIn"]
    assert body["required"] == ["url"]
    assert "description" in body["properties"]["timeout_s"]["anyOf"][0]


ALERT = {"url": "https://alerts.example/hook", "secret": "whsec_" + "A" * 40}
HANDLING: dict[str, Any] = {
    "triggers": ["404", "5xx", "timeout"],
    "otherwise": "divert",
    "retry": {"strategy": "exponential", "interval_s": 5, "max_interval_s": 60, "retries": 7},
    "retry_window_s": 3600,
    "disable_after_s": 7200,
    "on_giving_up": ["divert", "suspend", "alert"],
    "suspended": {"pending": "divert", "incoming": "cancel"},
    "alert_endpoints": [{**ALERT, "headers": {"x-key": "k"}, "insecure_tls": True}],
    "never_disable": True,
}


async def test_failure_handling_comes_back_without_its_secret(at: Surface) -> None:
    made = await at.made(failure_handling=HANDLING)
    shown = made["failure_handling"]
    assert shown["retry"] == {**HANDLING["retry"], "schedule_s": None, "jitter": None}
    endpoint = {**HANDLING["alert_endpoints"][0], "format": "payload"}
    assert shown["alert_endpoints"] == [{**endpoint, "secret": "***"}]
    plain = set(HANDLING) - {"retry", "alert_endpoints"}
    assert {name: shown[name] for name in plain} == {name: HANDLING[name] for name in plain}
    assert made["retry_schedule"] == [5, 10, 20, 40, 60, 60, 60]
    left = ["timeout_s", "concurrency", "ordering", "on_order_failure", "verification"]
    assert made["inherited"][-5:] == left
    read = (await at.reader.get(f"{PATH}/{made['token']}")).json()
    assert read["failure_handling"]["alert_endpoints"][0]["headers"] == {"x-key": "***"}
    assert [one["token"] for one in (await at.http.get(PATH)).json()["data"]] == [made["token"]]


async def test_failure_handling_that_cannot_be_obeyed_is_refused_when_it_is_set(
    at: Surface,
) -> None:
    made = await at.made(retry_schedule=[1])
    path = f"{PATH}/{made['token']}"
    retry = {"strategy": "constant", "interval_s": 5, "retries": 2}
    cases: list[tuple[int, dict[str, Any], str]] = [
        (422, {"failure_handling": {"retry": retry}}, "retry_schedule"),
        (422, {"failure_handling": {"triggers": ["x"]}}, "failure_handling.triggers[0]"),
        (
            422,
            {"failure_handling": {"on_giving_up": ["alert"]}},
            "failure_handling.alert_endpoints",
        ),
        (
            422,
            {
                "failure_handling": {
                    "on_giving_up": ["alert"],
                    "alert_endpoints": [{"url": ALERT["url"]}],
                }
            },
            "failure_handling.alert_endpoints[0].secret",
        ),
        (
            400,
            {"failure_handling": {"retry": {"strategy": "x"}}},
            "failure_handling.retry.strategy",
        ),
        (400, {"failure_handling": {"on_giving_up": "divert"}}, "failure_handling.on_giving_up"),
    ]
    for status, settings, place in cases:
        blamed = await at.refused(status, "PATCH", path, json={"url": URL, **settings})
        assert blamed == [place], settings
        blamed = await at.refused(
            status, "POST", PATH, json={"url": URL, "retry_schedule": [1], **settings}
        )
        assert blamed == [place], settings
    assert (await at.http.get(path)).json() == made


async def test_unsuspending_ends_a_suspension_and_nothing_else(at: Surface) -> None:
    made = await at.made()
    subscription_id = ids.read(ids.SUBSCRIPTION, made["token"])
    why = Suspension(1, ids.make(1, 1), "5xx", "status 500")
    project_id = at.at.records.project
    await at.at.store.write(
        lambda c: subscriptions.set_suspended(c, project_id, subscription_id, why)
    )
    path = f"{PATH}/{made['token']}"
    suspended = (await at.http.get(path)).json()
    assert suspended["suspended"] is True
    assert suspended["suspension"]["trigger"] == "5xx"
    assert (await at.reader.post(f"{path}/unsuspend")).status_code == 403
    assert (await at.stranger.post(f"{path}/unsuspend")).status_code == 404
    for _ in range(2):
        answer = await at.http.post(f"{path}/unsuspend")
        shown = answer.json()
        assert (answer.status_code, shown) == (200, {**made, "updated": shown["updated"]})


@pytest.mark.parametrize("ordering", ["none", None])
async def test_blocking_without_an_order_is_refused_when_it_is_set(
    at: Surface, ordering: str | None
) -> None:
    settings = {"url": URL, "ordering": ordering, "on_order_failure": "block"}
    refused = await at.http.post(PATH, json=settings)
    assert refused.status_code == 422
    assert refused.json()["errors"][0]["path"] == "on_order_failure"
    made = await at.made(ordering="strict", on_order_failure="block")
    path = f"{PATH}/{made['token']}"
    assert (await at.http.patch(path, json={"url": URL, "ordering": ordering})).status_code == 422
    assert (await at.http.get(path)).json()["ordering"] == "strict"
    unknown = await at.http.patch(path, json={"url": URL, "ordering": "topic"})
    assert (unknown.status_code, unknown.json()["errors"][0]["path"]) == (400, "ordering")
