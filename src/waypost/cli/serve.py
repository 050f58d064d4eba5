"""`waypost serve` and `waypost migrate`: the server, and its database without it."""

import os
from pathlib import Path
from typing import Annotated

import structlog
import typer

from waypost import telemetry
from waypost.cli.options import with_settings
from waypost.config import Settings
from waypost.server import program
from waypost.storage import migrations
from waypost.storage.instance import InstanceLock
from waypost.storage.preparation import open_apart

_log = structlog.get_logger(__name__)


@with_settings()
def serve(*, settings: Settings) -> None:
    """Run the server until SIGTERM or Ctrl-C.

    The database is made and migrated by itself. A stop takes no new requests, waits for deliveries
    in flight (`--drain-timeout`), writes down what became of them, and exits with 0; a second
    signal ends the process at once, which loses nothing either.

    **Examples:**

    `waypost serve`: everything by default, on http://127.0.0.1:8080

    `WAYPOST_DATABASE_URL=sqlite:////var/lib/waypost/waypost.db WAYPOST_LISTEN=0.0.0.0:8080
    waypost serve`: as a service

    `waypost serve --egress-allow 10.0.0.0/8`: deliveries may go to the inner network
    """
    telemetry.configure_log(settings.config.log_format, settings.config.log_level)
    for name in settings.unknown:
        _log.warning("setting_unknown", variable=name)
    raise typer.Exit(program.run(settings.config))


@with_settings("database_url")
def migrate(
    *,
    settings: Settings,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the SQL, and change nothing.")
    ] = False,
) -> None:
    """Bring the database to the schema of this version. `waypost serve` does so by itself.

    **Example:** `waypost migrate --dry-run` before an upgrade, to see what it would do.
    """
    # Alembic takes a while to import, and no other command needs it.
    from waypost.storage.migrations.upgrade import statements, upgrade  # noqa: PLC0415

    database = settings.config.database
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
