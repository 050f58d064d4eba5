"""The pipeline of settlements: what became of tries.

A settlement is kept until it is written, however long the database is away. It may have been
written although the connection was lost before that was known: writing it again finds that out.
"""

from collections import deque
from collections.abc import Callable, Sequence
from typing import Final

import psycopg
import structlog

from waypost.model.delivery import DeliveryState
from waypost.storage import partitions
from waypost.storage.changes import Settlement
from waypost.storage.postgres import hot, late
from waypost.storage.postgres.failures import Failure, judge, shown
from waypost.storage.postgres.pipeline import Batch, Pipeline
from waypost.storage.postgres.session import Session, Statement
from waypost.storage.store import Counters

_log = structlog.get_logger(__name__)

MAX_ROWS: Final = 2_000
"""Settlements in one batch."""

APART_S: Final = 0.01
"""How much later than the last one a batch begins: nobody waits for it but a slot."""

_TRIES: Final = 5
"""How often a batch is written again after a deadlock."""

_RETRY_S: Final = 0.5
_DELIVERED: Final = DeliveryState.DELIVERED.value

Values = Callable[[Sequence[Settlement]], hot.Values]


class Settler(Pipeline[Settlement]):
    """Writes settlements: each batch by one statement, or two where not all were first tries."""

    def __init__(self, connect: Callable[[str], Session], counters: Counters) -> None:
        """Take how to connect, and what counts."""
        super().__init__("settle", connect, apart_s=APART_S)
        self._counters = counters
        self._kept: list[Settlement] = []

    # Below: the pipeline's thread.

    def has_work(self) -> bool:
        """Tell whether something is to be written."""
        return bool(self._kept) or super().has_work()

    def take(self, inbox: deque[Settlement]) -> list[Settlement]:
        """Take what has to be written again, and what waits."""
        found = self._kept
        self._kept = []
        while inbox and len(found) < MAX_ROWS:
            found.append(inbox.popleft())
        return found

    def failed(self, batch: Batch[Settlement], error: Exception) -> None:
        """Keep what was not answered: it is written again."""
        del error
        self._kept = batch.changes
        self.batch = None

    def went_down(self) -> None:
        """Go on waiting: what is owed stays owed."""

    def write(self, session: Session, batch: Batch[Settlement]) -> None:
        """Write a batch: first tries that delivered, which are by far the most, and all others."""
        firsts: list[Settlement] = []
        others: list[Settlement] = []
        for one in batch.changes:
            one.late = False
            is_first = (
                one.attempts == 0 and one.delivery is not None and one.delivery[4] == _DELIVERED
            )
            (firsts if is_first else others).append(one)
        if firsts:
            firsts.sort(key=_place)
            self._write_some(session, batch, firsts, hot.DELIVERED, hot.delivered_values)
        if others:
            others.sort(key=_place)
            self._write_some(session, batch, others, hot.OTHERS, hot.others_values)
        self.batch = None

    def _write_some(
        self,
        session: Session,
        batch: Batch[Settlement],
        some: list[Settlement],
        statement: Statement,
        values: Values,
    ) -> None:
        """Write settlements by one statement; halve them where one of them can't be written."""
        try:
            self._settle(session, some, statement, values)
        except Exception as error:  # whatever it is: a value may be refused before it is sent
            failure = judge(error)
            if failure is Failure.LOST:
                raise
            if failure is Failure.DATA and len(some) > 1:
                middle = len(some) // 2
                self._write_some(session, batch, some[:middle], statement, values)
                self._write_some(session, batch, some[middle:], statement, values)
                return
            self.refused(failure, len(some), error)
            # Owed until it is settled: tried again, however long it takes.
            self.post(lambda: self._submit_later(some))
        else:
            self.succeeded()
            self.post(lambda: _deliver(some))
        if len(some) == len(batch.changes):
            batch.changes = []
        else:
            answered = set(map(id, some))
            batch.changes = [one for one in batch.changes if id(one) not in answered]

    def _settle(
        self, session: Session, some: list[Settlement], statement: Statement, values: Values
    ) -> None:
        for attempt in range(_TRIES):
            try:
                on_time = hot.places(session.run(statement, values(some)))
                break
            except psycopg.Error as error:
                if judge(error) is not Failure.CLASH or attempt == _TRIES - 1:
                    raise
        self._counters.commits += 1
        self._counters.syncs += 1
        if on_time is not None:
            for place, one in enumerate(some):
                if place not in on_time:
                    one.late = not self._record_late(session, one)

    def _record_late(self, session: Session, one: Settlement) -> bool:
        """Record a late settlement; return whether it holds after all."""
        try:
            return late.record(session, one)
        except psycopg.Error as error:
            if not partitions.lacks_place(error):
                raise
            # Retention has taken its event, with the partition that the attempt belongs into.
            self._counters.unplaced += 1
            _log.warning("late_result_dropped", delivery=one.delivery_id.hex(), error=shown(error))
            return False

    # Below: the loop's thread.

    def _submit_later(self, some: Sequence[Settlement]) -> None:
        for one in some:
            self.loop.call_later(_RETRY_S, self.submit, one)


def _place(settlement: Settlement) -> tuple[bytes, bytes]:
    """Return what batches are sorted by: two that meet wait for each other in one order."""
    return settlement.project_id, settlement.delivery_id


def _deliver(some: Sequence[Settlement]) -> None:
    for one in some:
        try:
            one.done(one)
        except Exception:  # noqa: BLE001 - the others' answers must get through
            _log.exception("completion_failed", change="Settlement")
