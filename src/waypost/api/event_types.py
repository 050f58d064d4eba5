"""Event types over HTTP: a project's catalogue."""

from typing import Final

import msgspec

from waypost.api.operation import Call, Operation
from waypost.model.event_type import EventType
from waypost.model.project import Scope
from waypost.operations.event_types import NO_EXAMPLE, CatalogueIn, EventTypes
from waypost.policy.system_events import system_types

TAG: Final = "Event types"
PATH: Final = "/v1/event_types"


class EventTypeOut(msgspec.Struct, frozen=True):
    """One event type of a catalogue on the wire."""

    name: str
    description: str
    example: msgspec.Raw


class CatalogueOut(msgspec.Struct, frozen=True):
    """A catalogue on the wire, by name."""

    event_types: list[EventTypeOut]


class SystemTypeOut(msgspec.Struct, frozen=True):
    """A type of Waypost's own events; `schema` is the JSON Schema of their payloads."""

    name: str
    description: str
    example: msgspec.Raw
    schema: msgspec.Raw


class KnownTypesOut(CatalogueOut, frozen=True):
    """A catalogue on the wire, and the types of system events, which every project has."""

    system_event_types: list[SystemTypeOut]


_SYSTEM_TYPES: Final = [
    SystemTypeOut(one.name, one.description, msgspec.Raw(one.example), msgspec.Raw(one.schema))
    for one in system_types()
]


class EventTypeRoutes:
    """The handlers of the operations on the catalogue."""

    def __init__(self, event_types: EventTypes) -> None:
        """Take what they call."""
        self._event_types = event_types

    def operations(self) -> list[Operation]:
        """Return the rows of the API's table."""
        return [
            Operation(
                method="GET",
                path=PATH,
                name="list_event_types",
                summary="Get the catalogue of event types",
                tag=TAG,
                scope=Scope.EVENTS_READ,
                description=(
                    "With the types of system events, which a subscription is owed where it names"
                    " them, or a prefix such as waypost.*."
                ),
                handler=self._list,
                result=KnownTypesOut,
            ),
            Operation(
                method="PUT",
                path=PATH,
                name="replace_event_types",
                summary="Replace the catalogue of event types",
                description=(
                    "Types are open, unless the project is strict: then it takes only those of"
                    " its catalogue."
                ),
                tag=TAG,
                scope=Scope.SUBSCRIPTIONS_WRITE,
                handler=self._replace,
                body=CatalogueIn,
                result=CatalogueOut,
            ),
        ]

    async def _list(self, call: Call[None, None]) -> KnownTypesOut:
        known = shape(await self._event_types.list_all(call.principal))
        return KnownTypesOut(known.event_types, _SYSTEM_TYPES)

    async def _replace(self, call: Call[None, CatalogueIn]) -> CatalogueOut:
        return shape(await self._event_types.replace(call.principal, call.body.event_types))


def shape(catalogue: list[EventType]) -> CatalogueOut:
    """Return a catalogue as it stands on the wire."""
    return CatalogueOut(
        [
            EventTypeOut(
                entry.name,
                entry.description,
                NO_EXAMPLE if entry.example is None else msgspec.Raw(entry.example),
            )
            for entry in catalogue
        ]
    )
