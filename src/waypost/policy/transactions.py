"""Transactions, decided: who gets an event, and who may still say something about it."""

from collections.abc import Iterable
from typing import Annotated, Any, Final

import msgspec
from msgspec import Meta

from waypost.model.errors import AlreadyClaimed, NotHeld
from waypost.model.ids import Id
from waypost.model.transaction import (
    ENDED,
    STEPS,
    Change,
    Progress,
    Transaction,
    TransactionState,
)
from waypost.policy.events import NO_CONTROLS, TEXT_MAX

HISTORY_MAX: Final = 50
"""How many changes of a transaction are kept: the latest."""

PROGRESS_MAX: Final = 100
"""How many changes of an event are shown: the latest."""

KEYS_MAX: Final = 256
"""How many transactions an event may have: one for each consumer that wants it."""

OUTPUT_MAX: Final = 65_536
"""How many characters of output are taken."""

TxKey = Annotated[str, Meta(min_length=1, max_length=TEXT_MAX, pattern=NO_CONTROLS)]
Output = Annotated[str, Meta(max_length=OUTPUT_MAX)]


class Who(msgspec.Struct, frozen=True):
    """Who does something, and when: the key, and UTC microseconds."""

    key_id: Id
    at_us: int


def register(found: Transaction | None, new: Transaction, who: Who) -> Transaction:
    """Return a transaction that is there before anybody claims it.

    Args:
        found: what the event has for this key.
        new: what it is to have, still without a history.
        who: registers it.

    Raises:
        AlreadyClaimed: there is one.
    """
    if found is not None:
        raise AlreadyClaimed
    return _enter(new, None, TransactionState.PENDING, who)


def claim(
    found: Transaction | None, new: Transaction, who: Who, lease_us: int | None
) -> Transaction:
    """Return the transaction of whoever claims an event now.

    Args:
        found: what the event has for this key.
        new: what it is to have where there is nothing yet.
        who: claims it.
        lease_us: for how long, microseconds; None: until it has ended.

    Raises:
        AlreadyClaimed: another has or had it.
    """
    if found is not None and not is_claimable(found, who.at_us):
        raise AlreadyClaimed(f"The event is {found.state.value} for this transaction key already.")
    held = new if found is None else found
    former = None if found is None else found.state
    return _enter(
        held,
        former,
        TransactionState.PROCESSING,
        who,
        claim=held.claim + 1,
        started_us=who.at_us,
        lease_until_us=None if lease_us is None else who.at_us + lease_us,
    )


def is_claimable(found: Transaction, now_us: int) -> bool:
    """Tell whether a claim of a transaction that is there succeeds."""
    if found.state is TransactionState.PENDING:
        return True
    until = found.lease_until_us
    return found.state is TransactionState.PROCESSING and until is not None and until <= now_us


def end(
    found: Transaction,
    state: TransactionState,
    who: Who,
    output: str | None = None,
    number: int | None = None,
) -> Transaction:
    """Return a transaction that has ended.

    Args:
        found: as it is.
        state: finished or failed.
        who: ends it.
        output: what is to be kept about it.
        number: of the claim, as its holder was told; None: whichever it is.

    Raises:
        NotHeld: it has ended before, was never claimed, or is another's by now.
    """
    _require_held(found, number)
    return _enter(
        found, found.state, state, who, ended_us=who.at_us, lease_until_us=None, output=output
    )


def extend(found: Transaction, number: int, until_us: int) -> Transaction:
    """Return a transaction whose lease runs until a moment, UTC microseconds.

    A lease that has run out is taken up again, as long as nobody else has claimed it.

    Raises:
        NotHeld: it has ended, or is another's by now.
    """
    _require_held(found, number)
    return msgspec.structs.replace(found, lease_until_us=until_us)


def progress(transactions: Iterable[Transaction]) -> Progress:
    """Return how far the consumers of an event are, by the histories of all its transactions."""
    present: dict[Id, TransactionState] = {}
    changes = sorted(
        ((change.at_us, one.id, change) for one in transactions for change in one.history),
        key=lambda found: found[:2],
    )
    state = TransactionState.PENDING
    history: list[Change] = []
    for at_us, identifier, change in changes:
        present[identifier] = change.state
        entered = _together(present.values())
        if entered is not state:
            history.append(Change(entered, state, at_us, change.key_id))
            state = entered
    return Progress(state, tuple(history[-PROGRESS_MAX:]), len(present))


def _together(states: Iterable[TransactionState]) -> TransactionState:
    found = set(states)
    if found <= {TransactionState.PENDING}:
        return TransactionState.PENDING
    if not found <= ENDED:
        return TransactionState.PROCESSING
    failed = TransactionState.FAILED in found
    return TransactionState.FAILED if failed else TransactionState.FINISHED


def _require_held(found: Transaction, number: int | None) -> None:
    if found.state is not TransactionState.PROCESSING:
        raise NotHeld(f"The transaction is {found.state.value}.")
    if number not in {None, found.claim}:
        raise NotHeld(f"The lease of claim {number} ran out, and the event was claimed again.")


def _enter(
    held: Transaction,
    former: TransactionState | None,
    state: TransactionState,
    who: Who,
    **changes: Any,
) -> Transaction:
    assert state in STEPS[former]  # noqa: S101 - whoever calls has looked
    # Clocks of several processes may differ a little; a history runs forward all the same.
    at_us = max([who.at_us, *(change.at_us for change in held.history[-1:])])
    change = Change(state, former, at_us, who.key_id)
    history = (*held.history, change)[-HISTORY_MAX:]
    return msgspec.structs.replace(held, state=state, history=history, **changes)
