"""What must be true of a PostgreSQL database before it is opened, and what is said where it is not.

Whatever forbids a start is one line that says what to do.
"""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

import msgspec
import psycopg
from sqlalchemy import Connection, select, text
from sqlalchemy.exc import DBAPIError

from waypost.clock import AlignedClock
from waypost.model.errors import ConfigInvalid, StorageFull, Unavailable
from waypost.storage import facts, key_file, migrations
from waypost.storage.location import PostgresUrl
from waypost.storage.moment import now_us
from waypost.storage.postgres.connection import PostgresOptions, connect, raw
from waypost.storage.schema import events, metadata

WORST_CLOCK_S: Final = 60.0
"""How far a machine's clock may be from the database's."""

COPY_FACT: Final = "copy"
"""Recorded in a database that a copy is being made into: it is not whole."""

_TOLD: Final = (
    # At the connection the server has only words, and libpq has only its own: no code to go by.
    (
        r"password authentication failed|no password supplied",
        "give the right password in WAYPOST_DATABASE_URL, or in the file that PGPASSFILE names",
    ),
    (r'role "[^"]*" does not exist', "name another user, or make this one with CREATE ROLE"),
    (r"no pg_hba\.conf entry", "let this user and address in by a line in pg_hba.conf"),
    (
        r'database "[^"]*" does not exist',
        "make it with CREATE DATABASE … ENCODING 'UTF8' and run `waypost migrate`",
    ),
    (r"permission denied for database", "GRANT CONNECT ON DATABASE … TO that user"),
    (r"too many (clients|connections)|connection slots", "raise max_connections, or use PgBouncer"),
    (r"SSL|certificate", "set sslmode or sslrootcert in the URL"),
    (
        r"unsupported startup parameter",
        "behind PgBouncer set WAYPOST_PREPARED_STATEMENTS=off and WAYPOST_NOTIFY=off",
    ),
    (r"starting up|shutting down|recovery mode", "wait until it is up"),
    (r"target_session_attrs|read-write|read-only", "name the primary server"),
    (
        r"refused|could not|timeout|timed out|unreachable|no such file|closed the|not known|route",
        "start it, or name its host and port in WAYPOST_DATABASE_URL",
    ),
)

_BY_CODE: Final = {
    "25006": "the server takes no changes, it is a standby: name the primary server",
    "42501": "GRANT the missing right, or connect as the owner of the tables",
    "53100": "the disk of the PostgreSQL server is full: make room there",
    "53300": "raise max_connections, or use PgBouncer",
    "57014": "it took too long: the server is overloaded, or raise WAYPOST_STATEMENT_TIMEOUT",
    "42P01": "a table is missing: run `waypost migrate`",
    "42704": "something is missing in the schema: run `waypost migrate`",
}

_PLAIN: Final = PostgresOptions()
_RIGHTS: Final = ("SELECT", "INSERT", "UPDATE", "DELETE")


class Server(msgspec.Struct, frozen=True):
    """What a server tells of itself and of whoever has connected.

    Attributes:
        version: as people write it.
        encoding: of the database.
        user: who has connected.
        is_standby: it is a copy of another one, and takes no changes.
        is_read_only: transactions of this user can't change anything.
        schema_name: where the tables are, or are made; None: this user can use none.
        may_partition: it may make tables there, and attach them to those that grow.
    """

    version: str
    encoding: str
    user: str
    is_standby: bool
    is_read_only: bool
    schema_name: str | None
    may_partition: bool


def describe(connection: Connection) -> Server:
    """Ask a server what it is."""
    row = connection.execute(
        text(
            "SELECT current_setting('server_version') AS version,"
            " pg_encoding_to_char(encoding) AS encoding, current_user AS user,"
            " pg_is_in_recovery() AS is_standby,"
            " current_setting('default_transaction_read_only')::boolean AS is_read_only,"
            " current_schema() AS schema_name,"
            " coalesce(has_schema_privilege(current_schema(), 'CREATE'), false) AND"
            " coalesce((SELECT pg_has_role(relowner, 'USAGE') FROM pg_class"
            " WHERE oid = to_regclass(:growing)), true) AS may_partition"
            " FROM pg_database WHERE datname = current_database()"
        ),
        {"growing": events.name},
    ).one()
    return Server(**row._mapping)  # noqa: SLF001 - its public name is documented so


