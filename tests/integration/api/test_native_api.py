"""The native API of a real server, as lithic's own client and a bare one see it."""

import json
import re
import time
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from typing import Any

import httpx
import lithic
import pytest

from tests.support.program import ADMIN_KEY, PATIENCE_S, call, server
from tests.support.receiver import Receiver, receiver
from tests.support.routes import BODIES

SCOPES = ["events.write", "events.read", "subscriptions.read", "subscriptions.write"]
SCOPES += ["transactions.write", "sources.read", "sources.write", "admin"]
UNKNOWN = "01920000-0000-7000-8000-000000000001"


class World:
    """A server, a receiver, and keys of two projects."""

    def __init__(self, url: str, receiver: Receiver) -> None:
        self.url = url
        self.receiver = receiver
        self.mine, self.project = self.key("test")
        self.other, self.other_project = self.key("production")
        self.described: dict[str, Any] = self.get("/openapi.json")

    def key(self, environment: str, *scopes: str) -> tuple[str, str]:
        """Make a key; return it and its project."""
        body: dict[str, Any] = {"name": "tests", "environment": environment}
        status, made = call(self.url, "/v1/api_keys", body | ({"scopes": scopes} if scopes else {}))
        assert status == 201
        return made["key"], made["project"]

    def get(self, path: str, key: str | None = None) -> Any:
        """Read what must be there."""
        status, body = call(self.url, path, key=key or self.mine)
        assert status == 200, body
        return body

    def post(self, path: str, body: Any, status: int = 202, key: str | None = None) -> Any:
        """Send what must be taken."""
        found, answer = call(self.url, path, body, key=key or self.mine, method="POST")
        assert found == status, answer
        return answer

    def event(self, kind: str = "card.created", **more: Any) -> str:
        """Post an event; return its token."""
        token: str = self.post("/v1/events", {"event_type": kind, "payload": {"a": 1}} | more)[
            "token"
        ]
        return token

    def subscription(self, **settings: Any) -> str:
        """Make a subscription at the receiver; return its token."""
        body = {"url": self.receiver.url} | settings
        token: str = self.post("/v1/event_subscriptions", body, 201)["token"]
        return token

    def settled(self, event_token: str) -> list[dict[str, Any]]:
        """Return an event's deliveries once none is pending."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            found = self.get(f"/v1/events/{event_token}/deliveries")["data"]
            if found and all(one["state"] != "pending" for one in found):
                deliveries: list[dict[str, Any]] = found
                return deliveries
        raise AssertionError("still pending")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    # What is waited for is asked for again and again.
    folder, often = tmp_path_factory.mktemp("server"), "1000000"
    with receiver() as listening, server(folder, WAYPOST_READ_RATE=often) as (_, url):
        yield World(url, listening)


@pytest.fixture(autouse=True)
def fresh(world: World) -> Iterator[None]:
    """Leave the receiver as it was found."""
    yield
    world.receiver.status = 204
    world.receiver.gate.set()


def operations(world: World) -> list[tuple[str, str, dict[str, Any]]]:
    return [
        (method.upper(), path, operation)
        for path, methods in world.described["paths"].items()
        for method, operation in methods.items()
    ]


def spelled(world: World, path: str, tokens: dict[str, str]) -> str:
    """Fill a path in; what has no token gets one that nothing has."""
    prefixes = {
        "event_token": "evt",
        "event_subscription_token": "ep",
        "attempt_token": "atmpt",
        "diverted_event_token": "dlv",
        "replay_token": "rpl",
        "project_token": "prj",
        "api_key_token": "key",
        "transaction_token": "txn",
        "source_token": "src",
    }
    return re.sub(
        r"\{(\w+)\}", lambda name: tokens.get(name[1], f"{prefixes[name[1]]}_{UNKNOWN}"), path
    )


def test_every_operation_asks_for_a_key_and_for_its_scope(world: World) -> None:
    keys = {scope: world.key("test", scope)[0] for scope in SCOPES}
    for method, path, operation in operations(world):
        target = spelled(world, path, {})
        scope = operation.get("x-scope")
        assert (scope is None) is (path == "/v1/jwks.json")
        if scope is None:
            continue
        assert call(world.url, target, method=method, key="")[0] == 401, operation
        assert call(world.url, target, method=method, key="wp_test_x")[0] == 401, operation
        for held, key in keys.items():
            allowed = held in (scope, "admin")
            # A body that is none: whoever may is told so, or that there is no such thing.
            status, _ = call(world.url, target, [], method=method, key=key)
            assert (status != 403) is allowed, (held, operation["operationId"], status)


def test_another_projects_things_are_not_there(world: World) -> None:
    subscription = world.subscription(paused=True, event_types=["of.mine"])
    event = world.event("of.mine")
    [attempt] = world.get(f"/v1/events/{event}/attempts")["data"]
    tokens = {
        "event_token": event,
        "event_subscription_token": subscription,
        "attempt_token": attempt["token"],
    }
    seen = 0
    for method, path, operation in operations(world):
        if "{" not in path or operation.get("x-scope") == "admin":
            continue
        target = spelled(world, path, tokens)
        required = operation.get("requestBody", {}).get("required")
        body = BODIES.get(operation["operationId"]) if required else None
        stranger = call(world.url, target, body, method=method, key=world.other)
        nobody = call(world.url, spelled(world, path, {}), body, method=method, key=world.mine)
        assert stranger[0] == nobody[0] == 404, (operation["operationId"], stranger, nobody)
        assert stranger[1]["message"] == nobody[1]["message"]
        seen += 1
    assert seen >= 15
    assert world.get(f"/v1/event_subscriptions/{subscription}")["paused"] is True
    for path in ("/v1/events", "/v1/deliveries", "/v1/event_subscriptions", "/v1/diverted_events"):
        listed = json.dumps(world.get(path, key=world.other))
        assert event not in listed
        assert subscription not in listed


@pytest.fixture
def client(world: World) -> Iterator[lithic.Lithic]:
    """Have lithic's client, which refuses answers that are not of its schema."""
    with lithic.Lithic(
        api_key=world.mine, base_url=world.url, max_retries=0, _strict_response_validation=True
    ) as made:
        yield made


