"""Convoy's filters for single event types, and its tests of filters and functions."""

from collections.abc import Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from waypost.clock import Clock
from waypost.dialects.convoy import things
from waypost.dialects.convoy.answers import FilterOut, MatchOut, RunOut
from waypost.dialects.convoy.envelope import Answer, born, read_id, spelled
from waypost.dialects.convoy.shelf import Shelf
from waypost.dialects.convoy.subscriptions import ONE_PATH as SUBSCRIPTION_PATH
from waypost.dialects.convoy.subscriptions import PATH as SUBSCRIPTIONS_PATH
from waypost.dialects.convoy.subscriptions import ScopesIn
from waypost.dialects.convoy.table import Call, Operation
from waypost.dialects.convoy.things import ANY_TYPE, EventFilter, Scopes, filter_of
from waypost.dialects.convoy.wishes import translated
from waypost.model import ids
from waypost.model.errors import Conflict, InvalidInput, InvalidSetting, NotFound
from waypost.model.event import Attributes
from waypost.model.project import Scope
from waypost.model.record import Record
from waypost.operations.filters import Filters, Sample
from waypost.operations.transforms import Transforms
from waypost.policy import timestamp
from waypost.policy.events import Draft
from waypost.policy.filters import compiled
from waypost.policy.routing import takes_type
from waypost.policy.transforms import TransformIn, read

PATH: Final = f"{SUBSCRIPTION_PATH}/filters"
ONE_PATH: Final = f"{PATH}/{{filter_id}}"
FILTERS_MAX: Final = 100
"""How many filters for single types a subscription may have."""

_EXISTS: Final = "filter with this event type already exists"

