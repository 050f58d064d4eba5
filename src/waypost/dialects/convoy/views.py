"""Events and deliveries as Convoy shows them, with what stands around them."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from waypost.dialects.convoy import things
from waypost.dialects.convoy.config import RETRY_MAX_S, ProjectConfig, StrategyConfig
from waypost.dialects.convoy.envelope import born, spelled, status_line
from waypost.dialects.convoy.shapes import endpoint_out
from waypost.dialects.convoy.shelf import Shelf
from waypost.dialects.convoy.subscriptions import source_brief
from waypost.dialects.convoy.things import endpoint_of, subscribed_of
from waypost.model import ids
from waypost.model.delivery import Delivery, DeliveryState
from waypost.model.event import Event
from waypost.model.ids import Id
from waypost.model.project import Principal
from waypost.model.record import Record
from waypost.model.shown import AttemptStatus, ShownAttempt
from waypost.operations.events import Events, Seen
from waypost.policy.media import is_json

NOBODY: Final = "no subscription matched this event"
_STATUSES: Final = {
    DeliveryState.DELIVERED: "Success",
    DeliveryState.FAILED: "Failure",
    DeliveryState.CANCELLED: "Discarded",
}
STATUSES: Final = ("Scheduled", "Processing", "Retry", *_STATUSES.values())


class Around(msgspec.Struct, frozen=True):
    """What is known around some events.

    Attributes:
        config: of the project.
        addressees: to whom each event is or was owed, with the latest delivery.
        subscriptions: those of Convoy's among them, by id.
        endpoints: theirs, and those that the events name.
        sources: what they came in by.
    """

    config: ProjectConfig
    addressees: dict[Id, dict[Id, Id]]
    subscriptions: dict[Id, Record]
    endpoints: dict[Id, Record]
    sources: dict[Id, Record]

    def endpoint_id(self, subscription_id: Id) -> Id:
        """Return the endpoint of a subscription; one of another surface's is its own."""
        record = self.subscriptions.get(subscription_id)
        return subscription_id if record is None or record.parent is None else record.parent


class Views:
    """Shows events and deliveries."""

    def __init__(self, shelf: Shelf, events: Events) -> None:
        """Take what stands around them, and where events are kept."""
        self._shelf = shelf
        self._events = events

    async def around(
        self,
        caller: Principal,
        events: Sequence[Event],
        addressees: dict[Id, dict[Id, Id]] | None = None,
    ) -> Around:
        """Return what is known around some events; with the addressees where they are known."""
        if addressees is None:
            addressees = await self._events.addressees(caller, list({one.id for one in events}))
        owed = {one for to in addressees.values() for one in to}
        records = self._shelf.records
        parts = await records.some(caller, things.SUBSCRIPTION, list(owed))
        wanted = {one.parent for one in parts.values() if one.parent is not None}
        wanted |= {one for event in events for one in event.attributes.endpoints}
        sources = {one.attributes.source for one in events if one.attributes.source is not None}
        return Around(
            (await self._shelf.homes.of(caller)).config,
            addressees,
            parts,
            await records.some(caller, things.ENDPOINT, list(wanted)),
            await records.some(caller, things.SOURCE, list(sources)),
        )


def event_out(seen: Seen, around: Around, *, acknowledged_us: int | None = None) -> dict[str, Any]:
    """Return an event as Convoy shows it; a repetition is one of its own, which nobody gets."""
    event, known = seen.event, seen.event.attributes
    owed = {} if seen.is_repeat else around.addressees.get(event.id, {})
    at = dict.fromkeys(known.endpoints) | dict.fromkeys(
        around.endpoint_id(one) for one in owed if one in around.subscriptions
    )
    endpoints = [around.endpoints[one] for one in at if one in around.endpoints]
    source = around.sources.get(known.source) if known.source else None
    is_owed = bool(owed) or seen.is_repeat
    if acknowledged_us is None:
        latest = max(owed.values(), default=seen.id)
        acknowledged_us = max(ids.moment(latest), ids.moment(seen.id))
    return {
        "uid": ids.spell_ulid(seen.id),
        "event_type": event.type,
        "source_id": "" if known.source is None else ids.spell_ulid(known.source),
        "app_id": "",
        "project_id": ids.spell_ulid(event.project_id),
        "endpoints": [ids.spell_ulid(one) for one in at],
        "headers": {name: [value] for name, value in known.headers.items()},
        "endpoint_metadata": [_endpoint(one) for one in endpoints],
        "source_metadata": None if source is None else source_brief(source),
        "url_query_params": _query(known.query),
        "url_path": known.path or "",
        "idempotency_key": known.idempotency_key or "",
        "is_duplicate_event": seen.is_repeat,
        "data": data_of(event),
        "raw": event.payload.decode("utf-8", "replace"),
        "metadata": "",
        "status": "Success" if is_owed else "Failure",
        "failure_reason": "" if is_owed else NOBODY,
        "acknowledged_at": spelled(acknowledged_us),
        "created_at": born(seen.id),
        "updated_at": born(seen.id),
        "deleted_at": None,
    }