class Limits(msgspec.Struct, frozen=True):
    """How a server is set up, as far as it matters for how Waypost should be.

    Attributes:
        max_connections: that it takes.
        reserved: those of them that only superusers get.
        others: that programs other than Waypost have open.
        fsync: it waits for its disk.
        synchronous_commit: what a commit waits for.
        synchronous_standbys: the replicas that it waits for; empty: none.
        wal_level: how much is written to its log.
        is_pooled: a pooler stands in between.
    """

    max_connections: int
    reserved: int
    others: int
    fsync: bool
    synchronous_commit: str
    synchronous_standbys: str
    wal_level: str
    is_pooled: bool


def limits(connection: Connection) -> Limits:
    """Ask a server how it is set up."""
    row = connection.execute(
        text(
            "SELECT current_setting('max_connections')::int AS max_connections,"
            " current_setting('superuser_reserved_connections')::int AS reserved,"
            " (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend'"
            " AND application_name NOT LIKE 'waypost %') AS others,"
            " current_setting('fsync')::boolean AS fsync,"
            " current_setting('synchronous_commit') AS synchronous_commit,"
            " current_setting('synchronous_standby_names') AS synchronous_standbys,"
            " current_setting('wal_level') AS wal_level, pg_backend_pid() AS pid"
        )
    ).one()
    found = dict(row._mapping)  # noqa: SLF001 - as above
    # A pooler makes up the process that it names at the start.
    is_pooled = found.pop("pid") != raw(connection).info.backend_pid
    return Limits(**found, is_pooled=is_pooled)


def missing_rights(connection: Connection) -> list[str]:
    """Return what this user may not do with the tables, as `INSERT on events`."""
    rows = connection.execute(
        text(
            "SELECT privilege || ' on ' || name FROM unnest(CAST(:names AS text[])) AS name,"
            " unnest(CAST(:rights AS text[])) AS privilege"
            " WHERE NOT coalesce(has_table_privilege(to_regclass(name), privilege), false)"
            " ORDER BY name, privilege"
        ),
        {"names": sorted(metadata.tables), "rights": list(_RIGHTS)},
    )
    return [str(right) for right in rows.scalars()]


@contextmanager
def explained(url: PostgresUrl) -> Iterator[None]:
    """Turn what the driver raises into one line that says what to do.

    Raises:
        ConfigInvalid: the database can't be used.
    """
    try:
        yield
    except (DBAPIError, psycopg.Error) as error:
        raise ConfigInvalid(explain(error, url)) from error
    except (Unavailable, StorageFull) as error:
        # The store's own words, for callers of the API: behind them is what the driver said.
        if isinstance(error.__cause__, DBAPIError | psycopg.Error):
            raise ConfigInvalid(explain(error.__cause__, url)) from error
        raise


def explain(error: BaseException, url: PostgresUrl) -> str:
    """Return what is wrong with a database, and what to do about it, in one line."""
    if isinstance(error, DBAPIError):
        error = error.orig or error
    said = _without_repetition(url.hide(str(error)))
    advice = _BY_CODE.get(getattr(error, "sqlstate", None) or "")
    if advice is None:
        found = (hint for pattern, hint in _TOLD if re.search(pattern, said, re.IGNORECASE))
        advice = next(found, None)
    line = f"the database {url} can't be used: {said}"
    return line if advice is None else f"{line}: {advice}"


