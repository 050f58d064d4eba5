"""Transforms: how one is set, what a program is told of an event, and what becomes of its answer.

Running one is somebody else's; here is what can be decided without.
"""

from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, UnsetType
from msgspec.structs import replace

from waypost.model import ids
from waypost.model.errors import InvalidInput, InvalidSetting
from waypost.model.event import Attributes, Event, Resource
from waypost.model.transform import Fault, FaultKind, Language, Made, Transform
from waypost.policy import headers, timestamp
from waypost.policy.media import is_json
from waypost.policy.outcome import KEPT_OF_FAILURE, Outcome, OutcomeKind

SOURCE_MAX: Final = 64 * 1024
"""Bytes of a program."""

_ONE_OF: Final = "must hold one of javascript and template"
_CONTENT_TYPE: Final = "application/json"


class TransformIn(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A transform as it is set and shown: one of the two."""

    javascript: (
        Annotated[
            str,
            Meta(
                description=(
                    "JavaScript with a function `transform(payload, event)`, which returns the new"
                    " payload, or `{payload, headers, skip}`."
                )
            ),
        ]
        | UnsetType
    ) = UNSET
    template: (
        Annotated[
            msgspec.Raw,
            Meta(description="JSON in which texts hold places, `{{ … }}`, with JMESPath in them."),
        ]
        | UnsetType
    ) = UNSET


def read(given: TransformIn, path: str = "transform") -> Transform:
    """Return a transform as it is kept; whether it compiles is another question.

    Args:
        given: as it was sent.
        path: where it stood.

    Raises:
        InvalidSetting: it is not one program, or too large.
    """
    if (given.javascript is UNSET) is (given.template is UNSET):
        raise InvalidSetting(details=[(path, _ONE_OF)])
    if given.javascript is not UNSET:
        return Transform(Language.JAVASCRIPT, _bounded(given.javascript, f"{path}.javascript"))
    at = f"{path}.template"
    try:
        text = bytes(given.template).strip().decode()  # type: ignore[arg-type] # not UNSET
    except UnicodeDecodeError as error:
        raise InvalidSetting(details=[(at, "must be UTF-8")]) from error
    if text == "null":
        raise InvalidSetting(details=[(path, _ONE_OF)])
    return Transform(Language.TEMPLATE, _bounded(text, at))


def _bounded(source: str, path: str) -> str:
    try:
        size = len(source.encode())
    except UnicodeEncodeError as error:
        raise InvalidSetting(details=[(path, "must not hold half characters")]) from error
    if size > SOURCE_MAX:
        raise InvalidSetting(details=[(path, f"must be at most {SOURCE_MAX} bytes, is {size}")])
    return source


def shown(transform: Transform) -> TransformIn:
    """Return a transform as people set it."""
    if transform.language is Language.JAVASCRIPT:
        return TransformIn(javascript=transform.source)
    return TransformIn(template=msgspec.Raw(transform.source.encode()))


def refusal(transform: Transform, fault: Fault, path: str = "transform") -> InvalidSetting:
    """Return how to tell that a transform does not compile.

    Args:
        transform: the transform.
        fault: what came of trying.
        path: where it stood.
    """
    at = f"{path}.{transform.language.value}"
    if transform.language is Language.TEMPLATE:
        at += (fault.place or "$").removeprefix("$")
        return InvalidSetting(details=[(at, fault.message)])
    where = "" if fault.line is None else f"line {fault.line}: "
    return InvalidSetting(details=[(at, where + fault.message)])


class _About(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a program is told of an event: as the API shows it, but for the payload."""

    token: str
    created: str
    event_type: str
    content_type: str | None = None
    idempotency_key: str | None = None
    ordering_key: str | None = None
    occurred_at: str | None = None
    owner: str | None = None
    user: str | None = None
    request_id: str | None = None
    platform: str | None = None
    label: str | None = None
    resource: Resource | None = None
    related_resources: tuple[Resource, ...] = ()
    metadata: dict[str, str] = {}
    headers: dict[str, str] = {}
    query: dict[str, str | list[str]] = {}
    path: str | None = None
    cloudevent: dict[str, str | int | bool] | None = None
    example: bool = False


def about(event: Event) -> bytes:
    """Return what a program is told of an event, beside the payload, as JSON."""
    known = event.attributes
    occurred_us = known.occurred_at_us
    return msgspec.json.encode(
        _About(
            token=ids.spell(ids.EVENT, event.id),
            created=timestamp.spell(ids.moment(event.id)),
            event_type=event.type,
            content_type=known.content_type,
            idempotency_key=known.idempotency_key,
            ordering_key=known.ordering_key,
            occurred_at=None if occurred_us is None else timestamp.spell(occurred_us),
            owner=known.owner,
            user=known.user,
            request_id=known.request_id,
            platform=known.platform,
            label=known.label,
            resource=known.resource,
            related_resources=known.related_resources,
            metadata=known.metadata,
            headers=known.headers,
            query=known.query,
            path=known.path,
            cloudevent=known.cloudevent,
            example=known.example,
        )
    )


def applied(event: Event, made: Made) -> Event:
    """Return an event as it is to be sent: with the very payload that it came with, or a new one.

    What was text and is not any more is JSON from here on.
    """
    if made.payload is None:
        return event
    attributes = event.attributes
    if not (made.is_text or is_json(attributes.content_type)):
        attributes = _as_json(attributes)
    return replace(event, payload=made.payload, attributes=attributes)


def _as_json(attributes: Attributes) -> Attributes:
    cloudevent: dict[str, Any] | None = attributes.cloudevent
    if cloudevent is not None and "datacontenttype" in cloudevent:
        cloudevent = {**cloudevent, "datacontenttype": _CONTENT_TYPE}
    return replace(attributes, content_type=None, cloudevent=cloudevent)


def check_headers(made: Made) -> Fault | None:
    """Return what is wrong with the headers that a transform adds; None where nothing is."""
    try:
        headers.check(made.headers)
    except InvalidInput as error:
        return Fault(FaultKind.RESULT, error.message, log=made.log)
    return None


def outcome_of(fault: Fault) -> Outcome:
    """Return what an attempt comes to that a transform's fault has kept from being sent."""
    text = f"the transform failed: {fault}"
    kept = text.encode(errors="replace")[:KEPT_OF_FAILURE]
    return Outcome(OutcomeKind.FAILED, 0, kept, timeout=fault.kind is FaultKind.TIMEOUT)
