"""Convoy's sources: where the webhooks of others come in, and events posted under them."""

from functools import partial
from typing import Any, Final

import msgspec
from msgspec import UNSET

from waypost.dialects.convoy import drafts, paging, things
from waypost.dialects.convoy.answers import Named, PageOut, SourceOut
from waypost.dialects.convoy.drafts import BroadcastIn
from waypost.dialects.convoy.envelope import Answer
from waypost.dialects.convoy.filters import FilterRoutes, FunctionIn
from waypost.dialects.convoy.projects import Home, Homes
from waypost.dialects.convoy.queries import Paged, SourcesQuery
from waypost.dialects.convoy.source_shapes import (
    SourceIn,
    check,
    provider_of,
    read_response,
    read_verifier,
    source_out,
    told,
)
from waypost.dialects.convoy.table import PROJECT_PATH, Call, Operation
from waypost.model import ids
from waypost.model.errors import InvalidInput, NotFound
from waypost.model.page import PageRequest
from waypost.model.project import Principal, Scope
from waypost.model.record import Record
from waypost.model.source import Source, SourceType
from waypost.operations.records import Records
from waypost.operations.sources import Sources
from waypost.policy.events import EventLimits
from waypost.policy.source_settings import SourceSettings

PATH: Final = f"{PROJECT_PATH}/sources"
ONE_PATH: Final = f"{PATH}/{{source_id}}"
KIND: Final = "source"


