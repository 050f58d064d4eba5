"""The few statements that run for every event, written by hand for SQLite.

Each works on many rows at once: one call of the database library for many rows costs the
interpreter one release of its lock, not one a row. Statements are kept prepared for some row
counts, so that a batch of up to 128 rows is made of one or two, mostly.
"""

import sqlite3
from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Final

from waypost.model.delivery import DeliveryState
from waypost.storage.changes import Acceptance, Entry, Outcome, Row, Settlement
from waypost.storage.sqlite.packed import (
    MAX_ROWS,
    Kind,
    PackedInsert,
    Together,
    id_at,
    pack_ids,
    pack_numbers,
)

_SIZES: Final = (128, 96, 64, 48, 32, 24, *range(16, 0, -1))


class _Insert:
    """A multi-row INSERT into one table."""

    def __init__(self, table: str, columns: Sequence[str]) -> None:
        row = f"({','.join('?' * len(columns))})"
        self._statements = {
            size: f"INSERT INTO {table} ({','.join(columns)}) VALUES {','.join([row] * size)}"
            for size in _SIZES
        }

    def run(self, cursor: sqlite3.Cursor, rows: list[Row]) -> None:
        """Insert all rows."""
        at = 0
        for size in _SIZES:
            while len(rows) - at >= size:
                part = rows[at : at + size]
                cursor.execute(self._statements[size], list(chain.from_iterable(part)))
                at += size


