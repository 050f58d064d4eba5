"""Event types: each project's catalogue, and whether events of other types are refused."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import msgspec

from waypost.engine.configuration import Configuration
from waypost.model.errors import InvalidInput
from waypost.model.event import SYSTEM
from waypost.model.event_type import CATALOGUE_MAX, EXAMPLE_MAX, EventType
from waypost.model.ids import Id
from waypost.model.project import Principal
from waypost.policy import events, rawjson
from waypost.policy.system_events import is_system
from waypost.storage import event_types
from waypost.storage.configuration import Kind, record
from waypost.storage.connection import Connection, PlainWrite

_NONE: Final[frozenset[str]] = frozenset()
_NULL: Final = b"null"
NO_EXAMPLE: Final = msgspec.Raw(_NULL)


class Catalogue:
    """The names in every project's catalogue, in memory: asked for every event."""

    def __init__(self) -> None:
        """Start with no catalogue: every type is known."""
        self._names: dict[Id, frozenset[str]] = {}
        self._strict: set[Id] = set()

    def load(self, names: Mapping[Id, frozenset[str]]) -> None:
        """Take the names in every project's catalogue, at start."""
        self._names = dict(names)

    def known(self, project_id: Id, name: str) -> bool:
        """Tell whether a project takes events of this type from producers.

        Types are open, but for those of system events, and for a project that is strict and has a
        catalogue.
        """
        if name.startswith(SYSTEM):
            return False
        if project_id not in self._strict:
            return True
        names = self._names.get(project_id, _NONE)
        return not names or name in names

    def require(self, project_id: Id, name: str, path: str) -> None:
        """Refuse a type that the project does not take from producers.

        Raises:
            InvalidInput: it does not; `path` is the field to blame.
        """
        if name.startswith(SYSTEM):
            raise InvalidInput(details=[(path, f"begins with {SYSTEM}, as Waypost's own types do")])
        if not self.known(project_id, name):
            raise InvalidInput(details=[(path, f"{name} is not in the project's catalogue")])

    def is_strict(self, project_id: Id) -> bool:
        """Tell whether a project refuses types that are not in its catalogue, if it has one."""
        return project_id in self._strict

    def put(self, project_id: Id, names: Iterable[str]) -> None:
        """Take the names of a project's new catalogue."""
        self._names[project_id] = frozenset(names)

    def set_strict(self, project_id: Id, strict: bool) -> None:  # noqa: FBT001 - a callback
        """Take whether a project refuses types that are not in its catalogue."""
        (self._strict.add if strict else self._strict.discard)(project_id)


class EventTypeIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """One event type of a catalogue; the example is a payload, an object, or null for none."""

    name: str
    description: events.Note = ""
    example: msgspec.Raw = msgspec.field(default_factory=lambda: NO_EXAMPLE)


class CatalogueIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A whole catalogue."""

    event_types: list[EventTypeIn]


_decoder = msgspec.json.Decoder(CatalogueIn)
_object = msgspec.json.Decoder(dict[str, msgspec.Raw])


class EventTypes:
    """What people ask of a project's catalogue."""

    def __init__(self, configuration: Configuration, catalogue: Catalogue) -> None:
        """Take what changes go through, and what follows them in memory."""
        self._configuration = configuration
        self._store = configuration.store
        self._catalogue = catalogue

    async def load(self) -> None:
        """Bring what is kept of catalogues in memory to what the database holds."""
        self._catalogue.load(await self._store.read(event_types.load_names))

    async def list_all(self, principal: Principal) -> list[EventType]:
        """Return the catalogue by name."""
        return await self._store.read(lambda c: event_types.list_all(c, principal.project_id))

    async def replace(
        self, principal: Principal, entries: Sequence[EventTypeIn]
    ) -> list[EventType]:
        """Put a catalogue in place of the present one; return it by name.

        Raises:
            InvalidInput: a name is none or stands there twice, an example is not an object or too
                large, or there are too many entries.
        """
        catalogue = check(entries)
        project_id = principal.project_id

        def write(connection: Connection) -> None:
            event_types.replace(connection, project_id, catalogue)
            record(connection, Kind.EVENT_TYPES, project_id)

        await self._configuration.change(
            write, lambda _: self._catalogue.put(project_id, (entry.name for entry in catalogue))
        )
        return catalogue

    async def put(
        self,
        principal: Principal,
        entries: Sequence[EventType],
        *writes: PlainWrite,
    ) -> None:
        """Enter types, or change them, and write what goes with them; the others stay.

        Raises:
            InvalidInput: there would be too many entries; nothing is changed.
        """
        project_id = principal.project_id

        def write(connection: Connection) -> list[str]:
            present = {one.name: one for one in event_types.list_all(connection, project_id)}
            present |= {one.name: one for one in entries}
            if len(present) > CATALOGUE_MAX:
                raise InvalidInput(details=[("event_types", f"must be at most {CATALOGUE_MAX}")])
            event_types.replace(connection, project_id, [present[name] for name in sorted(present)])
            for one in writes:
                one(connection)
            record(connection, Kind.EVENT_TYPES, project_id)
            return list(present)

        await self._configuration.change(
            write, lambda names: self._catalogue.put(project_id, names)
        )

    async def enter(self, principal: Principal, names: Iterable[str]) -> None:
        """Enter types that somebody asks for, as far as they are new and there is room.

        Not where the project is strict: what it takes is for people to say.
        """
        project_id = principal.project_id
        if self._catalogue.is_strict(project_id):
            return
        present = {one.name for one in await self.list_all(principal)}
        new = [EventType(name) for name in dict.fromkeys(names) if name not in present]
        room = CATALOGUE_MAX - len(present)
        if new and room > 0:
            await self.put(principal, new[:room])


def read_catalogue(text: bytes) -> list[EventTypeIn]:
    """Read a catalogue from the text of a JSON file, in the form that the API takes.

    Raises:
        InvalidInput: it is not in that form.
    """
    return rawjson.decode(_decoder, text).event_types


def check(entries: Sequence[EventTypeIn]) -> list[EventType]:
    """Check a catalogue and return it by name.

    Raises:
        InvalidInput: as `EventTypes.replace`; names each field that is wrong.
    """
    if len(entries) > CATALOGUE_MAX:
        raise InvalidInput(details=[("event_types", f"must be at most {CATALOGUE_MAX}")])
    details: list[tuple[str, str]] = []
    seen: dict[str, EventType] = {}
    for index, entry in enumerate(entries):
        path = f"event_types[{index}]"
        if not events.is_type(entry.name):
            details.append((f"{path}.name", "is not an event type"))
        elif is_system(entry.name):
            reason = f"begins with {SYSTEM}, as Waypost's own types do"
            details.append((f"{path}.name", reason))
        elif entry.name in seen:
            details.append((f"{path}.name", "is there twice"))
        text = rawjson.original(entry.example)
        example = None if text == _NULL else text
        if example is not None and not _is_example(example):
            reason = f"must be a JSON object of at most {EXAMPLE_MAX} bytes"
            details.append((f"{path}.example", reason))
        seen[entry.name] = EventType(entry.name, entry.description, example)
    if details:
        raise InvalidInput(details=details)
    return [seen[name] for name in sorted(seen)]


def example_of(event_type: str, example: bytes | None) -> bytes:
    """Return the payload of an example event: the catalogue's, with its type inside."""
    fields = {} if example is None else rawjson.decode(_object, example)
    if "event_type" not in fields:
        fields = {"event_type": msgspec.Raw(msgspec.json.encode(event_type)), **fields}
    return rawjson.original(msgspec.Raw(msgspec.json.encode(fields)))


def _is_example(text: bytes) -> bool:
    if len(text) > EXAMPLE_MAX or rawjson.scan_depth(text) > rawjson.MAX_DEPTH:
        return False
    try:
        rawjson.decode(_object, text)
    except InvalidInput:
        return False
    return True
