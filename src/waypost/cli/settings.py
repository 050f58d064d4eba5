"""`waypost config`: every setting, its value, and who said so."""

from typing import Annotated, Final

import typer
from rich.console import Console
from rich.table import Table

from waypost.cli.options import with_settings
from waypost.config import SETTINGS, Setting, Settings


@with_settings()
def show(
    *,
    settings: Settings,
    reference: Annotated[
        bool, typer.Option("--reference", help="Print the reference page (Markdown) instead.")
    ] = False,
) -> None:
    """List every setting with its value and where it comes from. Secrets are masked.

    A flag goes before a variable, a variable before the file, the file before the default.

    **Example:** see what the server would run with:
    `WAYPOST_LISTEN=0.0.0.0:80 waypost config`
    """
    if reference:
        typer.echo(reference_page(), nl=False)
        return
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("Setting", "Value", "From"):
        table.add_column(heading, overflow="fold")
    for row in SETTINGS:
        style = "dim" if settings.origin(row) == "default" else ""
        table.add_row(row.name, settings.text(row) or "-", settings.origin(row), style=style)
    console = Console()
    console.print(table)
    for name in settings.unknown:
        console.print(f"[yellow]{name} is set, but it is no setting[/]")


def reference_page() -> str:
    """Return `docs/reference/settings.md`."""
    return _INTRODUCTION + "".join(_section(row) for row in SETTINGS)


_INTRODUCTION: Final = """# Settings

<!-- Made by `waypost config --reference`. -->

A setting `max_event_bytes` is `--max-event-bytes` on the command line, `WAYPOST_MAX_EVENT_BYTES` in
the environment and `max_event_bytes` in a TOML file: the one that `--config` or `WAYPOST_CONFIG`
names, else `waypost.toml` in the current folder. A flag goes before the environment, the
environment before the file, the file before the default. What is not given at one place says
nothing there; an empty value is a value.

Sizes may have a unit (`KiB`, `MiB`, `GiB`), spans too (`ms`, `s`, `m`, `h`, `d`). `waypost config`
lists the values in force and where each comes from.
"""


def _section(row: Setting) -> str:
    default = f"`{row.default}`" if row.default else "not set" if row.default is None else "empty"
    unit = f" In {row.unit}." if row.unit else ""
    return f"\n## {row.name}\n\n{row.doc}{unit} Default: {default}.\n"
