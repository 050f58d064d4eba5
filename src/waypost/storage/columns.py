"""What the tables are made of, in the words of each database: ids, names, options."""

from typing import Any, Final

from sqlalchemy import LargeBinary, Text
from sqlalchemy.types import UserDefinedType


class _Uuid(UserDefinedType[bytes]):
    """PostgreSQL's `uuid`, which stays 16 bytes here: the connection reads and writes it so."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return its name."""
        return "UUID"


IdType = LargeBinary(16).with_variant(_Uuid(), "postgresql")
"""An id: 16 bytes, and in Python never anything else."""

Name = Text().with_variant(Text(collation="C"), "postgresql")
"""Text that a key holds: it sorts by its bytes in every database, whatever its locale."""

QUEUE_OPTIONS: Final = {
    "autovacuum_vacuum_scale_factor": 0.02,
    "autovacuum_vacuum_threshold": 20_000,
    "autovacuum_vacuum_cost_delay": 0,
}
"""Every row of the queue is deleted within seconds: what they leave must not pile up."""

BUSY_OPTIONS: Final = {"fillfactor": 50}
"""Few rows, changed all the time: with room beside them a change touches no index."""
