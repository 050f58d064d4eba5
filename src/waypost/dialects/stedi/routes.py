"""Stedi's nine operations: what comes is read, asked of ours, and answered in its shapes.

They stand at the root, and under the version that its clients put before every path.
"""

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeVar

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from waypost.dialects.stedi import wire
from waypost.dialects.stedi.wire import (
    CreateIn,
    DestinationOut,
    DestinationsOut,
    DestinationsQuery,
    EventOut,
    EventsOut,
    EventsQuery,
    NewDestinationOut,
    RotateIn,
    SecretOut,
    UpdateIn,
)
from waypost.dialects.surface import MAX_BODY_BYTES
from waypost.model.api import Api
from waypost.model.delivery import EventStatus
from waypost.model.errors import InvalidInput, NotFound, WaypostError
from waypost.model.ids import Id
from waypost.model.page import PageRequest
from waypost.model.project import Environment, Principal, Scope
from waypost.model.subscription import Subscription
from waypost.operations.access import Access
from waypost.operations.changing import Within
from waypost.operations.deliveries import Deliveries
from waypost.operations.events import Events, Sought
from waypost.operations.repeats import Repeats
from waypost.operations.repeats import Request as Asked
from waypost.operations.signing_keys import Also, Keys, Rotation, SigningKeys
from waypost.operations.subscriptions import Subscriptions
from waypost.policy.events import is_type
from waypost.policy.routing import wants
from waypost.web.errors import Surfaces
from waypost.web.queries import Queries
from waypost.web.requests import read_json

VERSION: Final = "/2026-02-01"
EVENTS: Final = "/events"
DESTINATIONS: Final = "/destinations"

_EVENTS_QUERY: Final = Queries(EventsQuery)
_DESTINATIONS_QUERY: Final = Queries(DestinationsQuery)
_KEY: Final = "idempotency-key"
_DESTINATION: Final = "destination"
_ALL: Final = PageRequest(size=wire.DESTINATIONS_MAX)

_encode: Final = msgspec.json.Encoder().encode