def test_lithics_client_reads_events_page_by_page(world: World, client: lithic.Lithic) -> None:
    tokens = [world.event("loan_tape.updated") for _ in range(5)]
    listed = client.events.list(event_types=["loan_tape.updated"], page_size=2)
    assert [event.token for event in listed] == tokens[::-1]
    back = client.events.list(
        event_types=["loan_tape.updated"],
        page_size=2,
        ending_before=tokens[0],
    )
    assert [event.token for event in back.data] == [tokens[2], tokens[1]]
    assert back.has_more
    assert client.events.retrieve(tokens[0]).payload == {"a": 1}
    bare = client.events.list(event_types=["loan_tape.updated"], with_content=False)
    assert {str(event.payload) for event in bare.data} == {"{}"}
    with pytest.raises(lithic.NotFoundError):
        client.events.retrieve(f"evt_{UNKNOWN}")


def test_lithics_client_reads_attempts(world: World, client: lithic.Lithic) -> None:
    subscription = world.subscription(event_types=["statements.created"])
    event = world.event("statements.created")
    world.settled(event)
    [attempt] = list(client.events.list_attempts(event, status="SUCCESS"))
    assert (attempt.event_subscription_token, attempt.response_status_code) == (subscription, 204)
    assert attempt.url == world.receiver.url
    assert list(client.events.list_attempts(event, status="FAILED")) == []


