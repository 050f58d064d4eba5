"""What people are shown of tries: those that ended, and for each delivery owed its next one."""

from enum import StrEnum

import msgspec

from waypost.model.delivery import Timings
from waypost.model.ids import Id


class AttemptStatus(StrEnum):
    """How a try stands.

    A delivery that waits is shown as one PENDING attempt, one in flight as one SENDING attempt,
    under the token that the attempt will keep.
    """

    PENDING = "PENDING"
    SENDING = "SENDING"
    SUCCESS = "SUCCESS"
    FAILED = "FAILED"


class ShownAttempt(msgspec.Struct, frozen=True):
    """One try of a delivery, made or to be made. When it started, or is due, is in its id.

    Attributes:
        url: where its subscription points now.
        status_code: the receiver's status; 0 where none came (yet).
        response: the start of the receiver's body, or the transport's error; empty before.
        timings: None before it ended.
    """

    project_id: Id
    id: Id
    event_id: Id
    delivery_id: Id
    subscription_id: Id
    number: int
    status: AttemptStatus
    url: str = ""
    status_code: int = 0
    response: bytes = b""
    timings: Timings | None = None
    reused_unknown: bool = False
