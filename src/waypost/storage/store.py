"""The store: what the engine and the operations know of the database, whichever it is.

On SQLite one thread writes for the one process; on PostgreSQL many processes work on the same
tables. What a caller may rely on is the same, and stands here.
"""

from collections.abc import Callable
from typing import Final, Protocol, TypeVar

from waypost.storage.changes import Acceptance, Settlement
from waypost.storage.connection import Connection

T = TypeVar("T")

READERS: Final = 4
"""Reads at once for people, and for jobs."""

OWED_READERS: Final = 3
"""Reads at once of what is owed, which wait for nobody else's."""

MAX_WAITING_READS: Final = 512
"""Reads that run or wait; one more is refused."""


class Counters:
    """What a store has done since it was opened.

    Attributes:
        commits: how many transactions of changes were committed.
        syncs: how many times the log was forced to disk for them.
        written: how many events were written.
        statements: how many statements were sent for them; BEGIN and COMMIT count.
        unplaced: how many late results were recorded nowhere: retention has taken their events.
    """

    __slots__ = ("commits", "statements", "syncs", "unplaced", "written")

    def __init__(self) -> None:
        """Begin at zero."""
        self.commits = 0
        self.syncs = 0
        self.written = 0
        self.statements = 0
        self.unplaced = 0


class Store(Protocol):
    """An open database. Its methods are for the event loop's thread."""

    @property
    def counters(self) -> Counters:
        """What was done so far."""

    @property
    def shared(self) -> bool:
        """Whether other processes may work on the same database."""

    async def open(self) -> None:
        """Open the database. The schema must be there."""

    async def close(self) -> None:
        """Commit what was handed over, and close."""

    def accept(self, acceptance: Acceptance) -> None:
        """Hand over the events of one request; its `done` is called on the loop when it is known.

        Where it can't be known whether the events were committed, the outcome is FAILED with
        `Unavailable`: an idempotency key tells.
        """

    def settle(self, settlement: Settlement) -> None:
        """Hand over what became of a try; its `done` is called on the loop after the commit."""

    def settle_along(self, settlement: Settlement) -> None:
        """Do the same for a try that nobody waits for: it is written along with others.

        Where nothing else is written, it is some milliseconds later.
        """

    async def write(
        self, fn: Callable[[Connection], T], after: Callable[[T], None] | None = None
    ) -> T:
        """Run `fn` in a thread, in a transaction that no other one can be told apart from.

        `fn` may be run several times, where its transaction has to be repeated. `after` gets its
        result on the loop, right after the commit and, in this process, before that of any later
        write: what is kept in memory follows the database without a gap.

        Raises:
            Unavailable: the transaction could not be committed; or, where the connection was lost
                meanwhile, nobody knows.
            Exception: what `fn` raised; nothing of it holds. What `after` raised; it holds.
        """

    async def read(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn` on a read-only connection, in one snapshot, in a thread.

        Raises:
            Unavailable: too many reads wait already, or the database does not answer.
        """

    async def read_owed(self, fn: Callable[[Connection], T]) -> T:
        """Run `fn` on a read-only connection, for what is owed: it waits for no other reads.

        Two statements in it need not see one state of the database. Whoever calls it bounds how
        many wait.

        Raises:
            Unavailable: the database does not answer.
        """
