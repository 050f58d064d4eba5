"""Convoy's subscriptions: which events an endpoint wants, and what it makes of them."""

from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta

from waypost.dialects.convoy import paging, things
from waypost.dialects.convoy.answers import EndpointOut, PageOut, SourceOut, SubscriptionOut
from waypost.dialects.convoy.config import RateConfig, StrategyConfig
from waypost.dialects.convoy.durations import seconds
from waypost.dialects.convoy.envelope import Answer, born, read_id, spelled
from waypost.dialects.convoy.queries import Paged, SubscriptionsQuery
from waypost.dialects.convoy.shapes import endpoint_out
from waypost.dialects.convoy.shelf import Shelf
from waypost.dialects.convoy.table import PROJECT_PATH, Call, Operation
from waypost.dialects.convoy.things import (
    ANY_TYPE,
    Scopes,
    Subscribed,
    endpoint_of,
    subscribed_of,
)
from waypost.model import ids
from waypost.model.errors import Conflict, InvalidInput, NotFound
from waypost.model.ids import Id
from waypost.model.page import PageRequest
from waypost.model.project import Principal, Scope
from waypost.model.record import Record
from waypost.operations.event_types import EventTypes
from waypost.policy.events import is_type

PATH: Final = f"{PROJECT_PATH}/subscriptions"
ONE_PATH: Final = f"{PATH}/{{subscription_id}}"
KIND: Final = "subscription"
TYPES_MAX: Final = 500

Text = Annotated[str, Meta(max_length=1_024)]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What may hold nothing unknown."""


class ScopesIn(_Strict, frozen=True, kw_only=True):
    """A filter as it is sent: by a scope's name in singular or in plural."""

    headers: dict[str, Any] | None = None
    header: dict[str, Any] | None = None
    body: dict[str, Any] | None = None
    query: dict[str, Any] | None = None
    path: dict[str, Any] | str | None = None
    is_flattened: bool | None = None

    def scopes(self) -> Scopes:
        """Return it as it is kept."""
        path = {"path": self.path} if isinstance(self.path, str) else self.path
        return Scopes(
            self.headers or self.header or {}, self.body or {}, self.query or {}, path or {}
        )


class FilterConfigIn(_Strict, frozen=True, kw_only=True):
    """Which events are wanted."""

    event_types: Annotated[tuple[str, ...], Meta(max_length=TYPES_MAX)] | None = None
    filter: ScopesIn | None = None


class RetryIn(_Strict, frozen=True, kw_only=True):
    """When what has failed is tried again, in place of the project's strategy."""

    type: Literal["linear", "exponential", ""] | None = None
    duration: str | int | None = None
    interval_seconds: Annotated[int, Meta(ge=0, le=86_400)] | None = None
    retry_count: Annotated[int, Meta(ge=0, le=1_000)] | None = None


class AlertIn(_Strict, frozen=True, kw_only=True):
    """After how many failures within what time somebody is told."""

    count: Annotated[int, Meta(ge=0, le=1_000_000)] = 0
    threshold: str = ""


class SubscriptionIn(_Strict, frozen=True, kw_only=True):
    """A subscription that is asked for."""

    name: Annotated[str, Meta(min_length=1, max_length=256)]
    endpoint_id: str
    source_id: str | None = None
    app_id: str | None = None
    function: Annotated[str, Meta(max_length=65_536)] | None = None
    alert_config: AlertIn | None = None
    filter_config: FilterConfigIn | None = None
    rate_limit_config: RateConfig | None = None
    retry_config: RetryIn | None = None
    delivery_mode: Literal["at_least_once", "at_most_once", ""] | None = None
    type: Literal["api", "cli", ""] | None = None


class SubscriptionChange(_Strict, frozen=True, kw_only=True):
    """What is to change; what is absent stays."""

    name: Annotated[str, Meta(min_length=1, max_length=256)] | None = None
    endpoint_id: str | None = None
    source_id: str | None = None
    app_id: str | None = None
    function: Annotated[str, Meta(max_length=65_536)] | None = None
    alert_config: AlertIn | None = None
    filter_config: FilterConfigIn | None = None
    rate_limit_config: RateConfig | None = None
    retry_config: RetryIn | None = None
    delivery_mode: Literal["at_least_once", "at_most_once", ""] | None = None


