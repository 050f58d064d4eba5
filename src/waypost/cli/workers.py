"""`waypost workers`: which processes share the work, and who sends for which subscriptions."""

import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from typing import TYPE_CHECKING, Annotated, Any, Final

import msgspec
import typer
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from waypost.cli.options import with_settings
from waypost.config import Settings
from waypost.model.errors import ConfigInvalid
from waypost.model.shards import SHARDS
from waypost.server.databases import postgres_options
from waypost.storage import migrations, workers
from waypost.storage.location import PostgresUrl
from waypost.storage.workers import IDLE_ROLES, Worker

if TYPE_CHECKING:
    from sqlalchemy import Connection

EVERY_S: Final = 1.0
COLUMNS: Final = (
    *("worker", "role", "listen", "version", "age", "lease"),
    *("shards", "in flight", "lag", "rate", "delivered"),
)
_TO_THE_RIGHT: Final = frozenset(COLUMNS[4:])


@with_settings("database_url", "prepared_statements", "statement_timeout")
def show(
    *,
    settings: Settings,
    once: Annotated[bool, typer.Option("--once", help="Print the table once.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Print it once, as JSON, one worker a line.")
    ] = False,
) -> None:
    """Show the workers of a PostgreSQL database, live: who owns what, with age, lag and rate.

    A subscription belongs to one of 256 shards, and each shard to one worker, which alone sends for
    it. `lease` is how long a worker may still be silent before its shards go to others; `lag` is
    how long the oldest delivery that is due has waited. Ctrl-C ends it.

    **Example:** `waypost workers --json | jq .shards`
    """
    config = settings.config
    url = config.database
    if not isinstance(url, PostgresUrl):
        raise ConfigInvalid("workers are for PostgreSQL: on SQLite the one process does everything")
    # The driver takes a while to import, and no command on a file needs it.
    from waypost.storage.postgres import preparation  # noqa: PLC0415 - slow to load

    with preparation.open_apart(url, postgres_options(config), name="workers") as connection:
        migrations.demand_head(connection)
        if as_json:
            for worker in workers.list_all(connection):
                typer.echo(msgspec.json.encode(_plain(worker)).decode())
        elif once or not sys.stdout.isatty():
            _print_once(workers.list_all(connection))
        else:
            _watch(connection)


def _print_once(found: Sequence[Worker]) -> None:
    if sys.stdout.isatty():
        Console(highlight=False).print(screen(found))
        return
    for worker in found:
        typer.echo("\t".join(_cells(worker)))


def _watch(connection: "Connection") -> None:
    with suppress(KeyboardInterrupt), Live(screen=True, auto_refresh=False) as live:
        while True:
            live.update(screen(workers.list_all(connection)), refresh=True)
            time.sleep(EVERY_S)


def screen(found: Sequence[Worker]) -> Group:
    """Return what the terminal shows."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in COLUMNS:
        table.add_column(column, justify="right" if column in _TO_THE_RIGHT else "left")
    for worker in found:
        dead = worker.left_us < 0
        table.add_row(*_cells(worker), style="red" if dead else "")
    return Group(table, "", Text(_summary(found), style="dim"))


def _summary(found: Sequence[Worker]) -> str:
    owned = sum(len(worker.shards) for worker in found)
    sending = sum(worker.card.role not in IDLE_ROLES for worker in found)
    rate = sum(worker.load.rate for worker in found)
    text = f"{len(found)} workers, {sending} of them deliver; {owned} of {SHARDS} shards owned"
    return f"{text}; {rate:.1f} deliveries/s"


def _cells(worker: Worker) -> tuple[str, ...]:
    card, load = worker.card, worker.load
    lease = "dead" if worker.left_us < 0 else _span(worker.left_us)
    return (
        *(card.name, card.role, card.listen, card.version, _span(worker.age_us), lease),
        *(str(len(worker.shards)), str(load.in_flight), _span(1_000 * load.lag_ms)),
        *(f"{load.rate:.1f}/s", f"{load.delivered:,}"),
    )


def _span(us: int) -> str:
    seconds = us / 1_000_000
    if seconds < 120:
        return f"{seconds:.1f}s"
    for unit, size in (("m", 60), ("h", 3_600)):
        if seconds < 120 * size:
            return f"{seconds / size:.0f}{unit}"
    return f"{seconds / 86_400:.0f}d"


def _plain(worker: Worker) -> dict[str, Any]:
    card, load = worker.card, worker.load
    return {
        "worker": card.name,
        "id": card.id.hex(),
        "role": card.role,
        "listen": card.listen,
        "version": card.version,
        "age_s": worker.age_us / 1_000_000,
        "lease_left_s": worker.left_us / 1_000_000,
        "shards": list(worker.shards),
        "in_flight": load.in_flight,
        "lag_ms": load.lag_ms,
        "rate": load.rate,
        "delivered": load.delivered,
    }
