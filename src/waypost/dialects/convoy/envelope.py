"""Convoy's envelope: `{status, message, data}`, its words for errors, its ids and times."""

from http import HTTPStatus
from typing import Any, Final

import msgspec

from waypost.model import ids
from waypost.model.errors import NotFound
from waypost.model.ids import Id
from waypost.policy import timestamp
from waypost.web.errors import Problem, Rendered

MISSING_KEY: Final = "Authentication required"
BAD_KEY: Final = "authorization failed"

_NOT_FOUND: Final = {
    "subscription": "failed to find subscription",
    "event": "event not found",
    "event type": "event type does not exist",
    "meta event": "meta event not found",
    "delivery": "event delivery not found",
}
_RESOURCE: Final = "Resource not found"
_STATUSES: Final = {422: 400, 409: 400}
"""Convoy has no such statuses: what can't be done is a 400."""

_encode: Final = msgspec.json.Encoder().encode


class Answer(msgspec.Struct, frozen=True):
    """What an operation answers with.

    Attributes:
        message: one sentence, in Convoy's words.
        data: what msgspec can encode; None is sent as null.
        status: of the response.
    """

    message: str
    data: Any = None
    status: int = 200

    def encoded(self) -> bytes:
        """Return the body."""
        return _encode({"status": self.status < 400, "message": self.message, "data": self.data})


def render(problem: Problem) -> Rendered:
    """Render an error: `{status: false, message}`, with the places of what is wrong in words."""
    status = _STATUSES.get(problem.status, problem.status)
    message = problem.message
    if problem.code == "not_found":
        message = _NOT_FOUND.get(message.removesuffix(" not found"), _RESOURCE)
    return Rendered(status, _encode({"status": False, "message": message}))


def read_id(kind: str, text: str) -> Id:
    """Read an id.

    Args:
        kind: what it is of, in the words of `NotFound`.
        text: a ULID.

    Raises:
        NotFound: it is none, so nothing can have it.
    """
    found = ids.find_ulid(text)
    if found is None:
        raise NotFound(kind)
    return found


def spelled(at_us: int | None) -> str | None:
    """Spell a moment, UTC microseconds, as RFC 3339; None where there is none."""
    return None if at_us is None else timestamp.spell(at_us)


def status_line(code: int) -> str:
    """Return what Convoy calls a receiver's status: `200 OK`."""
    try:
        return f"{code} {HTTPStatus(code).phrase}"
    except ValueError:
        return str(code)


def born(identifier: Id) -> str:
    """Return when a thing was made, by its id."""
    return timestamp.spell(ids.moment(identifier))
