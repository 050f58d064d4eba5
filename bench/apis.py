"""The APIs by which the load generator can post an event, each in its own shape."""

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from bench import wire

NATIVE: Final = "native"
CONVOY: Final = "convoy"

PROJECT: Final = b"<project>"
ENDPOINT: Final = b"<endpoint>"


@dataclass(frozen=True, slots=True)
class Api:
    """How one API takes an event.

    Where path and body name a project and an endpoint, `addressed` puts in which.

    Attributes:
        path: where it is posted to.
        header: the name of the header that brings the key.
        accepted: the status of an answer that acknowledges it.
        token: finds the event's id in such an answer.
        body: makes the request's body of an event type and a payload.
        spell: makes the id that receivers see of what `token` finds.
    """

    path: bytes
    header: bytes
    accepted: bytes
    token: re.Pattern[bytes]
    body: Callable[[bytes, bytes], bytes]
    spell: Callable[[bytes], bytes] = bytes

    @property
    def is_addressed(self) -> bool:
        """Whether requests name a project and an endpoint."""
        return PROJECT in self.path


def _buildable(kind: bytes, payload: bytes) -> bytes:
    return b'{"event":"%b","payload":%b}' % (kind, payload)


def _convoy(kind: bytes, payload: bytes) -> bytes:
    return b'{"endpoint_id":"%b","event_type":"%b","data":%b}' % (ENDPOINT, kind, payload)


def addressed(text: bytes, to: str) -> bytes:
    """Put the project and the endpoint in `to`, with a slash between, into a path or a body."""
    project, _, endpoint = to.encode().partition(b"/")
    return text.replace(PROJECT, project).replace(ENDPOINT, endpoint)


def _token(identifier: bytes) -> bytes:
    return b"evt_%b" % str(uuid.UUID(identifier.decode())).encode()


APIS: Final[Mapping[str, Api]] = {
    NATIVE: Api(
        path=b"/v1/events",
        header=b"authorization",
        accepted=b"202",
        token=re.compile(rb'"token": *"([^"]+)"'),
        body=wire.body,
    ),
    "buildable": Api(
        path=b"/emit",
        header=b"x-buildable-secret",
        accepted=b"200",
        token=re.compile(rb'"key": *"([0-9a-f]{32})"'),
        body=_buildable,
        spell=_token,
    ),
    CONVOY: Api(
        path=b"/api/v1/projects/%b/events" % PROJECT,
        header=b"authorization",
        accepted=b"201",
        token=re.compile(rb'"uid": *"([0-9A-Z]{26})"'),
        body=_convoy,
        spell=bytes.lower,
    ),
}
