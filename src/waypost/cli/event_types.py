"""`waypost event-types`: a project's catalogue."""

from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from waypost.cli.administration import administer
from waypost.cli.catalogues import Vendor, catalogue
from waypost.cli.options import with_settings
from waypost.cli.tables import show_table
from waypost.config import Settings

app = typer.Typer(no_args_is_help=True, help="Load and list the event types of a project.")

EVENT_TYPES: Final = "/v1/event_types"

Project = Annotated[
    str | None,
    typer.Option("--project", help="By token; else the default project.", metavar="PRJ"),
]


@app.command()
@with_settings("database_url", "secret_key")
def load(
    file: Annotated[
        Path | None, typer.Argument(help="A JSON file.", exists=True, dir_okay=False)
    ] = None,
    *,
    settings: Settings,
    project: Project = None,
    of: Annotated[
        Vendor | None, typer.Option("--of", help="Instead of a file: this vendor's types.")
    ] = None,
) -> None:
    """Replace a project's catalogue by the one in a file, or by a vendor's.

    The file holds `{"event_types": [{"name": "card.created", "description": "…", "example": {}}]}`.
    A project made with --strict-types refuses events of types that are not in it.

    **Examples:**

    `waypost event-types load event-types.json`

    `waypost event-types load --of lithic`
    """
    if file is not None and of is None:
        content = file.read_bytes()
    elif of is not None and file is None:
        content = msgspec.json.encode(catalogue(of))
    else:
        raise typer.BadParameter("Name a file, or a vendor by --of.")
    loaded = administer(
        settings.config, lambda client: client.send("PUT", EVENT_TYPES, content, project=project)
    )
    typer.echo(f"{len(loaded['event_types'])} event types")


@app.command("list")
@with_settings("database_url", "secret_key")
def list_types(*, settings: Settings, project: Project = None) -> None:
    """List a project's catalogue."""
    catalogue = administer(
        settings.config, lambda client: client.send("GET", EVENT_TYPES, project=project)
    )
    show_table(catalogue["event_types"], ("name", "description"))
