"""Migrations: which tables a database has, and which ones this version of Waypost expects.

Looking is cheap and done at every start; `upgrade` imports Alembic, which a start on a database
that is up to date can do without.
"""

from typing import Final

from sqlalchemy import Connection, text

from waypost.model.errors import ConfigInvalid

KNOWN: Final = (
    "0001_first_tables",
    "0002_several_processes",
    "0003_filters",
    "0004_transforms",
    "0005_failures",
    "0006_flow",
    "0007_transactions",
    "0010_verification",
    "0011_replays",
    "0012_order",
    "0013_dialects",
    "0014_records",
    "0015_system_events",
    "0016_sources",
    "0017_answers",
    "0018_notices",
    "0019_lists",
    "0020_order_by_default",
)
"""Every revision, oldest first."""

HEAD: Final = KNOWN[-1]
"""The revision that this version of Waypost works with."""

_TABLES: Final = {
    "sqlite": text("SELECT name FROM sqlite_master WHERE type = 'table'"),
    "postgresql": text("SELECT tablename FROM pg_tables WHERE schemaname = current_schema()"),
}


def current_revision(connection: Connection) -> str | None:
    """Return the revision of a database; None for an empty one.

    Raises:
        ConfigInvalid: it was written by a newer Waypost, or by something else.
    """
    names = set(connection.execute(_TABLES[connection.dialect.name]).scalars())
    if not names:
        return None
    if "alembic_version" not in names:
        raise ConfigInvalid("the database holds tables that are not Waypost's: name another one")
    query = text("SELECT version_num FROM alembic_version")
    revision = connection.execute(query).scalar_one_or_none()
    if revision not in KNOWN:
        raise ConfigInvalid(
            f"the database has the schema {revision!r}, and this Waypost knows them only up to"
            f" {HEAD!r}: the database was written by a newer one, which must go on with it"
        )
    return str(revision)


def demand_head(connection: Connection) -> None:
    """Make sure that a database has exactly the tables that this version works with.

    Raises:
        ConfigInvalid: it has older ones, newer ones, none, or somebody else's.
    """
    revision = current_revision(connection)
    if revision is None:
        raise ConfigInvalid("the database is empty: run `waypost migrate` first")
    if revision != HEAD:
        raise ConfigInvalid(
            f"the database has the schema {revision!r}, and this Waypost needs {HEAD!r}:"
            " run `waypost migrate` first"
        )
