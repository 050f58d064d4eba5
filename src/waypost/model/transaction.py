"""Transactions: a consumer's claim on one event, under a key that is the consumer's own.

An event and a transaction key have at most one transaction. Whoever makes it, or takes up one that
was registered ahead, has the event for that key, and nobody else ever has, unless the claim was for
a time that has run out::

    (none) ──▶ pending ──▶ processing ──▶ finished
       │                    ▲   │ ▲ │
       └────────────────────┘   └─┘ └───▶ failed
                            lease over
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import msgspec

from waypost.model.ids import Id


class TransactionState(StrEnum):
    """How a transaction stands. An event's state, for its consumers, has the same names."""

    PENDING = "pending"
    """Registered ahead; nobody works on it."""

    PROCESSING = "processing"
    FINISHED = "finished"
    FAILED = "failed"


State = TransactionState

ENDED: Final = frozenset({State.FINISHED, State.FAILED})

STEPS: Final[Mapping[TransactionState | None, frozenset[TransactionState]]] = {
    None: frozenset({State.PENDING, State.PROCESSING}),
    State.PENDING: frozenset({State.PROCESSING}),
    State.PROCESSING: frozenset({State.PROCESSING, State.FINISHED, State.FAILED}),
    State.FINISHED: frozenset(),
    State.FAILED: frozenset(),
}
"""What may follow which state; None is before there is one. Nothing reopens."""


class Standing(StrEnum):
    """How an event stands for one transaction key, to look for events by."""

    ABSENT = "absent"
    """There is no transaction."""

    LAPSED = "lapsed"
    """One is processing, and its lease has run out."""

    PENDING = "pending"
    PROCESSING = "processing"
    """With a lease that has run out or not."""

    FINISHED = "finished"
    FAILED = "failed"


CLAIMABLE: Final = frozenset({Standing.ABSENT, Standing.LAPSED, Standing.PENDING})
"""Where a claim succeeds."""


class Change(msgspec.Struct, frozen=True, array_like=True):
    """One row of a history: `state` was entered from `former`, by whom."""

    state: TransactionState
    former: TransactionState | None
    at_us: int
    key_id: Id


class Transaction(msgspec.Struct, frozen=True):
    """A consumer's claim on an event. When it was made stands in its id.

    Attributes:
        tx_key: names the consumer: two services that both want an event use two.
        claim: counts the claims, from 1; 0 while it is pending. It tells a consumer whose lease
            has run out from the next one.
        started_us: when the present claim began, UTC microseconds.
        ended_us: when it was finished or failed.
        lease_until_us: from when on another may claim it; None: never.
        output: what the consumer had to say at the end.
        history: the latest changes, oldest first.
    """

    project_id: Id
    event_id: Id
    tx_key: str
    id: Id
    state: TransactionState
    claim: int = 0
    started_us: int | None = None
    ended_us: int | None = None
    lease_until_us: int | None = None
    output: str | None = None
    history: tuple[Change, ...] = ()


class Progress(msgspec.Struct, frozen=True):
    """How far the consumers of an event are, all together.

    Attributes:
        state: pending before the first claim; processing; then failed if any has failed.
        history: how that came about, oldest first.
        total: how many transactions there are.
    """

    state: TransactionState
    history: tuple[Change, ...]
    total: int

    @property
    def is_completed(self) -> bool:
        """Whether all that was begun has ended."""
        return self.state in ENDED
