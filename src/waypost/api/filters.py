"""Content filters over HTTP: tried out on an event."""

from typing import Annotated, Final

import msgspec
from msgspec import Meta

from waypost.api.operation import Call, Operation
from waypost.model import ids
from waypost.model.event import Attributes
from waypost.model.project import Scope
from waypost.operations.filters import Filters, Sample
from waypost.policy.conditions import Mismatch
from waypost.policy.settings import ContentFilter, EventTypes, filter_text

TAG: Final = "Filters"
PATH: Final = "/v1/filters/test"


def _null() -> msgspec.Raw:
    return msgspec.Raw(b"null")


class SampleIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """An event that is only thought of; what is left out, it does not have."""

    event_type: str | None = None
    payload: Annotated[msgspec.Raw, Meta(description="Any JSON; null, unless told.")] = (
        msgspec.field(default_factory=_null)
    )
    headers: dict[str, str] = {}
    query: Annotated[
        dict[str, str | list[str]],
        Meta(description="A list where a name stands there more than once."),
    ] = {}
    path: str | None = None
    metadata: dict[str, str] = {}


class FilterTestIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A filter, and an event or the token of one."""

    filter: ContentFilter
    event: Annotated[str | SampleIn, Meta(description="An event, or the token of one.")]
    event_types: EventTypes | None = None


class MismatchOut(msgspec.Struct, frozen=True, omit_defaults=True):
    """The first condition that does not hold, in the order of the filter.

    Attributes:
        path: where in the event; empty where the filter as a whole is to blame.
        wanted: the condition's value, shortened.
        found: what is there, shortened; absent where nothing is.
    """

    path: str
    operator: str
    wanted: str
    reason: str
    found: str | None = None
    alternatives: "list[MismatchOut]" = []


class FilterTestOut(msgspec.Struct, frozen=True):
    """Whether the event matches; `reason` and `mismatch` tell why not."""

    match: bool
    reason: str | None
    mismatch: MismatchOut | None


class FilterRoutes:
    """The handlers of the operations on filters."""

    def __init__(self, filters: Filters) -> None:
        """Take what they call."""
        self._filters = filters

    def operations(self) -> list[Operation]:
        """Return the rows of the API's table."""
        return [
            Operation(
                method="POST",
                path=PATH,
                name="test_filter",
                summary="Try a filter out on an event",
                description="Nothing is kept or sent.",
                tag=TAG,
                scope=Scope.EVENTS_READ,
                handler=self._test,
                body=FilterTestIn,
                result=FilterTestOut,
                errors=(404, 422),
            )
        ]

    async def _test(self, call: Call[None, FilterTestIn]) -> FilterTestOut:
        body = call.body
        event = body.event
        mismatch = await self._filters.try_out(
            call.principal,
            filter_text(body.filter),
            body.event_types or (),
            ids.read(ids.EVENT, event) if isinstance(event, str) else _sample(event),
        )
        if mismatch is None:
            return FilterTestOut(match=True, reason=None, mismatch=None)
        return FilterTestOut(match=False, reason=mismatch.reason, mismatch=shape_mismatch(mismatch))


def _sample(event: SampleIn) -> Sample:
    attributes = Attributes(
        headers={name.lower(): value for name, value in event.headers.items()},
        query=event.query,
        path=event.path,
        metadata=event.metadata,
    )
    return Sample(event.event_type, bytes(event.payload), attributes)


def shape_mismatch(mismatch: Mismatch) -> MismatchOut:
    """Return a mismatch as it stands on the wire."""
    return MismatchOut(
        path=mismatch.path,
        operator=mismatch.operator,
        wanted=mismatch.wanted,
        reason=mismatch.reason,
        found=mismatch.found,
        alternatives=[shape_mismatch(one) for one in mismatch.alternatives],
    )