T = TypeVar("T")
Handler = Callable[[Principal, Request], Awaitable[Response]]


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation.

    Attributes:
        name: what the vendor's document calls it.
        scope: what the key must be allowed to do.
        result: the struct of the answer; None for an empty one.
        query: the struct of the parameters behind the question mark.
        body: the struct of the JSON body.
        body_optional: no body at all stands for one of defaults.
        status: of success.
    """

    name: str
    method: str
    path: str
    scope: Scope
    handler: Handler
    result: type[msgspec.Struct] | None
    query: type[msgspec.Struct] | None = None
    body: type[msgspec.Struct] | None = None
    body_optional: bool = False
    status: int = 200


class StediRoutes:
    """The nine."""

    def __init__(
        self,
        access: Access,
        surfaces: Surfaces,
        events: Events,
        deliveries: Deliveries,
        subscriptions: Subscriptions,
        keys: SigningKeys,
        repeats: Repeats,
        environments: Mapping[Id, Environment],
    ) -> None:
        """Take the operations, and what tells the environment of each project."""
        self._access = access
        self._surfaces = surfaces
        self._events = events
        self._deliveries = deliveries
        self._subscriptions = subscriptions
        self._keys = keys
        self._repeats = repeats
        self._environments = environments

    def operations(self) -> list[Operation]:
        """Return the table."""
        one, secret = (
            f"{DESTINATIONS}/{{destinationId}}",
            f"{DESTINATIONS}/{{destinationId}}/secret",
        )
        see, change = Scope.SUBSCRIPTIONS_READ, Scope.SUBSCRIPTIONS_WRITE
        read = Scope.EVENTS_READ
        return [
            Operation("ListEvents", "GET", EVENTS, read, self.list_events, EventsOut, EventsQuery),
            Operation("GetEvent", "GET", f"{EVENTS}/{{eventId}}", read, self.get_event, EventOut),
            Operation(
                "ListDestinations",
                "GET",
                DESTINATIONS,
                see,
                self.list_all,
                DestinationsOut,
                DestinationsQuery,
            ),
            Operation(
                "CreateDestination",
                "POST",
                DESTINATIONS,
                change,
                self.create,
                NewDestinationOut,
                body=CreateIn,
                status=201,
            ),
            Operation("GetDestination", "GET", one, see, self.get, DestinationOut),
            Operation(
                "UpdateDestination",
                "POST",
                one,
                change,
                self.update,
                DestinationOut,
                body=UpdateIn,
                body_optional=True,
            ),
            Operation("DeleteDestination", "DELETE", one, change, self.delete, None, status=204),
            Operation("GetDestinationSecret", "GET", secret, change, self.secret, SecretOut),
            Operation(
                "RotateDestinationSecret",
                "POST",
                f"{secret}/rotate",
                change,
                self.rotate,
                SecretOut,
                body=RotateIn,
                body_optional=True,
            ),
        ]

    def routes(self) -> list[Route]:
        """Return what is served; from now on errors on its paths are in its envelope."""
        by_path: dict[str, dict[str, Operation]] = {}
        for operation in self.operations():
            by_path.setdefault(operation.path, {})[operation.method] = operation
        for prefix in (VERSION, EVENTS, DESTINATIONS):
            self._surfaces.add(prefix, wire.render)
        return [
            Route(f"{base}{path}", self._endpoint(methods), methods=list(methods))
            for base in ("", VERSION)
            for path, methods in by_path.items()
        ]

    def _endpoint(
        self, methods: Mapping[str, Operation]
    ) -> Callable[[Request], Awaitable[Response]]:
        async def serve(request: Request) -> Response:
            method = "GET" if request.method == "HEAD" else request.method
            scope, handler = methods[method].scope, methods[method].handler
            try:
                caller = self._access.authenticate(_authorization(request))
                self._access.spend(caller, reads=method == "GET")
                named = request.headers.get("waypost-project")
                project = None if named is None else named.encode("latin-1")
                return await handler(self._access.authorize(caller, scope, project), request)
            except WaypostError as error:
                return self._surfaces.response(request.url.path, self._surfaces.problem(error))

        return serve

    async def list_events(self, caller: Principal, request: Request) -> Response:
        """List events and how they stand."""
        asked = _EVENTS_QUERY.read(request)
        token, event, kind = asked.page_token, asked.event_id, asked.event_type
        begin_us, end_us = wire.read_created(asked.created)
        try:
            event_id = None
            if event is not None:
                event_id = wire.read_id(wire.EVENT, event, "eventId", "event")
        except NotFound:
            return _answer(wire.EventsOut([]))
        if kind is not None and not is_type(kind):
            return _answer(wire.EventsOut([]))
        page = PageRequest(
            size=asked.page_size,
            older_than=None if token is None else wire.read_page(token),
            begin_us=begin_us,
            end_us=end_us,
        )
        wanted = frozenset(EventStatus(status.lower()) for status in asked.status)
        found = await self._events.seek(caller, page, Sought(event_id, kind, wanted))
        items = [wire.summary_out(one.id, one.type, one.status) for one in found.items]
        if found.older_than is None:
            return _answer(wire.EventsOut(items))
        return _answer(wire.EventsOut(items, wire.spell_page(found.older_than)))

    async def get_event(self, caller: Principal, request: Request) -> Response:
        """Return an event, and how it stands over all that it was owed to."""
        event_id = wire.read_id(wire.EVENT, request.path_params["eventId"], "eventId", "event")
        event, status = await self._events.status(caller, event_id)
        return _answer(wire.event_out(event, status, self._environments[event.project_id]))

    async def list_all(self, caller: Principal, request: Request) -> Response:
        """List destinations, newest first."""
        asked = _DESTINATIONS_QUERY.read(request)
        size, status, kind = asked.page_size, asked.status, asked.event_type
        behind = None if asked.page_token is None else wire.read_page(asked.page_token)
        found = await self._subscriptions.list_page(caller, _ALL, api=Api.STEDI)
        rest = [
            one
            for one in found.items
            if (behind is None or one.id < behind)
            and (status is None or wire.is_enabled(one) is (status == "ENABLED"))
            and (kind is None or wants(one, kind, one.owner))
        ]
        last = await self._deliveries.last_started(caller, [one.id for one in rest[:size]])
        items = [wire.destination_out(one, last.get(one.id)) for one in rest[:size]]
        if len(rest) <= size:
            return _answer(wire.DestinationsOut(items))
        return _answer(wire.DestinationsOut(items, wire.spell_page(rest[size - 1].id)))

    async def create(self, caller: Principal, request: Request) -> Response:
        """Make a destination; the answer has its secret."""
        asked, body = await _asked(request, CreateIn)
        wanted = wire.settings_of_new(body)

        async def change(also: Also) -> None:
            within = Within(Api.STEDI, wire.DESTINATIONS_MAX, also)
            await self._subscriptions.create(caller, wanted, within)

        def answer(made: Subscription, keys: Keys) -> bytes:
            return _encode(wire.new_destination_out(made, keys))

        said = await self._repeats.once(caller, asked, answer, change)
        return Response(said, 201, media_type="application/json")

    async def get(self, caller: Principal, request: Request) -> Response:
        """Return a destination."""
        found = await self._find(caller, _destination(request))
        return _answer(wire.destination_out(found, await self._last(caller, found.id)))

    async def update(self, caller: Principal, request: Request) -> Response:
        """Merge what is given into a destination."""
        destination_id = _destination(request)
        asked, body = await _asked(request, UpdateIn, when_empty=UpdateIn())
        wanted = wire.settings_of(body)
        present = await self._find(caller, destination_id)
        last_us = await self._last(caller, destination_id)

        async def change(also: Also) -> None:
            if body.status == "ENABLED" and present.suspension is not None:
                await self._subscriptions.unsuspend(caller, destination_id)
            within = Within(Api.STEDI, also=also)
            await self._subscriptions.update(caller, destination_id, wanted, within)

        def answer(changed: Subscription, _keys: Keys) -> bytes:
            return _encode(wire.destination_out(changed, last_us))

        said = await self._repeats.once(caller, asked, answer, _translated(change))
        return Response(said, media_type="application/json")

    async def delete(self, caller: Principal, request: Request) -> Response:
        """Delete a destination; one that was deleted before is deleted."""
        destination_id = _destination(request)
        asked = Asked(_key(request), _content(request))

        async def change(also: Also) -> None:
            within = Within(Api.STEDI, also=also)
            await self._subscriptions.delete(caller, destination_id, within)

        try:
            await self._repeats.once(caller, asked, _nothing, change)
        except NotFound as error:
            if not await self._subscriptions.was_deleted(caller, destination_id, Api.STEDI):
                raise NotFound(_DESTINATION) from error
        return Response(status_code=204)

    async def secret(self, caller: Principal, request: Request) -> Response:
        """Return a destination's secret."""
        destination_id = _destination(request)
        await self._find(caller, destination_id)
        keys = await self._keys.valid(caller, destination_id, api=Api.STEDI)
        return _answer(wire.secret_out(keys))

    async def rotate(self, caller: Principal, request: Request) -> Response:
        """Replace a destination's secret, unless the one before it is still good."""
        destination_id = _destination(request)
        asked, body = await _asked(request, RotateIn, when_empty=RotateIn())
        how = Rotation(body.overlap_us, alone=True)

        async def change(also: Also) -> None:
            await self._keys.rotate(caller, destination_id, how, api=Api.STEDI, also=also)

        def answer(_destination: Subscription, keys: Keys) -> bytes:
            return _encode(wire.rotated(keys))

        said = await self._repeats.once(caller, asked, answer, _translated(change))
        return Response(said, media_type="application/json")

    async def _find(self, caller: Principal, destination_id: Id) -> Subscription:
        try:
            return await self._subscriptions.get(caller, destination_id, api=Api.STEDI)
        except NotFound as error:
            raise NotFound(_DESTINATION) from error

    async def _last(self, caller: Principal, destination_id: Id) -> int | None:
        return (await self._deliveries.last_started(caller, (destination_id,))).get(destination_id)