class SubscriptionRoutes:
    """Handlers over the operations on subscriptions."""

    def __init__(self, shelf: Shelf, event_types: EventTypes) -> None:
        """Take what they are kept in, and the catalogue that their types are entered in."""
        self._shelf = shelf
        self._types = event_types

    def operations(self) -> list[Operation]:
        """Return the rows of the table that are about subscriptions."""
        reads, writes = Scope.SUBSCRIPTIONS_READ, Scope.SUBSCRIPTIONS_WRITE
        return [
            Operation("POST", PATH, writes, self.create, SubscriptionIn, status=201),
            Operation("GET", PATH, reads, self.list_page, query=(Paged, SubscriptionsQuery)),
            Operation("GET", ONE_PATH, reads, self.get),
            Operation("PUT", ONE_PATH, writes, self.update, SubscriptionChange, status=202),
            Operation("DELETE", ONE_PATH, writes, self.delete),
            Operation("PUT", f"{ONE_PATH}/toggle_status", writes, self.toggle),
        ]

    async def create(self, call: Call) -> Answer[SubscriptionOut]:
        """Make a subscription of an endpoint."""
        body: SubscriptionIn = call.body
        caller = call.principal
        endpoint = await self._endpoint(caller, body.endpoint_id)
        await self._require_room(caller, endpoint.id)
        change = SubscriptionChange(
            **{name: getattr(body, name) for name in SubscriptionChange.__struct_fields__}
        )
        wanted = await self._merged(
            caller, Subscribed(body.name, kind="cli" if body.type == "cli" else "api"), change
        )
        record = self._shelf.new_subscription(caller, endpoint, wanted)
        await self._shelf.keep_subscription(caller, endpoint, record, ())
        await self._types.enter(caller, (one for one in wanted.event_types if is_type(one)))
        data = await self._shape(caller, record)
        return Answer("Subscription created successfully", data, 201)

    async def list_page(self, call: Call) -> Answer[PageOut[SubscriptionOut]]:
        """List subscriptions."""
        call.allow("endpointId", "name", *paging.PARAMETERS)
        wanted = {read_id("endpoint", text) for text in call.many("endpointId")}
        name = (call.one("name") or "").lower()
        listing = paging.read(call)

        def keep(record: Record) -> bool:
            is_at = not wanted or record.parent in wanted
            return is_at and name in subscribed_of(record).name.lower()

        async def fetch(request: PageRequest) -> Any:
            return await self._shelf.records.list_page(call.principal, things.SUBSCRIPTION, request)

        found = await paging.sift(fetch, listing, keep, lambda one: one.id)
        around = await self._around(call.principal, *found.page.items)
        data = paging.page_out(
            listing,
            found.page,
            lambda one: one.id,
            lambda one: _shape(one, around),
            found.stopped,
        )
        return Answer("Subscriptions fetched successfully", data)

    async def get(self, call: Call) -> Answer[SubscriptionOut]:
        """Return a subscription."""
        data = await self._shape(call.principal, await self._find(call))
        return Answer("Subscription fetched successfully", data)

    async def update(self, call: Call) -> Answer[SubscriptionOut]:
        """Change a subscription."""
        body: SubscriptionChange = call.body
        caller = call.principal
        record = await self._find(call)
        place = record.parent or record.id
        if body.endpoint_id:
            endpoint = await self._endpoint(caller, body.endpoint_id)
            if endpoint.id != place:
                await self._require_room(caller, endpoint.id)
        else:
            endpoint = await self._shelf.endpoint(caller, place)
        wanted = await self._merged(caller, subscribed_of(record), body)
        changed = self._shelf.records.changed(record, msgspec.json.encode(wanted))
        changed = msgspec.structs.replace(changed, parent=endpoint.id)
        filters = (await self._shelf.filters(caller, record.id))[record.id]
        await self._shelf.keep_subscription(
            caller, endpoint, changed, [things.filter_of(one) for one in filters]
        )
        data = await self._shape(caller, changed)
        return Answer("Subscription updated successfully", data, 202)

    async def delete(self, call: Call) -> Answer[None]:
        """Delete a subscription; what it is owed is cancelled."""
        await self._shelf.delete_subscription(call.principal, await self._find(call))
        return Answer("Subscription deleted successfully")

    async def toggle(self, call: Call) -> Answer[None]:
        """Refuse what Convoy accepts and ignores."""
        await self._find(call)
        raise Conflict("a subscription has no status of its own: pause its endpoint")

    async def _merged(
        self, caller: Principal, present: Subscribed, body: SubscriptionChange
    ) -> Subscribed:
        changes: dict[str, Any] = {}
        if body.name is not None:
            changes["name"] = body.name
        if body.source_id is not None:
            changes["source_id"] = await self._source(caller, body.source_id)
        if body.function is not None:
            changes["function"] = body.function
        if body.delivery_mode:
            changes["delivery_mode"] = body.delivery_mode
        if body.filter_config is not None:
            changes |= _wanted(body.filter_config)
        return msgspec.structs.replace(present, **changes, **_handled(body))

    async def _source(self, caller: Principal, text: str) -> Id | None:
        if not text:
            return None
        return (await self._shelf.records.get(caller, things.SOURCE, read_id("source", text))).id

    async def _endpoint(self, caller: Principal, text: str) -> Record:
        if not text:
            raise InvalidInput("please provide an endpoint ID")
        try:
            return await self._shelf.endpoint(caller, read_id("endpoint", text))
        except NotFound as error:
            raise InvalidInput("failed to find endpoint by id") from error

    async def _require_room(self, caller: Principal, endpoint_id: Id) -> None:
        home = await self._shelf.homes.of(caller)
        if home.type == "incoming" or home.config.multiple_endpoint_subscriptions:
            return
        if await self._shelf.at(caller, endpoint_id):
            raise Conflict("a subscription for this endpoint already exists")

    async def _find(self, call: Call) -> Record:
        identifier = call.id("subscription_id", KIND)
        return await self._shelf.subscription(call.principal, identifier)

    async def _around(self, caller: Principal, *records: Record) -> "Around":
        endpoints = [one.parent for one in records if one.parent is not None]
        sources = [one for one in (subscribed_of(record).source_id for record in records) if one]
        return Around(
            await self._shelf.records.some(caller, things.ENDPOINT, endpoints),
            await self._shelf.records.some(caller, things.SOURCE, sources),
        )

    async def _shape(self, caller: Principal, record: Record) -> SubscriptionOut:
        return _shape(record, await self._around(caller, record))


