"""What the database holds, read when the server has stopped: by SQL of our own, not the product's.

Ids come out as the tokens of the API.
"""

import sqlite3
from contextlib import closing
from pathlib import Path

import msgspec

from tests.torture import ledger

DELIVERED, FAILED, CANCELLED = 1, 2, 3


class Kept(msgspec.Struct):
    """The state of the database.

    Attributes:
        sound: what SQLite's own check says of the file; empty where all is well.
        events: the number in each event's payload, by the event's token.
        finals: the states of the final deliveries, by event's and subscription's token.
        diverted: events and subscriptions of the dead-letter box.
        pending: how many deliveries are still owed.
        jobs: how many replays are still running.
    """

    sound: list[str]
    events: dict[str, int]
    finals: dict[tuple[str, str], list[int]]
    diverted: set[tuple[str, str]]
    pending: int
    jobs: int


def token(kind: str, identifier: bytes) -> str:
    """Spell an id as the API does."""
    digits = identifier.hex()
    parts = (digits[:8], digits[8:12], digits[12:16], digits[16:20], digits[20:])
    return f"{kind}_{'-'.join(parts)}"


def waiting(path: Path) -> int:
    """Count what is still to be done, in a database that a server may be working with."""
    with closing(_open(path)) as connection:
        return _count(connection, "queue") + _running(connection)


def read(path: Path) -> Kept:
    """Read the whole state, and have SQLite check the file."""
    with closing(_open(path)) as connection:
        finals: dict[tuple[str, str], list[int]] = {}
        for event, subscription, state in connection.execute(
            "SELECT event_id, subscription_id, state FROM deliveries"
        ):
            finals.setdefault((token("evt", event), token("ep", subscription)), []).append(state)
        return Kept(
            sound=_faults(connection),
            events={
                token("evt", identifier): ledger.number(payload)
                for identifier, payload in connection.execute("SELECT id, payload FROM events")
            },
            finals=finals,
            diverted={
                (token("evt", event), token("ep", subscription))
                for event, subscription in connection.execute(
                    "SELECT event_id, subscription_id FROM diverted_events"
                )
            },
            pending=_count(connection, "queue"),
            jobs=_running(connection),
        )


def _open(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)


def _count(connection: sqlite3.Connection, table: str) -> int:
    return int(connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0])


def _running(connection: sqlite3.Connection) -> int:
    found = connection.execute("SELECT count(*) FROM replays WHERE state = 'running'").fetchone()
    return int(found[0])


def _faults(connection: sqlite3.Connection) -> list[str]:
    said = [str(row[0]) for row in connection.execute("PRAGMA integrity_check")]
    return [] if said == ["ok"] else said
