"""What is changed in one process holds in the other: routing at once, all else within a second."""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest
from standardwebhooks import Webhook
from standardwebhooks.webhooks import WebhookVerificationError

from tests.acceptance.test_postgres import migrate, serving
from tests.support import postgres
from tests.support.program import call
from tests.support.receiver import Receiver, receiver
from tests.support.site import eventually

ROUNDS = 25
"""Of four changes each."""

SUBSCRIPTIONS = "/v1/event_subscriptions"
MANY = 16
"""So many subscriptions that each process sends for some."""


class Two(NamedTuple):
    """The addresses of two servers on one database."""

    first: str
    second: str


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    with (
        postgres.fresh(migrate, "migrated_by_days_of_tests") as url,
        serving(tmp_path_factory.mktemp("first"), url) as (_, first),
        serving(tmp_path_factory.mktemp("second"), url) as (_, second),
    ):
        yield Two(first, second)


def ask(url: str, path: str, body: Any = None, method: str | None = None, **more: str) -> Any:
    status, answer = call(url, path, body, method=method, **more)
    assert status < 300, answer
    return answer


def post(url: str, event_type: str = "card.created") -> str:
    return str(ask(url, "/v1/events", {"event_type": event_type, "payload": {}})["token"])


def owed(url: str, event: str) -> int:
    """Return how many deliveries an event has."""
    return len(ask(url, f"/v1/events/{event}/deliveries")["data"])


def test_an_event_is_routed_by_what_was_changed_in_the_other_process(two: Two) -> None:
    with receiver() as received:
        for number in range(ROUNDS):
            changing, posting = two if number % 2 else reversed(two)
            old, new = f"card.old{number}", f"card.new{number}"
            settings = {"url": received.url, "event_types": [old]}
            token = ask(changing, SUBSCRIPTIONS, settings)["token"]
            path = f"{SUBSCRIPTIONS}/{token}"
            assert owed(changing, post(posting, old)) == 1
            ask(changing, path, settings | {"event_types": [new]}, "PATCH")
            assert [owed(changing, post(posting, one)) for one in (old, new)] == [0, 1]
            ask(changing, path, settings | {"event_types": [new], "disabled": True}, "PATCH")
            assert owed(changing, post(posting, new)) == 0
            ask(changing, path, method="DELETE")
            assert owed(changing, post(posting, new)) == 0


@contextmanager
def subscribed(two: Two, received: Receiver) -> Iterator[list[str]]:
    """Have many subscriptions, some of which belong to each process."""
    tokens = [ask(two.first, SUBSCRIPTIONS, {"url": received.url})["token"] for _ in range(MANY)]
    yield tokens
    for token in tokens:
        ask(two.first, f"{SUBSCRIPTIONS}/{token}", method="DELETE")


def after_a_second() -> None:
    """Wait for as long as a process may go by what was changed."""
    began = time.monotonic()
    eventually(lambda: time.monotonic() - began > 1.0)


def test_what_is_sent_goes_to_the_new_address_a_second_after_its_change(two: Two) -> None:
    with receiver() as old, receiver() as new, subscribed(two, old) as tokens:
        post(two.second)
        old.wait_for(MANY)
        for token in tokens:
            ask(two.first, f"{SUBSCRIPTIONS}/{token}", {"url": new.url}, "PATCH")
        after_a_second()
        post(two.second)
        new.wait_for(MANY)
        assert len(old.requests) == MANY


def test_what_is_sent_is_signed_by_the_new_secret_a_second_after_its_rotation(two: Two) -> None:
    with receiver() as received, subscribed(two, received) as tokens:
        for token in tokens:
            ask(two.first, f"{SUBSCRIPTIONS}/{token}/secret/rotate", method="POST")
        secrets = [ask(two.first, f"{SUBSCRIPTIONS}/{token}/secret")["secret"] for token in tokens]
        after_a_second()
        post(two.second)
        for request in received.wait_for(MANY):
            verified = [verifies(secret, request.headers, request.body) for secret in secrets]
            assert sum(verified) == 1