class Around(msgspec.Struct, frozen=True):
    """What subscriptions name, by id."""

    endpoints: dict[Id, Record]
    sources: dict[Id, Record]


def _shape(record: Record, around: Around) -> SubscriptionOut:
    one = subscribed_of(record)
    endpoint = around.endpoints.get(record.parent) if record.parent else None
    source = around.sources.get(one.source_id) if one.source_id else None
    return {
        "uid": ids.spell_ulid(record.id),
        "name": one.name,
        "type": one.kind,
        "project_id": ids.spell_ulid(record.project_id),
        "function": one.function or None,
        "source_metadata": None if source is None else source_brief(source),
        "endpoint_metadata": None if endpoint is None else _brief(endpoint),
        "device_metadata": None,
        "alert_config": None,
        "retry_config": None
        if one.retry is None
        else {
            "type": one.retry.type,
            "duration": one.retry.duration,
            "retry_count": one.retry.retry_count,
        },
        "filter_config": {
            "event_types": one.event_types,
            "filter": {
                "is_flattened": False,
                "headers": one.filter.headers,
                "body": one.filter.body,
                "query": one.filter.query,
                "path": one.filter.path,
            },
        },
        "rate_limit_config": None
        if one.rate_limit is None
        else {"count": one.rate_limit.count, "duration": one.rate_limit.duration},
        "delivery_mode": one.delivery_mode,
        "created_at": born(record.id),
        "updated_at": spelled(record.changed_us),
        "deleted_at": spelled(record.deleted_us),
    }


def _brief(endpoint: Record) -> EndpointOut:
    one = endpoint_of(endpoint)
    return endpoint_out(endpoint, one, one.status, masked=True)


def source_brief(source: Record) -> SourceOut:
    """Return what is told of a source beside other things: all its keys, and no secrets."""
    fields: dict[str, Any] = msgspec.json.decode(source.body)
    return {
        "uid": ids.spell_ulid(source.id),
        "name": fields.get("name", ""),
        "type": fields.get("type", "http"),
        "mask_id": fields.get("mask_id", ""),
        "provider": fields.get("provider", ""),
        "is_disabled": fields.get("is_disabled", False),
        "url": fields.get("url", ""),
        "verifier": None,
        "custom_response": {"body": "", "content_type": ""},
        "forward_headers": None,
        "idempotency_keys": None,
        "provider_config": None,
        "pub_sub": None,
        "event_type_location": "",
        "body_function": None,
        "header_function": None,
        "project_id": ids.spell_ulid(source.project_id),
        "created_at": born(source.id),
        "updated_at": spelled(source.changed_us),
        "deleted_at": spelled(source.deleted_us),
    }


def _wanted(given: FilterConfigIn) -> dict[str, Any]:
    """Return what is to change of which events are wanted."""
    changes: dict[str, Any] = {}
    if given.event_types is not None:
        changes["event_types"] = tuple(dict.fromkeys(given.event_types)) or (ANY_TYPE,)
    if given.filter is not None:
        changes["filter"] = given.filter.scopes()
    return changes


def _handled(given: SubscriptionChange) -> dict[str, Any]:
    """Return what is to change of how deliveries are made."""
    changes: dict[str, Any] = {}
    limit = given.rate_limit_config
    if limit is not None:
        if bool(limit.count) is not bool(limit.duration):
            reason = "must have both count and duration, or neither"
            raise InvalidInput(details=[("rate_limit_config", reason)])
        changes["rate_limit"] = limit if limit.count else None
    if given.alert_config is not None:
        _check_alert(given.alert_config)
    if given.retry_config is not None:
        changes["retry"] = _strategy(given.retry_config)
    return changes


def _strategy(given: RetryIn) -> StrategyConfig | None:
    """Return a strategy that was given; one without a count is none."""
    if not given.retry_count:
        return None
    duration_s = given.interval_seconds or 0
    if given.duration is not None and given.duration != "":
        duration_s = seconds(given.duration, "retry_config.duration")
    return StrategyConfig(
        type=given.type or "linear", duration=duration_s, retry_count=given.retry_count
    )


def _check_alert(given: AlertIn) -> None:
    """Refuse what would not be obeyed: Convoy keeps it, and tells nobody."""
    if given.count or given.threshold:
        reason = "is not supported: set slack_webhook_url or teams_webhook_url at the endpoint"
        raise InvalidInput(details=[("alert_config", reason)])
