"""What the database holds, read when the server has stopped: by SQL of our own, not the product's.

Ids come out as the tokens of the API.
"""

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import psycopg

from tests.torture import ledger

DELIVERED, FAILED, CANCELLED = 1, 2, 3


class Kept(msgspec.Struct):
    """The state of the database.

    Attributes:
        sound: what SQLite's own check says of a file; empty where all is well.
        events: the number in each event's payload, by the event's token.
        finals: the states of the final deliveries, by event's and subscription's token.
        diverted: events and subscriptions of the dead-letter box.
        pending: how many deliveries are still owed.
        jobs: how many replays are still running.
        places: the place in the order of acceptance of each event that has one, by its token.
    """

    sound: list[str]
    events: dict[str, int]
    finals: dict[tuple[str, str], list[int]]
    diverted: set[tuple[str, str]]
    pending: int
    jobs: int
    places: dict[str, int] = {}


def token(kind: str, identifier: bytes | UUID) -> str:
    """Spell an id as the API does."""
    known = identifier if isinstance(identifier, UUID) else UUID(bytes=identifier)
    return f"{kind}_{known}"


def waiting(url: str) -> int:
    """Count what is still to be done, in a database that servers may be working with."""
    with _open(url) as rows:
        return _count(rows, "queue") + _running(rows)


def read(url: str) -> Kept:
    """Read the whole state, and have SQLite check its file."""
    with _open(url) as rows:
        finals: dict[tuple[str, str], list[int]] = {}
        for event, subscription, state in rows(
            "SELECT event_id, subscription_id, state FROM deliveries"
        ):
            finals.setdefault((token("evt", event), token("ep", subscription)), []).append(state)
        return Kept(
            sound=_faults(rows) if _is_file(url) else [],
            events={
                token("evt", identifier): ledger.number(bytes(payload))
                for identifier, payload in rows(
                    # Of its own events no producer knows.
                    "SELECT id, payload FROM events WHERE type NOT LIKE 'waypost.%'"
                )
            },
            finals=finals,
            diverted={
                (token("evt", event), token("ep", subscription))
                for event, subscription in rows(
                    "SELECT event_id, subscription_id FROM diverted_events"
                )
            },
            pending=_count(rows, "queue"),
            jobs=_running(rows),
            places={
                token("evt", identifier): int(place)
                for identifier, place in rows(
                    "SELECT id, sequence FROM events WHERE sequence IS NOT NULL"
                )
            },
        )


Rows = Callable[[str], Sequence[Sequence[Any]]]


def _is_file(url: str) -> bool:
    return url.startswith("sqlite:///")


@contextmanager
def _open(url: str) -> Iterator[Rows]:
    if not _is_file(url):
        with psycopg.connect(url) as server:
            yield lambda query: server.execute(query).fetchall()
        return
    path = Path(url.removeprefix("sqlite:///"))
    with closing(
        sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True, timeout=10)
    ) as file:
        yield lambda query: file.execute(query).fetchall()


def _count(rows: Rows, table: str) -> int:
    return int(rows(f"SELECT count(*) FROM {table}")[0][0])


def _running(rows: Rows) -> int:
    return int(rows("SELECT count(*) FROM replays WHERE state = 'running'")[0][0])


def _faults(rows: Rows) -> list[str]:
    said = [str(row[0]) for row in rows("PRAGMA integrity_check")]
    return [] if said == ["ok"] else said
