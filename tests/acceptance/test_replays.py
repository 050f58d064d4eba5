"""A replay is done once, whoever is killed meanwhile, and says what it is."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.acceptance.test_postgres import KEY, migrate
from tests.support import postgres
from tests.support.program import Program, call, server
from tests.support.receiver import Receiver, receiver
from tests.support.site import eventually

EVENTS = 900
RATE = 300
KILLS = 2


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def settings(request: pytest.FixtureRequest) -> Iterator[dict[str, str]]:
    """What serves on a database of each kind."""
    if request.param == "sqlite":
        yield {}
    else:
        with postgres.fresh(migrate, "migrated_by_days_of_tests") as url:
            lease = {"WAYPOST_LEASE": "2s"}
            yield {"WAYPOST_DATABASE_URL": url, "WAYPOST_SECRET_KEY": KEY, **lease}


def ask(url: str, method: str, path: str, body: Any = None, status: int = 200) -> Any:
    """Ask for what must be granted."""
    found, answer = call(url, path, body, method=method)
    assert found == status, answer
    return answer


def subscribe(url: str, to: Receiver, **more: Any) -> str:
    body = {"url": to.url, **more}
    return str(ask(url, "POST", "/v1/event_subscriptions", body, 201)["token"])


def post(url: str, count: int) -> set[str]:
    """Post events; return their tokens."""
    batch = [{"event_type": "card.created", "payload": {"n": n}} for n in range(count)]
    tokens: set[str] = set()
    for at in range(0, count, 100):
        made = ask(url, "POST", "/v1/events/batch", {"events": batch[at : at + 100]}, 202)
        tokens |= {one["token"] for one in made["data"]}
    return tokens


@contextmanager
def many(folder: Path, settings: dict[str, str]) -> Iterator[list[tuple[Program, str]]]:
    """Have two servers on a database that can be shared, one on another."""
    with server(folder, **settings) as first:
        if not settings:
            yield [first]
        else:
            with server(folder, **settings) as second:
                yield [first, second]


def test_a_replay_goes_on_over_kills(tmp_path: Path, settings: dict[str, str]) -> None:
    with receiver() as old, receiver() as new:
        with many(tmp_path, settings) as [(_, url), *_]:
            # So that there is something to replay, and nobody has to wait for it.
            ask(url, "POST", "/v1/event_subscriptions", {"url": old.url, "disabled": True}, 201)
            sent = post(url, EVENTS)
            to = subscribe(url, new)
            wanted = {
                "filter": {"event_types": ["card.*"]},
                "route": "to_subscription",
                "to": to,
                "rate": RATE,
                "idempotency_key": "once",
            }
            token = ask(url, "POST", "/v1/replays", wanted, 202)["replay"]["token"]
        for kill in range(KILLS):
            with many(tmp_path, settings) as programs:
                # Twice the same request is one job.
                again = ask(programs[0][1], "POST", "/v1/replays", wanted, 202)["replay"]
                assert again["token"] == token
                new.wait_for(EVENTS * (kill + 1) // (KILLS + 2))
                for program, _ in programs:
                    program.kill()
        with many(tmp_path, settings) as [(_, url), *_]:
            done = eventually(
                lambda: ask(url, "GET", f"/v1/replays/{token}"), lambda one: one["state"] == "done"
            )
            assert (done["owed"], done["looked_at"], done["progress"]) == (EVENTS, EVENTS, 1.0)
            eventually(lambda: {one.headers["webhook-id"] for one in new.requests}, sent.__eq__)
            counted = Counter(one.headers["webhook-id"] for one in new.requests)
            # Repeated is only what was in flight when somebody was killed.
            assert counted.total() - EVENTS <= 64 * (KILLS + 1)
            assert {one.headers["webhook-replay-id"] for one in new.requests} == {token}
            assert old.requests == []


@pytest.mark.proves(
    "native",
    "GET /v1/replays",
    "POST /v1/replays",
    "GET /v1/replays/{replay_token}",
    "POST /v1/replays/{replay_token}/pause",
    "POST /v1/replays/{replay_token}/resume",
    "POST /v1/replays/{replay_token}/cancel",
)
def test_replays_are_asked_for_watched_and_stopped(tmp_path: Path) -> None:
    with receiver() as received, server(tmp_path) as (_, url):
        one = subscribe(url, received, event_types=["card.*"])
        sent = post(url, 30)
        received.wait_for(30)
        assert not any("webhook-replay-id" in request.headers for request in received.requests)
        # A look before it.
        wanted: dict[str, Any] = {"filter": {"event_subscription_token": one}, "rate": 0.5}
        dry = eventually(
            lambda: ask(url, "POST", "/v1/replays", {**wanted, "dry_run": True}, 202),
            # What came is settled a moment later.
            lambda one: one["dry_run"]["events"] == 30,
        )
        assert (dry["replay"], dry["dry_run"]["deliveries"]) == (None, 30)
        assert dry["dry_run"]["event_subscriptions"] == {one: 30}
        assert dry["dry_run"]["complete"]
        assert {x["event_token"] for x in dry["dry_run"]["samples"]} <= sent
        assert ask(url, "GET", "/v1/replays")["data"] == []
        # Slow enough to be stopped.
        token = ask(url, "POST", "/v1/replays", wanted, 202)["replay"]["token"]
        at = f"/v1/replays/{token}"
        received.wait_for(31)
        assert ask(url, "POST", f"{at}/pause")["state"] == "paused"
        assert ask(url, "POST", f"{at}/resume")["state"] == "running"
        assert ask(url, "POST", f"{at}/cancel")["state"] == "cancelled"
        assert ask(url, "POST", f"{at}/resume", status=422)["message"] == "The replay is cancelled."
        found = ask(url, "GET", at)
        assert found["filter"] == {"event_subscription_token": one}
        assert (found["rate"], found["route"]) == (0.5, "as_before")
        again = received.wait_for(31)[30]
        assert again.headers["webhook-id"] in sent
        assert again.headers["webhook-replay-id"] == token
