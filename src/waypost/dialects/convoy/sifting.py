"""Which events are looked for: by source, endpoint, owner, key, words, or what they hold."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import msgspec

from waypost.dialects.convoy import things
from waypost.dialects.convoy.envelope import read_id
from waypost.dialects.convoy.shelf import Shelf
from waypost.dialects.convoy.table import Call
from waypost.model import ids
from waypost.model.errors import InvalidInput
from waypost.model.event import Event
from waypost.model.ids import Id
from waypost.model.project import Principal
from waypost.operations.events import Events, Seen
from waypost.policy.media import is_json

EVENT_FILTERS: Final = ("sourceId", "endpointId", "ownerId", "idempotencyKey")


class Chosen(msgspec.Struct, frozen=True):
    """A selection of events, in the words of a replay.

    Attributes:
        subscriptions: only what was owed to one of these; empty for all.
        key: only the event that holds this idempotency key.
    """

    owner: str | None = None
    subscriptions: tuple[Id, ...] = ()
    sources: tuple[Id, ...] = ()
    key: str | None = None

    @property
    def content(self) -> str | None:
        """The filter of ours that those of its sources pass; None for all."""
        named = [ids.spell_uuid(one) for one in self.sources]
        return msgspec.json.encode({"source": {"$in": named}}).decode() if named else None


async def chosen(call: Call, shelf: Shelf) -> Chosen | None:
    """Return the selection that a query asks for; None where nothing can be in it."""
    endpoints = _read_all(call, "endpointId", "endpoint")
    sources = tuple(_read_all(call, "sourceId", "source"))
    subscriptions: tuple[Id, ...] = ()
    if endpoints:
        subscriptions = tuple(one.id for one in await shelf.at(call.principal, *endpoints))
        if not subscriptions:
            return None
    return Chosen(call.one("ownerId"), subscriptions, sources, call.one("idempotencyKey"))


class Sieve:
    """Tells which events a list is asked for."""

    def __init__(
        self,
        call: Call,
        endpoints: set[Id],
        subscriptions: set[Id],
        sources: Mapping[Id, str],
    ) -> None:
        """Take what is asked for; see `of`."""
        self._endpoints = endpoints
        self._subscriptions = subscriptions
        self._names = sources
        self._sources = set(_read_all(call, "sourceId", "source"))
        self._owner = call.one("ownerId")
        self._key = call.one("idempotencyKey")
        self._broker = call.one("brokerMessageId")
        self._words = call.one("query")
        self._body = _json(call.one("body"))
        self._addressees: dict[Id, dict[Id, Id]] = {}

    @classmethod
    async def of(cls, call: Call, shelf: Shelf) -> "Sieve":
        """Return what a query asks for."""
        endpoints = set(_read_all(call, "endpointId", "endpoint"))
        parts = await shelf.at(call.principal, *endpoints)
        names: dict[Id, str] = {}
        if call.one("query"):
            for record in await shelf.records.all(call.principal, things.SOURCE, gone=True):
                names[record.id] = str(msgspec.json.decode(record.body).get("name", ""))
        return cls(call, endpoints, {one.id for one in parts}, names)

    @property
    def is_open(self) -> bool:
        """Whether it keeps everything."""
        asked = (
            self._endpoints,
            self._sources,
            self._owner,
            self._key,
            self._broker,
            self._words,
            self._body is not None,
        )
        return not any(asked)

    async def learn(self, events: Events, caller: Principal, some: Sequence[Event]) -> None:
        """Learn to whom events are owed, where that is asked."""
        if self._endpoints:
            self._addressees = await events.addressees(caller, [one.id for one in some])

    def keeps(self, seen: Seen) -> bool:
        """Tell whether an event is asked for."""
        event, known = seen.event, seen.event.attributes
        # No source here is a broker, so no event has a broker's id.
        if self._broker is not None:
            return False
        return (
            (not self._sources or known.source in self._sources)
            and self._owner in {None, known.owner}
            and self._key in {None, known.idempotency_key}
            and (not self._endpoints or self._is_at(event))
            and (self._words is None or self._says(seen, self._words))
            and (self._body is None or _holds(event, self._body))
        )

    def _is_at(self, event: Event) -> bool:
        owed = self._addressees.get(event.id, {})
        aimed = self._endpoints & set(event.attributes.endpoints)
        return bool(aimed or self._subscriptions & owed.keys())

    def _says(self, seen: Seen, words: str) -> bool:
        event, known = seen.event, seen.event.attributes
        source = self._names.get(known.source, "") if known.source else ""
        return (
            ids.spell_ulid(seen.id).startswith(words.upper())
            or words in {known.idempotency_key, event.type, source}
            or words.encode() in event.payload
        )


def _read_all(call: Call, name: str, kind: str) -> list[Id]:
    return [read_id(kind, text) for text in call.many(name)]


def _json(text: str | None) -> Any:
    if text is None:
        return None
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError) as error:
        raise InvalidInput(details=[("body", "must be JSON")]) from error


def _holds(event: Event, wanted: Any) -> bool:
    if not is_json(event.attributes.content_type):
        return False
    try:
        return contains(msgspec.json.decode(event.payload), wanted)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return False


def contains(value: Any, wanted: Any) -> bool:
    """Tell whether JSON contains other JSON: members of objects, elements of arrays, values."""
    if isinstance(wanted, dict):
        return isinstance(value, dict) and all(
            name in value and contains(value[name], one) for name, one in wanted.items()
        )
    if isinstance(wanted, list):
        return isinstance(value, list) and all(
            any(contains(one, each) for one in value) for each in wanted
        )
    return type(value) is type(wanted) and bool(value == wanted)