def _without_repetition(said: str) -> str:
    """Return the last thing that was tried, and its reason, on one line."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    # libpq tells of every address of a name; the driver puts "Multiple connection attempts" first.
    first = next((line for line in lines if not line.startswith("Multiple")), "no answer")
    return re.sub(r"^(- )?(connection (failed|is bad): )*", "", first).rstrip(".")


@contextmanager
def open_apart(
    url: PostgresUrl, options: PostgresOptions = _PLAIN, *, name: str = "tool"
) -> Iterator[Connection]:
    """Have a database open outside the store.

    Raises:
        ConfigInvalid: it can't be used; says why and what to do.
    """
    with explained(url):
        connection = connect(url.conninfo, options, name=name)
        try:
            yield connection
        finally:
            connection.close()
            connection.engine.dispose()


def prepare(
    url: PostgresUrl, secret_key: bytes | None, clock: AlignedClock, options: PostgresOptions
) -> bytes:
    """Make sure that a database can be opened; return the key of its secrets.

    Args:
        url: the database.
        secret_key: the key that was configured.
        clock: is aligned with the database's.
        options: how connections are made.

    Raises:
        ConfigInvalid: it can't be; says why and what to do.
    """
    if secret_key is None:
        raise ConfigInvalid(
            "WAYPOST_SECRET_KEY is not set, and with PostgreSQL it must be, the same for every"
            " process: make one with `openssl rand -base64 32`, and keep it"
        )
    with open_apart(url, options, name="start") as connection:
        demand_primary(describe(connection), url)
        migrations.demand_head(connection)
        _demand_rights(connection, url)
        _demand_whole(connection)
        align(connection, clock)
        demand_clock(clock)
        key_file.confirm(connection, secret_key)
    return secret_key


def demand_primary(server: Server, url: PostgresUrl) -> None:
    """Make sure that a server takes what Waypost writes.

    Raises:
        ConfigInvalid: it does not.
    """
    if server.is_standby:
        raise ConfigInvalid(
            f"the database {url} is a read-only standby: name the primary server, or both with"
            " target_session_attrs=read-write"
        )
    if server.is_read_only:
        raise ConfigInvalid(
            f"the database {url} lets {server.user} change nothing"
            " (default_transaction_read_only is on): switch that off for this user"
        )
    if server.encoding != "UTF8":
        raise ConfigInvalid(
            f"the database {url} has the encoding {server.encoding}: make one with"
            " CREATE DATABASE … ENCODING 'UTF8' TEMPLATE template0"
        )
    if server.schema_name is None:
        raise ConfigInvalid(
            f"{server.user} may use no schema of the database {url}:"
            f" GRANT USAGE, CREATE ON SCHEMA public TO {server.user}"
        )


def _demand_rights(connection: Connection, url: PostgresUrl) -> None:
    missing = missing_rights(connection)
    if missing:
        more = f" and {len(missing) - 1} more rights" if len(missing) > 1 else ""
        raise ConfigInvalid(
            f"the user of {url} lacks {missing[0]}{more}: GRANT them, or connect as the owner of"
            " the tables"
        )


def _demand_whole(connection: Connection) -> None:
    if facts.find(connection, COPY_FACT) is not None:
        raise ConfigInvalid(
            "a copy into this database was begun and is not finished: run the same `waypost copy`"
            " again, it goes on where it stopped"
        )


def align(connection: Connection, clock: AlignedClock) -> None:
    """Take a reading of the database's clock."""
    asked = clock.monotonic()
    theirs_us = connection.execute(select(now_us())).scalar_one()
    clock.align(int(theirs_us), asked, clock.monotonic())


def demand_clock(clock: AlignedClock) -> None:
    """Make sure that the machine's clock is about right.

    Raises:
        ConfigInvalid: it is not, or the database's is not.
    """
    off_s = clock.offset_us() / 1_000_000
    if abs(off_s) > WORST_CLOCK_S:
        raise ConfigInvalid(
            f"this machine's clock is {abs(off_s):.0f} seconds"
            f" {'behind' if off_s > 0 else 'ahead of'} the database server's, and"
            f" {WORST_CLOCK_S:.0f} are allowed: synchronise both by NTP"
        )
