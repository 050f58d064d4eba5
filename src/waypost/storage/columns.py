"""Types of columns, for both databases."""

from typing import Any

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
