"""The pipeline of acceptances: events, their keys and what is owed of them.

Nobody waits long for an answer: what takes longer than `answer_s`, or meets a database that is
known to be away, is answered with 503. Whether it holds is unknown then; a key tells.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Sequence
from typing import Final, TypeVar

import psycopg
import structlog

from waypost.model.errors import Unavailable
from waypost.storage.changes import Acceptance, Entry, Outcome
from waypost.storage.postgres import hot
from waypost.storage.postgres.failures import Failure, answer, judge
from waypost.storage.postgres.pipeline import Batch, Pipeline
from waypost.storage.postgres.session import Session
from waypost.storage.store import Counters

T = TypeVar("T")

_log = structlog.get_logger(__name__)

MAX_ROWS: Final = 5_000
"""Rows in one statement, about: what is over it waits for the next."""

MAX_BYTES: Final = 16 * 1024 * 1024
"""Bytes of payloads in one statement, about."""

APART_S: Final = 0.004
"""How much later than the last one a batch begins: somebody waits for each answer."""

# To ask a class of an enumeration for its member costs as much as a call.
_COMMITTED: Final = Outcome.COMMITTED

_STATEMENTS: Final = {
    (False, False): hot.ACCEPT,
    (True, False): hot.ACCEPT_KEYED,
    (False, True): hot.ACCEPT_ORDERED,
    (True, True): hot.ACCEPT_KEYED_ORDERED,
}
"""By whether there are idempotency keys, and places in an order."""

_TRIES: Final = 5
"""How often a batch is written again after a deadlock."""

_LOOKS: Final = 4
"""How often in `answer_s` it is looked whether something has waited too long."""


class Acceptor(Pipeline[Acceptance]):
    """Writes acceptances, each batch by one statement."""

    def __init__(
        self, connect: Callable[[str], Session], counters: Counters, answer_s: float
    ) -> None:
        """Take how to connect, what counts, and how long an answer may take."""
        super().__init__("accept", connect, apart_s=APART_S)
        self._counters = counters
        self._answer_s = answer_s
        self._watching = False
        self._again: list[Acceptance] = []

    # Below: the loop's thread.

    def submit(self, change: Acceptance) -> None:
        """Hand an acceptance over; where the database is away it is refused."""
        batch = self.batch
        if self.is_down or self._stopping or (batch is not None and batch.abandoned):
            self.loop.call_soon(_refuse, [change], Unavailable())
            return
        super().submit(change)
        if not self._watching:
            self._watching = True
            self.loop.call_later(self._answer_s / _LOOKS, self._look)

    async def stop(self) -> None:
        """Write what was handed over, or refuse it where that can't be."""
        await super().stop()
        self._refuse_waiting()
        await asyncio.sleep(0)

    def _look(self) -> None:
        """Answer what has waited too long; look again as long as something waits."""
        batch, patience_s = self.batch, self._answer_s * (_LOOKS - 1) / _LOOKS
        if batch is not None and not batch.abandoned:
            age = self.loop.time() - batch.begun
            if age > patience_s:
                batch.abandoned = True
                _log.warning("commit_slow", acceptances=len(batch.changes), seconds=round(age, 3))
                _refuse(batch.changes, Unavailable())
                self._refuse_waiting()
        since = self.connecting_since
        if batch is None and since is not None and self.loop.time() - since > patience_s:
            self._refuse_waiting()
        self._watching = self.batch is not None or bool(self._inbox)
        if self._watching:
            self.loop.call_later(self._answer_s / _LOOKS, self._look)

    def _refuse_waiting(self) -> None:
        waiting: list[Acceptance] = []
        while self._inbox:
            try:
                waiting.append(self._inbox.popleft())
            except IndexError:  # the other thread was faster
                break
        _refuse(waiting, Unavailable())

    # Below: the pipeline's thread.

    def has_work(self) -> bool:
        """Tell whether something is to be written."""
        return bool(self._again) or super().has_work()

    def take(self, inbox: deque[Acceptance]) -> list[Acceptance]:
        """Take what waits, up to the limits."""
        # What has waited too long was refused by the loop.
        found = [change for change in self._again if change.outcome is None]
        self._again = []
        rows = size = 0
        while inbox and rows < MAX_ROWS and size < MAX_BYTES:
            try:
                change = inbox.popleft()
            except IndexError:  # the loop has refused it meanwhile
                break
            found.append(change)
            for entry in change.entries:
                rows += 1 + len(entry.owed)
                size += len(entry.row[3])
        return found

    def went_down(self) -> None:
        """Refuse what waits."""
        self.post(self._refuse_waiting)

    def failed(self, batch: Batch[Acceptance], error: Exception) -> None:
        """Answer what was not answered yet: unknown."""
        failure = judge(error)
        unanswered = [change for change in batch.changes if change.outcome is None]
        for change in unanswered:
            change.outcome, change.error = Outcome.FAILED, answer(failure)
        self._again = []
        self._answer(unanswered)
        self.batch = None

    def write(self, session: Session, batch: Batch[Acceptance]) -> None:
        """Write a batch: a request with several keyed events by itself, the others together."""
        together: list[Acceptance] = []
        for one in batch.changes:
            if not one.keyed or len(one.entries) == 1:
                together.append(one)
                continue
            if together:
                self._write_some(session, together)
                together = []
            self._write_alone(session, one)
        if together:
            self._write_some(session, together)
        self.batch = None

    def _write_some(self, session: Session, changes: list[Acceptance]) -> None:
        """Write acceptances by one statement; halve them where one of them can't be written."""
        try:
            answered = _retried(lambda: self._accept(session, _open(changes)))
        except Exception as error:  # whatever it is: a value may be refused before it is sent
            failure = judge(error)
            if failure is Failure.LOST:
                raise
            changes = _open(changes)
            if failure is Failure.DATA and len(changes) > 1:
                middle = len(changes) // 2
                self._write_some(session, changes[:middle])
                self._write_some(session, changes[middle:])
                return
            self.refused(failure, len(changes), error)
            for change in changes:
                change.outcome, change.error = Outcome.FAILED, answer(failure)
            answered = changes
        if answered:
            self._answer(answered)

    def _accept(self, session: Session, changes: list[Acceptance]) -> list[Acceptance]:
        """Write acceptances; return those that have their outcome and were not told of it yet."""
        if not changes:  # the loop has refused them meanwhile
            return []
        firsts: dict[tuple[bytes, str], Acceptance] = {}
        repeats: list[Acceptance] = []
        settled = changes
        keyed = [change for change in changes if change.keyed]
        if keyed:
            settled = [change for change in changes if not change.keyed]
            for change in keyed:
                name = (change.project_id, change.entries[0].key or "")
                if firsts.setdefault(name, change) is not change:
                    repeats.append(change)
        claims = sorted(_claim(change, change.entries[0]) for change in firsts.values())
        won = self._insert(session, [*settled, *firsts.values()], claims)
        if won is None:
            return self._find_stale(session, changes)
        lost = repeats
        for change in firsts.values():
            change.entries[0].duplicate_of = None
            (settled if change.entries[0].event_id in won else lost).append(change)
        for change in settled:
            change.outcome = _COMMITTED
        self._counters.written += sum([len(change.entries) for change in settled])
        self._counters.commits += 1
        self._counters.syncs += 1
        self.succeeded()
        if not lost:
            return settled
        # Told now: they hold, whatever becomes of the others.
        self._answer(settled)
        return self._repeated(session, lost)

    def _insert(
        self,
        session: Session,
        changes: list[Acceptance],
        claims: Sequence[tuple[object, ...]],
    ) -> set[bytes] | None:
        """Write; return the events whose keys were won, or None where a routing was stale."""
        values = hot.accept_values(changes)
        ordered = any(change.ordered for change in changes)
        if ordered:
            values += hot.order_values(changes)
        if claims:
            values += hot.claim_values(claims, max(change.now_us for change in changes))
        result = session.run(_STATEMENTS[bool(claims), ordered], values)
        won = {result.get_value(row, 0) for row in range(result.ntuples)}
        return None if None in won else {event_id for event_id in won if event_id is not None}

    def _find_stale(self, session: Session, changes: list[Acceptance]) -> list[Acceptance]:
        """After nothing was written: return those whose routing is stale; the others come again."""
        projects = sorted({change.project_id for change in changes})
        result = session.run(hot.VERSIONS, hot.versions_values(projects))
        versions = {
            result.get_value(row, 0): int.from_bytes(result.get_value(row, 1) or b"", "big")
            for row in range(result.ntuples)
        }
        stale: list[Acceptance] = []
        for change in changes:
            if versions.get(change.project_id) != change.routing_version:
                change.outcome = Outcome.STALE
                stale.append(change)
            else:
                self._again.append(change)
        return stale

    def _repeated(self, session: Session, lost: list[Acceptance]) -> list[Acceptance]:
        """Say of each whose key was held who holds it; one whose key is free by now comes again."""
        held = self._holders(session, [(change, change.entries[0]) for change in lost])
        answered: list[Acceptance] = []
        for change in lost:
            entry = change.entries[0]
            if entry.event_id not in held:
                self._again.append(change)
                continue
            holder, same = held[entry.event_id]
            entry.duplicate_of = holder if same else None
            change.outcome = Outcome.COMMITTED if same else Outcome.MISMATCH
            change.at_index = 0
            answered.append(change)
        return answered

    def _holders(
        self, session: Session, lost: Sequence[tuple[Acceptance, Entry]]
    ) -> dict[bytes, tuple[bytes, bool]]:
        """Return, and note as receipts, which event holds the key of each, with the same body?"""
        rows = [
            (a.project_id, entry.key, entry.event_id, a.key_id, entry.fingerprint)
            for a, entry in lost
        ]
        result = session.run(hot.REPEATED, hot.repeated_values(rows))
        held: dict[bytes, tuple[bytes, bool]] = {}
        for row in range(result.ntuples):
            event_id, holder = result.get_value(row, 0), result.get_value(row, 1)
            if event_id is not None and holder is not None:
                held[event_id] = (holder, result.get_value(row, 2) == b"\x01")
        return held

    def _write_alone(self, session: Session, change: Acceptance) -> None:
        """Write a request with several keyed events: all of it, or nothing."""
        try:
            _retried(lambda: self._accept_alone(session, change))
        except Exception as error:  # as above
            failure = judge(error)
            if failure is Failure.LOST:
                raise
            self.refused(failure, 1, error)
            change.outcome, change.error = Outcome.FAILED, answer(failure)
        if change.outcome is not None:
            self._answer([change])

    def _accept_alone(self, session: Session, change: Acceptance) -> None:
        firsts: dict[str, Entry] = {}
        repeats: list[Entry] = []
        for entry in change.entries:
            entry.duplicate_of = None
            if entry.key is not None and firsts.setdefault(entry.key, entry) is not entry:
                repeats.append(entry)
        mismatch = [e for e in repeats if e.fingerprint != firsts[e.key or ""].fingerprint]
        session.begin()
        try:
            done = self._attempt_alone(session, change, firsts, repeats, mismatch)
        except Exception as error:  # as above
            if judge(error) is not Failure.LOST:
                session.roll_back()
            raise
        if done:
            session.commit()
            change.outcome = Outcome.COMMITTED
            self.succeeded()
            self._counters.commits += 1
            self._counters.syncs += 1
            self._counters.written += sum(e.duplicate_of is None for e in change.entries)
        else:
            session.roll_back()
            self._note_mismatch(session, change)

    def _attempt_alone(
        self,
        session: Session,
        change: Acceptance,
        firsts: dict[str, Entry],
        repeats: list[Entry],
        mismatch: list[Entry],
    ) -> bool:
        """Write it in the transaction that is begun; return whether it is to be committed."""
        fresh = [e for e in change.entries if e.key is None or firsts[e.key] is e]
        part = Acceptance(
            change.project_id,
            change.key_id,
            change.routing_version,
            fresh,
            change.now_us,
            change.keys_expire_us,
            change.done,
            keyed=True,
            ordered=change.ordered,
        )
        claims = sorted(_claim(change, entry) for entry in firsts.values())
        won = self._insert(session, [part], claims)
        if won is None:
            change.outcome = Outcome.STALE
            return False
        lost = [entry for entry in firsts.values() if entry.event_id not in won]
        held = self._holders(session, [(change, e) for e in lost + repeats])
        if any(entry.event_id not in held for entry in lost):
            self._again.append(change)
            return False
        wrong = [e for e in change.entries if e.event_id in held and not held[e.event_id][1]]
        if wrong or mismatch:
            first = next(e for e in change.entries if e in wrong or e in mismatch)
            change.outcome = Outcome.MISMATCH
            change.at_index = change.entries.index(first)
            return False
        for entry in lost + repeats:
            entry.duplicate_of = held[entry.event_id][0]
        return True

    def _note_mismatch(self, session: Session, change: Acceptance) -> None:
        """Leave a receipt at the event that holds the key, unless it was refused along."""
        if change.outcome is Outcome.MISMATCH:
            self._holders(session, [(change, change.entries[change.at_index])])

    def _answer(self, changes: list[Acceptance]) -> None:
        self.post(lambda: _deliver(changes))


def _open(changes: list[Acceptance]) -> list[Acceptance]:
    """Return those that have no outcome yet."""
    return [change for change in changes if change.outcome is None]


def _claim(change: Acceptance, entry: Entry) -> tuple[object, ...]:
    return (
        change.project_id,
        entry.key,
        entry.event_id,
        entry.fingerprint,
        change.keys_expire_us,
    )


def _retried(run: Callable[[], T]) -> T:
    """Run again what met another transaction."""
    for _ in range(_TRIES - 1):
        try:
            return run()
        except psycopg.Error as error:
            if judge(error) is not Failure.CLASH:
                raise
    return run()


def _refuse(changes: Sequence[Acceptance], error: Exception) -> None:
    for change in changes:
        change.outcome = Outcome.FAILED
        change.error = error
    _deliver(changes)


def _told(_: Acceptance) -> None:
    """Stand in for what was called: each acceptance is answered once, by the loop alone."""


def _deliver(changes: Sequence[Acceptance]) -> None:
    for change in changes:
        done, change.done = change.done, _told
        try:
            done(change)
        except Exception:  # noqa: BLE001 - the others' answers must get through
            _log.exception("completion_failed", change="Acceptance")
