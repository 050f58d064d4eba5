"""`waypost prune`: forget what has had its time, now."""

from collections import Counter
from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from waypost.cli.administration import Client, administer
from waypost.cli.options import with_settings
from waypost.cli.tables import show_table
from waypost.clock import SystemClock
from waypost.config import Settings, values
from waypost.policy import timestamp

PRUNE: Final = "/v1/prune"

_MICROS: Final = 1_000_000
_age = values.span(0, 36_600 * values.DAY)

Answer = dict[str, Any]


@with_settings(
    "database_url",
    "secret_key",
    "retention",
    "diverted_retention",
    "prune_owed",
)
def prune(
    *,
    settings: Settings,
    before: Annotated[
        str | None,
        typer.Option(
            "--before",
            help="Events older than this go: an RFC 3339 time, or an age such as 30d.",
            metavar="TIME",
        ),
    ] = None,
    diverted_before: Annotated[
        str | None,
        typer.Option("--diverted-before", help="The same for diverted events.", metavar="TIME"),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Count what would go, and delete nothing.")
    ] = False,
) -> None:
    """Forget what has had its time.

    That is: events with their deliveries, attempts and receipts, diverted events, expired
    idempotency keys, finished replays, and what is old of the audit trail. A server does this by
    itself all the time.

    Without --before it goes by `retention`, without --diverted-before by `diverted_retention`; with
    SQLite and a running server, by the server's. **What is still owed stays**, and so does what
    stands in the dead-letter box, with its event.

    **Examples:**

    `waypost prune --dry-run`

    `waypost prune --before 30d`

    `waypost prune --before 2026-01-01T00:00:00Z --diverted-before 180d`
    """
    order = {
        "before": _moment("--before", before),
        "diverted_before": _moment("--diverted-before", diverted_before),
    }
    wanted = {name: value for name, value in order.items() if value is not None}
    rows, dropped, kept = administer(
        settings.config, lambda client: _run(client, wanted, dry_run=dry_run)
    )
    if rows:
        show_table(
            [{"table": table, "rows": count} for table, count in sorted(rows.items())],
            ("table", "rows"),
        )
    else:
        typer.echo("Nothing has had its time.", err=True)
    for name in dropped:
        typer.echo(f"partition {name} is dropped", err=True)
    for name, reason in kept.items():
        typer.echo(f"partition {name} is not dropped: {_REASONS[reason]}", err=True)
    if dry_run and rows:
        typer.echo("Nothing was deleted.", err=True)


_REASONS: Final = {
    "owed": "something of it is owed; the rest was deleted row by row",
    "diverted": "something of it is in the dead-letter box; the rest was deleted row by row",
    "replayed": "a replay that is running may need it; try again when it is done",
    "busy": "the tables are in use; try again, or leave it to the server",
}


def _run(
    client: Client, wanted: Answer, *, dry_run: bool
) -> tuple[Counter[str], list[str], dict[str, str]]:
    """Count, and then delete; return what went, or what would."""
    columns = (TextColumn("{task.description}"), BarColumn(), TaskProgressColumn())
    console = Console(stderr=True)
    with Progress(
        *columns, TimeRemainingColumn(), console=console, disable=not console.is_terminal
    ) as shown:
        task = shown.add_task("Counting", total=None)
        rows: Counter[str] = Counter()
        for answer in _parts(client, {**wanted, "dry_run": True}):
            rows.update(answer["rows"])
            shown.update(task, completed=rows.total())
        if dry_run:
            return rows, [], {}
        shown.update(task, description="Deleting", total=rows.total(), completed=0)
        rows.clear()
        dropped: list[str] = []
        kept: dict[str, str] = {}
        for answer in _parts(client, wanted):
            rows.update(answer["rows"])
            dropped += answer["dropped_partitions"]
            kept.update(answer["kept_partitions"])
            shown.update(task, completed=rows.total())
    return rows, dropped, kept


def _parts(client: Client, order: Answer) -> Iterator[Answer]:
    """Yield the answers to one order, until all is done."""
    position: str | None = None
    while True:
        body = order if position is None else {**order, "position": position}
        answer = client.send("POST", PRUNE, body)
        yield answer
        position = answer["position"]
        if position is None:
            return


def _moment(option: str, text: str | None) -> str | None:
    """Read a time or an age, and return the moment as the API takes it."""
    if text is None:
        return None
    try:
        return timestamp.spell(timestamp.read(text))
    except ValueError:
        pass
    try:
        age_us = int(_age(text) * _MICROS)
    except ValueError as error:
        raise typer.BadParameter(
            "is neither an RFC 3339 time with an offset nor an age such as 30d", param_hint=option
        ) from error
    return timestamp.spell(max(SystemClock().now_us() - age_us, 0))
