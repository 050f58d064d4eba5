"""What `waypost dev` shows of each API: some events, and what to type."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Final

from waypost.model.project import Api


class Played(StrEnum):
    """Whose API is tried."""

    NATIVE = "native"
    LITHIC = "lithic"
    BUILDABLE = "buildable"
    CONVOY = "convoy"
    SOCOTRA = "socotra"
    STEDI = "stedi"


@dataclass(frozen=True, slots=True)
class Sample:
    """One API to try.

    Attributes:
        api: the form of its key.
        events: what is there already, as it is posted natively.
        heading: what is said before the snippet.
        lines: the snippet, with `@URL`, `@KEY` and `@TENANT` for the server, the key and where
            it is good.
    """

    api: Api
    events: Sequence[Mapping[str, Any]]
    heading: str
    lines: str

    def snippet(self, url: str, made: Mapping[str, Any]) -> str:
        """Return what to type; it runs as it is. `made` is what the new key was answered with."""
        text = self.lines.replace("@URL", url).replace("@KEY", made["key"])
        return text.replace("@TENANT", made["tenant_locator"])


_NATIVE: Final = """\
  curl @URL/v1/events -H 'Authorization: @KEY' \\
    -H 'Content-Type: application/json' \\
    -d '{"event_type": "card.updated", "payload": {"limit": 7000}}'
"""

_LITHIC: Final = """\
  curl -s @URL/v1/events -H 'Authorization: @KEY'; echo

  # The same, and more, by Lithic's own client (pip install lithic):
  python3 -c '
from lithic import Lithic

client = Lithic(api_key="@KEY", base_url="@URL")
for event in client.events.list():
    print(event.token, event.event_type)
made = client.events.subscriptions.create(url="http://127.0.0.1:3000/hook", disabled=True)
print(made.token, client.events.subscriptions.retrieve_secret(made.token).secret)'
"""

_BUILDABLE: Final = """\
  export BLD_EVENTS_BASE_URL=@URL BUILDABLE_SECRET_KEY=@KEY  # what Buildable's own client reads

  ask() { curl -s @URL/$1 -H 'X-Buildable-Secret: @KEY' \\
    -H 'Content-Type: application/json' -d "$2"; }
  ask emit '{"event": "order.created", "payload": {"order": 3}}'
  MESSAGE=$(ask query '{"eventName": "order.created", "txKey": "billing"}' \\
    | grep -o '"key":"[0-9a-f]*"' | head -1 | cut -d '"' -f 4)
  ask init '{"txKey": "billing", "key": "'$MESSAGE'"}'
  ask transact '{"txKey": "billing", "state": "finished", "key": "'$MESSAGE'"}'
"""

_CONVOY: Final = """\
  ask() { curl -s -X $1 "@URL/api/v1/projects$2" -H 'Authorization: Bearer @KEY' \\
    -H 'Content-Type: application/json' -d "${3-}"; }
  first() { grep -o '"uid":"[0-9A-Z]*"' | head -1 | cut -d '"' -f 4; }
  PROJECT=$(curl -s @URL/api/v1/projects -H 'Authorization: Bearer @KEY' | first)
  # For Convoy's own client: {"api_key": "@KEY", "uri": "@URL/api/v1/projects/$PROJECT"}

  EVENT=$(ask POST /$PROJECT/events/broadcast \\
    '{"event_type": "invoice.paid", "data": {"invoice": 3}}' | first)
  ask PUT /$PROJECT/events/$EVENT/replay
  curl -s "@URL/api/v1/projects/$PROJECT/eventdeliveries?eventId=$EVENT" \\
    -H 'Authorization: Bearer @KEY'
