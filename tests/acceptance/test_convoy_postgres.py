"""Convoy's API on PostgreSQL, served by several processes that hear of each other's changes."""

import base64
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import postgres
from tests.support.convoy import Convoy
from tests.support.program import server
from tests.support.receiver import Receiver, receiver
from tests.support.signatures import good_secrets
from tests.support.site import Site, eventually
from waypost.clock import SystemClock
from waypost.storage.migrations.upgrade import upgrade_shared
from waypost.storage.postgres.connection import connect

KEY = base64.b64encode(bytes(range(32))).decode()


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    """Have two processes on one database."""

    def migrate(url: str) -> None:
        upgrade_shared(lambda: connect(url), SystemClock().now_us())

    with postgres.fresh(migrate, "migrated_by_days_of_tests") as database:
        settings = {"WAYPOST_DATABASE_URL": database, "WAYPOST_SECRET_KEY": KEY}
        with server(tmp_path, "--processes", "2", **settings) as (_, url):
            made = Site(url)
            yield made
            made.close()


@pytest.fixture
def received() -> Iterator[Receiver]:
    """Have a receiver."""
    with receiver() as listening:
        yield listening


def test_it_is_the_same_on_postgresql(site: Site, received: Receiver) -> None:
    convoy = Convoy(site, site.tenant())
    strategy = {"type": "linear", "duration": 0, "retry_count": 1}
    convoy.ask(202, "PUT", "", json={"config": {"strategy": strategy}})
    endpoint = convoy.endpoint(received.url)
    path = f"/endpoints/{endpoint}"
    convoy.subscribe(endpoint, filter_config={"filter": {"body": {"n": {"$gte": 1}}}})
    first = convoy.send(endpoint, idempotency_key="k")
    assert convoy.send(endpoint, data={"n": 9}, idempotency_key="k") == first
    assert convoy.event(convoy.send(endpoint, data={"n": 0}))["status"] == "Failure"
    received.wait_for(1)
    convoy.ask(200, "PUT", f"{path}/expire_secret", json={"secret": "new", "expiration": 1})
    convoy.ask(200, "PUT", f"/events/{first}/replay")
    request = received.wait_for(2)[1]
    assert good_secrets(request.headers, request.body, ["s3cret", "new"]) == ["s3cret", "new"]
    repeats = convoy.ask(200, "GET", "/events", params={"idempotencyKey": "k"})["content"]
    assert [one["is_duplicate_event"] for one in repeats] == [True, False]
    received.status = 500
    convoy.ask(200, "POST", "/events/batchreplay", params={"endpointId": endpoint})
    (failed,) = convoy.settled(1, "Failure", endpointId=endpoint)
    tried = f"/eventdeliveries/{failed['uid']}/deliveryattempts"
    assert [one["http_status"] for one in convoy.ask(200, "GET", tried)] == [
        "500 Internal Server Error"
    ]
    received.status = 204
    convoy.ask(200, "POST", "/eventdeliveries/batchretry", params={"endpointId": endpoint})
    assert len(convoy.settled(3, endpointId=endpoint)) == 3
    assert convoy.ask(200, "GET", path)["events"] == 4
    assert convoy.ask(202, "PUT", f"{path}/pause")["status"] == "paused"
    convoy.send(endpoint, data={"n": 5})
    convoy.settled(1, "Scheduled")
    convoy.ask(200, "DELETE", path)
    convoy.settled(1, "Discarded")
    convoy.close()


def test_meta_events_are_told_on_postgresql(site: Site, received: Receiver) -> None:
    convoy = Convoy(site, site.tenant())
    received.status = 500
    with receiver() as told:
        kinds = ["endpoint.created", "eventdelivery.failed"]
        meta = {"is_enabled": True, "url": told.url, "secret": "s", "event_type": kinds}
        strategy = {"type": "linear", "duration": 0, "retry_count": 2}
        convoy.ask(202, "PUT", "", json={"config": {"meta_event": meta, "strategy": strategy}})
        convoy.send(convoy.endpoint(received.url, slack_webhook_url=f"{told.url}/slack"))
        bodies = [json.loads(one.body) for one in told.wait_for(2)]
        assert [one["event_type"] for one in bodies] == kinds
        assert bodies[1]["data"]["metadata"]["num_trials"] == 2

        def listed() -> list[str]:
            page = convoy.ask(200, "GET", "/meta-events")["content"]
            return [one["uid"] for one in page if one["status"] == "Success"]

        newest, _ = eventually(listed, lambda found: len(found) == 2)
        convoy.ask(200, "PUT", f"/meta-events/{newest}/resend")
        assert json.loads(told.wait_for(3)[2].body) == bodies[1]
    convoy.close()
