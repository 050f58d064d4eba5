"""Columns are what each database has for them."""

import pytest
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import Dialect
from sqlalchemy.types import TypeEngine

from waypost.storage.columns import IdType, Name

SQLITE: Dialect = sqlite.dialect()
POSTGRESQL: Dialect = postgresql.dialect()  # type: ignore[no-untyped-call] # it has no types


@pytest.mark.parametrize(
    "column, dialect, spelled",
    [
        (IdType, SQLITE, "BLOB"),
        (IdType, POSTGRESQL, "UUID"),
        (Name, SQLITE, "TEXT"),
        (Name, POSTGRESQL, 'TEXT COLLATE "C"'),
    ],
)
def test_a_type_is_spelled_for_each_database(
    column: TypeEngine[object], dialect: Dialect, spelled: str
) -> None:
    assert column.compile(dialect=dialect) == spelled