"""

_SOCOTRA: Final = """\
  ask() { curl -s -X $1 @URL/event/@TENANT/$2 -H 'Authorization: Bearer @KEY' \\
    -H 'Content-Type: application/json' ${3:+-d "$3"}; echo; }
  ask GET events/list
  HOOK=$(ask POST webhooks '{"name": "broken", "enabled": true,
    "eventTypes": ["policy.quote.issue"], "endpoint": {"url": "http://127.0.0.1:9/"},
    "failureHandling": {"divert": true}}' | grep -o '"locator":"[0-9A-Z]*"' | cut -d '"' -f 4)
  curl -s @URL/v1/events -H 'Authorization: @KEY' -H 'Content-Type: application/json' \\
    -d '{"event_type": "policy.quote.issue", "payload": {"quote": "q_3"}}'; echo
  until ask GET webhooks/$HOOK/diverted | grep failureTrigger; do sleep 0.1; done
  EVENT=$(ask GET webhooks/$HOOK/diverted | grep -o '"eventLocator":"[0-9A-Z]*"' | cut -d '"' -f 4)
  ask PATCH webhooks/$HOOK '{"enabled": true, "failureHandling": {"suspend": true}}'
  ask DELETE webhooks/$HOOK/diverted/$EVENT
"""

_STEDI: Final = """\
  ask() { curl -s @URL/2026-02-01/$1 -H 'Authorization: Key @KEY' \\
    -H 'Content-Type: application/json' ${2:+-d "$2"}; }
  ask 'events?eventType=enrollment.activated'
  EVENT=$(ask 'events?pageSize=1' | grep -o 'evt_[0-9a-f-]*')
  ask events/$EVENT
  DESTINATION=$(ask destinations '{"name": "Mine", "eventTypes": ["enrollment.activated"],
    "destinationUrl": "http://127.0.0.1:3000/hook"}' | grep -o 'dst_[0-9a-f-]*')
  ask destinations/$DESTINATION/secret
  ask destinations/$DESTINATION/secret/rotate '{"previousSecretExpiryHours": 1}'

  # The same by Stedi's own client (pip install stedi, for Python 3.12 or newer):
  python3 -c '
import asyncio
from stedi import Config, Stedi
from stedi.models import ListEventDestinationEventsInput, ListEventDestinationsInput

async def show():
    async with Stedi(Config(api_key="@KEY", endpoint_uri="@URL")) as client:
        for event in (await client.list_event_destination_events(
            ListEventDestinationEventsInput())).items:
            print(event.id, event.event_type, event.status)
        for destination in (await client.list_event_destinations(
            ListEventDestinationsInput())).items:
            print(destination.id, destination.destination_url)

asyncio.run(show())'
"""

SAMPLES: Final[Mapping[Played, Sample]] = {
    Played.NATIVE: Sample(
        Api.NATIVE,
        ({"event_type": "card.created", "payload": {"card": "c_1", "limit": 5000}},),
        "Send an event yourself:",
        _NATIVE,
    ),
    Played.LITHIC: Sample(
        Api.NATIVE,
        [
            {"event_type": kind, "payload": {"card_token": "7ef7d65c-9023-4da3-b113-3b8583fd7951"}}
            for kind in ("card.created", "card_transaction.updated")
        ],
        "Read the events, make an event subscription, get its secret:",
        _LITHIC,
    ),
    Played.BUILDABLE: Sample(
        Api.BUILDABLE,
        [
            {
                "event_type": "order.created",
                "payload": {"order": number},
                "platform": "custom",
                "label": "dev",
            }
            for number in (1, 2)
        ],
        "Emit a message, find it, take it and finish it:",
        _BUILDABLE,
    ),
    Played.CONVOY: Sample(
        Api.CONVOY,
        [{"event_type": "invoice.created", "payload": {"invoice": n}} for n in (1, 2)],
        "Send an event, replay it, and see what it came to:",
        _CONVOY,
    ),
    Played.SOCOTRA: Sample(
        Api.SOCOTRA,
        [
            {
                "event_type": kind,
                "payload": {"policyLocator": "01ARZ3NDEKTSV4RRFFQ69G5FAV", "quote": quote},
                "request_id": "01ARZ3NDEKTSV4RRFFQ69G5FAW",
            }
            for kind, quote in (("policy.quote.create", "q_1"), ("policy.quote.price", "q_1"))
        ],
        "Read the events, break a webhook, and find what it has missed:",
        _SOCOTRA,
    ),
    Played.STEDI: Sample(
        Api.STEDI,
        [
            {
                "event_type": kind,
                "payload": {"enrollment": "enr_1"},
                "resource": {"type": "enrollment", "id": "enr_1"},
            }
            for kind in ("enrollment.activated", "enrollment.updated")
        ],
        "Read events, make a destination, rotate its secret:",
        _STEDI,
    ),
}