def _translated(change: Callable[[Also], Awaitable[None]]) -> Callable[[Also], Awaitable[None]]:
    """Have what is not found called by its name here."""

    async def translated(also: Also) -> None:
        try:
            await change(also)
        except NotFound as error:
            raise NotFound(_DESTINATION) from error

    return translated


def _nothing(_destination: Subscription, _keys: Keys) -> bytes:
    return b""


def _authorization(request: Request) -> bytes | None:
    """Return the key that is given, also where it stands behind the word `Key`."""
    value = request.headers.get("authorization")
    if value is None:
        return None
    if value[:4].lower() == "key ":
        value = value[4:].strip()
    return value.encode("latin-1")


def _destination(request: Request) -> Id:
    token = request.path_params["destinationId"]
    return wire.read_id(wire.DESTINATION, token, "destinationId", _DESTINATION)


async def _asked(request: Request, form: type[T], when_empty: T | None = None) -> tuple[Asked, T]:
    """Return a change that is asked for, and its body."""
    key = _key(request)
    body = await read_json(request, form, MAX_BODY_BYTES, when_empty=when_empty)
    return Asked(key, _content(request, [_encode(body)])), body


def _key(request: Request) -> str | None:
    key = request.headers.get(_KEY)
    if key is not None and not 1 <= len(key) <= wire.KEY_MAX:
        raise InvalidInput(details=[(_KEY, f"must be 1 to {wire.KEY_MAX} characters")])
    return None if key is None else f"{wire.FORMAT}:{key}"


def _content(request: Request, parts: Iterable[bytes] = ()) -> bytes:
    path = request.url.path.removeprefix(VERSION)
    return b"\0".join((request.method.encode(), path.encode(), *parts))


def _answer(result: Any) -> Response:
    return Response(_encode(result), media_type="application/json")