_EVENT: Final = {
    "project_id": Kind.ID,
    "id": Kind.ID,
    "type": Kind.TEXT,
    "payload": Kind.BLOB,
    "attributes": Kind.BLOB,
    "routing_version": Kind.NUMBER,
}
_INSERT_EVENTS: Final = PackedInsert("events", _EVENT)
_INSERT_PLAIN_EVENTS: Final = PackedInsert("events", {**_EVENT, "attributes": Kind.NULL})
_INSERT_FRESH: Final = PackedInsert(
    "queue",
    {
        "project_id": Kind.ID,
        "id": Kind.ID,
        "event_id": Kind.ID,
        "subscription_id": Kind.ID,
        "class": Kind.SHARED,
        "due_us": Kind.NUMBER,
        "attempts": Kind.SHARED,
    },
)
_INSERT_DELIVERED: Final = PackedInsert(
    "deliveries",
    {
        "project_id": Kind.ID,
        "event_id": Kind.ID,
        "id": Kind.ID,
        "subscription_id": Kind.ID,
        "state": Kind.SHARED,
        "attempts": Kind.SHARED,
        "finished_us": Kind.NUMBER,
        "reason": Kind.NULL,
        "status_code": Kind.SHARED,
        "response": Kind.BLOB,
        "timings": Kind.BLOB,
        "resent": Kind.SHARED,
    },
)
_QUEUE: Final = ("project_id", "id", "event_id", "subscription_id", "class", "due_us", "attempts")
_Timed = list[tuple[Entry, int]]
INSERT_QUEUE: Final = _Insert("queue", _QUEUE)
_INSERT_NUMBERED_EVENTS: Final = _Insert("events", (*_EVENT, "sequence"))
_INSERT_NUMBERED_QUEUE: Final = _Insert("queue", (*_QUEUE, "ordering_key", "sequence"))
INSERT_OWED: Final = _Insert("queue", (*_QUEUE, "ordering_key", "sequence", "replay_id"))
_COUNT_UP: Final = (
    "INSERT INTO ordering_counters AS c (project_id, name, last) VALUES (?1, ?2, ?3 + ?4) "
    "ON CONFLICT (project_id, name) DO UPDATE SET last = max(c.last, ?3) + ?4 RETURNING last"
)
_INSERT_FAN_OUTS: Final = _Insert(
    "fan_outs",
    ("project_id", "event_id", "subscriptions", "position", "ordering_key", "sequence"),
)
_INSERT_KEYS: Final = _Insert(
    "idempotency_keys", ("project_id", "key", "event_id", "fingerprint", "expires_at_us")
)
_INSERT_RECEIPTS: Final = _Insert(
    "receipts", ("project_id", "event_id", "id", "key_id", "same_body")
)
_INSERT_DELIVERIES: Final = _Insert(
    "deliveries",
    (
        *("project_id", "event_id", "id", "subscription_id", "state", "attempts", "finished_us"),
        *("reason", "status_code", "response", "timings", "resent"),
    ),
)
_INSERT_ATTEMPTS: Final = _Insert(
    "attempts",
    (
        "project_id",
        "event_id",
        "id",
        "delivery_id",
        "subscription_id",
        "number",
        "state",
        "status_code",
        "response",
        "same_as",
        "timings",
        "resent",
    ),
)
_INSERT_DIVERTED: Final = _Insert(
    "diverted_events",
    ("project_id", "id", "event_id", "subscription_id", "reason", "diverted_us", "attempts"),
)
_DELETE_OWED: Final = (
    "DELETE FROM queue WHERE project_id = ?2 AND attempts = ?3 "
    f"AND id IN (SELECT {id_at(4)} FROM json_each(?1))"
)
_ACCEPT: Final = Together("accept", _INSERT_PLAIN_EVENTS.statement, _INSERT_FRESH.statement)
_DELIVER: Final = Together(
    "deliver",
    _DELETE_OWED,
    # Somebody else has ended one of them: what follows is not theirs.
    "SELECT RAISE(ABORT, 'late') WHERE changes() <> ?1",
    _INSERT_DELIVERED.statement,
)
_FIND_KEY: Final = (
    "SELECT event_id, fingerprint FROM idempotency_keys "
    "WHERE project_id = ? AND key = ? AND expires_at_us > ?"
)
_DROP_KEY: Final = "DELETE FROM idempotency_keys WHERE project_id = ? AND key = ?"
_IS_OWED: Final = "SELECT 1 FROM queue WHERE project_id = ? AND id = ?"
_IS_FINAL: Final = "SELECT 1 FROM deliveries WHERE project_id = ? AND event_id = ? AND id = ?"
_RETRY: Final = (
    "UPDATE queue SET class = 1, due_us = ?, attempts = attempts + 1 "
    "WHERE project_id = ? AND id = ? AND attempts = ?"
)
_SAME_RESPONSE: Final = (
    "SELECT id FROM attempts WHERE project_id = :project AND event_id = :event "
    "AND id = :delivery AND response = :response "
    "UNION ALL SELECT id FROM (SELECT id, delivery_id, response FROM attempts "
    "WHERE project_id = :project AND event_id = :event ORDER BY id DESC LIMIT 100) "
    "WHERE delivery_id = :delivery AND response = :response LIMIT 1"
)
"""Looks at the first try, which has the delivery's id, and at the event's latest: where an event
has many subscriptions there are too many to look through at each try."""
_COMMITTED: Final = Outcome.COMMITTED
_STALE: Final = Outcome.STALE
_DELIVERED: Final = int(DeliveryState.DELIVERED)
_NO_TRY: Final = (None, None, None, None)
"""In the row of a delivery that has its attempts elsewhere, or none."""

_REFERENCE_FROM_BYTES: Final = 64
"""A response shorter than this is cheaper to keep again than to look for."""


