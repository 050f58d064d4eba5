"""Content filters: tried out on an event before a subscription has them."""

import msgspec

from waypost.model.errors import InvalidInput
from waypost.model.event import Attributes
from waypost.model.ids import Id
from waypost.model.project import Principal
from waypost.policy import filters, rawjson
from waypost.policy.conditions import Mismatch
from waypost.policy.content import Content
from waypost.policy.judging import other_type
from waypost.policy.routing import takes_type
from waypost.storage import events
from waypost.storage.store import Store


class Sample(msgspec.Struct, frozen=True):
    """An event that is only thought of.

    Attributes:
        type: None where nothing is asked of it.
        payload: JSON.
    """

    type: str | None
    payload: bytes
    attributes: Attributes


class Filters:
    """What people ask of filters."""

    def __init__(self, store: Store) -> None:
        """Take where events are kept."""
        self._store = store

    async def try_out(
        self,
        principal: Principal,
        text: str | None,
        event_types: tuple[str, ...],
        event: Sample | Id,
    ) -> Mismatch | None:
        """Return why an event would not match, or None where it would.

        Args:
            principal: who asks.
            text: the filter; None for none.
            event_types: those of the subscription; empty for all.
            event: the event, or the id of one of the project's.

        Raises:
            InvalidSetting: the filter can't be obeyed.
            InvalidInput: the payload is nested too deeply, or there is no type to be asked.
            NotFound: the project has no such event.
        """
        compiled = None if text is None else filters.compiled(text)
        sample = event if isinstance(event, Sample) else await self._kept(principal, event)
        rawjson.require_shallow(sample.payload, "event.payload")
        if event_types:
            if sample.type is None:
                reason = "is required where there are event types"
                raise InvalidInput(details=[("event.event_type", reason)])
            if not takes_type(event_types, sample.type):
                return other_type(sample.type, event_types)
        if compiled is None:
            return None
        return compiled.explain(Content(sample.payload, sample.attributes, sample.type or ""))

    async def _kept(self, principal: Principal, event_id: Id) -> Sample:
        found = await self._store.read(lambda c: events.get(c, principal.project_id, event_id))
        return Sample(found.type, found.payload, found.attributes)