Type = Annotated[str, Meta(min_length=1, max_length=256)]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What may hold nothing unknown."""


class FilterIn(_Strict, frozen=True, kw_only=True):
    """A filter for one event type; `enabled_at` null: it is not asked."""

    event_type: Type
    enabled_at: str | UnsetType | None = UNSET
    headers: dict[str, Any] | None = None
    body: dict[str, Any] | None = None
    query: dict[str, Any] | None = None
    path: dict[str, Any] | None = None


class FilterChange(_Strict, frozen=True, kw_only=True):
    """What is to change; what is absent stays."""

    uid: str | None = None
    event_type: Type | None = None
    enabled_at: str | UnsetType | None = UNSET
    is_enabled: bool | None = None
    headers: dict[str, Any] | None = None
    body: dict[str, Any] | None = None
    query: dict[str, Any] | None = None
    path: dict[str, Any] | None = None


class RequestIn(_Strict, frozen=True, kw_only=True):
    """An event that is only thought of: `payload` is its body."""

    payload: Any = UNSET
    request: ScopesIn | None = None


class TestIn(_Strict, frozen=True, kw_only=True):
    """An event that is only thought of, and a filter."""

    __test__ = False  # it is no test of pytest's

    request: ScopesIn
    schema: ScopesIn


class FunctionIn(_Strict, frozen=True, kw_only=True):
    """A function to try on a payload."""

    payload: msgspec.Raw
    function: Annotated[str, Meta(min_length=1, max_length=65_536)]
    type: str | None = None


class FilterRoutes:
    """Handlers over the operations on filters."""

    def __init__(
        self, shelf: Shelf, filters: Filters, transforms: Transforms, clock: Clock
    ) -> None:
        """Take what they are kept in, and what tries filters and functions out."""
        self._shelf = shelf
        self._filters = filters
        self._transforms = transforms
        self._clock = clock

    def operations(self) -> list[Operation]:
        """Return the rows of the table that are about filters."""
        reads, writes = Scope.SUBSCRIPTIONS_READ, Scope.SUBSCRIPTIONS_WRITE
        many, more = f"{PATH}/bulk", list[FilterIn]
        changes = list[FilterChange]
        return [
            Operation("POST", f"{SUBSCRIPTIONS_PATH}/test_filter", reads, self.test, TestIn),
            Operation("POST", f"{SUBSCRIPTIONS_PATH}/test_function", reads, self.run, FunctionIn),
            Operation("POST", PATH, writes, self.create, FilterIn, status=201),
            Operation("GET", PATH, reads, self.list_all),
            Operation("POST", many, writes, self.create_many, more, status=201),
            Operation("POST", f"{PATH}/bulk_update", writes, self.update_many, changes),
            Operation("PUT", f"{PATH}/bulk_update", writes, self.update_many, changes),
            Operation("POST", f"{PATH}/test/{{event_type}}", reads, self.try_out, RequestIn),
            Operation("GET", ONE_PATH, reads, self.get),
            Operation("PUT", ONE_PATH, writes, self.update, FilterChange),
            Operation("DELETE", ONE_PATH, writes, self.delete),
        ]

    async def create(self, call: Call) -> Answer[FilterOut]:
        """Make a filter."""
        (made,) = await self._create(call, [call.body])
        return Answer("Filter created successfully", _shape(made), 201)

    async def create_many(self, call: Call) -> Answer[list[FilterOut]]:
        """Make several filters, all of them or none."""
        made = await self._create(call, call.body)
        return Answer("Filters created successfully", [_shape(one) for one in made], 201)

    async def list_all(self, call: Call) -> Answer[list[FilterOut]]:
        """List a subscription's filters."""
        _, present = await self._present(call)
        return Answer("Filters fetched successfully", [_shape(one) for one in present])

    async def get(self, call: Call) -> Answer[FilterOut]:
        """Return a filter."""
        _, present = await self._present(call)
        return Answer("Filter fetched successfully", _shape(_find(present, call.path["filter_id"])))

    async def update(self, call: Call) -> Answer[FilterOut]:
        """Change a filter."""
        change = msgspec.structs.replace(call.body, uid=call.path["filter_id"])
        (changed,) = await self._update(call, [change])
        return Answer("Filter updated successfully", _shape(changed))

    async def update_many(self, call: Call) -> Answer[list[FilterOut]]:
        """Change several filters, all of them or none."""
        changed = await self._update(call, call.body)
        return Answer("Filters updated successfully", [_shape(one) for one in changed])

    async def delete(self, call: Call) -> Answer[None]:
        """Delete a filter; from now on its type goes by what is left."""
        subscription, present = await self._present(call)
        gone = _find(present, call.path["filter_id"])
        left = [filter_of(one) for one in present if one is not gone]
        await self._keep(call, subscription, left, self._shelf.records.forgetting(gone))
        return Answer("Filter deleted successfully")

    async def try_out(self, call: Call) -> Answer[MatchOut]:
        """Tell whether an event of a type would pass."""
        subscription, present = await self._present(call)
        kind = call.path["event_type"]
        wanted = things.subscribed_of(subscription)
        by_type = {
            one.event_type: one.scopes
            for one in map(filter_of, present)
            if one.enabled_us is not None
        }
        scopes = by_type.get(kind) or by_type.get(ANY_TYPE) or Scopes()
        body: RequestIn = call.body
        sample = ScopesIn() if body.request is None else body.request
        given = sample.scopes()
        if body.payload is not UNSET:
            given = msgspec.structs.replace(given, body=body.payload)
        is_taken = takes_type(wanted.event_types, kind)
        matches = is_taken and await self._matches(call, given, (wanted.filter, scopes))
        return Answer("Filter test completed", {"is_match": matches})

    async def test(self, call: Call) -> Answer[bool]:
        """Tell whether an event would match a filter; neither is kept."""
        body: TestIn = call.body
        matches = await self._matches(call, body.request.scopes(), (body.schema.scopes(),))
        return Answer("Filter validated successfully", matches)

    async def run(self, call: Call) -> Answer[RunOut]:
        """Run a function on a payload, and tell what comes of it."""
        body: FunctionIn = call.body
        program = read(TransformIn(javascript=body.function), "function")
        draft = Draft("example", bytes(body.payload))
        trial = await self._transforms.try_on(call.principal, program, draft, "function")
        if trial.fault is not None:
            raise InvalidInput(f"function: {trial.fault}")
        payload = None if trial.event is None else msgspec.Raw(trial.event.payload)
        data: RunOut = {"payload": payload, "log": list(trial.log)}
        return Answer("Subscription function run successfully", data)

    async def _matches(self, call: Call, given: Scopes, filters: Sequence[Scopes]) -> bool:
        attributes = Attributes(
            headers={name.lower(): _text(value) for name, value in given.headers.items()},
            query={name: _text(value) for name, value in given.query.items()},
            path=_text(given.path["path"]) if given.path.get("path") is not None else None,
        )
        sample = Sample(None, msgspec.json.encode(given.body), attributes)
        for scopes in filters:
            text = msgspec.json.encode(translated(scopes)).decode()
            if not scopes.is_empty and await self._filters.try_out(
                call.principal, text, (), sample
            ):
                return False
        return True

    async def _create(self, call: Call, wanted: Sequence[FilterIn]) -> list[Record]:
        subscription, present = await self._present(call)
        if not wanted:
            raise InvalidInput("at least one filter is required")
        taken = [filter_of(one) for one in present]
        made: list[Record] = []
        for one in wanted:
            if one.event_type in {other.event_type for other in taken}:
                raise Conflict(_EXISTS)
            self._require_type(subscription, one.event_type)
            kept = EventFilter(
                one.event_type,
                Scopes(one.headers or {}, one.body or {}, one.query or {}, one.path or {}),
                self._clock.now_us() if one.enabled_at is UNSET else _moment(one.enabled_at),
            )
            _check(kept.scopes)
            taken.append(kept)
            body = msgspec.json.encode(kept)
            made.append(
                self._shelf.records.new(call.principal, things.FILTER, body, subscription.id)
            )
        if len(taken) > FILTERS_MAX:
            raise Conflict(f"a subscription may have at most {FILTERS_MAX} filters")
        writes = [self._shelf.records.saving(one) for one in made]
        await self._keep(call, subscription, taken, *writes)
        return made

    async def _update(self, call: Call, wanted: Sequence[FilterChange]) -> list[Record]:
        subscription, present = await self._present(call)
        by_id = {one.id: one for one in present}
        changed: dict[ids.Id, Record] = {}
        for one in wanted:
            record = _find(present, one.uid or "")
            if record.id in changed:
                raise InvalidInput(details=[("uid", "is there twice")])
            kept = self._changed(filter_of(record), one)
            self._require_type(subscription, kept.event_type)
            changed[record.id] = self._shelf.records.changed(record, msgspec.json.encode(kept))
        after = [filter_of(one) for one in {**by_id, **changed}.values()]
        if len({one.event_type for one in after}) != len(after):
            raise Conflict(_EXISTS)
        writes = [self._shelf.records.saving(one) for one in changed.values()]
        await self._keep(call, subscription, after, *writes)
        return list(changed.values())

    def _changed(self, present: EventFilter, change: FilterChange) -> EventFilter:
        given = {
            name: getattr(change, name)
            for name in ("headers", "body", "query", "path")
            if getattr(change, name) is not None
        }
        scopes = msgspec.structs.replace(present.scopes, **given)
        _check(scopes)
        enabled_us = present.enabled_us
        if change.enabled_at is not UNSET:
            enabled_us = _moment(change.enabled_at)
        elif change.is_enabled is not None:
            enabled_us = (enabled_us or self._clock.now_us()) if change.is_enabled else None
        return EventFilter(change.event_type or present.event_type, scopes, enabled_us)

    async def _keep(
        self, call: Call, subscription: Record, filters: Sequence[EventFilter], *writes: Any
    ) -> None:
        place = subscription.parent or subscription.id
        endpoint = await self._shelf.endpoint(call.principal, place)
        await self._shelf.keep_subscription(
            call.principal, endpoint, subscription, filters, *writes
        )

    async def _present(self, call: Call) -> tuple[Record, list[Record]]:
        """Return the subscription of the path, and its filters."""
        identifier = call.id("subscription_id", "subscription")
        subscription = await self._shelf.subscription(call.principal, identifier)
        found = await self._shelf.filters(call.principal, subscription.id)
        return subscription, found[subscription.id]

    @staticmethod
    def _require_type(subscription: Record, kind: str) -> None:
        """Refuse a filter for a type that the subscription never takes."""
        types = things.subscribed_of(subscription).event_types
        if kind != ANY_TYPE and not takes_type(types, kind):
            raise NotFound("event type")


