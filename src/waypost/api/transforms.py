"""Transforms over HTTP: trying one on an event, without sending anything."""

from typing import Annotated, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType

from waypost.api.operation import Call, Operation
from waypost.model import ids
from waypost.model.errors import InvalidInput
from waypost.model.event import Event
from waypost.model.project import Scope
from waypost.model.transform import Fault, FaultKind
from waypost.operations.transforms import Transforms, Trial
from waypost.policy import events, transforms
from waypost.policy.events import BesideIn, EventLimits
from waypost.policy.media import is_json
from waypost.policy.transforms import TransformIn

TAG: Final = "Transforms"
TEST_PATH: Final = "/v1/transforms/test"

_TEST: Final = """\
Answers 200 also where the transform fails: `error` then says why. One that does not compile is
refused with 422, as it would be where it is set. The event is that of `event_token`, or one made of
`payload` and of what `event` says of it."""


class TrialIn(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A transform, and what to try it on: one of `payload` and `event_token`."""

    transform: TransformIn
    payload: Annotated[msgspec.Raw, Meta(description="Any JSON.")] | UnsetType = UNSET
    event_token: Annotated[str, Meta(description="An event of the project.")] | UnsetType = UNSET
    event: Annotated[BesideIn, Meta(description="What goes with `payload`.")] | UnsetType = UNSET


class FaultOut(msgspec.Struct, frozen=True):
    """Why a transform failed; `line` and `column` are of JavaScript, `place` is of a template."""

    kind: FaultKind
    message: str
    line: int | None
    column: int | None
    place: str | None


class TrialOut(msgspec.Struct, frozen=True):
    """What would be sent.

    `payload` is null where nothing would be: it is skipped, or the transform fails. `log` is what
    it wrote by `console.log`.
    """

    payload: msgspec.Raw
    headers: dict[str, str]
    skip: bool
    log: tuple[str, ...]
    error: FaultOut | None


class TransformRoutes:
    """Handlers over the operations on transforms."""

    def __init__(self, operations: Transforms, limits: EventLimits) -> None:
        """Take the operations, and how large an event may be."""
        self._transforms = operations
        self._limits = limits

    def operations(self) -> list[Operation]:
        """Return the rows of the table that are about transforms."""
        return [
            Operation(
                method="POST",
                path=TEST_PATH,
                name="test_transform",
                summary="Try a transform on an event",
                description=_TEST,
                tag=TAG,
                scope=Scope.SUBSCRIPTIONS_WRITE,
                body=TrialIn,
                result=TrialOut,
                errors=(404, 422),
                handler=self._test,
            )
        ]

    async def _test(self, call: Call[None, TrialIn]) -> TrialOut:
        body = call.body
        transform = transforms.read(body.transform)
        return _shape(await self._transforms.try_on(call.principal, transform, self._of(body)))

    def _of(self, body: TrialIn) -> events.Draft | ids.Id:
        if (body.payload is UNSET) is (body.event_token is UNSET):
            raise InvalidInput(details=[("", "must hold one of payload and event_token")])
        if body.payload is not UNSET:
            beside = BesideIn() if body.event is UNSET else body.event
            return events.draft(beside, bytes(body.payload), self._limits)
        if body.event is not UNSET:
            raise InvalidInput(details=[("event", "goes with payload alone")])
        return ids.read(ids.EVENT, body.event_token or "")


def _shape(trial: Trial) -> TrialOut:
    return TrialOut(
        payload=msgspec.Raw(b"null") if trial.event is None else _payload(trial.event),
        headers=trial.headers,
        skip=trial.event is None and trial.fault is None,
        log=trial.log,
        error=None if trial.fault is None else _fault(trial.fault),
    )


def _payload(event: Event) -> msgspec.Raw:
    """Return a payload as JSON: text, which is all else that a transform takes, is a string."""
    if is_json(event.attributes.content_type):
        return msgspec.Raw(event.payload)
    return msgspec.Raw(msgspec.json.encode(event.payload.decode()))


def _fault(fault: Fault) -> FaultOut:
    return FaultOut(fault.kind, fault.message, fault.line, fault.column, fault.place)
