"""Facts: single values about this database, each under a name."""

from typing import Final

from sqlalchemy import Connection, delete, insert, select, text

from waypost.storage.cluster import facts

DEFAULT_PROJECT: Final = "default_project"
"""The project of a call that names none, and whose account is this installation's; hex digits."""


def find(connection: Connection, name: str) -> str | None:
    """Return a fact's value, or None where it was never recorded."""
    value = connection.execute(
        select(facts.c.value).where(facts.c.name == name)
    ).scalar_one_or_none()
    return None if value is None else str(value)


def record(connection: Connection, name: str, value: str) -> None:
    """Keep a fact; a former value is replaced."""
    connection.execute(delete(facts).where(facts.c.name == name))
    connection.execute(insert(facts).values(name=name, value=value))


def propose(connection: Connection, name: str, value: str) -> str:
    """Keep a fact unless there is one already; return the one that counts from now on."""
    connection.execute(
        text(
            "INSERT INTO facts (name, value) VALUES (:name, :value) ON CONFLICT (name) DO NOTHING"
        ),
        {"name": name, "value": value},
    )
    return find(connection, name) or value


def forget(connection: Connection, name: str) -> None:
    """Keep a fact no longer."""
    connection.execute(delete(facts).where(facts.c.name == name))
