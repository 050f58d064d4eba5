"""The planted bugs: what a product could get wrong, each as a patch of ours.

None of them shows while nothing crashes, or nothing races, or nobody counts.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from typing import Any

from tests.torture.crash_points import patch
from waypost.engine.dispatcher import Dispatcher
from waypost.engine.ingest import Accepted, Ingest
from waypost.storage import chains, queue
from waypost.storage.changes import Acceptance, Row, Settlement
from waypost.storage.sqlite import connection, hot
from waypost.storage.sqlite.committer import Write
from waypost.storage.sqlite.hot import INSERT_QUEUE
from waypost.storage.sqlite.store import SqliteStore
from waypost.storage.store import Store


def acknowledge_before_the_commit() -> None:
    """Answer a producer as soon as the events are handed over."""
    accept = SqliteStore.accept

    def patched(self: SqliteStore, acceptance: Acceptance) -> None:
        asked, drafts = acceptance.context
        done, asked.done = asked.done, lambda _: None
        accept(self, acceptance)
        done(
            [
                Accepted(entry.event_id, draft.type, draft.payload, duplicate=False)
                for entry, draft in zip(acceptance.entries, drafts, strict=True)
            ]
        )

    patch(SqliteStore, "accept", patched)


def owe_in_a_later_transaction() -> None:
    """Commit an event alone; what it is owed follows in a transaction of its own."""
    accept, answer = hot.accept, Ingest._answer

    def without_owed(
        cursor: sqlite3.Cursor, acceptances: Sequence[Acceptance], versions: dict[bytes, int]
    ) -> int:
        kept = [(entry, entry.owed) for a in acceptances for entry in a.entries]
        for entry, _ in kept:
            entry.owed = []
        written = accept(cursor, acceptances, versions)
        for entry, owed in kept:
            entry.owed = owed
        return written

    def patched(self: Ingest, acceptance: Acceptance, *args: Any) -> None:
        rows = [row for e in acceptance.entries if e.duplicate_of is None for row in e.owed]
        _write(
            self._store,
            lambda cursor: INSERT_QUEUE.run(cursor, rows),
            then=lambda: answer(self, acceptance, *args),
        )

    patch(hot, "accept", without_owed)
    patch(Ingest, "_answer", patched)


def sync_seldom() -> None:
    """Open the database as SQLite does by default in WAL mode elsewhere: commits are not synced."""
    inner = connection._open

    def patched(*args: Any, **named: Any) -> sqlite3.Connection:
        raw = inner(*args, **named)
        raw.execute("PRAGMA synchronous = NORMAL")
        return raw

    patch(connection, "_open", patched)


def drop_on_410() -> None:
    """Forget what a receiver that is gone was owed."""
    settle = hot.settle

    def patched(cursor: sqlite3.Cursor, settlements: Sequence[Settlement]) -> None:
        for settlement in settlements:
            if settlement.delivery is not None and settlement.delivery[7] == "receiver_gone":
                settlement.diverted = None
        settle(cursor, settlements)

    def forget(
        cursor: sqlite3.Cursor, project_id: bytes, _: bytes, owed: Sequence[Row], **_named: Any
    ) -> None:
        _forget(cursor, [(project_id, row[0]) for row in owed])

    patch(hot, "settle", patched)
    patch(hot, "end_untried", forget)


def settle_before_the_outcome() -> None:
    """Take a delivery out of the queue as it is sent; its outcome is written when it is known."""
    send = Dispatcher._send

    def patched(self: Dispatcher, receiver: Any, work: Any, *rest: Any) -> None:
        key = (receiver.subscription.project_id, work.id)
        _write(self._store, lambda cursor: _forget(cursor, [key]))
        send(self, receiver, work, *rest)

    def put_back(cursor: sqlite3.Cursor, settlement: Settlement, due_us: int) -> None:
        settlement.late = False
        INSERT_QUEUE.run(cursor, [_retried(settlement, due_us)])

    patch(Dispatcher, "_send", patched)
    patch(hot, "_reschedule", put_back)


def look_for_keys_outside_the_transaction() -> None:
    """Look whether a key was used before, then write whatever was found."""
    accept = Ingest.accept
    tasks: set[asyncio.Task[None]] = set()

    def patched(
        self: Ingest, principal: Any, drafts: Sequence[Any], done: Any, origin: Any = None
    ) -> None:
        async def look_first() -> None:
            keys = [draft.attributes.idempotency_key for draft in drafts]
            found = await self._store.read(
                lambda connection: [_find_key(connection, principal.project_id, k) for k in keys]
            )
            if None in found:
                accept(self, principal, drafts, done, origin)
                return
            both = zip(found, drafts, strict=True)
            done(
                [
                    Accepted(event_id or b"", d.type, d.payload, duplicate=True)
                    for event_id, d in both
                ]
            )

        task = asyncio.get_running_loop().create_task(look_first())
        tasks.add(task)
        task.add_done_callback(tasks.discard)

    def claim(self: Any, acceptance: Acceptance) -> bool:
        for entry in acceptance.entries:
            if entry.key is not None:
                self._cursor.execute(hot._DROP_KEY, (acceptance.project_id, entry.key))
                row = (acceptance.project_id, entry.key, entry.event_id, entry.fingerprint)
                hot._INSERT_KEYS.run(self._cursor, [(*row, acceptance.keys_expire_us)])
        return True

    patch(Ingest, "accept", patched)
    patch(hot._Claims, "claim", claim)


def remember_retries_in_memory() -> None:
    """Take a failed delivery out of the queue; that it is due again, only the lane knows."""

    def drop(cursor: sqlite3.Cursor, settlement: Settlement, _: int) -> None:
        settlement.late = False
        _forget(cursor, [(settlement.project_id, settlement.delivery_id)])

    patch(hot, "_reschedule", drop)


def move_on_before_owing() -> None:
    """Commit how far a replay has come, and then, in another transaction, what it owes."""
    owed_by = Dispatcher.owed

    def patched(self: Dispatcher, owed: Sequence[Any]) -> None:
        rows = [queue.owed_row(one) for one in owed]
        _write(
            self._store,
            lambda cursor: INSERT_QUEUE.run(cursor, rows),
            then=lambda: owed_by(self, owed),
        )

    patch(queue, "insert", lambda *_: None)
    patch(Dispatcher, "owed", patched)


def pass_by_what_failed() -> None:
    """Begin a chain behind those of its deliveries that have failed and are due later."""
    inner = chains._open

    def patched(found: dict[str, list[Any]], until: dict[str, int]) -> dict[str, list[Any]]:
        fresh = {key: [row for row in rows if not row.attempts] for key, rows in found.items()}
        return inner({key: fresh[key] or rows for key, rows in found.items()}, until)

    patch(chains, "_open", patched)


def stop_without_waiting() -> None:
    """Go down at once when asked to stop, whatever is in flight."""
    drain = Dispatcher.drain

    async def patched(self: Dispatcher, _: float) -> None:
        await drain(self, 0.0)

    patch(Dispatcher, "drain", patched)


def _write(
    store: Store,
    fn: Callable[[sqlite3.Cursor], None],
    then: Callable[[], None] = lambda: None,
) -> None:
    """Have something written in a transaction of its own."""
    assert isinstance(store, SqliteStore)

    def run(connection: Any) -> None:
        fn(connection.connection.driver_connection.cursor())

    store.committer.submit(Write(run, lambda _: then()))


def _forget(cursor: sqlite3.Cursor, keys: Sequence[tuple[bytes, bytes]]) -> None:
    cursor.executemany("DELETE FROM queue WHERE project_id = ? AND id = ?", keys)


def _retried(settlement: Settlement, due_us: int) -> Row:
    subscription_id = settlement.attempt[4]
    return (
        settlement.project_id,
        settlement.delivery_id,
        settlement.event_id,
        subscription_id,
        1,
        due_us,
        settlement.attempts + 1,
    )


def _find_key(connection: Any, project_id: bytes, key: str | None) -> bytes | None:
    raw = connection.connection.driver_connection
    row = raw.execute(hot._FIND_KEY, (project_id, key, 0)).fetchone()
    return None if row is None else bytes(row[0])


BUGS: dict[str, Callable[[], None]] = {
    "ack-before-commit": acknowledge_before_the_commit,
    "fan-out-later": owe_in_a_later_transaction,
    "sync-seldom": sync_seldom,
    "drop-on-410": drop_on_410,
    "settle-early": settle_before_the_outcome,
    "keys-outside": look_for_keys_outside_the_transaction,
    "retry-in-memory": remember_retries_in_memory,
    "replay-position-first": move_on_before_owing,
    "pass-by-failed": pass_by_what_failed,
    "stop-without-waiting": stop_without_waiting,
}