@pytest.mark.proves("native", "GET /v1/events/{event_token}/attempts/{attempt_token}")
def test_an_attempt_keeps_its_token_from_pending_to_its_end(world: World) -> None:
    subscription = world.subscription(event_types=["token.kept"], paused=True)
    event = world.event("token.kept")
    [pending] = world.get(f"/v1/events/{event}/attempts?status=PENDING")["data"]
    assert (pending["response"], pending["response_status_code"]) == ("", 0)
    world.receiver.gate.clear()
    count = len(world.receiver.requests)
    world.post(f"/v1/event_subscriptions/{subscription}/resume", None, 200)
    world.receiver.wait_for(count + 1)
    [sending] = world.get(f"/v1/event_subscriptions/{subscription}/attempts?status=SENDING")["data"]
    assert (sending["token"], sending["status"]) == (pending["token"], "SENDING")
    world.receiver.gate.set()
    world.settled(event)
    [ended] = world.get(f"/v1/events/{event}/attempts")["data"]
    assert (ended["token"], ended["status"]) == (pending["token"], "SUCCESS")
    details = world.get(f"/v1/events/{event}/attempts/{ended['token']}")
    assert details["request_headers"]["webhook-id"] == event
    assert details["request_headers"]["webhook-signature"] == "***"
    assert details["timings"]["total_ms"] > 0
    sent = world.receiver.requests[count].headers
    shown = {name.lower() for name in details["request_headers"]}
    assert shown == set(sent)


def test_what_is_diverted_is_sent_again_when_its_subscription_is_back(world: World) -> None:
    world.receiver.status = 410
    subscription = world.subscription(event_types=["gone"])
    event = world.event("gone")
    [failed] = world.settled(event)
    assert (failed["state"], failed["reason"], failed["diverted"]) == (
        "failed",
        "receiver_gone",
        True,
    )
    [diverted] = world.get(f"/v1/diverted_events?event_subscription_token={subscription}")["data"]
    assert (diverted["token"], diverted["response_status_code"]) == (failed["token"], 410)
    path = f"/v1/diverted_events/{diverted['token']}"
    assert world.get(path) == diverted
    assert call(world.url, f"{path}/resend", None, method="POST", key=world.mine)[0] == 422
    world.receiver.status = 204
    one = f"/v1/event_subscriptions/{subscription}"
    body = {"url": world.receiver.url, "disabled": False}
    assert call(world.url, one, body, method="PATCH", key=world.mine)[0] == 200
    status, resent = call(world.url, f"{path}/resend", None, method="POST", key=world.mine)
    assert status == 202
    states = {one["token"]: one["state"] for one in world.settled(event)}
    assert states == {failed["token"]: "failed", resent["delivery_token"]: "delivered"}
    assert call(world.url, path, key=world.mine)[0] == 404


def test_repetitions_leave_receipts(world: World) -> None:
    body = {"event_type": "a", "payload": 1, "idempotency_key": "receipts"}
    first = world.post("/v1/events", body)
    again = world.post("/v1/events", body)
    assert (again["token"], again["duplicate"]) == (first["token"], True)
    world.post("/v1/events", body | {"payload": 2}, 422)
    receipts = world.get(f"/v1/events/{first['token']}")["receipts"]
    assert [one["same_body"] for one in receipts] == [False, True]


def test_a_payload_is_shown_as_the_very_bytes_that_came(world: World) -> None:
    payload = b'{"n":1.10,"n":"\\u0000\\ud800","big":123456789012345678901234567890}'
    with httpx.Client(base_url=world.url, headers={"authorization": world.mine}) as client:
        sent = client.post(
            "/v1/events",
            content=b'{"event_type":"a","payload":%b}' % payload,
            headers={"content-type": "application/json"},
        )
        token = sent.json()["token"]
        for path in (f"/v1/events/{token}", "/v1/events?page_size=1"):
            assert payload in client.get(path).content
        assert payload in sent.content


