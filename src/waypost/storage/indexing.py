"""Indexes, as each database is to have them."""

from sqlalchemy import Index, text


def indexes(
    name: str, *, sqlite: tuple[str, ...], postgresql: tuple[str, ...], where: str | None = None
) -> list[Index]:
    """Return an index of a table, for the one database and for the other.

    SQLite finds a row behind an index by its primary key: with that in front and behind, the index
    leads there in order. PostgreSQL needs no more than what is looked for. And it must have no
    more: were a part of the primary key in it, it could be taken for statements that name the whole
    key, by a plan that was made when the table was empty and all ways seemed short.
    """
    only = None if where is None else text(where)
    return [
        Index(name, *sqlite, sqlite_where=only).ddl_if(dialect="sqlite"),
        Index(name, *postgresql, postgresql_where=only).ddl_if(dialect="postgresql"),
    ]


def partial(name: str, *columns: str, only: str) -> Index:
    """Return an index of those rows alone that meet a condition."""
    return Index(name, *columns, sqlite_where=text(only), postgresql_where=text(only))
