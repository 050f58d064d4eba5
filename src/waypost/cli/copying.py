"""`waypost copy`: everything from a SQLite file into a PostgreSQL database."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from waypost import telemetry
from waypost.cli.options import with_settings
from waypost.cli.serve import migrate_server
from waypost.cli.tables import show_table
from waypost.config import Settings
from waypost.model.errors import ConfigInvalid
from waypost.server.databases import postgres_options
from waypost.storage import key_file, location
from waypost.storage.location import Location, PostgresUrl, SqliteFile

if TYPE_CHECKING:
    from waypost.storage.copying import Told


@with_settings("partition", "log_format")
def copy(
    *,
    settings: Settings,
    source: Annotated[str, typer.Option("--from", help="sqlite:///path/to/file.db")],
    target: Annotated[
        str, typer.Option("--to", help="postgresql://user:password@host:port/database")
    ],
) -> None:
    """Copy everything from a SQLite file into an empty PostgreSQL database.

    The server on the file must be stopped. Tables are made where there are none. What breaks off
    goes on where it stopped when the same command is run again; at the end both sides are read and
    compared. Ids and secrets stay what they are: set WAYPOST_SECRET_KEY to the key of the file.

    **Example:** `waypost copy --from sqlite:///.waypost/waypost.db
    --to postgresql://waypost@db.example/waypost`
    """
    config = settings.config
    telemetry.configure_log(config.log_format, "warning")
    file, url = _read("--from", source), _read("--to", target)
    if not isinstance(file, SqliteFile) or not isinstance(url, PostgresUrl):
        raise ConfigInvalid("it goes --from sqlite:///… --to postgresql://…, and no other way")
    # The driver takes a while to import, and no other command on a file needs it.
    from waypost.storage import copying  # noqa: PLC0415 - slow to load
    from waypost.storage.partitions import Width  # noqa: PLC0415 - slow to load

    copying.demand_file(file.path)
    migrate_server(config, url, dry_run=False)
    with _bar() as told:
        copied = copying.copy(
            file.path, url, postgres_options(config), Width(config.partition), told
        )
    show_table(
        [{"table": one.table, "rows": f"{one.rows:,}", "checksum": one.checksum} for one in copied],
        ("table", "rows", "checksum"),
    )
    rows = sum(one.rows for one in copied)
    typer.echo(f"{rows:,} rows are copied, and read back as they were.", err=True)
    kept = key_file.key_file(file.path)
    wanted = f'"$(cat {kept})"' if kept.exists() else "the key that the server on the file had"
    typer.echo(f"Start the new server with WAYPOST_SECRET_KEY={wanted}.", err=True)


def _read(option: str, text: str) -> Location:
    try:
        return location.read(text)
    except ValueError as error:
        raise ConfigInvalid(f"{option} {error}") from error


@contextmanager
def _bar() -> Iterator["Told"]:
    console = Console(stderr=True)
    columns = (
        *(TextColumn("{task.description:40}"), BarColumn()),
        *(MofNCompleteColumn(), TimeRemainingColumn()),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as shown:
        task = shown.add_task("")
        before = ("", "")

        def told(what: str, table: str, done: int, total: int) -> None:
            nonlocal before
            if (what, table) != before:
                before = (what, table)
                shown.reset(task, description=f"{what} {table}", total=total, completed=done)
            shown.update(task, completed=done)

        yield told
