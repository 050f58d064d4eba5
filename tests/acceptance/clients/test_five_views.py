"""One event, five views: whatever API brings it, each shows it, in its own ids and states."""

import json
import uuid
from collections.abc import Callable, Iterator
from typing import Any, Final

import pytest

from tests.support.buildable import Client as Buildable
from tests.support.convoy import Convoy
from tests.support.receiver import Receiver
from tests.support.site import Site, Tenant, eventually
from tests.support.socotra import Client as Socotra
from tests.support.stedi import Client as Stedi
from waypost.model import ids

TYPE: Final = "card.created"
DATA: Final = {"n": 1}


class Views:
    """A project, and a client of each API in it."""

    def __init__(self, site: Site, tenant: Tenant, convoy: Convoy, socotra: Socotra) -> None:
        self.site, self.native, self.convoy, self.socotra = site, tenant, convoy, socotra
        self.buildable = Buildable(site.url, site.key(tenant.project, api="buildable"))
        self.stedi = Stedi(site.url, site.key(tenant.project, api="stedi"))

    def close(self) -> None:
        self.buildable.close()
        self.stedi.close()


@pytest.fixture
def views(site: Site, tenant: Tenant, convoy: Convoy, socotra: Socotra) -> Iterator[Views]:
    made = Views(site, tenant, convoy, socotra)
    yield made
    made.close()


def by_lithic(views: Views, _: Receiver) -> ids.Id:
    return ids.read(ids.EVENT, views.native.post(TYPE, DATA))


def by_buildable(views: Views, _: Receiver) -> ids.Id:
    return bytes.fromhex(views.buildable.emit(TYPE, DATA))


def by_convoy(views: Views, received: Receiver) -> ids.Id:
    uid = views.convoy.send(views.convoy.endpoint(received.url), TYPE, DATA)
    return known(ids.find_ulid(uid))


def by_a_source(views: Views, _: Receiver) -> ids.Id:
    body = {
        "name": "s",
        "type": "http",
        "verifier": {"type": "noop"},
        "event_type_location": "request.header.X-Type",
    }
    made = views.native.ask(201, "POST", "/v1/sources", json=body)
    answer = views.native.http.post(made["url"], json=DATA, headers={"x-type": TYPE})
    assert answer.is_success, answer.text
    [event] = views.native.ask(200, "GET", "/v1/events", params={"event_types": TYPE})["data"]
    return ids.read(ids.EVENT, event["token"])


def known(identifier: ids.Id | None) -> ids.Id:
    assert identifier is not None
    return identifier


def in_lithic(views: Views, event: ids.Id) -> None:
    token = ids.spell(ids.EVENT, event)
    shown = views.native.sdk.events.retrieve(token)
    assert (shown.token, shown.event_type, shown.payload) == (token, TYPE, DATA)


def in_socotra(views: Views, event: ids.Id) -> None:
    locator = ids.spell_ulid(event)
    shown = views.socotra.ask("GET", f"/events/{locator}")
    assert (shown["locator"], shown["type"], shown["data"]) == (locator, TYPE, DATA)


def in_buildable(views: Views, event: ids.Id) -> None:
    found = views.buildable.ask("/query", eventName=TYPE, txKey="view")
    [row] = found["rows"]
    assert (row["key"], row["eventName"], row["state"]) == (event.hex(), TYPE, "pending")
    held = views.buildable.ask("/init", key=row["key"], txKey="view")
    assert json.loads(held["input"]) == DATA


def in_convoy(views: Views, event: ids.Id) -> None:
    uid = ids.spell_ulid(event)
    shown = views.convoy.event(uid)
    assert (shown["uid"], shown["event_type"], shown["data"]) == (uid, TYPE, DATA)


def in_stedi(views: Views, event: ids.Id) -> None:
    name = f"evt_{uuid.UUID(bytes=event)}"
    shown = views.stedi.ask("GET", f"/events/{name}")
    thin = shown["eventPayload"]["v1Event"]
    assert (shown["id"], shown["eventType"], thin["object"]) == (name, TYPE, "v1.event")


BROUGHT: Final = (by_lithic, by_buildable, by_convoy, by_a_source)
SEEN: Final = (in_lithic, in_socotra, in_buildable, in_convoy, in_stedi)


@pytest.mark.parametrize("brings", BROUGHT)
def test_an_event_is_seen_by_all(
    views: Views, received: Receiver, brings: Callable[[Views, Receiver], ids.Id]
) -> None:
    event = brings(views, received)
    for sees in SEEN:
        sees(views, event)


STATES: Final = {
    200: ("SUCCESS", "Success", "DELIVERED", []),
    503: ("FAILED", "Failure", "FAILED", ["5xx"]),
}
"""By the receiver's answer: of Lithic's attempt, Convoy's delivery, Stedi's event; and the triggers
of what Socotra has diverted."""


@pytest.mark.parametrize("status", STATES)
def test_what_became_of_it_is_told_by_each_in_its_words(
    views: Views, received: Receiver, status: int
) -> None:
    received.status = status
    hook = views.socotra.webhook(received.url, failureHandling={"divert": True})["locator"]
    token = views.native.post(TYPE, DATA)
    event = ids.read(ids.EVENT, token)
    attempted, delivered, whole, diverted = STATES[status]

    def told() -> tuple[list[str], list[str], str, list[str]]:
        attempts: Any = views.native.sdk.events.list_attempts(token).data
        name = f"evt_{uuid.UUID(bytes=event)}"
        return (
            [one.status for one in attempts],
            [d["status"] for d in views.convoy.deliveries(eventId=ids.spell_ulid(event))],
            views.stedi.ask("GET", f"/events/{name}")["status"],
            [
                one["failureTrigger"]
                for one in views.socotra.ask("GET", f"/webhooks/{hook}/diverted")
            ],
        )

    eventually(told, lambda found: found == ([attempted], [delivered], whole, diverted))
    row = views.buildable.ask("/query", eventName=TYPE, txKey="view")["rows"][0]
    assert row["state"] == "pending", "nobody has claimed it, whatever was delivered"
