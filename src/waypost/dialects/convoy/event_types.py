"""Convoy's event types: the project's catalogue, with what Convoy tells of each type beside it.

An entry has the same id wherever it was made: it follows from project and name.
"""

import hashlib
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from waypost.dialects.convoy.answers import EventTypeOut
from waypost.dialects.convoy.envelope import Answer, spelled
from waypost.dialects.convoy.table import PROJECT_PATH, Call, Operation
from waypost.model import ids
from waypost.model.errors import InvalidInput, NotFound
from waypost.model.event_type import EXAMPLE_MAX, EventType
from waypost.model.ids import Id
from waypost.model.project import Principal, Scope
from waypost.model.record import Record
from waypost.operations.event_types import EventTypes
from waypost.operations.records import Records
from waypost.policy.events import BAD_TYPE, Note, is_type

PATH: Final = f"{PROJECT_PATH}/event-types"
ONE_PATH: Final = f"{PATH}/{{event_type_id}}"
KIND: Final = "convoy.event_type"
IMPORT_MAX_BYTES: Final = 4 * 1024 * 1024

_WHAT: Final = "event type"
_METHODS: Final = ("post", "put", "patch", "get", "delete")

Schema = dict[str, Any]


class Beside(msgspec.Struct, frozen=True):
    """What is told of a type beside its entry in the catalogue."""

    category: str = ""
    json_schema: Schema | None = None
    deprecated_us: int | None = None


class EventTypeIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A type that is asked for."""

    name: str
    category: Annotated[str, Meta(max_length=256)] | None = None
    description: Note | None = None
    json_schema: Schema | None = None


class EventTypeChange(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What of a type is changed; what is left out stays."""

    name: str | None = None
    category: Annotated[str, Meta(max_length=256)] | None = None
    description: Note | None = None
    json_schema: Schema | None = None


class ImportIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An OpenAPI document with webhooks."""

    spec: dict[str, Any]


class EventTypeRoutes:
    """Handlers over the operations on the catalogue."""

    def __init__(self, event_types: EventTypes, records: Records) -> None:
        """Take what types are kept in."""
        self._types = event_types
        self._records = records

    def operations(self) -> list[Operation]:
        """Return the rows of the table that are about event types."""
        reads, writes = Scope.EVENTS_READ, Scope.SUBSCRIPTIONS_WRITE
        return [
            Operation("GET", PATH, reads, self.list_all),
            Operation("POST", PATH, writes, self.create, EventTypeIn, status=201),
            Operation(
                "POST",
                f"{PATH}/import",
                writes,
                self.import_all,
                ImportIn,
                max_bytes=IMPORT_MAX_BYTES,
            ),
            Operation("PUT", ONE_PATH, writes, self.update, EventTypeChange, status=202),
            Operation("POST", f"{ONE_PATH}/deprecate", writes, self.deprecate),
        ]

    async def list_all(self, call: Call) -> Answer[list[EventTypeOut]]:
        """List the catalogue."""
        shown = await self._shown(call.principal, await self._types.list_all(call.principal))
        return Answer("Event types fetched successfully", shown)

    async def create(self, call: Call) -> Answer[EventTypeOut]:
        """Enter a type, which must be new."""
        body: EventTypeIn = call.body
        _check(body.name, body.json_schema)
        if body.name in {one.name for one in await self._types.list_all(call.principal)}:
            raise InvalidInput(f"an event type with the name '{body.name}' already exists")
        entry = EventType(body.name, body.description or "")
        data = await self._keep(
            call.principal, (entry, Beside(body.category or "", body.json_schema))
        )
        return Answer("Event type created successfully", data[0], 201)

    async def update(self, call: Call) -> Answer[EventTypeOut]:
        """Change what is told of a type; its name is what it is."""
        body: EventTypeChange = call.body
        entry, beside = await self._find(call)
        if body.name not in {None, "", entry.name}:
            raise InvalidInput(details=[("name", "can't be changed")])
        _check(entry.name, body.json_schema)
        if body.description is not None:
            entry = msgspec.structs.replace(entry, description=body.description)
        changes = {"category": body.category, "json_schema": body.json_schema}
        given = {name: value for name, value in changes.items() if value is not None}
        data = await self._keep(call.principal, (entry, msgspec.structs.replace(beside, **given)))
        return Answer("Event type created successfully", data[0], 202)

    async def deprecate(self, call: Call) -> Answer[EventTypeOut]:
        """Tell that a type should not be used any more; whoever has it goes on with it."""
        entry, beside = await self._find(call)
        if beside.deprecated_us is None:
            now_us = self._record(call.principal, entry.name, beside).changed_us
            beside = msgspec.structs.replace(beside, deprecated_us=now_us)
        data = await self._keep(call.principal, (entry, beside))
        return Answer("Event type deprecated successfully", data[0])

    async def import_all(self, call: Call) -> Answer[list[EventTypeOut]]:
        """Enter the webhooks of an OpenAPI document; those that are there are changed."""
        present = {one.name: one for one in await self._types.list_all(call.principal)}
        found = read_webhooks(call.body.spec)
        wanted = [
            (
                msgspec.structs.replace(
                    present.get(one.name, EventType(one.name)), description=one.description or ""
                ),
                Beside(one.category or "", one.json_schema),
            )
            for one in found
        ]
        data = await self._keep(call.principal, *wanted)
        return Answer("Event types imported successfully", data)

    async def _keep(
        self, caller: Principal, *wanted: tuple[EventType, Beside]
    ) -> list[EventTypeOut]:
        records = [self._record(caller, entry.name, beside) for entry, beside in wanted]
        writes = [self._records.saving(record) for record in records]
        await self._types.put(caller, [entry for entry, _ in wanted], *writes)
        return [_shape(caller, entry, beside) for entry, beside in wanted]

    async def _find(self, call: Call) -> tuple[EventType, Beside]:
        wanted, caller = call.id("event_type_id", _WHAT), call.principal
        for entry in await self._types.list_all(caller):
            if id_of(caller.project_id, entry.name) == wanted:
                return entry, _beside(await self._records.find(caller, KIND, wanted))
        raise NotFound(_WHAT)

    async def _shown(self, caller: Principal, entries: list[EventType]) -> list[EventTypeOut]:
        records = {record.id: record for record in await self._records.all(caller, KIND)}
        return [
            _shape(caller, one, _beside(records.get(id_of(caller.project_id, one.name))))
            for one in entries
        ]

    def _record(self, caller: Principal, name: str, beside: Beside) -> Record:
        body = msgspec.json.encode(beside)
        return self._records.new(caller, KIND, body, record_id=id_of(caller.project_id, name))


def id_of(project_id: Id, name: str) -> Id:
    """Return the id of a type of a project."""
    return hashlib.blake2b(project_id + name.encode(), digest_size=ids.ID_BYTES).digest()


def read_webhooks(spec: dict[str, Any]) -> list[EventTypeIn]:
    """Return the event types that the webhooks of an OpenAPI document are.

    Raises:
        InvalidInput: it has none, or one of them is no event type.
    """
    webhooks = spec.get("webhooks")
    if not isinstance(webhooks, dict) or not webhooks:
        raise InvalidInput(details=[("spec.webhooks", "must be an object, and not empty")])
    return [_webhook(name, item) for name, item in webhooks.items()]


def _webhook(name: str, item: Any) -> EventTypeIn:
    at = f"spec.webhooks.{name[:64]}"
    methods = item if isinstance(item, dict) else {}
    operation = next((methods[one] for one in _METHODS if isinstance(methods.get(one), dict)), None)
    if operation is None:
        raise InvalidInput(details=[(at, "must hold an operation")])
    schema: Any = operation
    for step in ("requestBody", "content", "application/json", "schema"):
        schema = schema.get(step) if isinstance(schema, dict) else None
    tags, text = operation.get("tags"), operation.get("description") or operation.get("summary")
    category = tags[0] if isinstance(tags, list) and tags and isinstance(tags[0], str) else ""
    fields = {
        "name": name,
        "category": category,
        "description": " ".join(text.split()) if isinstance(text, str) else "",
        "json_schema": schema if isinstance(schema, dict) else None,
    }
    try:
        found = msgspec.convert(fields, EventTypeIn)
        _check(found.name, found.json_schema)
    except (msgspec.ValidationError, InvalidInput) as error:
        raise InvalidInput(details=[(at, str(error))]) from error
    return found


def _check(name: str, schema: Schema | None) -> None:
    if not is_type(name):
        raise InvalidInput(details=[("name", BAD_TYPE)])
    if schema is not None and len(msgspec.json.encode(schema)) > EXAMPLE_MAX:
        raise InvalidInput(details=[("json_schema", f"must be at most {EXAMPLE_MAX} bytes")])


def _beside(record: Record | None) -> Beside:
    return Beside() if record is None else msgspec.json.decode(record.body, type=Beside)


def _shape(caller: Principal, entry: EventType, beside: Beside) -> EventTypeOut:
    return {
        "uid": ids.spell_ulid(id_of(caller.project_id, entry.name)),
        "name": entry.name,
        "category": beside.category,
        "description": entry.description,
        "json_schema": beside.json_schema or {},
        "deprecated_at": spelled(beside.deprecated_us),
    }
