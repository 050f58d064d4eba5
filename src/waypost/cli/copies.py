"""`waypost backup` and `waypost restore`."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from waypost.cli.options import with_settings
from waypost.config import Config, Settings
from waypost.model.errors import ConfigInvalid
from waypost.storage import key_file
from waypost.storage.location import SqliteFile
from waypost.storage.sqlite import backup
from waypost.storage.sqlite.instance import InstanceLock


@with_settings("database_url")
def back_up(
    destination: Annotated[Path, typer.Argument(help="The file to make.", metavar="DEST")],
    *,
    settings: Settings,
    without_key: Annotated[
        bool,
        typer.Option("--without-key", help="Leave the secret key file out; keep it elsewhere."),
    ] = False,
) -> None:
    """Copy the database, as it is at one moment, while the server runs on.

    The copy is one file that its owner alone can read. The secret key goes to DEST.key, unless it
    is set as WAYPOST_SECRET_KEY: **without the key, signing secrets can't be read again.**

    **Example:** `waypost backup /backups/waypost-$(date +%F).db`
    """
    with _bar("Copying") as progress:
        with_key = backup.back_up(
            _file(settings.config), destination, progress, with_key=not without_key
        )
    typer.echo(f"{destination}: {destination.stat().st_size:,} bytes")
    if with_key:
        typer.echo(f"{key_file.key_file(destination)}: the secret key; keep it secret")
    else:
        typer.echo("The secret key is not in the backup: keep it elsewhere.")


@with_settings("database_url")
def restore(
    source: Annotated[Path, typer.Argument(help="A file made by `waypost backup`.")],
    *,
    settings: Settings,
    force: Annotated[
        bool, typer.Option("--force", help="Replace the database that is there.")
    ] = False,
) -> None:
    """Put a backup in the place of the database. The server must be stopped.

    The backup is read through before anything is replaced. What was accepted after it was made is
    lost, and what was delivered after it was made is delivered again.

    **Example:** `waypost restore /backups/waypost-2026-11-21.db`
    """
    database = _file(settings.config)
    database.parent.mkdir(parents=True, exist_ok=True)
    lock = InstanceLock.acquire(database, Path(os.devnull))
    try:
        with _bar("Restoring") as progress:
            with_key = backup.restore(source, database, progress, force=force)
    finally:
        lock.release()
    typer.echo(f"{database} is restored.")
    if not with_key:
        typer.echo("The backup holds no secret key: set WAYPOST_SECRET_KEY before you start.")


def _file(config: Config) -> Path:
    database = config.database
    if isinstance(database, SqliteFile):
        return database.path
    raise ConfigInvalid(
        "backup and restore are for SQLite: use pg_dump and pg_restore for PostgreSQL, and keep"
        " WAYPOST_SECRET_KEY beside the dump"
    )


@contextmanager
def _bar(title: str) -> Iterator[backup.Progress]:
    console = Console(stderr=True)
    columns = (TextColumn(title), BarColumn(), TaskProgressColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as shown:
        task = shown.add_task(title, total=None)
        yield lambda done, total: shown.update(task, completed=done, total=total)