def verifies(secret: str, headers: dict[str, str], body: bytes) -> bool:
    try:
        Webhook(secret).verify(body, headers)
    except WebhookVerificationError:
        return False
    return True


def test_nothing_is_sent_to_what_was_paused_a_second_before(two: Two) -> None:
    with receiver() as received, subscribed(two, received) as tokens:
        for token in tokens:
            ask(two.first, f"{SUBSCRIPTIONS}/{token}/pause", method="POST")
        after_a_second()
        post(two.second)
        after_a_second()
        assert received.requests == []
        for token in tokens:
            ask(two.first, f"{SUBSCRIPTIONS}/{token}/resume", method="POST")
        received.wait_for(MANY)


def test_a_revoked_key_is_refused_within_a_second(two: Two) -> None:
    project = ask(two.first, "/v1/projects")["data"][0]["token"]
    event = {"event_type": "card.created", "payload": {}}

    def answered(key: str, status: int) -> None:
        eventually(lambda: call(two.second, "/v1/events", event, key=key)[0] == status)

    for _ in range(5):
        made = ask(two.first, "/v1/api_keys", {"name": "k", "project": project})
        answered(made["key"], 202)
        ask(two.first, f"/v1/api_keys/{made['token']}", method="DELETE")
        began = time.monotonic()
        answered(made["key"], 401)
        assert time.monotonic() - began < 1.0


def test_a_url_is_verified_once_whoever_sends_there_and_whoever_is_asked(two: Two) -> None:
    with receiver() as received:
        received.status = 500
        settings = {"url": received.url, "verification": "challenge"}
        tokens = [
            ask(one, SUBSCRIPTIONS, settings)["token"] for one in two for _ in range(MANY // 2)
        ]

        def states(url: str) -> list[str]:
            found = [ask(url, f"{SUBSCRIPTIONS}/{token}") for token in tokens]
            return [one["verification_status"]["state"] for one in found]

        for url in two:
            eventually(lambda url=url: states(url) == ["failed"] * MANY)  # type: ignore[misc] # bound
        event = post(two.second)
        assert owed(two.first, event) == MANY
        received.status, received.echoes = 200, True
        for number, token in enumerate(tokens):
            ask(two[number % 2], f"{SUBSCRIPTIONS}/{token}/verify", method="POST")
        came = received.wait_for(3 * MANY)
        challenges = [one for one in came if b"waypost.challenge" in one.body]
        assert len(challenges) == 2 * MANY
        assert states(two.first) == states(two.second) == ["verified"] * MANY
        for token in tokens:
            ask(two.first, f"{SUBSCRIPTIONS}/{token}", method="DELETE")


def test_a_test_event_is_answered_by_whichever_process_is_asked(two: Two) -> None:
    with receiver() as received, subscribed(two, received) as tokens:
        for number, token in enumerate(tokens):
            answer = ask(two[number % 2], f"{SUBSCRIPTIONS}/{token}/test", method="POST")
            assert answer["attempt"]["status"] == "SUCCESS"
            assert answer["delivery"]["state"] == "delivered"
        assert len(received.requests) == MANY


def test_a_source_takes_in_by_what_was_set_in_the_other_process(two: Two) -> None:
    made = ask(two.first, "/v1/sources", {"name": "s"})
    mask = made["url"].rpartition("/")[2]
    path = f"/ingest/{mask}"
    eventually(lambda: call(two.second, path, {"n": 1}, key=""), lambda found: found[0] == 200)
    assert ask(two.first, "/v1/events")["data"][0]["source"] == made["token"]
    verifier = {"type": "github", "secret": "s"}
    ask(two.first, f"/v1/sources/{made['token']}", {"verifier": verifier}, "PATCH")
    after_a_second()
    assert call(two.second, path, {"n": 1}, key="")[0] == 400
    ask(two.first, f"/v1/sources/{made['token']}", method="DELETE")
    after_a_second()
    assert call(two.second, path, {"n": 1}, key="")[0] == 404
