"""What lists are asked for: every one of every API, on its first page and deep, by its filters."""

import json
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from bench.apis import NATIVE

COMMON: Final = "card.updated"
RARE: Final = "card.rare"
SELDOM: Final = "card.seldom"
FAILED: Final = "card.failed"
NEVER: Final = "card.never"
TYPES: Final = {COMMON: 1, RARE: 1_000, SELDOM: 100_000, FAILED: 200}
"""Each with how many events there are to one of it."""

OWNER: Final = "owner-1"
REQUEST: Final = "01HZZZZZZZZZZZZZZZZZZZZZZZ"

LITHIC: Final = "lithic"
CROCKFORD: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


@dataclass(frozen=True, slots=True)
class Places:
    """What is where in the database that is asked.

    Attributes:
        project: its id.
        deep: the id of an event that is behind six of the seven days.
        subscription: a native one, with which all events were settled.
        endpoint: Convoy's, the same.
        webhook: Socotra's, to which all events of `FAILED` have failed.
        begin: when the first third began, RFC 3339.
        end: when it ended.
    """

    project: uuid.UUID
    deep: uuid.UUID
    subscription: str
    endpoint: str
    webhook: str
    begin: str
    end: str


@dataclass(frozen=True, slots=True)
class Probe:
    """One request for a list.

    Attributes:
        api: whose key it is asked with.
        name: what the table says.
        path: with the query; `{cursor}` stands for what `take` finds in the answer of `prior`.
        prior: the path that is asked before, once.
        body: of a POST; None for a GET.
    """

    api: str
    name: str
    path: str
    prior: str = ""
    take: Callable[[Any], str] = field(default=str)
    body: Mapping[str, object] | None = None

    def after(self, answer: bytes) -> "Probe":
        """The same behind the answer to `prior`."""
        path = self.path.replace("{cursor}", self.take(json.loads(answer)))
        return Probe(self.api, self.name, path, body=self.body)


def ulid(identifier: uuid.UUID) -> str:
    """An id as Convoy and Socotra spell it."""
    number = identifier.int
    return "".join(CROCKFORD[number >> shift & 31] for shift in range(125, -1, -5))


def read_ulid(text: str) -> uuid.UUID:
    """What `ulid` has spelled."""
    number = 0
    for letter in text:
        number = number << 5 | CROCKFORD.index(letter)
    return uuid.UUID(int=number)


def probes(at: Places) -> list[Probe]:
    """Every list that is measured."""
    return [*native(at), *lithic(at), *socotra(at), *buildable(at), *convoy(at), *stedi(at)]


def native(at: Places) -> Iterator[Probe]:
    """The native API, but for what is Lithic's too."""

    def probe(name: str, path: str, prior: str = "") -> Probe:
        return Probe(
            NATIVE, name, f"/v1/{path}", prior and f"/v1/{prior}", lambda a: str(a["older"])
        )

    mine = f"event_subscription_token={at.subscription}"
    other = f"event_subscription_token=ep_{at.webhook}"
    window = f"begin={at.begin}&end={at.end}"
    box = "diverted_events"
    yield probe("deliveries", "deliveries")
    yield probe(
        "deliveries, deep", "deliveries?starting_after={cursor}", f"deliveries?end={at.begin}"
    )
    yield probe("deliveries, range of time", f"deliveries?{window}")
    for state in ("pending", "delivered", "failed", "cancelled"):
        yield probe(f"deliveries, {state}", f"deliveries?state={state}")
    yield probe("deliveries, one subscription of many", f"deliveries?{mine}")
    yield probe("deliveries, one subscription of few", f"deliveries?{other}")
    for kind in (COMMON, RARE, SELDOM, NEVER):
        yield probe(f"deliveries, {kind}", f"deliveries?event_types={kind}")
    yield probe("deliveries of an event", f"events/evt_{at.deep}/deliveries")
    yield probe("transactions of an event", f"events/evt_{at.deep}/transactions")
    yield probe("diverted events", box)
    yield probe("diverted events, deep", f"{box}?end={at.begin}")
    yield probe("diverted events, one subscription", f"{box}?{other}")
    yield probe("diverted events, none of a subscription", f"{box}?{mine}")
    for kind in (FAILED, "card.*", RARE):
        yield probe(f"diverted events, {kind}", f"{box}?event_types={kind}")
    yield probe("diverted events, an owner", f"{box}?owner={OWNER}")
    yield probe("diverted events, a reason", f"{box}?reason=receiver_gone")
    yield probe("unclaimed events", "unclaimed_events?tx_key=k")
    for kind in (COMMON, RARE, SELDOM, NEVER):
        yield probe(f"unclaimed events, {kind}", f"unclaimed_events?tx_key=k&event_types={kind}")
    for name in ("replays", "sources", "event_types", "api_keys", "projects"):
        yield probe(name, name)