class SourceRoutes:
    """Handlers over the operations on sources."""

    def __init__(
        self,
        sources: Sources,
        records: Records,
        homes: Homes,
        filters: FilterRoutes,
        limits: EventLimits,
        base_url: str,
    ) -> None:
        """Take what they are kept in, and where senders find this server."""
        self._sources = sources
        self._records = records
        self._homes = homes
        self._filters = filters
        self._limits = limits
        self._base_url = base_url

    def operations(self) -> list[Operation]:
        """Return the rows of the table that are about sources."""
        reads, writes = Scope.SOURCES_READ, Scope.SOURCES_WRITE
        post = partial(
            Operation, "POST", max_bytes=self._limits.max_body_bytes, exact=True, errors=(507,)
        )
        return [
            Operation("POST", PATH, writes, self.create, SourceIn, status=201),
            Operation("GET", PATH, reads, self.list_page, query=(Paged, SourcesQuery)),
            Operation("POST", f"{PATH}/test_function", reads, self._filters.run, FunctionIn),
            Operation("GET", ONE_PATH, reads, self.get),
            Operation("PUT", ONE_PATH, writes, self.update, SourceIn, status=202),
            Operation("DELETE", ONE_PATH, writes, self.delete),
            post(
                f"{ONE_PATH}/events",
                Scope.EVENTS_WRITE,
                self.post,
                status=201,
                shape=BroadcastIn,
            ),
        ]

    async def create(self, call: Call) -> Answer[SourceOut]:
        """Make a source."""
        body: SourceIn = call.body
        check(body)
        wanted = await self._wanted(call.principal, body, body.provider or "")
        kept: list[Record] = []

        def also(made: Source) -> Any:
            text = msgspec.json.encode(told(made))
            kept.append(self._records.new(call.principal, things.SOURCE, text, record_id=made.id))
            return self._records.saving(kept[0])

        made = await self._sources.create(call.principal, SourceType(body.type), wanted, also)
        data = self._shape(call.principal, made, kept[0])
        return Answer("Source created successfully", data, 201)

    async def list_page(self, call: Call) -> Answer[PageOut[SourceOut]]:
        """List sources."""
        call.allow("type", "provider", "q", *paging.PARAMETERS)
        words = (call.one("q") or "").lower()
        kind, provider = call.one("type"), call.one("provider")
        listing = paging.read(call)

        def keep(record: Record) -> bool:
            source = self._sources.known.find(call.principal.project_id, record.id)
            return (
                source is not None
                and words in source.name.lower()
                and kind in {None, source.type.value}
                and provider in {None, provider_of(source.verifier)}
            )

        async def fetch(request: PageRequest) -> Any:
            return await self._records.list_page(call.principal, things.SOURCE, request)

        found = await paging.sift(fetch, listing, keep, lambda one: one.id)
        data = paging.page_out(
            listing,
            found.page,
            lambda one: one.id,
            lambda one: self._shape(call.principal, self._known(call.principal, one.id), one),
            found.stopped,
        )
        return Answer("Sources fetched successfully", data)

    async def get(self, call: Call) -> Answer[SourceOut]:
        """Return a source."""
        source, record = await self._find(call)
        return Answer("Source fetched successfully", self._shape(call.principal, source, record))

    async def update(self, call: Call) -> Answer[SourceOut]:
        """Change a source: its verifier is replaced, what else is left out stays."""
        body: SourceIn = call.body
        present, record = await self._find(call)
        check(body)
        if body.type != present.type.value:
            raise InvalidInput(details=[("type", "can't be changed")])
        named = provider_of(present.verifier) if body.provider is None else body.provider
        wanted = await self._wanted(call.principal, body, named, present)
        stamped = self._records.changed(record, record.body)
        kept = [stamped]

        def also(changed: Source) -> Any:
            text = msgspec.json.encode(told(changed))
            kept[0] = msgspec.structs.replace(stamped, body=text)
            return self._records.saving(kept[0])

        changed = await self._sources.update(call.principal, present.id, wanted, also)
        data = self._shape(call.principal, changed, kept[0])
        return Answer("Source updated successfully", data, 202)

    async def delete(self, call: Call) -> Answer[None]:
        """Delete a source; its events stay."""
        source, record = await self._find(call)
        gone = self._records.deleting(record)
        await self._sources.delete(call.principal, source.id, gone)
        return Answer("Source deleted successfully")

    async def post(self, call: Call) -> Answer[Named]:
        """Take in an event under a source of type rest_api."""
        source, _ = await self._find(call)
        posted = drafts.read(call.body, BroadcastIn, self._limits)
        home = await self._homes.of(call.principal)
        draft = drafts.draft(posted, self._limits, needs_key=home.config.needs_keys)
        accepted = await self._sources.post(call.principal, source.id, draft, lenient=True)
        return Answer("Event queued successfully", {"uid": ids.spell_ulid(accepted.id)}, 201)

    async def follow(self, caller: Principal, home: Home) -> None:
        """Have the sources of a project go by its configuration: how long a body may be."""
        wanted = SourceSettings(max_bytes=self._max_bytes(home))
        for record in await self._records.all(caller, things.SOURCE):
            source = self._sources.known.find(caller.project_id, record.id)
            if source is not None and source.type is SourceType.HTTP:
                await self._sources.update(caller, source.id, wanted)

    async def _wanted(
        self, caller: Principal, body: SourceIn, provider: str, present: Source | None = None
    ) -> SourceSettings:
        is_http = body.type == "http"
        if present is None:
            verifier, response = read_verifier(body, provider), None
        else:
            stays = body.verifier is None and provider == provider_of(present.verifier)
            verifier = present.verifier if stays else read_verifier(body, provider)
            response = present.custom_response
        response = read_response(body.custom_response, response)
        location, names = body.event_type_location, body.forward_headers
        return SourceSettings(
            name=body.name,
            verifier=verifier,
            custom_response=response,
            event_type_location=UNSET if location is None else location or None,
            idempotency_keys=UNSET if body.idempotency_keys is None else body.idempotency_keys,
            forward_headers=UNSET if names is None else names or None,
            max_bytes=self._max_bytes(await self._homes.of(caller)) if is_http else None,
            disabled=UNSET if body.is_disabled is None else body.is_disabled,
        )

    def _max_bytes(self, home: Home) -> int:
        return min(home.config.max_payload_read_size, self._limits.max_event_bytes)

    async def _find(self, call: Call) -> tuple[Source, Record]:
        identifier = call.id("source_id", KIND)
        record = await self._records.get(call.principal, things.SOURCE, identifier)
        return self._known(call.principal, identifier), record

    def _known(self, caller: Principal, source_id: ids.Id) -> Source:
        source = self._sources.known.find(caller.project_id, source_id)
        if source is None:
            raise NotFound(KIND)
        return source

    def _shape(self, caller: Principal, source: Source, record: Record) -> SourceOut:
        masked = Scope.SOURCES_WRITE not in caller.scopes
        return source_out(source, record, self._base_url, masked=masked)
