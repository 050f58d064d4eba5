"""The APIs by which the load generator can post an event, each in its own shape."""

import re
import uuid
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Final

from bench import wire

NATIVE: Final = "native"


@dataclass(frozen=True, slots=True)
class Api:
    """How one API takes an event.

    Attributes:
        path: where it is posted to.
        header: the name of the header that brings the key.
        accepted: the status of an answer that acknowledges it.
        token: finds the event's id in such an answer.
        body: makes the request's body of an event type and a payload.
        spell: makes the native token, which receivers see, of what `token` finds.
    """

    path: bytes
    header: bytes
    accepted: bytes
    token: re.Pattern[bytes]
    body: Callable[[bytes, bytes], bytes]
    spell: Callable[[bytes], bytes] = bytes


def _buildable(kind: bytes, payload: bytes) -> bytes:
    return b'{"event":"%b","payload":%b}' % (kind, payload)


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
}