def lithic(at: Places) -> Iterator[Probe]:
    """Lithic's lists, which are native ones."""

    def probe(name: str, path: str) -> Probe:
        return Probe(LITHIC, name, f"/v1/{path}")

    window = f"begin={at.begin}&end={at.end}"
    yield probe("events", "events")
    yield probe("events, deep", f"events?starting_after=evt_{at.deep}")
    yield probe("events, deep and back", f"events?ending_before=evt_{at.deep}")
    yield probe("events, range of time", f"events?{window}")
    for kind in (COMMON, RARE, SELDOM, NEVER):
        yield probe(f"events, {kind}", f"events?event_types={kind}")
    yield probe("events, rare types, deep", f"events?event_types={RARE},{SELDOM}&end={at.end}")
    yield probe(
        "events, rare, oldest first", f"events?event_types={RARE}&ending_before=evt_{at.deep}"
    )
    yield probe("attempts of an event", f"events/evt_{at.deep}/attempts")
    for name, token in (("many", at.subscription), ("few", f"ep_{at.webhook}")):
        path = f"event_subscriptions/{token}/attempts"
        yield probe(f"attempts of a subscription of {name}", path)
        for status in ("FAILED", "SUCCESS", "PENDING"):
            yield probe(f"attempts of {name}, {status}", f"{path}?status={status}")
        yield probe(f"attempts of {name}, range of time", f"{path}?{window}")
    yield probe("event subscriptions", "event_subscriptions")


def socotra(at: Places) -> Iterator[Probe]:
    """Socotra's API."""

    def probe(name: str, path: str, prior: str = "") -> Probe:
        base = f"/event/{at.project}"
        return Probe(
            "socotra",
            name,
            f"{base}/{path}",
            prior and f"{base}/{prior}",
            lambda a: str(a["pagingToken"]),
        )

    begin = f"startTimestamp={at.begin}"
    yield probe("events", "events/list")
    yield probe("events, from a time", f"events/list?{begin}")
    yield probe("events, range of time", f"events/list?{begin}&endTimestamp={at.end}")
    yield probe("events, by token", "events/list?pagingToken={cursor}", f"events/list?{begin}")
    for kind in (COMMON, RARE, SELDOM, NEVER):
        yield probe(f"events, {kind}", f"events/list?type={kind}")
    yield probe("events of a request", f"events/request/{REQUEST}")
    yield probe("diverted events", f"webhooks/{ulid(uuid.UUID(at.webhook))}/diverted")
    yield probe("diverted, deep", f"webhooks/{ulid(uuid.UUID(at.webhook))}/diverted?offset=4000")
    yield probe("webhooks", "webhooks/list")
    yield probe("webhooks, by type", f"webhooks/list?eventTypes={FAILED}")
    yield probe("webhooks, extended", "webhooks/list?extended=true")


def buildable(at: Places) -> Iterator[Probe]:
    """Buildable's query."""

    def probe(name: str, kind: str, **more: object) -> Probe:
        body = {"eventName": kind, "txKey": "k", **more}
        return Probe("buildable", name, "/query", body=body)

    del at
    for kind in (COMMON, RARE, SELDOM, NEVER):
        yield probe(f"query, {kind}", kind)
    yield probe("query, page 100", COMMON, page=100)
    for state in ("pending", "processing", "finished", "failed"):
        yield probe(f"query, {state}", COMMON, txState=state)
    yield probe("query, rare, finished", RARE, txState="finished")


