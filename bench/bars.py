"""What is to be reached: the bars that figures are judged by, for each database."""

from collections.abc import Mapping
from dataclasses import dataclass
from math import isnan
from typing import Final

SQLITE: Final = "sqlite"
POSTGRESQL: Final = "postgresql"


@dataclass(frozen=True, slots=True)
class Bar:
    """What a figure should reach: at most `limit`, or at least it where `at_least`."""

    limit: float
    at_least: bool = False
    floor: float | None = None
    """The worst value that still counts as done."""

    def judge(self, value: float) -> str:
        """`ok`, `MISSED`, or `MISSED, below the floor`; a value that is not there has missed."""
        if self._reaches(value, self.limit):
            return "ok"
        if self.floor is not None and not self._reaches(value, self.floor):
            return "MISSED, below the floor"
        return "MISSED"

    def _reaches(self, value: float, limit: float) -> bool:
        return not isnan(value) and (value >= limit if self.at_least else value <= limit)

    def __str__(self) -> str:
        """As the table shows it."""
        return f"{'≥' if self.at_least else '≤'} {self.limit:,g}"


Bars = Mapping[str, Bar]
"""By database, or by program."""


def _both(bar: Bar) -> Bars:
    return {SQLITE: bar, POSTGRESQL: bar}


RATIO: Final[Bars] = {
    SQLITE: Bar(0.50, at_least=True, floor=0.35),
    POSTGRESQL: Bar(0.30, at_least=True, floor=0.20),
}
"""Delivered, of what the limit loop delivers in the same run."""

CPU_S: Final = _both(Bar(0.2))
"""Of the server, for 1,000 events, at full load."""

DISK_BYTES: Final[Bars] = {SQLITE: Bar(1_000), POSTGRESQL: Bar(1_600)}
RSS_MB: Final = _both(Bar(200))
"""Of each process of the server."""

FIRST_DELIVERY_S: Final = _both(Bar(3))
DRAIN_RATIO: Final = _both(Bar(1, at_least=True))
"""A backlog drains no slower than events that are accepted meanwhile are delivered."""

STATEMENTS_FULL: Final[Bars] = {POSTGRESQL: Bar(0.1)}
STATEMENTS_LOW: Final[Bars] = {POSTGRESQL: Bar(3)}
"""For each event; BEGIN and COMMIT count."""

GROWTH: Final = _both(Bar(0.9, at_least=True))
"""Rates on a database full of events, of those on an empty one."""

SCANS: Final[Bars] = {POSTGRESQL: Bar(0)}
"""Statements of full load that read a table that grows from end to end."""

RECEIPT_P50_MS: Final[Mapping[int, Bars]] = {200: {SQLITE: Bar(3)}}
RECEIPT_P99_MS: Final[Mapping[int, Bars]] = {
    200: {SQLITE: Bar(10)},
    1_000: {SQLITE: Bar(25), POSTGRESQL: Bar(40)},
}
"""Of accept → receipt, by events per second."""

HEALING_AFTER_LEASE_S: Final = 2.0
"""A dead worker's shards are sending again at most this long after its lease has passed."""

ISOLATION_P99: Final = Bar(2)
"""Of accept → receipt of healthy receivers, beside others' trouble, to that without it."""

ISOLATION_RATE: Final = Bar(0.9, at_least=True)
"""The same of their rate."""

ABOVE_RATE: Final = Bar(1.02)
"""Received in a second, of what a rate limit lets start in one: on the way some may bunch."""

REPLAY_P99: Final = Bar(1.2)
"""Of accept → receipt of live events beside a replay, to that without one."""

API_RATIO: Final = Bar(0.8, at_least=True)
"""Delivered of what is posted by another API, of what the native one delivers."""

CLAIMS: Final[Bars] = {SQLITE: Bar(1_500, at_least=True)}
"""Messages a second that sixteen consumers ask for, claim and end."""

LIST_MS: Final = Bar(20)
"""Of a list with a million events in the database: p99 of requests one at a time."""