class _Claims:
    """The idempotency keys of one batch: what the database holds and what the batch adds."""

    def __init__(self, cursor: sqlite3.Cursor) -> None:
        self._cursor = cursor
        self._taken: dict[tuple[bytes, str], tuple[bytes, bytes]] = {}
        self.rows: list[Row] = []
        self.receipts: list[Row] = []

    def claim(self, acceptance: Acceptance) -> bool:
        """Claim every key of a request, or none: False where one was used for another body."""
        fresh: dict[tuple[bytes, str], tuple[bytes, bytes]] = {}
        receipts: list[Row] = []
        for index, entry in enumerate(acceptance.entries):
            entry.duplicate_of = None
            if entry.key is None:
                continue
            name = (acceptance.project_id, entry.key)
            held = fresh.get(name) or self._taken.get(name) or self._find(name, acceptance.now_us)
            if held is None:
                fresh[name] = (entry.event_id, entry.fingerprint)
                continue
            same = held[1] == entry.fingerprint
            receipt = (name[0], held[0], entry.event_id, acceptance.key_id, int(same))
            if not same:
                acceptance.outcome = Outcome.MISMATCH
                acceptance.at_index = index
                if name not in fresh:  # else it repeats an event that is refused along with it
                    self.receipts.append(receipt)
                return False
            entry.duplicate_of = held[0]
            receipts.append(receipt)
        self._keep(acceptance, fresh, receipts)
        return True

    def write(self) -> None:
        """Write what was claimed, and the receipts of what was held."""
        if self.rows:
            _INSERT_KEYS.run(self._cursor, self.rows)
        if self.receipts:
            _INSERT_RECEIPTS.run(self._cursor, self.receipts)

    def _find(self, name: tuple[bytes, str], now_us: int) -> tuple[bytes, bytes] | None:
        found: tuple[bytes, bytes] | None = self._cursor.execute(
            _FIND_KEY, (*name, now_us)
        ).fetchone()
        return found

    def _keep(
        self,
        acceptance: Acceptance,
        fresh: dict[tuple[bytes, str], tuple[bytes, bytes]],
        receipts: list[Row],
    ) -> None:
        self._taken.update(fresh)
        self.receipts += receipts
        for name, (event_id, fingerprint) in fresh.items():
            # An expired key of the same name may still stand there.
            self._cursor.execute(_DROP_KEY, name)
            self.rows.append((*name, event_id, fingerprint, acceptance.keys_expire_us))


def accept(
    cursor: sqlite3.Cursor, acceptances: Iterable[Acceptance], versions: dict[bytes, int]
) -> int:
    """Write every acceptance whose routing is still in force; set each one's `outcome`.

    Returns:
        How many events were written.
    """
    claims = _Claims(cursor)
    events: list[Row] = []
    owed: list[Row] = []
    fan_outs: list[Row] = []
    numbered: list[tuple[Entry, int]] = []
    for acceptance in acceptances:
        if versions.get(acceptance.project_id) != acceptance.routing_version:
            acceptance.outcome = _STALE
            continue
        if acceptance.keyed and not claims.claim(acceptance):
            continue
        acceptance.outcome = _COMMITTED
        for entry in acceptance.entries:
            if entry.duplicate_of is None:
                if entry.counter is not None:
                    numbered.append((entry, acceptance.now_us))
                    continue
                events.append(entry.row)
                owed += entry.owed
                if entry.fan_out is not None:
                    fan_outs.append((*entry.fan_out, None, None))
    _insert_events(cursor, events, owed)
    if numbered:
        _insert_numbered(cursor, numbered, fan_outs)
    if fan_outs:
        _INSERT_FAN_OUTS.run(cursor, fan_outs)
    claims.write()
    return len(events) + len(numbered)


def _insert_events(cursor: sqlite3.Cursor, events: list[Row], owed: list[Row]) -> None:
    plain = [row for row in events if row[4] is None]
    if plain and owed and max(len(plain), len(owed)) <= MAX_ROWS:
        _ACCEPT.run(cursor, _INSERT_PLAIN_EVENTS.bind(plain) + _INSERT_FRESH.bind(owed))
    else:
        _INSERT_PLAIN_EVENTS.run(cursor, plain)
        _INSERT_FRESH.run(cursor, owed)
    if len(plain) < len(events):
        _INSERT_EVENTS.run(cursor, [row for row in events if row[4] is not None])