def delivery_out(
    delivery: Delivery, event: Event | None, around: Around, *, is_sending: bool
) -> dict[str, Any]:
    """Return a delivery as Convoy shows it; its event may be gone."""
    subscription = around.subscriptions.get(delivery.subscription_id)
    endpoint_id = around.endpoint_id(delivery.subscription_id)
    endpoint = around.endpoints.get(endpoint_id)
    own = None if subscription is None else subscribed_of(subscription)
    strategy = around.config.strategy if own is None or own.retry is None else own.retry
    known = None if event is None else event.attributes
    source_id = None if known is None else known.source
    source = around.sources.get(source_id) if source_id else None
    ended_us = delivery.finished_us
    latency_s = 0.0 if ended_us is None else (ended_us - ids.moment(delivery.id)) / 1_000_000
    return {
        "uid": ids.spell_ulid(delivery.id),
        "project_id": ids.spell_ulid(delivery.project_id),
        "event_id": ids.spell_ulid(delivery.event_id),
        "endpoint_id": ids.spell_ulid(endpoint_id),
        "device_id": "",
        "subscription_id": ids.spell_ulid(delivery.subscription_id),
        "headers": {name: [value] for name, value in known.headers.items()} if known else {},
        "target_url": "" if endpoint is None else endpoint_of(endpoint).url,
        "url_query_params": _query(known.query) if known else "",
        "idempotency_key": (known.idempotency_key if known else None) or "",
        "latency": f"{latency_s:.3f}s",
        "latency_seconds": max(latency_s, 0.0),
        "event_type": delivery.event_type,
        "delivery_mode": "at_least_once" if own is None else own.delivery_mode,
        "endpoint_metadata": None if endpoint is None else _endpoint(endpoint),
        "event_metadata": None
        if event is None
        else {"uid": ids.spell_ulid(event.id), "event_type": event.type},
        "source_metadata": None if source is None else source_brief(source),
        "device_metadata": None,
        "status": status_of(delivery, is_sending=is_sending),
        "metadata": _metadata(delivery, event, strategy),
        "cli_metadata": None,
        "description": delivery.reason.value.replace("_", " ") if delivery.reason else "",
        "acknowledged_at": born(delivery.id),
        "created_at": born(delivery.id),
        "updated_at": born(delivery.id) if ended_us is None else spelled(ended_us),
        "deleted_at": None,
    }


def status_of(delivery: Delivery, *, is_sending: bool) -> str:
    """Return what Convoy calls the state of a delivery."""
    if delivery.state is not DeliveryState.PENDING:
        return _STATUSES[delivery.state]
    if is_sending:
        return "Processing"
    return "Retry" if delivery.attempts else "Scheduled"


def attempt_out(
    attempt: ShownAttempt, endpoint_id: Id, headers: Mapping[str, str] | None = None
) -> dict[str, Any]:
    """Return an attempt as Convoy shows it; `status` is there only where it succeeded."""
    started_us = ids.moment(attempt.id)
    answered = attempt.status_code > 0
    text = attempt.response.decode("utf-8", "replace")
    took_us = 0 if attempt.timings is None else attempt.timings.total_us
    shown: dict[str, Any] = {
        "uid": ids.spell_ulid(attempt.id),
        "msg_id": ids.spell_ulid(attempt.delivery_id),
        "project_id": ids.spell_ulid(attempt.project_id),
        "endpoint_id": ids.spell_ulid(endpoint_id),
        "url": attempt.url,
        "method": "POST",
        "api_version": "2024-04-01",
        "request_http_header": dict(headers or {}),
        "response_http_header": {},
        "http_status": status_line(attempt.status_code) if answered else "",
        "response_data": text if answered else "",
        "error": "" if answered else text,
        "requested_at": spelled(started_us),
        "responded_at": spelled(started_us + took_us) if answered else None,
        "created_at": spelled(started_us),
        "updated_at": spelled(started_us + took_us),
        "deleted_at": None,
    }
    if attempt.status is AttemptStatus.SUCCESS:
        shown["status"] = True
    return shown


def data_of(event: Event) -> Any:
    """Return the payload as JSON; of another type, as base64 of it."""
    if is_json(event.attributes.content_type):
        return msgspec.Raw(event.payload)
    return base64.b64encode(event.payload).decode()


def _metadata(delivery: Delivery, event: Event | None, strategy: StrategyConfig) -> dict[str, Any]:
    return {
        "data": None if event is None else data_of(event),
        "raw": "" if event is None else event.payload.decode("utf-8", "replace"),
        "strategy": strategy.type,
        "next_send_time": spelled(delivery.due_us or delivery.finished_us),
        "num_trials": delivery.attempts,
        "interval_seconds": strategy.duration,
        "retry_limit": strategy.retry_count,
        "max_retry_seconds": int(RETRY_MAX_S),
    }


def _endpoint(record: Record) -> dict[str, Any]:
    one = endpoint_of(record)
    return endpoint_out(record, one, one.status, masked=True)


def _query(query: Mapping[str, str | list[str]]) -> str:
    parts = [
        f"{name}={one}"
        for name, value in query.items()
        for one in (value if isinstance(value, list) else [value])
    ]
    return "&".join(parts)
