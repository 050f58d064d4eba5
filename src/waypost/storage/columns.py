"""What the tables are made of: types of columns, and indexes that databases have in their ways."""

from typing import Any

from sqlalchemy import Index, LargeBinary, Text, text
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


def indexes(name: str, *, sqlite: tuple[str, ...], postgresql: tuple[str, ...]) -> list[Index]:
    """Return an index of a table with much traffic, as each database is to have it.

    SQLite finds a row behind an index by its primary key: with that in front and behind, the index
    leads there in order. PostgreSQL needs no more than what is looked for. And it must have no
    more: were a part of the primary key in it, it could be taken for statements that name the whole
    key, by a plan that was made when the table was empty and all ways seemed short.
    """
    return [
        Index(name, *sqlite).ddl_if(dialect="sqlite"),
        Index(name, *postgresql).ddl_if(dialect="postgresql"),
    ]


def partial(name: str, *columns: str, only: str) -> Index:
    """Return an index of those rows alone that meet a condition."""
    return Index(name, *columns, sqlite_where=text(only), postgresql_where=text(only))
