"""Sources: where events of others come in, and what comes in there.

All sources of all projects are held in memory by the mask in their address: to find one costs a
look-up, also for those who guess.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from typing import Final

import msgspec
from msgspec.structs import replace

from waypost.clock import Clock, Entropy, IdSource
from waypost.engine.configuration import Configuration
from waypost.engine.follower import Place
from waypost.model import ids
from waypost.model.errors import Conflict, InvalidInput, LimitReached, NotFound, WaypostError
from waypost.model.page import Page, PageRequest
from waypost.model.project import Principal
from waypost.model.source import SOURCES_MAX, Source, SourceType, Twitter
from waypost.operations.access import Access
from waypost.operations.events import Accepted, Events, Places
from waypost.policy import inbound, rate, source_settings, verifiers
from waypost.policy.events import Draft
from waypost.policy.inbound import Inbound
from waypost.policy.source_settings import SourceSettings
from waypost.storage import audit, sources
from waypost.storage.configuration import Kind, record
from waypost.storage.connection import Connection, PlainWrite
from waypost.storage.vault import Vault

INGEST: Final = "/ingest"
"""The path under which every source has its address, by its mask."""

_MASK_BITS: Final = 128
_MINUTE_US: Final = 60_000_000
_PLACES: Final = Places("", "event_type")
_CHALLENGE: Final = "crc_token"


Beside = Callable[[Source], PlainWrite]
"""Returns what is written in the transaction that makes or changes a source."""


def nothing_beside(_: Source) -> PlainWrite:
    """Write nothing."""
    return lambda _: None


class _Door:
    """A source in memory, and what is left of its allowance."""

    __slots__ = ("full_at", "source")

    def __init__(self, source: Source) -> None:
        self.source = source
        self.full_at = rate.FULL


class FoundSources(msgspec.Struct, frozen=True):
    """Sources as they are now, and those that are no more."""

    present: list[Source]
    gone: list[ids.Id]
    is_all: bool = False


class KnownSources:
    """Every source of every project, in memory. For the loop's thread alone."""

    def __init__(self, vault: Vault) -> None:
        """Start with none; `vault` opens what the database holds of them."""
        self._vault = vault
        self._by_mask: dict[str, _Door] = {}
        self._by_id: dict[ids.Id, _Door] = {}

    def load(self, found: Iterable[Source]) -> None:
        """Take every source that the database holds, in place of those known."""
        present = list(found)
        for source_id in self._by_id.keys() - {source.id for source in present}:
            self.drop(source_id)
        for source in present:
            self.put(source)

    def put(self, source: Source) -> None:
        """Take a source, new or changed; what is left of its allowance stays."""
        door = self._by_id.get(source.id)
        if door is None:
            door = self._by_id[source.id] = self._by_mask[source.mask] = _Door(source)
        door.source = source

    def drop(self, source_id: ids.Id) -> None:
        """Forget a source; it may be unknown."""
        door = self._by_id.pop(source_id, None)
        if door is not None:
            del self._by_mask[door.source.mask]

    def find(self, project_id: ids.Id, source_id: ids.Id) -> Source | None:
        """Return a source of a project."""
        door = self._by_id.get(source_id)
        if door is None or door.source.project_id != project_id:
            return None
        return door.source

    def enter(self, mask: str, access: Access) -> Source:
        """Return the source at an address, one request of its allowance spent.

        Raises:
            NotFound: there is none.
            Unavailable: it can't be known whether there is one.
            TooManyRequests: its allowance is spent.
        """
        door = self._by_mask.get(mask)
        if door is None:
            raise NotFound(ids.KINDS[ids.SOURCE])
        door.full_at = access.admit(door.source.project_id, door.full_at)
        return door.source

    # What other processes change: see `waypost.engine.follower`.

    def read(self, connection: Connection, places: Sequence[Place] | None) -> FoundSources:
        """Read sources."""
        if places is None:
            return FoundSources(sources.load_all(connection, self._vault), [], is_all=True)
        found = {place[1]: sources.find(connection, self._vault, *place) for place in places}
        return FoundSources(
            [source for source in found.values() if source is not None],
            [source_id for source_id, source in found.items() if source is None],
        )

    def apply(self, found: FoundSources) -> None:
        """Take in by them from now on."""
        if found.is_all:
            self.load(found.present)
            return
        for source_id in found.gone:
            self.drop(source_id)
        for source in found.present:
            self.put(source)


