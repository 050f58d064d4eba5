"""Transforms: does one compile, and what would it make of an event?"""

from functools import partial
from typing import Final

import msgspec

from waypost.clock import IdSource
from waypost.engine.preparer import Call, Runner, request_of
from waypost.model.errors import NotPermitted, Unavailable
from waypost.model.event import Event
from waypost.model.ids import Id
from waypost.model.project import Principal, Scope
from waypost.model.transform import Deferred, Fault, Made, Result, Skipped, Transform
from waypost.policy import transforms
from waypost.policy.events import Draft
from waypost.sandbox import frames
from waypost.sandbox.frames import Request
from waypost.storage import events
from waypost.storage.store import Store

_CHECKS: Final = b"check"
_TRIALS: Final = b"trial"


class Trial(msgspec.Struct, frozen=True):
    """What a transform would make of an event.

    Attributes:
        event: as it would be sent; None where nothing would be.
        headers: that would be sent beside the subscription's own.
        fault: why it failed, where it did.
        log: what it wrote.
    """

    event: Event | None
    headers: dict[str, str] = {}
    fault: Fault | None = None
    log: tuple[str, ...] = ()


class Transforms:
    """What people ask of transforms."""

    def __init__(self, store: Store, runner: Runner, source: IdSource) -> None:
        """Take the database, what runs programs, and a source of ids."""
        self._store = store
        self._runner = runner
        self._ids = source

    async def require(self, project_id: Id, transform: Transform, path: str = "transform") -> None:
        """Refuse a transform that does not compile.

        Args:
            project_id: whose it is.
            transform: the transform.
            path: where it stood in what was sent.

        Raises:
            InvalidSetting: it doesn't.
            Unavailable: nothing can be compiled now.
        """
        request = request_of(transform, Event(project_id, project_id, "", b"null"), frames.CHECK)
        result = await self._run(project_id, _CHECKS, request)
        if isinstance(result, Fault):
            raise transforms.refusal(transform, result, path)

    async def try_on(
        self, principal: Principal, transform: Transform, of: Draft | Id, path: str = "transform"
    ) -> Trial:
        """Run a transform on an event, and send nothing.

        Args:
            principal: who asks.
            transform: the transform.
            of: an event that there might be, or the id of one that there is.
            path: where the transform stood in what was sent.

        Raises:
            InvalidSetting: it does not compile.
            NotPermitted: the caller may not read events.
            NotFound: the project has no such event (any more).
            Unavailable: nothing can be run now.
        """
        project_id = principal.project_id
        await self.require(project_id, transform, path)
        if isinstance(of, Draft):
            event = Event(project_id, self._ids.next(), of.type, of.payload, of.attributes)
        else:
            if Scope.EVENTS_READ not in principal.scopes:
                raise NotPermitted
            event = await self._store.read(partial(events.get, project_id=project_id, event_id=of))
        result = await self._run(project_id, _TRIALS, request_of(transform, event, frames.LOG))
        if isinstance(result, Fault):
            return Trial(None, fault=result, log=result.log)
        if isinstance(result, Skipped):
            return Trial(None, log=result.log)
        fault = transforms.check_headers(result)
        if fault is not None:
            return Trial(None, fault=fault, log=result.log)
        return Trial(transforms.applied(event, result), result.headers, log=result.log)

    async def _run(self, project_id: Id, what: bytes, request: Request) -> Made | Skipped | Fault:
        result: Result | None = await Call(self._runner).run(
            project_id, what + project_id, lambda: request
        )
        if isinstance(result, Deferred) or result is None:
            raise Unavailable("Transforms can't be run now; try again later.")
        return result