def _find(present: Sequence[Record], text: str) -> Record:
    identifier = read_id("filter", text)
    for one in present:
        if one.id == identifier:
            return one
    raise NotFound("filter")


def _check(scopes: Scopes) -> None:
    """Refuse what is not in the language of filters."""
    if scopes.is_empty:
        return
    try:
        compiled(msgspec.json.encode(translated(scopes)).decode())
    except InvalidSetting as error:
        details = [(path.removeprefix("filter."), why) for path, why in error.details]
        raise InvalidSetting(details=details) from error


def _moment(text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return timestamp.read(text)
    except ValueError as error:
        raise InvalidInput(details=[("enabled_at", str(error))]) from error


def _text(value: Any) -> str:
    if isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value if isinstance(value, str) else msgspec.json.encode(value).decode()


def _shape(record: Record) -> FilterOut:
    one = filter_of(record)
    scopes = one.scopes
    return {
        "uid": ids.spell_ulid(record.id),
        "subscription_id": ids.spell_ulid(record.parent) if record.parent else "",
        "event_type": one.event_type,
        "enabled_at": spelled(one.enabled_us),
        "headers": scopes.headers,
        "body": scopes.body,
        "query": scopes.query,
        "path": scopes.path,
        "raw_headers": scopes.headers,
        "raw_body": scopes.body,
        "raw_query": scopes.query,
        "raw_path": scopes.path,
        "created_at": born(record.id),
        "updated_at": spelled(record.changed_us),
    }