def test_a_revoked_key_is_refused_at_once(world: World) -> None:
    status, made = call(world.url, "/v1/api_keys", {"name": "brief", "environment": "test"})
    assert status == 201
    assert call(world.url, "/v1/events", key=made["key"])[0] == 200
    path = f"/v1/api_keys/{made['token']}"
    headers = {"authorization": ADMIN_KEY, "waypost-project": made["project"]}
    request = urllib.request.Request(world.url + path, headers=headers, method="DELETE")
    with urllib.request.urlopen(request, timeout=PATIENCE_S) as answer:
        assert answer.status == 204
    status, refusal = call(world.url, "/v1/events", key=made["key"])
    assert (status, refusal["message"]) == (401, "API key is not active")


def test_a_project_lives_and_ends(world: World) -> None:
    status, made = call(world.url, "/v1/projects", {"name": "Brief", "environment": "test"})
    assert status == 201
    path = f"/v1/projects/{made['token']}"
    _, key = call(world.url, "/v1/api_keys", {"name": "k", "project": made["token"]})
    assert call(world.url, path, {"strict_types": True}, method="PATCH")[1]["strict_types"] is True
    url = {"url": world.receiver.url}
    _, subscription = call(world.url, "/v1/event_subscriptions", url, key=key["key"])
    assert call(world.url, path, method="DELETE")[0] == 422
    one = f"/v1/event_subscriptions/{subscription['token']}"
    assert call(world.url, one, method="DELETE", key=key["key"])[0] == 204
    assert call(world.url, path, method="DELETE")[0] == 204
    assert call(world.url, path)[0] == 404
    assert call(world.url, "/v1/events", key=key["key"])[0] == 401


@pytest.mark.parametrize(
    "path",
    [
        "/v1/events?page_size=0",
        "/v1/events?page_size=1001",
        "/v1/events?starting_after=x",
        "/v1/events?begin=yesterday",
        "/v1/events?event_types=" + ",".join(f"t{n}" for n in range(11)),
        "/v1/events?unknown=1",
        "/v1/deliveries?state=lost",
        "/v1/deliveries?ending_before=dlv_x",
        f"/v1/events/evt_{UNKNOWN}/attempts?status=LOST",
        "/v1/event_subscriptions?page_size=101",
    ],
)
def test_a_bad_query_is_refused_with_its_place(world: World, path: str) -> None:
    status, refusal = call(world.url, path, key=world.mine)
    assert status == 400
    assert refusal["errors"][0]["path"] == path.partition("?")[2].partition("=")[0]
    assert len(refusal["debugging_request_id"]) == 36


@pytest.mark.proves(
    "native",
    "GET /healthz",
    "GET /readyz",
    "GET /metrics",
    "GET /docs",
    "GET /openapi.json",
)
def test_pages_for_supervisors_and_people_need_no_key(world: World) -> None:
    for path in ("/healthz", "/readyz", "/metrics", "/docs", "/openapi.json"):
        assert call(world.url, path, key="")[0] == 200, path


def test_the_document_holds_together(world: World) -> None:
    names = [operation["operationId"] for _, _, operation in operations(world)]
    assert len(names) == len(set(names))
    text = json.dumps(world.described)
    schemas = set(world.described["components"]["schemas"])
    referred = set(re.findall(r'"#/components/schemas/([^"]+)"', text))
    assert referred == schemas
    for _, path, operation in operations(world):
        placed = {one["name"] for one in operation["parameters"] if one["in"] == "path"}
        assert placed == set(re.findall(r"\{(\w+)\}", path))
        assert {"summary", "tags", "responses"} <= set(operation)


def test_no_answer_holds_a_secret(world: World) -> None:
    told = []
    for path in ("/v1/api_keys", "/v1/projects", "/metrics", "/docs", "/readyz"):
        with suppress(AssertionError):
            told.append(json.dumps(world.get(path, key=ADMIN_KEY)))
    assert len(told) >= 4
    for text in told:
        assert world.mine not in text
        assert ADMIN_KEY not in text