class Sources:
    """What people ask of sources, and what their senders do.

    Attributes:
        known: the sources in memory.
    """

    def __init__(
        self,
        configuration: Configuration,
        vault: Vault,
        events: Events,
        access: Access,
        clock: Clock,
        entropy: Entropy,
        source: IdSource,
    ) -> None:
        """Take what they are kept in, and what takes events in."""
        self._configuration = configuration
        self._store = configuration.store
        self._vault = vault
        self._known = self.known = KnownSources(vault)
        self._events = events
        self._access = access
        self._clock = clock
        self._entropy = entropy
        self._ids = source

    async def load(self) -> None:
        """Bring what is in memory to what the database holds.

        Raises:
            ConfigInvalid: a verifier can't be decrypted.
        """
        self._known.apply(await self._store.read(lambda c: self._known.read(c, None)))

    async def create(
        self,
        principal: Principal,
        kind: SourceType,
        wanted: SourceSettings,
        also: Beside = nothing_beside,
    ) -> Source:
        """Make a source, with an address of its own; `also` is written with it.

        Raises:
            InvalidInput: it has no name.
            InvalidSetting: a setting can't be obeyed.
            LimitReached: the project has as many as it may have.
        """
        if not wanted.name:
            raise InvalidInput(details=[("name", "is required")])
        source_id, record_id = self._ids.next(), self._ids.next()
        mask = f"{self._entropy.bits(_MASK_BITS):032x}"
        bare = Source(project_id=principal.project_id, id=source_id, mask=mask, name="", type=kind)
        made = source_settings.merge(bare, wanted)
        source_settings.check(made, self._events.limits)
        beside = also(made)

        def write(connection: Connection) -> Source:
            if sources.count(connection, principal.project_id) >= SOURCES_MAX:
                raise LimitReached(f"A project may have at most {SOURCES_MAX} sources.")
            sources.insert(connection, self._vault, made)
            beside(connection)
            self._noted(connection, principal, record_id, "source.create", source_id)
            return made

        return await self._configuration.change(write, self._known.put)

    async def get(self, principal: Principal, source_id: ids.Id) -> Source:
        """Return a source.

        Raises:
            NotFound: the project has none with this id.
        """
        return await self._store.read(
            lambda c: sources.get(c, self._vault, principal.project_id, source_id)
        )

    async def list_page(self, principal: Principal, request: PageRequest) -> Page[Source]:
        """Return one page of the project's sources."""
        return await self._store.read(
            lambda c: sources.list_page(c, self._vault, principal.project_id, request)
        )

    async def update(
        self,
        principal: Principal,
        source_id: ids.Id,
        wanted: SourceSettings,
        also: Beside = nothing_beside,
    ) -> Source:
        """Merge settings into a source; `also` is written with it.

        Raises:
            NotFound: the project has none with this id.
            InvalidSetting: a setting can't be obeyed.
        """
        record_id = self._ids.next()

        def write(connection: Connection) -> Source:
            present = sources.get(connection, self._vault, principal.project_id, source_id)
            changed = source_settings.merge(present, wanted)
            source_settings.check(changed, self._events.limits)
            sources.update(connection, self._vault, changed)
            also(changed)(connection)
            self._noted(connection, principal, record_id, "source.update", source_id)
            return changed

        return await self._configuration.change(write, self._known.put)

    async def delete(self, principal: Principal, source_id: ids.Id, *writes: PlainWrite) -> None:
        """Forget a source: nothing comes in there any more. Its events stay.

        Raises:
            NotFound: the project has none with this id.
        """
        record_id = self._ids.next()

        def write(connection: Connection) -> None:
            sources.delete(connection, principal.project_id, source_id)
            for one in writes:
                one(connection)
            self._noted(connection, principal, record_id, "source.delete", source_id)

        await self._configuration.change(write, lambda _: self._known.drop(source_id))

    # What comes in.

    def enter(self, mask: str) -> Source:
        """Return the source at an address, one request of its allowance spent.

        Raises:
            NotFound: there is none.
            Conflict: it is disabled, or takes no requests without a key.
            Unavailable: it can't be known whether there is one.
            TooManyRequests: its allowance is spent.
        """
        source = self._known.enter(mask, self._access)
        if source.type is not SourceType.HTTP:
            raise Conflict("Source type needs to be HTTP")
        if source.disabled:
            raise Conflict("Source is disabled")
        return source

    def max_bytes(self, source: Source) -> int:
        """Return how long a body at a source may be."""
        return inbound.max_bytes(source, self._events.limits)

    def reading(self, source: Source, request: Inbound) -> Callable[[], Draft]:
        """Return what verifies a request and makes an event of it, in any thread.

        It raises what `waypost.policy.inbound.draft_of` does.
        """
        return partial(inbound.draft_of, source, request, self._events.limits)

    async def receive(self, source: Source, draft: Draft) -> Accepted:
        """Take in what has come at a source; it is kept when this returns.

        Raises:
            InvalidInput: its type is not in the catalogue of a strict project.
            WaypostError: it was not accepted.
        """
        sender = Principal(source.id, source.name, source.project_id, frozenset())
        return await self._events.take(sender, draft)

    async def challenge(self, source: Source, token: str | None) -> str:
        """Return the answer to a provider's challenge, and note that there was one.

        Raises:
            InvalidInput: the provider sends none, or none like that.
        """
        if not isinstance(source.verifier, Twitter):
            raise InvalidInput("The source's provider asks for no challenge")
        answer = None if token is None else verifiers.answer_to(source.verifier, token)
        if answer is None:
            raise InvalidInput(details=[(_CHALLENGE, "is not one that the provider sends")])
        at_us = self._clock.now_us() // _MINUTE_US * _MINUTE_US
        # Anybody may ask: it is written at most once a minute.
        if at_us != source.challenged_us:
            await self._challenged(source, at_us)
        return answer

    async def post(
        self, principal: Principal, source_id: ids.Id, draft: Draft, *, lenient: bool = False
    ) -> Accepted:
        """Take in an event under a source of the type `rest_api`.

        Where it is `lenient`, a key that was used for something else is a repetition as well.

        Raises:
            NotFound: the project has no such source.
            Conflict: it is disabled, or of another type.
            InvalidInput: the event can't be accepted; says where.
            WaypostError: it was not accepted.
        """
        source = self._known.find(principal.project_id, source_id)
        if source is None:
            raise NotFound(ids.KINDS[ids.SOURCE])
        if source.type is not SourceType.REST_API:
            raise Conflict("Events are posted under sources of the type rest_api.")
        if source.disabled:
            raise Conflict("The source is disabled.")
        draft = replace(draft, attributes=replace(draft.attributes, source=source_id))
        accept = self._events.take if lenient else self._accepted
        return await accept(principal, draft)

    async def _accepted(self, principal: Principal, draft: Draft) -> Accepted:
        answer: asyncio.Future[Accepted] = asyncio.get_running_loop().create_future()

        def done(result: list[Accepted] | WaypostError) -> None:
            if answer.cancelled():
                return
            if isinstance(result, WaypostError):
                answer.set_exception(result)
            else:
                answer.set_result(result[0])

        self._events.accept(principal, [draft], _PLACES, done)
        return await answer

    async def _challenged(self, source: Source, at_us: int) -> None:
        def write(connection: Connection) -> Source | None:
            place = (source.project_id, source.id)
            present = sources.find(connection, self._vault, *place)
            if present is None:
                return None
            noted = replace(present, challenged_us=at_us)
            sources.update(connection, self._vault, noted)
            record(connection, Kind.SOURCE, *place)
            return noted

        def after(noted: Source | None) -> None:
            if noted is not None:
                self._known.put(noted)

        await self._configuration.change(write, after)

    def _noted(
        self,
        connection: Connection,
        who: Principal,
        record_id: ids.Id,
        action: str,
        source_id: ids.Id,
    ) -> None:
        audit.record(connection, who, record_id, action, ids.spell(ids.SOURCE, source_id))
        record(connection, Kind.SOURCE, who.project_id, source_id)