def _insert_numbered(cursor: sqlite3.Cursor, entries: _Timed, fan_outs: list[Row]) -> None:
    """Write events that have a place in an order, in the order of the batch, with what is owed.

    Args:
        cursor: of the connection that writes.
        entries: each beside the moment of its acceptance, UTC microseconds.
        fan_outs: their fan-outs are added to these.
    """
    by_counter: dict[tuple[bytes, str], list[tuple[Entry, int]]] = {}
    for entry, now_us in entries:
        counter = (entry.row[0], entry.counter or "")
        by_counter.setdefault(counter, []).append((entry, now_us))
    events: list[Row] = []
    owed: list[Row] = []
    for (project_id, name), group in by_counter.items():
        now_us = max(at_us for _, at_us in group)
        counted = cursor.execute(_COUNT_UP, (project_id, name, now_us, len(group)))
        first = counted.fetchone()[0] - len(group) + 1
        for sequence, (entry, _) in enumerate(group, first):
            events.append((*entry.row, sequence))
            owed += [(*row, entry.ordering_key, sequence) for row in entry.owed]
            if entry.fan_out is not None:
                fan_outs.append((*entry.fan_out, entry.ordering_key, sequence))
    _INSERT_NUMBERED_EVENTS.run(cursor, events)
    _INSERT_NUMBERED_QUEUE.run(cursor, owed)


def prepare(cursor: sqlite3.Cursor) -> None:
    """Make a connection ready for these statements."""
    # What SQLite keeps to undo a statement that fails; it would go to a file of its own each time.
    cursor.execute("PRAGMA temp_store = MEMORY")
    _ACCEPT.install(cursor)
    _DELIVER.install(cursor)


def settle(cursor: sqlite3.Cursor, settlements: Sequence[Settlement]) -> None:
    """Write what became of tried deliveries, with their attempts.

    Compare and set: a delivery that has left the queue, or was tried again since, keeps its state,
    and of the late result only the attempt is recorded (`late` is set).
    """
    others: list[Settlement] = []
    delivered: dict[Row, list[Settlement]] = {}
    for settlement in settlements:
        delivery, attempt = settlement.delivery, settlement.attempt
        if settlement.attempts or delivery is None or delivery[4] != _DELIVERED:
            others.append(settlement)
        else:
            alike = (settlement.project_id, attempt[7], attempt[11])
            delivered.setdefault(alike, []).append(settlement)
    for group in delivered.values():
        for start in range(0, len(group), MAX_ROWS):
            part = group[start : start + MAX_ROWS]
            if not _deliver(cursor, part):
                others += part
    if others:
        _settle_others(cursor, others)


def _deliver(cursor: sqlite3.Cursor, settlements: list[Settlement]) -> bool:
    """Write deliveries that the first try brought: by far the most. One row holds both.

    Args:
        cursor: of a connection that is prepared.
        settlements: of one project, with one status; all were written once, or all twice.

    Returns:
        False where not all of them stood in the queue; nothing was written.
    """
    ids: list[bytes] = []
    rows: list[Row] = []
    for settlement in settlements:
        settlement.late = False
        ids.append(settlement.delivery_id)
        rows.append(_delivered_row(settlement))
    parameters = [
        *_owed(settlements[0].project_id, 0, ids),
        len(ids),
        *_INSERT_DELIVERED.bind(rows),
    ]
    try:
        _DELIVER.run(cursor, parameters)
    except sqlite3.IntegrityError:
        return False
    return True


def _delivered_row(settlement: Settlement) -> Row:
    attempt = settlement.attempt
    return (*settlement.delivery, attempt[7], attempt[8], attempt[10], attempt[11])  # type: ignore[misc] # there is one where this is called


def _owed(project_id: bytes, attempts: int, ids: list[bytes]) -> Row:
    """Return the parameters of `_DELETE_OWED`."""
    return pack_numbers([0] * len(ids)), project_id, attempts, pack_ids(ids)