def convoy(at: Places) -> Iterator[Probe]:
    """Convoy's API; without dates it looks at the last seven days."""

    def probe(name: str, path: str) -> Probe:
        return Probe("convoy", name, f"/api/v1/projects/{ulid(at.project)}/{path}")

    deep = ulid(at.deep)
    window = f"startDate={at.begin[:19]}&endDate={at.end[:19]}"
    yield probe("events", "events")
    yield probe("events, deep", f"events?next_page_cursor={deep}")
    yield probe("events, oldest first", "events?sort=asc")
    yield probe("events, range of time", f"events?{window}")
    yield probe("events, of an endpoint", f"events?endpointId={at.endpoint}")
    yield probe("events, of an owner", f"events?ownerId={OWNER}")
    yield probe("events, of a source", f"events?sourceId={deep}")
    yield probe("events, of a key", "events?idempotencyKey=none")
    yield probe("events, with words", "events?query=nowhere")
    yield probe("events, with a body", "events?body=%7B%22nothing%22%3A1%7D")
    yield probe("event deliveries", "eventdeliveries")
    yield probe("deliveries, deep", f"eventdeliveries?next_page_cursor={deep}{deep}")
    yield probe("deliveries, range of time", f"eventdeliveries?{window}")
    yield probe("deliveries, of an endpoint", f"eventdeliveries?endpointId={at.endpoint}")
    yield probe("deliveries, of an event", f"eventdeliveries?eventId={deep}")
    for status in ("Success", "Failure", "Scheduled", "Retry", "Discarded"):
        yield probe(f"deliveries, {status}", f"eventdeliveries?status={status}")
    for kind in (COMMON, RARE, SELDOM, NEVER):
        yield probe(f"deliveries, {kind}", f"eventdeliveries?eventType={kind}")
    counts = {}
    for what, path in (("events", "batchreplay"), ("eventdeliveries", "batchretry")):
        count = f"{what}/count{path}events"
        yield probe(f"count of {path}", count)
        yield probe(f"count of {path}, range of time", f"{count}?{window}")
        yield probe(f"count of {path}, an endpoint", f"{count}?endpointId={at.endpoint}")
        counts[path] = count
    yield probe("count of batchreplay, an owner", f"{counts['batchreplay']}?ownerId={OWNER}")
    yield probe("count of batchreplay, a source", f"{counts['batchreplay']}?sourceId={deep}")
    yield probe("count of batchretry, Failure", f"{counts['batchretry']}?status=Failure")
    for kind in (COMMON, RARE, FAILED):
        yield probe(f"count of batchretry, {kind}", f"{counts['batchretry']}?eventType={kind}")
    yield probe(
        "count of batchretry, Failure and a type",
        f"{counts['batchretry']}?status=Failure&eventType={RARE}",
    )
    yield probe("endpoints", "endpoints")
    yield probe("failure rates", f"endpoints/period-failure-rates?{window}")
    for name in ("subscriptions", "sources", "event-types"):
        yield probe(name, name)


def stedi(at: Places) -> Iterator[Probe]:
    """Stedi's API: a page looks at so many events, and says where to go on."""

    def probe(name: str, path: str, prior: str = "") -> Probe:
        return Probe(
            "stedi", name, f"/{path}", prior and f"/{prior}", lambda a: str(a["nextPageToken"])
        )

    window = f"created=gte:{at.begin}&created=lt:{at.end}"
    yield probe("events", "events")
    yield probe("events, deep", "events?pageToken={cursor}", f"events?created=lt:{at.begin}")
    yield probe("events, range of time", f"events?{window}")
    for kind in (COMMON, RARE, SELDOM, NEVER):
        yield probe(f"events, {kind}", f"events?eventType={kind}")
    for status in ("PENDING", "DELIVERED", "FAILED"):
        yield probe(f"events, {status}", f"events?status={status}")
    yield probe("events, rare, FAILED, range", f"events?eventType={RARE}&status=FAILED&{window}")
    yield probe("events, by id", f"events?eventId=evt_{at.deep}")
    yield probe("destinations", "destinations")
    yield probe("destinations, by type", f"destinations?eventType={FAILED}&status=ENABLED")
