"""Sources over HTTP: themselves, and events posted under them."""

from typing import Any, Final

import msgspec

from waypost.api.events import AcceptedOut
from waypost.api.failure_handling import MASKED
from waypost.api.operation import Call, Operation
from waypost.api.shapes import Listing, Moment, PageOf, moment, page_of, page_request
from waypost.model import ids
from waypost.model.project import Principal, Scope
from waypost.model.source import CustomResponse, Source, SourceType, Verifier
from waypost.operations.sources import INGEST, Sources
from waypost.policy.events import EventIn, EventLimits, read_event
from waypost.policy.source_settings import Named, SourceSettings

TAG: Final = "Sources"
PATH: Final = "/v1/sources"
ONE: Final = f"{PATH}/{{source_token}}"
POSTED: Final = f"{ONE}/events"

_SECRETS: Final = frozenset({"secret", "password", "header_value"})
_CREATE: Final = """\
Webhooks are posted to the `url` of a source of type http; what its verifier refuses is answered
with 400. Under one of type rest_api events are posted with a key."""


class SourceIn(SourceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a request that makes a source; its name is required."""

    name: Named
    type: SourceType = SourceType.HTTP


class SourceChanges(SourceSettings, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body of a request that changes a source."""


class SourceOut(msgspec.Struct, frozen=True):
    """A source on the wire; secrets are masked for a key that may not change sources.

    Attributes:
        url: where its events are posted to.
        challenged: when its provider's challenge was answered last.
    """

    token: str
    created: Moment
    name: str
    type: SourceType
    url: str
    verifier: Verifier
    custom_response: CustomResponse | None
    event_type_location: str | None
    idempotency_keys: tuple[str, ...]
    forward_headers: tuple[str, ...] | None
    max_bytes: int | None
    disabled: bool
    challenged: Moment | None


class SourceRoutes:
    """The handlers of the operations on sources."""

    def __init__(self, sources: Sources, limits: EventLimits, base_url: str) -> None:
        """Take what they call, how large events may be, and where senders find this server."""
        self._sources = sources
        self._limits = limits
        self._base_url = base_url

    def operations(self) -> list[Operation]:
        """Return the rows of the API's table."""
        return [*self._reading(), *self._writing()]

    def _reading(self) -> list[Operation]:
        return [
            Operation(
                method="GET",
                path=PATH,
                name="list_sources",
                summary="List sources",
                tag=TAG,
                scope=Scope.SOURCES_READ,
                handler=self._list,
                query=Listing,
                result=PageOf[SourceOut],
            ),
            Operation(
                method="GET",
                path=ONE,
                name="get_source",
                summary="Get a source",
                tag=TAG,
                scope=Scope.SOURCES_READ,
                handler=self._get,
                result=SourceOut,
                errors=(404,),
            ),
        ]

    def _writing(self) -> list[Operation]:
        return [
            Operation(
                method="POST",
                path=PATH,
                name="create_source",
                summary="Create a source",
                description=_CREATE,
                tag=TAG,
                scope=Scope.SOURCES_WRITE,
                handler=self._create,
                body=SourceIn,
                result=SourceOut,
                status=201,
                errors=(422,),
            ),
            Operation(
                method="PATCH",
                path=ONE,
                name="update_source",
                summary="Change a source",
                description="What is left out stays as it is; null sets a field to its default.",
                tag=TAG,
                scope=Scope.SOURCES_WRITE,
                handler=self._update,
                body=SourceChanges,
                result=SourceOut,
                errors=(404, 422),
            ),
            Operation(
                method="DELETE",
                path=ONE,
                name="delete_source",
                summary="Delete a source",
                description="Nothing comes in there any more; its events stay.",
                tag=TAG,
                scope=Scope.SOURCES_WRITE,
                handler=self._delete,
                status=204,
                errors=(404,),
            ),
            Operation(
                method="POST",
                path=POSTED,
                name="create_event_of_source",
                summary="Post an event under a source of type rest_api",
                tag=TAG,
                scope=Scope.EVENTS_WRITE,
                handler=self._post,
                body=EventIn,
                result=AcceptedOut,
                status=202,
                errors=(404, 413, 422, 507),
            ),
        ]

    async def _list(self, call: Call[Listing, None]) -> PageOf[SourceOut]:
        request = page_request(call.query, ids.SOURCE)
        page = await self._sources.list_page(call.principal, request)
        return page_of(page, lambda one: self._shape(one, call.principal))

    async def _get(self, call: Call[None, None]) -> SourceOut:
        return self._shape(await self._sources.get(call.principal, _id(call)), call.principal)

    async def _create(self, call: Call[None, SourceIn]) -> SourceOut:
        made = await self._sources.create(call.principal, call.body.type, call.body)
        return self._shape(made, call.principal)

    async def _update(self, call: Call[None, SourceChanges]) -> SourceOut:
        changed = await self._sources.update(call.principal, _id(call), call.body)
        return self._shape(changed, call.principal)

    async def _delete(self, call: Call[None, None]) -> None:
        await self._sources.delete(call.principal, _id(call))

    async def _post(self, call: Call[None, EventIn]) -> AcceptedOut:
        draft = read_event(call.body, self._limits)
        accepted = await self._sources.post(call.principal, _id(call), draft)
        return AcceptedOut(
            token=ids.spell(ids.EVENT, accepted.id),
            created=moment(ids.moment(accepted.id)),
            event_type=accepted.type,
            payload=msgspec.Raw(accepted.payload),
            duplicate=accepted.duplicate,
        )

    def _shape(self, source: Source, asks: Principal) -> SourceOut:
        token = ids.spell(ids.SOURCE, source.id)
        path = f"{INGEST}/{source.mask}"
        if source.type is SourceType.REST_API:
            path = POSTED.format(source_token=token)
        challenged = source.challenged_us
        shown = Scope.SOURCES_WRITE in asks.scopes
        return SourceOut(
            token=token,
            created=moment(ids.moment(source.id)),
            name=source.name,
            type=source.type,
            url=self._base_url + path,
            verifier=source.verifier if shown else masked(source.verifier),
            custom_response=source.custom_response,
            event_type_location=source.event_type_location,
            idempotency_keys=source.idempotency_keys,
            forward_headers=source.forward_headers,
            max_bytes=source.max_bytes,
            disabled=source.disabled,
            challenged=None if challenged is None else moment(challenged),
        )


def masked(verifier: Verifier) -> Verifier:
    """Return a verifier without its secrets."""
    secrets = dict.fromkeys(_SECRETS & set(verifier.__struct_fields__), MASKED)
    return msgspec.structs.replace(verifier, **secrets)


def _id(call: Call[Any, Any]) -> ids.Id:
    return ids.read(ids.SOURCE, call.path["source_token"])
