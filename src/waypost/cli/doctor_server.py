"""What `waypost doctor` looks at where the database is a PostgreSQL server."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Final

from waypost.cli.findings import Finding
from waypost.clock import AlignedClock, SystemClock
from waypost.config import Config
from waypost.model.errors import WaypostError
from waypost.server.databases import postgres_options
from waypost.storage import key_file, migrations
from waypost.storage.location import PostgresUrl
from waypost.storage.store import OWED_READERS

if TYPE_CHECKING:
    from sqlalchemy import Connection

    from waypost.storage.postgres.preparation import Limits, Server

_WRITERS: Final = 3
"""Connections of a process that write: to accept, to settle, and for everything else."""

_APART: Final = 3
"""Those that keep it in touch with the others: for its lease, to be woken, and to wake others."""

_LOW_AHEAD_DAYS: Final = 2.0


def examine(config: Config, url: PostgresUrl) -> Iterator[Finding]:
    """Yield everything that there is to say about a server and its database."""
    # The driver takes a while to import, and who keeps a file needs none.
    from waypost.storage.postgres import preparation  # noqa: PLC0415 - slow to load

    try:
        with preparation.open_apart(url, postgres_options(config), name="doctor") as connection:
            server = preparation.describe(connection)
            yield Finding(True, "postgresql", f"{server.version}, {url} as {server.user}")
            preparation.demand_primary(server, url)
            yield from _tables(config, connection, server)
            yield _database_clock(connection)
            limits = preparation.limits(connection)
            yield _connections(config, limits)
            yield _durability(limits)
            yield _wal_level(limits)
            yield _pooler(config, limits)
    except WaypostError as error:
        yield Finding(False, "database", str(error))


def _tables(config: Config, connection: "Connection", server: "Server") -> Iterator[Finding]:
    from waypost.storage.postgres import preparation  # noqa: PLC0415 - as above

    revision = migrations.current_revision(connection)
    if revision is None:
        yield Finding(False, "schema", "there is none: run `waypost migrate`")
        return
    if revision != migrations.HEAD:
        yield Finding(False, "schema", f"{revision}, not {migrations.HEAD}: run `waypost migrate`")
        return
    yield Finding(True, "schema", revision)
    yield _rights(preparation.missing_rights(connection), server)
    yield _secret_key(config, key_file.known_fingerprint(connection))
    yield _partitions(connection)


def _rights(missing: list[str], server: "Server") -> Finding:
    if missing:
        more = f" and {len(missing) - 1} more" if len(missing) > 1 else ""
        return Finding(False, "rights", f"missing: {missing[0]}{more}: GRANT them")
    if not server.may_partition:
        text = f"{server.user} can't make partitions: connect as the owner of the tables"
        return Finding(False, "rights", text)
    return Finding(True, "rights", "on all tables, and new partitions can be made")


def _secret_key(config: Config, known: str | None) -> Finding:
    if config.secret_key is None:
        text = "WAYPOST_SECRET_KEY is not set, and with PostgreSQL it must be"
        return Finding(False, "secret key", text)
    given = key_file.fingerprint(config.secret_key)
    if known not in (None, given):
        text = f"set, fingerprint {given}, but the database was written under {known}"
        return Finding(False, "secret key", text)
    return Finding(True, "secret key", f"set, fingerprint {given}")


def _partitions(connection: "Connection") -> Finding:
    from waypost.storage import partitions  # noqa: PLC0415 - as above

    now_us = SystemClock().now_us()
    until_us = partitions.covered_until(partitions.list_all(connection), now_us)
    days = (until_us - now_us) / 86_400_000_000
    text = f"made for the next {days:.1f} days"
    if days <= 0:
        return Finding(False, "partitions", "none for today: run `waypost migrate`")
    if days < _LOW_AHEAD_DAYS:
        return Finding(False, "partitions", f"{text} only: run `waypost migrate`")
    return Finding(True, "partitions", text)


def _database_clock(connection: "Connection") -> Finding:
    from waypost.storage.postgres import preparation  # noqa: PLC0415 - as above

    clock = AlignedClock(SystemClock())
    preparation.align(connection, clock)
    preparation.demand_clock(clock)
    ahead_ms = clock.offset_us() / 1_000
    return Finding(True, "database clock", f"{ahead_ms:+.1f} ms from this machine's")


def _connections(config: Config, limits: "Limits") -> Finding:
    own = _WRITERS + config.database_readers + OWED_READERS + _APART
    needed = own * config.processes
    room = limits.max_connections - limits.reserved - limits.others
    text = (
        f"up to {own} for each process, {needed} in all; the server allows"
        f" {limits.max_connections}, and {limits.others} are others'"
    )
    if needed > room:
        return Finding(False, "connections", f"{text}: raise max_connections, or use PgBouncer")
    return Finding(True, "connections", text)


def _durability(limits: "Limits") -> Finding:
    if not limits.fsync:
        return Finding(False, "durability", "fsync is off: a crash of its machine loses events")
    if limits.synchronous_commit == "off":
        text = "synchronous_commit is off: a crash of the server loses accepted events"
        return Finding(False, "durability", text)
    if not limits.synchronous_standbys:
        text = "no synchronous standby: a failover to a replica can lose the last events"
        return Finding(None, "durability", f"commits wait for the disk; {text}")
    text = f"commits wait for the standbys {limits.synchronous_standbys}"
    return Finding(True, "durability", f"{text} ({limits.synchronous_commit})")


def _wal_level(limits: "Limits") -> Finding:
    if limits.wal_level == "minimal":
        return Finding(None, "wal_level", "minimal: neither replicas nor continuous backups")
    return Finding(True, "wal_level", limits.wal_level)


def _pooler(config: Config, limits: "Limits") -> Finding:
    if not limits.is_pooled:
        return Finding(True, "pooler", "none in between")
    if config.notify or config.prepared_statements:
        text = "set WAYPOST_NOTIFY=off and WAYPOST_PREPARED_STATEMENTS=off in transaction mode"
        return Finding(None, "pooler", f"one is in between (PgBouncer?): {text}")
    return Finding(True, "pooler", "one is in between, and the settings are for it")
