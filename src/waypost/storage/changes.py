"""What the hot path asks the committer to write; plain mutable records, one per request.

They hold rows ready for the database, so that the writer's thread has little to do.
"""

from collections.abc import Callable
from enum import Enum
from typing import Any

import msgspec

Row = tuple[Any, ...]


class Outcome(Enum):
    """What became of an acceptance."""

    COMMITTED = "committed"
    STALE = "stale"
    MISMATCH = "mismatch"
    FAILED = "failed"


class Entry(msgspec.Struct, eq=False):
    """One event of an acceptance.

    Attributes:
        event_id: the event's id.
        row: the row for `events`.
        owed: the rows for `queue`: one for each subscription that is owed the event.
        fan_out: the row for `fan_outs`, in place of `owed` where they are too many.
        key: the idempotency key, where one was given; `fingerprint` is of the request's body.
        ordering_key: the event's, where it has one.
        counter: the name of the counter that gives the event its place in an order; None: it has
            none.
        duplicate_of: set by the commit: the id of the event that holds the key already.
    """

    event_id: bytes
    row: Row
    owed: list[Row]
    key: str | None
    fingerprint: bytes
    duplicate_of: bytes | None = None
    fan_out: Row | None = None
    ordering_key: str | None = None
    counter: str | None = None


class Acceptance(msgspec.Struct, eq=False):
    """The events of one request: all of them are written, or none.

    Attributes:
        routing_version: the version of the project's routing that the rows were made by.
        keyed: some entry has an idempotency key.
        ordered: some entry has a `counter`.
        outcome: set by the commit; with MISMATCH, `at_index` names the entry.
        error: set with FAILED.
        done: called on the event loop when `outcome` is set.
        fans_out: some entry has a `fan_out`.
        context: what `done` needs to know; nobody else looks at it.
    """

    project_id: bytes
    key_id: bytes
    routing_version: int
    entries: list[Entry]
    now_us: int
    keys_expire_us: int
    done: Callable[["Acceptance"], None]
    keyed: bool
    fans_out: bool = False
    ordered: bool = False
    context: Any = None
    outcome: Outcome | None = None
    at_index: int = 0
    error: Exception | None = None


class Settlement(msgspec.Struct, eq=False):
    """What became of one try of a delivery.

    Exactly one of `delivery` (its final row) and `retry_at_us` is set.

    Attributes:
        attempts: how many tries the queue counts before this one; compared when it is written.
        attempt: the row for `attempts`; empty where none was made.
        diverted: the row for `diverted_events`, where the delivery was given up.
        shard: the shard of the subscription, and
        epoch: under which this process owned it when the try began; compared where several
            processes work on one database.
        late: set by the commit: the delivery was settled otherwise before.
        done: called on the event loop after the commit.
        context: what `done` needs to know; nobody else looks at it.
    """

    project_id: bytes
    event_id: bytes
    delivery_id: bytes
    attempts: int
    attempt: Row
    done: Callable[["Settlement"], None]
    delivery: Row | None = None
    retry_at_us: int | None = None
    diverted: Row | None = None
    shard: int = 0
    epoch: int = 0
    context: Any = None
    late: bool = False
