"""The commands, gathered."""

import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from waypost import __version__
from waypost.cli import (
    copies,
    copying,
    dev,
    doctor,
    event_types,
    explain,
    keys,
    projects,
    prune,
    serve,
    settings,
    workers,
)
from waypost.model.errors import ConfigInvalid, WaypostError


class Program(TyperGroup):
    """Ends a command that was refused with the reason, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run a command."""
        try:
            return super().invoke(ctx)
        except (WaypostError, OSError) as error:
            typer.echo(f"waypost: {error}", err=True)
            sys.exit(2 if isinstance(error, ConfigInvalid) else 1)


app = typer.Typer(
    cls=Program,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    add_completion=False,
    help="""Waypost accepts events, keeps them, and delivers them as signed webhooks.

    **To look around:** `waypost dev` starts everything, with a receiver and a first event.

    **To run it:** `waypost serve`, then `waypost keys create --name my-app`.
    """,
)


def _print_version(asked: bool) -> None:
    if asked:
        typer.echo(f"waypost {__version__}")
        raise typer.Exit


@app.callback()
def of_no_command(
    _version: Annotated[
        bool,
        typer.Option(
            "--version", is_eager=True, callback=_print_version, help="Print the version and exit."
        ),
    ] = False,
) -> None:
    """Take the options that belong to no command."""


app.command("serve")(serve.serve)
app.command("dev")(dev.dev)
app.command("migrate")(serve.migrate)
app.add_typer(keys.app, name="keys")
app.add_typer(projects.app, name="projects")
app.add_typer(event_types.app, name="event-types")
app.command("workers")(workers.show)
app.command("explain")(explain.explain)
app.command("config")(settings.show)
app.command("doctor")(doctor.doctor)
app.command("prune")(prune.prune)
app.command("backup")(copies.back_up)
app.command("restore")(copies.restore)
app.command("copy")(copying.copy)
