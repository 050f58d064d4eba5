"""What the hot path asks the committer to write; plain mutable records, one per request.

They hold rows ready for the database, so that the writer's thread has little to do.
"""

from collections.abc import Callable
from enum import Enum
from typing import Any

Row = tuple[Any, ...]


class Outcome(Enum):
    """What became of an acceptance."""

    COMMITTED = "committed"
    STALE = "stale"
    MISMATCH = "mismatch"
    FAILED = "failed"


class Entry:
    """One event of an acceptance.

    Attributes:
        event_id: the event's id.
        row: the row for `events`.
        owed: the rows for `queue`: one for each subscription that is owed the event.
        fan_out: the row for `fan_outs`, in place of `owed` where they are too many.
        key: the idempotency key, where one was given; `fingerprint` is of the request's body.
        duplicate_of: set by the commit: the id of the event that holds the key already.
    """

    __slots__ = ("duplicate_of", "event_id", "fan_out", "fingerprint", "key", "owed", "row")

    def __init__(
        self, event_id: bytes, row: Row, owed: list[Row], key: str | None, fingerprint: bytes
    ) -> None:
        """Keep the rows."""
        self.event_id = event_id
        self.row = row
        self.owed = owed
        self.key = key
        self.fingerprint = fingerprint
        self.duplicate_of: bytes | None = None
        self.fan_out: Row | None = None


class Acceptance:
    """The events of one request: all of them are written, or none.

    Attributes:
        routing_version: the version of the project's routing that the rows were made by.
        keyed: some entry has an idempotency key.
        outcome: set by the commit; with MISMATCH, `at_index` names the entry.
        error: set with FAILED.
        done: called on the event loop when `outcome` is set.
        fans_out: some entry has a `fan_out`.
        context: what `done` needs to know; nobody else looks at it.
    """

    __slots__ = (
        "at_index",
        "context",
        "done",
        "entries",
        "error",
        "fans_out",
        "key_id",
        "keyed",
        "keys_expire_us",
        "now_us",
        "outcome",
        "project_id",
        "routing_version",
    )

    def __init__(
        self,
        project_id: bytes,
        key_id: bytes,
        routing_version: int,
        entries: list[Entry],
        now_us: int,
        keys_expire_us: int,
        done: Callable[["Acceptance"], None],
        *,
        keyed: bool,
    ) -> None:
        """Keep what is to be written."""
        self.project_id = project_id
        self.key_id = key_id
        self.routing_version = routing_version
        self.entries = entries
        self.now_us = now_us
        self.keys_expire_us = keys_expire_us
        self.done = done
        self.keyed = keyed
        self.fans_out = False
        self.context: Any = None
        self.outcome: Outcome | None = None
        self.at_index = 0
        self.error: Exception | None = None


class Settlement:
    """What became of one try of a delivery.

    Exactly one of `delivery` (its final row) and `retry_at_us` is set.

    Attributes:
        attempts: how many tries the queue counts before this one; compared when it is written.
        attempt: the row for `attempts`; empty where none was made.
        diverted: the row for `diverted_events`, where the delivery was given up.
        late: set by the commit: the delivery was settled otherwise before.
        done: called on the event loop after the commit.
        context: what `done` needs to know; nobody else looks at it.
    """

    __slots__ = (
        "attempt",
        "attempts",
        "context",
        "delivery",
        "delivery_id",
        "diverted",
        "done",
        "event_id",
        "late",
        "project_id",
        "retry_at_us",
    )

    def __init__(  # noqa: PLR0913 - a record
        self,
        project_id: bytes,
        event_id: bytes,
        delivery_id: bytes,
        attempts: int,
        attempt: Row,
        done: Callable[["Settlement"], None],
        *,
        delivery: Row | None = None,
        retry_at_us: int | None = None,
        diverted: Row | None = None,
    ) -> None:
        """Keep what is to be written."""
        self.project_id = project_id
        self.event_id = event_id
        self.delivery_id = delivery_id
        self.attempts = attempts
        self.attempt = attempt
        self.done = done
        self.delivery = delivery
        self.retry_at_us = retry_at_us
        self.diverted = diverted
        self.context: Any = None
        self.late = False
