"""What was done to the workers and to their database, with times.

Times are seconds of the machine's monotonic clock.
"""

from enum import Enum

import msgspec


class Kind(Enum):
    """A sort of fault."""

    KILLED = "killed"
    FROZEN = "frozen"
    DATABASE = "database stopped"


class Fault(msgspec.Struct, frozen=True):
    """One fault.

    Attributes:
        worker: the process that it befell; None: all of them.
        began: just before it happened.
        ended: when its cause was gone: a frozen worker was thawed, the database answered again.
            Of a killed worker the moment of the kill.
    """

    kind: Kind
    worker: int | None
    began: float
    ended: float