def _settle_others(cursor: sqlite3.Cursor, settlements: list[Settlement]) -> None:
    finals: dict[tuple[bytes, int], list[Settlement]] = {}
    for settlement in settlements:
        settlement.late = False
        if settlement.delivery is not None:
            group = (settlement.project_id, settlement.attempts)
            finals.setdefault(group, []).append(settlement)
        elif settlement.retry_at_us is not None:
            _reschedule(cursor, settlement, settlement.retry_at_us)
    for (project_id, tried), group_of in finals.items():
        _finish(cursor, project_id, tried, group_of)
    deliveries: list[Row] = []
    attempts: list[Row] = []
    diverted: list[Row] = []
    for settlement in settlements:
        delivery = settlement.delivery
        if not settlement.attempt:
            deliveries += _untried(settlement)
        elif delivery is None or settlement.late:
            attempts.append(_attempt_row(cursor, settlement))
        elif settlement.attempts == 0 and delivery[4] == _DELIVERED:
            deliveries.append(_delivered_row(settlement))
        else:
            deliveries.append((*delivery, *_NO_TRY))
            attempts.append(_attempt_row(cursor, settlement))
            if settlement.diverted is not None:
                diverted.append(settlement.diverted)
    _INSERT_DELIVERIES.run(cursor, deliveries)
    _INSERT_ATTEMPTS.run(cursor, attempts)
    _INSERT_DIVERTED.run(cursor, diverted)


def _reschedule(cursor: sqlite3.Cursor, settlement: Settlement, due_us: int) -> None:
    changed = cursor.execute(
        _RETRY, (due_us, settlement.project_id, settlement.delivery_id, settlement.attempts)
    )
    settlement.late = changed.rowcount != 1


def _finish(
    cursor: sqlite3.Cursor, project_id: bytes, attempts: int, settlements: list[Settlement]
) -> None:
    """Take deliveries of one project and one count of attempts out of the queue."""
    ids = [settlement.delivery_id for settlement in settlements]
    cursor.execute(_DELETE_OWED, _owed(project_id, attempts, ids))
    if cursor.rowcount != len(ids):
        for settlement in settlements:
            settlement.late = _is_late(cursor, settlement)


def _is_late(cursor: sqlite3.Cursor, settlement: Settlement) -> bool:
    """After the deletion: was this delivery out of the queue before, or is it still in it?"""
    project_id, event_id = settlement.project_id, settlement.event_id
    owed = cursor.execute(_IS_OWED, (project_id, settlement.delivery_id)).fetchone()
    final = cursor.execute(_IS_FINAL, (project_id, event_id, settlement.delivery_id)).fetchone()
    return owed is not None or final is not None


def _untried(settlement: Settlement) -> list[Row]:
    """Return the row of a delivery that has ended without a try, if it still was to end."""
    delivery = settlement.delivery
    return [] if delivery is None or settlement.late else [(*delivery, *_NO_TRY)]


def _attempt_row(cursor: sqlite3.Cursor, settlement: Settlement) -> Row:
    """Return the attempt's row, with an answer that was given before kept by reference."""
    row = settlement.attempt
    response = row[8]
    if settlement.attempts == 0 or len(response) < _REFERENCE_FROM_BYTES:
        return row
    named = {"project": row[0], "event": row[1], "delivery": row[3], "response": response}
    found = cursor.execute(_SAME_RESPONSE, named).fetchone()
    return row if found is None else (*row[:8], None, found[0], *row[10:])


def end_untried(
    cursor: sqlite3.Cursor,
    project_id: bytes,
    subscription_id: bytes,
    owed: Sequence[tuple[bytes, bytes, int]],
    *,
    state: int,
    reason: str,
    divert: bool,
    now_us: int,
) -> None:
    """Take deliveries, given as (id, event id, attempts), out of the queue without a try."""
    cursor.executemany(
        "DELETE FROM queue WHERE project_id = ? AND id = ?",
        [(project_id, identifier) for identifier, _, _ in owed],
    )
    _INSERT_DELIVERIES.run(
        cursor,
        [
            (
                project_id,
                event_id,
                identifier,
                subscription_id,
                state,
                tries,
                now_us,
                reason,
                *_NO_TRY,
            )
            for identifier, event_id, tries in owed
        ],
    )
    if divert:
        _INSERT_DIVERTED.run(
            cursor,
            [
                (project_id, identifier, event_id, subscription_id, reason, now_us, attempts)
                for identifier, event_id, attempts in owed
            ],
        )
