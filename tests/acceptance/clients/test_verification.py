"""URLs that are verified before anything is sent there, with real receivers."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

import pytest
from standardwebhooks import Webhook

from tests.support.site import Tenant, eventually

SUBSCRIPTIONS = "/v1/event_subscriptions"


class Came(NamedTuple):
    """A request: headers in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes


class Guarded:
    """A receiver that consents, or does not."""

    def __init__(self) -> None:
        self.came: list[Came] = []
        self.answer: Callable[[Came], tuple[int, dict[str, str], bytes]] = lambda _: (404, {}, b"")
        self.url = ""

    def of(self, method: str, kind: bytes = b"") -> list[Came]:
        return [one for one in self.came if one.method == method and kind in one.body]


@pytest.fixture
def guarded() -> Iterator[Guarded]:
    found = Guarded()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            came = Came(self.command, self.path, headers, body)
            found.came.append(came)
            status, more, answer = found.answer(came)
            self.send_response(status)
            for name, value in more.items():
                self.send_header(name, value)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def do_OPTIONS(self) -> None:
            self.do_POST()

        def log_message(self, *_: object) -> None:
            pass

    listening = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    listening.daemon_threads = True
    threading.Thread(target=listening.serve_forever, args=(0.02,), daemon=True).start()
    found.url = f"http://127.0.0.1:{listening.server_address[1]}/hook?a=b"
    yield found
    listening.shutdown()
    listening.server_close()


def echo(came: Came) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, came.body


def status(tenant: Tenant, token: str, *wanted: str) -> dict[str, Any]:
    """Wait for a state, and return the status."""

    def look() -> dict[str, Any]:
        found = tenant.ask(200, "GET", f"{SUBSCRIPTIONS}/{token}")["verification_status"]
        assert isinstance(found, dict)
        return found

    return eventually(look, lambda found: found["state"] in wanted)


@pytest.mark.proves("native", "POST /v1/event_subscriptions/{event_subscription_token}/verify")
def test_nothing_is_sent_before_the_challenge_is_repeated(tenant: Tenant, guarded: Guarded) -> None:
    token = tenant.subscribe(guarded.url, verification="challenge")
    failed = status(tenant, token, "failed")
    assert failed["reason"] == "it answered with status 404"
    assert failed["since"] is not None
    events = [tenant.post(payload={"n": n}) for n in range(3)]
    assert [tenant.deliveries(one) for one in events] == [[("pending", None)]] * 3
    guarded.answer = echo
    asked = tenant.ask(200, "POST", f"{SUBSCRIPTIONS}/{token}/verify")
    assert asked["verification_status"]["state"] == "pending"
    assert status(tenant, token, "verified")["reason"] is None
    for event in events:
        assert tenant.settled(event, "delivered") == [("delivered", None)]
    first, second = guarded.of("POST", b"waypost.challenge")
    secret = tenant.ask(200, "GET", f"{SUBSCRIPTIONS}/{token}/secret")["secret"]
    for one in (first, second):
        assert Webhook(secret).verify(one.body, one.headers)
    assert json.loads(first.body)["challenge"] != json.loads(second.body)["challenge"]
    # What is owed was kept until then, and came behind it.
    assert guarded.came.index(second) == 1
    assert len(guarded.came) == 5


def test_a_handshake_is_by_name_and_its_rate_is_kept_to(tenant: Tenant, guarded: Guarded) -> None:
    consent = {"WebHook-Allowed-Origin": "hooks.example.com", "WebHook-Allowed-Rate": "600"}
    guarded.answer = lambda _: (200, consent, b"")
    token = tenant.subscribe(guarded.url, verification="cloudevents")
    verified = status(tenant, token, "verified")
    assert verified["allowed_per_minute"] == 600
    (handshake,) = guarded.of("OPTIONS")
    assert handshake.path == "/hook?a=b"
    assert handshake.headers["webhook-request-origin"] == "hooks.example.com"
    event = tenant.post()
    assert tenant.settled(event, "delivered") == [("delivered", None)]
    (delivery,) = guarded.of("POST")
    assert delivery.headers["webhook-request-origin"] == "hooks.example.com"


