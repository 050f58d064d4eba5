"""`waypost serve` and `waypost migrate`: the server, and its database without it."""

import os
from pathlib import Path
from typing import Annotated

import structlog
import typer

from waypost import telemetry
from waypost.cli.options import with_settings
from waypost.clock import SystemClock
from waypost.config import Config, Settings
from waypost.server import databases, program, supervisor
from waypost.storage import migrations
from waypost.storage.location import PostgresUrl, SqliteFile
from waypost.storage.sqlite.instance import InstanceLock
from waypost.storage.sqlite.preparation import open_apart

_log = structlog.get_logger(__name__)


@with_settings()
def serve(*, settings: Settings) -> None:
    """Run the server until SIGTERM or Ctrl-C.

    A SQLite database is made and migrated by itself; on PostgreSQL, `waypost migrate` does that
    first. A stop takes no new requests, waits for deliveries in flight (`--drain-timeout`), writes
    down what became of them, and exits with 0; a second signal ends the process at once, which
    loses nothing either.

    **Examples:**

    `waypost serve`: everything by default, on http://127.0.0.1:8080

    `WAYPOST_DATABASE_URL=sqlite:////var/lib/waypost/waypost.db WAYPOST_LISTEN=0.0.0.0:8080
    waypost serve`: as a service

    `waypost serve --processes 4`: four processes on one port, with PostgreSQL

    `waypost serve --egress-allow 10.0.0.0/8`: deliveries may go to the inner network
    """
    config = settings.config
    telemetry.configure_log(config.log_format, config.log_level)
    for name in settings.unknown:
        _log.warning("setting_unknown", variable=name)
    raise typer.Exit(supervisor.run(config) if config.processes > 1 else program.run(config))


@with_settings(
    "database_url", "partition", "prepared_statements", "statement_timeout", "log_format"
)
def migrate(
    *,
    settings: Settings,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the SQL, and change nothing.")
    ] = False,
) -> None:
    """Bring the database to the schema of this version.

    `waypost serve` does so by itself on SQLite. On PostgreSQL it must be done before the new
    version starts; two that migrate at once wait for each other, and what breaks off goes on where
    it stopped when it is run again.

    **Example:** `waypost migrate --dry-run` before an upgrade, to see what it would do.
    """
    config = settings.config
    telemetry.configure_log(config.log_format, "warning")
    database = config.database
    if isinstance(database, SqliteFile):
        _migrate_file(database.path, dry_run=dry_run)
    else:
        migrate_server(config, database, dry_run=dry_run)


def _migrate_file(database: Path, *, dry_run: bool) -> None:
    # Alembic takes a while to import, and no other command needs it.
    from waypost.storage.migrations.upgrade import statements, upgrade  # noqa: PLC0415 - slow to load

    database.parent.mkdir(parents=True, exist_ok=True)
    lock = InstanceLock.acquire(database, Path(os.devnull))
    try:
        with open_apart(database) as connection:
            before = migrations.current_revision(connection)
            if before == migrations.HEAD:
                typer.echo(f"{database} is up to date: {before}")
            elif dry_run:
                typer.echo(statements(connection))
            else:
                upgrade(connection)
                typer.echo(f"{database}: {before or 'empty'} -> {migrations.HEAD}")
    finally:
        lock.release()


def migrate_server(config: Config, url: PostgresUrl, *, dry_run: bool) -> None:
    """Bring a PostgreSQL database to the newest schema, and tell so.

    Raises:
        ConfigInvalid: it can't be used; says why and what to do.
        Conflict: another process migrates it.
    """
    # As above, and the driver too.
    from waypost.storage.migrations.upgrade import statements, upgrade_shared  # noqa: PLC0415 - slow to load
    from waypost.storage.partitions import Width  # noqa: PLC0415 - slow to load
    from waypost.storage.postgres import preparation  # noqa: PLC0415 - slow to load
    from waypost.storage.postgres.connection import connect  # noqa: PLC0415 - slow to load

    options = databases.postgres_options(config)
    with preparation.open_apart(url, options, name="migrate") as connection:
        preparation.demand_primary(preparation.describe(connection), url)
        before = migrations.current_revision(connection)
        if dry_run:
            if before == migrations.HEAD:
                typer.echo(f"{url} is up to date: {before}")
            else:
                typer.echo(statements(connection))
            return
        # Also where the schema is up to date: the partitions may not reach far enough.
        width = Width(config.partition)
        upgrade_shared(
            lambda: connect(url.conninfo, options, name="migrate"), SystemClock().now_us(), width
        )
    if before == migrations.HEAD:
        typer.echo(f"{url} is up to date: {before}")
    else:
        typer.echo(f"{url}: {before or 'empty'} -> {migrations.HEAD}")