@pytest.mark.parametrize(
    "answered, consent, reason",
    [
        (200, {}, "its answer has no WebHook-Allowed-Origin"),
        (200, {"WebHook-Allowed-Origin": "x"}, "its WebHook-Allowed-Origin is another name"),
        (405, {"WebHook-Allowed-Origin": "*"}, "it answered with status 405"),
        (302, {"location": "/else"}, "it answered with status 302"),
    ],
)
def test_a_status_alone_is_no_consent(
    tenant: Tenant, guarded: Guarded, answered: int, consent: dict[str, str], reason: str
) -> None:
    guarded.answer = lambda _: (answered, consent, b"a secret of the inner network")
    token = tenant.subscribe(guarded.url, verification="cloudevents")
    failed = status(tenant, token, "failed", "verified")
    assert (failed["state"], failed["reason"]) == ("failed", reason)
    assert len(guarded.came) == 1


def test_another_url_is_verified_anew_and_without_verification_all_goes_out(
    tenant: Tenant, guarded: Guarded
) -> None:
    guarded.answer = echo
    token = tenant.subscribe(guarded.url, verification="challenge")
    status(tenant, token, "verified")
    path = f"{SUBSCRIPTIONS}/{token}"
    guarded.answer = lambda _: (200, {}, b"")
    other = guarded.url.replace("/hook", "/other")
    changed = tenant.ask(200, "PATCH", path, json={"url": other})
    assert changed["verification_status"]["state"] == "pending"
    status(tenant, token, "failed")
    event = tenant.post()
    assert tenant.deliveries(event) == [("pending", None)]
    freed = tenant.ask(200, "PATCH", path, json={"url": other, "verification": None})
    assert (freed["verification"], freed["verification_status"]) == ("none", None)
    assert tenant.settled(event, "delivered") == [("delivered", None)]


def test_who_can_not_be_reached_has_failed_and_the_reason_says_why(tenant: Tenant) -> None:
    token = tenant.subscribe("https://nobody.invalid/", verification="challenge")
    assert status(tenant, token, "failed")["reason"] == "the host name could not be resolved"


@pytest.mark.proves("native", "POST /v1/event_subscriptions/{event_subscription_token}/test")
def test_a_test_event_is_answered_with_its_attempt(
    tenant: Tenant, stranger: Tenant, guarded: Guarded
) -> None:
    token = tenant.subscribe(guarded.url, event_types=["card.created"])
    path = f"{SUBSCRIPTIONS}/{token}/test"
    guarded.answer = lambda _: (418, {}, b"short and stout")
    answer = tenant.ask(200, "POST", path)
    attempt = answer["attempt"]
    assert (attempt["status"], attempt["response_status_code"]) == ("FAILED", 418)
    assert attempt["response"] == "short and stout"
    assert attempt["url"] == guarded.url
    assert (answer["delivery"]["state"], answer["delivery"]["event_type"]) == (
        "pending",
        "card.created",
    )
    guarded.answer = lambda _: (204, {}, b"")
    again = tenant.ask(200, "POST", path, json={"event_type": "of.mine"})
    assert (again["attempt"]["status"], again["delivery"]["state"]) == ("SUCCESS", "delivered")
    assert guarded.came[-1].headers["webhook-id"] == again["event_token"]
    event = tenant.ask(200, "GET", f"/v1/events/{again['event_token']}")
    assert (event["event_type"], event["example"]) == ("of.mine", True)
    stranger.ask(404, "POST", path)
    assert tenant.refused(400, "POST", path, json={"event_type": "a b"}) == ["event_type"]
    for verb, status_code in (("pause", 422), ("resume", 200)):
        tenant.ask(200, "POST", f"{SUBSCRIPTIONS}/{token}/{verb}")
        tenant.ask(status_code, "POST", path)
    tenant.ask(
        200, "PATCH", f"{SUBSCRIPTIONS}/{token}", json={"url": guarded.url, "disabled": True}
    )
    tenant.ask(422, "POST", path)
